"""Answers to questions about encoded pictures: written by the model, or the likeliest of given ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import exp

import numpy as np

from openblip.engine import Ints, QuestionStates
from openblip.errors import InputError
from openblip.parts import MAX_ROWS, Part
from openblip.pictures import digest
from openblip.ranking import rank
from openblip.search import generate
from openblip.tasks.encoded import Encoded
from openblip.types import Answer, GenerateOptions

RANKED = 128
"""Given answers whose whole likelihood is computed, the likeliest by their first word."""
_SHOWN = 5


class Answerer:
    """Answers by one checkpoint under the same options. answers: the only ones allowed, or None."""

    def __init__(self, part: Part, options: GenerateOptions, answers: Sequence[str] | None) -> None:
        self._part, self._options, self._given, self.parts = part, options, answers, (part,)
        self._candidates = None if answers is None else self._answer_ids(answers)
        rows = options.rows if self._candidates is None else min(RANKED, len(self._candidates))
        self._together = max(1, MAX_ROWS // rows)

    def answers(self, encoded: Encoded, picture: Ints, questions: Sequence[str]) -> list[Answer]:
        """picture: [questions], which picture each is about. All that fit are read and answered together."""
        found: list[Answer] = []
        for start in range(0, len(questions), self._together):
            chosen = slice(start, start + self._together)
            found += self._run(encoded, picture[chosen], questions[chosen])
        return found

    def _run(self, encoded: Encoded, picture: Ints, questions: Sequence[str]) -> list[Answer]:
        part, states = self._part, encoded.states(self._part)
        grounded = part.tokenizer.encode_grounded(questions, part.config.text.max_positions)
        with encoded.clock.measure("encode_s"):
            read = part.engine.encode_questions(states, picture, grounded.tokens, grounded.lengths)
        with encoded.clock.measure("search_s"):
            if self._given is None or self._candidates is None:
                best = self._written(read, self._seeds(encoded, picture, questions))
            else:
                ranked = rank(part.engine, read, self._candidates, RANKED)
                best = [[(self._given[each.index], each.log_probability) for each in row[:_SHOWN]] for row in ranked]
        return [_answer(question, row, part.name) for question, row in zip(questions, best, strict=True)]

    def _seeds(self, encoded: Encoded, picture: Ints, questions: Sequence[str]) -> list[int] | None:
        """Each follows from the picture and the question, not from their place."""
        if not self._options.sample:
            return None
        pixels = encoded.pixels(self._part)
        return [digest(pixels[index], question) for index, question in zip(picture, questions, strict=True)]

    def _written(self, read: QuestionStates, seeds: list[int] | None) -> list[list[tuple[str, float]]]:
        """For each question the answers that the model writes and their log-probabilities, best first: of the beams, or
        of the draws."""
        part, options = self._part, self._options
        wanted = options if options.sample else replace(options, num_return=options.num_beams)
        start = np.full((len(read), 1), part.tokenizer.dec_id, np.int64)
        hypotheses = generate(part.engine, read, start, np.ones(len(read), np.int64), wanted, seeds)
        if options.sample:
            hypotheses = [sorted(row, key=lambda each: -each.log_probability) for row in hypotheses]
        return [[(part.tokenizer.decode(each.tokens), each.log_probability) for each in row] for row in hypotheses]

    def _answer_ids(self, answers: Sequence[str]) -> list[list[int]]:
        """What stands behind [DEC], [SEP] included."""
        if not answers:
            raise InputError(
                "no answers to choose from: give at least one, or none at all to let the model write its own"
            )
        tokenizer, positions = self._part.tokenizer, self._part.config.text.max_positions
        rows = [tokenizer.caption_prompt(answer) for answer in answers]
        for answer, row in zip(answers, rows, strict=True):
            if len(row) >= positions:
                raise InputError(
                    f"the answer '{answer[:40]}...' is too long for the {positions} positions of the model"
                )
        return [[*row[1:], tokenizer.sep_id] for row in rows]


def _answer(question: str, best: Sequence[tuple[str, float]], model: str) -> Answer:
    (text, score), *others = best
    return Answer(question, text, score, exp(score), tuple((other, exp(value)) for other, value in others), model)
