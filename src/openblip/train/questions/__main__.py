"""python -m openblip.train.questions: writes the questions of caption shards, and of DAQUAR, as JSON lines."""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from openblip.bulk.shards import find_shards, read_shards, write_shard
from openblip.errors import DataError, OpenBlipError
from openblip.metrics.answers import AnswerPrior, answer_accuracy
from openblip.train.questions import (
    KINDS,
    Question,
    Scene,
    Statistics,
    held_out,
    questions_of_set,
    read_daquar,
)

_Asked = dict[str, list[Question]]


def main(arguments: list[str] | None = None) -> int:
    """Write the questions and print the table of kinds. Returns the exit status: 1 on bad input."""
    parser = argparse.ArgumentParser(prog="python -m openblip.train.questions", description=(__doc__ or "").strip())
    parser.add_argument(
        "--train", required=True, help="shards to count and to ask about: a file, folder, glob or range"
    )
    parser.add_argument("--dev", required=True, help="shards to evaluate on")
    parser.add_argument("--daquar", help="DAQUAR's shards; a tenth of their pictures goes to daquar-dev.jsonl")
    parser.add_argument("--out", required=True, type=Path, help="folder for train.jsonl and dev.jsonl")
    parser.add_argument("--shards", action="store_true", help="also write train.tar and dev.tar, with the pictures")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--vocabulary", type=Path, help="a vocab.txt: count the words that it cannot spell")
    options = parser.parse_args(arguments)
    try:
        sets = _make(options)
        options.out.mkdir(parents=True, exist_ok=True)
        for name, asked in sets.items():
            _write(options.out / f"{name}.jsonl", asked)
        if options.shards:
            for name, source in (("train", options.train), ("dev", options.dev)):
                _write_pictures(options.out / f"{name}.tar", source, sets[name])
        sys.stdout.write(_table(sets["train"], sets["dev"], (*KINDS,)))
        if options.daquar:
            sys.stdout.write("\n" + _table(sets["daquar-train"], sets["daquar-dev"], ("daquar",)))
        if options.vocabulary:
            sys.stdout.write(f"\ntexts with unknown tokens: {_unknown(options.vocabulary, sets.values()) or 'none'}\n")
    except OpenBlipError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


def _make(options: argparse.Namespace) -> dict[str, _Asked]:
    train, dev = (_scenes(source) for source in (options.train, options.dev))
    if both := train.keys() & dev.keys():
        raise DataError(f"{len(both)} pictures are in --train and in --dev, {min(both)} among them: keep them apart")
    statistics = Statistics.of(train.values())
    sets = {
        "train": questions_of_set(train, statistics, options.seed),
        "dev": questions_of_set(dev, statistics, options.seed),
    }
    if options.daquar:
        asked = read_daquar(find_shards(options.daquar))
        sets["daquar-train"] = {key: questions for key, questions in asked.items() if not held_out(key)}
        sets["daquar-dev"] = {key: questions for key, questions in asked.items() if held_out(key)}
    return sets


def _scenes(source: str) -> dict[str, Scene]:
    found: dict[str, Scene] = {}
    for sample in read_shards(find_shards(source)):
        if sample.key in found:
            raise DataError(f"{source}: the key {sample.key} is there twice: keys must be unique")
        found[sample.key] = Scene.of(sample.captions)
    return found


def _write(path: Path, asked: _Asked) -> None:
    with path.open("w", encoding="utf-8") as file:
        for key, questions in asked.items():
            if not questions:
                continue
            file.write(json.dumps({"key": key, "qa": _plain(questions)}) + "\n")


def _write_pictures(path: Path, source: str, asked: _Asked) -> None:
    """Those that are asked about, as a shard that `openblip train vqa` and `openblip eval vqa` read."""
    write_shard(
        path,
        (
            (sample, {"captions": list(sample.captions), "qa": _plain(asked[sample.key])})
            for sample in read_shards(find_shards(source))
            if asked[sample.key]
        ),
    )


def _plain(questions: list[Question]) -> list[dict[str, Any]]:
    return [{"kind": each.kind, "question": each.question, "answers": dict(each.answers)} for each in questions]


def _table(train: _Asked, dev: _Asked, kinds: tuple[str, ...]) -> str:
    """Kind, questions, answers and the answer prior's accuracy, as Markdown."""
    learned = [question for questions in train.values() for question in questions]
    asked = [question for questions in dev.values() for question in questions]
    accuracy = _prior_accuracy(learned, asked)
    lines = ["| kind | train | dev | answers | prior |", "|---|---|---|---|---|"]
    for kind in kinds:
        of_train = [question for question in learned if question.kind == kind]
        of_dev = [question for question in asked if question.kind == kind]
        answers = {answer for question in of_train for answer in question.answers}
        shown = f"{accuracy[kind]:.3f}" if kind in accuracy else "-"
        lines.append(f"| {kind} | {len(of_train)} | {len(of_dev)} | {len(answers)} | {shown} |")
    answers = {answer for question in learned for answer in question.answers}
    mean = sum(accuracy.values()) / max(len(accuracy), 1)
    lines.append(f"| all (macro average) | {len(learned)} | {len(asked)} | {len(answers)} | {mean:.3f} |")
    rates = [len(asked_of) / max(len(pictures), 1) for asked_of, pictures in ((learned, train), (asked, dev))]
    lines.append(f"\n{rates[0]:.1f} questions a picture in train, {rates[1]:.1f} in dev")
    return "\n".join(lines) + "\n"


def _prior_accuracy(learned: list[Question], asked: list[Question]) -> dict[str, float]:
    """Kind -> what the most frequent training answers earn."""
    prior = AnswerPrior((each.question, each.kind, each.answers) for each in learned)
    earned: dict[str, list[float]] = defaultdict(list)
    for each in asked:
        earned[each.kind].append(answer_accuracy(prior.answer(each.question, each.kind), each.answers))
    return {kind: sum(values) / len(values) for kind, values in earned.items()}


def _unknown(vocabulary: Path, sets: Iterable[Mapping[str, list[Question]]]) -> int:
    from openblip.text import Tokenizer

    tokenizer = Tokenizer.from_vocabulary(vocabulary)
    texts = sorted(
        {
            text
            for asked in sets
            for questions in asked.values()
            for each in questions
            for text in (each.question, *each.answers)
        }
    )
    batch = tokenizer.encode_grounded(texts, 100)
    return int(sum(tokenizer.unk_id in row[:length] for row, length in zip(batch.tokens, batch.lengths, strict=True)))


if __name__ == "__main__":
    sys.exit(main())
