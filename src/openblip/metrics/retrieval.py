"""Retrieval recalls of a similarity matrix. Knows no model, no file and no framework."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openblip.errors import DataError, InputError

Floating = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class RetrievalScores:
    """Recalls in [0, 1]: the share of queries whose own counterpart is among the best 1, 5 or 10.

    image_to_text: the query is a picture and any of its captions counts. text_to_image: the query is a caption.
    """

    image_to_text_r1: float
    image_to_text_r5: float
    image_to_text_r10: float
    text_to_image_r1: float
    text_to_image_r5: float
    text_to_image_r10: float
    images: int
    texts: int

    @property
    def mean(self) -> float:
        """The mean of the six recalls, by which ALBEF and BLIP choose a checkpoint."""
        image_to_text = self.image_to_text_r1 + self.image_to_text_r5 + self.image_to_text_r10
        return (image_to_text + self.text_to_image_r1 + self.text_to_image_r5 + self.text_to_image_r10) / 6

    def to_dict(self) -> dict[str, Any]:
        """Plain types, ready for JSON."""
        return {**asdict(self), "mean": self.mean}


def retrieval_scores(
    similarity: Floating,
    image_of_text: Sequence[int] | NDArray[np.integer[Any]],
    text_to_image: Floating | None = None,
) -> RetrievalScores:
    """Recalls of a similarity matrix [images, texts]; image_of_text: [texts], the picture each text describes.

    text_to_image: [images, texts], the scores for the queries by text where they differ (after re-ranking).
    The rank of a picture is the best rank among its own captions. A tie with a wrong answer counts as lost, so that a
    model that gives every pair the same score gets 0, not 1.
    """
    text_ranks, image_ranks = retrieval_ranks(similarity, image_of_text, text_to_image)
    return RetrievalScores(
        image_to_text_r1=float(np.mean(text_ranks < 1)),
        image_to_text_r5=float(np.mean(text_ranks < 5)),
        image_to_text_r10=float(np.mean(text_ranks < 10)),
        text_to_image_r1=float(np.mean(image_ranks < 1)),
        text_to_image_r5=float(np.mean(image_ranks < 5)),
        text_to_image_r10=float(np.mean(image_ranks < 10)),
        images=len(text_ranks),
        texts=len(image_ranks),
    )


def retrieval_ranks(
    similarity: Floating,
    image_of_text: Sequence[int] | NDArray[np.integer[Any]],
    text_to_image: Floating | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """How many wrong answers stand before, or beside, the first right one: of each picture among the texts [images],
    and of each text among the pictures [texts]. Arguments as in `retrieval_scores`."""
    by_image, owners = np.asarray(similarity), np.asarray(image_of_text)
    by_text = by_image if text_to_image is None else np.asarray(text_to_image)
    _check_similarity(by_image, by_text, owners)
    images, texts = by_image.shape
    own = owners[None, :] == np.arange(images)[:, None]  # [images, texts]
    best_own = np.where(own, by_image, -np.inf).max(axis=1)  # [images]
    text_ranks = ((by_image >= best_own[:, None]) & ~own).sum(axis=1)  # [images]
    own_score = by_text[owners, np.arange(texts)]  # [texts]
    image_ranks = (by_text >= own_score[None, :]).sum(axis=0) - 1  # [texts]
    return text_ranks, image_ranks


def _check_similarity(by_image: Floating, by_text: Floating, owners: NDArray[np.integer[Any]]) -> None:
    if by_image.ndim != 2 or by_text.shape != by_image.shape or owners.shape != by_image.shape[1:] or not owners.size:
        raise InputError(
            f"similarities are {by_image.shape} and {by_text.shape}, image_of_text is {owners.shape}: "
            "give [images, texts] and [texts]"
        )
    if not (np.isfinite(by_image).all() and np.isfinite(by_text).all()):
        raise InputError("the similarities hold NaN or infinite values: a recall of them means nothing")
    images = by_image.shape[0]
    if not np.issubdtype(owners.dtype, np.integer) or owners.min() < 0 or owners.max() >= images:
        raise InputError(f"image_of_text holds {owners.min()} to {owners.max()}: give whole numbers 0 to {images - 1}")
    missing = np.setdiff1d(np.arange(images), owners)
    if missing.size:
        raise DataError(f"{missing.size} images have no text (the first is {missing[0]}): drop them or add a caption")
