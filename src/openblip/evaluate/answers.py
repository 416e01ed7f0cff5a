"""Answers to the questions of a data set, scored as VQA v2 does it: kind by kind, beside what the best answers get
without a look at the pictures."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from openblip.errors import DataError
from openblip.evaluate.captions import fingerprint
from openblip.evaluate.progress import Progress, at_hand, tell
from openblip.evaluate.questions import Asked, Question
from openblip.metrics.answers import AnswerPrior, answer_accuracy
from openblip.pictures import Clock, read_batches
from openblip.tasks.answers import RANKED, Answerer
from openblip.tasks.encoded import Encoded
from openblip.types import GenerateOptions

if TYPE_CHECKING:
    from openblip.pipeline import Blip


@dataclass(frozen=True, slots=True)
class ScoredAnswer:
    """One question, what the model said, its probability, and what it earned. prior: what the prior earned."""

    key: str
    question: Question
    answer: str
    probability: float
    accuracy: float
    prior: float | None


@dataclass(frozen=True, slots=True)
class KindScores:
    """The mean accuracy over the questions of one kind, and the prior's."""

    kind: str
    questions: int
    accuracy: float
    prior: float | None


@dataclass(frozen=True, slots=True)
class AnswerEvaluation:
    """Accuracies in [0, 1]. how: "generate" or "rank". seconds: for all questions, loading the images included."""

    model: str
    answers: tuple[ScoredAnswer, ...]
    how: str
    seconds: float

    @property
    def images(self) -> int:
        """Pictures that were asked about."""
        return len({each.key for each in self.answers})

    @property
    def overall(self) -> KindScores:
        """Over all questions."""
        return _mean("all", self.answers)

    @property
    def kinds(self) -> tuple[KindScores, ...]:
        """Of each kind, in the alphabet's order."""
        groups: dict[str, list[ScoredAnswer]] = defaultdict(list)
        for each in self.answers:
            groups[each.question.kind].append(each)
        return tuple(_mean(kind, groups[kind]) for kind in sorted(groups))

    @property
    def macro(self) -> KindScores:
        """The mean over the kinds, each counted once."""
        kinds = self.kinds
        priors = [kind.prior for kind in kinds if kind.prior is not None]
        accuracy = float(np.mean([kind.accuracy for kind in kinds]))
        return KindScores("mean of kinds", len(self.answers), accuracy, float(np.mean(priors)) if priors else None)

    def to_dict(self, by_image: bool = False) -> dict[str, Any]:
        """Plain types, ready for JSON. by_image: with every question and answer, and with what tells whether another
        run was asked the same."""
        overall = self.overall
        values: dict[str, Any] = {"task": "vqa", "model": self.model, "accuracy": overall.accuracy}
        values |= {"prior": overall.prior, "macro": self.macro.accuracy, "macro_prior": self.macro.prior}
        values |= {"kinds": [asdict(kind) for kind in self.kinds], "images": self.images}
        values |= {"questions": overall.questions, "how": self.how, "seconds": self.seconds}
        if by_image:
            keys = [each.key for each in self.answers]
            values["data"] = fingerprint(keys, [(each.question.text, each.question.answers) for each in self.answers])
            values["answers"] = [_row(each) for each in self.answers]
        return values


def evaluate_answers(
    blip: Blip,
    asked: Iterable[Asked],
    answers: Sequence[str] | None = None,
    options: GenerateOptions | None = None,
    prior: AnswerPrior | None = None,
    progress: Progress | None = None,
) -> AnswerEvaluation:
    """Answer every question and score the answers.

    answers: the only ones allowed, the likeliest is taken (BLIP's ranking); without, the model writes its own.
    options: of that search. prior: scored beside the model.

    Raises ModelError where the model cannot answer, DataError that names a picture which cannot be read, or where there
    are no questions.
    """
    pictures, start = at_hand(asked, "questions"), time.perf_counter()
    found: list[ScoredAnswer] = []
    total = sum(len(each.questions) for each in pictures)
    for batch, said in _answered(blip, pictures, answers, options or GenerateOptions.for_answers()):
        questions = [(each.key, question) for each in batch for question in each.questions]
        for (key, question), (text, probability) in zip(questions, said, strict=True):
            guess = None if prior is None else prior.answer(question.text, question.kind)
            earned = None if guess is None else answer_accuracy(guess, question.answers)
            accuracy = answer_accuracy(text, question.answers)
            found.append(ScoredAnswer(key, question, text, probability, accuracy, earned))
        tell(progress, "questions", len(found), total)
    how = "generate" if answers is None else "rank"
    return AnswerEvaluation(blip.part("answer").name, tuple(found), how, time.perf_counter() - start)


def _answered(
    blip: Blip, pictures: Sequence[Asked], answers: Sequence[str] | None, options: GenerateOptions
) -> Iterator[tuple[list[Asked], list[tuple[str, float]]]]:
    """Pictures, some at a time, each encoded once, and the answers to all their questions with their probabilities."""
    part, clock = blip.part("answer"), Clock()
    answerer, waiting = Answerer(part, options, answers), iter(pictures)
    size = part.pictures_a_call(options.rows if answers is None else min(RANKED, len(answers)))
    for loaded in read_batches((each.image_bytes for each in pictures), size, [part.config.vision], blip.limits, clock):
        batch = [asked for _, asked in zip(loaded, waiting, strict=False)]
        for picture, asked in zip(loaded, batch, strict=True):
            if picture.error is not None:
                raise DataError(f"{asked.key}: {picture.error}") from picture.error
        owners = np.repeat(np.arange(len(batch)), [len(asked.questions) for asked in batch])
        texts = [question.text for asked in batch for question in asked.questions]
        found = answerer.answers(Encoded(loaded, [part], clock), owners, texts)
        yield batch, [(answer.text, answer.probability) for answer in found]


def _mean(kind: str, answers: Sequence[ScoredAnswer]) -> KindScores:
    priors = [each.prior for each in answers if each.prior is not None]
    accuracy = float(np.mean([each.accuracy for each in answers]))
    return KindScores(kind, len(answers), accuracy, float(np.mean(priors)) if priors else None)


def _row(each: ScoredAnswer) -> dict[str, Any]:
    question = each.question
    right = dict(question.answers) if isinstance(question.answers, dict) else list(question.answers)
    return {
        "key": each.key, "question": question.text, "kind": question.kind, "answers": right, "answer": each.answer,
        "probability": each.probability, "accuracy": each.accuracy, "prior": each.prior,
    }  # fmt: skip
