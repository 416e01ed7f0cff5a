"""The folder of a run, and the manifest that binds it to its settings, its models and its input shards.

manifest.json               what the run was asked to do, and with what; written first
scores/NAME.jsonl           every text of the shard with its scores
shards/NAME.tar             the pictures with a kept text
rejected/NAME.jsonl         the others, without their pictures, and why
summaries/NAME.json         what became of the shard; written after its other files, so it says that they are there
report.json, report.html    all shards together; written last
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openblip.bulk.capfilt.samples import fingerprint
from openblip.bulk.durable import make_folder, remove_durably, remove_parts, write_durably
from openblip.bulk.manifest import differences
from openblip.errors import DataError, InputError
from openblip.image import shown_name

FORMAT = 1
LOCK = ".lock"
_PARTS = ("scores", "shards", "rejected", "summaries")
_SUFFIXES = (".tar.gz", ".tar.bz2", ".tar.xz", ".tgz", ".tar")


@dataclass(frozen=True, slots=True)
class InputShard:
    """A noisy shard. name: what its outputs are called; pictures: its samples."""

    name: str
    path: Path
    bytes: int
    sha256: str
    pictures: int
    mtime_ns: int

    def to_dict(self) -> dict[str, Any]:
        """Plain types, ready for JSON."""
        return {field: getattr(self, field) for field in self.__slots__} | {"path": str(self.path)}

    @property
    def identity(self) -> tuple[str, int, str]:
        """What may not change between two calls of a run: the shard may lie elsewhere, not hold something else."""
        return self.name, self.bytes, self.sha256


class RunFolder:
    """Where a run keeps what it has done. Only for whoever holds its lock (but the paths are for everyone)."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.manifest, self.lock = root / "manifest.json", root / LOCK
        self.report_json, self.report_html = root / "report.json", root / "report.html"

    def scores(self, name: str) -> Path:
        """Of the shard with this name."""
        return self.root / "scores" / f"{name}.jsonl"

    def shard(self, name: str) -> Path:
        """What is made of it."""
        return self.root / "shards" / f"{name}.tar"

    def rejected(self, name: str) -> Path:
        """What is left out of that."""
        return self.root / "rejected" / f"{name}.jsonl"

    def summary(self, name: str) -> Path:
        """What became of it."""
        return self.root / "summaries" / f"{name}.json"

    def known_inputs(self) -> list[InputShard]:
        """Those of an earlier call; none where the manifest is not there or cannot be read, which `bind` reports."""
        try:
            values = json.loads(self.manifest.read_text(encoding="utf-8"))
            return [InputShard(**{**each, "path": Path(each["path"])}) for each in values["inputs"]]
        except (OSError, ValueError, KeyError, TypeError):
            return []

    def bind(
        self, settings: dict[str, Any], decision: dict[str, Any], inputs: Sequence[InputShard], *, redecide: bool
    ) -> bool:
        """Make the folder this run's, or check that it is. True where there was something to go on with.

        settings: what the scores follow from; decision: what is kept by them. redecide: another decision is taken up
        instead of refused. Raises InputError where the folder holds another run, or something else.
        """
        before = self._read()
        if before is not None:
            self._check_scores(before, settings, inputs)
            changed = differences(before["decision"], decision)
            if changed and not redecide:
                raise InputError(
                    f"{shown_name(self.root)} holds a run that decided otherwise ({'; '.join(changed)}): give "
                    "--redecide to keep its scores and decide anew, or another folder with --out"
                )
            if changed:
                for report in (self.report_json, self.report_html):
                    remove_durably(report)
        manifest = {
            "format": FORMAT,
            "settings": settings,
            "decision": decision,
            "inputs": [shard.to_dict() for shard in inputs],
        }
        for part in _PARTS:
            make_folder(self.root / part)
        self.tidy()
        content = json.dumps(manifest, indent=2).encode() + b"\n"
        if before is None or content != self.manifest.read_bytes():
            write_durably(self.manifest, content)
        return before is not None

    def tidy(self) -> None:
        """Remove what killed workers, or killed runs, left half written."""
        for folder in (self.root, *(self.root / part for part in _PARTS)):
            remove_parts(folder)

    def _read(self) -> dict[str, Any] | None:
        if not self.manifest.exists():
            strangers = [path.name for path in self.root.iterdir() if path.name not in (LOCK, *_PARTS)]
            if strangers := [name for name in strangers if not name.startswith(f".{self.manifest.name}.")]:
                raise InputError(
                    f"{shown_name(self.root)} holds {shown_name(sorted(strangers)[0])} and no run of capfilt: give a "
                    "new folder with --out"
                )
            return None
        try:
            values = json.loads(self.manifest.read_text(encoding="utf-8"))
            if values["format"] == FORMAT:
                return {name: values[name] for name in ("settings", "decision", "inputs")}
        except (OSError, ValueError, KeyError, TypeError) as error:
            reason = f"cannot read {shown_name(self.manifest)}: {error}"
            raise InputError(f"{reason}: give a new folder with --out") from error
        raise InputError(f"{shown_name(self.root)} was written by another version: give a new folder with --out")

    def _check_scores(self, before: dict[str, Any], settings: dict[str, Any], inputs: Sequence[InputShard]) -> None:
        changed = differences(before["settings"], settings)
        known = [(each["name"], each["bytes"], each["sha256"]) for each in before["inputs"]]
        if known != [shard.identity for shard in inputs]:
            changed.append(_changed_inputs(known, inputs))
        if changed:
            raise InputError(
                f"{shown_name(self.root)} holds another run ({'; '.join(changed)}): give the same again to go on with "
                "it, or another folder with --out"
            )


