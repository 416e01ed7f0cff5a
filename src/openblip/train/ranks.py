"""The processes of one run, one a rank, as torchrun starts them: joining, waiting and gathering. Knows no model.

Everything here also works in a single process, where it does nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor

from openblip.errors import TrainingError

# One rank may learn the vocabulary, or write a checkpoint, while the others wait.
PATIENCE = timedelta(hours=1)


def choose_device(name: str) -> torch.device:
    """The device that "cpu", "cuda" or "auto" means for this process; under torchrun each takes a GPU of its own."""
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "cpu" or (name == "auto" and not gpus):
        return torch.device("cpu")
    if not gpus:
        raise TrainingError("device = 'cuda' but torch sees no GPU: set device = 'cpu' or 'auto'")
    place = int(os.environ.get("LOCAL_RANK", "0"))
    if place >= gpus:
        raise TrainingError(
            f"process {place + 1} of this machine finds {gpus} GPUs: start at most one process a GPU, "
            "or set device = 'cpu'"
        )
    torch.cuda.set_device(place)
    return torch.device("cuda", place)


def join(device: torch.device) -> tuple[int, int]:
    """Join torchrun's process group where there is one. Returns this rank and how many there are."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    return rank(), count()


def leave() -> None:
    """Leave the process group."""
    if count() > 1:
        dist.destroy_process_group()


def count() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """This process's number, from 0."""
    return dist.get_rank() if count() > 1 else 0


def wait_for_all() -> None:
    """Return when every rank has come here."""
    if count() > 1:
        dist.barrier()


@contextmanager
def first_rank_first() -> Iterator[None]:
    """Rank 0 runs the block, then all others: what it writes, they find whole."""
    if rank() > 0:
        wait_for_all()
    yield
    if rank() == 0:
        wait_for_all()


def any_rank(asked: bool, device: torch.device) -> bool:
    """Whether it is so on any rank."""
    return any(gather_sizes(int(asked), device)) if count() > 1 else asked


def own_share(joint: Tensor) -> Tensor:
    """This rank's rows of a gathered tensor."""
    return joint.chunk(count())[rank()]


def gather(own: Tensor) -> Tensor:
    """The rows of all ranks, in rank order, without gradient. Every rank must hold equally many."""
    if count() == 1:
        return own.detach()
    parts = [torch.empty_like(own) for _ in range(count())]
    dist.all_gather(parts, own.detach().contiguous())
    return torch.cat(parts)


def gather_sizes(size: int, device: torch.device) -> list[int]:
    """One number of every rank."""
    return [int(value) for value in gather(torch.tensor([size], device=device))]


def gather_objects(own: Any) -> list[Any]:
    """One thing of every rank, in rank order."""
    if count() == 1:
        return [own]
    parts: list[Any] = [None] * count()
    dist.all_gather_object(parts, own)
    return parts


def gather_with_gradient(own: Tensor) -> Tensor:
    """As `gather`, with the gradient flowing back to the rank that each row came from."""
    return cast(Tensor, _Gather.apply(own)) if count() > 1 else own  # type: ignore[no-untyped-call]


class _Gather(torch.autograd.Function):
    """`gather`, and its transpose: a row's gradient is the sum of what all ranks made of the row."""

    @staticmethod
    def forward(context: Any, own: Tensor) -> Tensor:
        return gather(own)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        joint = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(joint)
        return own_share(joint)
