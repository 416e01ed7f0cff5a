"""How well `mini` tags photos, beside the words of its own captions and beside what is common: `python -m
benchmarks.tags --data dev.tar`.

What a photo shows is taken from its captions: a label is true where one of them names it. That leaves out what nobody
mentioned, for every way of tagging alike. All ways rank all built-in labels of a photo; the average precision of that
ranking and the share of true ones among the first five are means over photos, and what one way is ahead of another has
an interval by paired bootstrap over photos. `--count` and `--fit` make what the built-in labels are weighed with.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import machine
from openblip import Blip, TagOptions
from openblip.bulk.shards import Sample, find_shards, read_shards
from openblip.labels import COUNTED, built_in_labels, built_in_log_odds
from openblip.language import words
from openblip.language.forms import TABLES
from openblip.language.phrases import noun_phrases
from openblip.metrics import paired_difference

CHECKOUT = Path(__file__).resolve().parent.parent
FIRST = 5
UNSEEN = {"air", "friend", "ground", "midair"}  # what captions speak of and nobody looks for
LEAST = 5  # photos whose captions speak of a label
RULES = {"confirmed": TagOptions(threshold=0.0, top=16), "screened": TagOptions(screen=0, top=10_000)}

Bools = NDArray[np.bool_]
Scores = NDArray[np.float64]


def main() -> int:
    """Measure, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description="How well a model tags photos.")
    parser.add_argument("--data", nargs="+", required=True, help="WebDataset shards of photos with captions")
    parser.add_argument("--model", default="mini")
    parser.add_argument("--limit", type=int, help="only the first so many photos")
    parser.add_argument("--count", action="store_true", help="print the file of the built-in labels instead")
    parser.add_argument("--fit", action="store_true", help="print the weights of probability and count instead")
    parser.add_argument("--output", type=Path, default=CHECKOUT / "benchmarks" / "results" / "tags.json")
    arguments = parser.parse_args()
    shards = [shard for source in arguments.data for shard in find_shards(source)]
    samples = list(islice(read_shards(shards), arguments.limit))
    if arguments.count:
        print(counted(samples), end="")
        return 0
    load = os.getloadavg()[0]
    blip, truth = Blip.load(arguments.model), truths(samples, built_in_labels())
    if arguments.fit:
        print(fitted(blip, samples, truth))
        return 0
    found = measured(blip, samples, truth)
    result = {
        "machine": machine(load, ("openblip", "openvino", "numpy")),
        "data": [shard.name for shard in shards],
        **found,
    }
    arguments.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(table(found))
    return 0


def named(caption: str) -> list[str]:
    """What a caption names, in its order, as the word lists call it."""
    found = [table.get(phrase.head) for phrase in noun_phrases(caption) for table in TABLES]
    return [name for name in dict.fromkeys(found) if name is not None and name not in UNSEEN]


def counted(samples: Iterable[Sample]) -> str:
    """The file of built-in labels: each that enough photos are captioned with, and of how many photos in all."""
    synonyms = {word for table in TABLES if table not in (words.TERRAIN, words.SEATS, words.TOYS)
                for word, name in table.items() if name != word}  # fmt: skip
    counts: Counter[str] = Counter()
    photos = 0
    for sample in samples:
        photos += 1
        counts.update({name for caption in sample.captions for name in named(caption)} - synonyms)
    rows = [f"{name}\t{count}\n" for name, count in sorted(counts.items()) if count >= LEAST]
    return f"# label, and the photos of Flickr8k's training set whose captions name it, of\t{photos}\n{''.join(rows)}"


def truths(samples: Sequence[Sample], labels: Sequence[str]) -> Bools:
    """[photos, labels], whether a caption names it."""
    places = {label: place for place, label in enumerate(labels)}
    truth = np.zeros((len(samples), len(labels)), bool)
    for row, sample in zip(truth, samples, strict=True):
        row[[places[name] for caption in sample.captions for name in named(caption) if name in places]] = True
    return truth


def rankings(blip: Blip, samples: Sequence[Sample]) -> dict[str, Scores]:
    """Scores [photos, labels] of every way."""
    labels, prior = built_in_labels(), built_in_log_odds().astype(np.float64)
    places = {label: place for place, label in enumerate(labels)}
    photos = [sample.image_bytes for sample in samples]
    common = np.tile(prior, (len(samples), 1))
    captions = common.copy()
    for row, caption in zip(captions, blip.caption(photos), strict=True):
        for rank, name in enumerate(name for name in named(caption.text) if name in places):
            row[places[name]] += 1000 - rank
    similar = (blip.embed_images(photos) @ blip.embed_texts([f"a {label}" for label in labels]).T).astype(np.float64)
    found = {"common": common, "similarity alone": similar, "words of the caption": captions}
    for name, options in RULES.items():
        scores = found["screened"].copy() if "screened" in found else common.copy()
        for row, tags in zip(scores, blip.tag(photos, options=options), strict=True):
            row[[places[tag.label] for tag in tags]] = 1000 - np.arange(len(tags))
        found[name] = scores
    return found


