"""Traces: what reaches a collector of OpenTelemetry, and that it holds no content."""

from __future__ import annotations

import gzip
import os
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from photos import photo, saved
from serving import serving
from test_serve_process import ask


class Collector:
    """A real HTTP server that takes OTLP as protobuf."""

    def __init__(self) -> None:
        received: list[bytes] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                received.append(gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body)
                self.send_response(200)
                self.send_header("content-type", "application/x-protobuf")
                self.end_headers()

            def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 (its name there)
                """Nothing."""

        self.received = received
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def collector() -> Iterator[Collector]:
    found = Collector()
    thread = threading.Thread(target=found.server.serve_forever)
    thread.start()
    yield found
    found.server.shutdown()
    thread.join()
    found.server.server_close()


def test_a_request_is_a_span_with_an_event_a_picture(collector: Collector, tmp_path: Path) -> None:
    settings = {
        "OPENBLIP_CACHE": os.environ["OPENBLIP_CACHE"], "OPENBLIP_CACHE_FOLDER": str(tmp_path / "results"),
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "100",
    }  # fmt: skip
    picture = saved(photo(80, 60, 5), "JPEG")
    with serving(tmp_path, settings=settings) as server:
        for _ in range(2):
            assert ask(server, picture, prompt="a secretprompt").status == 200
        deadline = time.monotonic() + 10
        while not collector.received and time.monotonic() < deadline:
            time.sleep(0.05)
        assert server.stop() == 0
    spans = [
        span
        for body in collector.received
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    assert [span.name for span in spans] == ["POST /v1/caption"] * 2, "and none of /readyz"
    events = [{each.key: each.value for each in event.attributes} for span in spans for event in span.events]
    assert [event["openblip.cached"].bool_value for event in events] == [False, True]
    assert events[0]["encode_s"].double_value > 0
    assert b"secretprompt" not in b"".join(collector.received)


def test_without_an_endpoint_nothing_is_exported(collector: Collector, tmp_path: Path) -> None:
    settings = {"OPENBLIP_CACHE": os.environ["OPENBLIP_CACHE"], "OPENBLIP_CACHE_FOLDER": str(tmp_path / "results")}
    with serving(tmp_path, settings=settings) as server:
        assert ask(server, saved(photo(80, 60, 6), "JPEG")).status == 200
    assert collector.received == []
