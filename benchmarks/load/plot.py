"""The figures of a load test as pictures. Knows the dictionary that is load.json."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

OURS, OTHERS, SECOND = "#1b7837", "#9aa0a6", "#7cb0d8"


def draw(result: Mapping[str, Any], path: Path) -> bool:
    """Write an SVG with a panel for each part that was run: rates beside the rivals', rate and time by users, memory.
    False where nothing was. Its ground is white, so that it is read on any page."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    panels = [
        (drawn, result[part])
        for part, drawn in (("rivals", _rates), ("mix", _ramp), ("uncached", _memory))
        if result.get(part)
    ]
    if not panels:
        return False
    mpl.rcParams["svg.hashsalt"] = "openblip"  # the same figures give the same file
    figure = Figure(figsize=(9, 2.9 * len(panels)), facecolor="white")
    for axes, (drawn, part) in zip(figure.subplots(len(panels), 1, squeeze=False)[:, 0], panels, strict=True):
        drawn(axes, part)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    facts = result["machine"]
    figure.suptitle(f"The service under load ({facts['cpu']}, {facts['cores']} cores)", fontsize=11)
    figure.tight_layout(rect=(0, 0, 1, 0.98))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="svg", metadata={"Date": None})
    return True


def _rates(axes: Any, entries: Any) -> None:
    measured = [entry for entry in entries if "failed" not in entry]
    rates = [entry["summary"]["rate"] for entry in measured]
    colours = [OURS if entry["name"].startswith("openblip") else OTHERS for entry in measured]
    bars = axes.barh([entry["title"] for entry in measured], rates, color=colours)
    axes.bar_label(bars, labels=[f"{rate:.2f}" for rate in rates], padding=3, fontsize=8)
    axes.set_title("Uncached captions a second, full-size weights", fontsize=9, loc="left")
    axes.invert_yaxis()
    axes.margins(x=0.1)
    axes.tick_params(labelsize=8)


def _ramp(axes: Any, entry: Any) -> None:
    """Rate on the left, p50 and p99 on the right."""
    users = [str(step["users"]) for step in entry["steps"]]
    bars = axes.bar(users, [step["summary"]["rate"] for step in entry["steps"]], color=SECOND, width=0.5)
    axes.bar_label(bars, fmt="%.0f", fontsize=8)
    axes.margins(y=0.2)
    axes.set_ylabel("answers a second", fontsize=8)
    axes.set_xlabel("users", fontsize=8)
    times = axes.twinx()
    for name, style in (("p50", "o--"), ("p99", "o-")):
        values = [step["summary"]["percentiles_ms"].get(name) for step in entry["steps"]]
        times.plot(users, values, style, color=OURS, label=name, linewidth=1, markersize=4)
    times.set_yscale("log")
    times.set_ylabel("milliseconds", fontsize=8)
    times.legend(fontsize=8, frameon=False, loc="upper left")
    times.spines["top"].set_visible(False)
    axes.set_title("The realistic mix, more and more users", fontsize=9, loc="left")
    for each in (axes, times):
        each.tick_params(labelsize=8)


def _memory(axes: Any, entry: Any) -> None:
    times, memory = zip(*entry["memory"], strict=True)
    axes.plot(times, memory, color=OURS, linewidth=1)
    axes.set_ylim(0, max(memory) * 1.2)
    axes.set_xlabel("seconds", fontsize=8)
    axes.set_ylabel("MiB", fontsize=8)
    axes.set_title(f"Memory of the service, {entry['users']} clients, uncached pictures", fontsize=9, loc="left")
    axes.tick_params(labelsize=8)