def quality(scores: Scores, truth: Bools) -> tuple[Scores, Scores]:
    """Average precision and precision of the first five, [photos with a true label]."""
    order = np.argsort(-scores, axis=1, kind="stable")
    hits = np.take_along_axis(truth, order, axis=1)[truth.any(axis=1)]
    precisions = hits.cumsum(axis=1) / np.arange(1, hits.shape[1] + 1)
    return (precisions * hits).sum(axis=1) / hits.sum(axis=1), hits[:, :FIRST].mean(axis=1)


def measured(blip: Blip, samples: Sequence[Sample], truth: Bools) -> dict[str, Any]:
    """Every way's figures, and how far the default is ahead of the others."""
    by_way = {name: quality(scores, truth) for name, scores in rankings(blip, samples).items()}
    rows = {
        name: {"average_precision": float(average.mean()), f"precision_at_{FIRST}": float(first.mean())}
        for name, (average, first) in by_way.items()
    }
    ahead = {
        name: {
            "average_precision": paired_difference(average, by_way["confirmed"][0]).to_dict(),
            f"precision_at_{FIRST}": paired_difference(first, by_way["confirmed"][1]).to_dict(),
        }
        for name, (average, first) in by_way.items()
        if name != "confirmed"
    }
    photos = int(truth.any(axis=1).sum())
    defaults = _of_defaults(blip, samples, truth)
    return {"photos": photos, "labels": truth.shape[1], "ways": rows, "confirmed_ahead_of": ahead, "defaults": defaults}


def _of_defaults(blip: Blip, samples: Sequence[Sample], truth: Bools) -> dict[str, float]:
    """What a user sees who gives no option."""
    places = {label: place for place, label in enumerate(built_in_labels())}
    given = [[places[tag.label] for tag in row] for row in blip.tag([sample.image_bytes for sample in samples])]
    right = sum(int(truth[photo, row].sum()) for photo, row in enumerate(given))
    count = sum(map(len, given))
    return {"tags_a_photo": count / len(given), "precision": right / count, "recall": right / int(truth.sum())}


def fitted(blip: Blip, samples: Sequence[Sample], truth: Bools) -> str:
    """Slope and offset of ITM's logit beside the log-odds of the count, by logistic regression (Newton's method)."""
    labels, prior = built_in_labels(), built_in_log_odds().astype(np.float64)
    places, rows = {label: place for place, label in enumerate(labels)}, []
    tags = blip.tag([sample.image_bytes for sample in samples], options=RULES["confirmed"])
    for photo, found in enumerate(tags):
        for tag in found:
            place = places[tag.label]
            probability = min(max(tag.probability or 0.0, 1e-9), 1 - 1e-9)
            logit = np.log(probability / (1 - probability))
            rows.append((COUNTED.itm_logit(logit, prior[place]), 1.0, prior[place], truth[photo, place]))
    values = np.array(rows, np.float64)
    inputs, offsets, wanted = values[:, :2], values[:, 2], values[:, 3]
    weights = np.array([COUNTED.slope, COUNTED.offset])
    for _ in range(50):
        chance = 1 / (1 + np.exp(-(inputs @ weights + offsets)))
        curvature = (inputs * (chance * (1 - chance))[:, None]).T @ inputs
        weights -= np.linalg.solve(curvature, inputs.T @ (chance - wanted))
    return f"slope {weights[0]:.2f}, offset {weights[1]:.2f}"


def table(found: dict[str, Any]) -> str:
    """Markdown, a row a way."""
    lines = ["| way | average precision | first five | the default is ahead (95%) |", "| --- | --- | --- | --- |"]
    for name, row in found["ways"].items():
        ahead = found["confirmed_ahead_of"].get(name, {}).get("average_precision")
        gap = "" if ahead is None else f"{ahead['difference']:+.3f} ({ahead['low']:+.3f} to {ahead['high']:+.3f})"
        first = row[f"precision_at_{FIRST}"]
        lines.append(f"| {name} | {row['average_precision']:.3f} | {first:.3f} | {gap} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
