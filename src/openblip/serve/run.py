"""The process: uvicorn around the application, from the first log line to the last request. Knows signals."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from types import FrameType

import uvicorn

from openblip.errors import OptionError
from openblip.serve.app import create_app
from openblip.serve.observe import JsonLines, PlainLines
from openblip.serve.protocol import bounded
from openblip.serve.service import Load, Service
from openblip.serve.settings import ServeSettings

LOG = logging.getLogger("openblip.serve")
_MAX_HEAD_BYTES = 16_384
_KEEP_ALIVE_S = 75  # longer than a load balancer's 60, which would else send into a closed connection


class DrainingServer(uvicorn.Server):
    """Ends on SIGTERM or SIGINT as a load balancer wants it: first not ready, then no new work, then work in hand to
    its end, then out. A second signal ends it at once."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service
        self._loop: asyncio.AbstractEventLoop | None = None
        self._draining: asyncio.Task[None] | None = None
        self.failure: BaseException | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to drain, or end now if that has begun."""
        if self._loop is not None and not self._service.draining:
            self._service.begin_drain()
            self._loop.call_soon_threadsafe(self._begin)
        else:
            super().handle_exit(sig, frame)

    def _begin(self) -> None:
        LOG.info("draining", extra={"fields": {"requests": self._service.in_hand}})
        self._draining = asyncio.ensure_future(self._drain())

    def fail(self, error: BaseException) -> None:
        """End because the service cannot start."""
        self.failure, self.should_exit = error, True

    async def _drain(self) -> None:
        await self._service.drain()
        self.should_exit = True


def run(settings: ServeSettings, load: Load) -> None:
    """Serve until a signal comes. Raises what loading the model raises, and OSError where the address is taken."""
    _log_to(settings.log_level)
    servers: list[DrainingServer] = []
    app = create_app(settings, load, lambda error: servers[0].fail(error))
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=True,
        forwarded_allow_ips=settings.trusted_proxies,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=max(1, int(settings.drain_s)),
        http=bounded(_MAX_HEAD_BYTES, settings.body_timeout_s),
        ws="none",
    )
    server = DrainingServer(config, app.state.service)
    servers.append(server)
    listening = config.bind_socket()
    host, port = listening.getsockname()[:2]
    LOG.info("listening", extra={"fields": {"address": f"http://{host}:{port}", "models": settings.models}})
    server.run(sockets=[listening])
    if server.failure is not None:
        raise server.failure
    if not server.started:
        raise OptionError("the service did not start, for the reason that the log gives: put it right and start again")


def _log_to(level: str) -> None:
    """On stderr, this package and what is wrong elsewhere: JSON lines, or plain ones where a person reads them."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(PlainLines() if sys.stderr.isatty() else JsonLines())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("openblip").setLevel(level.upper())
