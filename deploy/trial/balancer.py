"""HAProxy in front of the tasks, as an Application Load Balancer stands there, and in front of Redis. Knows addresses
and states of servers; when which is given work is the controller's choice.

Like an ALB it sends no request twice: what a task had in hand when it died comes back as 502, and whoever sent it
decides (`openblip.Client` sends it again).
"""

from __future__ import annotations

import csv
import io
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.load.processes import free_port, running, wait_for
from openblip.errors import OptionError

SLOTS = 12
_CHECK_TIMEOUT_S = 2.0  # at least: a task on a busy core needs longer than a short interval, and is well
_CONFIGURATION = """global
  stats socket {socket} level admin
  maxconn 4000
  nbthread 1
defaults
  mode http
  timeout connect 2s
  timeout client 75s
  timeout server 60s
  timeout check {check_timeout_ms}ms
  retries 0
frontend door
  bind 127.0.0.1:{port}
  default_backend tasks
backend tasks
  balance {balance}
  option httpchk GET /readyz
  http-check expect status 200
  server-template task 1-{slots} 127.0.0.1:1 check inter {check_ms}ms fall 2 rise 2 disabled
"""
_REDIS = """frontend cache_door
  mode tcp
  bind 127.0.0.1:{port}
  default_backend cache
backend cache
  mode tcp
  option tcp-check
  tcp-check connect
  tcp-check send info\\ replication\\r\\n
  tcp-check expect string role:master
"""


@dataclass(frozen=True)
class Rules:
    """check_s: between two health checks, one of which may take 2 s at least. balance: HAProxy's word; `leastconn` is
    an ALB's least outstanding requests."""

    check_s: float = 1.0
    balance: str = "leastconn"

    def __post_init__(self) -> None:
        if self.check_s <= 0 or self.balance not in ("leastconn", "roundrobin"):
            raise OptionError(f"check_s={self.check_s}, balance={self.balance!r}: above 0; leastconn or roundrobin")


class Balancer:
    """A running HAProxy. url: of its door; cache_port: of Redis behind it, 0 where there is none."""

    def __init__(self, process: psutil.Process, socket_path: Path, port: int, cache_port: int) -> None:
        self.process, self._socket = process, socket_path
        self.port, self.cache_port = port, cache_port
        self.url = f"http://127.0.0.1:{port}"

    def give_work(self, slot: int, port: int) -> None:
        """Requests come to this port from now on, by this slot."""
        server = f"tasks/task{slot}"
        self.command(f"set server {server} addr 127.0.0.1 port {port}")
        self.command(f"set server {server} state ready")

    def drain(self, slot: int) -> None:
        """No new requests; those in hand go on."""
        self.command(f"set server tasks/task{slot} state drain")

    def forget(self, slot: int) -> None:
        """The slot is free."""
        self.command(f"set server tasks/task{slot} state maint")
        with suppress(OSError):
            self.command(f"shutdown sessions server tasks/task{slot}")

    def in_flight(self, slot: int) -> int:
        """Requests that the task has in hand."""
        return int(self._row(slot)["scur"])

    def is_up(self, slot: int) -> bool:
        """Whether its checks are good."""
        return self._row(slot)["status"].startswith(("UP", "no check"))

    def command(self, words: str) -> str:
        """Of HAProxy's runtime interface. Raises OSError where it is not understood."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(5.0)
            connection.connect(str(self._socket))
            connection.sendall(words.encode() + b"\n")
            answer = b""
            while piece := connection.recv(65_536):
                answer += piece
        text = answer.decode()
        if "Unknown" in text or "No such" in text or "Require" in text:
            raise OSError(f"HAProxy does not take {words!r}: {text.strip()}")
        return text

    def _row(self, slot: int) -> dict[str, str]:
        rows = csv.DictReader(io.StringIO(self.command("show stat tasks 4 -1").removeprefix("# ")))
        [found] = [row for row in rows if row["svname"] == f"task{slot}"]
        return found


def program() -> str:
    """HAProxy's path. Raises FileNotFoundError where it is missing."""
    found = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
    if found is None:
        raise FileNotFoundError("haproxy is missing: install the Debian package of that name")
    return found


@contextmanager
def balancing(folder: Path, rules: Rules, redis_ports: tuple[int, ...] = ()) -> Iterator[Balancer]:
    """Started with empty slots; ended with the block. redis_ports: of servers of which one is the primary."""
    port, cache_port = free_port(), free_port() if redis_ports else 0
    path = folder / "haproxy.sock"
    if len(str(path)) > 100:
        raise OptionError(f"the folder {folder} has too long a name for a socket: choose a shorter one")
    text = _CONFIGURATION.format(
        socket=path, port=port, balance=rules.balance, slots=SLOTS, check_ms=round(rules.check_s * 1000),
        check_timeout_ms=round(max(_CHECK_TIMEOUT_S, rules.check_s) * 1000),
    )  # fmt: skip
    if redis_ports:
        text += _REDIS.format(port=cache_port) + "".join(
            f"  server redis{number} 127.0.0.1:{each} check inter 500ms fall 2 rise 1"
            " on-marked-down shutdown-sessions\n"
            for number, each in enumerate(redis_ports)
        )
    configuration, log = folder / "haproxy.cfg", folder / "haproxy.log"
    configuration.write_text(text, encoding="utf-8")
    with running([program(), "-db", "-f", str(configuration)], log) as process:
        wait_for(path.exists, process, 10.0, log)
        yield Balancer(psutil.Process(process.pid), path, port, cache_port)
