"""The service under load, and two rivals on the same weights: `make load`. See docs/load.md.

python -m benchmarks.load --data ../shared/data
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.load import phases, pictures, plot, report
from benchmarks.load.phases import PHASES, Setup
from benchmarks.load.servers import CHECKOUT
from benchmarks.machine import machine
from openblip.engines.openvino.processor import checked_threads

PACKAGES = (
    "openblip", "openvino", "transformers", "torch", "litserve", "fastapi", "uvicorn", "uvloop", "httptools", "redis",
    "locust", "gevent",
)  # fmt: skip
FRESH, FRESH_MIXED = 10_000, 4_000
"""More pictures than a run can ask for: 130 a second for 75 seconds; a test that runs out of them says so."""


class Stopped(Exception):
    """The time is over, or somebody asked for the end. What was measured before is written."""


def main() -> int:
    """Make pictures and weights, run the parts, print the tables, write JSON, Markdown, page and plot."""
    arguments = _arguments()
    load_before = os.getloadavg()[0]
    with limited(arguments.limit), work_folder(arguments.work) as work:
        originals = pictures.photos(CHECKOUT / "samples", arguments.data)
        folder = arguments.pictures_only or work / "pictures"
        _make_pictures(folder, originals, arguments)
        if arguments.pictures_only:
            return 0
        setup = Setup(
            work, folder, work / f"base-{arguments.size}", arguments.model, arguments.precision,
            checked_threads(arguments.threads), 0.05 if arguments.quick else arguments.scale,
        )  # fmt: skip
        result: dict[str, Any] = {
            "command": _command(),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "model": arguments.model,
            "precision": arguments.precision,
            "base": arguments.size,
            "threads": setup.threads,
            "photos": len(originals),
            "machine": machine(load_before, PACKAGES),
            "failed": {},
        }
        for part in arguments.parts.split(","):
            try:
                result[part] = _run(part, setup, arguments)
            except Stopped as error:
                result["failed"][part] = str(error)
                break
            except (RuntimeError, OSError, ValueError) as error:
                print(f"{part}: {error}", file=sys.stderr)
                result["failed"][part] = str(error).splitlines()[0]
    _write(result, arguments)
    return 1 if result["failed"] else 0


def _arguments() -> argparse.Namespace:
    data = CHECKOUT.parent / "shared" / "data"
    results = CHECKOUT / "benchmarks" / "results"
    parser = argparse.ArgumentParser(description="The service under load, beside two rivals.")
    parser.add_argument("--parts", default=",".join(PHASES), help="separated by commas; default: all")
    parser.add_argument("--model", default="mini", help="of all parts but `rivals`")
    parser.add_argument("--precision", choices=("f32", "bf16", "int8"), help="of that model; default: what it chooses")
    parser.add_argument("--precisions", default="int8,bf16,f32", help="of openblip in `rivals`; none leaves it out")
    parser.add_argument("--size", choices=("tiny", "base", "large"), help="of the weights in `rivals`; default: base")
    parser.add_argument("--threads", type=int, help="of every server; default: the physical cores")
    parser.add_argument("--data", type=Path, default=data if data.is_dir() else None, help="folder with more photos")
    parser.add_argument("--work", type=Path, help="folder to keep pictures, weights and logs in; default: none kept")
    parser.add_argument("--scale", type=float, default=1.0, help="of all times: 0.3 for a first impression")
    parser.add_argument("--limit", type=int, default=3600, help="seconds for everything; then all is stopped")
    parser.add_argument("--quick", action="store_true", help="seconds and a tiny model: to see that everything runs")
    parser.add_argument("--pictures-only", type=Path, metavar="FOLDER", help="write the pictures there, and end")
    parser.add_argument(
        "--output",
        type=Path,
        help="JSON; default: benchmarks/results/load.json, none with --quick or a --scale below 1",
    )
    arguments = parser.parse_args()
    if unknown := set(arguments.parts.split(",")) - set(PHASES):
        parser.error(f"no part is called {', '.join(sorted(unknown))}: give some of {', '.join(PHASES)}")
    arguments.size = arguments.size or ("tiny" if arguments.quick else "base")
    if not arguments.quick and arguments.scale >= 1 and arguments.output is None:
        arguments.output = results / "load.json"
    return arguments


@contextmanager
def limited(seconds: int) -> Iterator[None]:
    """The end of the time, and SIGTERM, raise in the main thread, so that everything that was started is stopped on
    the way out."""

    def end(number: int, frame: object) -> None:
        reason = f"after {seconds} s (--limit)" if number == signal.SIGALRM else "by SIGTERM"
        raise Stopped(f"stopped {reason}")

    for number in (signal.SIGALRM, signal.SIGTERM):
        signal.signal(number, end)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)


@contextmanager
def work_folder(folder: Path | None) -> Iterator[Path]:
    """The given one, or one that is gone behind the block."""
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="openblip-load-") as made:
        yield Path(made)


def _make_pictures(folder: Path, originals: Any, arguments: argparse.Namespace) -> None:
    """Those that are not there yet."""
    part = 5 if arguments.quick else 1
    mixed = folder / "mixed"
    usual = {pictures.USUAL_SIDE: 1.0}
    wanted: dict[Path, Callable[[Path], object]] = {
        folder / "fresh": lambda at: pictures.write_fresh(at, originals, FRESH // part, usual),
        folder / "large": lambda at: pictures.write_large(at, originals, 40 // part),
        mixed / "fresh": lambda at: pictures.write_fresh(at, originals, FRESH_MIXED // part, pictures.SIDES),
        mixed / "pool": lambda at: pictures.write_fresh(at, originals, 200 // part, pictures.SIDES, first=1 << 20),
    }
    for target, write in wanted.items():
        if not target.is_dir():
            print(f"writing pictures into {target}", file=sys.stderr, flush=True)
            unfinished = target.with_name(f"{target.name}.part")
            write(unfinished)
            unfinished.rename(target)


def _run(part: str, setup: Setup, arguments: argparse.Namespace) -> Any:
    if part != "rivals":
        return PHASES[part](setup)
    if not (setup.base / "config.json").is_file():
        from benchmarks import random_blip

        print(f"making weights in {setup.base}", file=sys.stderr, flush=True)
        model = random_blip.random_blip("BlipForConditionalGeneration", size=arguments.size)
        random_blip.save(model, setup.base)
    precisions = [precision for precision in arguments.precisions.split(",") if precision != "none"]
    return phases.rivals(setup, precisions)


def _command() -> str:
    words = [os.path.relpath(word, CHECKOUT) if Path(word).is_absolute() else word for word in sys.argv[1:]]
    return shlex.join(["python", "-m", "benchmarks.load", *words])


def _write(result: dict[str, Any], arguments: argparse.Namespace) -> None:
    tables = report.markdown(result)
    print(tables)
    if arguments.output is None:
        return
    output: Path = arguments.output
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    output.with_suffix(".md").write_text(tables, encoding="utf-8")
    if output.parent == CHECKOUT / "benchmarks" / "results":
        picture, page = CHECKOUT / "docs" / "images" / "load.svg", CHECKOUT / "docs" / "load.md"
        drawn = find_spec("matplotlib") is not None and plot.draw(result, picture)
        image = "\n![Latency and rate of the mix; rates of the three servers](images/load.svg)\n"
        report.put_into(page, tables + image * drawn)
    print(f"written to {output} and beside it", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
