"""The project around the code: packaging, documentation and what may never be committed."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import metadata, version
from pathlib import Path

import pytest
from PIL import Image

CHECKOUT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
PAGES = sorted(
    page
    for page in (*CHECKOUT.glob("*.md"), *CHECKOUT.glob("docs/**/*.md"), *CHECKOUT.glob("models/**/*.md"))
    if ".venv" not in page.parts
)
IMPORT_NAMES = {
    "diskcache-community": "diskcache_community",
    "huggingface-hub": "huggingface_hub",
    "markdown-it-py": "markdown_it",
    "opentelemetry-api": "opentelemetry",
    "opentelemetry-exporter-otlp-proto-http": "opentelemetry",
    "opentelemetry-sdk": "opentelemetry",
    "pillow": "PIL",
    "prometheus-client": "prometheus_client",
    "pydantic-settings": "pydantic_settings",
    "pyyaml": "yaml",
}


def _committed_files() -> list[Path]:
    """What git tracks or would track."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=CHECKOUT, check=True, capture_output=True, text=True).stdout.split("\0")
    return [CHECKOUT / name for name in names if name and (CHECKOUT / name).is_file()]


def _distribution(requirement: str) -> str:
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert match, requirement
    return match.group().lower().replace("_", "-")


def _imported_packages(folder: Path) -> set[str]:
    """Top-level packages that any file below a folder imports, at the top or inside a function."""
    found: set[str] = set()
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found.update(alias.name.split(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.split(".")[0])
    return found - set(sys.stdlib_module_names) - {"openblip"}


def _code_blocks(page: Path) -> str:
    return "\n".join(re.findall(r"^```\w*\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE))


def test_version_is_the_changelogs_newest() -> None:
    newest = re.search(r"^## (\d\S*)", (CHECKOUT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert newest is not None
    assert newest.group(1) == PROJECT["version"] == version("openblip")


def test_version_command() -> None:
    answer = subprocess.run([shutil.which("openblip", path=Path(sys.executable).parent) or "openblip", "--version"],
                            check=True, capture_output=True, text=True)  # fmt: skip
    assert version("openblip") in answer.stdout


def test_base_dependencies_are_free_of_torch() -> None:
    base = [line for line in metadata("openblip").get_all("Requires-Dist") or [] if "extra ==" not in line]
    assert {_distribution(line) for line in base} == {_distribution(line) for line in PROJECT["dependencies"]}
    assert not {"torch", "torchvision", "transformers"} & {_distribution(line) for line in base}


def test_base_dependencies_are_what_the_code_imports() -> None:
    imported = _imported_packages(CHECKOUT / "src" / "openblip")
    base = {IMPORT_NAMES.get(name, name) for name in map(_distribution, PROJECT["dependencies"])}
    optional = {IMPORT_NAMES.get(name, name) for lines in EXTRAS.values() for name in map(_distribution, lines)}
    assert base - imported == set(), "declared and never imported"
    assert imported - base - optional - {"openblip_mini"} == set(), "imported and never declared"


@pytest.mark.parametrize("extra", sorted(EXTRAS))
def test_extra_is_filled_or_documented_as_reserved(extra: str) -> None:
    row = re.search(rf"^\| `{extra}` \|(.*)\|$", (CHECKOUT / "docs" / "install.md").read_text("utf-8"), re.MULTILINE)
    assert row is not None, f"docs/install.md does not explain the extra {extra}"
    assert ("reserved" in row.group(1)) == (not EXTRAS[extra])


def test_constraints_are_exact_pins_of_every_requirement() -> None:
    lines = (CHECKOUT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert pins[0].startswith("torch==")
    assert [line for line in pins if not re.fullmatch(r"[a-z0-9.-]+==[0-9][0-9a-z.]*", line)] == []
    required = {_distribution(line) for lines in (PROJECT["dependencies"], *EXTRAS.values()) for line in lines}
    assert required - {"openblip"} <= {line.partition("==")[0] for line in pins}


def test_no_committed_file_holds_a_path_of_a_machine() -> None:
    # Built from parts, so that this file does not hold what it looks for.
    homes = "|".join(f"/{folder}/" + r"[a-z][\w.-]*/" for folder in ("home", "Users")) + "|/" + "root/"
    pattern = re.compile(rf"(?<![\w.:/~-])(?:{homes})|{re.escape(str(CHECKOUT))}(?![\w-])")
    faults = []
    for file in _committed_files():
        content = file.read_bytes()
        if b"\0" in content[:8192]:
            continue
        for number, line in enumerate(content.decode("utf-8").splitlines(), 1):
            if pattern.search(line):
                faults.append(f"{file.relative_to(CHECKOUT)}:{number}: {line.strip()[:120]}")
    assert faults == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(CHECKOUT)))
def test_links_and_make_targets_of_a_page_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", (CHECKOUT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"^(?:\$ )?make ([a-z-]+)", _code_blocks(page), re.MULTILINE))
    named |= set(re.findall(r"`make ([a-z-]+)[^`]*`", text))
    assert named - targets == set()
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    assert [link for link in links if link and not (page.parent / link).exists()] == []


def test_readme_names_the_two_commands() -> None:
    blocks = _code_blocks(CHECKOUT / "README.md")
    assert "make run" in blocks
    assert "openblip caption" in blocks


def test_documented_commands_exist() -> None:
    words: set[tuple[str, ...]] = set()
    for page in PAGES:
        for line in _code_blocks(page).splitlines():
            match = re.match(r"(?:\$ )?openblip((?: [a-z]+(?![\w./*-]))+)", line)
            if match:
                words.add(tuple(match.group(1).split()))
    assert words, "no page shows a command"
    openblip = Path(sys.executable).parent / "openblip"
    failed = {}
    for command in sorted(words):
        answer = subprocess.run([openblip, *command, "--help"], capture_output=True, text=True, check=False)
        if answer.returncode != 0:
            failed[" ".join(command)] = answer.stderr.strip()[-200:]
    assert failed == {}


def test_every_setting_is_documented() -> None:
    sources = "\n".join(file.read_text(encoding="utf-8") for file in (CHECKOUT / "src").rglob("*.py"))
    page = "".join((CHECKOUT / "docs" / name).read_text(encoding="utf-8") for name in ("install.md", "settings.md"))
    read = set(re.findall(r"\bOPENBLIP_[A-Z_]+\b", sources))
    assert "OPENBLIP_MODEL" in read
    assert {name for name in read if f"`{name}`" not in page} == set()


def test_samples_are_small_and_credited(samples: list[Path]) -> None:
    credits_page = (CHECKOUT / "samples" / "CREDITS.md").read_text(encoding="utf-8")
    credited = set(re.findall(r"^\| `(\S+)` \|", credits_page, re.MULTILINE))
    assert credited == {photo.name for photo in samples}
    for photo in samples:
        with Image.open(photo) as image:
            assert max(image.size) <= 640
            assert not image.getexif()


@pytest.mark.parametrize(
    ("required", "outcome"),
    [("", "3 skipped"), ("1", "2 failed, 1 error")],
    ids=["absent: skipped", "required: failed"],
)
def test_what_is_missing_is_never_missed_in_silence(tmp_path: Path, required: str, outcome: str) -> None:
    (tmp_path / "tests").mkdir()
    for name in ("conftest.py", "required.py"):
        shutil.copy(CHECKOUT / "tests" / name, tmp_path / "tests")
    shutil.copy(CHECKOUT / "pyproject.toml", tmp_path)
    (tmp_path / "tests" / "test_probe.py").write_text(
        "from required import module, program\n\n"
        "def test_folder(shared_data):\n    assert shared_data\n\n"
        "def test_program():\n    program('no-such-program')\n\n"
        "def test_module():\n    module('no_such_module', 'none')\n"
    )
    switches = {f"OPENBLIP_REQUIRE_{part}": required for part in ("EXTRAS", "PROGRAMS", "SHARED")}
    environment = {**os.environ, **switches, "OPENBLIP_SHARED_DATA": str(tmp_path / "none")}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:randomly"]
    answer = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert outcome in answer.stdout
    for said in ("OPENBLIP_SHARED_DATA", "the package no-such-program", "the extra none"):
        assert said in answer.stdout
