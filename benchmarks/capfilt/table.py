"""The results of all arms and seeds -> the table, its JSON and a plot; and whether the order is the paper's."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from benchmarks.capfilt.plan import ARMS, TITLES, Experiment
from openblip.bulk.shards import Sample

METRICS = {
    "cider": "CIDEr-D",
    "text_to_image_r1": "R@1 text to image",
    "image_to_text_r1": "R@1 image to text",
}
PAPER_ORDER = (("none", "filter"), ("none", "captioner"), ("filter", "both"), ("captioner", "both"))
"""Of Table 1: each of the two helps alone, and both together help more than either."""

Results = Mapping[str, Sequence[Mapping[str, float]]]
"""By arm: the metrics of each seed."""


def read_results(experiment: Experiment) -> dict[str, list[dict[str, float]]]:
    """What `evaluate` wrote. Raises FileNotFoundError where a run is missing."""
    return {arm: [_metrics(experiment.run(f"{arm}-{seed}")) for seed in experiment.seeds] for arm in ARMS}


def markdown(results: Results) -> str:
    """A row an arm: mean and standard deviation over the seeds."""
    lines = [
        "| bootstrapping | " + " | ".join(METRICS.values()) + " |",
        "|---|" + "---|" * len(METRICS),
    ]
    for arm in ARMS:
        cells = (_spread([each[metric] for each in results[arm]]) for metric in METRICS)
        lines.append(f"| {TITLES[arm]} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def order_lines(results: Results) -> list[str]:
    """For every pair of arms that the paper orders: the difference of the means, and how many seeds agree."""
    lines = []
    for metric, title in METRICS.items():
        for less, more in PAPER_ORDER:
            pairs = list(zip(results[less], results[more], strict=True))
            differences = [after[metric] - before[metric] for before, after in pairs]
            agreeing = sum(difference > 0 for difference in differences)
            lines.append(
                f"{title}: {TITLES[more]} over {TITLES[less]} {mean(differences):+.3f}, "
                f"{agreeing} of {len(differences)} seeds"
            )
    return lines


def accepted_by_kind(noisy: Sequence[Sample], kept: Sequence[Sample]) -> dict[str, tuple[int, int]]:
    """Of the web texts of each kind of noise: how many the filter kept, and how many there were. kept: what
    `openblip capfilt` left, which still has the kind in its json."""
    everything, accepted = Counter[str](), Counter[str]()
    for sample in noisy:
        everything[sample.metadata["kind"]] += len(sample.captions)
    for sample in kept:
        texts = sample.metadata["capfilt"]["texts"]
        accepted[sample.metadata["kind"]] += sum(
            text["source"] == "web" and text["decision"] == "kept" for text in texts
        )
    return {kind: (accepted[kind], everything[kind]) for kind in sorted(everything)}


def draw(results: Results, path: Path) -> None:
    """An SVG: a panel a metric, a bar an arm, a dot a seed."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams["svg.hashsalt"] = "openblip"  # the same figures give the same file
    figure = Figure(figsize=(9, 2.8), facecolor="white")
    for axes, (metric, title) in zip(figure.subplots(1, len(METRICS)), METRICS.items(), strict=True):
        values = [[each[metric] for each in results[arm]] for arm in ARMS]
        axes.bar(range(len(ARMS)), [mean(row) for row in values], color="#7cb0d8")
        for place, row in enumerate(values):
            axes.plot([place] * len(row), row, "o", color="#1b7837", markersize=4)
        axes.set_title(title, fontsize=10)
        axes.set_xticks(range(len(ARMS)), [TITLES[arm].replace(" + ", "\n+ ").replace(" ", "\n", 1) for arm in ARMS])
        axes.tick_params(labelsize=7, length=0)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="svg", metadata={"Date": None})


def _metrics(run: Path) -> dict[str, float]:
    caption = json.loads((run / "caption.json").read_text(encoding="utf-8"))
    retrieval = json.loads((run / "retrieval.json").read_text(encoding="utf-8"))
    recalls: dict[str, Any] = retrieval["itc"]
    return {"cider": caption["cider"], **{name: recalls[name] for name in METRICS if name != "cider"}}


def _spread(values: Sequence[float]) -> str:
    return f"{mean(values):.3f} ± {stdev(values):.3f}" if len(values) > 1 else f"{values[0]:.3f}"
