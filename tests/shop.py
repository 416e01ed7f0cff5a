"""A small shop: its pictures, the rows of its catalogue, and what a library holds of it. Knows no test."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from openblip.library import Library, Product

COLOURS = {"red": (200, 30, 40), "green": (40, 150, 60), "blue": (30, 60, 190), "yellow": (230, 200, 40)}
THINGS = ("hat", "ball", "shirt")
Row = dict[str, str]


def draw(path: Path, thing: str, colour: str) -> None:
    """A hat is a box, a ball an ellipse, a shirt a triangle; each on a black line."""
    image = Image.new("RGB", (64, 64), "white")
    pen = ImageDraw.Draw(image)
    match thing:
        case "hat":
            pen.rectangle((16, 12, 44, 54), fill=COLOURS[colour])
        case "ball":
            pen.ellipse((6, 16, 58, 48), fill=COLOURS[colour])
        case _:
            pen.polygon([(32, 6), (8, 40), (56, 40)], fill=COLOURS[colour])
    pen.line((0, 60, 64, 60), fill="black", width=2)
    image.save(path)


def drawn_rows(folder: Path) -> list[Row]:
    """A shop of twelve things."""
    rows = []
    for place, (thing, colour) in enumerate((thing, colour) for thing in THINGS for colour in COLOURS):
        draw(folder / f"{thing}-{colour}.png", thing, colour)
        rows.append(
            {
                "ID": f"sku {place}'", "Title": f"A {thing}", "Description": f"In {colour}, of fine make.",
                "Price": f"${10 * place + 5}.50", "Picture": f"{thing}-{colour}.png", "Colour": colour,
                "Screen Size": str(place), "listed": f"2024-0{1 + place % 9}-15", "size": "XL" if place % 2 else "",
            }
        )  # fmt: skip
    return rows


def write_csv(path: Path, rows: Sequence[Row]) -> str:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return str(path)


def products(library: Library) -> dict[str, Product]:
    found = library.list(limit=1000)
    assert all(isinstance(record, Product) for record in found)
    by_id = {record.item.id: record for record in found if isinstance(record, Product)}
    assert len(by_id) == len(found)
    return by_id
