"""What the service counts, as Prometheus reads it. Knows names and labels, no route."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_STAGES = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """One registry a service, so that two in a process do not add up."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "openblip_requests", "Requests by route and status.", ["route", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "openblip_request_seconds", "Time of a request.", ["route"], buckets=_STAGES, registry=self.registry
        )
        self.stage_seconds = Histogram(
            "openblip_stage_seconds", "Time of a picture's stages.", ["stage"], buckets=_STAGES, registry=self.registry
        )
        self.batch_pictures = Histogram(
            "openblip_batch_pictures", "Pictures of a batch.", buckets=(1, 2, 4, 8, 16, 32, 64), registry=self.registry
        )
        self.batch_seconds = Histogram(
            "openblip_batch_seconds", "Time of a batch.", buckets=_STAGES, registry=self.registry
        )
        self.waiting = Gauge("openblip_queue_pictures", "Pictures that wait, or are read.", registry=self.registry)
        self.in_hand = Gauge("openblip_requests_in_hand", "Requests being worked on.", registry=self.registry)
        self.refused = Counter("openblip_refused", "Requests refused, by reason.", ["reason"], registry=self.registry)
        self.rate = Counter("openblip_rate", "What the rate limit did.", ["event"], registry=self.registry)
        self.cache = Counter("openblip_cache", "What the cache did.", ["event"], registry=self.registry)

    def saw_batch(self, size: int, seconds: float) -> None:
        """Count a batch."""
        self.batch_pictures.observe(size)
        self.batch_seconds.observe(seconds)

    def saw_stages(self, timing: Mapping[str, float]) -> None:
        """Count a picture's seconds by stage."""
        for stage, seconds in timing.items():
            self.stage_seconds.labels(stage.removesuffix("_s")).observe(seconds)

    def saw_cache(self, event: str) -> None:
        """Count what the cache of results, or that of encoded pictures, did."""
        self.cache.labels(event).inc()

    def saw_rate(self, event: str) -> None:
        """Count what the rate limit did."""
        self.rate.labels(event).inc()

    def text(self) -> bytes:
        """All of it."""
        return generate_latest(self.registry)
