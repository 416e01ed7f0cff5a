"""Questions of whole data sets: balance, hard negatives, the answer prior, DAQUAR, and the command that writes them."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
from collections import Counter
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openblip.errors import DataError
from openblip.evaluate import read_asked
from openblip.text import Tokenizer
from openblip.train.questions import (
    KINDS,
    Question,
    Scene,
    Statistics,
    held_out,
    questions_of,
    questions_of_set,
    read_daquar,
)
from openblip.train.questions.exists import excluded, present

WHO = ("man", "woman", "boy", "girl", "dog", "horse", "child")
ONE_OF = {"men": "man", "women": "woman", "children": "child"}
LOOKS = ("", "black ", "brown ", "young ", "small white ")
DEEDS = (
    "is running", "sits", "is riding a bike", "holds a red ball", "jumps", "plays with a stick",
    "is wearing a blue hat", "stands next to a car", "and a dog play",
)  # fmt: skip
PLACES = (
    "on the beach",
    "in the snow",
    "in the water",
    "on a bench",
    "in a field",
    "in the street",
    "at night",
    "in the pool",
)


def captions_of(random: Random) -> list[str]:
    """Five captions of a made-up picture that agree more or less."""
    who, look, deed, place = (random.choice(values) for values in (WHO, LOOKS, DEEDS, PLACES))
    told = []
    for _ in range(5):
        said = [look if random.random() < 0.6 else "", who if random.random() < 0.9 else random.choice(WHO)]
        rest = [deed if random.random() < 0.7 else random.choice(DEEDS), place if random.random() < 0.7 else ""]
        told.append(f"A {said[0]}{said[1]} {' '.join(rest)} .")
    return told


def set_of(seed: int, pictures: int = 120) -> dict[str, list[str]]:
    random = Random(seed)
    return {f"picture-{index}": captions_of(random) for index in range(pictures)}


def asked_of(captions: dict[str, list[str]], seed: int = 0) -> dict[str, list[Question]]:
    scenes = {key: Scene.of(texts) for key, texts in captions.items()}
    return questions_of_set(scenes, Statistics.of(scenes.values()), seed)


seeds = st.integers(0, 10**6)
wild = st.text(st.sampled_from(" .,'-&0123456789abcdefghijklmnopqrstuvwxyzABCÉ"), max_size=60)
told = " ".join(text for seed in range(9) for text in captions_of(Random(seed))).split()
shuffled = st.lists(st.sampled_from(told), max_size=14)


@given(st.lists(st.one_of(wild, shuffled.map(" ".join)), max_size=5))
@settings(max_examples=60)
def test_any_text_is_read_without_complaint(captions: list[str]) -> None:
    assert questions_of(captions) == questions_of(captions)


@given(seeds)
@settings(max_examples=40)
def test_answers_are_short_normalised_and_not_in_the_question(seed: int) -> None:
    for question in questions_of(captions_of(Random(seed)), seed=seed):
        assert question.kind in KINDS
        assert question.question == question.question.lower()
        assert question.question.endswith("?")
        assert list(question.answers.values()) == sorted(question.answers.values(), reverse=True)
        for answer, weight in question.answers.items():
            assert 1 <= len(answer.split()) <= 3
            assert answer == " ".join(answer.lower().split())
            assert not any(letter.isdigit() for letter in answer)
            assert 1 <= weight <= 5
            content = set(answer.split()) - {"a", "an", "the", "in", "on", "at", "near", "and"}
            assert not content & set(question.question.rstrip("?").replace("'s", "").split())


@given(seeds)
@settings(max_examples=8)
def test_yes_and_no_keep_their_share_and_their_balance(seed: int) -> None:
    asked = [question for questions in asked_of(set_of(seed), seed).values() for question in questions]
    exists = [question for question in asked if question.kind == "exists"]
    assert exists
    assert len(exists) <= len(asked) / 3
    told = Counter((question.question, next(iter(question.answers))) for question in exists)
    for text in {question.question for question in exists}:
        assert told[text, "yes"] == told[text, "no"]


@given(seeds)
@settings(max_examples=8)
def test_no_is_never_said_of_what_a_caption_names(seed: int) -> None:
    captions = set_of(seed)
    for key, questions in asked_of(captions, seed).items():
        said = set(" ".join(captions[key]).lower().split())
        for question in questions:
            if question.kind == "exists" and "no" in question.answers:
                thing = question.question.rstrip("?").removesuffix(" in the picture").split()[-1]
                assert not {thing, ONE_OF.get(thing, thing.removesuffix("s"))} & said


@given(seeds)
@settings(max_examples=4)
def test_no_answer_rules_a_question_that_is_asked_often(seed: int) -> None:
    asked = [question for questions in asked_of(set_of(seed, 200)).values() for question in questions]
    best: dict[str, Counter[str]] = {}
    for question in asked:
        if question.question.startswith("how many people"):
            best.setdefault("people", Counter()).update([next(iter(question.answers))])
    for counts in best.values():
        assert max(counts.values()) <= max(10, sum(counts.values()) / 2)


@given(seeds)
@settings(max_examples=4)
def test_the_same_captions_and_seed_give_the_same_questions(seed: int) -> None:
    captions = set_of(seed, 60)
    assert asked_of(captions, seed) == asked_of(captions, seed)


@pytest.mark.parametrize(
    ("caption", "maybe"),
    [
        ("A surfer in the ocean .", {"surfboard", "wave", "water", "beach", "boat"}),
        ("A person sits there .", {"man", "woman", "boy", "girl", "child", "bench"}),
        ("A young man waits .", {"man", "boy"}),
        ("Cyclists in a race .", {"bike", "motorcycle", "car"}),
        ("An animal in the hay .", {"dog", "cat", "horse", "cow"}),
        ("A dog with something in its mouth .", {"ball", "stick", "frisbee"}),
        ("A puppy .", {"dog"}),
    ],
)  # fmt: skip
def test_what_captions_leave_open_is_never_denied(caption: str, maybe: set[str]) -> None:
    assert maybe <= excluded(Scene.of([caption]))


def test_what_is_named_is_there_once_a_caption() -> None:
    there = present(Scene.of(["A dog chases two dogs and a cat .", "A puppy on a bench ."]))
    assert (there["dog"], there["cat"], there["bench"]) == (2, 1, 1)
    assert present(Scene.of(["A boy on a swing .", "A batter takes a swing at the ball ."]))["swing"] == 1


def test_objects_that_captions_pass_over_are_not_asked_about() -> None:
    """A tree is in every picture and in one caption of five: silence does not deny it."""
    passed_over = [
        Scene.of([f"A dog sits on a bench near a flag {n} .", *["A dog sits on a bench ."] * 4]) for n in range(20)
    ]
    statistics = Statistics.of(passed_over)
    assert {"dog", "bench"} <= set(statistics.asked)
    assert "flag" not in statistics.asked


def test_an_answer_of_one_caption_alone_is_a_slip_of_the_pen() -> None:
    rare = ["A man holds a fribsee .", "A man .", "a man stands"]
    statistics = Statistics.of([Scene.of(rare), *(Scene.of(["A man holds a ball .", "A man ."]) for _ in range(5))])
    assert "fribsee" in str(questions_of(rare))
    assert "fribsee" not in str(questions_of(rare, statistics=statistics))


def test_a_picture_alone_is_asked_yes_and_no_in_step() -> None:
    captions = set_of(3)
    statistics = Statistics.of(map(Scene.of, captions.values()))
    told = Counter(
        next(iter(each.answers))
        for each in questions_of(["A dog jumps on the beach .", "A dog on a beach ."], statistics=statistics)
        if each.kind == "exists"
    )
    assert told["yes"] == told["no"] > 0


def write_shard(path: Path, samples: dict[str, dict[str, Any]]) -> Path:
    with tarfile.open(path, "w") as archive:
        for key, record in samples.items():
            for suffix, data in (("jpg", b"no picture is opened"), ("json", json.dumps(record).encode())):
                member = tarfile.TarInfo(f"{key}.{suffix}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    return path


def test_daquar_is_read_as_it_writes_its_answers(tmp_path: Path) -> None:
    qa = [
        {"question": "what is left of the  image3 ", "answer": "garbage_bin, cup"},
        {"question": "How many chairs", "answer": "2"},
        {"question": "how many books", "answer": "25"},
    ]
    shard = write_shard(tmp_path / "0.tar", {"image3": {"qa": qa}})
    questions = read_daquar([shard])["image3"]
    assert [(each.question, dict(each.answers)) for each in questions] == [
        ("what is left of the image3?", {"garbage bin": 1.0, "cup": 1.0}),
        ("how many chairs?", {"two": 1.0}),
        ("how many books?", {"25": 1.0}),
    ]
    assert {each.kind for each in questions} == {"daquar"}


@pytest.mark.parametrize("record", [{"captions": ["a dog"]}, {"qa": "?"}, {"qa": [{"question": "what?"}]}, {"qa": [3]}])
def test_daquar_without_questions_is_told(tmp_path: Path, record: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=r"image7\.json"):
        read_daquar([write_shard(tmp_path / "0.tar", {"image7": record})])


def test_a_tenth_of_daquar_is_held_out_for_good() -> None:
    kept = [number for number in range(2000) if held_out(f"image{number}")]
    assert 150 < len(kept) < 250
    assert kept[:3] == [7, 13, 14]


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "openblip.train.questions", *map(str, arguments)]
    return subprocess.run(command, text=True, capture_output=True, check=False, timeout=300)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shards")
    for name, seed, pictures in (("train", 1, 150), ("dev", 2, 50)):
        captions = {f"{name}-{key}": {"captions": texts} for key, texts in set_of(seed, pictures).items()}
        write_shard(folder / f"{name}.tar", captions)
    qa = {f"image{n}": {"qa": [{"question": "what is there", "answer": "cup"}]} for n in range(40)}
    write_shard(folder / "daquar.tar", qa)
    return folder


def test_the_command_writes_questions_and_prints_the_table(shards: Path, tmp_path: Path, mini: Path) -> None:
    done = run(
        "--train", shards / "train.tar", "--dev", shards / "dev.tar", "--daquar", shards / "daquar.tar",
        "--out", tmp_path / "new" / "folder", "--vocabulary", mini / "vocab.txt", "--shards",
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    lines = {
        name: [json.loads(line) for line in (tmp_path / "new" / "folder" / f"{name}.jsonl").read_text().splitlines()]
        for name in ("train", "dev", "daquar-train", "daquar-dev")
    }
    assert {row["key"].partition("-")[0] for row in lines["train"]} == {"train"}
    assert {row["key"].partition("-")[0] for row in lines["dev"]} == {"dev"}
    assert len(lines["daquar-train"]) + len(lines["daquar-dev"]) == 40
    assert lines["daquar-dev"]
    asked = {each.key: len(each.questions) for each in read_asked([tmp_path / "new" / "folder" / "dev.tar"])}
    assert asked == {row["key"]: len(row["qa"]) for row in lines["dev"]}
    entry = lines["train"][0]["qa"][0]
    assert set(entry) == {"kind", "question", "answers"}
    counts = Counter(each["kind"] for row in lines["dev"] for each in row["qa"])
    for kind, number in counts.items():
        assert f"| {kind} |" in done.stdout
        assert f"| {number} |" in next(line for line in done.stdout.splitlines() if line.startswith(f"| {kind} |"))
    assert "texts with unknown tokens: none" in done.stdout


@pytest.mark.parametrize(
    ("train", "dev", "said"),
    [
        ("train.tar", "train.tar", "in --train and in --dev"),
        ("nowhere.tar", "dev.tar", "no shards at"),
        ("daquar.tar", "dev.tar", "no captions"),
    ],
)
def test_the_command_tells_a_fault_in_one_line(shards: Path, tmp_path: Path, train: str, dev: str, said: str) -> None:
    done = run("--train", shards / train, "--dev", shards / dev, "--out", tmp_path / "out")
    assert done.returncode == 1
    assert said in done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_real_captions_keep_the_rules(shared_data: Path, mini: Path) -> None:
    from openblip.bulk.shards import find_shards, read_shards

    samples = read_shards(find_shards(shared_data / "flickr8k" / "dev-0000.tar"))
    scenes = {sample.key: Scene.of(sample.captions) for sample in samples}
    asked = questions_of_set(scenes, Statistics.of(scenes.values()))
    every = [question for questions in asked.values() for question in questions]
    kinds = Counter(question.kind for question in every)
    assert set(kinds) == set(KINDS)
    assert kinds["exists"] <= len(every) / 3
    assert len(every) > 6 * len(scenes)
    texts = sorted({text for question in every for text in (question.question, *question.answers)})
    tokenizer = Tokenizer.from_vocabulary(mini / "vocab.txt")
    rows = tokenizer.encode_grounded(texts, 64).tokens
    assert not (rows == tokenizer.unk_id).any()
    assert all(one <= other for one, other in pairwise(texts))
