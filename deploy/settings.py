"""What a deployment is made of, typed and checked once. Knows figures and names, no CDK and no simulation.

The stacks and the capacity simulation read the same `Scaling`, so that what is simulated is what is deployed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from openblip.config import SETS
from openblip.errors import OptionError

_FARGATE_GB: dict[float, tuple[float, ...]] = {
    0.25: (0.5, 1, 2),
    0.5: (1, 2, 3, 4),
    1: tuple(range(2, 9)),
    2: tuple(range(4, 17)),
    4: tuple(range(8, 31)),
    8: tuple(range(16, 61, 4)),
    16: tuple(range(32, 121, 8)),
}
_MAX_STOP_S = 120  # Fargate's stopTimeout, and its notice before it takes a Spot task
_LOG_DAYS = (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400)
LIMITS: dict[str, tuple[int, int]] = {
    "max_batch": (1, 128),
    "max_queue": (1, 100_000),
    "max_requests": (1, 100_000),
    "max_images": (1, 1000),
    "max_texts": (1, 10_000),
    "max_rows": (1, 64),
    "encodings_bytes": (0, 2**63 - 1),
}
"""What the service takes, of each of `Limits` its least and most."""
_PREFIX_LIST = "pl-3b927c52"  # of us-east-1
_CRON = re.compile(r"[0-9*,/-]+")


def require(fine: bool, name: str, value: object, remedy: str) -> None:
    """Raise OptionError, which names the setting and the remedy, unless the value is fine."""
    if not fine:
        raise OptionError(f"{name} = {value!r}: {remedy}")


class Processor(StrEnum):
    """Of a task, as ECS names it."""

    X86 = "X86_64"
    GRAVITON = "ARM64"


@dataclass(frozen=True, slots=True)
class Price:
    """What Fargate takes for a task's share of an hour, in US dollars."""

    vcpu_hour: float
    gb_hour: float

    def __post_init__(self) -> None:
        require(self.vcpu_hour > 0, "vcpu_hour", self.vcpu_hour, "give US dollars above 0")
        require(self.gb_hour > 0, "gb_hour", self.gb_hour, "give US dollars above 0")


@dataclass(frozen=True, slots=True)
class Prices:
    """Fargate's list prices of Linux on a day in a region, without Spot or a savings plan. To be checked by whoever
    deploys: https://aws.amazon.com/fargate/pricing/. spot_discount: what Spot is cheaper by, which moves; a guess to
    be looked up."""

    on: date = date(2026, 11, 23)
    region: str = "us-east-1"
    x86: Price = Price(vcpu_hour=0.04048, gb_hour=0.004445)
    graviton: Price = Price(vcpu_hour=0.03238, gb_hour=0.00356)
    spot_discount: float = 0.6

    def __post_init__(self) -> None:
        require(0 <= self.spot_discount < 1, "spot_discount", self.spot_discount, "give a share from 0 to below 1")

    def of(self, processor: Processor) -> Price:
        """Of a processor."""
        return self.graviton if processor is Processor.GRAVITON else self.x86

    def task_hour(self, task: Task, spot_share: float = 0.0) -> float:
        """US dollars of a task for an hour, where such a share of the tasks is Spot."""
        price = self.of(task.processor)
        full = task.vcpus * price.vcpu_hour + task.memory_gb * price.gb_hour
        return full * (1 - self.spot_discount * spot_share)


@dataclass(frozen=True, slots=True)
class Task:
    """The size of a task, as Fargate sells it."""

    vcpus: float = 2.0
    memory_gb: float = 4.0
    processor: Processor = Processor.X86

    def __post_init__(self) -> None:
        sizes = ", ".join(f"{each:g}" for each in _FARGATE_GB)
        require(self.vcpus in _FARGATE_GB, "vcpus", self.vcpus, f"take one of Fargate's: {sizes}")
        choices = _FARGATE_GB[self.vcpus]
        apart = f"{choices[0]:g} to {choices[-1]:g} GB, {choices[-1] - choices[-2]:g} apart"
        require(
            self.memory_gb in choices, "memory_gb", self.memory_gb, f"with {self.vcpus:g} vCPUs Fargate has {apart}"
        )


@dataclass(frozen=True, slots=True)
class ScheduledMinimum:
    """From a time on there are no fewer tasks than `minimum`, until another one says otherwise. hour, minute, week_day:
    as cron has them, in UTC."""

    name: str
    minimum: int
    hour: str
    minute: str = "0"
    week_day: str = "*"

    def __post_init__(self) -> None:
        require(bool(re.fullmatch("[a-z][a-z0-9-]*", self.name)), "name", self.name, "use a-z, 0-9 and -")
        require(self.minimum >= 1, "minimum", self.minimum, "keep a task at least")
        for part in ("hour", "minute"):
            given = getattr(self, part)
            require(bool(_CRON.fullmatch(given)), part, given, "write it as cron does, such as 7 or */2")
        week_day = self.week_day
        require(bool(re.fullmatch("[0-9A-Z*,-]+", week_day)), "week_day", week_day, "write it as cron does: MON-FRI")


