"""Batches of questions about pictures, with their answers. Knows no losses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from openblip.config import VisionConfig
from openblip.datasets.examples import Picture, Question
from openblip.text import Tokenizer
from openblip.train.answering import AnswerBatch
from openblip.train.config import DataConfig
from openblip.train.data import PictureBatches
from openblip.train.views import PictureCache

Tokenised = tuple[list[int], list[tuple[list[int], float]]]
"""A question's ids, and each answer's with its share."""


class QuestionData(PictureBatches):
    """Batches of pictures with questions for one rank: `questions` of each picture a step, repeated where it has
    fewer."""

    def __init__(
        self,
        pictures: Sequence[Picture],
        tokenizer: Tokenizer,
        vision: VisionConfig,
        data: DataConfig,
        *,
        batch: int,
        questions: int,
        seed: int,
        rank: int = 0,
        ranks: int = 1,
        plain: bool = False,
        mirror: bool = True,
    ) -> None:
        super().__init__(
            pictures, vision, data, batch=batch, seed=seed, rank=rank, ranks=ranks, plain=plain, mirror=mirror
        )
        self.tokenizer, self.questions = tokenizer, questions
        self.rows = [[self._tokenised(question) for question in picture.questions] for picture in pictures]

    def epoch(
        self, epoch: int, first: int = 0, cache: PictureCache | None = None, start_layer: int = 0
    ) -> Iterator[AnswerBatch]:
        """The batches of an epoch from batch `first` on; pixels from the cache where one is given."""
        for pictures, images in self.pixels(epoch, first, cache):
            yield self.batch_of(epoch, pictures, images, start_layer)

    def batch_of(self, epoch: int, pictures: NDArray[np.int64], images: Tensor, start_layer: int = 0) -> AnswerBatch:
        """These pictures with the questions that the epoch draws, and all their answers."""
        asked: list[Tokenised] = [
            row for picture in pictures for row in self.texts(self.rows, self.questions, epoch, int(picture))
        ]
        questions = self.tokenizer.pad([question for question, _ in asked])
        given = [(place, *answer) for place, (_, answers) in enumerate(asked) for answer in answers]
        answers = self.tokenizer.pad([ids for _, ids, _ in given])
        return AnswerBatch(
            images,
            torch.from_numpy(questions.tokens),
            torch.from_numpy(questions.lengths),
            torch.from_numpy(answers.tokens),
            torch.from_numpy(answers.lengths),
            torch.tensor([place for place, _, _ in given]),
            torch.tensor([share for _, _, share in given]),
            start_layer,
        )

    def costs(self) -> list[int]:
        """Of each picture the tokens of its largest question with its answers."""
        return [max(len(question) + sum(len(ids) for ids, _ in answers) for question, answers in rows)
                for rows in self.rows]  # fmt: skip

    def _tokenised(self, question: Question) -> Tokenised:
        limit = self.data.max_text_tokens
        texts = [question.text, *(answer for answer, _ in question.answers)]
        rows = self.tokenizer.encode_grounded(texts, limit)
        ids = [row[:length].tolist() for row, length in zip(rows.tokens, rows.lengths, strict=True)]
        return ids[0], [(row, share) for row, (_, share) in zip(ids[1:], question.answers, strict=True)]
