"""The reference tools of captions as far as they run here, and what the result says where they do not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from openblip.errors import DataError, MissingExtra
from openblip.metrics import caption_scores, reference, reference_scores
from required import program


@pytest.fixture
def java() -> str:
    """METEOR and the PTB tokenizer run in it."""
    return program("java", "default-jre-headless")


HYPOTHESES = ["A man's dog runs on the grass.", "two cats sleeping", "a red bus, on the street", "Ein Café – «schön»"]
REFERENCES = [
    ["the man's dog is running on green grass", "A dog runs."],
    ["two cats sleep on a couch", "a pair of cats sleeping on the sofa", "cats\nasleep"],
    ["a red double-decker bus on a busy street"],
    ["a café in the sun", "someone sits outside a beautiful café"],
]


@pytest.mark.usefixtures("java")
def test_all_that_java_gives() -> None:
    found = reference_scores(HYPOTHESES, REFERENCES)
    assert found.tokens == "ptb"
    assert set(found.scores) == {"BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "ROUGE-L", "CIDEr", "METEOR"}
    assert set(found.left_out) == {"SPICE"}
    assert 0.1 < found.scores["METEOR"] < 0.7
    own = caption_scores(HYPOTHESES, REFERENCES)
    assert found.scores["CIDEr"] == pytest.approx(own.cider, abs=1e-9)
    assert found.scores["BLEU-4"] == pytest.approx(own.bleu4, abs=1e-9)
    assert found.scores["ROUGE-L"] == pytest.approx(own.rouge_l, abs=1e-9)


@pytest.mark.usefixtures("java")
@pytest.mark.slow  # the tables of METEOR take long to load, here twice
def test_meteor_equals_that_of_the_wrapper() -> None:
    """The package's own wrapper talks to one Java process line by line; ours hands it all lines at once."""
    from pycocoevalcap.meteor.meteor import Meteor

    words = {0: ["a dog runs on the grass"], 1: ["two cats sleep"]}
    truths = {0: ["the dog is running on green grass", "a dog"], 1: ["cats sleeping on a couch"]}
    wrapper = Meteor()
    expected = wrapper.compute_score(truths, words)[0]
    for stream in (wrapper.meteor_p.stdout, wrapper.meteor_p.stderr):
        stream.close()
    del wrapper
    assert reference._meteor(reference._package(), words, truths) == pytest.approx(expected, abs=1e-12)


@pytest.mark.usefixtures("java")
def test_words_equal_those_of_the_wrapper(tmp_path: Path) -> None:
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    expected = PTBTokenizer().tokenize({0: [{"caption": text} for text in HYPOTHESES[:3]]})[0]
    assert reference._tokenised(reference._package(), HYPOTHESES[:3]) == expected
    assert reference._tokenised(reference._package(), ["", "a\u2028b\x85c", ""]) == ["", "a b c", ""]


def test_without_java(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = reference_scores(HYPOTHESES, REFERENCES)
    assert found.tokens == "openblip"
    assert set(found.scores) == {"BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "ROUGE-L", "CIDEr"}
    assert set(found.left_out) == {"PTB tokenizer", "METEOR", "SPICE"}
    assert all("Java" in reason for reason in found.left_out.values())
    own = caption_scores(HYPOTHESES, REFERENCES)
    assert found.scores["CIDEr"] == pytest.approx(own.cider, abs=1e-9)
    np.testing.assert_allclose(found.scores["BLEU-1"], own.bleu1, atol=1e-9)


def fake_java(folder: Path, program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "java").write_text(f"#!/bin/sh\n{program}\n", encoding="utf-8")
    (folder / "java").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def test_a_java_that_ends_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake_java(tmp_path, "echo 'too old' >&2; exit 3", monkeypatch)
    found = reference_scores(HYPOTHESES, REFERENCES)
    assert found.tokens == "openblip"
    assert found.left_out["METEOR"] == "Java ended with 3: too old"
    assert found.left_out["PTB tokenizer"] == "Java ended with 3: too old: the words of openblip are compared"


def test_a_java_that_says_something_else(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake_java(tmp_path, "while read line; do for place in 1 2 3 4 5; do echo nonsense; done; done", monkeypatch)
    assert reference_scores(HYPOTHESES, REFERENCES).left_out["METEOR"].startswith("METEOR gave 'nonsense'")
    fake_java(tmp_path, "echo one line", monkeypatch)
    assert "gave 2 lines for 12 texts" in reference_scores(HYPOTHESES, REFERENCES).left_out["PTB tokenizer"]


def test_a_java_that_says_nothing_is_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake_java(tmp_path, "while true; do :; done", monkeypatch)
    monkeypatch.setattr(reference, "_JAVA_SECONDS", 0.5)
    found = reference_scores(HYPOTHESES, REFERENCES)
    assert "timed out" in found.left_out["PTB tokenizer"]
    assert "Java ended with -9" in found.left_out["METEOR"]


@pytest.mark.usefixtures("java")
def test_spice_without_its_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is fetched unasked; a fetch that fails leaves SPICE out with its reason."""
    from pycocoevalcap.spice import get_stanford_models

    def refused(*arguments: object, **options: object) -> None:
        raise OSError("the network is closed")

    monkeypatch.setattr(get_stanford_models, "urlretrieve", refused)
    monkeypatch.setattr(reference, "_SPICE_MODEL", "not-there.jar")
    monkeypatch.setattr(reference, "_meteor", lambda *arguments: 0.25)  # its tables take long to load
    assert "--spice" in reference_scores(HYPOTHESES, REFERENCES).left_out["SPICE"]
    monkeypatch.setattr(get_stanford_models, "JAR", "not-there")
    found = reference_scores(HYPOTHESES, REFERENCES, fetch_spice=True)
    assert "the network is closed" in found.left_out["SPICE"]
    assert found.scores["METEOR"] == 0.25


def test_without_the_package() -> None:
    program = (
        "import sys; sys.modules['pycocoevalcap'] = None\n"
        "from openblip.metrics import reference_scores\n"
        "from openblip.errors import MissingExtra\n"
        "try:\n    reference_scores(['a'], [['a']])\n"
        "except MissingExtra as error:\n    print(error)"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert said == "pycocoevalcap is not installed: run 'pip install openblip[eval]'\n"
    assert issubclass(MissingExtra, ImportError)


def test_captions_that_cannot_be_scored() -> None:
    with pytest.raises(DataError, match="no reference captions"):
        reference_scores(["a", "b"], [["a"], []])
