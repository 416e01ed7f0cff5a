"""What a notebook shows: read as HTML, and as IPython asks for it."""

from __future__ import annotations

import base64
from dataclasses import replace
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from IPython.core.formatters import DisplayFormatter
from PIL import Image

from openblip import Analysis, Answer, Box, Caption, Grounding, ImageError, InputError, Match, Outcome
from openblip.display import gallery, show
from openblip.library import Hit
from openblip.library.records import Facts, ModelStamp, Record
from openblip.library.scan import place_of
from openblip.regions import overlay
from photos import photo, saved
from tiny_blip import tiny_blip

CAPTION = Caption("a dog <b>runs</b>", -2.0, 0.5, ("a",), (0.5,), "tiny")
ANSWER = Answer("is it a dog & a cat?", "yes", -0.1, 0.905, (("no", 0.05), ('"maybe"', 0.001)), "tiny")
MATCH = Match("a 'dog'", 0.998, -0.25, "tiny")
HEAT = np.zeros((2, 3), np.float32)
HEAT[0, 2] = 1
GROUNDING = Grounding("the <dog>", 0.3, 0.1, (75.0, 10.0), (Box(60, 0, 90, 20, 1.0),), (90, 40), HEAT, "tiny")


class Page(HTMLParser):
    """The elements of a piece of HTML, the text between them, and whether every one that was opened was closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert not self._open, f"not closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag != "img":
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def pictures(self) -> list[Image.Image]:
        found = []
        for tag, attributes in self.elements:
            if tag == "img":
                head, _, body = str(attributes["src"]).partition(",")
                assert head == "data:image/jpeg;base64"
                found.append(Image.open(BytesIO(base64.b64decode(body, validate=True))))
        return found


def page(shown: Any) -> Page:
    """As IPython renders it."""
    data, _ = DisplayFormatter().format(shown)
    assert data["text/plain"] == repr(shown)
    return Page(data["text/html"])


@pytest.mark.parametrize(
    ("result", "texts", "value"),
    [
        (CAPTION, ["a dog <b>runs</b>", "50%"], "0.5000"),
        (ANSWER, ["is it a dog & a cat? yes", "90%", 'or no 5%, "maybe" 0.10%'], "0.9050"),
        (MATCH, ["a 'dog'", "99.80%", "cosine -0.25"], "0.9980"),
        (GROUNDING, ["the <dog>", "30%", "at 75, 10; boxes: 1"], "0.3000"),
    ],
)
def test_a_result_shows_itself(result: Any, texts: list[str], value: str) -> None:
    found = page(result)
    assert [text for text in found.texts if text.strip()] == texts
    [meter] = [attributes for tag, attributes in found.elements if tag == "meter"]
    assert meter["value"] == value
    assert {tag for tag, _ in found.elements} == {"div", "span", "meter", "small"}


def test_a_picture_with_its_results() -> None:
    shown = show(photo(900, 300), CAPTION, [ANSWER, [MATCH]], "a <text>", side=200)
    found = page(shown)
    [picture] = found.pictures()
    assert picture.size == (200, 67)
    assert np.abs(np.asarray(picture, int) - np.asarray(photo(900, 300).resize((200, 67)), int)).mean() < 8
    assert [text for text in found.texts if text.strip() and "%" not in text] == [
        "a dog <b>runs</b>", "is it a dog & a cat? yes", "a 'dog'", "cosine -0.25", "a <text>"
    ]  # fmt: skip
    assert repr(shown).splitlines() == [
        "0.5000 a dog <b>runs</b>", "0.9050 is it a dog & a cat? yes", "0.9980 -0.2500 a 'dog'", "a <text>"
    ]  # fmt: skip
    [image] = [attributes for tag, attributes in found.elements if tag == "img"]
    assert image["alt"] == "0.5000 a dog <b>runs</b>"
    assert "http" not in shown.html.replace(str(image["src"]), "")


def test_a_place_is_drawn_into_a_picture_of_its_own() -> None:
    shown = show(photo(900, 400), CAPTION, GROUNDING, GROUNDING, side=90)
    plain, first, second = page(shown).pictures()
    assert plain.size == first.size == second.size == (90, 40)
    wanted = overlay(photo(900, 400).resize((90, 40)), GROUNDING)
    assert np.abs(np.asarray(first, int) - np.asarray(wanted, int)).mean() < 12
    assert np.abs(np.asarray(plain, int) - np.asarray(wanted, int)).mean() > 24
    assert repr(shown).splitlines()[1:] == ["0.3000 75,10 the <dog>"] * 2
    assert len(page(show(photo(), [GROUNDING])).pictures()) == 1
    analysis = Analysis(captions=(CAPTION,), groundings=(GROUNDING,))
    assert len(page(gallery([photo(), photo()], [analysis, CAPTION])).pictures()) == 3


def test_hits_of_a_search_show_their_photos(tmp_path: Path) -> None:
    files = [tmp_path / "one.jpg", tmp_path / "gone.jpg"]
    for file in files:
        file.write_bytes(saved(photo(), "JPEG"))
    model, vector = ModelStamp("tiny", "", 2), np.zeros(2, np.float32)
    records = [Record(place_of(file), Facts("", 40, 30), "a <dog>\nit runs", model, vector) for file in files]
    files[1].unlink()
    shown = gallery([Hit(record, 0.5, 0.25, 0.75) for record in records])
    assert repr(shown).splitlines()[:3] == ["+0.2500 one.jpg", "a <dog>", "it runs"]
    assert "error: " in repr(shown).splitlines()[3]
    assert len(page(shown).pictures()) == 1


def test_a_picture_that_cannot_be_used_is_an_error_alone_and_a_card_among_others(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"none\.jpg does not exist"):
        show(tmp_path / "none.jpg", CAPTION)
    good = tmp_path / "good.jpg"
    good.write_bytes(saved(photo(), "JPEG"))
    found = page(gallery([good, tmp_path / "none.jpg", good.read_bytes()], [CAPTION, CAPTION, MATCH]))
    assert len(found.pictures()) == 2
    assert sum(tag == "figure" for tag, _ in found.elements) == 3
    assert any(text.startswith("error: ") and "none.jpg does not exist" in text for text in found.texts)
    assert found.texts.count("a dog <b>runs</b>") == 1


def test_a_gallery_of_what_a_model_says(tmp_path: Path) -> None:
    blip = tiny_blip("openvino", tmp_path)
    pictures = [photo(seed=1), photo(seed=2)]
    captions = blip.captions(pictures)
    outcomes = list(blip.caption_each([*pictures, b"broken"]))
    for shown in (gallery(pictures, captions), gallery(outcomes[:2])):
        assert repr(shown).splitlines() == [f"{texts[0].probability:.4f} {texts[0].text}" for texts in captions]
        assert len(page(shown).pictures()) == 2
    assert "error: the picture is not a picture" in repr(gallery(outcomes))
    [analysis] = blip.analyze(pictures[0], caption=True, questions=["the dog"], texts=["a dog"])
    assert len(repr(show(pictures[0], analysis)).splitlines()) == 3


def test_what_cannot_be_shown_is_said() -> None:
    with pytest.raises(InputError, match="cannot show a int: give captions"):
        show(photo(), 3)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="1 results for 2 pictures: give one a picture"):
        gallery([photo(), photo()], [CAPTION])


@given(st.text(st.characters(exclude_categories=()), max_size=40))
def test_no_text_leaves_its_place(text: str) -> None:
    results = [
        text, Caption(text, 0.0, 0.5, (), (), text), Answer(text, text, 0.0, 0.5, ((text, 0.1),), text),
        Match(text, 0.5, 0.0, text), ImageError(text),
        Outcome(text, captions=(Caption(text, 0.0, 0.5, (), (), ""),)), replace(GROUNDING, phrase=text),
        Analysis(matches=(Match(text, 0.5, 0.0, ""),)),
    ]  # fmt: skip
    shown = show(np.zeros((4, 4, 3), np.uint8), results)
    (shown.html + shown.text).encode()  # JSON takes it
    found = Page(shown.html)
    assert {tag for tag, _ in found.elements} == {"div", "figure", "img", "figcaption", "span", "meter", "small"}
    assert {name for _, attributes in found.elements for name in attributes} == {
        "style", "src", "alt", "min", "max", "value", "title"
    }  # fmt: skip
