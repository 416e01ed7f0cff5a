"""Dockerfile, .dockerignore and compose.yaml: they parse, and say what the image promises. No container is started."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

from deploy.container.compose import read_compose, run_options, seconds
from openblip.config import SETS
from openblip.hub import BUNDLED
from openblip.serve.settings import PREFIX, ServeSettings, read_settings
from required import program

CHECKOUT = Path(__file__).resolve().parents[2]
DOCKERFILE = (CHECKOUT / "Dockerfile").read_text(encoding="utf-8")
SERVICES: dict[str, dict[str, Any]] = read_compose(CHECKOUT)["services"]
SETTINGS = {f"{PREFIX}{name.upper()}" for name in ServeSettings.model_fields}


def instructions(name: str, text: str = DOCKERFILE) -> list[str]:
    joined = re.sub(r"\\\n\s*", " ", text)
    return [line.partition(" ")[2].strip() for line in joined.splitlines() if line.partition(" ")[0] == name]


def sent_to_the_builder(path: str) -> bool:
    """By .dockerignore: the last line that matches the path, or a folder above it, decides."""
    parts = path.split("/")
    names = ["/".join(parts[: count + 1]) for count in range(len(parts))]
    sent = True
    for line in (CHECKOUT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        pattern = line.removeprefix("!")
        if pattern and not pattern.startswith("#") and any(fnmatch(name, pattern) for name in names):
            sent = line.startswith("!")
    return sent


def test_hadolint_finds_nothing() -> None:
    program = shutil.which("hadolint", path=Path(sys.executable).parent)
    assert program, "hadolint comes with the extra dev"
    done = subprocess.run(
        [program, "--format", "json", "-"], input=DOCKERFILE, capture_output=True, text=True, check=False
    )
    assert (json.loads(done.stdout), done.returncode) == ([], 0)
    worse = DOCKERFILE.replace("# hadolint ignore=DL3008\n", "")
    done = subprocess.run([program, "--format", "json", "-"], input=worse, capture_output=True, text=True, check=False)
    assert {each["code"] for each in json.loads(done.stdout)} == {"DL3008"}, "each exception is needed"


def test_what_is_copied_is_there_and_is_sent() -> None:
    sources = [line.split()[:-1] for line in instructions("COPY") if not line.startswith("--from")]
    names = [name.rstrip("/") for each in sources for name in each]
    assert len(names) > 10
    assert [name for name in names if not (CHECKOUT / name).exists()] == []
    assert [name for name in names if not sent_to_the_builder(name)] == []


@pytest.mark.parametrize(
    "path",
    [
        *(".env", ".git/config", "deploy/settings.py", "docs/serving.md", "runs/epoch.pt", "tests/conftest.py"),
        *("src/openblip/__pycache__/hub.pyc", "src/openblip/serve/built_page/index.html"),
        *("web/node_modules/next/package.json", "web/tests/page.test.ts"),
    ],
)
def test_nothing_else_is_sent(path: str) -> None:
    assert not sent_to_the_builder(path)


def test_the_last_stage_is_bounded() -> None:
    last = DOCKERFILE[DOCKERFILE.rindex("\nFROM ") :]
    assert instructions("FROM", last) == ["debian"], "not the builder, which has pip"
    [user] = instructions("USER", last)
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", user), "as a number: an orchestrator can tell that it is not root"
    assert instructions("ENTRYPOINT", last) == ['["tini", "--", "openblip"]']
    assert len(instructions("HEALTHCHECK", last)) == 1
    assert "LANG=C.UTF-8" in instructions("ENV")
    assert not {"pip", "npm", "apt-get"} & set(re.findall(r"[\w-]+", " ".join(instructions("RUN", last))))


def test_images_have_a_version() -> None:
    bases = [line.partition("=")[2] for line in instructions("ARG") if "_IMAGE=" in line]
    images = bases + [service["image"] for name, service in SERVICES.items() if name != "openblip"]
    assert len(images) == 5
    assert [image for image in images if not re.search(r":(?!latest$)[\w.-]+$", image)] == []


def test_settings_of_the_image_and_of_compose_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    image = dict(re.findall(rf"({PREFIX}\w+)=(\S+)", " ".join(instructions("ENV"))))
    assert set(image) - SETTINGS == {f"{PREFIX}CACHE"}, "that one is openblip.hub's"
    given = {name: value for name, value in SERVICES["openblip"]["environment"].items() if name.startswith(PREFIX)}
    assert set(given) <= SETTINGS
    for name, value in {**image, **given}.items():
        monkeypatch.setenv(name, value.replace("${MODEL}", "mini"))
    read = read_settings()
    assert (read.host, read.port) == ("0.0.0.0", 8000)
    assert read.cache_url.startswith("redis://valkey:"), "the name of the other service"
    assert read.drain_s > read.body_timeout_s + read.timeout_s, "no request is cut off"
    assert seconds(SERVICES["openblip"]["stop_grace_period"]) >= read.notice_s + read.drain_s + 5


def test_the_page_calls_no_folder_by_a_name_that_wins_over_folders() -> None:
    page = (CHECKOUT / "docs" / "container.md").read_text(encoding="utf-8")
    built = set(re.findall(r"(?:--build-arg MODEL|OPENBLIP_BAKED_MODEL)=([\w-]+)", page))
    folders = {name for name in built if name != "none"} | set(re.findall(r":/models/([\w-]+)", page))
    assert "captions-base" in folders
    assert folders & {*BUNDLED, *SETS} == set()


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_services_are_hardened_and_reached_from_this_machine_alone(name: str) -> None:
    service = SERVICES[name]
    assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
    assert "no-new-privileges:true" in service["security_opt"]
    assert [port for port in service.get("ports", []) if not port.startswith("127.0.0.1:")] == []
    mounted = [each.split(":")[0] for each in service.get("volumes", []) if each.startswith(".")]
    assert [each for each in mounted if not (CHECKOUT / each).exists()] == []
    assert bool(service.get("profiles")) == (name in ("prometheus", "grafana"))


def test_the_cache_takes_its_command_line(tmp_path: Path) -> None:
    """Redis 7 stands for Valkey, which was made of it."""
    place = ["--port", "0", "--unixsocket", "s", "--dir", str(tmp_path)]
    command = [program("redis-server"), *SERVICES["valkey"]["command"], *place]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert any("ready to accept connections" in line.lower() for line in process.stdout)
    finally:
        process.kill()
        process.wait()


def test_options_of_podman() -> None:
    service = {
        "image": "x",
        "read_only": True,
        "tmpfs": ["/tmp"],
        "environment": {"A": "b"},
        "stop_grace_period": "1m5s",
    }
    assert run_options(service) == [
        *("--read-only", "--read-only-tmpfs=false", "--tmpfs", "/tmp", "--env", "A=b", "--stop-timeout", "65")
    ]
    with pytest.raises(ValueError, match="privileged"):
        run_options({"privileged": True})


@pytest.mark.parametrize("span", ["", "30", "s", "1h", "m"])
def test_a_duration_that_is_none(span: str) -> None:
    with pytest.raises(ValueError, match="is no duration"):
        seconds(span)
