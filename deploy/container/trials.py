"""What the image is held to: how it starts, what it answers, how it ends, what it may do and what it does not contain.
Knows containers; what is asked over HTTP stands in `checks.py` and `draining.py`.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.container.compose import read_compose, run_options
from deploy.container.engine import Container, Podman, ProofError

URL = "http://127.0.0.1:8000"
CACHE = "/var/cache/openblip"
_NO_CAPABILITY = "0" * 16
_ABSENT_PROGRAMS = ("gcc", "cc", "make", "pip", "pip3", "node", "npm", "curl", "wget", "git")
_ABSENT_MODULES = ("torch", "transformers", "pip", "setuptools", "pytest")


class Trials:
    """Each raises ProofError with what did not hold. say: is told what held."""

    def __init__(self, podman: Podman, checkout: Path, work: Path, say: Callable[[str], None]) -> None:
        self._podman, self._checkout, self._work, self._say = podman, checkout, work, say
        service = read_compose(checkout)["services"]["openblip"]
        service["volumes"] = [each for each in service["volumes"] if not each.endswith(f":{CACHE}")]
        self._options = [*run_options(service), "--add-host", "valkey:127.0.0.1"]
        self._photo = checkout / "samples" / "astronaut.jpg"

    def starts(self, image: str, times: int) -> dict[str, list[float]]:
        """Seconds from the start of the process to /readyz: with nothing kept, and with the graphs of one before."""
        found: dict[str, list[float]] = {"the first start of a volume": [], "a later start": []}
        for number in range(times):
            self._podman.call("volume", "rm", "--force", f"graphs-{number}")  # of a run before
            for name, seconds in found.items():
                with self._started(image, f"graphs-{number}") as container:
                    seconds.append(self._ready_after_s(container))
                    self._say(f"ready after {seconds[-1]:.2f} s: {name}")
        return found

    def serves(self, image: str) -> int:
        """With Redis beside it: healthy, bounded, answers everything, ends as it should. Its resident bytes."""
        with self._started(image, "graphs-served") as container, self._redis(container):
            if container.healthy():
                raise ProofError("the health check holds before the model is loaded")
            self._ready_after_s(container)
            if not container.healthy():
                raise ProofError("the health check fails though the service is ready")
            self._bounded(container)
            self._beside(container, "deploy.container.checks", URL, str(self._photo))
            same = self._same_caption(container)
            self._say(f"ok      the checkout's own caption is the same: {same}")
            service = _child(container.pid)
            memory = int(_status(service)["VmRSS"].split()[0]) * 1024
            self._drains(container)
        return memory

    def holds_nothing_else(self, image: str) -> None:
        """No compiler, no torch, no installer; settings are those of the documentation."""
        script = (
            "import importlib.util, shutil, locale; "
            f"programs = [name for name in {_ABSENT_PROGRAMS} if shutil.which(name)]; "
            f"modules = [name for name in {_ABSENT_MODULES} if importlib.util.find_spec(name)]; "
            "print(programs, modules, locale.getpreferredencoding())"
        )
        done = self._podman.once(image, ["--entrypoint", "python"], ["-c", script])
        if done.stdout.split() != ["[]", "[]", "UTF-8"]:
            raise ProofError(f"the image holds what it should not, or lacks UTF-8: {done.stdout}{done.stderr}")
        self._say(f"ok      none of {', '.join((*_ABSENT_PROGRAMS, *_ABSENT_MODULES))}; UTF-8")
        if "/opt/openblip/healthy.py" not in str(self._podman.image(image).get("Healthcheck")):
            raise ProofError("the image's health check was lost: build it in Docker's format")

    def takes_a_mounted_model(self, image: str) -> None:
        """The image without weights says so in one line, and serves a folder that is mounted."""
        done = self._podman.once(image, self._options, [])
        lines = [line for line in done.stderr.splitlines() if line and not line.startswith(("{", "time="))]  # of Podman
        said = "\n".join(lines)
        if done.returncode == 0 or len(lines) != 1 or "no model or folder 'none'" not in said:
            raise ProofError(f"without weights it ended with {done.returncode}:\n{done.stderr[-2000:]}")
        self._say(f"ok      without weights it ends with {done.returncode}: {said}")
        folder = self._checkout / "models" / "mini" / "src" / "openblip_mini" / "checkpoint"
        mounted = ["--volume", f"{folder}:/models/mine:ro", "--env", "OPENBLIP_MODEL=mine"]
        with self._started(image, "graphs-mounted", *mounted) as container:
            self._ready_after_s(container)
            self._say(f"ok      a mounted model's caption is the same: {self._same_caption(container)}")
            self._drains(container)

    @contextmanager
    def _started(self, image: str, volume: str, *options: str) -> Iterator[Container]:
        container = self._podman.start(image, [*self._options, "--volume", f"{volume}:{CACHE}", *options])
        try:
            yield container
        except BaseException:
            self._say(container.log()[-3000:])
            raise
        finally:
            container.remove()

    @contextmanager
    def _redis(self, container: Container) -> Iterator[None]:
        options = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(self._work)]
        process = subprocess.Popen(container.beside("redis-server", *options), stdout=subprocess.DEVNULL)
        try:
            yield
        finally:
            process.kill()
            process.wait()

    def _ready_after_s(self, container: Container) -> float:
        code = f"from deploy.container.checks import wait_ready; print(wait_ready({URL!r}))"
        ready = float(self._run(container.beside(sys.executable, "-c", code)))
        return ready - _began(container.pid)

    def _same_caption(self, container: Container) -> str:
        code = f"from deploy.container.checks import *; print(caption_by_curl({URL!r}, Path({str(self._photo)!r})))"
        theirs = self._run(container.beside(sys.executable, "-c", code)).strip()
        code = f"from openblip import Blip; print(Blip.load('mini').caption({str(self._photo)!r})[0].text)"
        ours = self._run([sys.executable, "-c", code]).strip()
        if theirs != ours:
            raise ProofError(f"the image says {theirs!r} where the checkout says {ours!r}")
        return theirs

    def _bounded(self, container: Container) -> None:
        status = _status(_child(container.pid))
        wanted = {
            "CapEff": _NO_CAPABILITY,
            "CapBnd": _NO_CAPABILITY,
            "NoNewPrivs": "1",
            "Uid": "\t".join(["10001"] * 4),
        }
        found = {name: status[name] for name in wanted}
        if found != wanted:
            raise ProofError(f"the process may do more than it should: {found}")
        for place, writable in (
            ("/", False),
            ("/opt/openblip", False),
            ("/models", False),
            ("/tmp", True),
            (CACHE, True),
        ):
            done = container.inside("python", "-c", f"open('{place}/written', 'w').close()")
            if (done.returncode == 0) != writable:
                raise ProofError(f"{place} is {'not ' * writable}writable: {done.stderr[-300:]}")
        self._say(f"ok      user 10001, no capabilities, no new privileges; only /tmp and {CACHE} can be written")

    def _drains(self, container: Container) -> None:
        found = json.loads(self._beside(container, "deploy.container.draining", URL, str(container.pid)))
        code = container.wait(60)
        served = len(re.findall(r'"path": "/v1/caption", "status": 200', container.log()))
        lost = found["before"].get("0", 0)
        if code or lost or set(found["before"]) - {"200", "503"}:
            raise ProofError(f"SIGTERM under load: exit code {code}, {found}")
        self._say(f"ok      SIGTERM under load: {found}, exit code 0, {served} captions served in all")

    def _beside(self, container: Container, module: str, *arguments: str) -> str:
        output = self._run(container.beside(sys.executable, "-m", module, *arguments))
        if module.endswith("checks"):
            self._say(output.rstrip())
        return output

    def _run(self, command: list[str]) -> str:
        paths = os.pathsep.join([str(self._checkout), str(self._checkout / "src")])
        environment = {**os.environ, "PYTHONPATH": paths, "OPENBLIP_CACHE": str(self._work / "own")}
        done = subprocess.run(
            command, cwd=self._checkout, env=environment, text=True, capture_output=True, check=False, timeout=300
        )
        if done.returncode:
            raise ProofError(
                f"{' '.join(command[-4:])[:300]} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
            )
        return done.stdout


def _began(pid: int) -> float:
    """When a process was started, on the monotonic clock."""
    ticks = int(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19])
    age_s = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return time.monotonic() - age_s


def _status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _child(pid: int) -> int:
    """The service; `pid` is tini's."""
    if _status(pid)["Name"] != "tini":
        raise ProofError(f"the container's first process is {_status(pid)['Name']} and not tini")
    [child] = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()
    return int(child)
