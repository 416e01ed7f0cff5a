"""benchmarks.grounding on a tiny random model: every way is there, and its table follows from the hits."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from benchmarks.grounding import CENTRE, DEFAULT, markdown, milliseconds, occluded, play, rows
from openblip import Blip, GroundOptions
from openblip.evaluate.grounding import Boxed, evaluate_grounding
from openblip.pictures import Clock, read_batches
from openblip.tasks.encoded import Encoded
from shard_files import photo
from tiny_blip import tiny_blip

WHOLE, LEFT = (0.0, 0.0, 1.0, 1.0), (0.0, 0.0, 0.5, 1.0)


@pytest.fixture(scope="module")
def blip(tmp_path_factory: pytest.TempPathFactory) -> Blip:
    return tiny_blip("openvino", tmp_path_factory.mktemp("vocabulary"))


def pictures() -> list[Boxed]:
    return [Boxed(f"p{index}", photo(index), {"dog": (LEFT,), "cat": (WHOLE,), "car": (WHOLE,)}) for index in range(3)]


def test_every_way_points_at_every_case(blip: Blip) -> None:
    names = Counter({"dog": 12, "cat": 1})
    found = play(blip, pictures(), names, chosen=True)
    table = {row["way"]: row for row in rows(found, names, 1)}
    assert len(table) == 2 * blip.config.text.layers + 6
    assert {row["cases"] for row in table.values()} == {6}
    assert {row["hits"] >= 0.5 for row in table.values()} == {True}  # the cat is everywhere
    assert table[CENTRE]["centre"]["difference"] == 0
    expected = evaluate_grounding(blip, pictures(), names, options=GroundOptions(windows=True))
    assert table[DEFAULT]["hits"] == pytest.approx(expected.accuracy)
    assert table[DEFAULT]["attention"]["difference"] == pytest.approx(expected.above("attention").difference)
    assert {row["cases"] for row in rows(found, names, 10)} == {3}


def test_occlusion_is_hottest_where_the_match_falls_most(blip: Blip) -> None:
    part = blip.part("match")
    [[loaded]] = read_batches([photo(1)], 1, [part.config.vision], blip.limits, Clock())
    encoded = Encoded([loaded], [part], Clock())
    heat = occluded(blip, encoded, "a dog")
    assert heat.min() >= 0
    assert heat.max() > 0
    assert not np.array_equal(heat, occluded(blip, encoded, "a red hat"))


def test_the_table_has_a_line_a_way_and_the_times(blip: Blip, tmp_path: Path) -> None:
    names = Counter({"dog": 12, "cat": 1})
    found = rows(play(blip, pictures(), names, chosen=False), names, 1)
    result = {"rows": {"1": found}, "precision": "f32", "milliseconds": milliseconds(blip, pictures())}
    lines = markdown(result).splitlines()
    assert sum(line.startswith(f"| {DEFAULT} |") for line in lines) == 1
    assert len(lines) == 4 + len(found) + 1 + 2 + 3
    assert all(spent["shortest"] > 0 for spent in result["milliseconds"].values())  # type: ignore[attr-defined]
