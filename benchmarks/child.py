"""The process that one contender runs in. Asked over stdin, answers over stdout, a line of JSON each.

`python -m benchmarks.child prepare|first|serve CONTENDER KIND FOLDER THREADS WORK`. Knows one contender; does not
know the others, nor what becomes of its figures.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO, cast

from benchmarks.contenders import Array, Contender, NotSupported, load, prepare
from benchmarks.tasks import FIRST, TASKS, Inputs, Kind, Task, Way, inputs_of


def main() -> int:
    """Convert; or load and answer for the first time, and then (serve) do what is asked until stdin ends."""
    answers = _own_stdout()
    action, name, kind, folder, threads, work = sys.argv[1:]
    try:
        if action == "prepare":
            prepare(name, cast(Kind, kind), Path(folder), int(threads), Path(work))
            _send(answers, {"prepared": True})
        else:
            _serve(load(name, cast(Kind, kind), Path(folder), int(threads), Path(work)), cast(Kind, kind), answers)
    except NotSupported as error:
        _send(answers, {"refused": str(error)})
    except Exception as error:  # noqa: BLE001 - whatever a rival fails with is a result
        traceback.print_exc()
        _send(answers, {"failed": _one_line(error)})
    return 0


def run(contender: Contender, task: Task, way: Way, inputs: Inputs) -> Array:
    """Do a task once."""
    if task.does == "encode":
        return contender.encode(inputs.pixels)
    if task.does == "caption":
        return contender.caption(inputs.pixels, task.beams)
    if task.does == "answer":
        return contender.answer(inputs.pixels, inputs.tokens, way)
    return contender.match(inputs.pixels, inputs.tokens, way)


def _serve(contender: Contender, kind: Kind, answers: TextIO) -> None:
    image_size = int(os.environ["BENCHMARK_IMAGE_SIZE"])
    first = FIRST[kind]
    run(contender, first, contender.ways(first)[0], inputs_of(first, image_size))
    ways = {task.name: list(contender.ways(task)) for task in TASKS.values() if task.kind == kind}
    _send(answers, {"ready": True, "ways": ways, "seen": dict(contender.seen()), "peak_mib": peak_mib()})
    for line in sys.stdin:
        asked = json.loads(line)
        task = TASKS[asked["task"]]
        try:
            _send(answers, _measured(contender, task, asked, inputs_of(task, image_size)))
        except Exception as error:  # noqa: BLE001 - as above: the other tasks may well work
            traceback.print_exc()
            _send(answers, {"failed": _one_line(error)})


def _measured(contender: Contender, task: Task, asked: dict[str, Any], inputs: Inputs) -> dict[str, Any]:
    forget_peak()
    times = []
    for _ in range(asked["calls"]):
        start = time.perf_counter()
        found = run(contender, task, asked["way"], inputs)
        times.append(time.perf_counter() - start)
    if asked.get("output"):
        import numpy as np

        np.save(asked["output"], found)
    return {"times_s": times, "peak_mib": peak_mib()}


def peak_mib() -> float:
    """The most memory that this process held since `forget_peak`, or since its start where the kernel cannot forget."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return 0.0


def forget_peak() -> None:
    """Let the peak begin anew at what is held now."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _own_stdout() -> TextIO:
    """stdout for our answers alone: what libraries print goes to stderr."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


def _send(answers: TextIO, message: dict[str, Any]) -> None:
    answers.write(json.dumps(message) + "\n")
    answers.flush()


def _one_line(error: Exception) -> str:
    words = str(error).strip().splitlines() or ["no message"]
    # OpenVINO begins with where in its sources it failed, and ends with what failed.
    return f"{type(error).__name__}: {words[-1 if words[0].startswith('Exception from') else 0]}"[:300]


if __name__ == "__main__":
    sys.exit(main())
