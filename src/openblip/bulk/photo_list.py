"""The photos of one run: which are still to do, and how many are done, skipped and failed.

Knows sources and caption files. Prints nothing: errors go to the `report` that it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from openblip.bulk.prompts import Prompted
from openblip.bulk.sidecars import sidecar_path, write_sidecar
from openblip.errors import InputError, OpenBlipError
from openblip.image import shown_name
from openblip.types import Caption


class PhotoList:
    """Iterating it gives the paths and addresses to work on, each with its prompt; what is no use is reported and
    counted.

    photos: what was found; where it is no list, the total is unknown (0). sidecar: photos get caption files; one that
    has its file already is skipped, unless overwrite.
    """

    def __init__(
        self,
        photos: Iterable[Prompted],
        *,
        report: Callable[[OpenBlipError | str], None],
        sidecar: bool = False,
        overwrite: bool = False,
    ) -> None:
        self.total = self.done = self.written = self.skipped = self.failed = 0
        self._sidecar, self._overwrite, self._report = sidecar, overwrite, report
        self._taken: set[Path] = set()
        self._photos = photos
        if isinstance(photos, list):
            self.total = len(photos)

    def __iter__(self) -> Iterator[tuple[Path | str, str]]:
        for found, prompt in self._photos:
            if isinstance(found, InputError):
                self.fail(found)
            elif not self._sidecar or self._needs_sidecar(found):
                yield found, prompt

    def fail(self, error: OpenBlipError | str) -> None:
        """One photo came to nothing."""
        self.done += 1
        self.failed += 1
        self._report(error)

    def finish(self, source: Path | str, captions: Sequence[Caption] = ()) -> bool:
        """One photo is done; writes its captions to its caption file if it is to have one. False if that failed."""
        if self._sidecar:
            try:
                write_sidecar(Path(source), [caption.text for caption in captions])
            except InputError as error:
                self.fail(error)
                return False
            self.written += 1
        self.done += 1
        return True

    def summary(self) -> str:
        """What became of the caption files."""
        skipped = f", {self.skipped} photos skipped that have one (--overwrite replaces it)" if self.skipped else ""
        return f"{self.written} caption files written{skipped}"

    def _needs_sidecar(self, found: Path | str) -> bool:
        name = shown_name(found)
        if isinstance(found, str):
            self.fail(InputError(f"{name} has no folder to put a caption file in: leave out --sidecar"))
            return False
        path = sidecar_path(found)
        if path in self._taken or path == found:
            self.fail(InputError(f"{name} would share {shown_name(path.name)} with another file: rename one of them"))
            return False
        self._taken.add(path)
        if path.exists() and not self._overwrite:
            self.skipped += 1
            self.done += 1
            return False
        return True
