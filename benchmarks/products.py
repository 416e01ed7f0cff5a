"""How well products are found by words, by a picture, and by both, with the vectors of picture and text together and
with each alone.

`python -m benchmarks.products coco-mini` makes two small catalogues of the objects in the two shards of that folder:
each object, cut out by its box, tinted in four colours, with titles as shops write them: a third name the thing as the
query will, a third by another word, a third say nothing; half of the descriptions name the colour. The catalogue of
`train` chooses the weights, the one of `val` is measured with them:

- words: "a red couch"; found is any item of that category and colour;
- a picture: the item mirrored, cut closer, darker and compressed; found is that very item;
- both: such a picture of one colour and "in blue"; found is the same object in that colour;
- similar: an item; found is any other object of its category (its own other colours do not count).

Writes products.json and products.md to --out. Knows which way of searching is which; nothing of how it is done.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from benchmarks.machine import machine
from openblip import Blip
from openblip.library import Library, Product, Query, SearchOptions, index_catalogue
from openblip.library.encode import text_vector
from openblip.library.forms import mixed
from openblip.library.products import BY_PICTURE, TEXT_WEIGHT, WORDS_WEIGHT
from openblip.metrics.bootstrap import paired_difference

COLOURS = {"red": "#c02028", "green": "#2a8c3c", "blue": "#2048c0", "yellow": "#dcc020"}
DEPTHS, LEAST_SIDE, STEPS = (1, 5, 10), 64, tuple(place / 10 for place in range(11))
TEXT_WEIGHTS, WEIGHTS = (0.0, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0), ("by_picture", "words beside a picture", "full text")
DEFAULT = "together"
OTHER_NAMES = {
    "couch": "sofa", "tv": "television set", "potted plant": "house plant", "dining table": "table", "cup": "mug",
    "bowl": "dish", "bottle": "flask", "chair": "seat", "suitcase": "luggage", "toothbrush": "dental care",
    "sandwich": "snack", "dog": "puppy", "teddy bear": "plush toy", "toilet": "bathroom fixture",
    "umbrella": "parasol", "bed": "bedstead", "cow": "cattle", "sink": "basin", "cake": "pastry",
    "wine glass": "goblet", "pizza": "italian dish", "bus": "coach", "oven": "stove", "cat": "kitten",
    "fork": "cutlery", "keyboard": "computer accessory", "truck": "lorry", "horse": "pony",
    "laptop": "notebook computer", "train": "railway", "vase": "pot", "book": "paperback", "orange": "citrus fruit",
    "knife": "blade", "parking meter": "street furniture", "car": "automobile", "handbag": "purse",
    "donut": "pastry", "microwave": "kitchen appliance", "boat": "ship", "refrigerator": "fridge",
    "motorcycle": "motorbike", "bicycle": "bike", "airplane": "plane", "skateboard": "board", "apple": "fruit",
    "banana": "fruit", "sheep": "lamb", "fire hydrant": "street furniture", "backpack": "rucksack",
    "bench": "seat", "tie": "necktie", "cell phone": "mobile phone", "spoon": "cutlery", "stop sign": "road sign",
    "baseball bat": "sports gear", "broccoli": "vegetable", "kite": "flying toy",
}  # fmt: skip
MODELS = ("Oslo", "Turin", "Lima", "Quito", "Kyoto", "Porto")
Search = Callable[["Asked"], list[str]]


@dataclass(frozen=True, slots=True)
class Asked:
    """A query, and the ids of the items that answer it. kind: words, picture, both or similar; skipped: items that do
    not count."""

    kind: str
    query: Query
    answers: frozenset[str]
    category: str
    colour: str
    skipped: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Shop:
    """A catalogue that is indexed, and what is asked of it."""

    library: Library
    asked: Sequence[Asked]


def main() -> int:
    """Make both catalogues, choose the weights on one, measure on the other, write the tables."""
    arguments = _arguments()
    load_before = os.getloadavg()[0]
    blip = Blip.load(arguments.model)
    with tempfile.TemporaryDirectory() as folder:
        dev, test = (_shop(arguments.data, part, Path(folder) / part, blip) for part in ("train", "val"))
        chosen = {kind: _chosen(dev, blip, kind) for kind in BY_PICTURE}
        measured = [_measured(test, blip, kind) for kind in BY_PICTURE]
        result = {
            "model": blip.name, "items": {"train": len(dev.library), "val": len(test.library)},
            "chosen": chosen, "measured": measured,
            "machine": machine(load_before, ["lancedb", "openvino", "numpy", "pillow"]),
        }  # fmt: skip
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "products.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    (arguments.out / "products.md").write_text(_markdown(result), encoding="utf-8")
    print(_markdown(result))
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("data", type=Path, help="the folder of coco-mini, with train-0000.tar and val-0000.tar")
    parser.add_argument("--model", default="mini", help="a model's name or folder")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    return parser.parse_args()


# ------------------------------------------------------------------------------------------------------ the catalogues


def _objects(shard: Path) -> Iterator[tuple[str, Image.Image]]:
    """Category and picture of every box that is large enough and no person."""
    with tarfile.open(shard) as archive:
        for member in [member for member in archive if member.name.endswith(".json")]:
            record = json.loads(_content(archive, member.name))
            photo = Image.open(io.BytesIO(_content(archive, member.name.removesuffix(".json") + ".jpg")))
            scale = photo.width / record["original_size"][0]
            for one in record["objects"]:
                left, top, width, height = (value * scale for value in one["bbox"])
                if one["category"] != "person" and not one["iscrowd"] and min(width, height) >= LEAST_SIDE:
                    yield (
                        one["category"],
                        photo.convert("RGB").crop((round(left), round(top), round(left + width), round(top + height))),
                    )


def _content(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    assert file is not None, name
    return file.read()


def _shop(data: Path, part: str, folder: Path, blip: Blip) -> Shop:
    draw = random.Random(20220128)
    folder.mkdir()
    rows: list[dict[str, Any]] = []
    pictures: dict[str, Image.Image] = {}
    for number, (category, cut) in enumerate(_objects(data / f"{part}-0000.tar")):
        for colour, tint in COLOURS.items():
            identity = f"{number}-{colour}"
            pictures[identity] = ImageOps.colorize(cut.convert("L"), "black", "white", mid=tint)
            pictures[identity].save(folder / f"{identity}.png")
            rows.append(_row(identity, category, colour, draw))
    table = folder / "catalogue.jsonl"
    table.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    report = index_catalogue([str(table)], folder / "shop.lance", lambda: blip)
    assert report.items == len(rows), report
    return Shop(Library.open(folder / "shop.lance"), _asked(rows, pictures, draw))


def _row(identity: str, category: str, colour: str, draw: random.Random) -> dict[str, Any]:
    name = draw.choice((category, OTHER_NAMES.get(category, "animal"), ""))
    title = name.capitalize() or f"{draw.choice(MODELS)} {draw.randint(10, 99)}"
    told = draw.choice((f"In {colour}.", "Ships within two days."))
    return {
        "id": identity, "title": title, "description": told, "price": draw.randint(5, 500),
        "picture": f"{identity}.png", "category": category, "colour": colour,
    }  # fmt: skip


def _asked(rows: Sequence[dict[str, Any]], pictures: dict[str, Image.Image], draw: random.Random) -> list[Asked]:
    kinds: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        kinds.setdefault((row["category"], row["colour"]), set()).add(row["id"])
    found = [
        Asked("words", Query(f"a {colour} {category}"), frozenset(answers), category, colour)
        for (category, colour), answers in kinds.items()
    ]
    for start in range(0, len(rows), len(COLOURS)):
        shown, wanted = draw.sample(rows[start : start + len(COLOURS)], 2)
        photo, category = _photographed(pictures[shown["id"]]), shown["category"]
        found.append(Asked("picture", Query(image=photo), frozenset([shown["id"]]), category, shown["colour"]))
        both = Query(f"in {wanted['colour']}", photo)
        found.append(Asked("both", both, frozenset([wanted["id"]]), category, wanted["colour"]))
        own = frozenset(row["id"] for row in rows[start : start + len(COLOURS)])
        others = frozenset(row["id"] for row in rows if row["category"] == category) - own
        if others:
            found.append(Asked("similar", Query(like=shown["id"]), others, category, shown["colour"], own))
    return found


def _photographed(picture: Image.Image) -> bytes:
    """As a customer would: from the other side, closer, in worse light."""
    across, down = picture.width // 10, picture.height // 10
    closer = ImageOps.mirror(picture.crop((across, down, picture.width - across, picture.height - down)))
    file = io.BytesIO()
    ImageEnhance.Brightness(closer).enhance(0.8).save(file, "JPEG", quality=50)
    return file.getvalue()


# ---------------------------------------------------------------------------------------------------------- the figures


def _chosen(shop: Shop, blip: Blip, kind: str) -> dict[str, Any]:
    """The weights with the best mean of R@1, R@5 and R@10, and what those reach that `openblip search` comes with."""
    items = [record for record in shop.library.list(limit=100_000) if isinstance(record, Product)]
    ids = [item.item.id for item in items]
    pictures, texts = np.stack([item.of_picture for item in items]), np.stack([item.of_text for item in items])
    asked = [one for one in shop.asked if one.kind == kind]
    right = np.array([[identity in one.answers for identity in ids] for one in asked])
    skipped = np.array([[identity in one.skipped for identity in ids] for one in asked])
    told = np.stack([_full_text(shop.library, one.query.words, ids) for one in asked])
    words = [text_vector(blip, one.query.words) if one.query.words else None for one in asked]
    halves = [_shown(blip, shop.library, one.query) for one in asked]
    reached: dict[tuple[float, float, float], float] = {}
    for weight in STEPS if kind == "both" else (WORDS_WEIGHT,):
        by_half = [
            np.stack([mixed(said, pair[half], weight) for said, pair in zip(words, halves, strict=True)]) @ side.T
            for half, side in enumerate((pictures, texts))
        ]
        for share, text in product(STEPS, TEXT_WEIGHTS if kind in TEXT_WEIGHT else (0.0,)):
            scores = np.where(skipped, -9.0, share * by_half[0] + (1 - share) * by_half[1] + text * told)
            best = np.where(right, scores, -9.0).max(axis=1, keepdims=True)
            ranks = 1 + (scores > best).sum(axis=1)
            reached[share, weight, text] = float(np.mean([np.mean(ranks <= k) for k in DEPTHS]))
    first = max(reached, key=lambda key: reached[key])
    default = (BY_PICTURE[kind], WORDS_WEIGHT, TEXT_WEIGHT.get(kind, 0.0))
    return {
        "queries": len(asked), "best": dict(zip(WEIGHTS, first, strict=True)), "reached": reached[first],
        "default": dict(zip(WEIGHTS, default, strict=True)), "default_reached": reached[default],
    }  # fmt: skip


def _shown(blip: Blip, library: Library, query: Query) -> tuple[Any, Any]:
    """What pictures, and what texts, are compared with beside the words."""
    if query.like:
        record = library.get(query.like)
        assert isinstance(record, Product)
        return record.of_picture, record.of_text
    vector = None if query.image is None else blip.embed_images(query.image)[0]
    return vector, vector


def _full_text(library: Library, words: str, ids: Sequence[str]) -> Any:
    """Of every item, as a share of the best: [items]."""
    scores = np.zeros(len(ids), np.float32)
    places = {identity: place for place, identity in enumerate(ids)}
    for near in library._table.saying(words, len(ids)) if words else ():
        scores[places[near.record.to_dict()["id"]]] = near.score
    return scores / max(1e-9, float(scores.max()))


def _measured(shop: Shop, blip: Blip, kind: str) -> dict[str, Any]:
    asked = [one for one in shop.asked if one.kind == kind]
    library, plain = shop.library, SearchOptions(limit=max(DEPTHS) + len(COLOURS), exact=True)

    def by(options: SearchOptions) -> Search:
        return lambda one: [hit.to_dict()["id"] for hit in library.search(blip, one.query, options).hits]

    def by_full_text(one: Asked) -> list[str]:
        near = library._table.saying(one.query.words, plain.limit)
        return [each.record.to_dict()["id"] for each in near]

    vectors = replace(plain, hybrid=False)
    ways: dict[str, Search] = {
        DEFAULT: by(plain), "picture vector alone": by(replace(vectors, by_picture=1.0)),
        "text vector alone": by(replace(vectors, by_picture=0.0)),
    }  # fmt: skip
    if kind in TEXT_WEIGHT:
        ways |= {"full text alone": by_full_text, "without full text (--no-hybrid)": by(vectors)}
    if kind == "words":
        ways["looked at again by ITM (--rerank 16)"] = by(replace(plain, rerank=16))
    found = {
        way: [[identity for identity in search(one) if identity not in one.skipped] for one in asked]
        for way, search in ways.items()
    }
    hits = {way: _hits(asked, lists) for way, lists in found.items()}
    single = max(
        (way for way in ways if way.endswith(" alone")), key=lambda way: sum(hits[way][k].mean() for k in DEPTHS)
    )
    return {
        "kind": kind, "queries": len(asked), "best_single": single,
        "recall": {way: {k: float(each[k].mean()) for k in DEPTHS} for way, each in hits.items()},
        "right": {way: _right(shop, asked, lists) for way, lists in found.items()},
        "difference": {k: paired_difference(hits[single][k], hits[DEFAULT][k]).to_dict() for k in DEPTHS},
    }  # fmt: skip


def _hits(asked: Sequence[Asked], found: Sequence[Sequence[str]]) -> dict[int, Any]:
    """By depth: [queries], 1 where an answer is among so many."""
    return {
        k: np.array([bool(one.answers & set(ids[:k])) for one, ids in zip(asked, found, strict=True)], np.float64)
        for k in DEPTHS
    }


def _right(shop: Shop, asked: Sequence[Asked], found: Sequence[Sequence[str]]) -> dict[str, float]:
    """How often the first hit is of the category, and of the colour, that was asked for."""
    kinds: dict[str, tuple[Any, Any]] = {}
    for record in shop.library.list(limit=100_000):
        if isinstance(record, Product):
            kinds[record.item.id] = (record.item.values["category"], record.item.values["colour"])
    first = [kinds.get(ids[0]) if ids else None for ids in found]
    of = list(zip(asked, first, strict=True))
    return {
        "category": float(np.mean([kind is not None and kind[0] == one.category for one, kind in of])),
        "colour": float(np.mean([kind is not None and kind[1] == one.colour for one, kind in of])),
    }


def _markdown(result: dict[str, Any]) -> str:
    parts = [
        f"`{result['model']}`, {result['items']['val']} items; weights chosen on {result['items']['train']} others."
    ]
    titles = {"words": "Words", "picture": "A picture", "both": "A picture and words", "similar": "Similar items"}
    for one in result["measured"]:
        lines = [f"**{titles[one['kind']]}** ({one['queries']} queries)", ""]
        lines += ["| | R@1 | R@5 | R@10 | first hit: category | colour |", "|---|---|---|---|---|---|"]
        for way, recall in one["recall"].items():
            cells = [recall[k] for k in DEPTHS] + [one["right"][way][name] for name in ("category", "colour")]
            lines.append(f"| {way} | " + " | ".join(f"{100 * cell:.1f}" for cell in cells) + " |")
        lines.append("")
        for k in DEPTHS:
            low, middle, high = (100 * one["difference"][k][name] for name in ("low", "difference", "high"))
            interval = f"{middle:+.1f} points, 95% interval {low:+.1f} to {high:+.1f}"
            lines.append(f"- {DEFAULT} less {one['best_single']}, R@{k}: {interval}")
        parts.append("\n".join(lines))
    lines = ["| chosen on the others | best | reaches | default | reaches |", "|---|---|---|---|---|"]
    for kind, one in result["chosen"].items():
        weights = [", ".join(f"{name} {value}" for name, value in one[which].items()) for which in ("best", "default")]
        lines.append(
            f"| {titles[kind]} ({one['queries']}) | {weights[0]} | {100 * one['reached']:.1f} | {weights[1]} "
            f"| {100 * one['default_reached']:.1f} |"
        )
    parts.append("\n".join(lines))
    found = result["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in found["versions"].items())
    parts.append(f"`python -m benchmarks.products` on {found['cpu']}, {found['cores']} cores; {versions}.")
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    sys.exit(main())
