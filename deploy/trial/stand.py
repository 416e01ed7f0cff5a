"""Everything of a trial, started and ended together: Redis, the balancer, the controller and its tasks; and loads sent
to it. Knows what a run is made of; which runs there are is `drills` and `compare`."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from tempfile import mkdtemp

import psutil

from benchmarks.load.processes import running, sampled, wait_for
from deploy.capacity.arrivals import Pattern
from deploy.trial import balancer as balancers
from deploy.trial import controller as controllers
from deploy.trial.balancer import Balancer, balancing
from deploy.trial.client import Plan, Sent, about, read
from deploy.trial.controller import Controller, controlling
from deploy.trial.redis import Pair, redis_pair
from deploy.trial.tasks import Recipe

CHECKOUT = Path(__file__).resolve().parents[2]
_SETTLE_S = 120.0
_READ_S = 60.0  # until the client has read its pictures
_LATE_S = 150.0  # for the last answers, tries again included


@dataclass(frozen=True)
class Setup:
    """What is started. pictures: a folder of photos of which no two are alike."""

    folder: Path
    pictures: Path
    recipe: Recipe
    tasks: int = 2
    balancing: balancers.Rules = field(default_factory=balancers.Rules)
    controlling: controllers.Rules = field(default_factory=controllers.Rules)


@dataclass
class Load:
    """A load that is being sent. began_s: Unix time of its begin."""

    process: subprocess.Popen[bytes]
    records: Path
    log: Path
    began_s: float
    limit_s: float
    cpu_s: dict[str, float] = field(default_factory=dict)

    def over(self) -> bool:
        """Whether all was sent and answered."""
        return self.process.poll() is not None


@dataclass(frozen=True)
class Seen:
    """What became of a load. cpu_s: what each process used meanwhile, of those that were there at begin and end."""

    sent: Sequence[Sent]
    began_s: float
    cpu_s: Mapping[str, float]

    def between(self, begin_s: float, end_s: float) -> list[Sent]:
        """Those that were to be sent in this window, in seconds from the begin."""
        return [sent for sent in self.sent if begin_s <= sent.start_s - self.began_s < end_s]


class Stand:
    """All of it, running."""

    def __init__(self, setup: Setup, recipe: Recipe, balancer: Balancer, controller: Controller, redis: Pair) -> None:
        self.setup, self.recipe, self.balancer, self.controller, self.redis = setup, recipe, balancer, controller, redis
        self._seed = 0

    @contextmanager
    def load(
        self, pattern: Pattern, *, retry: bool = False, hot: float = 0.0, again: bool = False, keep: bool = False
    ) -> Iterator[Load]:
        """Sent from now on, by a process of its own that is ended with the block. keep: the cache as it is."""
        self._seed += 1
        folder = Path(mkdtemp(prefix="load-", dir=self.setup.folder))
        times = list(pattern.times(Random(self._seed)))
        plan = Plan(self.balancer.port, str(self.setup.pictures), str(folder / "sent.jsonl"), times, retry, hot, again)
        plan.write(folder / "plan.json")
        if not keep:
            self.redis.empty()
        command = [sys.executable, "-m", "deploy.trial.client", str(folder / "plan.json")]
        records, log = folder / "sent.jsonl", folder / "log"
        with running(command, log, cwd=CHECKOUT) as process:
            wait_for(about(records).exists, process, _READ_S, log)
            began_s = float(json.loads(about(records).read_text(encoding="utf-8"))["begin_s"])
            yield Load(process, records, log, began_s, pattern.seconds + _LATE_S, self._used())

    def finish(self, load: Load) -> Seen:
        """Wait for the last answer. Raises RuntimeError where the client fails, or takes too long, or the controller
        ended meanwhile."""
        while not load.over():
            self.controller.check()
            if time.time() - load.began_s > load.limit_s:
                raise RuntimeError(f"the load's client does not end: {_tail(load.log)}")
            time.sleep(0.05)
        if load.process.returncode or not load.records.is_file():
            raise RuntimeError(f"the load's client failed: {_tail(load.log)}")
        self.controller.check()
        after = self._used()
        used = {name: after[name] - before for name, before in load.cpu_s.items() if name in after}
        client_s = float(json.loads(about(load.records).read_text(encoding="utf-8"))["cpu_s"])
        return Seen(read(load.records), load.began_s, {**used, "client": client_s})

    def run(
        self, pattern: Pattern, *, retry: bool = False, hot: float = 0.0, again: bool = False, keep: bool = False
    ) -> Seen:
        """A load from its begin to its last answer."""
        with self.load(pattern, retry=retry, hot=hot, again=again, keep=keep) as load:
            return self.finish(load)

    def task_memory_mib(self) -> dict[str, float]:
        """Resident, by task that serves."""
        return {
            f"task{each.task.number}": sampled(psutil.Process(each.task.pid)).rss_mib
            for each in self.controller.serving()
        }

    def _used(self) -> dict[str, float]:
        """CPU seconds until now, by process."""
        pids = {"balancer": self.balancer.process.pid, **self.redis.pids}
        pids |= {f"task{each.task.number}": each.task.pid for each in self.controller.serving()}
        used = {}
        for name, pid in pids.items():
            with suppress(psutil.Error):
                used[name] = sampled(psutil.Process(pid)).cpu_s
        return used


@contextmanager
def standing(setup: Setup) -> Iterator[Stand]:
    """Started, with as many tasks as wanted that serve; ended with the block, whatever happens."""
    with redis_pair(setup.folder) as redis, balancing(setup.folder, setup.balancing, redis.ports) as balancer:
        shared = {
            "OPENBLIP_CACHE_TTL_S": "20",
            "OPENBLIP_CACHE_URL": f"redis://127.0.0.1:{balancer.cache_port}/0",
            "OPENBLIP_ENCODINGS_BYTES": "0",
        }
        recipe = replace(setup.recipe, settings={**shared, **setup.recipe.settings})
        with controlling(balancer, recipe, setup.controlling, setup.folder) as controller:
            controller.want(setup.tasks)
            controller.wait_settled(_SETTLE_S)
            yield Stand(setup, recipe, balancer, controller, redis)
            controller.check()


def _tail(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")[-1500:]
