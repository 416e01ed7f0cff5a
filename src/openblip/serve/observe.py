"""What is noted about every request: its id, figures, and a line of log. Knows ASGI, no route."""

from __future__ import annotations

import json
import logging
import time
import uuid
from typing import Any

from openblip.serve import problems
from openblip.serve.metrics import Metrics
from openblip.serve.problems import ProblemError

_REFUSED = {401: "key", 429: "busy", 503: "draining"}
LOG = logging.getLogger("openblip.serve")


class Observed:
    """Around every request: its id, figures, and one line of log. A failure that nobody foresaw is a
    500 that says nothing of its cause; the log has it."""

    def __init__(self, app: Any, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve a request and note what became of it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1")
        identity = given if given.isascii() and given.isalnum() and len(given) <= 64 else uuid.uuid4().hex
        started, status = time.perf_counter(), 0

        async def observed(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", identity.encode())]
            await send(message)

        try:
            await self._app(scope, receive, observed)
        except Exception:
            LOG.exception("a request failed", extra={"fields": {"request": identity, "path": scope["path"]}})
            if not status:
                found = ProblemError(500, "internal", f"the request could not be served (request {identity})")
                await problems.response(found.problem)(scope, receive, observed)
        finally:
            self._note(scope, identity, status, time.perf_counter() - started)

    def _note(self, scope: Any, identity: str, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "other")
        metrics = self._metrics
        metrics.requests.labels(route, str(status)).inc()
        metrics.seconds.labels(route).observe(seconds)
        if status in _REFUSED:
            metrics.refused.labels(_REFUSED[status]).inc()
        fields = {"request": identity, "method": scope["method"], "path": scope["path"][:200], "status": status}
        LOG.info("request", extra={"fields": {**fields, "seconds": round(seconds, 4)}})


class JsonLines(logging.Formatter):
    """Log records as JSON, a line each."""

    def format(self, record: logging.LogRecord) -> str:
        """Never a picture, and never a header: only what was put into `fields`."""
        line: dict[str, Any] = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


class PlainLines(logging.Formatter):
    """The same for a person at a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """Time, message and `fields`."""
        fields = " ".join(f"{name}={value}" for name, value in getattr(record, "fields", {}).items())
        line = f"{self.formatTime(record, '%H:%M:%S')} {record.getMessage()} {fields}".rstrip()
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line
