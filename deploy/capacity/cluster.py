"""Tasks as ECS keeps them: started, found healthy, given work, drained, stopped, replaced. Knows the simulation's
tasks; how many there shall be is the policy's choice."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any, Literal

import simpy

from deploy.capacity.task import Task
from openblip.errors import OptionError

Happening = Generator[simpy.Event, Any, None]
"""What SimPy plays through."""
State = Literal["starting", "healthy", "draining", "gone"]


@dataclass(frozen=True)
class Care:
    """provision_s: from the order until the process begins (a machine, its network, the image); health_s: between two
    checks, healthy_checks: so many good ones before work comes. notice_s: how long a task that ended still gets
    work, until ECS has seen it. drain_s: at most, for what is in hand."""

    provision_s: float = 35.0
    health_s: float = 5.0
    healthy_checks: int = 2
    notice_s: float = 5.0
    drain_s: float = 45.0
    balance: Literal["least", "turns"] = "least"

    def __post_init__(self) -> None:
        if min(self.provision_s, self.notice_s, self.drain_s) < 0 or self.health_s <= 0 or self.healthy_checks < 1:
            raise OptionError(f"{self}: times are from 0 up, a check's period and number above it")


@dataclass(eq=False)
class Member:
    """A task and what ECS knows of it. began_s: from then on it is paid for; ended_s: until then."""

    task: Task
    began_s: float
    state: State = "starting"
    ended_s: float | None = None
    spot: bool = False


@dataclass
class Cluster:
    """make: a new task. start_s: of its process until it is ready."""

    env: simpy.Environment
    make: Callable[[], Task]
    start_s: float
    care: Care
    members: list[Member] = field(default_factory=list)
    desired: int = 0
    unanswerable: int = 0
    _turn: int = 0

    def start(self, tasks: int) -> None:
        """Begin with so many that are healthy already."""
        self.desired = tasks
        for _ in range(tasks):
            self.members.append(Member(self.make(), self.env.now, "healthy"))

    def of(self, *states: State) -> list[Member]:
        """Those in these states, the oldest first."""
        return [member for member in self.members if member.state in states]

    def ask(self, picture: int) -> simpy.Event:
        """Through the balancer: the event comes with a status; 503 where there is no healthy task. A task that died
        unseen costs a 502, as with an ALB, which sends nothing twice."""
        healthy = self.of("healthy")
        if not healthy:
            self.unanswerable += 1
            return self.env.event().succeed(503)
        self._turn += 1
        turned = healthy[self._turn % len(healthy) :] + healthy[: self._turn % len(healthy)]
        chosen = turned[0] if self.care.balance == "turns" else min(turned, key=lambda each: len(each.task.in_hand))
        return chosen.task.ask(picture)

    def want(self, tasks: int) -> None:
        """Start what is missing, or drain what is too much, the youngest first: starting ones have no work yet."""
        self.desired = tasks
        there = [*self.of("healthy"), *self.of("starting")]
        for _ in range(tasks - len(there)):
            self._add()
        for member in there[tasks:][::-1]:
            self.env.process(self._drain(member))

    def kill(self, member: Member) -> None:
        """The process ends at once; ECS sees it notice_s later and starts another."""
        member.task.kill()
        self.env.process(self._replace(member))

    def deploy(self) -> simpy.Process:
        """All tasks anew: at most twice as many at a time, never fewer healthy ones than there were."""
        return self.env.process(self._deploy())

    def paid_s(self) -> float:
        """Seconds of tasks until now, a minute each at least, as Fargate counts."""
        ends = [(member.began_s, self.env.now if member.ended_s is None else member.ended_s) for member in self.members]
        return sum(max(60.0, end - begin) if end > begin else 0.0 for begin, end in ends)

    def _add(self) -> Member:
        member = Member(self.make(), self.env.now)
        self.members.append(member)
        self.env.process(self._begin(member))
        return member

    def _begin(self, member: Member) -> Happening:
        yield self.env.timeout(self.care.provision_s + self.start_s)
        yield self.env.timeout(self.care.health_s * (self.care.healthy_checks - 0.5))  # between two checks on average
        if member.state == "starting":
            member.state = "healthy"

    def _drain(self, member: Member) -> Happening:
        began = member.state == "healthy"
        member.state = "draining"
        end_s = self.env.now + self.care.drain_s
        while began and member.task.in_hand and self.env.now < end_s:
            yield self.env.timeout(0.5)
        for asked in list(member.task.in_hand):  # the time is up
            asked.reply(502)
        member.task.taking = False
        member.state, member.ended_s = "gone", self.env.now
        yield self.env.timeout(0)

    def _replace(self, member: Member) -> Happening:
        yield self.env.timeout(self.care.notice_s)
        member.state, member.ended_s = "gone", self.env.now
        self.want(self.desired)

    def _deploy(self) -> Happening:
        old = self.of("healthy", "starting")
        new = [self._add() for _ in old]
        while any(member.state == "starting" for member in new):
            yield self.env.timeout(1.0)
        yield simpy.AllOf(self.env, [self.env.process(self._drain(member)) for member in old])
