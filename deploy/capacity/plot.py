"""A capacity plan as a picture. Knows the dictionary that is plan.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

MAIN, SECOND, WARNING, GREY = "#1b7837", "#7cb0d8", "#b2182b", "#9aa0a6"


def draw(result: Mapping[str, Any], path: Path) -> None:
    """Write an SVG: one task by load, policies by price and refusals, and each load over time."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams["svg.hashsalt"] = "openblip"  # the same figures give the same file
    panels = 2 + len(result["days"])
    figure = Figure(figsize=(9, 2.7 * panels), facecolor="white")
    axes = figure.subplots(panels, 1)
    _one_task(axes[0], result["one_task"])
    _policies(axes[1], result["policies"], result["chosen"])
    for each, day in zip(axes[2:], result["days"], strict=True):
        _day(each, day)
    for each in figure.axes:
        each.tick_params(labelsize=8)
    figure.suptitle(f"Simulated: {result['curves']['model']}, {result['task']['vcpus']:g} vCPUs a task", fontsize=11)
    figure.tight_layout(rect=(0, 0, 1, 0.98))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="svg", metadata={"Date": None})


def _one_task(axes: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    loads = [row["share"] * 100 for row in rows]
    axes.plot(loads, [row["p99_s"] for row in rows], "o-", color=MAIN, label="p99, s", markersize=4)
    axes.plot(loads, [row["p50_s"] for row in rows], "o--", color=MAIN, label="p50, s", markersize=4)
    axes.plot(
        loads, [row["pictures_a_batch"] for row in rows], "s-", color=SECOND, label="pictures a batch", markersize=4
    )
    axes.set_xlabel("load, % of what a task can do", fontsize=8)
    axes.legend(fontsize=8, frameon=False)
    axes.set_title("One task, every picture new", fontsize=9, loc="left")


def _policies(axes: Any, rows: Sequence[Mapping[str, Any]], chosen: Mapping[str, Any]) -> None:
    kinds = list(dict.fromkeys((row["guard"], row["minimum"]) for row in rows))
    for place, (guard, minimum) in enumerate(kinds):
        same = [row for row in rows if (row["guard"], row["minimum"]) == (guard, minimum)]
        name = "no guard" if guard is None else f"guard {guard:.0%}"
        axes.plot([row["usual_dollars_per_1000"] for row in same], [row["refused"] * 100 for row in same],
                  "os^Dv<>"[place % 7], color=GREY if guard is None else SECOND, label=f"{name}, minimum {minimum}",
                  linestyle="-", linewidth=0.8)  # fmt: skip
        for row in same:
            axes.annotate(f"{row['target']:g}", (row["usual_dollars_per_1000"], row["refused"] * 100), fontsize=7,
                          xytext=(3, 3), textcoords="offset points")  # fmt: skip
    axes.plot(chosen["usual_dollars_per_1000"], chosen["refused"] * 100, "o", color=MAIN, markersize=10,
              fillstyle="none", label="chosen")  # fmt: skip
    axes.set_xlabel("$ for 1,000 captions on a usual day", fontsize=8)
    axes.set_ylabel("refused of the crowd, %", fontsize=8)
    axes.legend(fontsize=7, frameon=False, ncols=2)
    axes.set_title("Policies; at each point its target of requests in flight a task", fontsize=9, loc="left")


def _day(axes: Any, day: Mapping[str, Any]) -> None:
    rows = day["timeline"]
    hours = [row["time_s"] / 3600 for row in rows]
    axes.plot(hours, [row["asked"] for row in rows], color=GREY, label="requests/s", linewidth=1)
    axes.plot(hours, [row["healthy"] for row in rows], color=MAIN, label="healthy tasks", linewidth=1.2)
    axes.plot(hours, [row["desired"] for row in rows], ":", color=MAIN, label="wanted tasks", linewidth=1)
    axes.set_xlabel("hours", fontsize=8)
    axes.set_ylim(bottom=0)
    others = axes.twinx()
    others.plot(hours, [row["p99_s"] for row in rows], color=SECOND, label="p99, s", linewidth=1)
    others.plot(hours, [row["refused"] * 100 for row in rows], color=WARNING, label="refused, %", linewidth=1)
    others.set_ylim(bottom=0)
    lines = [*axes.get_lines(), *others.get_lines()]
    others.legend(lines, [line.get_label() for line in lines], fontsize=7, frameon=False, ncols=5)
    axes.set_title(day["title"], fontsize=9, loc="left")
