"""Teach `mini` to answer questions: its captions stay what they are, its retrieval is held.

python models/mini/train_answers.py --questions questions/train.jsonl --shards ../shared/data/flickr8k/train-*.tar \
    --questions questions/daquar-train.jsonl --shards ../shared/data/daquar/train-0000.tar --out runs/mini-answers

What a caption is made of (image encoder, decoder's self-attention, cross-attention, feed-forward layers, tables) is
frozen, so captions do not change by a bit. What learns is the text encoder's self-attention, which reads questions with
their pictures and texts to be matched or embedded, the heads on it, and the answer decoder (BLIP paper, section 4.3: it
attends to the states of the question). The text encoder served matching and embedding before: captions are embedded
and matched beside the questions, and held to what the model said of them before (a teacher that is the start
checkpoint). Image states are computed once for some views of each picture, so an epoch costs text alone.
"""

from __future__ import annotations

import argparse
import json
import sys
import tarfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from openblip.bulk.shards import find_shards
from openblip.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from openblip.config import TASKS
from openblip.datasets.examples import is_sided
from openblip.engines import load_engine
from openblip.engines.torch.model import BlipModel
from openblip.image import load_image, preprocess
from openblip.text import Tokenizer, clean_caption
from openblip.train.config import DataConfig, OptimiserConfig
from openblip.train.data import augment
from openblip.train.optimiser import make_optimiser, rate_at
from openblip_mini import FOLDER

ENCODED_AT_ONCE = 32
TEXT_TOKENS = 30


@dataclass(frozen=True)
class Asked:
    """A picture and what is asked about it: token rows of questions, of each the answers with their weights, and of
    captions (none for some). sided: words tell left from right."""

    image: bytes
    questions: list[list[int]]
    answers: list[list[tuple[list[int], float]]]
    captions: list[list[int]]
    sided: bool


@dataclass(frozen=True)
class Batch:
    """states: [P, T, W]. questions, answers: rows of P * n questions, n a picture. captions: a row for each of the
    pictures in `captioned` [C]."""

    states: Tensor
    questions: tuple[Tensor, Tensor]
    answers: tuple[Tensor, Tensor]
    captions: tuple[Tensor, Tensor]
    captioned: Tensor


def main() -> int:
    """Train, saving a checkpoint after each epoch."""
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    start = load_checkpoint(arguments.start, "mini")
    tokenizer = Tokenizer.from_vocabulary(start.vocabulary)
    asked = read(arguments.questions, arguments.shards, tokenizer)
    say(f"{len(asked)} pictures, {sum(len(each.questions) for each in asked)} questions")
    arguments.out.mkdir(parents=True, exist_ok=True)
    states = image_states(start, asked, arguments)
    teacher = BlipModel(start.config)
    teacher.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in start.tensors.items()})
    model = student(start, teacher, arguments.answer_layers, arguments.dropout)
    settings = OptimiserConfig(
        epochs=arguments.epochs, learning_rate=arguments.rate, warm_up_steps=200, weight_decay=0.05,
        final_share=0.02, batch=arguments.batch,
    )  # fmt: skip
    objective = Objective(model, teacher.eval().requires_grad_(False), arguments)
    optimiser = make_optimiser(model, settings)
    averaged = [parameter.detach().clone() for parameter in model.parameters()]
    steps_an_epoch, step = sum(bool(each.questions) for each in asked) // arguments.batch, 0
    for epoch in range(arguments.epochs):
        began, sums = time.monotonic(), dict[str, float]()
        model.train()
        for batch in batches(asked, states, epoch, arguments, tokenizer):
            torch.manual_seed(step)
            for group in optimiser.param_groups:
                group["lr"] = group["peak"] * rate_at(step, settings, steps_an_epoch * arguments.epochs)
            with torch.autocast("cpu", torch.bfloat16):
                losses = objective(batch)
            total = sum(losses.values(), torch.zeros(()))
            total.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            decay = min(arguments.average, (1 + step) / (10 + step))
            with torch.no_grad():
                torch._foreach_lerp_(averaged, list(model.parameters()), 1 - decay)
            step += 1
            sums = {name: sums.get(name, 0.0) + loss.item() for name, loss in losses.items()}
            if step % 20 == 0:
                pace = (time.monotonic() - began) / (step - epoch * steps_an_epoch)
                shown = " ".join(
                    f"{name} {value / (step - epoch * steps_an_epoch):.4f}" for name, value in sums.items()
                )
                say(f"epoch {epoch} step {step} {shown} {pace:.2f} s a step")
        own = {name: tensor.detach() for name, tensor in zip(dict(model.named_parameters()), averaged, strict=True)}
        tensors = {name: own[name].float().numpy() for name in model.state_dict()}
        save_checkpoint(arguments.out / "checkpoint", model.config, tensors, start.vocabulary)
        say(f"epoch {epoch} saved")
    return 0