@dataclass(frozen=True, slots=True)
class Scaling:
    """How many tasks there are. Application Auto Scaling tracks two targets and takes the larger number of tasks.

    target_in_flight: requests in hand of a task, on average over a minute and all tasks: the service's own metric.
    target_requests_per_minute: of the load balancer to a task: the guard, should that metric be missing.
    high_periods, low_periods: what AWS does and nobody can set: a target tracking policy scales out after so many
    minutes above the target, and in after so many below `low_share` of it. The simulation needs them.
    spot_share: of the tasks beyond the minimum; the minimum is never Spot.
    """

    minimum: int = 2
    maximum: int = 20
    target_in_flight: float = 8.0
    target_requests_per_minute: int = 3000
    scale_out_cooldown_s: int = 60
    scale_in_cooldown_s: int = 300
    scheduled: tuple[ScheduledMinimum, ...] = (
        ScheduledMinimum("day", 3, hour="7", week_day="MON-FRI"),
        ScheduledMinimum("night", 2, hour="20", week_day="MON-FRI"),
    )
    spot_share: float = 0.0
    period_s: int = 60
    high_periods: int = 3
    low_periods: int = 15
    low_share: float = 0.9

    def __post_init__(self) -> None:
        require(self.minimum >= 1, "minimum", self.minimum, "keep a task at least")
        require(self.maximum >= self.minimum, "maximum", self.maximum, f"take {self.minimum} (minimum) or more")
        require(self.target_in_flight > 0, "target_in_flight", self.target_in_flight, "take more than 0")
        guard = self.target_requests_per_minute
        require(guard >= 1, "target_requests_per_minute", guard, "take 1 or more")
        for name in ("scale_out_cooldown_s", "scale_in_cooldown_s"):
            require(getattr(self, name) >= 0, name, getattr(self, name), "take 0 or more")
        require(0 <= self.spot_share <= 1, "spot_share", self.spot_share, "give a share from 0 to 1")
        names = [each.name for each in self.scheduled]
        require(len(set(names)) == len(names), "scheduled", names, "give each its own name")
        for each in self.scheduled:
            most = f"take {self.maximum} (maximum) or fewer"
            require(each.minimum <= self.maximum, f"scheduled {each.name}", each.minimum, most)


@dataclass(frozen=True, slots=True)
class Drain:
    """How a task ends. ECS takes it from the load balancer first, which waits `deregistration_s` for what is in hand,
    and sends SIGTERM then; where a Spot task is taken both come at the same time, and `notice_s` covers the seconds
    until the load balancer has noticed. request_s: what a request may take (OPENBLIP_TIMEOUT_S) once its body is there;
    body_s: what sending that may take before (OPENBLIP_BODY_TIMEOUT_S), in which it is in hand already."""

    request_s: int = 30
    body_s: int = 15
    notice_s: int = 15
    drain_s: int = 50
    deregistration_s: int = 50

    def __post_init__(self) -> None:
        require(self.request_s >= 1, "request_s", self.request_s, "take 1 or more")
        require(self.body_s >= 1, "body_s", self.body_s, "take 1 or more")
        require(self.notice_s >= 0, "notice_s", self.notice_s, "take 0 or more")
        whole_s = self.request_s + self.body_s
        longer = f"take more than a request and its body may: {whole_s} (request_s + body_s)"
        require(self.drain_s > whole_s, "drain_s", self.drain_s, longer)
        require(self.deregistration_s > whole_s, "deregistration_s", self.deregistration_s, longer)
        shorter = f"lower notice_s or drain_s: a task has {_MAX_STOP_S} s in all"
        require(self.stop_s <= _MAX_STOP_S, "notice_s + drain_s + 5", self.stop_s, shorter)

    @property
    def stop_s(self) -> int:
        """What a task is given between SIGTERM and SIGKILL."""
        return self.notice_s + self.drain_s + 5

    @property
    def longest_s(self) -> int:
        """From the decision to stop a task to its end."""
        return self.deregistration_s + self.stop_s


@dataclass(frozen=True, slots=True)
class Limits:
    """What a task takes at once, and a request may ask, each as OPENBLIP_ and its name in capitals (docs/settings.md).
    The defaults are the service's own, for `mini`; docs/capacity.md has those for the full size."""

    max_batch: int = 32
    max_queue: int = 64
    max_requests: int = 512
    max_images: int = 16
    max_texts: int = 64
    max_rows: int = 16
    encodings_bytes: int = 256_000_000

    def __post_init__(self) -> None:
        for name, (least, most) in LIMITS.items():
            value = getattr(self, name)
            require(least <= value <= most, name, value, f"take {least} to {most}")


