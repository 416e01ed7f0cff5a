"""Caption scores: plain functions of strings, usable from a training loop.

They follow the coco-caption scorers, constants and quirks included, so that figures compare with published ones;
docs/evaluation.md says how closely. Knows no model, no file and no framework.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openblip.errors import DataError, InputError

MAX_NGRAM = 4
CIDER_SIGMA = 6.0  # standard deviation of CIDEr-D's length penalty, in words
ROUGE_BETA = 1.2  # coco-caption weighs recall 1.44 times as much as precision

# coco-caption adds these to keep empty counts finite: a BLEU without a single match is about 1e-4, not 0.
_BLEU_TINY, _BLEU_SMALL = 1e-15, 1e-9

# What the Penn Treebank tokeniser does to captions: clitics and a few fused verbs are split off, abbreviations and
# times keep their signs, brackets get names. coco-caption then drops most punctuation, but not the brackets' names.
_FUSED = re.compile(r"\b(can)(not)\b|\b(gon|wan)(na)\b|\b(got)(ta)\b|\b(gim|lem)(me)\b|(?<![\w'])('t)(is|was)\b")
_CLITIC = re.compile(r"(?<=[a-z])(n't|'(?:s|m|d|re|ve|ll))(?![a-z'])|(?<=\d)('s)\b")
_WORD = re.compile(
    r"n't(?![a-z])|'(?:s|m|d|re|ve|ll|t)(?![a-z'])|'n'|'\d0s\b|-l[rsc]b-|-r[rsc]b-"
    r"|(?<!\w)(?:[a-z]\.){2,}(?:[a-z]\b)?|\b(?:mr|mrs|ms|dr|st|jr|sr|etc|ave|blvd|rd|ft)\."
    r"|\d+:\d\d(?!\d)|\w+(?:(?:[-.'/&]|(?<=\d),(?=\d))\w+)*|[?!]{2,}|[^\s\w]"
)
_BRACKETS = str.maketrans(
    {"(": " -lrb- ", ")": " -rrb- ", "[": " -lsb- ", "]": " -rsb- ", "{": " -lcb- ", "}": " -rcb- ", "\u2019": "'"}
)
_DROPPED = frozenset("'\"`.?!,:;-\u2013\u2014\u2018\u201c\u201d\u2026\u00ab\u00bb")

Ngrams = Counter[tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class CaptionScores:
    """How captions compare with their references. Higher is better; CIDEr is on the scale where humans reach about 0.9
    on COCO (papers print it times 100), BLEU and ROUGE-L lie in [0, 1].

    cider: CIDEr-D, document frequencies from these references. distinct_captions, vocabulary, mean_length: different
    captions, different words and words a caption among `captions`; cider_by_image: one a caption, in the same order.
    """

    cider: float
    bleu1: float
    bleu2: float
    bleu3: float
    bleu4: float
    rouge_l: float
    images: int
    distinct_captions: int
    vocabulary: int
    mean_length: float
    captions: tuple[str, ...]
    cider_by_image: tuple[float, ...]

    def to_dict(self, by_image: bool = False) -> dict[str, Any]:
        """Plain types, ready for JSON. by_image: with the captions and their own scores."""
        values = asdict(self)
        if not by_image:
            del values["captions"], values["cider_by_image"]
        return values


def caption_tokens(text: str) -> list[str]:
    """Lower-cased words without punctuation, as coco-caption's Penn Treebank tokeniser (Java) gives them.

    "A man's t-shirt, isn't it?" becomes a, man, 's, t-shirt, is, n't, it. Web addresses, markup, emoticons and rare
    abbreviations may come out otherwise than there; of 60,069 COCO and Flickr8k captions 11 do.
    """
    text = _FUSED.sub(lambda match: " ".join(filter(None, match.groups())), text.lower().translate(_BRACKETS))
    return [token for token in _WORD.findall(_CLITIC.sub(r" \g<0> ", text)) if token not in _DROPPED]


def caption_scores(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> CaptionScores:
    """Score one caption an image against that image's references (any number, at least one).

    CIDEr weighs words by how many of these images mention them: on one image it is 0, on few it means little.
    """
    check_captions(hypotheses, references)
    captions = [caption_tokens(hypothesis) for hypothesis in hypotheses]
    truths = [[caption_tokens(reference) for reference in group] for group in references]
    cider = cider_by_image(captions, truths)
    bleu = bleu_scores(captions, truths)
    return CaptionScores(
        cider=float(cider.mean()),
        bleu1=bleu[0],
        bleu2=bleu[1],
        bleu3=bleu[2],
        bleu4=bleu[3],
        rouge_l=float(np.mean([_rouge_l(caption, group) for caption, group in zip(captions, truths, strict=True)])),
        images=len(captions),
        distinct_captions=len({tuple(caption) for caption in captions}),
        vocabulary=len({word for caption in captions for word in caption}),
        mean_length=float(np.mean([len(caption) for caption in captions])),
        captions=tuple(hypotheses),
        cider_by_image=tuple(float(score) for score in cider),
    )


def cider_by_image(
    hypotheses: Sequence[Sequence[str]], references: Sequence[Sequence[Sequence[str]]]
) -> NDArray[np.float64]:
    """CIDEr-D of each tokenised caption [images] (Vedantam et al. 2015): n-grams of 1 to 4 words, sigma 6, times 10."""
    scorer = CiderD(references)
    return np.array([scorer.score(image, hypothesis) for image, hypothesis in enumerate(hypotheses)])


def bleu_scores(
    hypotheses: Sequence[Sequence[str]], references: Sequence[Sequence[Sequence[str]]]
) -> tuple[float, float, float, float]:
    """Corpus BLEU-1 to BLEU-4 of tokenised captions; brevity is held against each image's closest reference."""
    matched, proposed = np.zeros(MAX_NGRAM), np.zeros(MAX_NGRAM)
    length = reference_length = 0
    for hypothesis, group in zip(hypotheses, references, strict=True):
        most: Ngrams = Counter()
        for reference in group:
            most |= _ngrams(reference)
        for ngram, count in _ngrams(hypothesis).items():
            matched[len(ngram) - 1] += min(count, most[ngram])
        proposed += np.maximum(len(hypothesis) - np.arange(MAX_NGRAM), 0)
        length += len(hypothesis)
        reference_length += min((abs(len(reference) - len(hypothesis)), len(reference)) for reference in group)[1]
    logs = np.log((matched + _BLEU_TINY) / (proposed + _BLEU_SMALL))
    ratio = (length + _BLEU_TINY) / (reference_length + _BLEU_SMALL)
    scores = np.exp(np.cumsum(logs) / np.arange(1, MAX_NGRAM + 1) + min(0.0, 1.0 - 1.0 / ratio))
    return float(scores[0]), float(scores[1]), float(scores[2]), float(scores[3])


