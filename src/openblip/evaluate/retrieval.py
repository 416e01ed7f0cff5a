"""Retrieval among the pictures and captions of a data set: with ITC alone and with ITM re-ranking, at several depths in
one pass."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from openblip.bulk.shards import Sample
from openblip.engine import Engine, Floats, ImageStates, Ints
from openblip.errors import DataError, OptionError
from openblip.evaluate.progress import Progress, at_hand, tell
from openblip.metrics.retrieval import RetrievalScores, retrieval_ranks, retrieval_scores
from openblip.pictures import Clock, read_batches
from openblip.text import TokenBatch, Tokenizer, clean_caption

if TYPE_CHECKING:
    from openblip.image import ImageLimits
    from openblip.parts import Part
    from openblip.pipeline import Blip

Bools = NDArray[np.bool_]

TEXT_TOKENS = 35  # BLIP's retrieval cuts a caption there, [CLS] and [SEP] included
TEXTS_PER_CALL = 256
PAIRS_PER_CALL = 512
TEXTS_A_TURN = 32
MAX_STATE_BYTES = 2 * 2**30  # 1,000 pictures of the mini model take 0.6 GiB, of ViT-B/16 at 384 pixels 40
_BEHIND = 1e4  # what is not re-ranked stays in ITC order, behind all that is


@dataclass(frozen=True, slots=True)
class RerankedRecalls:
    """Recalls with the best `rerank` of each query re-ranked by ITM (0: none). pairs: how many pairs that takes."""

    rerank: int
    pairs: int
    scores: RetrievalScores

    def to_dict(self) -> dict[str, Any]:
        """Plain types, ready for JSON."""
        return {"rerank": self.rerank, "pairs": self.pairs, **self.scores.to_dict()}


@dataclass(frozen=True, slots=True)
class RetrievedImage:
    """What became of one picture at the greatest depth. rank: of its own best caption, from 1. first: the caption that
    was ranked first. caption_ranks: of the picture, from 1, for each of its own captions."""

    key: str
    rank: int
    first: str
    caption_ranks: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RetrievalEvaluation:
    """Recalls by ITC similarity alone, and with the best `rerank` of each query re-ranked by ITM (None if rerank is 0).

    pairs: how many pairs of picture and text the ITM head saw. seconds: for everything, loading the images included.
    curve: the recalls at every depth that was asked for, `itm` being those of the greatest. images: picture by picture.
    """

    model: str
    itc: RetrievalScores
    itm: RetrievalScores | None
    rerank: int
    pairs: int
    seconds: float
    curve: tuple[RerankedRecalls, ...] = ()
    images: tuple[RetrievedImage, ...] = ()

    def to_dict(self, by_image: bool = False) -> dict[str, Any]:
        """Plain types, ready for JSON. by_image: with the ranks of each picture."""
        itm = None if self.itm is None else self.itm.to_dict()
        how = {"rerank": self.rerank, "pairs": self.pairs, "seconds": self.seconds}
        values: dict[str, Any] = {
            "task": "retrieval",
            "model": self.model,
            "itc": self.itc.to_dict(),
            "itm": itm,
            **how,
        }
        values["curve"] = [point.to_dict() for point in self.curve]
        if by_image:
            values["images"] = [asdict(image) for image in self.images]
        return values


def evaluate_retrieval(
    blip: Blip,
    samples: Iterable[Sample],
    rerank: int | Sequence[int] = 32,
    batch_size: int = 16,
    progress: Progress | None = None,
) -> RetrievalEvaluation:
    """Recalls among all pictures and all captions of the samples.

    rerank: how many of each query's best the ITM head sees (0: none), or several such depths: the greatest is computed,
    and the others follow from its scores. A pair that is among the best of both its picture and its text is matched
    once; every picture is encoded once where the states of all fit in MAX_STATE_BYTES.

    Raises OptionError on a depth or batch size out of range, DataError that names a picture which cannot be read, or
    where there are no samples.
    """
    depths = _depths(rerank)
    if batch_size < 1:
        raise OptionError(f"batch_size={batch_size} is out of range: give 1 or more")
    samples, start, deepest = at_hand(samples), time.perf_counter(), depths[-1]
    part = _retrieval_part(blip, deepest)
    engine, tokenizer = part.engine, part.tokenizer
    texts = [clean_caption(text) for sample in samples for text in sample.captions]
    owners = np.repeat(np.arange(len(samples)), [len(sample.captions) for sample in samples])
    keeps_states = deepest > 0 and len(samples) * _state_bytes(engine) <= MAX_STATE_BYTES
    states: list[ImageStates] = []
    embeddings: list[Floats] = []
    for encoded in _encoded(part, samples, batch_size, blip.limits):
        embeddings.append(engine.embed_images(encoded))
        if keeps_states:
            states.append(encoded)
        tell(progress, "images", sum(map(len, embeddings)), len(samples))
    similarity = np.concatenate(embeddings) @ _embed_texts(engine, tokenizer, texts).T  # [images, texts]
    logits = np.zeros_like(similarity)
    if deepest:
        tokens = tokenizer.encode_grounded(texts, _text_tokens(engine))
        wanted = _best(similarity, deepest, axis=1) | _best(similarity, deepest, axis=0)
        again = _encoded(part, samples, batch_size, blip.limits)
        logits = _match(engine, states or again, tokens, wanted, progress)
    curve = []
    for depth in depths:
        by_image, by_text, pairs = _at_depth(similarity, logits, depth)
        curve.append(RerankedRecalls(depth, pairs, retrieval_scores(by_image, owners, by_text)))
    return RetrievalEvaluation(
        model=part.name,
        itc=retrieval_scores(similarity, owners),
        itm=curve[-1].scores if deepest else None,
        rerank=deepest,
        pairs=curve[-1].pairs,
        seconds=time.perf_counter() - start,
        curve=tuple(curve),
        images=_images(samples, texts, owners, by_image, by_text),
    )


def reranked(similarity: Floats, logits: Floats, chosen: Bools) -> NDArray[np.float64]:
    """The score by which chosen pairs are re-ranked, as BLIP does it: ITM's matching logit plus the ITC cosine.

    All are [images, texts]; logits is read where chosen. The others keep their ITC order
    and stand behind, so that a recall at more than the number of re-ranked ones still means something.
    """
    scores = similarity.astype(np.float64)
    return np.where(chosen, scores + logits, scores - _BEHIND)


def _depths(rerank: int | Sequence[int]) -> list[int]:
    """Each once, in order."""
    depths = sorted({rerank} if isinstance(rerank, int) else set(rerank))
    if not depths or depths[0] < 0:
        raise OptionError(f"rerank={rerank} is out of range: give 0 (ITC alone) or more, or several such numbers")
    return depths


def _at_depth(
    similarity: Floats, logits: Floats, depth: int
) -> tuple[NDArray[np.floating[Any]], NDArray[np.floating[Any]], int]:
    """The scores [images, texts] for queries by picture and by text, and how many pairs were re-ranked for them."""
    if not depth:
        return similarity, similarity, 0
    for_images, for_texts = _best(similarity, depth, axis=1), _best(similarity, depth, axis=0)
    by_image, by_text = reranked(similarity, logits, for_images), reranked(similarity, logits, for_texts)
    return by_image, by_text, int((for_images | for_texts).sum())


def _images(
    samples: Sequence[Sample],
    texts: Sequence[str],
    owners: Ints,
    by_image: NDArray[np.floating[Any]],
    by_text: NDArray[np.floating[Any]],
) -> tuple[RetrievedImage, ...]:
    text_ranks, image_ranks = retrieval_ranks(by_image, owners, by_text)
    firsts = by_image.argmax(axis=1)
    return tuple(
        RetrievedImage(
            sample.key, int(text_ranks[place]) + 1, texts[firsts[place]],
            tuple(int(rank) + 1 for rank in image_ranks[owners == place]),
        )
        for place, sample in enumerate(samples)
    )  # fmt: skip


def _embed_texts(engine: Engine, tokenizer: Tokenizer, texts: Sequence[str]) -> Floats:
    """Unit vectors [texts, projection]; texts of like length share a call, so that little is computed on padding."""
    batch = tokenizer.encode_unimodal(texts, _text_tokens(engine))
    embeddings = np.empty((len(texts), engine.config.projection), dtype=np.float32)
    for rows in _by_length(batch.lengths, TEXTS_PER_CALL):
        embeddings[rows] = engine.embed_texts(*_rows(batch, rows))
    return embeddings


def _match(
    engine: Engine, states: Iterable[ImageStates], texts: TokenBatch, wanted: Bools, progress: Progress | None
) -> Floats:
    """The matching logit of each wanted pair, zero elsewhere: [images, texts]. states: the images, batch by batch."""
    logits = np.zeros(wanted.shape, dtype=np.float32)
    first, done, total = 0, 0, int(wanted.sum())
    for images in states:
        picture, text = np.nonzero(wanted[first : first + len(images)])
        for rows in _in_turns(picture, texts.lengths[text]):
            found = engine.match(images, picture[rows], *_rows(texts, text[rows]))
            logits[first + picture[rows], text[rows]] = found[:, 1]
            done += len(rows)
            tell(progress, "pairs", done, total)
        first += len(images)
    return logits


def _in_turns(picture: Ints, lengths: Ints) -> Iterator[Ints]:
    """Row numbers in groups for one call each: a few texts of every picture, short texts first.

    An engine reads a picture's keys and values once for all its rows and runs pictures with as many rows together, so
    each picture gets the same number of rows a call, while like lengths keep padding rare.
    """
    order = np.lexsort((lengths, picture))
    ordinal = np.arange(len(order)) - np.searchsorted(picture[order], picture[order])
    for turn in range(0, int(ordinal.max(initial=-1)) + 1, TEXTS_A_TURN):
        rows = order[(ordinal >= turn) & (ordinal < turn + TEXTS_A_TURN)]
        for start in range(0, len(rows), PAIRS_PER_CALL):
            yield rows[start : start + PAIRS_PER_CALL]


def _best(similarity: Floats, count: int, axis: int) -> Bools:
    """Which pairs [images, texts] are among the `count` most similar along the axis."""
    count = min(count, similarity.shape[axis])
    best = np.argpartition(-similarity, count - 1, axis=axis).take(range(count), axis=axis)
    chosen = np.zeros(similarity.shape, dtype=np.bool_)
    np.put_along_axis(chosen, best, True, axis=axis)
    return chosen


def _by_length(lengths: Ints, size: int) -> Iterator[Ints]:
    """Row numbers in groups of at most `size`, short rows first."""
    order = np.argsort(lengths, kind="stable")
    for start in range(0, len(order), size):
        yield order[start : start + size]


def _rows(batch: TokenBatch, rows: Ints) -> tuple[Ints, Ints]:
    lengths = batch.lengths[rows]
    return batch.tokens[rows, : lengths.max()], lengths


def _retrieval_part(blip: Blip, rerank: int) -> Part:
    """The checkpoint that embeds, and must also match where pairs are re-ranked."""
    part = blip.part("embed")
    if rerank:
        part.config.require("match")
    return part


def _encoded(part: Part, samples: Sequence[Sample], size: int, limits: ImageLimits) -> Iterator[ImageStates]:
    """The samples' pictures, `size` at a time."""
    inputs, keys = [part.config.vision], iter(samples)
    for batch in read_batches((sample.image_bytes for sample in samples), size, inputs, limits, Clock()):
        for loaded, sample in zip(batch, keys, strict=False):
            if loaded.error is not None:
                raise DataError(f"{sample.key}: {loaded.error}") from loaded.error
        yield part.engine.encode_images(np.stack([loaded.pixels[0] for loaded in batch]))


def _state_bytes(engine: Engine) -> int:
    """About what an engine keeps of one picture: the keys and values of every text layer, at most in float32."""
    text = engine.config.text
    return text.layers * 2 * engine.config.vision.tokens * text.width * 4


def _text_tokens(engine: Engine) -> int:
    return min(TEXT_TOKENS, engine.config.text.max_positions)