def find_inputs(
    shards: Sequence[Path], known: Sequence[InputShard], progress: Callable[[str, int, int], None]
) -> list[InputShard]:
    """The shards with their fingerprints. known: of an earlier call; a shard of the same path, size and time is not
    read again. Raises DataError where one cannot be read."""
    earlier = {(shard.path, shard.bytes, shard.mtime_ns): shard for shard in known}
    inputs = []
    for place, (name, shard) in enumerate(zip(output_names(shards), shards, strict=True), 1):
        path = shard.resolve()
        try:
            found = path.stat()
        except OSError as error:
            raise DataError(f"cannot read the shard {shard}: {error.strerror or error}: check the path") from error
        same = earlier.get((path, found.st_size, found.st_mtime_ns))
        if same is None or same.name != name:
            print_ = fingerprint(path)
            same = InputShard(name, path, print_.bytes, print_.sha256, print_.pictures, found.st_mtime_ns)
        inputs.append(same)
        progress("shards looked at", place, len(shards))
    return inputs


def output_names(shards: Sequence[Path]) -> list[str]:
    """What the outputs of each shard are called: as the shard, or numbered where two shards of unlike folders have the
    same name. Raises DataError where one is named twice."""
    resolved = [shard.resolve() for shard in shards]
    for place, path in enumerate(resolved):
        if path in resolved[:place]:
            raise DataError(f"{shards[place]} is named twice: name each shard once")
    stems = [_stem(shard.name) for shard in shards]
    if len(set(stems)) == len(stems):
        return stems
    return [f"{place:05d}-{stem}" for place, stem in enumerate(stems)]


def _changed_inputs(known: Sequence[tuple[str, int, str]], inputs: Sequence[InputShard]) -> str:
    if len(known) != len(inputs):
        return f"it has {len(known)} shards, and {len(inputs)} are given"
    for before, shard in zip(known, inputs, strict=True):
        if before[0] != shard.name:
            return f"its shards are called otherwise, {before[0]} and not {shard.name}"
        if before != shard.identity:
            return f"{shard.path} is not what it was"
    return "its shards differ"


def _stem(name: str) -> str:
    for suffix in _SUFFIXES:
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name
