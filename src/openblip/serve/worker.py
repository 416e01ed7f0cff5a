"""Bytes of pictures and what is asked of them -> analyses as JSON, from the cache where they are there. Knows a `Blip`,
threads and hashes; does not know HTTP."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from PIL import Image

from openblip.config import VisionConfig
from openblip.engine import ImageStates
from openblip.errors import TextError
from openblip.image import ImageLimits, load_image
from openblip.parts import Part
from openblip.pictures import WHOLE, Clock, Loaded, Windows, loaded_from, needed_side
from openblip.pipeline import Blip
from openblip.serve.batcher import Batcher, Done
from openblip.serve.cache import ResultCache
from openblip.serve.drawings import as_json, overlays_of
from openblip.serve.encodings import Encodings
from openblip.serve.once import Once
from openblip.tasks.captions import Captioner
from openblip.tasks.encoded import Encoded
from openblip.tasks.inquiries import Inquiry, analyses, check, needs_pixels, parts_for, windows_of
from openblip.tasks.matches import text_vectors
from openblip.tasks.stream import CaptionStream
from openblip.types import Analysis, Caption, CaptionPiece, GenerateOptions, GroundOptions, Timing

PREPROCESSING = 1
"""Raised with every change of what pixels a file gives, so that older results are not taken for new ones."""

T = TypeVar("T")
_SMALL_BYTES = 2**20
_READERS_NICE = 5
_ALIASES = 65_536


@dataclass(frozen=True, slots=True)
class Read:
    """A picture as pixels for every input of the model. digest: of those, whatever else stands in the file; where
    places in it are asked for, of its windows and its size too."""

    digest: str
    loaded: Loaded
    inputs: tuple[VisionConfig, ...]


@dataclass(frozen=True, slots=True)
class Work:
    """One picture on its way to the engine. read: its pixels, where they are needed; known: what parts made of it."""

    digest: str
    inquiry: Inquiry
    read: Read | None
    known: dict[Part, ImageStates]


@dataclass(frozen=True, slots=True)
class Examined:
    """What was found about one picture. analysis: as JSON; timing: of the picture and its batch, all 0 where it was
    there already or another request computed it; queue_s: how long it waited."""

    analysis: bytes
    cached: bool
    timing: Timing
    queue_s: float


@dataclass(frozen=True, slots=True)
class WholeCaption(Caption):
    """The caption that a stream ends with. cached: it was there already."""

    cached: bool = False


class Worker:
    """One model: decodes in a few threads, computes in as many as its engine has lanes. count: told what the kept
    encodings did; seen: as in `Batcher`."""

    def __init__(
        self,
        blip: Blip,
        cache: ResultCache,
        limits: ImageLimits,
        *,
        engine_threads: ThreadPoolExecutor,
        max_queue: int,
        max_batch: int,
        encodings_bytes: int,
        count: Callable[[str], None] = lambda event: None,
        seen: Callable[[int, float], None] = lambda size, seconds: None,
    ) -> None:
        self.blip, self._cache, self._limits, self._count = blip, cache, limits, count
        self._readers = ThreadPoolExecutor(
            os.cpu_count() or 1, thread_name_prefix="openblip-image", initializer=_yield_to_the_engine
        )
        self._reads, self._encodings = Once[Read](), Encodings(encodings_bytes)
        self._aliases: OrderedDict[str, str] = OrderedDict()
        self.batcher = Batcher[Work, tuple[Analysis, Timing]](
            self._compute, threads=engine_threads, max_queue=max_queue, max_batch=max_batch, seen=seen
        )
        self._inputs: tuple[VisionConfig, ...] = ()
        self.revision = ""

    async def warm(self) -> None:
        """Load what a set loads at first use, and compute everything once, so that the first client does not wait."""
        parts = [await self.batcher.run(partial(self.blip.part, task)) for task in self.blip.tasks]
        self._inputs = tuple(dict.fromkeys(part.config.vision for part in parts))
        self.revision = _revision(parts)
        self.batcher.max_batch = min(self.batcher.max_batch, *(part.pictures_a_call() for part in parts))
        self.batcher.lanes = min(part.engine.lanes for part in parts)
        for inquiry in _warm_up(self.blip.tasks):
            windows = windows_of(self.blip.parts, inquiry)
            read = await self._in_reader(partial(self._read_image, Image.new("RGB", (64, 64)), windows, 0.0))
            await self._submit(Work("", inquiry, read, {}))

    def check(self, inquiry: Inquiry) -> None:
        """Raise ModelError, OptionError, TextError or InputError on what this model cannot be asked."""
        check(self.blip.parts, inquiry)

    async def examine(self, data: bytes, inquiry: Inquiry) -> Examined:
        """All that is asked about one picture, by its file's bytes. Raises ImageError, and what `Batcher.submit`
        raises."""
        windows = windows_of(self.blip.parts, inquiry)
        name, digest = await self._identify(data, windows)
        read = None
        if digest is None:
            read = await self._reads.do(name, partial(self._read, data, windows))
            digest = read.digest
            await self._remember(name, digest)
        timing, queue_s = Timing(0.0, 0.0, 0.0, 0.0), 0.0

        async def compute() -> bytes:
            nonlocal timing, queue_s
            done = await self._submit(await self._work(data, digest, read, inquiry))
            (analysis, timing), queue_s = done.result, done.queue_s
            drawn = (
                await self._in_reader(partial(overlays_of, data, self._limits, analysis)) if inquiry.overlays else None
            )
            return as_json(analysis, drawn)

        value, cached = await self._cache.get_or_compute(self._key(digest, inquiry), compute)
        return Examined(value, cached, timing, queue_s)

    async def stream(
        self, data: bytes, prompt: str, options: GenerateOptions
    ) -> AsyncGenerator[CaptionPiece | Caption, None]:
        """The caption of one picture in pieces, and whole at the end; between two pieces others are served. From the
        cache it comes in one piece.

        Raises OptionError for beams, ImageError, and Refused where too much waits, all at the first piece.
        """
        part, inquiry = self.blip.part("caption"), Inquiry(caption=options, prompt=prompt)
        captioner = Captioner(part, options)
        captioner.check_streamed()
        [ids] = captioner.encode_prompts([prompt])
        name, digest = await self._identify(data)
        read = None
        if digest is None:
            read = await self._reads.do(name, partial(self._read, data))
            digest = read.digest
            await self._remember(name, digest)
        key = self._key(digest, inquiry)
        if (value := await self._cache.get(key)) is not None:
            caption = _kept(value)
            yield CaptionPiece(caption.text, caption.tokens, caption.token_probabilities)
            yield caption
            return
        self.batcher.admit()
        work = await self._work(data, digest, read, inquiry)
        encoded = Encoded([_loaded(work, [part])], [part], Clock(), [work.known])
        growing = CaptionStream(captioner.tokens(encoded, ids), part.tokenizer, ids)
        try:
            while (piece := await self.batcher.run(partial(next, growing, None))) is not None:
                yield piece
            whole = growing.caption
            await self._cache.set(key, as_json(Analysis(captions=(whole,))))
            yield WholeCaption(**whole.to_dict())
        finally:
            self.batcher.later(growing.close)

    async def embed_texts(self, texts: Sequence[str]) -> tuple[list[list[float]], int]:
        """Unit vectors of texts, and how many tokens these have as the model reads them.

        Raises ModelError, TextError on an empty one, and Refused where too much waits.
        """
        self.batcher.admit()
        part = self.blip.part("embed")
        if empty := [text for text in texts if not text.strip()]:
            raise TextError(f"a text is empty ({empty[0]!r}): give it words, or leave it out")
        tokens = part.tokenizer.encode_unimodal(texts, part.config.text.max_positions).lengths.sum()
        vectors = await self.batcher.run(partial(text_vectors, part, texts))
        return vectors.tolist(), int(tokens)

    async def close(self, within_s: float) -> bool:
        """As in `Batcher`."""
        finished = await self.batcher.close(within_s)
        self._readers.shutdown(wait=False, cancel_futures=True)
        return finished

    async def _identify(self, data: bytes, windows: Windows | None = None) -> tuple[str, str | None]:
        """The hash of the file and, where the file is known, that of its pixels."""
        name = _hash(data) if len(data) < _SMALL_BYTES else await self._in_reader(partial(_hash, data))
        looked = "" if windows is None else f"{windows.scale}:{len(windows.places)}:"
        name = f"{PREPROCESSING}:{self._size()}:{looked}{name}"
        digest = self._aliases.get(name)
        if digest is None:
            digest = await self._cache.get_alias(name) or self._aliases.get(name)  # or it was read meanwhile
            if digest is not None:
                self._note_alias(name, digest)
        return name, digest

    async def _remember(self, name: str, digest: str) -> None:
        self._note_alias(name, digest)
        await self._cache.set_alias(name, digest)

    def _note_alias(self, name: str, digest: str) -> None:
        self._aliases[name] = digest
        if len(self._aliases) > _ALIASES:
            self._aliases.popitem(last=False)

    async def _work(self, data: bytes, digest: str, read: Read | None, inquiry: Inquiry) -> Work:
        """What the engine needs: the picture is decoded only if something of it is neither known nor read already."""
        parts = parts_for(self.blip.parts, [inquiry])
        known = self._encodings.find(digest, parts)
        self._count("encoding_hit" if len(known) == len(parts) else "encoding_miss")
        if read is None and (len(known) < len(parts) or needs_pixels(inquiry)):
            read = await self._read(data, windows_of(self.blip.parts, inquiry))
        return Work(digest, inquiry, read, known)

    async def _submit(self, work: Work) -> Done[tuple[Analysis, Timing]]:
        key = tuple(parts_for(self.blip.parts, [work.inquiry]))
        return await self.batcher.submit(work, key, work.inquiry.rows)

    def _compute(self, batch: Sequence[Work]) -> list[tuple[Analysis, Timing]]:
        clock, inquiries = Clock(), [work.inquiry for work in batch]
        needed = parts_for(self.blip.parts, inquiries)

        def seen(place: int, part: Part, states: ImageStates) -> None:
            if batch[place].digest:
                self._encodings.keep(batch[place].digest, part, states)

        found = analyses(
            self.blip.parts,
            needed,
            [_loaded(work, needed) for work in batch],
            inquiries,
            clock,
            [work.known for work in batch],
            seen,
        )
        engine = clock.timing()
        return [
            (analysis, Timing(*_reading(work.read), engine.encode_s, engine.search_s))
            for work, analysis in zip(batch, found, strict=True)
        ]

    def _key(self, digest: str, inquiry: Inquiry) -> str:
        """Of everything that a result follows from."""
        parts = [(part.name, part.revision, part.engine.precision) for part in parts_for(self.blip.parts, [inquiry])]
        return _hash(repr((digest, parts, inquiry)).encode())

    def _size(self) -> int:
        return max(vision.image_size for vision in self._inputs)

    async def _read(self, data: bytes, windows: Windows | None = None) -> Read:
        """A picture that is read has its place among those that wait: what would be refused is not read before."""
        with self.batcher.place():
            return await self._in_reader(partial(self._decode, data, windows))

    def _decode(self, data: bytes, windows: Windows | None) -> Read:
        start = time.perf_counter()
        image = load_image(data, self._limits, needed_side(self._inputs, windows or WHOLE))
        return self._read_image(image, windows, time.perf_counter() - start)

    def _read_image(self, image: Image.Image, windows: Windows | None, decode_s: float) -> Read:
        loaded = loaded_from(image, b"", self._inputs, windows or WHOLE, decode_s)
        digest = hashlib.sha256(b"" if windows is None else repr(loaded.full_size).encode())
        for array in (*loaded.pixels, *loaded.windows):
            digest.update(array.data)
        return Read(digest.hexdigest(), loaded, self._inputs)

    async def _in_reader(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._readers, call)


def _kept(analysis: bytes) -> WholeCaption:
    """The caption of an analysis that was in the cache."""
    [fields] = json.loads(analysis)["captions"]
    lists = {name: tuple(fields[name]) for name in ("tokens", "token_probabilities")}
    return WholeCaption(**fields | lists, cached=True)


def _yield_to_the_engine() -> None:
    """Lower the priority of this thread: the engine's threads wait for one another, so each moment that one of them is
    kept from a core is lost by all. Not by more: on a single core readers get a quarter beside an engine that fills it;
    with a tenth (nice 10) too few pictures are ready when a batch begins."""
    if sys.platform == "linux":  # elsewhere a priority is the whole process's
        thread = threading.get_native_id()
        if os.getpriority(os.PRIO_PROCESS, thread) < _READERS_NICE:  # to raise it is refused to all but root
            os.setpriority(os.PRIO_PROCESS, thread, _READERS_NICE)


def _loaded(work: Work, parts: Sequence[Part]) -> Loaded:
    if work.read is None:
        return Loaded(b"", (), None, 0.0, 0.0)
    whole, places = work.read.loaded, [work.read.inputs.index(part.config.vision) for part in parts]
    windows = tuple(whole.windows[place] for place in places) if whole.windows else ()
    return replace(whole, pixels=tuple(whole.pixels[place] for place in places), windows=windows)


def _reading(read: Read | None) -> tuple[float, float]:
    return (0.0, 0.0) if read is None else (read.loaded.decode_s, read.loaded.preprocess_s)


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _revision(parts: Sequence[Part]) -> str:
    """Of a checkpoint its own; of a set one that follows from those of all."""
    revisions = list(dict.fromkeys(part.revision for part in parts))
    return revisions[0] if len(revisions) == 1 else _hash("".join(revisions).encode())[:12]


def _warm_up(tasks: Sequence[str]) -> list[Inquiry]:
    each = {
        "caption": Inquiry(caption=GenerateOptions()),
        "answer": Inquiry(questions=("what is it",)),
        "match": Inquiry(texts=("a photo",)),
        "embed": Inquiry(embed=True),
    }
    if {"match", "embed"} <= set(tasks):
        each["ground"] = Inquiry(grounding=GroundOptions(), phrases=("a photo",))
    return [inquiry for inquiry in each.values() if set(inquiry.tasks) <= set(tasks)]
