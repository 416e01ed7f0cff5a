"""A model's figures on a data set: its captions scored, and its retrieval with ITC alone and with ITM re-ranking.

Knows samples, a `Blip` and how results are shown; how a score is computed is in `metrics`. Knows no framework.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from openblip.bulk.shards import Sample
from openblip.engine import Engine, Floats, ImageStates, Ints
from openblip.errors import DataError, OptionError
from openblip.metrics import CaptionScores as CaptionScores
from openblip.metrics import RetrievalScores as RetrievalScores
from openblip.metrics import caption_scores as caption_scores
from openblip.metrics import retrieval_scores as retrieval_scores
from openblip.pictures import Clock, read_batches
from openblip.text import TokenBatch, Tokenizer, clean_caption
from openblip.types import GenerateOptions

if TYPE_CHECKING:
    from openblip.image import ImageLimits
    from openblip.parts import Part
    from openblip.pipeline import Blip

Bools = NDArray[np.bool_]
Progress = Callable[[str, int, int], None]

TEXT_TOKENS = 35  # BLIP's retrieval cuts a caption there, [CLS] and [SEP] included
TEXTS_PER_CALL = 256
PAIRS_PER_CALL = 512
TEXTS_A_TURN = 32
MAX_STATE_BYTES = 2 * 2**30  # 1,000 pictures of the mini model take 0.6 GiB, of ViT-B/16 at 384 pixels 40
_BEHIND = 1e4  # what is not re-ranked stays in ITC order, behind all that is


@dataclass(frozen=True, slots=True)
class CaptionEvaluation:
    """The scores of a model's captions, and how they were made. seconds: for all images, loading them included."""

    model: str
    scores: CaptionScores
    keys: tuple[str, ...]
    options: GenerateOptions
    seconds: float

    def to_dict(self, by_image: bool = False) -> dict[str, Any]:
        """Plain types, ready for JSON. by_image: with each image's key, caption and CIDEr."""
        values = {"task": "caption", "model": self.model, **self.scores.to_dict()}
        values |= {"options": asdict(self.options), "seconds": self.seconds}
        if by_image:
            rows = zip(self.keys, self.scores.captions, self.scores.cider_by_image, strict=True)
            values["captions"] = [{"key": key, "caption": text, "cider": cider} for key, text, cider in rows]
        return values


