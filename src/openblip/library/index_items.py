"""An index run over catalogue files: what of their items is new, changed or gone, and the library brought up to date.

A changed title encodes the text again, a changed picture the picture, a changed price nothing. Items are written in
batches, each a transaction, so that a run that is killed goes on where it stopped. Knows the table, the items and the
encoder; not how any of them works.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from openblip.engine import Floats
from openblip.errors import ImageError, OpenBlipError
from openblip.image import DEFAULT_LIMITS, ImageLimits, is_url, shown_name
from openblip.library.ahead import ahead
from openblip.library.encode import encode_each, stamp, text_vectors
from openblip.library.facts import read_facts
from openblip.library.items import Catalogue, Item, read_catalogue
from openblip.library.lock import only_writer
from openblip.library.products import NO_FACTS, NO_PICTURE, Product, ProductForm, item_of, joined
from openblip.library.records import Facts, Place, microseconds
from openblip.library.runs import DEFAULT_OPTIONS, IndexOptions, Progress, Report, Run
from openblip.library.scan import place_of, read_place
from openblip.library.table import PhotoTable
from openblip.pipeline import Blip


@dataclass(slots=True)
class CatalogueReport:
    """What became of the items of a run. added, updated: written; dropped: out of the library, as the catalogue has
    them no more; failed: rows, cells and pictures that cannot be used; unpictured: items that are found by their text
    alone; pictures_encoded, texts_encoded: what the model saw; items: in the library now; seconds: without loading the
    model or LanceDB."""

    added: int = 0
    updated: int = 0
    unchanged: int = 0
    dropped: int = 0
    failed: int = 0
    unpictured: int = 0
    pictures_encoded: int = 0
    texts_encoded: int = 0
    items: int = 0
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain types, ready for JSON."""
        return asdict(self)


def index_catalogue(
    tables: Sequence[str],
    database: str | Path,
    load: Callable[[], Blip],
    options: IndexOptions = DEFAULT_OPTIONS,
    *,
    report: Report | None = None,
    progress: Progress | None = None,
    limits: ImageLimits = DEFAULT_LIMITS,
) -> CatalogueReport:
    """Bring a library up to date with a catalogue, of one file or several; it is made where there is none. What the
    files do not hold any more is dropped.

    load: gives the model; called when something must be encoded, and no sooner. report: told of every row, cell and
    picture that cannot be used, which does not end the run. limits: those of the model, which say what is too large to
    be read.

    Raises DataError where a file holds no items, the library cannot be read or written, holds photos, was made with
    another model, or another process is writing it.
    """
    catalogue = read_catalogue(tables)
    with only_writer(database):
        return _CatalogueRun(database, load, options, report, progress, limits).all_of(catalogue)


@dataclass(frozen=True, slots=True)
class _Known:
    """What is there of an item."""

    fingerprint: bytes
    text: str
    path: str
    size: int
    modified: int
    sha256: str

    def is_of(self, place: Place) -> bool:
        """Whether the picture that it was made with lies there unchanged."""
        return (self.path, self.size, self.modified) == (place.path, place.size, place.modified)


@dataclass(slots=True)
class _Work:
    """An item on its way. place, facts, content: of its picture, where there is one that can be read; same: it is that
    of the item's record; error: why it cannot be used."""

    item: Item
    known: _Known | None
    place: Place = NO_PICTURE
    facts: Facts = NO_FACTS
    content: bytes = b""
    same: bool = False
    error: OpenBlipError | None = None