def read(questions: Sequence[Path], shards: Sequence[str], tokenizer: Tokenizer) -> list[Asked]:
    """The pictures of the shards that questions are asked about."""
    lines: dict[str, dict[str, Any]] = {}
    for path in questions:
        for line in path.read_text(encoding="utf-8").splitlines():
            values = json.loads(line)
            lines[values["key"]] = values
    asked = []
    for shard in [tar for source in shards for tar in find_shards(source)]:
        for key, image, metadata in read_tar(shard):
            if key not in lines:
                continue
            qa = lines[key]["qa"]
            captions = [clean_caption(caption) for caption in metadata.get("captions", [])]
            answers = [
                list(
                    zip(ids(tokenizer, list(each["answers"]), tokenizer.dec_id), each["answers"].values(), strict=True)
                )
                for each in qa
            ]
            questions_ids = ids(tokenizer, [each["question"] for each in qa], tokenizer.enc_id)
            asked.append(
                Asked(
                    image, questions_ids, answers, ids(tokenizer, captions, tokenizer.cls_id),
                    any(map(is_sided, (*captions, *(each["question"] for each in qa)))),
                )
            )  # fmt: skip
    return asked


def read_tar(shard: Path) -> Iterator[tuple[str, bytes, dict[str, Any]]]:
    """Key, picture and json of each sample."""
    with tarfile.open(shard) as archive:
        held: dict[str, dict[str, bytes]] = {}
        for member in archive:
            key, _, suffix = member.name.partition(".")
            content = archive.extractfile(member)
            held.setdefault(key, {})["json" if suffix == "json" else "image"] = content.read() if content else b""
    for key, parts in held.items():
        yield key, parts["image"], json.loads(parts["json"])


def ids(tokenizer: Tokenizer, texts: Sequence[str], first: int) -> list[list[int]]:
    """Token rows that start with `first` and end with [SEP]."""
    rows = tokenizer.encode_unimodal(texts, TEXT_TOKENS)
    return [[first, *row[1:length].tolist()] for row, length in zip(rows.tokens, rows.lengths, strict=True)]


def image_states(start: Checkpoint, asked: Sequence[Asked], arguments: argparse.Namespace) -> NDArray[np.float16]:
    """[views, pictures, tokens, width], computed once and kept; the first view is the whole picture."""
    vision = start.config.vision
    shape = (arguments.views, len(asked), vision.tokens, vision.width)
    path = arguments.out / f"states-{'x'.join(map(str, shape))}.npy"
    if path.exists():
        return np.load(path, mmap_mode="r")
    engine = load_engine("openvino", start.config, start.tensors, precision="bf16", threads=arguments.threads)
    data = DataConfig(crop_area=0.6, colour_jitter=0.2)
    part = path.with_suffix(".part")
    states = np.lib.format.open_memmap(part, "w+", np.float16, shape)
    for view in range(arguments.views):
        began = time.monotonic()
        for first in range(0, len(asked), ENCODED_AT_ONCE):
            chosen = asked[first : first + ENCODED_AT_ONCE]
            pixels = []
            for place, each in enumerate(chosen, first):
                image = load_image(each.image)
                if view:
                    random = np.random.default_rng((arguments.seed, view, place))
                    image = augment(image, random, data, may_mirror=not each.sided)
                pixels.append(preprocess(image, vision))
            states[view, first : first + len(chosen)] = engine.encode_images(np.stack(pixels)).states
        say(f"view {view} encoded in {time.monotonic() - began:.0f} s")
    states.flush()
    part.replace(path)
    return np.load(path, mmap_mode="r")


def student(start: Checkpoint, teacher: BlipModel, answer_layers: int, dropout: float) -> BlipModel:
    """The start, with a decoder that answers: its first layers are the caption decoder's, its cross-attention reads
    another kind of states and starts anew."""
    model = BlipModel(replace(start.config, tasks=TASKS, answer_layers=answer_layers), dropout)
    model.initialise()
    given = teacher.state_dict()
    for name, tensor in dict(given).items():
        for ours, theirs in (("text.", "answer."), ("lm.", "answer_lm.")):
            if name.startswith(ours) and "cross_attention" not in name and "encoder_attention" not in name:
                given[theirs + name.removeprefix(ours)] = tensor
    own = model.state_dict()
    model.load_state_dict({name: given.get(name, tensor) for name, tensor in own.items()})
    model.requires_grad_(False)
    for part in (model.answer, model.answer_lm, model.itc.text, model.itm):
        part.requires_grad_(True)
    for block in model.text.blocks:
        block.encoder_attention.requires_grad_(True)
    return model


