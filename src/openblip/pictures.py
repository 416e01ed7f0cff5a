"""Sources of pictures -> batches of pixels, in order, a few read ahead; and where a call's seconds go.

Knows files no further than `image` does. Does not know models beyond the size of their input.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np
from PIL import Image

from openblip.config import VisionConfig
from openblip.engine import Floats
from openblip.errors import InputError, OpenBlipError
from openblip.image import ImageLimits, ImageSource, load_image, preprocess
from openblip.types import Timing

if TYPE_CHECKING:
    from concurrent.futures import Future

Stage = Literal["decode_s", "preprocess_s", "encode_s", "search_s"]
Result = TypeVar("Result")
_WORKERS = 4
_TURN_S = 0.2


@dataclass(frozen=True, slots=True)
class Loaded:
    """A picture as pixels [3, size, size], for every input that was asked for, or why it is not."""

    source: ImageSource
    pixels: tuple[Floats, ...]
    error: OpenBlipError | None
    decode_s: float
    preprocess_s: float


class Clock:
    """Adds up the seconds of a call's stages."""

    def __init__(self) -> None:
        self._adding = Lock()  # batches of several lanes share a clock
        self._seconds: dict[Stage, float] = {"decode_s": 0.0, "preprocess_s": 0.0, "encode_s": 0.0, "search_s": 0.0}

    def add(self, stage: Stage, seconds: float) -> None:
        """Count seconds that were measured elsewhere."""
        with self._adding:
            self._seconds[stage] += seconds

    @contextmanager
    def measure(self, stage: Stage) -> Iterator[None]:
        """Count the seconds of a `with` block."""
        start = time.perf_counter()
        yield
        self.add(stage, time.perf_counter() - start)

    def timing(self) -> Timing:
        """All of them."""
        return Timing(**self._seconds)


def as_list(images: ImageSource | Sequence[ImageSource]) -> list[ImageSource]:
    """Many pictures as they are, a lone one as a list of one. Raises InputError on what holds no pictures."""
    if isinstance(images, (str, Path, bytes, Image.Image, np.ndarray)):
        return [images]
    if isinstance(images, (bytearray, memoryview)):
        return [bytes(images)]
    if not isinstance(images, Iterable):
        raise InputError(f"cannot take pictures from a {type(images).__name__}: give a picture or a list of pictures")
    return list(images)


def read_batches(
    sources: Iterable[ImageSource],
    size: int,
    inputs: Sequence[VisionConfig],
    limits: ImageLimits,
    clock: Clock,
    ahead: int = 2,
) -> Iterator[list[Loaded]]:
    """Loaded pictures in their order, `size` at a time; at most `ahead` batches are read ahead of the caller.

    inputs: what the pixels are for; those that want the same pixels share them.
    """
    loaded = _read_ahead(sources, ahead * size, inputs, limits)
    while batch := list(islice(loaded, size)):
        for picture in batch:
            clock.add("decode_s", picture.decode_s)
            clock.add("preprocess_s", picture.preprocess_s)
        yield batch


def raise_first_error(batch: Sequence[Loaded]) -> None:
    """Raise the error of the first picture that has one."""
    for loaded in batch:
        if loaded.error is not None:
            raise loaded.error


def wait_for(future: Future[Result]) -> Result:
    """What becomes of it. Waits in short turns: Ctrl-C just before a wait without an end would be heeded at its end
    alone."""
    from concurrent.futures import wait

    while not future.done():
        wait([future], timeout=_TURN_S)
    return future.result()


def digest(pixels: Floats, text: str = "") -> int:
    """A number that follows from the picture, and a text about it, alone."""
    from hashlib import blake2b

    content = np.ascontiguousarray(pixels).tobytes() + text.encode()
    return int.from_bytes(blake2b(content, digest_size=8).digest(), "little")


def _read_ahead(
    sources: Iterable[ImageSource], ahead: int, inputs: Sequence[VisionConfig], limits: ImageLimits
) -> Iterator[Loaded]:
    """Load pictures in a few threads, in order, at most `ahead` of the caller; a lone one in this thread."""
    from concurrent.futures import ThreadPoolExecutor

    iterator = iter(sources)
    front = list(islice(iterator, 2))
    if len(front) < 2:
        yield from (_load(source, inputs, limits) for source in front)
        return
    pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="openblip-image")
    try:
        pending: deque[Future[Loaded]] = deque()
        for source in chain(front, iterator):
            pending.append(pool.submit(_load, source, inputs, limits))
            if len(pending) >= ahead:
                yield wait_for(pending.popleft())
        while pending:
            yield wait_for(pending.popleft())
    finally:  # also when the caller stops early
        pool.shutdown(wait=False, cancel_futures=True)


def _load(source: ImageSource, inputs: Sequence[VisionConfig], limits: ImageLimits) -> Loaded:
    start = time.perf_counter()
    try:
        image = load_image(source, limits, max(vision.image_size for vision in inputs))
    except OpenBlipError as error:
        return Loaded(source, (), error, time.perf_counter() - start, 0.0)
    decoded = time.perf_counter()
    keys = [(vision.image_size, vision.mean, vision.std) for vision in inputs]
    pixels = {key: preprocess(image, vision) for key, vision in dict(zip(keys, inputs, strict=True)).items()}
    return Loaded(source, tuple(pixels[key] for key in keys), None, decoded - start, time.perf_counter() - decoded)
