"""Takes out of an environment what a service on CPU never loads, and says how much that was. Knows file names alone.

What is kept was seen among the mapped files and loaded modules of a serving process; that nothing is missing is shown
by asking the image, once it is built, for every task (deploy/container/checks.py). Runs in the builder, so it needs
the standard library alone.
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Rule:
    """Files and folders that go. patterns: globs from site-packages on."""

    reason: str
    patterns: tuple[str, ...]


_FORMATS = ("jax", "onnx", "paddle", "pytorch", "tensorflow")
RULES = (
    Rule(
        "OpenVINO's plugins for other devices, and the GPU's table of kernels",
        (
            "openvino/libs/libopenvino_intel_[gn]pu_plugin.so",
            "openvino/libs/libopenvino_auto*_plugin.so",
            "openvino/libs/libopenvino_hetero_plugin.so",
            "openvino/libs/cache.json",
        ),
    ),
    Rule(
        "OpenVINO's readers of other formats: openblip builds its graphs itself, and reads back its own",
        (
            *(f"openvino/libs/libopenvino_{name}_frontend.so*" for name in (*_FORMATS, "gguf", "tensorflow_lite")),
            *(f"openvino/frontend/{name}" for name in _FORMATS),
        ),
    ),
    Rule(
        "OpenVINO's model converter, C headers and build files",
        ("openvino/tools", "openvino/torch", "openvino/include", "openvino/cmake", "openvino/libs/libopenvino_c.so*"),
    ),
    Rule("tests that packages bring along", ("numpy/**/tests", "pyarrow/tests")),
    Rule("headers, stubs and Cython's sources", ("**/*.pyi", "**/*.pxd", "**/*.pyx", "**/*.h", "numpy/**/*.a")),
    Rule("numpy's Fortran compiler and its build system", ("numpy/f2py", "numpy/_pyinstaller")),
)


def trim(site_packages: Path, rules: tuple[Rule, ...] = RULES) -> dict[str, int]:
    """Remove what the rules name; the bytes that each of them freed, by its reason."""
    freed = {}
    for rule in rules:
        freed[rule.reason] = 0
        for pattern in rule.patterns:
            for path in sorted(site_packages.glob(pattern)):
                freed[rule.reason] += _remove(path)
    return freed


def _remove(path: Path) -> int:
    if path.is_dir() and not path.is_symlink():
        size = sum(each.lstat().st_size for each in path.rglob("*") if each.is_file())
        shutil.rmtree(path)
    elif path.is_symlink() or path.exists():  # else its folder went before it
        size = path.lstat().st_size
        path.unlink()
    else:
        size = 0
    return size


def main(environment: str) -> None:
    """Trim it, and print a line a rule. Commands of the packages go too: some would find half of theirs gone."""
    [site_packages] = Path(environment).glob("lib/python3.*/site-packages")
    for command in Path(environment, "bin").iterdir():
        if not command.name.startswith("python"):
            command.unlink()
    freed = trim(site_packages)
    for reason, size in freed.items():
        sys.stdout.write(f"{size / 1e6:7.1f} MB  {reason}\n")
    sys.stdout.write(f"{sum(freed.values()) / 1e6:7.1f} MB  in all\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
