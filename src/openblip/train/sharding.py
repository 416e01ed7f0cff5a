"""Fine-tuning with parameters, gradients and the optimiser's state spread over the processes (torch's FSDP2), for
models that do not fit as a whole beside their gradients. Knows how a model is cut, not what it learns."""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from openblip.engines.torch.model import BlipModel
from openblip.errors import TrainingError
from openblip.train import ranks
from openblip.train.answering import AnswerObjective
from openblip.train.finetune import Finetuner
from openblip.train.objectives import PretrainObjective

_WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)


class ShardedFinetuner(Finetuner):
    """A rank of a run that holds its share of everything. Saves and checkpoints are whole, as those of any run."""

    def placed(self, objective: PretrainObjective | AnswerObjective) -> PretrainObjective | AnswerObjective:
        """The objective cut: each block of the image encoder by itself, the rest as one, which is whole during a
        step."""
        if self.ranks < 2:
            raise TrainingError("shard = true needs several processes: start them with torchrun, or leave it out")
        objective = super().placed(objective)
        # It cuts along the first axis, so that no other memory layout will do; and what is cut cannot be shared between
        # two models.
        objective.model.vision.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        objective.averaged = copy.deepcopy(objective.model).eval().requires_grad_(False)
        mesh = init_device_mesh(self.device.type, (self.ranks,))
        for model in (objective.model, objective.averaged):
            for block in model.vision.blocks:
                fully_shard(block, mesh=mesh)
        scalars = {parameter for parameter in objective.parameters() if not parameter.ndim}  # FSDP2 takes none
        if self.config.task != "retrieval":  # there it is the momentum encoder; here a step never looks at it
            fully_shard(objective.averaged, mesh=mesh, ignored_params=scalars)
        fully_shard(objective, mesh=mesh, ignored_params=scalars)
        return objective

    def stepper(self) -> nn.Module:
        """The objective, which knows of the other processes itself."""
        return self.objective

    def clip_gradient(self) -> Tensor:
        """Over all processes; what is not cut is averaged here."""
        gradients = [value.grad for value in self.objective.model.parameters() if value.grad is not None]
        cut = [gradient for gradient in gradients if hasattr(gradient, "full_tensor")]
        whole = [gradient for gradient in gradients if not hasattr(gradient, "full_tensor")]
        for gradient in whole:
            dist.all_reduce(gradient)
            gradient /= ranks.count()
        cut_norm: Any = nn.utils.get_total_norm(cut)
        squares: list[Tensor] = [cut_norm.full_tensor() ** 2] if cut else []
        squares += [nn.utils.get_total_norm(whole) ** 2] if whole else []
        norm: Tensor = torch.stack(squares).sum().sqrt()
        share = (self.steps.clip_norm / (norm + 1e-6)).clamp(max=1.0)
        for gradient in gradients:
            gradient.mul_(share)
        return norm

    def learned(self) -> dict[str, Any]:
        """Gathered on the first rank."""
        return {
            "objective": get_model_state_dict(self.objective, options=_WHOLE),
            "optimiser": get_optimizer_state_dict(self.objective, self.optimiser, options=_WHOLE),
        }

    def set_learned(self, state: dict[str, Any]) -> None:
        """Each rank takes its share."""
        set_model_state_dict(self.objective, state["objective"], options=_WHOLE)
        set_optimizer_state_dict(self.objective, self.optimiser, state["optimiser"], options=_WHOLE)

    def averaged_tensors(self) -> dict[str, Any]:
        """Gathered on the first rank; nothing on the others."""
        state: dict[str, Any] = get_model_state_dict(self.objective.averaged, options=_WHOLE)
        return {name: value.float().numpy() for name, value in state.items()}

    def averaged_model(self) -> BlipModel:
        """A whole copy on the first rank; on the others what is there, which nothing looks at."""
        tensors = self.averaged_tensors()
        if self.rank:
            return self.objective.averaged
        with torch.device("meta"):
            model = BlipModel(self.model_config)
        model.load_state_dict({name: torch.from_numpy(value) for name, value in tensors.items()}, assign=True)
        return model.to(self.device).eval().requires_grad_(False)
