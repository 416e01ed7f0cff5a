"""What a filter keeps of each kind of noise, by threshold, on photos that nobody learned from.

python -m benchmarks.capfilt.kinds --filter mini --data ../shared/data --work runs/capfilt-kinds
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path

from benchmarks.capfilt.noise import corrupt
from benchmarks.capfilt.stages import call
from benchmarks.capfilt.table import accepted_by_kind
from openblip.bulk.shards import Sample, find_shards, read_shards, write_shard

SHARDS, SEED = 4, 2022
DECISIONS: tuple[tuple[str, ...], ...] = (
    ("--itm", "0.5"), ("--itm", "0.1"), ("--itc", "0.6"), ("--itm", "0.1", "--itc", "0.6"), ("--keep-fraction", "0.4"),
)  # fmt: skip


def main() -> None:
    """Make the noisy photos, score them once, and print a row a decision."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--filter", default="mini", help="the model that scores")
    parser.add_argument("--captioner", default="none", help="the model that writes, or none")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="the data folder")
    parser.add_argument("--work", type=Path, default=Path("runs/capfilt-kinds"), help="where everything is written")
    parser.add_argument("--pictures", type=int, default=1000, help="how many of the development photos")
    given = parser.parse_args()
    if not (given.work / "noisy").exists():
        samples = list(islice(read_shards(find_shards(given.data / "flickr8k" / "dev-0000.tar")), given.pictures))
        write_noisy(samples, given.work / "noisy")
    noisy = list(read_shards(find_shards(given.work / "noisy")))
    kinds = sorted({sample.metadata["kind"] for sample in noisy})
    print(f"| decision | {' | '.join(kinds)} | synthetic |\n|---|{'---|' * len(kinds)}---|")
    for decision in DECISIONS:
        print(row(given.work, decision, noisy, given.captioner, given.filter), flush=True)


def write_noisy(samples: Sequence[Sample], folder: Path) -> None:
    """Noise for 60% of them, one text each."""
    noisy = corrupt([sample.captions for sample in samples], 0.6, SEED)
    for place in range(SHARDS):
        rows = list(zip(samples, noisy, strict=True))[place::SHARDS]
        values = ((sample, {"captions": list(each.texts), **asdict(each)}) for sample, each in rows)
        write_shard(folder / f"dev-{place:04d}.tar", values)


def row(work: Path, decision: Sequence[str], noisy: Sequence[Sample], captioner: str, filter_: str) -> str:
    """What one decision keeps."""
    models = ("--captioner", captioner, "--filter", filter_)
    call("capfilt", str(work / "noisy"), "--out", str(work / "out"), *models, *decision, "--redecide")
    kept = list(read_shards(find_shards(work / "out" / "shards")))
    cells = [f"{count / whole:.0%} of {whole}" for count, whole in accepted_by_kind(noisy, kept).values()]
    texts = [text for sample in kept for text in sample.metadata["capfilt"]["texts"]]
    synthetic = sum(text["source"] == "synthetic" and text["decision"] == "kept" for text in texts)
    written = f"{synthetic / len(noisy):.0%}" if captioner != "none" else "-"
    return f"| `{' '.join(decision)}` | {' | '.join(cells)} | {written} |"


if __name__ == "__main__":
    main()