class CiderD:
    """CIDEr-D against the tokenised references of some images, which also tell how rare an n-gram is."""

    def __init__(self, references: Sequence[Sequence[Sequence[str]]]) -> None:
        truths = [[_ngrams(reference) for reference in group] for group in references]
        images_with = Counter(ngram for group in truths for ngram in set().union(*group))
        self._unseen = math.log(len(truths))
        self._rarity = {ngram: self._unseen - math.log(count) for ngram, count in images_with.items()}
        self._truths = [[_TfIdf(truth, self._rarity, self._unseen) for truth in group] for group in truths]

    def score(self, image: int, hypothesis: Sequence[str]) -> float:
        """Of one tokenised caption of the image in that place."""
        vector = _TfIdf(_ngrams(hypothesis), self._rarity, self._unseen)
        return 10.0 * float(np.mean([vector.similarity(truth) for truth in self._truths[image]]))


class _TfIdf:
    """One sentence as CIDEr sees it: weighted n-grams, the norm for each n, and its length."""

    def __init__(self, counts: Ngrams, rarity: dict[tuple[str, ...], float], unseen: float) -> None:
        self.weights = {ngram: count * rarity.get(ngram, unseen) for ngram, count in counts.items()}
        squares = [0.0] * MAX_NGRAM
        self.length = 0
        for ngram, weight in self.weights.items():
            squares[len(ngram) - 1] += weight * weight
            if len(ngram) == 2:  # the published scorer takes the number of word pairs for the length
                self.length += counts[ngram]
        self.norms = [math.sqrt(square) for square in squares]

    def similarity(self, truth: _TfIdf) -> float:
        """Cosine with a reference, repeated n-grams clipped, averaged over n, times the length penalty."""
        products = [0.0] * MAX_NGRAM
        for ngram, weight in self.weights.items():
            other = truth.weights.get(ngram)
            if other is not None:
                products[len(ngram) - 1] += min(weight, other) * other
        cosines = (
            product / (norm * other) if norm > 0.0 and other > 0.0 else 0.0
            for product, norm, other in zip(products, self.norms, truth.norms, strict=True)
        )
        penalty = math.exp(-((self.length - truth.length) ** 2) / (2 * CIDER_SIGMA**2))
        return penalty * sum(cosines) / MAX_NGRAM


def _ngrams(words: Sequence[str]) -> Ngrams:
    return Counter(
        tuple(words[start : start + size]) for size in range(1, MAX_NGRAM + 1) for start in range(len(words) - size + 1)
    )


def _rouge_l(hypothesis: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """ROUGE-L of one tokenised caption: best precision and best recall over its references (not always of the same)."""
    lengths = [_common_subsequence(hypothesis, reference) for reference in references]
    precision = max(lengths) / max(len(hypothesis), 1)
    recall = max(length / max(len(reference), 1) for length, reference in zip(lengths, references, strict=True))
    if precision == 0.0 or recall == 0.0:
        return 0.0
    return (1 + ROUGE_BETA**2) * precision * recall / (recall + ROUGE_BETA**2 * precision)


def _common_subsequence(left: Sequence[str], right: Sequence[str]) -> int:
    """Length of the longest common subsequence."""
    row = [0] * (len(right) + 1)
    for word in left:
        diagonal = 0
        for column, other in enumerate(right, start=1):
            diagonal, row[column] = row[column], diagonal + 1 if word == other else max(row[column], row[column - 1])
    return row[-1]


def check_captions(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> None:
    """Raise InputError or DataError where the captions cannot be scored against the references."""
    if len(hypotheses) != len(references):
        raise InputError(f"{len(hypotheses)} captions for {len(references)} images: give one caption an image")
    if not hypotheses:
        raise DataError("no captions to score: the data set is empty")
    if isinstance(references[0], str):
        raise InputError("references must be a list of captions for each image, not one string: wrap it in a list")
    for index, group in enumerate(references):
        if not group:
            raise DataError(f"image {index} has no reference captions: drop it or add at least one")
