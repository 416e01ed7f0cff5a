"""Ways to point at a thing by its name, side by side in one run: the pointing game over the boxes of photos.

The middle of the picture; raw attention and GradCAM of every text layer in one look; occlusion, the loss of the
matching logit when a place is left out of the picture's keys and values; and attention, GradCAM and their sum over the
windows, the last of which is what `openblip ground` does. Photos of --chosen are those that the choice was made on.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import machine
from openblip import Blip, GroundOptions
from openblip.engine import Floats, Ints
from openblip.engines.openvino.states import OpenVinoImageStates
from openblip.evaluate.grounding import Boxed, named_in, read_boxed
from openblip.evaluate.samples import shard_samples
from openblip.metrics.bootstrap import paired_difference
from openblip.metrics.boxes import point_in_any
from openblip.pictures import Clock, read_batches
from openblip.regions import peak_of, stretched
from openblip.tasks.encoded import Encoded
from openblip.tasks.grounding import Grounder, Looks
from openblip.tasks.heatmaps import CELLS, TILES, combined

CHECKOUT = Path(__file__).resolve().parent.parent
RESULTS = CHECKOUT / "benchmarks" / "results"
CENTRE, DEFAULT = "the middle of the picture", "attention and GradCAM, windows (the default)"
TIMED = 30


@dataclass(frozen=True)
class Pointed:
    """One way, one category in one picture. chosen: whether the picture is one that the choice was made on."""

    way: str
    key: str
    category: str
    hit: bool
    chosen: bool


def main() -> int:
    """Measure, print the table, write the results."""
    parser = argparse.ArgumentParser(description="Ways to point at a thing by its name.")
    parser.add_argument("--chosen", nargs="+", required=True, help="shards with boxes that the choice was made on")
    parser.add_argument("--scored", nargs="+", required=True, help="shards with boxes that it was not")
    parser.add_argument("--seen-in", nargs="+", required=True, help="shards whose captions name the categories")
    parser.add_argument("--precision", default=None, help="of the OpenVINO engine; default: its own")
    parser.add_argument("--limit", type=int, help="only the first so many photos of each")
    parser.add_argument("--output", type=Path, default=RESULTS / "grounding.json")
    arguments = parser.parse_args()
    load_before = os.getloadavg()[0]
    blip = Blip.load("mini", precision=arguments.precision)
    sets = [
        list(read_boxed(shard_samples(shards, captioned=False)))[: arguments.limit]
        for shards in (arguments.chosen, arguments.scored)
    ]
    photos = [photo for found in sets for photo in found]
    seen = (text for sample in shard_samples(arguments.seen_in) for text in sample.captions)
    names = named_in(seen, {name for photo in photos for name in photo.boxes})
    pointed = [
        each for found, chosen in zip(sets, (True, False), strict=True) for each in play(blip, found, names, chosen)
    ]
    result = {
        "machine": machine(load_before, ("openblip", "openvino", "numpy")),
        "precision": blip.engine.precision,
        "rows": {str(least): rows(pointed, names, least) for least in (1, 10)},
        "milliseconds": milliseconds(blip, photos[:TIMED]),
    }
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    arguments.output.with_suffix(".md").write_text(f"{markdown(result)}\n", encoding="utf-8")
    print(markdown(result))
    return 0


def play(blip: Blip, pictures: Sequence[Boxed], names: Counter[str], chosen: bool) -> list[Pointed]:
    """Every way over every category that the captions name."""
    layers = blip.config.text.layers
    windowed = Grounder(blip.part("match"), blip.part("embed"), GroundOptions(windows=True))
    once = [Grounder(blip.part("match"), blip.part("embed"), GroundOptions(windows=False), n) for n in range(layers)]
    parts, found = list(windowed.parts), list[Pointed]()
    vision, sources = [part.config.vision for part in parts], [each.image_bytes for each in pictures]
    for [loaded], boxed in zip(
        read_batches(sources, 1, vision, blip.limits, Clock(), windows=TILES), pictures, strict=True
    ):
        phrases = [name for name in boxed.boxes if names[name]]
        if not phrases:
            continue
        encoded = Encoded([loaded], parts, Clock())
        [windows], looks = windowed.looks(encoded, [phrases]), [each.looks(encoded, [phrases])[0] for each in once]
        for place, phrase in enumerate(phrases):
            heats = ways(windows[place], [look[place] for look in looks]) | {
                "occlusion, one look": occluded(blip, encoded, phrase)
            }
            peaks = {way: peak_of(heat, (1, 1)) for way, heat in heats.items()} | {CENTRE: (0.5, 0.5)}
            found += [
                Pointed(way, boxed.key, phrase, point_in_any(peak, boxed.boxes[phrase]), chosen)
                for way, peak in peaks.items()
            ]
    return found


def ways(windows: Looks, looks: Sequence[Looks]) -> dict[str, Floats]:
    """A heatmap a way."""
    found = {}
    for layer, look in enumerate(looks):
        found[f"raw attention, layer {layer}, one look"] = _wide(look.attention[0])
        found[f"GradCAM, layer {layer}, one look"] = _wide(look.cam[0])
    found["attention and GradCAM, one look"] = _wide(looks[-1].heat[0])
    for way, maps in (("attention", windows.attention), ("GradCAM", windows.cam)):
        found[f"{way}, windows"] = combined(maps, windows.similarities, TILES.places)
    return found | {DEFAULT: combined(windows.heat, windows.similarities, TILES.places)}


def occluded(blip: Blip, encoded: Encoded, phrase: str) -> Floats:
    """How much less the picture matches without each place of its grid, left out of the keys and values of every layer:
    one encoding, and a match a place."""
    part = blip.part("match")
    states, grid = encoded.states(part), part.config.vision.grid
    assert isinstance(states, OpenVinoImageStates)
    kept = [np.delete(np.arange(part.config.vision.tokens), place + 1) for place in range(grid * grid)]
    arrays = tuple(
        np.concatenate([np.take(array, each, axis=3 - index % 2) for each in kept])
        for index, array in enumerate(states.keys_values)
    )
    without = OpenVinoImageStates(states.states.repeat(len(kept), axis=0), arrays, None)
    rows = part.tokenizer.encode_grounded([phrase], part.config.text.max_positions)
    logits = part.engine.match(without, np.arange(len(kept)), *_repeated(rows.tokens, rows.lengths, len(kept)))
    drop: Floats = -(logits[:, 1] - logits[:, 0])
    return _wide((drop - drop.min()).reshape(grid, grid))


def rows(pointed: Sequence[Pointed], names: Counter[str], least: int) -> list[dict[str, Any]]:
    """A row a way, over categories that so many captions name: hits, and by how much it is ahead of the middle and of
    raw attention in the last layer."""
    table: dict[str, list[Pointed]] = defaultdict(list)
    for each in pointed:
        if names[each.category] >= least:
            table[each.way].append(each)
    last = [way for way in table if way.startswith("raw attention")][-1]
    found = []
    for way, cases in table.items():
        row: dict[str, Any] = {"way": way, "cases": len(cases), "hits": _share(cases)}
        row["hits_chosen"] = _share([each for each in cases if each.chosen])
        row["hits_scored"] = _share([each for each in cases if not each.chosen])
        for name, other in (("centre", CENTRE), ("attention", last)):
            row[name] = paired_difference(*_by_picture(table[other], cases)).to_dict()
        found.append(row)
    return sorted(found, key=lambda row: float(row["hits"]))


def milliseconds(blip: Blip, pictures: Sequence[Boxed]) -> dict[str, dict[str, float]]:
    """For one phrase, reading and encoding the photo included, after one call: medians over photos, by the clock and of
    all processors together, and the shortest by the clock, which other work on the machine disturbs least."""
    asked = [(each.image_bytes, next(iter(each.boxes))) for each in pictures]
    vision = [blip.config.vision]

    def one_look_occluded(data: bytes, phrase: str) -> None:
        [[loaded]] = read_batches([data], 1, vision, blip.limits, Clock())
        occluded(blip, Encoded([loaded], [blip.part("match")], Clock()), phrase)

    calls: dict[str, Callable[[bytes, str], object]] = {
        "one look": lambda data, phrase: blip.ground(data, phrase, GroundOptions(windows=False)),
        "occlusion, one look": one_look_occluded,
        "windows (the default)": lambda data, phrase: blip.ground(data, phrase),
    }
    found: dict[str, dict[str, float]] = {}
    for way, call in calls.items():
        call(*asked[0])
        spent = []
        for data, phrase in asked:
            start, busy = time.perf_counter(), time.process_time()
            call(data, phrase)
            spent.append((1000 * (time.perf_counter() - start), 1000 * (time.process_time() - busy)))
        clock, processors = np.array(spent).T
        found[way] = {
            "median": float(np.median(clock)),
            "shortest": float(clock.min()),
            "processors": float(np.median(processors)),
        }
    return found


def markdown(result: dict[str, Any]) -> str:
    """Tables of all that was found."""
    lines: list[str] = []
    for least, found in result["rows"].items():
        lines += [
            f"{found[0]['cases']} cases, of categories that the training captions name at least {least} times:",
            "",
        ]
        lines += ["| pointing by | hits | chosen on | held out | above the middle | above raw attention |"]
        lines += ["|---|---|---|---|---|---|"]
        lines += [
            f"| {row['way']} | {row['hits']:.3f} | {row['hits_chosen']:.3f} | {row['hits_scored']:.3f} "
            f"| {_interval(row['centre'])} | {_interval(row['attention'])} |"
            for row in found
        ]
        lines.append("")
    lines += [f"| one phrase, {result['precision']}, ms | median | shortest | of all processors |", "|---|---|---|---|"]
    lines += [
        f"| {way} | {spent['median']:.0f} | {spent['shortest']:.0f} | {spent['processors']:.0f} |"
        for way, spent in result["milliseconds"].items()
    ]
    return "\n".join(lines)


def _interval(found: dict[str, Any]) -> str:
    return f"{found['difference']:+.3f} ({found['low']:+.3f} to {found['high']:+.3f})"


def _share(cases: Sequence[Pointed]) -> float:
    return float(np.mean([each.hit for each in cases])) if cases else 0.0


def _by_picture(first: Sequence[Pointed], second: Sequence[Pointed]) -> tuple[Floats, Floats, Ints]:
    """Hits of two ways over the same cases, and cases, of each picture."""
    sums: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for one, other in zip(first, second, strict=True):
        row = sums[one.key]
        row[0], row[1], row[2] = row[0] + one.hit, row[1] + other.hit, row[2] + 1
    before, after, counts = np.array(list(sums.values())).T
    return before.astype(np.float32), after.astype(np.float32), counts


def _repeated(tokens: Ints, lengths: Ints, count: int) -> tuple[Ints, Ints]:
    return tokens.repeat(count, axis=0), lengths.repeat(count)


def _wide(one: Floats) -> Floats:
    return stretched(one, (CELLS, CELLS))


if __name__ == "__main__":
    sys.exit(main())
