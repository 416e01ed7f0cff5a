"""Podman as the proof uses it: storage of its own, no daemon, no registry. Knows images and containers, not what they
hold.

Two things of small or nested machines are worked around, and neither concerns the image. Where the control groups of
version 1 and 2 are mixed, crun refuses to start: the proof goes on in a mount namespace that has those of version 2
alone. Where limits cannot be raised, containers get the machine's own.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PROGRAMS = ("podman", "crun", "mmdebstrap", "unshare", "nsenter", "curl", "redis-server")
_GROUPS = Path("/sys/fs/cgroup")
_INSIDE = "OPENBLIP_PROVE_INSIDE"
_ONLY_VERSION_2 = f'umount --recursive {_GROUPS}; mount -t cgroup2 none {_GROUPS} && exec "$@"'


class ProofError(Exception):
    """What the image was to show and did not."""


def missing_programs() -> list[str]:
    """Those of Debian's packages that the proof needs and does not find."""
    return [name for name in PROGRAMS if shutil.which(name) is None]


def enter_namespace(module: str, arguments: Sequence[str]) -> None:
    """Start this module again where control groups are as crun wants them; comes back where they are."""
    if (_GROUPS / "cgroup.controllers").exists() or os.environ.get(_INSIDE):
        return
    again = [sys.executable, "-m", module, *arguments]
    os.environ[_INSIDE] = "1"
    os.execvp("unshare", ["unshare", "--mount", "sh", "-c", _ONLY_VERSION_2, "sh", *again])


class Podman:
    """Images and layers below one folder, which may be kept for the next run."""

    def __init__(self, folder: Path) -> None:
        self._mounted = folder / "storage" / "overlay"
        state = folder / "state"
        shutil.rmtree(state, ignore_errors=True)  # its mounts went with the namespace of the run before
        self._command = ["podman", "--root", str(folder / "storage"), "--storage-driver", "overlay"]
        self._command += ["--runroot", str(state), "--tmpdir", str(state / "libpod"), "--cgroup-manager", "cgroupfs"]

    def call(self, *arguments: str, check: bool = True, timeout_s: float = 120.0) -> subprocess.CompletedProcess[str]:
        """Any command of podman. Raises ProofError with what it said."""
        command = [*self._command, *arguments]
        done = subprocess.run(command, text=True, capture_output=True, check=False, timeout=timeout_s)
        if check and done.returncode:
            raise ProofError(f"podman {' '.join(arguments[:2])} ended with {done.returncode}:\n{done.stderr[-2000:]}")
        return done

    def close(self) -> None:
        """Let go of the folder, so that it can be removed."""
        subprocess.run(["umount", "--recursive", str(self._mounted)], capture_output=True, check=False)

    def import_root(self, tar: Path, name: str) -> None:
        """A root that was made here, as an image."""
        self.call("import", str(tar), name)

    def build(self, checkout: Path, tag: str, arguments: dict[str, str], mounts: dict[Path, str], log: Path) -> float:
        """Run the checkout's Dockerfile; the seconds that it took. Raises ProofError with the end of the log.

        mounts: files that this machine's registries want (certificates, say), which are not to stay in the image.
        """
        command = [
            *self._command,
            "build",
            "--isolation",
            "chroot",
            "--network",
            "host",
            "--format",
            "docker",
            "--layers",
        ]
        command += [*_limits("--ulimit"), "--tag", tag]
        for name, value in arguments.items():
            command += ["--build-arg", f"{name}={value}"]
        for source, target in mounts.items():
            command += ["--volume", f"{source}:{target}:ro"]
        began = time.monotonic()
        with log.open("wb") as output:
            code = subprocess.run([*command, str(checkout)], stdout=output, stderr=output, check=False).returncode
        if code:
            raise ProofError(f"the Dockerfile did not build:\n{log.read_text(encoding='utf-8')[-4000:]}")
        return time.monotonic() - began

    def image(self, name: str) -> dict[str, Any]:
        """What `podman inspect` knows of it."""
        [found] = json.loads(self.call("image", "inspect", name).stdout)
        return dict(found)

    def start(self, image: str, options: Sequence[str], arguments: Sequence[str] = ()) -> Container:
        """In a network of its own, which has a loopback device and nothing else."""
        always = ["--detach", "--network", "none", "--cgroups", "disabled", *_limits("--ulimit")]
        began = time.monotonic()
        identity = self.call("run", *always, *options, image, *arguments).stdout.strip()
        return Container(self, identity, began)

    def once(self, image: str, options: Sequence[str], arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """A container that runs to its end."""
        always = ["--rm", "--network", "none", "--cgroups", "disabled", *_limits("--ulimit")]
        return self.call("run", *always, *options, image, *arguments, check=False)


class Container:
    """One that was started. began: on the monotonic clock, when it was asked for."""

    def __init__(self, podman: Podman, identity: str, began: float) -> None:
        self._podman, self.identity, self.began = podman, identity, began
        self.pid = int(self._state("Pid"))

    def _state(self, name: str) -> str:
        return self._podman.call("inspect", "--format", f"{{{{.State.{name}}}}}", self.identity).stdout.strip()

    def beside(self, *command: str) -> list[str]:
        """The command as it runs in the container's network, and in nothing else of it."""
        return ["nsenter", "--target", str(self.pid), "--net", *command]

    def inside(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run in the container, as its user."""
        return self._podman.call("exec", self.identity, *command, check=False)

    def healthy(self) -> bool:
        """What the image's HEALTHCHECK says."""
        return self._podman.call("healthcheck", "run", self.identity, check=False).returncode == 0

    def log(self) -> str:
        """All that it wrote."""
        done = self._podman.call("logs", self.identity)
        return done.stdout + done.stderr

    def wait(self, timeout_s: float) -> int:
        """Its exit code. Raises subprocess.TimeoutExpired."""
        return int(self._podman.call("wait", self.identity, timeout_s=timeout_s).stdout)

    def remove(self) -> None:
        """End it, whatever it does."""
        self._podman.call("rm", "--force", "--time", "0", self.identity, check=False)


def _limits(option: str) -> list[str]:
    found = []
    for name, number, enough in (("nofile", resource.RLIMIT_NOFILE, 65_536), ("nproc", resource.RLIMIT_NPROC, 16_384)):
        hard = resource.getrlimit(number)[1]
        most = enough if hard == resource.RLIM_INFINITY else min(hard, enough)
        found += [option, f"{name}={most}:{most}"]
    return found
