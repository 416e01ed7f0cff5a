"""Starts the contenders, each in a process of its own, and asks them in turn. Knows processes and time; does not know
how a contender works or what its figures are compared with.

Contenders are asked round and round, a few calls each, so that what the machine's neighbours do meets all alike.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from benchmarks.contenders import CONTENDERS
from benchmarks.isa import environment
from benchmarks.tasks import FOLDERS, Kind, Task, Way

_VISIT_S = 0.3
"""Short calls are repeated to about this long before the next contender's turn: at most five."""
_MOST_CALLS = 5
_LONG_S = 10.0
"""A first call that took longer counts as measured: what a first call does beyond others is lost in it."""


@dataclass(frozen=True)
class Plan:
    """How a run is done. repeats: rounds; budget_s: for one contender's way of one task, then its rounds end; limit_s:
    for one answer, then its process is ended."""

    weights: Path
    work: Path
    isa: str
    threads: int
    image_size: int
    repeats: int = 5
    budget_s: float = 40.0
    limit_s: float = 600.0
    one_by_one: bool = False


@dataclass
class Measurement:
    """Calls of one task, done by one contender in one way. output: the file with what the first call gave."""

    contender: str
    task: str
    way: str
    times_s: list[float] = field(default_factory=list)
    peak_mib: float = 0.0
    output: str = ""


@dataclass
class Loaded:
    """A contender's process once it has answered for the first time. loading_s: from its start to that;
    first_loading_s: the same when it had kept nothing yet, where it keeps something."""

    contender: str
    kind: str
    loading_s: float
    first_loading_s: float | None
    peak_mib: float
    seen: dict[str, str]


@dataclass
class Results:
    """All that one instruction set gave. failed: contender, what it should have done, and why it did not."""

    loaded: list[Loaded] = field(default_factory=list)
    measured: list[Measurement] = field(default_factory=list)
    failed: list[tuple[str, str, str]] = field(default_factory=list)


class Child:
    """One contender's process."""

    def __init__(self, name: str, kind: Kind, plan: Plan, action: str = "serve") -> None:
        self.name, self.kind, self._limit_s, self.ways = name, kind, plan.limit_s, dict[str, list[Way]]()
        words = [action, name, kind, str(plan.weights / FOLDERS[kind]), str(plan.threads), str(plan.work)]
        log = plan.work / f"{plan.isa}-{kind}-{name}-{action}.log"
        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.child", *words],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
                env={**environment(plan.isa, plan.threads), "BENCHMARK_IMAGE_SIZE": str(plan.image_size)},
            )  # fmt: skip

    def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        """Send a question and wait for its answer."""
        pipe = self._process.stdin
        assert pipe is not None
        try:
            pipe.write(json.dumps(question).encode() + b"\n")
            pipe.flush()
        except OSError:
            return {"failed": self._ended()}
        return self.answer()

    def answer(self) -> dict[str, Any]:
        """The next line of the process; a failure where it ended or took too long."""
        pipe, line, deadline = self._process.stdout, b"", time.monotonic() + self._limit_s
        assert pipe is not None
        while not line.endswith(b"\n"):
            if not _readable(pipe, deadline - time.monotonic()):
                self.close()
                return {"failed": f"took longer than {self._limit_s:g} s, so it was stopped"}
            piece = os.read(pipe.fileno(), 1 << 16)
            if not piece:
                return {"failed": self._ended()}
            line += piece
        answer: dict[str, Any] = json.loads(line)
        return answer

    @property
    def alive(self) -> bool:
        """Whether the process can still be asked."""
        return self._process.poll() is None

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

    def _ended(self) -> str:
        return f"its process ended with {self._process.wait()}"


def compare(contenders: Sequence[str], tasks: Sequence[Task], plan: Plan) -> Results:
    """Measure all contenders on all tasks, one kind of checkpoint after the other."""
    results = Results()
    for kind in dict.fromkeys(task.kind for task in tasks):
        groups = [[name] for name in contenders] if plan.one_by_one else [list(contenders)]
        for group in groups:
            children = [child for name in group if (child := _started(name, kind, plan, results))]
            try:
                for task in (task for task in tasks if task.kind == kind):
                    _take_turns(children, task, plan, results)
            finally:
                for child in children:
                    child.close()
    return results


def _started(name: str, kind: Kind, plan: Plan, results: Results) -> Child | None:
    """A contender that is ready; alone on the machine while it loads."""
    _say(f"{plan.isa}: {name} loads its model to {kind}")
    entry, first_loading_s = CONTENDERS[name], None
    actions = ["prepare"] * entry.prepared + ["first"] * entry.keeps + ["serve"]
    for action in actions:
        start = time.perf_counter()
        child = Child(name, kind, plan, action)
        answer = child.answer()
        loading_s = time.perf_counter() - start
        if reason := answer.get("refused") or answer.get("failed"):
            child.close()
            results.failed.append((name, kind, reason))
            _say(f"{plan.isa}: {name} cannot {kind}: {reason}")
            return None
        if action != "serve":
            child.close()
        if action == "first":
            first_loading_s = loading_s
    child.ways = answer["ways"]
    results.loaded.append(Loaded(name, kind, loading_s, first_loading_s, answer["peak_mib"], answer["seen"]))
    return child


def _take_turns(children: list[Child], task: Task, plan: Plan, results: Results) -> None:
    """One task: a first call by each, then rounds of a few calls each. Children that fail leave the list."""
    turns = []
    for child in list(children):
        for way in child.ways.get(task.name, []):
            output = plan.work / f"{plan.isa}-{task.name}-{child.name}-{way}.npy"
            answer = child.ask({"task": task.name, "way": way, "calls": 1, "output": str(output)})
            if "failed" in answer:
                results.failed.append((child.name, task.name, answer["failed"]))
                _say(f"{plan.isa}: {task.title}: {child.name} failed: {answer['failed']}")
                children[:] = [other for other in children if other is not child or child.alive]
                break
            first_s = answer["times_s"][0]
            counted = [first_s] if first_s > _LONG_S else []
            entry = Measurement(child.name, task.name, way, counted, answer["peak_mib"], str(output))
            turns.append((child, entry, first_s))
            _say(f"{plan.isa}: {task.title}: {child.name} ({way}) took {first_s:.3f} s at first")
    spent = {id(entry): sum(entry.times_s) for _, entry, _ in turns}
    for _ in range(plan.repeats):
        for child, entry, first_s in turns:
            if entry.times_s and spent[id(entry)] + first_s > plan.budget_s:
                continue
            calls = max(1, min(_MOST_CALLS, round(_VISIT_S / first_s)))
            answer = child.ask({"task": task.name, "way": entry.way, "calls": calls})
            entry.times_s += answer.get("times_s", [])
            spent[id(entry)] += sum(answer.get("times_s", [plan.budget_s]))
            entry.peak_mib = max(entry.peak_mib, answer.get("peak_mib", 0.0))
    results.measured += [entry for _, entry, _ in turns if entry.times_s]


def _readable(pipe: IO[bytes], seconds: float) -> bool:
    return bool(select.select([pipe], [], [], max(0.0, seconds))[0])


def _say(words: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {words}", file=sys.stderr, flush=True)
