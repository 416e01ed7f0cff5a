"""What becomes of results: two runs held against each other, galleries, agreement with ratings."""

from __future__ import annotations

import base64
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from openblip.bulk.shards import Sample
from openblip.engines.openvino.engine import OpenVinoEngine
from openblip.errors import DataError
from openblip.evaluate import (
    AnswerEvaluation,
    CaptionEvaluation,
    Question,
    RatedPair,
    caption_scores,
    compare_runs,
    evaluate_agreement,
    evaluate_captions,
    evaluate_retrieval,
    format_json,
    format_markdown,
    gallery,
    read_ratings,
    write_gallery,
)
from openblip.evaluate.answers import ScoredAnswer
from openblip.metrics import kendall_tau
from openblip.pipeline import Blip
from openblip.text import Tokenizer
from openblip.types import GenerateOptions
from shard_files import photo
from tiny import random_tensors, tiny_config, write_vocabulary


@pytest.fixture(scope="module")
def blip(tmp_path_factory: pytest.TempPathFactory) -> Blip:
    config = tiny_config("vit")
    tokenizer = Tokenizer.from_vocabulary(write_vocabulary(tmp_path_factory.mktemp("vocabulary")))
    return Blip(OpenVinoEngine(config, random_tensors(config), precision="f32", threads=1), tokenizer, "tiny")


# ----------------------------------------------------------------------------------------------------------- two runs

REFERENCES = tuple((f"a dog number {index}", f"the {index} dog runs") for index in range(20))
KEYS = tuple(f"p{index}" for index in range(20))


def captions(model: str, texts: list[str], references: Any = REFERENCES) -> CaptionEvaluation:
    scores = caption_scores(texts, references)
    return CaptionEvaluation(model, scores, KEYS[: len(texts)], GenerateOptions(), 1.0, references)


def saved(path: Path, result: CaptionEvaluation | AnswerEvaluation) -> Path:
    path.write_text(format_json(result, by_image=True), encoding="utf-8")
    return path


def test_captions_of_two_runs(tmp_path: Path) -> None:
    good = captions("good", [group[0] for group in REFERENCES])
    bad = captions("bad", ["a cat", *(group[0] for group in REFERENCES[1:-3]), "a dog", "cat", "x"])
    first, second = saved(tmp_path / "a.json", bad), saved(tmp_path / "b.json", good)
    found = compare_runs(first, second)
    assert found.metric == "CIDEr-D"
    assert found.difference.first == pytest.approx(bad.scores.cider)
    assert found.difference.second == pytest.approx(good.scores.cider)
    assert found.difference.low < good.scores.cider - bad.scores.cider < found.difference.high
    assert found.difference.clear
    table = format_markdown(found)
    assert "20 images, 10000 draws: the second is better" in table
    assert f"| {bad.scores.cider:.3f} | {good.scores.cider:.3f} |" in table
    values = json.loads(format_json(found))
    assert values["result"]["clear"] is True
    assert values["first"].startswith("bad (")
    assert "no clear winner" in format_markdown(compare_runs(second, second))
    assert "the first is better" in format_markdown(compare_runs(second, first))


def answers(accuracies: list[float]) -> AnswerEvaluation:
    rows = [
        ScoredAnswer(f"p{place // 2}", Question(f"q{place}", ["x"]), "y", 0.5, accuracy, None)
        for place, accuracy in enumerate(accuracies)
    ]
    return AnswerEvaluation("tiny", tuple(rows), "generate", 1.0)


def test_answers_of_two_runs_are_drawn_picture_by_picture(tmp_path: Path) -> None:
    first = saved(tmp_path / "a.json", answers([0, 0, 1, 1, 0]))
    second = saved(tmp_path / "b.json", answers([1, 0, 1, 1, 1]))
    found = compare_runs(first, second).difference
    assert (found.images, found.first, found.second) == (3, pytest.approx(0.4), pytest.approx(0.8))


