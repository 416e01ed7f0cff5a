"""An index run: what of the sources is new, changed, moved or gone, and the library brought up to date with it.

Records are written in batches, each a transaction, so that a run that is killed goes on where it stopped. Knows the
table, the scan and the encoder; not how any of them works.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

from openblip.errors import DataError, OpenBlipError
from openblip.image import DEFAULT_LIMITS, ImageLimits
from openblip.library.ahead import ahead
from openblip.library.encode import Encoding, encode_each, stamp
from openblip.library.facts import read_facts
from openblip.library.lock import only_writer
from openblip.library.records import Facts, Place, Record
from openblip.library.runs import DEFAULT_OPTIONS, IndexOptions, Progress, Report, Run
from openblip.library.scan import (
    Candidate,
    Scan,
    Shard,
    holds_pictures,
    pictures_of,
    read_place,
    scan,
    shard_candidates,
)
from openblip.library.table import Known, PhotoTable
from openblip.pipeline import Blip

BATCH_SECONDS = 10.0


@dataclass(slots=True)
class IndexReport:
    """What became of the pictures of a run. added, updated, moved: written; encoded: those of them that the model saw;
    dropped: out of the library, as their files are gone; photos: in the library now; seconds: without loading the model
    or LanceDB."""

    added: int = 0
    updated: int = 0
    moved: int = 0
    unchanged: int = 0
    dropped: int = 0
    failed: int = 0
    encoded: int = 0
    photos: int = 0
    seconds: float = 0.0

    @property
    def done(self) -> int:
        """Pictures that are through."""
        return self.added + self.updated + self.moved + self.unchanged + self.failed

    def to_dict(self) -> dict[str, Any]:
        """Plain types, ready for JSON."""
        return asdict(self)


def index_photos(
    sources: Sequence[str],
    database: str | Path,
    load: Callable[[], Blip],
    options: IndexOptions = DEFAULT_OPTIONS,
    *,
    lines: Iterable[str] = (),
    report: Report | None = None,
    progress: Progress | None = None,
    limits: ImageLimits = DEFAULT_LIMITS,
) -> IndexReport:
    """Bring a library up to date with what the sources hold now; it is made where there is none.

    sources, lines: as in `scan`. load: gives the model; called when a picture must be encoded, and no sooner. report:
    told of every picture that cannot be used, which does not end the run. limits: those of the model, which say what is
    too large to be read.

    Raises DataError where the library cannot be read or written, was made with another model, or another process is
    writing it.
    """
    with only_writer(database):
        return _PhotoRun(database, load, options, report, progress, limits).all_of(sources, lines)


@dataclass(slots=True)
class _Work:
    """A picture on its way. known: its record so far; same: the record whose content it has."""

    candidate: Candidate
    facts: Facts | None = None
    content: bytes = field(default=b"", repr=False)
    known: Known | None = None
    same: Known | None = None


@dataclass
class _PhotoRun(Run):
    """A run over the photos and shards of its sources."""

    _report: IndexReport = field(default_factory=IndexReport, init=False)
    _total: int = field(default=0, init=False)
    _known: dict[tuple[str, str], Known] = field(default_factory=dict, init=False)
    _by_content: dict[str, Known] = field(default_factory=dict, init=False)
    _seen: set[tuple[str, str]] = field(default_factory=set, init=False)
    _records: list[Record] = field(default_factory=list, init=False)
    _carried: list[tuple[_Work, Known]] = field(default_factory=list, init=False)
    _gone: list[str] = field(default_factory=list, init=False)
    _incomplete: set[str] = field(default_factory=set, init=False)
    _found: Scan = field(default_factory=Scan, init=False)
    _written: float = field(default_factory=time.perf_counter, init=False)

    def all_of(self, sources: Sequence[str], lines: Iterable[str]) -> IndexReport:
        self.open("photos")
        start = time.perf_counter()
        self._remember()
        found = self._found = scan(sources, lines)
        for error in found.errors:
            self._fail(error)
        self._total = len(found.photos)
        shards = self._open_shards(found)
        self._total += self._report.unchanged + sum(map(pictures_of, shards))
        with closing(self._candidates(found, shards)) as candidates:
            self._encode(self._prepared(candidates))
        self._flush()
        self._drop()
        if self.table is not None:
            if self._report.done > self._report.unchanged + self._report.failed or self._report.dropped:
                self.table.tidy()
            self._report.photos = len(self.table)
        self._report.seconds = time.perf_counter() - start
        return self._report

    def _remember(self) -> None:
        for known in self.table.known() if self.table is not None else ():
            self._known[known.path, known.key] = known
            self._by_content[known.sha256] = known

    # ------------------------------------------------------------------------------------- which pictures there are

    def _open_shards(self, found: Scan) -> list[Shard]:
        """Those that are not here whole, or have changed; of the others nothing is read."""
        done = self.table.done_shards() if self.table is not None else {}
        complete = {shard.path for shard in found.shards if done.get(shard.path) == (shard.size, shard.modified)}
        if complete:
            for place, known in self._known.items():
                if place[0] in complete and not self._lacks_caption(known):
                    self._seen.add(place)
                    self._report.unchanged += 1
        lacking = {known.path for known in self._known.values() if self._lacks_caption(known)}
        return [shard for shard in found.shards if shard.path not in complete - lacking]

    def _lacks_caption(self, known: Known) -> bool:
        return self.options.captions and not known.has_caption

    def _candidates(self, found: Scan, shards: Sequence[Shard]) -> Generator[_Work, None, None]:
        """What must be read. Unchanged photos are counted here and go no further."""
        for place in found.photos:
            key = (place.path, "")
            known = self._known.get(key)
            self._seen.add(key)
            same = known is not None and (known.size, known.modified) == (place.size, place.modified)
            if same and known is not None and not self._lacks_caption(known):
                self._report.unchanged += 1
                continue
            yield _Work(Candidate(place), known=known)
        for shard in shards:
            yield from self._of_shard(shard)

    def _of_shard(self, shard: Shard) -> Iterator[_Work]:
        whole = True
        try:
            for candidate in shard_candidates(shard):
                key = (shard.path, candidate.place.key)
                if key not in self._seen:
                    self._seen.add(key)
                    yield _Work(candidate, content=candidate.content or b"", known=self._known.get(key))
        except DataError as error:
            whole = False
            self._fail(error)
            self._seen |= {place for place in self._known if place[0] == shard.path}  # it may be whole again
        if whole:
            yield _Work(Candidate(Place(shard.path, shard.size, shard.modified)), facts=_END_OF_SHARD)

    def _prepared(self, works: Iterator[_Work]) -> Iterator[_Work]:
        """With bytes, hash and what is known of this content; read a few ahead."""
        for work in ahead(works, self._read):
            if work.candidate.error is None and work.facts is not _END_OF_SHARD:
                assert work.facts is not None
                same = work.known if work.known and work.known.sha256 == work.facts.sha256 else None
                work.same = same or self._by_content.get(work.facts.sha256)
                if work.same and self._lacks_caption(work.same) and not work.candidate.caption:
                    work.same = None
            yield work

    # ------------------------------------------------------------------------------------------- what is done with them

    def _encode(self, works: Iterator[_Work]) -> None:
        """New content goes through the model, in order; all else passes by it."""
        first = next(works, None)
        waiting: deque[_Work] = deque()
        while first is not None and not self._needs_model(first):
            self._pass_by(first)
            first = next(works, None)
        if first is None:
            return
        blip = self.model()

        def contents() -> Iterator[bytes]:
            for work in chain([first], works):
                if self._needs_model(work):
                    waiting.append(work)
                    yield work.content
                elif work.facts is _END_OF_SHARD:
                    waiting.append(work)
                else:
                    self._pass_by(work)

        with closing(encode_each(blip, contents(), self.options.captions)) as encodings:
            for encoding in encodings:
                while not self._needs_model(waiting[0]):
                    self._pass_by(waiting.popleft())
                self._take(waiting.popleft(), encoding)
        for work in waiting:
            self._pass_by(work)

    def _needs_model(self, work: _Work) -> bool:
        return work.candidate.error is None and work.same is None and work.facts is not _END_OF_SHARD

    def _pass_by(self, work: _Work) -> None:
        place = work.candidate.place
        if work.facts is _END_OF_SHARD:
            self._flush()
            if self.table is not None:
                self.table.note_shard(place.path, place.size, place.modified)
        elif work.candidate.error is not None:
            self._fail(work.candidate.error, work)
        elif work.same is not None:
            self._carry(work, work.same)
        self._advance()

    def _carry(self, work: _Work, same: Known) -> None:
        """The content is known: its vector is taken over."""
        place = work.candidate.place
        if same is work.known and (same.size, same.modified) == (place.size, place.modified):
            self._report.unchanged += 1
            return
        work.content = b""
        self._carried.append((work, same))
        if same is work.known:
            self._report.unchanged += 1
        elif (same.path, same.key) not in self._seen and self._is_gone(same):
            self._report.moved += 1
            self._gone.append(same.id)
            self._incomplete |= {same.path} if same.key else set()
            self._seen.add((same.path, same.key))
        elif work.known is not None:
            self._report.updated += 1
        else:
            self._report.added += 1

    def _take(self, work: _Work, encoding: Encoding) -> None:
        """The model is through with a picture."""
        if encoding.error is not None:
            self._fail(_named(encoding.error, work.candidate.place), work)
        else:
            assert work.facts is not None
            assert self.blip is not None
            caption = work.candidate.caption or encoding.caption
            self._records.append(Record(work.candidate.place, work.facts, caption, stamp(self.blip), encoding.vector))
            self._report.encoded += 1
            self._report.updated += work.known is not None
            self._report.added += work.known is None
        self._advance()

    def _fail(self, error: OpenBlipError, work: _Work | None = None) -> None:
        self._report.failed += 1
        if work is not None and work.known is not None:  # what is there is not what the file holds now
            self._gone.append(work.known.id)
            self._report.dropped += 1
        if self.tell is not None:
            self.tell(error)

    def _advance(self) -> None:
        if self.progress is not None:
            self.progress("photos", self._report.done, max(self._total, self._report.done))
        waited = time.perf_counter() - self._written >= BATCH_SECONDS
        if len(self._records) + len(self._carried) >= self.options.batch_size or (waited and self._records):
            self._flush()

    def _flush(self) -> None:
        """Everything that is waiting, as one transaction."""
        self._written = time.perf_counter()
        records, gone = self._records, self._gone
        if self._carried and self.table is not None:
            old = self.table.records([same.id for _, same in self._carried])
            records = [*records, *(self._carried_over(work, old.get(same.id)) for work, same in self._carried)]
        self._records, self._gone, self._carried = [], [], []
        if not records and not gone:
            return
        if self.table is None:
            self.table = PhotoTable.create(self.database, records[0].model)
        self.table.forget_shards(self._incomplete)
        self._incomplete = set()
        fresh = all((record.place.path, record.place.key) not in self._known for record in records)
        self.table.write(records, fresh, [each for each in gone if all(each != record.id for record in records)])

    def _carried_over(self, work: _Work, old: Record | None) -> Record:
        """The record of the same content for another place. It may be another's by now, where an earlier batch of this
        run changed or moved it: then the picture is encoded after all."""
        assert work.facts is not None
        place, facts = work.candidate.place, work.facts
        if old is not None and old.facts.sha256 == facts.sha256:
            return replace(old, place=place, facts=facts, caption=work.candidate.caption or old.caption)
        blip = self.model()
        [encoding] = encode_each(blip, [read_place(place, self.limits.max_bytes)], self.options.captions)
        if encoding.error is not None:
            raise encoding.error
        self._report.encoded += 1
        return Record(place, facts, work.candidate.caption or encoding.caption, stamp(blip), encoding.vector)

    def _drop(self) -> None:
        """What lay below the sources and is gone; of a shard that was read, what it holds no more."""
        if self.table is None:
            return
        read = {shard.path for shard in self._found.shards}
        gone = [
            known
            for place, known in self._known.items()
            if place not in self._seen
            and self._found.covers(known.path)
            and (known.path in read or not Path(known.path).exists())
        ]
        self.table.forget_shards({known.path for known in gone if known.key} - read)
        self._report.dropped += self.table.delete([known.id for known in gone])

    def _is_gone(self, same: Known) -> bool:
        """Whether a picture that came up elsewhere was moved. Where its whole folder is away, as that of a disk that is
        not mounted, it may come back: then the other is a copy."""
        if Path(same.path).exists():
            return False
        return self._found.covers(same.path) or holds_pictures(Path(same.path).parent)

    def _read(self, work: _Work) -> _Work:
        """Bytes and facts; in a thread of its own."""
        if work.facts is None and work.candidate.error is None:
            try:
                work.content = work.content or read_place(work.candidate.place, self.limits.max_bytes)
                work.facts = read_facts(work.content, self.limits)
            except OpenBlipError as error:
                work.candidate = replace(work.candidate, error=error)
        return work


_END_OF_SHARD = Facts("", 0, 0)


def _named(error: OpenBlipError, place: Place) -> OpenBlipError:
    """The picture came as bytes, and the message is to say which one."""
    return type(error)(str(error).replace("the picture", place.name, 1))
