"""The capacity plan: what a task takes is measured, loads are simulated, pages and plots are written
(docs/capacity.md).

python -m deploy.capacity measure --model mini; python -m deploy.capacity plan
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.load import pictures
from benchmarks.load.__main__ import limited, work_folder
from benchmarks.machine import machine
from deploy.capacity import plan, plot, report
from deploy.capacity.curves import Curves
from deploy.capacity.engine import SIZES
from deploy.capacity.measure import measure
from deploy.capacity.task import TaskSize
from deploy.pages import CHECKOUT, put_into
from deploy.settings import Limits
from deploy.settings_file import read_settings
from deploy.trial.stand import Setup
from deploy.trial.tasks import Recipe
from openblip.errors import OpenBlipError

FOLDER = CHECKOUT / "deploy" / "capacity"
_PICTURES = 2400  # more than tasks of mini take in twelve seconds
FULL_SIZE = Limits(max_batch=8, max_queue=16, max_requests=32)
"""What the plan takes where no settings are named: that nothing waits longer than some 14 s."""


def main() -> int:
    """Measure, or plan."""
    data = CHECKOUT.parent / "shared" / "data"
    parser = argparse.ArgumentParser(description="How many tasks a load needs, and which policy keeps them.")
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("measure", help="what a task takes, on this machine")
    one.add_argument("--model", default="mini", help="mini, or a folder; base-random: the size of BLIP base")
    one.add_argument("--threads", type=int, default=1, help="of a task, which has as many cores")
    one.add_argument("--precision", help="of the engine; default: what it chooses")
    one.add_argument("--data", type=Path, default=data if data.is_dir() else None, help="folder with more photos")
    one.add_argument("--work", type=Path, help="folder to keep pictures and logs in; default: none kept")
    one.add_argument("--limit", type=int, default=900, help="seconds for everything")
    one.add_argument("--output", type=Path, help="JSON; default: deploy/capacity/curves/MODEL.json")
    two = commands.add_parser("plan", help="loads, policies and costs, simulated")
    two.add_argument("--curves", type=Path, default=FOLDER / "curves" / "base-random.json",
                     help="of measure; default: those of the full size")  # fmt: skip
    two.add_argument(
        "--settings", type=Path, help="TOML of a deployment, whose own policy and limits are played through"
    )
    two.add_argument("--new", type=float, default=0.7, help="share of the requests about a picture never seen before")
    two.add_argument("--quick", action="store_true", help="short loads: to see that everything runs")
    two.add_argument(
        "--output", type=Path, help="JSON; default: deploy/capacity/plan.json, none with --quick or --settings"
    )
    arguments = parser.parse_args()
    try:
        return _measure(arguments) if arguments.command == "measure" else _plan(arguments)
    except (RuntimeError, OSError, ValueError, OpenBlipError) as error:
        print(error, file=sys.stderr)
        return 1


def _measure(arguments: argparse.Namespace) -> int:
    load_before = os.getloadavg()[0]
    with limited(arguments.limit), work_folder(arguments.work) as work:
        folder = work / "few"
        if not folder.is_dir():
            originals = pictures.photos(CHECKOUT / "samples", arguments.data)
            pictures.write_fresh(folder.with_name("part"), originals, _PICTURES, {pictures.USUAL_SIDE: 1.0})
            folder.with_name("part").rename(folder)
        model = str(_random_base(work)) if arguments.model == "base-random" else arguments.model
        settings = {"OPENBLIP_PRECISION": arguments.precision} if arguments.precision else {}
        cores = tuple(sorted(os.sched_getaffinity(0))) if arguments.threads == 1 else ()
        recipe = Recipe(model, work / "compiled", arguments.threads, cores, settings)
        name = Path(arguments.model).name
        notes: dict[str, Any] = {
            "model": name,
            "command": f"python -m deploy.capacity measure --model {name} --threads {arguments.threads}",
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": machine(load_before, ("openblip", "openvino")),
        }
        asked, sizes = (120, SIZES) if arguments.model == "mini" else (20, SIZES[:5])
        curves = measure(Setup(work, folder, recipe), arguments.precision, notes, asked=asked, sizes=sizes)
    output = arguments.output or FOLDER / "curves" / f"{name}.json"
    curves.write(output)
    print(output.read_text(encoding="utf-8"))
    return 0


def _random_base(work: Path) -> Path:
    """Random weights of the size of BLIP base: they take as long as the published ones."""
    from benchmarks import random_blip

    folder = work / "base"
    if not (folder / "config.json").is_file():
        random_blip.save(random_blip.random_blip("BlipForConditionalGeneration", size="base"), folder)
    return folder


def _plan(arguments: argparse.Namespace) -> int:
    curves, settings = Curves.read(arguments.curves), read_settings(arguments.settings)
    cores, limits = float(settings.task.vcpus), settings.service.limits if arguments.settings else FULL_SIZE
    bounds = (limits.max_batch, limits.max_queue, limits.max_requests, float(settings.drain.request_s))
    size = TaskSize(cores, max(1, int(cores)), *bounds)
    served = settings.service.model
    if arguments.settings and (served == "mini") != (curves.model == "mini"):
        words = f"the settings serve {served}, the curves are of {curves.model}: name others by --curves"
        print(words, file=sys.stderr)
    basis = plan.Basis(curves, settings, size, arguments.new, arguments.quick)
    found: dict[str, Any] = {"one_task": plan.one_task(basis), "bounds": plan.bounds(basis)}
    found["policies"] = plan.policies(basis)
    found["chosen"] = None if arguments.settings else plan.choose(found["policies"])
    found["days"] = plan.days(basis if found["chosen"] is None else basis.with_scaling(
        target_in_flight=found["chosen"]["target"], minimum=found["chosen"]["minimum"],
        target_requests_per_minute=found["chosen"]["requests"],
    ))  # fmt: skip
    found["internet"] = plan.internet(basis)
    result = {
        **found, "quick": arguments.quick, "curves": asdict(curves), "size": asdict(size), "new": arguments.new,
        "task": {"vcpus": settings.task.vcpus, "memory_gb": settings.task.memory_gb,
                 "dollars_hour": settings.prices.task_hour(settings.task), "prices_on": str(settings.prices.on),
                 "rate": basis.task_rate()},
        "scaling": {name: getattr(settings.scaling, name) for name in (
            "minimum", "maximum", "target_in_flight", "target_requests_per_minute", "scale_out_cooldown_s",
            "scale_in_cooldown_s", "period_s", "high_periods", "low_periods")},
    }  # fmt: skip
    text = report.markdown(result)
    print(text)
    output = arguments.output or (None if arguments.quick or arguments.settings else FOLDER / "plan.json")
    if output is not None:
        output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if output == FOLDER / "plan.json" and found["chosen"] is not None:
        plot.draw(result, CHECKOUT / "docs" / "images" / "capacity.svg")
        image = "\n![One task, policies, and three loads over time](images/capacity.svg)\n"
        put_into(CHECKOUT / "docs" / "capacity.md", "plan", text + image)
    return 0


if __name__ == "__main__":
    sys.exit(main())
