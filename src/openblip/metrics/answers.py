"""The accuracy of answers to questions, by the rules of the VQA v2 evaluation (Goyal et al. 2017), and what somebody
gets who knows the questions but never looks at a picture. Knows no model, no file and no framework."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from openblip.errors import DataError

Answers = Mapping[str, float] | Sequence[str]
"""What is right: answers with their weights, or one answer for each person who was asked."""

ENOUGH = 3  # people who must agree for full marks

# The order matters: signs are taken one after the other, each by the text as it was before any.
_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_PERIOD = re.compile(r"\.(?!\d)")
_DIGITS_WITH_COMMA = re.compile(r"\d,\d")
_ARTICLES = frozenset({"a", "an", "the"})
_NUMBERS = {"none": "0", "zero": "0"} | {
    word: str(number) for number, word in enumerate("one two three four five six seven eight nine ten".split(), start=1)
}
_CONTRACTED = (
    "ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd "
    "he'd've he's how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've might've mustn't must've "
    "needn't not've o'clock oughtn't 'ow's'at shan't she'd've should've shouldn't shouldn't've somebody'd've "
    "somebody'll somebody's someone'd someone'd've someone'll someone's something'd something'd've something'll "
    "that's there'd there'd've there're there's they'd they'd've they'll they're they've 'twas wasn't we'd've "
    "we've weren't what'll what're what's what've when's where'd where's where've who'd who'd've who'll who's "
    "who've why'll why're why's won't would've wouldn't wouldn't've y'all y'all'll y'all'd've you'd you'd've "
    "you'll you're you've"
).split()


def _without_one_apostrophe(word: str) -> list[str]:
    return [word[:place] + word[place + 1 :] for place, sign in enumerate(word) if sign == "'"]


_CONTRACTIONS = {
    # The published table turns this one round.
    "somebody'd": "somebodyd",
    **{written: word for word in _CONTRACTED for written in _without_one_apostrophe(word)},
}
"""A contraction with an apostrophe forgotten -> as it is spelled."""


@lru_cache(maxsize=2**16)  # a data set says the same few thousand answers over and over
def normalise_answer(text: str) -> str:
    """An answer as the VQA evaluation compares it: lower case, numbers up to ten in digits ("none" is 0), articles and
    punctuation dropped, a forgotten apostrophe put back.

    A sign beside a space, or in an answer that holds digits with a comma between, vanishes; any other becomes a space.
    "Two dogs." gives "2 dogs", "t-shirt" gives "t shirt", "dont" gives "don't".
    """
    text = text.replace("\n", " ").replace("\t", " ").strip()
    cleaned, digits = text, _DIGITS_WITH_COMMA.search(text) is not None
    for sign in _PUNCTUATION:
        beside_space = f"{sign} " in text or f" {sign}" in text
        cleaned = cleaned.replace(sign, "" if beside_space or digits else " ")
    words = [_NUMBERS.get(word, word) for word in _PERIOD.sub("", cleaned).lower().split()]
    return " ".join(_CONTRACTIONS.get(word, word) for word in words if word not in _ARTICLES)


def answer_accuracy(answer: str, answers: Answers) -> float:
    """How right an answer is, in [0, 1]; both sides are normalised.

    One right answer: whether it is the same. Several, one a person: a person's vote aside, min(how many others said
    it / 3, 1), averaged over all persons (below four, as many as the others are take the place of 3). Answers with
    weights: the weight of the answer beside the largest one.

    Raises DataError where there is no right answer or no weight above 0.
    """
    given = normalise_answer(answer)
    if isinstance(answers, Mapping):
        weights = _weights(answers)
        return weights[given] / max(weights.values())
    people = [normalise_answer(each) for each in answers]
    if not people:
        raise DataError("a question without a right answer cannot be scored: drop it or give it one")
    if len(people) == 1:
        return float(people[0] == given)
    agreeing, needed = people.count(given), min(ENOUGH, len(people) - 1)
    with_own, without = min(1.0, (agreeing - 1) / needed), min(1.0, agreeing / needed)
    return (agreeing * with_own + (len(people) - agreeing) * without) / len(people)


class AnswerPrior:
    """The one answer that earns most over all training questions of exactly this text; where nobody asked it, over
    those of its kind; else over all. What a model is worth shows in how far it gets above this."""

    def __init__(self, examples: Iterable[tuple[str, str, Answers]]) -> None:
        """examples: question, kind ("" for none) and right answers. An answer gains what it would earn there.

        Raises DataError where there are none.
        """
        self._to_question: dict[str, Counter[str]] = defaultdict(Counter)
        self._to_kind: dict[str, Counter[str]] = defaultdict(Counter)
        self._to_any: Counter[str] = Counter()
        for question, kind, answers in examples:
            for answer in {normalise_answer(answer): answer for answer in answers}.values():
                gained = answer_accuracy(answer, answers)
                for counter in (self._to_question[_asked(question)], self._to_kind[kind], self._to_any):
                    counter[normalise_answer(answer)] += gained  # type: ignore[assignment]
        if not self._to_any:
            raise DataError("there are no training answers to take the best one from: name other data")

    def answer(self, question: str, kind: str = "") -> str:
        """Without a look at the picture; of answers that earn the same the first in the alphabet."""
        for counter in (self._to_question.get(_asked(question)), self._to_kind.get(kind) if kind else None):
            if counter:
                return _best(counter)
        return _best(self._to_any)


def _weights(answers: Mapping[str, float]) -> Counter[str]:
    """Of normalised answers."""
    weights: Counter[str] = Counter()
    for answer, weight in answers.items():
        weights[normalise_answer(answer)] += weight  # type: ignore[assignment]
    if not weights or max(weights.values()) <= 0:
        raise DataError(f"the answers {dict(answers)} have no weight above 0: give one a weight, or drop the question")
    return weights


def _asked(question: str) -> str:
    return " ".join(question.lower().rstrip(" ?").split())


def _best(counter: Counter[str]) -> str:
    return min(counter, key=lambda answer: (-round(counter[answer], 9), answer))
