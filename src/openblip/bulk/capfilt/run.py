"""A CapFilt run from noisy shards to the report: bind the folder, score, find the rule, write, tell."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from openblip.bulk.capfilt.folder import InputShard, RunFolder, find_inputs
from openblip.bulk.capfilt.models import (
    CAPTIONER_TASKS,
    FILTER_TASKS,
    ModelFacts,
    look_up,
    settled_name,
    worker_bytes,
)
from openblip.bulk.capfilt.on_ray import run_on_ray
from openblip.bulk.capfilt.page import contact_sheet
from openblip.bulk.capfilt.processes import TellTask, run_here, run_processes
from openblip.bulk.capfilt.records import iterate_scores
from openblip.bulk.capfilt.report import Report, ShardCounts
from openblip.bulk.capfilt.rule import Rule, fraction_rule, known_rule
from openblip.bulk.capfilt.settings import Decision, Scoring
from openblip.bulk.capfilt.shard_worker import Task, finished
from openblip.bulk.capfilt.summary import Summary
from openblip.bulk.durable import locked, make_folder, write_durably
from openblip.bulk.manifest import short_hash
from openblip.errors import DataError, InputError, MissingExtra, OptionError
from openblip.image import shown_name

ProgressCall = Callable[[str, int, int], None]
Say = Callable[[str], None]

_SAY_EVERY_S = 30.0


@dataclass(frozen=True, slots=True)
class CapFilt:
    """One run. shards: noisy WebDataset shards; out: its folder; see `folder` for what is in it.

    workers: processes of one thread each. ray: address of a Ray cluster instead ("local" starts one with so many
    workers), or None. shown_pairs: of each kind in the contact sheet. redecide: where the folder holds a run with
    another decision, keep its scores and decide anew.

    Raises OptionError on a value outside its range.
    """

    shards: Sequence[Path]
    out: Path
    scoring: Scoring
    decision: Decision
    workers: int = 1
    ray: str | None = None
    shown_pairs: int = 24
    redecide: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.workers <= 1024:
            raise OptionError(f"workers={self.workers} is out of range: give 1 to 1024")
        if not 0 <= self.shown_pairs <= 500:
            raise OptionError(f"shown_pairs={self.shown_pairs} is out of range: give 0 to 500")
        if self.scoring.filter is None and self.decision != Decision():
            raise OptionError("a threshold or keep_fraction needs a filter: name one, or leave it out")

    def run(self, progress: ProgressCall, say: Say) -> Report:
        """Do what is not done yet, and write the report. The same call goes on where an earlier one was cut off.

        progress: called as (stage, done, total). say: takes lines for people.
        Raises InputError, DataError, ModelError and what else the parts raise, each with its remedy.
        """
        scoring, models = self._settled()
        folder = RunFolder(self.out)
        make_folder(self.out)
        with locked(folder.lock):
            self._check_apart()
            inputs = find_inputs(self.shards, folder.known_inputs(), progress)
            facts = {name: None if each is None else each.to_dict() for name, each in models.items()}
            settings = {"models": facts, **scoring.to_dict()}
            decision = {**(asdict(self.decision) if scoring.filter else {}), "shown_pairs": self.shown_pairs}
            resumed = folder.bind(settings, decision, inputs, redecide=self.redecide)
            rule = known_rule(self.decision) if scoring.filter else Rule()
            tasks = _tasks(folder, inputs, rule, decision)
            if resumed:
                scored = sum(not task.needs_models() for task in tasks)
                say(f"going on in {self.out}: {scored} of {len(tasks)} shards are scored")
            self._score(scoring, tasks, inputs, list(filter(None, models.values())), progress, say)
            if rule is None:
                rule = self._fraction_rule(folder, inputs)
                tasks = _tasks(folder, inputs, rule, decision)
            self._write(scoring, tasks, folder, progress)
            folder.tidy()  # after workers that Ray lost
            report = _report(folder, tasks, facts, scoring, decision, rule, self.shown_pairs)
            paths = {shard.name: shard.path for shard in inputs}
            write_durably(folder.report_html, contact_sheet(report, paths))
            write_durably(folder.report_json, report.to_json())
            return report

    def _check_apart(self) -> None:
        """Raise InputError where an input lies in the folder that is written to: it would be written over."""
        root = self.out.resolve()
        for shard in self.shards:
            if root in shard.resolve().parents:
                raise InputError(f"{shown_name(shard)} lies in {shown_name(self.out)}: give another folder with --out")

    def _settled(self) -> tuple[Scoring, dict[str, ModelFacts | None]]:
        """Names and precision as every worker shall understand them, and what the models are."""
        scoring = self.scoring
        captioner = None if scoring.captioner is None else settled_name(scoring.captioner)
        filter_ = None if scoring.filter is None else settled_name(scoring.filter)
        precision = scoring.precision
        if scoring.engine == "openvino":
            from openblip.engines.openvino.compile import checked_precision

            precision = checked_precision(precision)
        elif find_spec("torch") is None:
            raise MissingExtra("torch", "torch")
        models = {
            "captioner": look_up(captioner, CAPTIONER_TASKS) if captioner is not None else None,
            "filter": look_up(filter_, FILTER_TASKS) if filter_ is not None else None,
        }
        return replace(scoring, captioner=captioner, filter=filter_, precision=precision), models

    def _score(
        self,
        scoring: Scoring,
        tasks: Sequence[Task],
        inputs: Sequence[InputShard],
        models: list[ModelFacts],
        progress: ProgressCall,
        say: Say,
    ) -> None:
        """Score the shards that are not scored yet; where the rule is known, each is also written at once."""
        open_tasks = [task for task in tasks if task.needs_models()]
        if not open_tasks:
            return
        if self.ray is None:
            workers = min(self.workers, len(open_tasks))
            gigabytes = worker_bytes(models, scoring.precision) / 1e9
            say(f"{workers} worker{'s' if workers > 1 else ''} of one thread, each with up to {gigabytes:.1f} GB")
        pictures = {task.place: inputs[task.place].pictures for task in open_tasks}
        meter = _Meter(pictures, progress, say)
        for task in self._done(scoring, open_tasks, meter.tell):
            meter.tell(task.place, pictures[task.place])
        meter.last()

    def _write(self, scoring: Scoring, tasks: Sequence[Task], folder: RunFolder, progress: ProgressCall) -> None:
        open_tasks = [task for task in tasks if finished(folder, task.name, task.decision) is None]
        for done, _ in enumerate(self._done(scoring, open_tasks, lambda place, pictures: None), 1):
            progress("shards written", done, len(open_tasks))

    def _done(self, scoring: Scoring, tasks: Sequence[Task], tell: TellTask) -> Iterator[Task]:
        if not tasks:
            return iter(())
        if self.ray is not None:
            return run_on_ray(scoring, tasks, self.ray, self.workers, tell)
        if min(self.workers, len(tasks)) == 1:
            return run_here(scoring, tasks, tell)
        return run_processes(scoring, tasks, self.workers, tell)

    def _fraction_rule(self, folder: RunFolder, inputs: Sequence[InputShard]) -> Rule:
        """One threshold for all shards. With a quantile of each, bad texts of a bad shard would stay and good ones of a
        good shard go, and what is kept would depend on how the pictures were cut into shards."""
        assert self.decision.keep_fraction is not None
        pictures = (picture for shard in inputs for picture in iterate_scores(folder.scores(shard.name)))
        return fraction_rule(pictures, self.decision.keep_fraction, self.decision.by)


class _Meter:
    """How many pictures are scored, and about how long the rest takes."""

    def __init__(self, pictures: dict[int, int], progress: ProgressCall, say: Say) -> None:
        self._total, self._progress, self._say = sum(pictures.values()), progress, say
        self._done, self._sum = dict.fromkeys(pictures, 0), 0
        self._start = self._said = time.monotonic()

    def tell(self, place: int, pictures: int) -> None:
        """So many pictures of the task in this place are scored."""
        more = max(0, pictures - self._done[place])
        self._done[place] += more
        self._sum += more
        self._progress("pictures scored", self._sum, self._total)
        if (now := time.monotonic()) - self._said >= _SAY_EVERY_S:
            self._said = now
            rate = self._sum / (now - self._start)
            left = f", about {(self._total - self._sum) / rate / 60:.0f} min left" if rate else ""
            self._say(f"{self._sum:,} of {self._total:,} pictures scored, {rate:.1f} a second{left}")

    def last(self) -> None:
        """All are done."""
        seconds = time.monotonic() - self._start
        self._say(f"{self._sum:,} pictures scored in {seconds:.0f} s, {self._sum / max(seconds, 1e-9):.1f} a second")


def _tasks(folder: RunFolder, inputs: Sequence[InputShard], rule: Rule | None, decision: dict[str, Any]) -> list[Task]:
    name = short_hash([decision, None if rule is None else asdict(rule)])
    return [
        Task(place, shard.name, shard.path, folder.root, rule, name, decision["shown_pairs"])
        for place, shard in enumerate(inputs)
    ]


def _report(
    folder: RunFolder,
    tasks: Sequence[Task],
    models: dict[str, Any],
    scoring: Scoring,
    decision: dict[str, Any],
    rule: Rule,
    shown_pairs: int,
) -> Report:
    whole, shards = Summary(tasks[0].decision), {}
    for task in tasks:
        summary = finished(folder, task.name, task.decision)
        if summary is None:
            raise DataError(f"{folder.summary(task.name)} was taken away while the run went on: run again")
        whole.add(summary, shown_pairs)
        shards[task.name] = ShardCounts(summary.pictures, summary.texts)
    return Report(models, scoring.to_dict(), decision, rule, shards, whole, shown_pairs)
