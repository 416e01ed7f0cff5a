"""Reproduce the order of the BLIP paper's Table 1 on Flickr8k: four small models, trained on a noisy set as it is and
after CapFilt.

python -m benchmarks.capfilt --data ../shared/data --work runs/capfilt

Stages, each of which is passed over where its results are there: noise, models, bootstrap, arms, evaluate, table.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

from benchmarks.capfilt import stages
from benchmarks.capfilt.plan import Experiment
from benchmarks.capfilt.table import accepted_by_kind, draw, markdown, order_lines, read_results
from openblip.bulk.shards import find_shards, read_shards


def table(experiment: Experiment) -> None:
    """Print the table and the order; write both, and the plot, into the work folder."""
    results = read_results(experiment)
    draw(results, experiment.work / "table.svg")
    noisy = list(read_shards(find_shards(experiment.noisy_shards)))
    kept = list(read_shards(find_shards(experiment.bootstrapped("filter") / "shards")))
    kinds = [
        f"filter: {count} of {whole} {kind} web texts kept ({count / whole:.0%})"
        for kind, (count, whole) in accepted_by_kind(noisy, kept).items()
    ]
    text = "\n".join([markdown(results), "", *(f"- {line}" for line in [*order_lines(results), *kinds])])
    stages.write_whole(experiment.work / "table.md", f"{text}\n".encode())
    stages.write_whole(experiment.work / "table.json", json.dumps(results, indent=2).encode())
    print(text)


STAGES: dict[str, Callable[[Experiment], None]] = {
    "noise": stages.make_noise,
    "models": stages.tune_models,
    "bootstrap": stages.bootstrap,
    "arms": stages.train_arms,
    "evaluate": stages.evaluate,
    "table": table,
}


def main() -> None:
    """Run the stages that are asked for, all by default."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stages", nargs="*", metavar="STAGE", help=f"some of {', '.join(STAGES)}; all by default")
    parser.add_argument("--work", type=Path, default=Path("runs/capfilt"), help="where everything is written")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="the data folder")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1], help="of the arms")
    parser.add_argument("--steps", type=int, default=Experiment.steps, help="of an arm, about")
    parser.add_argument("--texts", type=int, default=Experiment.texts, help="texts of a noisy picture")
    parser.add_argument("--keep", type=float, default=Experiment.keep, help="share of the web texts that is kept")
    parser.add_argument("--threads", type=int, default=0, help="of torch")
    given = parser.parse_args()
    experiment = Experiment(
        work=given.work, data=given.data, seeds=tuple(given.seeds), steps=given.steps, texts=given.texts,
        keep=given.keep, threads=given.threads,
    )  # fmt: skip
    if unknown := set(given.stages) - set(STAGES):
        parser.error(f"no stage is called {', '.join(sorted(unknown))}: give some of {', '.join(STAGES)}")
    for name, stage in STAGES.items():
        if not given.stages or name in given.stages:
            stage(experiment)


if __name__ == "__main__":
    main()
