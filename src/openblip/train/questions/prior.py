"""The baseline that never looks: the most frequent training answer to the exact question, as the "prior" of VQA (Antol
et al. 2015; Goyal et al. 2017) but for each question apart. Knows no pictures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from openblip.train.questions.data_set import Question

_Gained = dict[str, float]


def credit(answers: Mapping[str, float], given: str) -> float:
    """1 for the answer that most captions give, its share of that for another one of them, 0 for all else."""
    return answers.get(given, 0.0) / max(answers.values())


class AnswerPrior:
    """Knows the questions and answers of a training set."""

    def __init__(self, questions: Iterable[Question]) -> None:
        by_form: dict[tuple[str, str], _Gained] = defaultdict(lambda: defaultdict(float))
        by_kind: dict[str, _Gained] = defaultdict(lambda: defaultdict(float))
        for question in questions:
            for answer in question.answers:
                by_form[question.kind, question.form][answer] += credit(question.answers, answer)
                by_kind[question.kind][answer] += credit(question.answers, answer)
        self._by_form = {form: _best(answers) for form, answers in by_form.items()}
        self._by_kind = {kind: _best(answers) for kind, answers in by_kind.items()}

    def answer(self, question: Question) -> str:
        """The training set's best single answer to this question; to one that it never asks, its kind's."""
        return self._by_form.get((question.kind, question.form)) or self._by_kind.get(question.kind, "")

    def accuracy(self, questions: Iterable[Question]) -> dict[str, float]:
        """Kind -> mean credit."""
        gained: dict[str, list[float]] = defaultdict(list)
        for question in questions:
            gained[question.kind].append(credit(question.answers, self.answer(question)))
        return {kind: sum(values) / len(values) for kind, values in gained.items()}


def _best(answers: Mapping[str, float]) -> str:
    return min(answers, key=lambda answer: (-answers[answer], answer))
