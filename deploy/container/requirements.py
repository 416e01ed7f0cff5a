"""What pip has to install for some extras, from pyproject.toml. Knows nothing of the code: a change of it leaves the
image's layer of packages as it is. Runs in the builder, so it needs the standard library alone.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path
from typing import Any

_OWN = re.compile(r"openblip\[(?P<extras>[\w,-]+)\]$")


def requirements(project: dict[str, Any], extras: list[str]) -> list[str]:
    """The base's requirements and those of the extras, each once. Raises KeyError for an extra that there is not."""
    optional: dict[str, list[str]] = project["optional-dependencies"]
    found = list(project["dependencies"])
    waiting = list(extras)
    while waiting:
        for line in optional[waiting.pop(0)]:
            own = _OWN.match(line)
            if own:
                waiting += own["extras"].split(",")
            else:
                found.append(line)
    return list(dict.fromkeys(found))


def main(pyproject: str, extras: str) -> None:
    """Print them, a line each."""
    project = tomllib.loads(Path(pyproject).read_text(encoding="utf-8"))["project"]
    try:
        lines = requirements(project, [name.strip() for name in extras.split(",") if name.strip()])
    except KeyError as error:
        known = ", ".join(sorted(project["optional-dependencies"]))
        sys.exit(f"EXTRAS={extras}: there is no extra {error}; take some of {known}")
    sys.stdout.write("".join(f"{line}\n" for line in lines))


if __name__ == "__main__":
    main(*sys.argv[1:])
