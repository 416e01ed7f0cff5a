"""What bf16 and int8 cost the bundled model in CIDEr, and that its card tells the truth, on the whole dev split."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from openblip.bulk.shards import read_shards
from openblip.engines.openvino.processor import has_bfloat16
from openblip.evaluate import evaluate_captions
from openblip.pipeline import Blip

pytestmark = [pytest.mark.parity, pytest.mark.slow, pytest.mark.timeout(1800)]

LOSS = 0.01  # of the f32 CIDEr
ROUNDING = 0.002  # the card prints three digits; another processor breaks near ties another way

Cider = Callable[[str], float]


@pytest.fixture(scope="module")
def cider(mini: Path, shared_data: Path) -> Cider:
    samples = list(read_shards([shared_data / "flickr8k" / "dev-0000.tar"]))
    assert len(samples) == 1000
    return cache(lambda precision: evaluate_captions(Blip.load(mini, precision=precision), samples).scores.cider)


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_a_lower_precision_keeps_the_cider(precision: str, cider: Cider) -> None:
    if precision == "bf16" and not has_bfloat16():
        pytest.skip("this processor has no bfloat16 instructions")
    assert cider(precision) >= (1 - LOSS) * cider("f32")


def test_the_card_gives_the_cider_that_is_measured(mini: Path, cider: Cider) -> None:
    row = re.search(r"\| beam 3, f32 \| ([0-9.]+) \|", (mini / "MODEL_CARD.md").read_text(encoding="utf-8"))
    assert row is not None
    assert cider("f32") == pytest.approx(float(row[1]), abs=ROUNDING)
