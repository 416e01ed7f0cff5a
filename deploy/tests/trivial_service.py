"""A process that looks like a task from outside and computes nothing: ready at once, answers after a given time, ends
on SIGTERM or, where it is told to, does not."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECONDS = float(os.environ.get("TRIVIAL_SECONDS", "0.02"))
ANSWER = json.dumps({"results": [{"cached": False, "error": None, "captions": []}]}).encode()


class Server(ThreadingHTTPServer):
    request_queue_size = 128  # connections that wait to be taken; 5 refuse a burst on a busy machine


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(b"ready")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        time.sleep(SECONDS)
        self._answer(ANSWER)

    def _answer(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model")
    parser.add_argument("--port", type=int)
    server = Server(("127.0.0.1", parser.parse_args().port), Handler)
    if os.environ.get("TRIVIAL_DEAF"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever()
    sys.exit(0)


if __name__ == "__main__":
    main()
