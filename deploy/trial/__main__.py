"""Real tasks behind a real balancer, beside the simulation, and broken in every way: see docs/capacity.md.

python -m deploy.trial --parts rolling,kills
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from benchmarks.load import pictures
from benchmarks.load.__main__ import Stopped, limited, work_folder
from benchmarks.machine import machine
from deploy.capacity.curves import Curves
from deploy.capacity.task import TaskSize
from deploy.pages import CHECKOUT, put_into
from deploy.trial import compare, drills, plot, report
from deploy.trial.stand import Setup, standing
from deploy.trial.tasks import Recipe
from openblip.errors import OpenBlipError

CURVES = CHECKOUT / "deploy" / "capacity" / "curves" / "mini.json"
RESULTS = CHECKOUT / "deploy" / "trial" / "results.json"
PARTS = ("compare", *drills.DRILLS)
PICTURES = 6000
"""As many different ones as the longest part but the soak asks for."""
TRIAL_SIZE = TaskSize(cores=1.0, readers=os.cpu_count() or 1, max_batch=32, max_queue=64, max_requests=64)


def main() -> int:
    """Run the parts, print the tables, add them to the results, the page and the plot."""
    arguments = _arguments()
    load_before = os.getloadavg()[0]
    failed: dict[str, str] = {}
    found: dict[str, Any] = {}
    with limited(arguments.limit), work_folder(arguments.work) as work:
        try:
            setup = _setup(work, arguments)
            curves = Curves.read(arguments.curves)
            for part in arguments.parts.split(","):
                print(f"{part} ...", file=sys.stderr, flush=True)
                found[part] = _run(part, setup, curves, arguments, found.get("compare"))
        except (Stopped, RuntimeError, OSError, ValueError, OpenBlipError) as error:
            failed[",".join(part for part in arguments.parts.split(",") if part not in found)] = str(error)
            print(error, file=sys.stderr)
    result = _merged(found, failed, load_before, arguments)
    print(report.markdown(result))
    if arguments.output is not None:
        _write(result, arguments.output)
    return 1 if failed or _wrong(found) else 0


def _arguments() -> argparse.Namespace:
    data = CHECKOUT.parent / "shared" / "data"
    parser = argparse.ArgumentParser(description="Service tasks behind a load balancer, under load and broken.")
    usual = ",".join(part for part in PARTS if part != "soak")
    parser.add_argument("--parts", default=usual, help=f"of {','.join(PARTS)}; default: all but soak")
    parser.add_argument("--model", default="mini", help="of the tasks")
    parser.add_argument("--tasks", type=int, default=2, help="2 to 4; each is pinned to a core, in turn")
    parser.add_argument("--curves", type=Path, default=CURVES, help="of python -m deploy.capacity measure")
    parser.add_argument("--seconds", type=float, default=45.0, help="of a row of the comparison")
    parser.add_argument("--soak", type=float, default=20.0, help="minutes")
    parser.add_argument("--scale", type=float, default=1.0, help="of the drills' times; below 1 for a try")
    parser.add_argument("--data", type=Path, default=data if data.is_dir() else None, help="folder with more photos")
    parser.add_argument("--work", type=Path, help="folder to keep pictures and logs in; default: none kept")
    parser.add_argument("--limit", type=int, default=3600, help="seconds for everything; then all is stopped")
    parser.add_argument(
        "--output", type=Path, help=f"JSON that is added to; default: {RESULTS.name}, none with --scale"
    )
    arguments = parser.parse_args()
    if unknown := set(arguments.parts.split(",")) - set(PARTS):
        parser.error(f"no part is called {', '.join(sorted(unknown))}: give some of {', '.join(PARTS)}")
    if not 2 <= arguments.tasks <= 4:
        parser.error(f"--tasks {arguments.tasks}: give 2 to 4")
    if arguments.output is None and arguments.scale >= 1:
        arguments.output = RESULTS
    return arguments


def _setup(work: Path, arguments: argparse.Namespace) -> Setup:
    folder = work / "pictures"
    if not folder.is_dir():
        print(f"writing {PICTURES} pictures", file=sys.stderr, flush=True)
        originals = pictures.photos(CHECKOUT / "samples", arguments.data)
        pictures.write_fresh(folder.with_name("part"), originals, PICTURES, {pictures.USUAL_SIDE: 1.0})
        folder.with_name("part").rename(folder)
    cores = tuple(sorted(os.sched_getaffinity(0)))
    return Setup(work, folder, Recipe(arguments.model, work / "compiled", cores=cores), tasks=arguments.tasks)


def _run(part: str, setup: Setup, curves: Curves, arguments: argparse.Namespace, compared: Any) -> Any:
    """compared: what the comparison of this run came to, if there was one."""
    own = replace(setup, folder=Path(mkdtemp(prefix=f"{part}-", dir=setup.folder)))
    if part == "compare":
        found = compare.compare(own, curves, TRIAL_SIZE, arguments.seconds)
        return {**found, "outside_ms": curves.outside_s * 1000}
    pace = drills.Pace(_capacity(curves, setup, compared), arguments.scale, arguments.soak * 60)
    with standing(replace(own, recipe=replace(own.recipe, settings=compare.settings(TRIAL_SIZE)))) as stand:
        found = drills.DRILLS[part](stand, pace)
        events = [[round(event.time_s, 2), event.what, event.task] for event in stand.controller.events]
    return {**found, "events": events}


def _capacity(curves: Curves, setup: Setup, compared: Any, results: Path = RESULTS) -> float:
    """What the tasks can do: as this run measured it, or an earlier one of the same model and as many tasks; else what
    the curves say."""
    if compared:
        return float(compared["capacity"])
    if results.is_file():
        known = json.loads(results.read_text(encoding="utf-8"))
        earlier, model = known.get("compare"), known["runs"].get("compare", {}).get("model")
        if earlier and (earlier["tasks"], model) == (setup.tasks, setup.recipe.model):
            return float(earlier["capacity"])
    return len(setup.recipe.cores) * curves.rate(1.0, 4)


def _merged(
    found: dict[str, Any], failed: dict[str, str], load_before: float, arguments: argparse.Namespace
) -> dict[str, Any]:
    """With what other runs left in the same file. runs: how, when, where and of what each part was measured."""
    output = arguments.output
    known = json.loads(output.read_text(encoding="utf-8")) if output is not None and output.is_file() else {}
    words = ["python", "-m", "deploy.trial", "--parts", arguments.parts]
    words += ["--seconds", f"{arguments.seconds:g}"] if "compare" in found else []
    words += ["--soak", f"{arguments.soak:g}"] if "soak" in found else []
    words += ["--scale", f"{arguments.scale:g}"] if arguments.scale != 1 else []
    drilled = {name: entry for name, entry in found.items() if name != "compare"}
    both = {**known.get("drills", {}), **drilled}
    run = {
        "command": " ".join(words),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": arguments.model,
        "machine": machine(load_before, ("openblip", "openvino", "uvicorn", "redis")),
    }
    return {
        "runs": {**known.get("runs", {}), **dict.fromkeys(found, run)},
        "compare": found.get("compare", known.get("compare")),
        "drills": {name: both[name] for name in drills.DRILLS if name in both},
        "failed": failed,
    }


def _wrong(found: dict[str, Any]) -> list[str]:
    """What a run must not show: something lost or failed, a deployment that saw no load to its end, or a simulation
    that is off."""
    wrong = [f"{name}: {entry['lost']} lost" for name, entry in found.items() if entry.get("lost")]
    wrong += [
        f"{name}: the load was over before the deployment, it shows nothing"
        for name, entry in found.items()
        if entry.get("within_load") is False
    ]
    if "compare" in found:
        rows = found["compare"]["rows"]
        failed = [(row["load"], row["measured"]["failed"]) for row in rows]
        wrong += [f"{load}: {count} requests failed" for load, count in failed if count]
        wrong += compare.disagreements(rows)
    for line in wrong:
        print(line, file=sys.stderr)
    return wrong


def _write(result: dict[str, Any], output: Path) -> None:
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if output == RESULTS:
        drawn = plot.draw(result, CHECKOUT / "docs" / "images" / "trial.svg")
        image = "\n![Times, refusals and failed tries of every drill](images/trial.svg)\n"
        put_into(CHECKOUT / "docs" / "capacity.md", "trial", report.markdown(result) + image * drawn)
    print(f"written to {output.name}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
