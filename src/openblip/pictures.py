"""Sources of pictures -> batches of pixels, in order, a few read ahead; and where a call's seconds go.

Knows files no further than `image` does. Does not know models beyond the size of their input.
"""

from __future__ import annotations

import os
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
from openblip.image import ImageLimits, ImageSource, full_size, load_image, preprocess, preprocess_windows
from openblip.types import Timing

if TYPE_CHECKING:
    from concurrent.futures import Future

Stage = Literal["decode_s", "preprocess_s", "encode_s", "search_s"]
Result = TypeVar("Result")
_WORKERS = min(4, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
"""Threads that read pictures. More of them than processors would only take turns with the engine."""
_TURN_S = 0.2


Place = tuple[float, float, float, float]
"""Left, top, right and bottom, as shares of width and height."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A picture as pixels [3, size, size], for every input that was asked for, or why it is not.

    full_size: width and height of the picture as it is shown. windows: parts of it, [windows, 3, size, size], for every
    input, where they were asked for.
    """

    source: ImageSource
    pixels: tuple[Floats, ...]
    error: OpenBlipError | None
    decode_s: float
    preprocess_s: float
    full_size: tuple[int, int] = (0, 0)
    windows: tuple[Floats, ...] = ()


@dataclass(frozen=True, slots=True)
class Windows:
    """Parts of a picture to be looked at by themselves. scale: how many times larger than the model's input the picture
    must be read for them."""

    places: tuple[Place, ...] = ()
    scale: float = 1.0


WHOLE = Windows()


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
    windows: Windows = WHOLE,
) -> Iterator[list[Loaded]]:
    """Loaded pictures in their order, `size` at a time; at most `ahead` batches are read ahead of the caller.

    inputs: what the pixels are for; those that want the same pixels share them. windows: of every picture, besides.
    """
    loaded = _read_ahead(sources, ahead * size, inputs, limits, windows)
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
    sources: Iterable[ImageSource], ahead: int, inputs: Sequence[VisionConfig], limits: ImageLimits, windows: Windows
) -> Iterator[Loaded]:
    """Load pictures in a few threads, in order, at most `ahead` of the caller; a lone one in this thread."""
    from concurrent.futures import ThreadPoolExecutor

    iterator = iter(sources)
    front = list(islice(iterator, 2))
    if len(front) < 2:
        yield from (_load(source, inputs, limits, windows) for source in front)
        return
    pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="openblip-image")
    try:
        pending: deque[Future[Loaded]] = deque()
        for source in chain(front, iterator):
            pending.append(pool.submit(_load, source, inputs, limits, windows))
            if len(pending) >= ahead:
                yield wait_for(pending.popleft())
        while pending:
            yield wait_for(pending.popleft())
    finally:  # also when the caller stops early
        pool.shutdown(wait=False, cancel_futures=True)


def _load(source: ImageSource, inputs: Sequence[VisionConfig], limits: ImageLimits, windows: Windows) -> Loaded:
    start = time.perf_counter()
    try:
        image = load_image(source, limits, needed_side(inputs, windows))
    except OpenBlipError as error:
        return Loaded(source, (), error, time.perf_counter() - start, 0.0)
    return loaded_from(image, source, inputs, windows, time.perf_counter() - start)


def needed_side(inputs: Iterable[VisionConfig], windows: Windows = WHOLE) -> int:
    """How large a picture must be read for these inputs; see `image.load_image`."""
    return round(max(vision.image_size for vision in inputs) * windows.scale)


def loaded_from(
    image: Image.Image,
    source: ImageSource,
    inputs: Sequence[VisionConfig],
    windows: Windows = WHOLE,
    decode_s: float = 0.0,
) -> Loaded:
    """A decoded picture as pixels."""
    start = time.perf_counter()
    keys = [(vision.image_size, vision.mean, vision.std) for vision in inputs]
    different = dict(zip(keys, inputs, strict=True)).items()
    pixels = {key: preprocess(image, vision) for key, vision in different}
    cut: dict[tuple[int, object, object], Floats] = {}
    if windows.places:
        cut = {key: preprocess_windows(image, vision, windows.places) for key, vision in different}
    return Loaded(
        source,
        tuple(pixels[key] for key in keys),
        None,
        decode_s,
        time.perf_counter() - start,
        full_size(image),
        tuple(cut[key] for key in keys if key in cut),
    )