class Objective(nn.Module):
    """The losses of a batch: answers, and how far embeddings and matches are from the teacher's."""

    def __init__(self, model: BlipModel, teacher: BlipModel, arguments: argparse.Namespace) -> None:
        super().__init__()
        self.model, self.arguments = model, arguments
        self._teacher = [teacher]  # in a list: no submodule, neither trained nor saved

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Weighted losses by name."""
        model, teacher = self.model, self._teacher[0]
        text = model.config.text
        keys_values = model.text.keys_values(batch.states)
        questions, lengths = batch.questions
        read = model.text(questions, lengths, "encoder", keys_values)
        visible = (torch.arange(questions.shape[1]) < lengths[:, None])[:, None, None]
        tokens, answer_lengths = batch.answers
        hidden = model.answer(tokens, answer_lengths, "decoder", model.answer.keys_values(read), visible)
        real = torch.arange(1, tokens.shape[1]) < answer_lengths[:, None]
        logits = model.answer_lm(hidden[:, :-1][real], model.answer.tokens.weight).float()
        losses = {
            "answer": nn.functional.cross_entropy(logits, tokens[:, 1:][real], label_smoothing=self.arguments.smoothing)
        }
        if not len(batch.captioned):
            return losses

        captions, lengths = batch.captions
        with torch.no_grad():
            expected = teacher.embed_text(captions, lengths)
            images = teacher.embed_image(batch.states[batch.captioned])
        found = model.embed_text(captions, lengths)
        losses["embed"] = self.arguments.embed_weight * (1 - (found * expected).sum(-1)).mean()
        # Matching: each caption with its picture, a picture that is hard for it, and any other.
        with torch.no_grad():
            similarity = (expected @ images.T) / teacher.itc.temperature
            similarity.fill_diagonal_(float("-inf"))
            hard = torch.multinomial(similarity.float().softmax(-1), 1)[:, 0]
            any_other = torch.randperm(len(captions))
            pairs = torch.cat([batch.captioned, batch.captioned[hard], batch.captioned[any_other]])
            grounded = torch.cat([torch.full_like(captions[:, :1], text.enc_id), captions[:, 1:]], 1).repeat(3, 1)
            pair_lengths = lengths.repeat(3)
            chosen = [(key[pairs], value[pairs]) for key, value in keys_values]
            wanted = teacher.match(grounded, pair_lengths, chosen).float().softmax(-1)
        logits = model.match(grounded, pair_lengths, chosen).float()
        losses["match"] = self.arguments.match_weight * nn.functional.cross_entropy(logits, wanted)
        return losses


def batches(
    asked: Sequence[Asked], states: NDArray[np.float16], epoch: int, arguments: argparse.Namespace, tokenizer: Tokenizer
) -> Iterator[Batch]:
    """An epoch: some questions of each picture, one answer of each, drawn by its weight."""
    random = np.random.default_rng((arguments.seed, 7, epoch))
    order = random.permutation([place for place, each in enumerate(asked) if each.questions])
    whole = len(order) // arguments.batch * arguments.batch
    for chosen in order[:whole].reshape(-1, arguments.batch):
        questions, answers, captions, captioned = [], [], [], []
        for place, index in enumerate(chosen):
            each = asked[index]
            drawn = random.permutation(len(each.questions))
            for number in np.resize(drawn, arguments.questions_a_picture):
                questions.append(each.questions[number])
                weights = np.array([weight for _, weight in each.answers[number]])
                answers.append(each.answers[number][random.choice(len(weights), p=weights / weights.sum())][0])
            if each.captions:
                captions.append(each.captions[random.integers(len(each.captions))])
                captioned.append(place)
        views = random.integers(len(states), size=len(chosen))
        rows = [tokenizer.pad(part) for part in (questions, answers, captions)]
        ready = [(torch.from_numpy(row.tokens), torch.from_numpy(row.lengths)) for row in rows]
        pictures = torch.from_numpy(states[views, chosen].astype(np.float32))
        yield Batch(pictures, *ready, torch.tensor(captioned, dtype=torch.long))


def say(text: str) -> None:
    """A line of progress."""
    sys.stderr.write(f"[{time.strftime('%H:%M:%S')}] {text}\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--questions", action="append", required=True, type=Path, help="questions by picture; repeatable"
    )
    parser.add_argument("--shards", action="append", required=True, help="their pictures; repeatable")
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--start", type=Path, default=FOLDER, help="default: the bundled checkpoint")
    for name, default in {
        "epochs": 12, "batch": 48, "questions-a-picture": 8, "views": 5, "answer-layers": 2, "threads": 2, "seed": 0,
        "rate": 5e-4, "dropout": 0.1, "smoothing": 0.1, "average": 0.998, "embed-weight": 5.0, "match-weight": 0.5,
    }.items():  # fmt: skip
        parser.add_argument(f"--{name}", type=type(default), default=default)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
