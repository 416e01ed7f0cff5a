"""The main figures of `compare` as a picture: bars of time for each task. Knows the dictionary that is compare.json."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.contenders import CONTENDERS
from benchmarks.report import median_s
from benchmarks.tasks import TASKS

SHOWN = ("encode_1", "beam3_1", "beam3_8", "questions_8", "match_64")
COLOURS = {"transformers": "#9aa0a6", "openvino": "#7cb0d8", "onnxruntime": "#c2a5cf", "openblip": "#1b7837"}


def draw(result: dict[str, Any], path: Path) -> None:
    """Write an SVG of the first instruction set of a result. Its ground is white, so that it is read on any page."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams["svg.hashsalt"] = "openblip"  # the same figures give the same file
    run = result["runs"][0]
    measured = {entry["task"] for entry in run["measured"]}
    tasks = [task for task in SHOWN if task in measured] or [task for task in TASKS if task in measured]
    figure = Figure(figsize=(9, 0.6 + 0.3 * sum(len(_bars(run, task)) + 2 for task in tasks)), facecolor="white")
    ratios = [len(_bars(run, task)) + 1 for task in tasks]
    for axes, task in zip(
        figure.subplots(len(tasks), 1, height_ratios=ratios, squeeze=False)[:, 0], tasks, strict=True
    ):
        _panel(axes, run, task)
    cpu, threads = result["machine"]["cpu"], result["threads"]
    figure.suptitle(f"{result['model']}: milliseconds, less is better ({cpu}, {threads} threads)", fontsize=11)
    figure.tight_layout(rect=(0, 0, 1, 0.985))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="svg", metadata={"Date": None})


def _panel(axes: Any, run: dict[str, Any], task: str) -> None:
    """One task: a bar a contender, with its time behind it."""
    bars = _bars(run, task)
    times = [seconds * 1000 for _, seconds in bars.values()]
    colours = [COLOURS[name.split("-")[0]] for name in bars]
    drawn = axes.barh([title for title, _ in bars.values()], times, color=colours)
    axes.bar_label(drawn, labels=[f"{time:,.0f}" for time in times], padding=3, fontsize=8)
    axes.set_title(f"{TASKS[task].title}{_how(task)}", fontsize=9, loc="left")
    axes.invert_yaxis()
    axes.margins(x=0.1)
    axes.set_xticks([])
    axes.tick_params(axis="y", labelsize=8, length=0)
    for side in ("top", "right", "bottom"):
        axes.spines[side].set_visible(False)


def _bars(run: dict[str, Any], task: str) -> dict[str, tuple[str, float]]:
    """Each contender's title, and its seconds in the plainest way that it was asked."""
    found = {}
    for name, entry in CONTENDERS.items():
        title, seconds = entry.title.strip("*"), median_s(run, name, task, ("batch", "calls"))
        if seconds is None and (seconds := median_s(run, name, task)) is not None and not title.startswith("openblip"):
            title += ", encoded once"
        if seconds is not None:
            found[name] = title, seconds
    return found


def _how(task: str) -> str:
    return " (others: a call a text, where not said otherwise)" if TASKS[task].texts > 1 else ""
