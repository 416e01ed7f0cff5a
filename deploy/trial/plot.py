"""A trial's results as pictures. Knows the dictionary that is results.json."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

MEASURED, SIMULATED, REFUSED, BROKEN = "#1b7837", "#7cb0d8", "#d8a03c", "#b2182b"


def draw(result: Mapping[str, Any], path: Path) -> bool:
    """Write an SVG: the simulation beside the run, and a panel a drill. False where nothing was run."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    drills = result.get("drills", {})
    compared = result.get("compare")
    panels = len(drills) + bool(compared)
    if not panels:
        return False
    mpl.rcParams["svg.hashsalt"] = "openblip"  # the same figures give the same file
    figure = Figure(figsize=(9, 2.3 * panels), facecolor="white")
    all_axes = list(figure.subplots(panels, 1, squeeze=False)[:, 0])
    if compared:
        _compared(all_axes.pop(0), compared["rows"])
    for axes, found in zip(all_axes, drills.values(), strict=True):
        _drill(axes, found)
    for axes in figure.axes:
        axes.tick_params(labelsize=8)
    machines = [run["machine"] for run in result["runs"].values()]
    names = "; ".join(dict.fromkeys(f"{facts['cpu']}, {facts['cores']} cores" for facts in machines))
    figure.suptitle(f"Real tasks behind HAProxy ({names})", fontsize=11)
    figure.tight_layout(rect=(0, 0, 1, 0.98))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="svg", metadata={"Date": None})
    return True


def _compared(axes: Any, rows: Any) -> None:
    """p99 by load, measured with what chance alone may do, beside the simulated one."""
    places = range(len(rows))
    real = [row["measured"]["p99_ms"] or 0.0 for row in rows]
    ranges = [row["measured"]["p99_range_ms"] or (value, value) for row, value in zip(rows, real, strict=True)]
    errors = [[max(0.0, value - low) for value, (low, _) in zip(real, ranges, strict=True)],
              [max(0.0, high - value) for value, (_, high) in zip(real, ranges, strict=True)]]  # fmt: skip
    axes.bar([place - 0.2 for place in places], real, 0.38, yerr=errors, color=MEASURED, label="measured", capsize=3)
    axes.bar([place + 0.2 for place in places], [row["simulated"]["p99_ms"] for row in rows], 0.38, color=SIMULATED,
             label="simulated")  # fmt: skip
    axes.set_xticks(list(places), [row["load"] for row in rows])
    axes.set_yscale("log")
    axes.set_ylabel("p99, ms", fontsize=8)
    axes.legend(fontsize=8, frameon=False)
    axes.set_title("Simulated and measured, by load", fontsize=9, loc="left")


def _drill(axes: Any, found: Mapping[str, Any]) -> None:
    """p50 and p99 on the left, refused and failed tries a second on the right, and when something was done."""
    rows = found["timeline"]
    times = [row["time_s"] for row in rows]
    for name, style in (("p50_ms", "--"), ("p99_ms", "-")):
        values = [row[name] if row[name] is not None else float("nan") for row in rows]
        axes.plot(times, values, style, color=MEASURED, linewidth=1, label=name.removesuffix("_ms"))
    axes.set_yscale("log")
    axes.set_ylabel("ms", fontsize=8)
    axes.set_xlabel("seconds", fontsize=8)
    for name, at_s in found.get("marks", {}).items():
        axes.axvline(at_s, color="#555555", linewidth=0.8, linestyle=":")
        axes.annotate(name, (at_s, 1.0), xycoords=("data", "axes fraction"), fontsize=7, va="top")
    others = axes.twinx()
    others.plot(times, [row["asked"] for row in rows], color="#9aa0a6", linewidth=1, label="asked")
    others.plot(times, [row["refused"] for row in rows], color=REFUSED, linewidth=1, label="refused")
    others.plot(times, [row["broken"] for row in rows], color=BROKEN, linewidth=1, label="failed tries")
    others.set_ylabel("a second", fontsize=8)
    others.set_ylim(bottom=0)
    lines = [*axes.get_lines(), *others.get_lines()]
    named = [line for line in lines if not line.get_label().startswith("_")]
    others.legend(named, [line.get_label() for line in named], fontsize=7, frameon=False, ncols=5, loc="upper right")
    axes.set_title(found["title"], fontsize=9, loc="left")
