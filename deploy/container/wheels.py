"""Whether every package of the image has a wheel for another processor: the builder could compile nothing, and an image
for arm64 is seldom built where it is looked after. Knows pip and glibc's versions.

    python -m deploy.container.wheels --machine aarch64
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from deploy.container.requirements import requirements

CHECKOUT = Path(__file__).resolve().parents[2]
_GLIBC = 36  # 2.36 is Debian 12's; a wheel for any older one runs there


def wheels(machine: str, extras: list[str]) -> list[str]:
    """Names of the wheels that pip would install, of the pinned versions. Raises CalledProcessError with its words."""
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in range(17, _GLIBC + 1)] + [f"manylinux2014_{machine}"]
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--ignore-installed"]
    command += ["--only-binary", ":all:", "--python-version", "3.11", "--implementation", "cp"]
    command += [f"--platform={platform}" for platform in platforms]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command += ["--target", folder, "--report", str(report), "--constraint", str(CHECKOUT / "constraints.txt")]
        subprocess.run([*command, *requirements(project, extras)], check=True, capture_output=True, text=True)
        found = json.loads(report.read_text(encoding="utf-8"))["install"]
    return sorted(each["download_info"]["url"].rpartition("/")[2] for each in found)


def main(arguments: list[str]) -> int:
    """Print them; 1 where there is none for some package."""
    parser = argparse.ArgumentParser(prog="python -m deploy.container.wheels")
    parser.add_argument("--machine", choices=["aarch64", "x86_64"], default="aarch64")
    parser.add_argument("--extras", default="serve", help="Commas between.")
    given = parser.parse_args(arguments)
    try:
        found = wheels(given.machine, given.extras.split(","))
    except subprocess.CalledProcessError as error:
        print(error.stderr, file=sys.stderr)
        return 1
    compiled = [name for name in found if given.machine in name]
    print("\n".join(compiled))
    print(f"{len(compiled)} wheels for {given.machine}, {len(found) - len(compiled)} for any machine, none is missing")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