@dataclass
class _CatalogueRun(Run):
    """A run over the items of a catalogue."""

    _report: CatalogueReport = field(default_factory=CatalogueReport, init=False)
    _form: ProductForm = field(default_factory=lambda: ProductForm({}), init=False)
    _known: dict[str, _Known] = field(default_factory=dict, init=False)
    _by_content: dict[str, str] = field(default_factory=dict, init=False)

    def all_of(self, catalogue: Catalogue) -> CatalogueReport:
        self._form = ProductForm(catalogue.kinds)
        self._remember()
        start = time.perf_counter()
        for error in catalogue.errors:
            self._fail(error)
        batch: list[_Work] = []
        total = len(catalogue.items)
        for place, work in enumerate(ahead(self._works(catalogue), self._read), 1):
            if work.error is not None:
                self._fail(work.error)
            if self._is_there_so(work, work.place):
                self._report.unchanged += 1
                self._report.unpictured += not work.place.path
            else:
                batch.append(work)
            if len(batch) >= self.options.batch_size or place == total:
                self._write(batch)
                batch = []
            if self.progress is not None:
                self.progress("items", place, total)
        self._finish({item.key for item in catalogue.items}, catalogue.whole)
        self._report.seconds = time.perf_counter() - start
        return self._report

    def _remember(self) -> None:
        table = self.open("products")
        if table is None:
            return
        table.reshape(self._form)
        for row in table.rows():
            item = item_of(row)
            self._known[item.key] = _Known(
                item.fingerprint(), item.text, row["path"], row["size"], microseconds(row["modified"]), row["sha256"]
            )
            if row["sha256"]:
                self._by_content[row["sha256"]] = item.key

    def _works(self, catalogue: Catalogue) -> Iterator[_Work]:
        for item in catalogue.items:
            yield _Work(item, self._known.get(item.key))

    def _read(self, work: _Work) -> _Work:
        """The picture's bytes and facts, unless it is the one that is known; in a thread of its own."""
        picture = work.item.picture
        if not picture:
            return work
        try:
            if is_url(picture):
                raise ImageError(f"{shown_name(picture)} is an address: a library holds files, download it first")
            work.place = place_of(Path(picture))
            work.same = work.known is not None and work.known.is_of(work.place)
            if not work.same:
                work.content = read_place(work.place, self.limits.max_bytes)
                work.facts = read_facts(work.content, self.limits)
        except OpenBlipError as error:
            work.place, work.error = NO_PICTURE, type(error)(f"{work.item.id!r}: {error}")
        return work

    def _is_there_so(self, work: _Work, place: Place = NO_PICTURE) -> bool:
        """Whether the record says the same, made with the picture of a place."""
        known = work.known
        return known is not None and known.fingerprint == work.item.fingerprint() and known.is_of(place)

    # ------------------------------------------------------------------------------------------- what is done with them

    def _write(self, batch: list[_Work]) -> None:
        """Every item of a batch with both of its vectors, as one transaction."""
        if not batch:
            return
        old = self._old(batch)
        pictures = self._of_pictures(batch, old)
        texts = self._of_texts(batch, old)
        model = self.table.model if self.table is not None else stamp(self.model())
        nothing = np.zeros(model.width, np.float32)
        records = []
        for work, picture, text in zip(batch, pictures, texts, strict=True):
            item = work.item
            self._report.unpictured += picture is None
            if picture is None and self._is_there_so(work):
                self._report.unchanged += 1
                continue
            both = joined(nothing if picture is None else picture, nothing if text is None else text)
            place, facts = (NO_PICTURE, NO_FACTS) if picture is None else (work.place, work.facts)
            records.append(Product(place, facts, f"{item.title}\n{item.description}".strip(), model, both, item))
            self._report.added += work.known is None
            self._report.updated += work.known is not None
        if self.table is None:
            self.table = PhotoTable.create(self.database, model, self._form)
        self.table.write(records, fresh=all(work.known is None for work in batch))
        self._by_content |= {record.facts.sha256: record.id for record in records if record.facts.sha256}

    def _old(self, batch: Sequence[_Work]) -> dict[str, Product]:
        """The records whose vectors the batch may take over: its own, and those of the same pictures."""
        wanted = {work.item.key for work in batch if work.known is not None}
        wanted |= {self._by_content[work.facts.sha256] for work in batch if work.facts.sha256 in self._by_content}
        found = self.table.records(sorted(wanted)) if self.table is not None and wanted else {}
        return {key: record for key, record in found.items() if isinstance(record, Product)}

    def _of_pictures(self, batch: Sequence[_Work], old: dict[str, Product]) -> list[Floats | None]:
        """A unit vector each, None where there is no picture that can be used. The same bytes are encoded once."""
        vectors: dict[str, Floats] = {}
        fresh: dict[str, _Work] = {}
        for work in batch:
            if work.same:
                work.facts = old[work.item.key].facts
            digest = work.facts.sha256
            if digest and digest not in vectors:
                known = old.get(self._by_content.get(digest, ""))
                if known is not None and known.facts.sha256 == digest:
                    vectors[digest] = known.of_picture
                else:
                    fresh.setdefault(digest, work)
        errors: dict[str, OpenBlipError] = {}
        if fresh:
            contents = [work.content for work in fresh.values()]
            for digest, encoding in zip(fresh, encode_each(self.model(), contents), strict=True):
                if encoding.error is not None:
                    errors[digest] = encoding.error
                else:
                    vectors[digest] = encoding.vector
                    self._report.pictures_encoded += 1
        for work in batch:
            work.content = b""
            if error := errors.get(work.facts.sha256):
                name = f"{work.item.id!r}: {shown_name(work.place.path)}"
                self._fail(type(error)(str(error).replace("the picture", name, 1)))
        return [vectors.get(work.facts.sha256) for work in batch]

    def _of_texts(self, batch: Sequence[_Work], old: dict[str, Product]) -> list[Floats | None]:
        """A unit vector each, None where there is no text. The same text is encoded once a batch."""
        vectors: dict[str, Floats] = {}
        for work in batch:
            if work.known is not None and work.known.text == work.item.text and work.item.key in old:
                vectors[work.item.text] = old[work.item.key].of_text
        fresh = list(
            dict.fromkeys(work.item.text for work in batch if work.item.text not in vectors and work.item.text)
        )
        if fresh:
            vectors |= zip(fresh, text_vectors(self.model(), fresh), strict=True)
            self._report.texts_encoded += len(fresh)
        return [vectors[work.item.text] if work.item.text else None for work in batch]

    def _finish(self, there: set[str], whole: bool) -> None:
        """What the catalogue has no more goes, unless it may be in a row that cannot be read; then the indices."""
        if self.table is None:
            return
        if whole:
            self._report.dropped += self.table.delete([key for key in self._known if key not in there])
        if self._report.added or self._report.updated or self._report.dropped:
            self.table.tidy()
        self._report.items = len(self.table)

    def _fail(self, error: OpenBlipError) -> None:
        self._report.failed += 1
        if self.tell is not None:
            self.tell(error)
