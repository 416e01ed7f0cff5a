"""Proves the image where there is no Docker engine: runs the Dockerfile itself with Podman on a Debian made here,
starts what it gives under compose.yaml's restrictions, asks it for everything, and measures it. Knows the order; what
is checked stands in `trials.py`.

    sudo python -m deploy.container.prove                some minutes; needs PyPI, npm's registry and a Debian mirror
    sudo python -m deploy.container.prove --work FOLDER  keeps layers for the next time

Podman, crun, mmdebstrap, curl and redis-server come from Debian's packages. Nothing is asked of a registry of images.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from deploy.container.bases import make_bases, registry_files
from deploy.container.engine import Podman, ProofError, enter_namespace, missing_programs
from deploy.container.trials import Trials

CHECKOUT = Path(__file__).resolve().parents[2]
MODULE = "deploy.container.prove"
TAGS = {"mini": "localhost/openblip:mini", "none": "localhost/openblip:none"}


def main(arguments: list[str]) -> int:
    """Prove it; 0 where all held."""
    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}", description="Prove the image without a Docker engine.")
    parser.add_argument("--work", type=Path, help="Folder for layers and logs, kept.  [default: a new one, removed]")
    parser.add_argument("--json", type=Path, help="Write all figures there too.")
    parser.add_argument("--starts", type=int, default=3, help="How many starts are measured, cold and warm.")
    given = parser.parse_args(arguments)
    missing = missing_programs()
    if missing or os.geteuid():
        print(
            f"needs root, and of Debian's packages {', '.join(missing)}" if missing else "needs root", file=sys.stderr
        )
        return 2
    enter_namespace(MODULE, arguments)
    try:
        with tempfile.TemporaryDirectory(prefix="openblip-image-", ignore_cleanup_errors=True) as folder:
            found = prove(given.work or Path(folder), given.starts)
    except (ProofError, subprocess.SubprocessError) as error:
        print(f"the proof failed: {error}", file=sys.stderr)
        return 1
    print(table(found))
    if given.json:
        given.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return 0


def prove(work: Path, starts: int) -> dict[str, Any]:
    """All of it. Raises ProofError with what did not hold."""
    work.mkdir(parents=True, exist_ok=True)
    podman = Podman(work / "podman")
    try:
        found = build(podman, work)
        trials = Trials(podman, CHECKOUT, work, _say)
        found["starts"] = trials.starts(TAGS["mini"], starts)
        found["memory_bytes"] = trials.serves(TAGS["mini"])
        trials.holds_nothing_else(TAGS["mini"])
        trials.takes_a_mounted_model(TAGS["none"])
    finally:
        podman.close()
    return found


def build(podman: Podman, work: Path) -> dict[str, Any]:
    """The images with and without weights; what that took and what they are."""
    bases, files = make_bases(podman, work), registry_files(work)
    found: dict[str, Any] = {"build_s": {}, "bytes": {}, "packed_bytes": {}}
    for model, tag in TAGS.items():
        _say(f"building the image, MODEL={model}")
        log = work / f"build-{model}.log"
        found["build_s"][model] = round(podman.build(CHECKOUT, tag, {**bases, "MODEL": model}, files, log), 1)
        found["bytes"][model] = podman.image(tag)["Size"]
        found["packed_bytes"][model] = packed_bytes(podman, tag, work / "image.tar")
    found["layers"] = layers(podman, TAGS["mini"])
    return found


def packed_bytes(podman: Podman, tag: str, tar: Path) -> int:
    """What a registry would keep of it: its layers compressed by gzip."""
    podman.call("save", "--format", "docker-archive", "--output", str(tar), tag)
    subprocess.run(["gzip", "-6", "--force", str(tar)], check=True)
    packed = tar.with_name(f"{tar.name}.gz")
    size = packed.stat().st_size
    packed.unlink()
    return size


def layers(podman: Podman, tag: str) -> list[tuple[str, int]]:
    """The instruction of each layer that holds something, and its bytes."""
    history = json.loads(podman.call("history", "--format", "json", tag).stdout)
    named = [
        (re.sub(r"^/bin/sh -c (#\(nop\) )?|(?<=:)[0-9a-f]{60,}", "", str(each["CreatedBy"]))[:60], int(each["size"]))
        for each in reversed(history)
    ]
    return [(name, size) for name, size in named if size > 100_000]


def table(found: dict[str, Any]) -> str:
    """The figures as docs/container.md has them."""
    lines = ["", "| | without weights | with mini |", "|---|---|---|"]
    for name, key in (("on disk, MB", "bytes"), ("compressed, MB", "packed_bytes")):
        lines.append(f"| {name} | {found[key]['none'] / 1e6:.0f} | {found[key]['mini'] / 1e6:.0f} |")
    lines += ["", "| | s, median (all) |", "|---|---|"]
    for name, times in found["starts"].items():
        middle = sorted(times)[len(times) // 2]
        lines.append(f"| {name} | **{middle:.2f}** ({', '.join(f'{each:.2f}' for each in times)}) |")
    lines += ["", f"Resident after the checks: {found['memory_bytes'] / 1e6:.0f} MB", "", "| layer | MB |", "|---|---|"]
    return "\n".join(lines + [f"| `{name}` | {size / 1e6:.1f} |" for name, size in found["layers"]])


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
