"""A look at a fine-tuning run before hours are spent: the data counted, its texts held against the model's words, and
one real step on the largest batch. Writes nothing that stays."""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from openblip.errors import TrainingError
from openblip.text import Tokenizer
from openblip.train import ranks
from openblip.train.answering import AnswerBatch
from openblip.train.data import PretrainData
from openblip.train.finetune import Finetuner, open_finetune
from openblip.train.finetune_config import FinetuneConfig
from openblip.train.finetune_data import SHOWN, Sets, read_sets
from openblip.train.objectives import PretrainBatch
from openblip.train.progress import Progress
from openblip.train.question_data import QuestionData
from openblip.train.start import Start

_LONG = 512
_UNKNOWN_SHOWN = 8


def dry_run(config: FinetuneConfig) -> tuple[list[str], bool]:
    """The report, a line each, and whether the run could start. Raises what a run raises at once."""
    if ranks.count() > 1:
        raise TrainingError("a dry run is for one process: start it without torchrun")
    start = open_finetune(config)
    sets = read_sets(config, start.model.config.vision.image_size)
    lines = [*_model_lines(config, start), *_data_lines(config, start, sets)]
    if sets.train:
        with tempfile.TemporaryDirectory(prefix="openblip-dry-run-") as folder:
            lines += _step_lines(replace(config, output=folder, views=0), start, sets)
    usable = bool(sets.train) and (config.skip_broken or not sets.faults)
    lines.append("verdict: the run can start" if usable else f"verdict: the run cannot start, {_hindrance(sets)}")
    return lines, usable


def _hindrance(sets: Sets) -> str:
    if not sets.train:
        return "there is nothing to learn from"
    return "entries cannot be used: put them right, take them out, or go on without them (--skip-broken)"


def _model_lines(config: FinetuneConfig, start: Start) -> Iterator[str]:
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in start.model.parameters()]
    whole, learning = sum(size for size, _ in sizes), sum(size for size, learns in sizes if learns)
    tasks = ", ".join(start.model.config.tasks)
    yield f"model: {start.checkpoint.name}, {whole / 1e6:.1f} million parameters, {learning / 1e6:.1f} of them learn"
    yield f"the result can {tasks}; its pictures are {start.model.config.vision.image_size} pixels wide"
    yield from start.lines()


def _data_lines(config: FinetuneConfig, start: Start, sets: Sets) -> Iterator[str]:
    for name, pictures in (("data", sets.train), ("dev", sets.dev)):
        if not pictures:
            continue
        captions = sum(len(picture.captions) for picture in pictures)
        questions = sum(len(picture.questions) for picture in pictures)
        counted = f"{questions} questions" if config.task == "vqa" else f"{captions} captions"
        yield f"{name}: {len(pictures)} pictures, {counted}"
    yield from sets.doubts()
    yield f"entries that cannot be used: {len(sets.faults)}"
    yield from (f"  {fault}" for fault in sets.faults[:SHOWN])
    texts = [text for picture in sets.train for text in picture.texts]
    if texts:
        yield from _text_lines(config, start, texts)


def _text_lines(config: FinetuneConfig, start: Start, texts: Sequence[str]) -> Iterator[str]:
    limit = min(config.max_text_tokens, start.model.config.text.max_positions)
    given = len(start.tokenizer.caption_prompt(config.prompt)) - 1
    lengths = start.tokenizer.encode_unimodal(texts, _LONG).lengths + given
    cut = int((lengths > limit).sum())
    yield (
        f"texts: {lengths.mean():.1f} tokens on average, {lengths.max()} at most; "
        f"{cut} of {len(texts)} are longer than {limit} and are cut"
    )
    unknown = unknown_words(texts, start.tokenizer)
    if unknown:
        most = ", ".join(f"{word} ({count})" for word, count in unknown.most_common(_UNKNOWN_SHOWN))
        yield f"words that the model has no pieces for: {len(unknown)}, {sum(unknown.values())} times: {most}"
    else:
        yield "words that the model has no pieces for: none"


def unknown_words(texts: Sequence[str], tokenizer: Tokenizer) -> Counter[str]:
    """How often each word occurs that comes out with [UNK]: the model can neither read nor write it."""
    words = Counter(word for text in texts for word in text.lower().split())
    rows = tokenizer.encode_unimodal(words, _LONG)
    unknown = (rows.tokens == tokenizer.unk_id).any(axis=1)
    return Counter(
        {word: count for (word, count), is_unknown in zip(words.items(), unknown, strict=True) if is_unknown}
    )


def _step_lines(config: FinetuneConfig, start: Start, sets: Sets) -> Iterator[str]:
    finetuner = Finetuner(config, start, sets)
    seconds = [_step_seconds(finetuner) for _ in range(2)][-1]  # the first one also sets up
    steps = finetuner.steps_an_epoch * config.epochs
    batch = f"{finetuner.steps.batch} pictures with {finetuner.texts} texts each"
    yield f"a step: {batch}, {config.accumulate} times; {finetuner.steps_an_epoch} an epoch, {steps} in all"
    yield (
        f"the step on the largest batch took {seconds:.2f} s, so {config.epochs} epochs take at most "
        f"{duration(seconds * steps)}, without the dev pictures"
    )
    if finetuner.device.type == "cuda":
        used, there = torch.cuda.max_memory_allocated(), torch.cuda.get_device_properties(0).total_memory
        yield f"memory: {used / 2**30:.1f} of the GPU's {there / 2**30:.1f} GiB at most"
    else:
        yield f"memory: this process took {peak_bytes() / 2**30:.1f} GiB at most"


def _step_seconds(finetuner: Finetuner) -> float:
    """One step as the run would do it, on the pictures with the longest texts."""
    largest = np.argsort(finetuner.data.costs(), kind="stable")[::-1][: finetuner.steps.batch].astype(np.int64).copy()
    started = time.perf_counter()
    finetuner.progress = Progress()
    finetuner.train_mode()
    for _ in range(finetuner.steps.accumulate):
        finetuner.one_batch(_batch_of(finetuner.data, largest))
        finetuner.progress.batch += 1
    finetuner._step()
    if finetuner.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def _batch_of(data: PretrainData | QuestionData, chosen: NDArray[np.int64]) -> PretrainBatch | AnswerBatch:
    views = data.views(chosen.tolist(), data.vision, 0)
    return data.batch_of(0, chosen, torch.stack([views[place] for place in range(len(chosen))]))


def duration(seconds: float) -> str:
    """In the unit that a person would take."""
    for name, size in (("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {name}"
    return f"{seconds:.0f} seconds"


def peak_bytes() -> int:
    """The most memory that this process ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
