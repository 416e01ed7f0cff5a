"""The photos of one captioning run: which are still to do, and how many are done, skipped and failed.

Knows sources and caption files. Prints nothing: errors go to the `report` that it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from openblip.bulk.sidecars import sidecar_path, write_sidecar
from openblip.bulk.sources import Found, find_images
from openblip.errors import ImageError, InputError, OpenBlipError
from openblip.image import shown_name
from openblip.types import Caption


class PhotoList:
    """Iterating it gives the paths and addresses to caption, each once; what is no use is reported and counted.

    lines: what "-" among the arguments stands for; with it the total is unknown (0). sidecar: photos get caption files;
    one that has its file already is skipped, unless overwrite.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        lines: Iterable[str] | None,
        *,
        sidecar: bool,
        overwrite: bool,
        report: Callable[[OpenBlipError], None],
    ) -> None:
        self.total = self.done = self.written = self.skipped = self.failed = 0
        self._sidecar, self._overwrite, self._report = sidecar, overwrite, report
        self._taken: set[Path] = set()
        self._found: Iterable[Found] = find_images(arguments, lines or ())
        if lines is None:
            self._found = list(self._found)
            self.total = len(self._found)

    def __iter__(self) -> Iterator[Path | str]:
        for found in self._found:
            if isinstance(found, ImageError):
                self.fail(found)
            elif not self._sidecar or self._needs_sidecar(found):
                yield found

    def fail(self, error: OpenBlipError) -> None:
        """One photo came to nothing."""
        self.done += 1
        self.failed += 1
        self._report(error)

    def finish(self, source: Path | str, captions: Sequence[Caption]) -> bool:
        """One photo has its captions; writes its caption file if it is to have one. False if that failed."""
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
