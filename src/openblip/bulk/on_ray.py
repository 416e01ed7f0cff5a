"""Chunks of pictures on a cluster, through Ray Data: engines are held by actors, Ray hands out no more than they can
take, and a lost worker's chunk is done once more. A chunk leaves nothing but its records, so doing it twice does no
harm."""

from __future__ import annotations

import json
import pickle
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from openblip.bulk.capfilt.models import settled_name
from openblip.bulk.clusters import cluster
from openblip.bulk.items import Item, Stored
from openblip.bulk.jobs import Job, Record, records
from openblip.bulk.run import Chunk, Compute
from openblip.errors import DataError, OpenBlipError
from openblip.image import shown_name
from openblip.parts import EngineName

if TYPE_CHECKING:
    from openblip.pipeline import Blip

CHUNK = 64
"""Pictures of a chunk: what is lost with a worker."""
WINDOW = 1000
"""Chunks that are read and sent before the first of them is done: 64,000 pictures by their names."""
WINDOW_BYTES = 2**28
"""The same of those whose bytes are sent."""
_TRIES = 2


@dataclass(frozen=True, slots=True)
class Model:
    """How a worker loads its model."""

    name: str | None
    engine: EngineName = "openvino"
    precision: str | None = None

    def load(self) -> Blip:
        """On one thread. Raises what `Blip.load` does."""
        from openblip.pipeline import Blip

        return Blip.load(self.name, engine=self.engine, precision=self.precision, threads=1)


class Tries:
    """How often each chunk was begun. An actor of its own, which outlives the workers: Ray does a lost worker's task
    again and again, and a picture that kills its worker would kill them for ever."""

    def __init__(self) -> None:
        self._begun: dict[int, int] = {}

    def begin(self, place: int) -> int:
        """How often, with this time."""
        self._begun[place] = self._begun.get(place, 0) + 1
        return self._begun[place]


class PictureWorker:
    """The worker as Ray Data calls it: a row with a chunk's pictures goes in, and one with its records, or why there
    are none, comes out. Ray makes one in each of its processes, and anew where the process was lost."""

    def __init__(self) -> None:
        self._blip: Blip | None = None

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """row: {"work": the pickled Model and Job, and what `Tries` is called, the same in all rows, place and
        items}."""
        model, job, tries, place, items = pickle.loads(row["work"])
        if tries and _begin(tries, place) > _TRIES:
            return {"place": place, "records": json.dumps([_lost(item) for item in items]), "error": ""}
        try:
            self._blip = self._blip or model.load()
            found = list(_records(job, self._blip, items))
        except OpenBlipError as error:
            return {"place": place, "records": "", "error": str(error)}
        return {"place": place, "records": json.dumps(found), "error": ""}


def compute_on_ray(job: Job, model: Model, address: str, workers: int, *, ordered: bool) -> Compute:
    """Chunks done on the cluster at the address, see `clusters.cluster`, by at most so many workers of one CPU each.
    ordered: they come out in their order, for which those that are done early wait; else as they are done.

    Every node must see the pictures and the model under the same paths, and have openblip. A chunk whose worker died
    twice comes out with that as the error of each picture. Raises MissingExtra without Ray, and DataError where the
    cluster cannot be reached or a worker cannot load the model.
    """
    model = replace(model, name=settled_name(model.name))

    def compute(chunks: Iterator[Chunk]) -> Iterator[tuple[Chunk, list[Record]]]:
        by_place: dict[int, Chunk] = {}
        settled: deque[Chunk] = deque()

        def to_do() -> Iterator[Chunk]:
            for chunk in chunks:
                if chunk.todo:
                    by_place[chunk.place] = chunk
                    yield chunk
                else:
                    settled.append(chunk)

        early: dict[int, list[Record]] = {}
        for place, found in _done(job, model, _windows(to_do()), address, workers):
            while settled:
                yield settled.popleft(), []
            early[place] = found
            while early and (following := next(iter(by_place)) if ordered else next(iter(early))) in early:
                yield by_place.pop(following), early.pop(following)
        yield from ((chunk, []) for chunk in settled)

    return compute


def checkpoints(name: str | None, job: Job) -> dict[str, list[str]]:
    """Of each task the checkpoint's name and revision, as a loaded model has them. Raises ModelError."""
    from openblip.checkpoint import open_checkpoint
    from openblip.hub import find_model, find_set

    members, found = find_set(name), {}
    for task in job.needed():
        model = find_model(members[task] if members else name)
        found[str(task)] = [model.name, open_checkpoint(model.path, model.name).revision]
    return found


def _windows(chunks: Iterator[Chunk]) -> Iterator[list[Chunk]]:
    """As many at a time as this process may hold."""
    window, held = list[Chunk](), 0
    for chunk in chunks:
        window.append(chunk)
        held += sum(len(item.picture) for item in chunk.todo if isinstance(item.picture, bytes))
        if len(window) == WINDOW or held >= WINDOW_BYTES:
            yield window
            window, held = [], 0
    if window:
        yield window


def _done(
    job: Job, model: Model, windows: Iterator[list[Chunk]], address: str, workers: int
) -> Iterator[tuple[int, list[Record]]]:
    """Of each chunk its place and records, as they come; all of a window before the next is asked for."""
    first = next(windows, None)
    if first is None:
        return
    with cluster(address, workers) as ray:
        name = f"openblip-{uuid4()}"
        tries = ray.remote(num_cpus=0)(Tries).options(name=name).remote()  # it ends with this reference
        for window in chain([first], windows):
            work = [{"work": pickle.dumps((model, job, name, each.place, _movable(each.todo)))} for each in window]
            rows = ray.data.from_items(work, override_num_blocks=len(work))
            pool = ray.data.ActorPoolStrategy(size=min(workers, len(work)))
            for row in rows.map(PictureWorker, compute=pool, num_cpus=1).iter_rows():
                if row["error"]:
                    raise DataError(row["error"])
                yield int(row["place"]), json.loads(row["records"])
        del tries


def _begin(tries: str, place: int) -> int:
    """In a worker: how often the chunk was begun."""
    import ray

    begun: int = ray.get(ray.get_actor(tries).begin.remote(place))
    return begun


def _lost(item: Item) -> Record:
    reason = "the worker that had it was lost twice, perhaps for want of memory: try it again by itself"
    return {"source": item.source, "error": f"{shown_name(item.source)}: {reason}"}


def _movable(items: list[Item]) -> list[Item]:
    """With paths that mean the same in any process."""
    return [
        replace(item, picture=item.picture.absolute()) if isinstance(item.picture, Path) else item for item in items
    ]


def _records(job: Job, blip: Blip, items: list[Item]) -> Iterator[Record]:
    """One an item; pictures in shards are read here."""
    read = [_read(item) for item in items]
    found = records(job, blip, [item for item in read if item.error is None])
    for item in read:
        yield next(found) if item.error is None else {"source": item.source, "error": str(item.error)}


def _read(item: Item) -> Item:
    if not isinstance(item.picture, Stored):
        return item
    try:
        return replace(item, picture=item.picture.read())
    except DataError as error:
        return replace(item, picture=None, error=error)
