"""A real redis-server on a free loopback port, for the tests."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from required import program


class RedisServer:
    """Started and killed at will, on one port; nothing is kept on disk."""

    def __init__(self, folder: Path, *options: str, tls: Path | None = None) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port: int = probe.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        port = ["--port", str(self.port)]
        if tls is not None:
            port = ["--port", "0", "--tls-port", str(self.port), "--tls-auth-clients", "no"]
            port += ["--tls-cert-file", str(tls / "cert.pem"), "--tls-key-file", str(tls / "key.pem")]
            port += ["--tls-ca-cert-file", str(tls / "cert.pem")]
        self._command = [program("redis-server"), *port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self._command += ["--dir", str(folder), "--logfile", str(folder / "redis.log"), *options]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                with socket.create_connection(("127.0.0.1", self.port), 0.2):
                    return
            except OSError:
                time.sleep(0.01)
        raise TimeoutError(f"redis-server does not listen: {' '.join(self._command)}")

    def kill(self) -> None:
        """SIGKILL: no farewell to the clients."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def client(self) -> Redis:
        """A plain client beside the cache's."""
        return Redis(port=self.port)


def certificate(folder: Path) -> None:
    """Write cert.pem and key.pem, for 127.0.0.1 and two days."""
    command = [program("openssl"), *"req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost".split()]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


@contextmanager
def running_redis(folder: Path, *options: str, tls: Path | None = None) -> Iterator[RedisServer]:
    server = RedisServer(folder, *options, tls=tls)
    server.start()
    try:
        yield server
    finally:
        server.kill()


def cleared(server: RedisServer) -> RedisServer:
    """The same server without keys and with the settings that it began with."""
    with server.client() as client:
        try:
            client.config_set("maxmemory", 0)
            client.config_set("maxmemory-policy", "noeviction")
            client.flushall()
        except RedisError as error:
            raise AssertionError("a test left the server unusable") from error
    return server