def test_runs_that_cannot_be_compared(tmp_path: Path) -> None:
    one = saved(tmp_path / "one.json", captions("one", ["a dog"] * 20))
    fewer = saved(tmp_path / "fewer.json", captions("fewer", ["a dog"] * 19, REFERENCES[:19]))
    other = saved(tmp_path / "other.json", captions("other", ["a dog"] * 20, (("a cat",), *REFERENCES[1:])))
    vqa = saved(tmp_path / "vqa.json", answers([1.0, 0.0]))
    plain = tmp_path / "plain.json"
    plain.write_text(format_json(captions("one", ["a dog"] * 20)), encoding="utf-8")
    for second, message in (
        (fewer, "1 pictures are in one run alone .* 'p19'"),
        (other, "not scored against the same truths"),
        (vqa, "compare runs of one task"),
        (plain, "--output FILE"),
        (tmp_path / "missing.json", "missing.json does not hold"),
    ):
        with pytest.raises(DataError, match=message):
            compare_runs(one, second)


# ------------------------------------------------------------------------------------------------------------ galleries


class Page(HTMLParser):
    """What a browser would show: tags, texts and addresses."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.sources: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_a_gallery_of_captions_stands_alone_and_worst_comes_first(blip: Blip, tmp_path: Path) -> None:
    nasty = '<script>alert("x")</script> & more'
    samples = [Sample(f"p{index}<b>", photo(index), (f"a dog {index}", nasty), {}) for index in range(5)]
    result = evaluate_captions(blip, samples, GenerateOptions(num_beams=1, max_length=8))
    path = tmp_path / "gallery.html"
    write_gallery(path, result, {sample.key: sample.image_bytes for sample in samples})
    page = Page(path)
    assert "script" not in page.tags
    assert page.tags.count("b") == 0
    assert page.texts.count(nasty) == 5
    assert page.tags.count("article") == len(page.sources) == 5
    assert "http" not in path.read_text(encoding="utf-8")
    order = [text for text in page.texts if re.fullmatch(r"p\d<b>", text)]
    ciders = dict(zip(result.keys, result.scores.cider_by_image, strict=True))
    assert order == sorted(order, key=lambda key: ciders[key])
    for source in page.sources:
        head, _, content = source.partition(",")
        assert head == "data:image/jpeg;base64"
        assert max(Image.open(io.BytesIO(base64.b64decode(content))).size) <= gallery.THUMBNAIL


def test_large_pictures_become_small_thumbnails(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (900, 1600, 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, "PNG")
    result = captions("one", ["a dog"], REFERENCES[:1])
    write_gallery(tmp_path / "gallery.html", result, {"p0": buffer.getvalue()})
    assert (tmp_path / "gallery.html").stat().st_size < 30_000


def test_a_gallery_of_answers(tmp_path: Path) -> None:
    rows = [
        ScoredAnswer("a", Question("what <colour>", {"red": 1.0, "pink": 0.5}), "red", 0.9, 1.0, 0.0),
        ScoredAnswer("b", Question("how many", ["2", "2", "3"]), "4", 0.3, 0.0, 0.0),
        ScoredAnswer("b", Question("where", ["here"]), "here", 0.3, 1.0, 0.0),
    ]
    result = AnswerEvaluation("tiny", tuple(rows), "generate", 1.0)
    write_gallery(tmp_path / "gallery.html", result, {"a": photo(0), "b": photo(1)})
    page = Page(tmp_path / "gallery.html")
    texts = [text.strip() for text in page.texts if text.strip()]
    assert texts.index("b") < texts.index("a")
    assert texts.index("how many") < texts.index("where") < texts.index("what <colour>")
    assert "(2, 3; 30% sure)" in texts
    assert "(red, pink; 90% sure)" in texts


def test_a_gallery_of_retrieval(blip: Blip, tmp_path: Path) -> None:
    samples = [Sample(f"p{index}", photo(index), (f"a dog {index}", "two cats"), {}) for index in range(6)]
    result = evaluate_retrieval(blip, samples, rerank=0)
    write_gallery(tmp_path / "gallery.html", result, {sample.key: sample.image_bytes for sample in samples})
    ranks = [int(text[5:]) for text in Page(tmp_path / "gallery.html").texts if re.fullmatch(r"rank \d+", text)]
    assert ranks == sorted((image.rank for image in result.images), reverse=True)


def test_of_very_many_pictures_the_ends_are_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gallery, "MANY", 6)
    result = captions("one", [group[0] if place % 2 else "x" for place, group in enumerate(REFERENCES)])
    write_gallery(tmp_path / "gallery.html", result, dict.fromkeys(KEYS, photo(0)))
    text = (tmp_path / "gallery.html").read_text(encoding="utf-8")
    assert text.count("<article>") == 6
    assert "20 pictures, worst first. The 14 between the worst and the best are left out." in text


def test_galleries_that_cannot_be_written(tmp_path: Path) -> None:
    result = captions("one", ["a dog"], REFERENCES[:1])
    with pytest.raises(DataError, match="give the data of the run"):
        write_gallery(tmp_path / "gallery.html", result, {})
    with pytest.raises(DataError, match="p0"):
        write_gallery(tmp_path / "gallery.html", result, {"p0": b"no picture"})
    with pytest.raises(DataError, match="name another file"):
        write_gallery(tmp_path / "no" / "gallery.html", result, {"p0": photo(0)})


# ------------------------------------------------------------------------------------------------------------ agreement


@pytest.fixture
def rated(tmp_path: Path) -> list[RatedPair]:
    for index in range(3):
        (tmp_path / f"p{index}.jpg").write_bytes(photo(index))
    texts = ["a dog on the grass", "two men", "a red bus on a street"]
    return [
        RatedPair(tmp_path / f"p{index}.jpg", text, float((index + place) % 3))
        for place, text in enumerate(texts)
        for index in range(3)
    ]


def test_agreement_of_scores_with_ratings(blip: Blip, rated: list[RatedPair]) -> None:
    result = evaluate_agreement(blip, rated)
    for pair, match in zip(result.pairs, result.matches, strict=True):
        [alone] = blip.match(pair.image, pair.text)
        assert (match.text, match.probability) == (pair.text, pytest.approx(alone.probability, abs=1e-5))
        assert match.similarity == pytest.approx(alone.similarity, abs=1e-5)
    ratings = [pair.rating for pair in rated]
    assert result.itm == kendall_tau([match.probability for match in result.matches], ratings)
    assert result.itc == kendall_tau([match.similarity for match in result.matches], ratings)
    agreeing = [
        RatedPair(pair.image, pair.text, match.probability) for pair, match in zip(rated, result.matches, strict=True)
    ]
    assert evaluate_agreement(blip, agreeing).itm.tau_b == pytest.approx(1.0)
    table = format_markdown(result)
    assert f"| ITM | {result.itm.tau_b:.3f} | {result.itm.tau_c:.3f} |" in table
    values = json.loads(format_json(result, by_image=True))
    assert (values["pairs"], len(values["rated"])) == (9, 9)
    assert "rated" not in json.loads(format_json(result))


def test_ratings_in_every_format(rated: list[RatedPair], tmp_path: Path) -> None:
    names = [(pair.image.name, pair.text, pair.rating) for pair in rated]
    lines = [json.dumps({"image": image, "text": text, "rating": rating}) for image, text, rating in names]
    (tmp_path / "ratings.jsonl").write_text("\n".join(lines), encoding="utf-8")
    for separator, name in ((",", "ratings.csv"), ("\t", "ratings.tsv")):
        rows = [separator.join((image, f'"{text}"', str(rating))) for image, text, rating in names]
        (tmp_path / name).write_text("\n".join([separator.join(("image", "text", "rating")), *rows]), "utf-8")
        assert read_ratings(tmp_path / name) == rated
    assert read_ratings(tmp_path / "ratings.jsonl") == rated


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "image,text\na.jpg,dog\n", "line 2 is not a rated pair"),
        ("a.csv", "image,text,rating\na.jpg,dog,good\n", "line 2 is not a rated pair"),
        ("a.csv", "image,text,rating\na.jpg,dog,nan\n", "line 2: the rating nan"),
        ("a.csv", "image,text,rating\n", "no rated pairs"),
        ("a.jsonl", '{"image": "a.jpg", "text": "dog", "rating": 1}\n[]\n', "line 2 is no"),
        ("a.jsonl", "{\n", "line 1 is not"),
    ],
)
def test_ratings_that_are_none(name: str, content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read_ratings(tmp_path / name)


def test_a_rated_picture_that_is_not_there(blip: Blip, rated: list[RatedPair], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"missing\.jpg"):
        evaluate_agreement(blip, [*rated, RatedPair(tmp_path / "missing.jpg", "a dog", 1.0)])
    with pytest.raises(DataError, match=r"cannot read the table .*missing\.csv: No such file"):
        read_ratings(tmp_path / "missing.csv")
