"""What a test needs that may be missing on a machine: it is skipped there, or fails where OPENBLIP_REQUIRE_<PART>=1
says that nothing of that part may be missing, as .ci/run does. Knows no test."""

from __future__ import annotations

import importlib
import os
import shutil
from types import ModuleType
from typing import Literal, NoReturn

import pytest

Part = Literal["BROWSER", "EXTRAS", "PROGRAMS", "SHARED"]


def lacking(part: Part, reason: str) -> NoReturn:
    """Skip the test, or fail it where OPENBLIP_REQUIRE_<part> is 1."""
    if os.environ.get(f"OPENBLIP_REQUIRE_{part}") == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason, allow_module_level=True)


def program(name: str, package: str = "") -> str:
    """The path of a program of a Debian package, which is called the same unless it is named."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}{os.pathsep}/usr/sbin")
    return found or lacking("PROGRAMS", f"needs {name}: install the package {package or name}")


def module(name: str, extra: str) -> ModuleType:
    """A module that an extra installs."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        lacking("EXTRAS", f"needs {name}: install the extra {extra}")
