"""One shard: score it, then write what is kept of it. Each of the two is done whole or not at all, so a worker may be
killed at any moment and another may do the same again. Knows a shard's files, not how many workers there are."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from io import BytesIO
from itertools import zip_longest
from pathlib import Path
from typing import IO, Any

from openblip.bulk.capfilt.folder import RunFolder
from openblip.bulk.capfilt.models import load_models
from openblip.bulk.capfilt.records import ScoredPicture, iterate_scores, json_line, write_scores
from openblip.bulk.capfilt.rule import Rule, Why, judge_all
from openblip.bulk.capfilt.samples import ShardSamples, WebSample
from openblip.bulk.capfilt.scoring import Scorer
from openblip.bulk.capfilt.settings import Scoring
from openblip.bulk.capfilt.summary import Summary, SummaryWriter, read_summary
from openblip.bulk.durable import durable_file, remove_durably, write_durably
from openblip.errors import DataError

Tell = Callable[[int], None]
"""Told how many pictures of the shard are scored."""


@dataclass(frozen=True, slots=True)
class Task:
    """What to do with one shard. place: among all shards. rule: None where it is not known before all are scored.
    decision: names the rule and what the summary holds; sheet: pairs of each kind for the contact sheet."""

    place: int
    name: str
    path: Path
    root: Path
    rule: Rule | None
    decision: str
    sheet: int

    def needs_models(self) -> bool:
        """Whether the shard is still to be scored."""
        return not RunFolder(self.root).scores(self.name).exists()


class ShardWorker:
    """Does tasks one after the other. The models are loaded when a shard is first to be scored."""

    def __init__(self, scoring: Scoring) -> None:
        self._scoring = scoring
        self._scorer: Scorer | None = None

    def run(self, task: Task, tell: Tell = lambda done: None) -> None:
        """Score the shard if it is not scored yet; with a rule, also write what is kept if that is not there yet.

        Raises InputError where it cannot be written, DataError where the shard cannot be read, and what loading the
        models does.
        """
        folder = RunFolder(task.root)
        if task.needs_models():
            self._score(task, folder, tell)
        if task.rule is not None and finished(folder, task.name, task.decision) is None:
            write_kept(task, task.rule, folder)

    def load(self) -> None:
        """Load the models now."""
        if self._scorer is None:
            self._scorer = Scorer(*load_models(self._scoring), self._scoring)

    def _score(self, task: Task, folder: RunFolder, tell: Tell) -> None:
        self.load()
        assert self._scorer is not None
        samples = ShardSamples(task.path)
        pictures = _counted(self._scorer.scored(samples), tell)
        write_scores(folder.scores(task.name), pictures, lambda: samples.broken_off)


def finished(folder: RunFolder, name: str, decision: str) -> Summary | None:
    """The summary of a shard that this decision was carried out for; None where that is still to do."""
    summary = read_summary(folder.summary(name))
    if summary is None or summary.decision != decision:
        return None
    shard = folder.shard(name)
    there = shard.stat().st_size if shard.exists() else 0
    return summary if there == summary.tar_bytes else None


def write_kept(task: Task, rule: Rule, folder: RunFolder) -> None:
    """Write the shard's kept pictures, the rejected ones and the summary, in this order."""
    remove_durably(folder.summary(task.name))  # of another decision: it no longer tells what lies there
    summary = SummaryWriter(task.name, task.decision, task.sheet)
    samples, shard = ShardSamples(task.path), folder.shard(task.name)
    with ExitStack() as files:
        rejected = files.enter_context(durable_file(folder.rejected(task.name)))
        kept: tarfile.TarFile | None = None
        for sample, scored in _paired(samples, folder.scores(task.name), task):
            if sample is None:
                summary.broken_off = scored.error
                continue
            verdicts = judge_all(scored.texts, rule)
            summary.add(sample, scored, verdicts)
            if "kept" not in verdicts:
                rejected.write(json_line(_rejected(scored, verdicts)))
                continue
            if kept is None:
                file = files.enter_context(durable_file(shard))
                kept = files.enter_context(tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT))
            _add(kept, sample, _with_texts(sample, scored, verdicts))
    if kept is None:
        remove_durably(shard)  # of an earlier decision
    size = shard.stat().st_size if kept is not None else 0
    write_durably(folder.summary(task.name), json_line(summary.finish(size).to_dict()))


def _counted(pictures: Iterable[ScoredPicture], tell: Tell) -> Iterator[ScoredPicture]:
    for done, picture in enumerate(pictures, 1):
        yield picture
        tell(done)


def _paired(samples: ShardSamples, scores: Path, task: Task) -> Iterator[tuple[WebSample | None, ScoredPicture]]:
    """Each sample with its scores; at the end, where the shard broke off, the reason without a sample. Raises DataError
    where they do not belong together."""
    for sample, scored in zip_longest(samples, iterate_scores(scores)):
        broken = scored is not None and not scored.key
        if scored is None or (sample is None) != broken or (sample is not None and sample.key != scored.key):
            raise DataError(
                f"{task.path} is not what it was when it was scored: put it back, or start with a new --out"
            )
        yield sample, scored


def _texts(scored: ScoredPicture, verdicts: list[Why]) -> list[dict[str, Any]]:
    """Every text with its source, scores and what became of it."""
    return [{**text.to_dict(), "decision": verdict} for text, verdict in zip(scored.texts, verdicts, strict=True)]


def _rejected(scored: ScoredPicture, verdicts: list[Why]) -> dict[str, Any]:
    if scored.error is not None:
        return scored.to_dict()
    return {"key": scored.key, "texts": _texts(scored, verdicts)}


def _with_texts(sample: WebSample, scored: ScoredPicture, verdicts: list[Why]) -> bytes:
    """The sample's json, everything else in it as it was."""
    metadata = {name: value for name, value in sample.metadata.items() if name != "capfilt"}
    metadata["captions"] = [
        text.text for text, verdict in zip(scored.texts, verdicts, strict=True) if verdict == "kept"
    ]
    metadata["capfilt"] = {"texts": _texts(scored, verdicts)}
    return json.dumps(metadata).encode()


def _add(archive: tarfile.TarFile, sample: WebSample, metadata: bytes) -> None:
    """All files of the sample in their order and as they were, but for the json."""
    has_json = False
    for member in sample.members:
        has_json |= member.suffix == "json"
        _add_file(archive, member.name, metadata if member.suffix == "json" else member.content)
    if not has_json:
        _add_file(archive, f"{sample.key}.json", metadata)


def _add_file(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    """Without owner and time, so that the same shard is made of the same input, whoever makes it."""
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.mtime = len(content), 0o644, 0
    file: IO[bytes] = BytesIO(content)
    archive.addfile(entry, file)
