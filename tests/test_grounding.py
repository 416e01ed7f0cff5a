"""Words to regions: through `Blip` with tiny models of both engines, and with mini on a real photo."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from openblip import Blip, Caption, GroundOptions, InputError, ModelError, OptionError, TextError
from openblip.image import load_image
from openblip.pictures import Windows
from openblip.regions import mask_of
from openblip.tasks.grounding import default_layer, phrases_of, windows_for
from openblip.tasks.heatmaps import CELLS, TILES, attended, combined, spoke_for_it
from photos import photo, saved
from tiny import tiny_config
from tiny_blip import calls, counted_blip, picture

PHRASES = ["the dog", "a red hat"]
SAMPLES = Path(__file__).parent.parent / "samples"


@pytest.fixture(scope="module")
def blip(tmp_path_factory: pytest.TempPathFactory) -> Blip:
    return counted_blip("openvino", tmp_path_factory.mktemp("vocabulary"))


@pytest.fixture(scope="module")
def mini() -> Blip:
    return Blip.load("mini", precision="f32", threads=1)


def test_every_phrase_of_every_picture_is_found_with_one_encoding_of_the_views(blip: Blip) -> None:
    images, before = [photo(90, 60, seed) for seed in range(2)], calls(blip, "encode_images")
    found = blip.ground(images, PHRASES)
    assert calls(blip, "encode_images") == before + 2  # the pictures, and all their windows
    assert [[each.phrase for each in row] for row in found] == [PHRASES, PHRASES]
    for image, row in zip(images, found, strict=True):
        matches = blip.match(image, PHRASES)
        alone = blip.ground(image, PHRASES)[0]
        for each, match, again in zip(row, matches, alone, strict=True):
            assert each.probability == pytest.approx(match.probability, abs=1e-4)
            assert each.similarity == pytest.approx(match.similarity, abs=1e-4)
            assert each.model == "tiny"
            assert each.size == (90, 60)
            assert each.heatmap.shape == (CELLS, CELLS)
            assert each.heatmap.max() == 1
            assert each.heatmap == pytest.approx(again.heatmap, abs=2 / 255)
            assert each.boxes
            assert all(0 <= box.left < box.right <= 90 and 0 <= box.top < box.bottom <= 60 for box in each.boxes)
    assert not np.array_equal(found[0][0].heatmap, found[1][0].heatmap)
    assert not np.array_equal(found[0][0].heatmap, found[0][1].heatmap)


def test_both_engines_find_the_same(tmp_path: Path) -> None:
    image = photo(70, 90, 3)
    one, other = (counted_blip(engine, tmp_path).ground(image, PHRASES)[0] for engine in ("openvino", "torch"))
    for left, right in zip(one, other, strict=True):
        assert left.heatmap == pytest.approx(right.heatmap, abs=3 / 255)
        assert left.peak == right.peak


def test_without_phrases_those_of_the_caption_are_looked_for(blip: Blip) -> None:
    image = picture(1)
    [found] = blip.analyze(image, caption=True, ground=True)
    assert [each.phrase for each in found.groundings] == phrases_of(found.captions)
    assert [each.phrase for each in blip.ground(image)[0]] == phrases_of(blip.captions(image)[0])


def caption_of(text: str) -> Caption:
    return Caption(text, -1.0, 0.5, (), (), "tiny")


def test_phrases_are_those_that_can_be_somewhere() -> None:
    first = caption_of("a picture of a brown dog in the snow and a brown dog on a sunny day")
    assert phrases_of([first, caption_of("a cat")]) == ["a brown dog", "the snow"]
    assert phrases_of([]) == []


def test_analysis_grounds_beside_the_rest(blip: Blip) -> None:
    image = picture(2)
    [found] = blip.analyze(image, caption=True, texts=["a dog"], ground=True, phrases=PHRASES)
    assert found.captions == tuple(blip.captions(image)[0])
    assert list(found.groundings) == blip.ground(image, PHRASES)[0]
    values = json.loads(json.dumps(found.to_dict()))
    assert [each["phrase"] for each in values["groundings"]] == PHRASES
    assert values["groundings"][0]["boxes"][0].keys() == {"left", "top", "right", "bottom", "score"}
    assert "heatmap" not in values["groundings"][0]


def test_what_makes_no_sense_is_refused(blip: Blip) -> None:
    with pytest.raises(InputError, match="phrases and ground_options go with ground=True"):
        blip.analyze("missing.jpg", embed=True, phrases="a dog")
    with pytest.raises(TextError, match="text 2 of 2 is empty"):
        blip.ground("missing.jpg", ["a dog", " "])
    with pytest.raises(OptionError, match=r"threshold=0 is out of range"):
        GroundOptions(threshold=0)
    with pytest.raises(OptionError, match="windows='no' is neither"):
        GroundOptions(windows="no")  # type: ignore[arg-type]
    assert blip.ground([], PHRASES) == []


def test_a_model_that_cannot_match_cannot_ground(tmp_path: Path) -> None:
    from dataclasses import replace

    from openblip.engines import load_engine
    from openblip.text import Tokenizer
    from tiny import random_tensors, write_vocabulary

    config = replace(tiny_config(), tasks=("caption",))
    tokenizer = Tokenizer.from_vocabulary(write_vocabulary(tmp_path))
    blip = Blip(load_engine("openvino", config, random_tensors(config), precision="f32"), tokenizer, "tiny")
    with pytest.raises(ModelError):
        blip.ground(picture(1), "a dog")


def test_one_look_is_enough_where_it_is_asked_or_the_grid_is_fine(blip: Blip) -> None:
    before = calls(blip, "encode_images")
    [[whole]] = blip.ground(picture(1), "the dog", GroundOptions(windows=False))
    assert calls(blip, "encode_images") == before + 1
    [[windowed]] = blip.ground(picture(1), "the dog", GroundOptions(windows=True))
    assert not np.array_equal(whole.heatmap, windowed.heatmap)
    from openblip.config import ModelConfig

    large = ModelConfig()
    assert windows_for(large, GroundOptions()) == Windows()
    assert windows_for(large, GroundOptions(windows=True)) == TILES
    assert windows_for(blip.config, GroundOptions()) == TILES
    assert default_layer(large) == 7
    assert default_layer(blip.config) == -1


def test_a_threshold_shrinks_the_boxes_alone(blip: Blip) -> None:
    [[loose]] = blip.ground(picture(1), "the dog", GroundOptions(threshold=0.2))
    [[strict]] = blip.ground(picture(1), "the dog", GroundOptions(threshold=0.9))
    assert loose.peak == strict.peak

    def area(boxes: Any) -> float:
        return sum((box.right - box.left) * (box.bottom - box.top) for box in boxes)

    assert area(strict.boxes) < area(loose.boxes)
    assert mask_of(loose, 0.9).sum() <= mask_of(loose, 0.2).sum()


def test_the_windows_cover_the_picture_twice() -> None:
    covered = np.zeros((12, 12), np.int64)
    for left, top, right, bottom in TILES.places:
        covered[round(top * 12) : round(bottom * 12), round(left * 12) : round(right * 12)] += 1
    assert (covered == 2).all()


def test_heat_of_windows_comes_out_at_their_place() -> None:
    maps = np.full((14, 7, 7), 0.1, np.float32)
    maps[1 + 4 + 5, 3, 3] = 5.0  # the middle of the ninth at the right of the middle row
    heat = combined(maps, np.zeros(14, np.float32), TILES.places)
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    assert heat.max() == 1
    assert (row, column) == pytest.approx((CELLS / 2, CELLS * 5 / 6), abs=1.5)


def test_windows_that_resemble_the_phrase_count_more() -> None:
    maps = np.full((14, 7, 7), 0.1, np.float32)
    maps[1, 3, 3] = maps[4, 3, 3] = 1.0
    similarities = np.zeros(14, np.float32)
    similarities[4] = 0.4
    heat = combined(maps, similarities, TILES.places)
    assert heat[42, 42] > heat[14, 14]


def test_no_heat_at_all_is_heat_everywhere() -> None:
    heat = combined(np.zeros((1, 7, 7), np.float32), np.zeros(1, np.float32), ())
    assert (heat == 1).all()


def test_maps_leave_out_the_class_token() -> None:
    values = np.zeros((1, 2, 4, 5), np.float32)
    values[0, :, 0, 0] = 9
    values[0, 0, 0, 2] = values[0, 1, 2, 3] = 1
    assert attended(values).tolist() == [[0, 0.5, 0, 0]]
    assert spoke_for_it(values).tolist() == [[0, 1, 1, 0]]


def turned(image: Image.Image) -> bytes:
    """As a phone saves it that was held sideways: the pixels lie, and EXIF says so."""
    exif = Image.Exif()
    exif[0x0112] = 6
    file = BytesIO()
    image.transpose(Image.Transpose.ROTATE_90).save(file, "JPEG", quality=95, exif=exif)
    return file.getvalue()


def test_pixels_are_those_of_the_picture_as_it_is_shown(blip: Blip) -> None:
    image = photo(120, 80, 5)
    [[plain]] = blip.ground(saved(image, "JPEG", quality=95), "the dog")
    [[lying]] = blip.ground(turned(image), "the dog")
    assert plain.size == lying.size == (120, 80)
    assert lying.heatmap == pytest.approx(plain.heatmap, abs=0.1)
    assert lying.peak == pytest.approx(plain.peak, abs=8)


def test_a_photo_that_was_decoded_smaller_keeps_its_pixels(blip: Blip) -> None:
    data = saved(photo(2000, 1500, 4), "JPEG")
    assert load_image(data, needed=36).size < (2000, 1500)
    [[found]] = blip.ground(data, "the dog")
    assert found.size == (2000, 1500)
    assert max(box.right for box in found.boxes) <= 2000


@pytest.mark.parametrize(
    ("phrase", "left", "top", "right", "bottom"), [("a man", 10, 60, 300, 500), ("a building", 300, 100, 512, 260)]
)
def test_mini_points_at_what_is_there(mini: Blip, phrase: str, left: int, top: int, right: int, bottom: int) -> None:
    [[found]] = mini.ground(SAMPLES / "camera.jpg", phrase)
    x, y = found.peak
    assert left < x < right
    assert top < y < bottom
    assert any(box.left <= x <= box.right and box.top <= y <= box.bottom for box in found.boxes)


def test_mini_finds_the_phrases_of_its_own_caption(mini: Blip) -> None:
    photo = SAMPLES / "camera.jpg"
    found = mini.ground([photo, SAMPLES / "astronaut.jpg"])
    assert [each.phrase for each in found[0]] == phrases_of(mini.captions(photo)[0])
    assert found[0]
    assert found[1]