@dataclass(frozen=True, slots=True)
class Service:
    """What the tasks serve. model: mini, or a folder below models/ of the checkout that the image is made of. rate: of
    each key's owner or address, as OPENBLIP_RATE. keys: whether requests need one of the keys that the secret holds.
    library: whether tasks search the photo library in the bucket (one task should write it: docs/search.md).
    figures_s: so often a task writes its figures for CloudWatch."""

    model: str = "mini"
    port: int = 8000
    rate: str = "600/minute"
    keys: bool = False
    library: bool = False
    figures_s: int = 10
    log_days: int = 30
    limits: Limits = Limits()

    def __post_init__(self) -> None:
        remedy = "that is a set of the hub: convert a checkpoint of it into a folder below models/ and name that"
        require(self.model not in SETS, "model", self.model, remedy)
        folder = re.fullmatch(r"\w[\w.-]*", self.model) is not None and self.model != "none"
        require(folder, "model", self.model, "the image brings the model: take mini, or a folder below models/")
        require(1024 <= self.port <= 65535, "port", self.port, "take 1024 to 65535: the service is not root")
        require(1 <= self.figures_s <= 60, "figures_s", self.figures_s, "take 1 to 60: scaling looks at minutes")
        require(self.log_days in _LOG_DAYS, "log_days", self.log_days, f"take one of CloudWatch's: {_LOG_DAYS}")


@dataclass(frozen=True, slots=True)
class Web:
    """Where people and programs find the service. domain: its DNS name, which the certificates are for.
    requests_per_5_minutes: of one address, above which the firewall answers 403. prefix_list: the addresses from which
    CloudFront asks origins, as the region calls them (com.amazonaws.global.cloudfront.origin-facing); each region has
    an id of its own, the default is that of us-east-1."""

    domain: str = "captions.example.com"
    requests_per_5_minutes: int = 3000
    prefix_list: str = _PREFIX_LIST

    def __post_init__(self) -> None:
        named = re.fullmatch(r"(?:[a-z0-9-]{1,63}\.)+[a-z]{2,}", self.domain)
        require(named is not None, "domain", self.domain, "give a DNS name, such as captions.example.com")
        requests = self.requests_per_5_minutes
        require(requests >= 10, "requests_per_5_minutes", requests, "take 10 or more, the firewall's least")
        listed = re.fullmatch("pl-[0-9a-f]{8,17}", self.prefix_list)
        require(listed is not None, "prefix_list", self.prefix_list, "give its id, pl- and hexadecimal digits")


@dataclass(frozen=True, slots=True)
class Alarms:
    """When people are told. email: to whom; nothing makes the topic alone."""

    email: str = ""
    p99_s: float = 5.0
    error_share: float = 0.01
    refused_share: float = 0.05

    def __post_init__(self) -> None:
        require(not self.email or "@" in self.email, "email", self.email, "give an address, or nothing")
        require(self.p99_s > 0, "p99_s", self.p99_s, "take more than 0")
        for name in ("error_share", "refused_share"):
            require(0 < getattr(self, name) < 1, name, getattr(self, name), "give a share between 0 and 1")


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Whose workflows may deploy. repository: OWNER/NAME on GitHub. environment: of its settings, whose rules say
    which branch and after whose review. provider_arn: of GitHub's OIDC provider where the account has one; nothing
    makes it."""

    repository: str = "OWNER/openblip"
    environment: str = "production"
    provider_arn: str = ""

    def __post_init__(self) -> None:
        named = re.fullmatch(r"[\w.-]+/[\w.-]+", self.repository)
        require(named is not None, "repository", self.repository, "write OWNER/NAME")
        require(bool(re.fullmatch(r"[\w.-]+", self.environment)), "environment", self.environment, "name one")


@dataclass(frozen=True, slots=True)
class Settings:
    """A deployment. Raises OptionError that names the setting, its value and the remedy."""

    name: str = "openblip"
    region: str = "us-east-1"
    task: Task = Task()
    scaling: Scaling = Scaling()
    drain: Drain = Drain()
    service: Service = Service()
    web: Web = Web()
    alarms: Alarms = Alarms()
    pipeline: Pipeline = Pipeline()
    prices: Prices = Prices()

    def __post_init__(self) -> None:
        named = re.fullmatch("[a-z][a-z0-9-]{1,19}", self.name)
        require(named is not None, "name", self.name, "use 2 to 20 of a-z, 0-9 and -, a letter first")
        require(bool(re.fullmatch("[a-z]{2}(-[a-z]+)+-[0-9]", self.region)), "region", self.region, "such as us-east-1")
        listed = self.region == "us-east-1" or self.web.prefix_list != _PREFIX_LIST
        remedy = (
            f"that is us-east-1's; in {self.region} take what `aws ec2 describe-managed-prefix-lists --region "
            f"{self.region}` says of com.amazonaws.global.cloudfront.origin-facing"
        )
        require(listed, "prefix_list", self.web.prefix_list, remedy)
        # A task that ends must be gone before the next is taken, else a slow drain empties the service.
        longest, cooldown = self.drain.longest_s, self.scaling.scale_in_cooldown_s
        remedy = f"take {longest} or more, what a task takes to drain and end"
        require(cooldown >= longest, "scale_in_cooldown_s", cooldown, remedy)
        require(self.drain.request_s < 60, "request_s", self.drain.request_s, "CloudFront waits 60 s for an answer")
