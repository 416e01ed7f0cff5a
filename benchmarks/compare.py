"""openblip beside transformers, OpenVINO and ONNX Runtime: same weights, same inputs, one run. `make compare`.

Weights are random but of a realistic scale, as the time of a product does not depend on what it holds. Each contender
runs in a process of its own; all are asked in turns. See docs/benchmarks.md for what is measured and how to read it.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import numpy as np

from benchmarks import isa as instruction_sets
from benchmarks import rates
from benchmarks.conductor import Plan, Results, compare
from benchmarks.contenders import CONTENDERS
from benchmarks.floor import STATE_BYTES, Rates, floor_s
from benchmarks.machine import machine
from benchmarks.plot import draw
from benchmarks.report import markdown
from benchmarks.tasks import FOLDERS, TASKS, Task, agreement
from openblip.checkpoint import read_config
from openblip.engines.openvino.processor import checked_threads

CHECKOUT = Path(__file__).resolve().parent.parent
PACKAGES = ("openblip", "openvino", "transformers", "torch", "onnxruntime", "onnx", "numpy")
REFERENCE = "transformers-f32"
CLASSES = {
    "caption": "BlipForConditionalGeneration",
    "answer": "BlipForQuestionAnswering",
    "match": "BlipForImageTextRetrieval",
}


def main() -> int:
    """Measure, print the tables, write JSON, Markdown and plot."""
    arguments = _arguments()
    load_before = os.getloadavg()[0]
    tasks = [TASKS[name] for name in _chosen(arguments.tasks, TASKS, "--tasks")]
    contenders = _chosen(arguments.contenders, CONTENDERS, "--contenders")
    isas = _chosen(arguments.isa, instruction_sets.ENVIRONMENT, "--isa")
    threads = checked_threads(arguments.threads)
    with _work_folder(arguments.work) as work:
        weights = arguments.weights or work / f"{arguments.size}-{arguments.image_size}"
        _make_weights(weights, tasks, arguments)
        runs = []
        for isa in isas:
            plan = Plan(
                weights, work, isa, threads, arguments.image_size, arguments.repeats, arguments.budget,
                arguments.limit, arguments.one_by_one,
            )  # fmt: skip
            runs.append(_run(plan, contenders, tasks))
    result = {
        "command": _command(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": f"BLIP {arguments.size}, {arguments.image_size} px",
        "threads": threads,
        "machine": machine(load_before, PACKAGES),
        "runs": runs,
    }
    _write(result, arguments)
    return 0 if all(run["measured"] for run in runs) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="openblip beside others: same weights, same inputs, one run.")
    parser.add_argument("--contenders", default=",".join(CONTENDERS), help="separated by commas; default: all")
    parser.add_argument("--tasks", default=",".join(TASKS), help="separated by commas; default: all")
    parser.add_argument("--isa", default="native", help="of native, avx512_vnni, avx2; separated by commas")
    parser.add_argument("--threads", type=int, help="of every contender; default: the physical cores")
    parser.add_argument("--size", choices=("tiny", "base", "large"), default="base")
    parser.add_argument("--image-size", type=int, default=384, help="side of the pictures in pixels")
    parser.add_argument("--weights", type=Path, help="folder of checkpoints; made where missing; default: in --work")
    parser.add_argument("--work", type=Path, help="folder to keep weights, conversions and logs in; default: none kept")
    parser.add_argument("--repeats", type=int, default=5, help="rounds; the median of all calls counts")
    parser.add_argument("--budget", type=float, default=40.0, help="seconds for a contender's way of a task")
    parser.add_argument("--limit", type=float, default=600.0, help="seconds after which a contender is stopped")
    parser.add_argument("--one-by-one", action="store_true", help="one contender in memory at a time, not in turns")
    parser.add_argument("--quick", action="store_true", help="one round, a second each: to see that everything runs")
    parser.add_argument("--output", type=Path, default=CHECKOUT / "benchmarks" / "results" / "compare.json")
    parser.add_argument("--plot", type=Path, default=CHECKOUT / "docs" / "images" / "compare.svg")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.repeats, arguments.budget = 1, 1.0
    return arguments


def _chosen(words: str, known: Sequence[str] | dict[str, Any], option: str) -> list[str]:
    names = [word for word in words.split(",") if word]
    if unknown := [name for name in names if name not in known]:
        sys.exit(f"{option} {','.join(unknown)} is unknown: give some of {', '.join(known)}")
    return names


@contextmanager
def _work_folder(folder: Path | None) -> Iterator[Path]:
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="openblip-compare-") as made:
        yield Path(made)


def _make_weights(folder: Path, tasks: Sequence[Task], arguments: argparse.Namespace) -> None:
    """The checkpoints that are not there yet, each in its folder."""
    for kind in dict.fromkeys(task.kind for task in tasks):
        if not (folder / FOLDERS[kind] / "config.json").is_file():
            from benchmarks import random_blip

            print(f"making weights to {kind} in {folder / FOLDERS[kind]}", file=sys.stderr)
            name = cast(random_blip.Kind, CLASSES[kind])
            model = random_blip.random_blip(name, image_size=arguments.image_size, size=arguments.size)
            random_blip.save(model, folder / FOLDERS[kind])


def _run(plan: Plan, contenders: Sequence[str], tasks: Sequence[Task]) -> dict[str, Any]:
    """Everything at one instruction set, ready for JSON."""
    seen = instruction_sets.probe(plan.isa, plan.threads)
    lowered = plan.isa != "native"
    left_out = [name for name in contenders if lowered and CONTENDERS[name].native_only]
    vision = read_config(plan.weights / FOLDERS[tasks[0].kind]).vision
    before = rates.measure(plan.isa, plan.threads, vision)
    results = compare([name for name in contenders if name not in left_out], tasks, plan)
    after = rates.measure(plan.isa, plan.threads, vision)
    measured_rates = {name: max(before[name], after[name]) for name in before}
    failed = [(name, "everything", "there is no setting that lowers its instruction set") for name in left_out]
    return {
        "isa": plan.isa,
        "seen": seen,
        "obeyed": instruction_sets.obeys(plan.isa, seen),
        "rates": measured_rates,
        "floors_s": _floors(plan, tasks, measured_rates),
        "loaded": [asdict(entry) for entry in results.loaded],
        "measured": _with_agreement(results),
        "failed": [*failed, *results.failed],
    }


def _floors(plan: Plan, tasks: Sequence[Task], measured: dict[str, float]) -> dict[str, dict[str, float]]:
    """Seconds by precision and task."""
    configs = {kind: read_config(plan.weights / FOLDERS[kind]) for kind in {task.kind for task in tasks}}
    state_bytes = STATE_BYTES if "bf16" in measured else {**STATE_BYTES, "int8": 4}
    return {
        precision: {
            task.name: floor_s(configs[task.kind], task, precision, Rates(measured[precision], measured["read"]),
                               state_bytes=state_bytes[precision])
            for task in tasks
        }
        for precision in ("f32", "bf16", "int8")
        if precision in measured
    }  # fmt: skip


def _with_agreement(results: Results) -> list[dict[str, Any]]:
    """The measurements, each with how its output differs from that of transformers f32, asked in the plainest way."""
    reference: dict[str, Path] = {}
    for entry in results.measured:
        if entry.contender == REFERENCE:
            reference.setdefault(entry.task, Path(entry.output))
    found = []
    for entry in results.measured:
        values = asdict(entry)
        output = Path(values.pop("output"))
        if entry.task in reference:
            values["agreement"] = agreement(TASKS[entry.task], np.load(output), np.load(reference[entry.task]))
        values["median_s"], values["best_s"] = statistics.median(entry.times_s), min(entry.times_s)
        found.append(values)
    return found


def _command() -> str:
    words = [os.path.relpath(word, CHECKOUT) if Path(word).is_absolute() else word for word in sys.argv[1:]]
    return shlex.join(["python", "-m", "benchmarks.compare", *words])


def _write(result: dict[str, Any], arguments: argparse.Namespace) -> None:
    tables = markdown(result)
    print(tables)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    arguments.output.with_suffix(".md").write_text(tables, encoding="utf-8")
    written = [arguments.output, arguments.output.with_suffix(".md")]
    if find_spec("matplotlib"):
        draw(result, arguments.plot)
        written.append(arguments.plot)
    else:
        print("no plot: matplotlib is not installed (it is in the extra 'bench')", file=sys.stderr)
    print(f"written to {', '.join(map(str, written))}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