@dataclass(frozen=True, slots=True)
class RetrievalEvaluation:
    """Recalls by ITC similarity alone, and with the best `rerank` of each query re-ranked by ITM (None if rerank is 0).

    pairs: how many pairs of picture and text the ITM head saw. seconds: for everything, loading the images included.
    """

    model: str
    itc: RetrievalScores
    itm: RetrievalScores | None
    rerank: int
    pairs: int
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Plain types, ready for JSON."""
        itm = None if self.itm is None else self.itm.to_dict()
        how = {"rerank": self.rerank, "pairs": self.pairs, "seconds": self.seconds}
        return {"task": "retrieval", "model": self.model, "itc": self.itc.to_dict(), "itm": itm, **how}


def evaluate_captions(
    blip: Blip,
    samples: Iterable[Sample],
    options: GenerateOptions | None = None,
    prompt: str = "",
    progress: Progress | None = None,
) -> CaptionEvaluation:
    """Caption every sample and score the captions against its own. progress: called as (stage, done, total)."""
    samples, options = _at_hand(samples), options or GenerateOptions()
    start = time.perf_counter()
    texts: list[str] = []
    outcomes = blip.caption_each((sample.image_bytes for sample in samples), prompt, options)
    for sample, outcome in zip(samples, outcomes, strict=True):
        if outcome.error is not None:
            raise DataError(f"{sample.key}: {outcome.error}") from outcome.error
        texts.append(outcome.captions[0].text)
        _tell(progress, "captions", len(texts), len(samples))
    scores = caption_scores(texts, [sample.captions for sample in samples])
    keys = tuple(sample.key for sample in samples)
    return CaptionEvaluation(blip.name, scores, keys, options, time.perf_counter() - start)


def evaluate_retrieval(
    blip: Blip,
    samples: Iterable[Sample],
    rerank: int = 32,
    batch_size: int = 16,
    progress: Progress | None = None,
) -> RetrievalEvaluation:
    """Recalls among all pictures and all captions of the samples.

    rerank: how many of each query's best the ITM head sees (0: none). A pair that is among the best of both its
    picture and its text is matched once; every picture is encoded once where the states of all fit in MAX_STATE_BYTES.
    progress: called as (stage, done, total).
    """
    if rerank < 0:
        raise OptionError(f"rerank={rerank} is out of range: give 0 (ITC alone) or more")
    if batch_size < 1:
        raise OptionError(f"batch_size={batch_size} is out of range: give 1 or more")
    samples, start, part = _at_hand(samples), time.perf_counter(), _retrieval_part(blip, rerank)
    engine, tokenizer = part.engine, part.tokenizer
    texts = [clean_caption(text) for sample in samples for text in sample.captions]
    owners = np.repeat(np.arange(len(samples)), [len(sample.captions) for sample in samples])
    keeps_states = rerank > 0 and len(samples) * _state_bytes(engine) <= MAX_STATE_BYTES
    states: list[ImageStates] = []
    embeddings: list[Floats] = []
    for encoded in _encoded(part, samples, batch_size, blip.limits):
        embeddings.append(engine.embed_images(encoded))
        if keeps_states:
            states.append(encoded)
        _tell(progress, "images", sum(map(len, embeddings)), len(samples))
    similarity = np.concatenate(embeddings) @ _embed_texts(engine, tokenizer, texts).T  # [images, texts]
    itm, pairs = None, 0
    if rerank:
        for_images, for_texts = _best(similarity, rerank, axis=1), _best(similarity, rerank, axis=0)
        tokens = tokenizer.encode_grounded(texts, _text_tokens(engine))
        encoded_again = _encoded(part, samples, batch_size, blip.limits)
        logits = _match(engine, states or encoded_again, tokens, for_images | for_texts, progress)
        by_image, by_text = (reranked(similarity, logits, chosen) for chosen in (for_images, for_texts))
        itm, pairs = retrieval_scores(by_image, owners, by_text), int((for_images | for_texts).sum())
    itc = retrieval_scores(similarity, owners)
    return RetrievalEvaluation(part.name, itc, itm, rerank, pairs, time.perf_counter() - start)


def reranked(similarity: Floats, logits: Floats, chosen: Bools) -> NDArray[np.float64]:
    """The score by which chosen pairs are re-ranked, as BLIP does it: ITM's matching logit plus the ITC cosine.

    All are [images, texts]; logits is read where chosen. The others keep their ITC order
    and stand behind, so that a recall at more than the number of re-ranked ones still means something.
    """
    scores = similarity.astype(np.float64)
    return np.where(chosen, scores + logits, scores - _BEHIND)


def format_json(result: CaptionEvaluation | RetrievalEvaluation, by_image: bool = False) -> str:
    """The result as one JSON object. by_image: with every caption (captions only)."""
    values = result.to_dict(by_image) if isinstance(result, CaptionEvaluation) else result.to_dict()
    return json.dumps(values, indent=2, ensure_ascii=False)


def format_markdown(result: CaptionEvaluation | RetrievalEvaluation) -> str:
    """The result as a table for a terminal or a model card."""
    return _caption_table(result) if isinstance(result, CaptionEvaluation) else _retrieval_table(result)


def _caption_table(result: CaptionEvaluation) -> str:
    scores, options = result.scores, result.options
    how = f"nucleus top-p {options.top_p}" if options.sample else f"beam {options.num_beams}"
    return _lines(
        f"{result.model}: {scores.images} images, {how}, {scores.images / result.seconds:.1f} images/s",
        "",
        "| CIDEr-D | BLEU-1 | BLEU-2 | BLEU-3 | BLEU-4 | ROUGE-L | distinct captions | vocabulary | mean length |",
        "|---|---|---|---|---|---|---|---|---|",
        f"| {scores.cider:.3f} | {scores.bleu1:.3f} | {scores.bleu2:.3f} | {scores.bleu3:.3f} | {scores.bleu4:.3f} "
        f"| {scores.rouge_l:.3f} | {scores.distinct_captions} | {scores.vocabulary} | {scores.mean_length:.1f} |",
    )


def _retrieval_table(result: RetrievalEvaluation) -> str:
    itc = result.itc
    rows = [_recall_row("ITC", itc)]
    if result.itm is not None:
        rows.append(_recall_row(f"ITC + ITM of the best {result.rerank}", result.itm))
    return _lines(
        f"{result.model}: {itc.images} images, {itc.texts} texts, {result.pairs} pairs matched, {result.seconds:.0f} s",
        "",
        "| ranked by | text to image R@1 | R@5 | R@10 | image to text R@1 | R@5 | R@10 |",
        "|---|---|---|---|---|---|---|",
        *rows,
    )


def _recall_row(name: str, scores: RetrievalScores) -> str:
    recalls = [scores.text_to_image_r1, scores.text_to_image_r5, scores.text_to_image_r10]
    recalls += [scores.image_to_text_r1, scores.image_to_text_r5, scores.image_to_text_r10]
    return f"| {name} | " + " | ".join(f"{recall:.3f}" for recall in recalls) + " |"


def _lines(*lines: str) -> str:
    return "\n".join(lines)


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
            _tell(progress, "pairs", done, total)
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


def _at_hand(samples: Iterable[Sample]) -> list[Sample]:
    at_hand = list(samples)
    if not at_hand:
        raise DataError("the data set holds no samples: there is nothing to evaluate")
    return at_hand


def _tell(progress: Progress | None, stage: str, done: int, total: int) -> None:
    if progress is not None:
        progress(stage, done, total)
