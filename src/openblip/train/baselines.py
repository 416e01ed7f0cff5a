"""The systems that BLIP is compared with: Show and Tell (Vinyals et al. 2015), a convolutional network and an LSTM that
writes captions, and a dual encoder as CLIP is one (Radford et al. 2021), which finds pictures and texts.

Both take BLIP's backbone and are trained by the same loop on the same batches and cached features; docs/comparison.md
says what is equal and what is not. Nothing else depends on this file.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from openblip.checkpoint import VOCABULARY
from openblip.config import ModelConfig
from openblip.engine import Floats, ImageStates, Ints, QuestionStates, Relevance
from openblip.engines.torch.mobilenet import MobileNetV2
from openblip.engines.torch.model import BlipModel, VisionEncoder
from openblip.errors import CheckpointError, ModelError, TrainingError
from openblip.pipeline import Blip
from openblip.text import Tokenizer, write_vocabulary
from openblip.train.config import ObjectiveConfig, PretrainConfig
from openblip.train.loop import Trainer
from openblip.train.losses import Losses
from openblip.train.objectives import PretrainBatch
from openblip.train.optimiser import make_optimiser, rate_at
from openblip.train.ranks import gather, gather_with_gradient
from openblip.weights import read_tensors, write_tensors

WIDTH = 512  # of Show and Tell's embeddings and its LSTM, as in the paper
CONFIG, WEIGHTS = "show_and_tell.json", "show_and_tell.safetensors"

LstmState = tuple[Tensor, Tensor]
"""Hidden and cell state, each [1, rows, width]."""


class Backbone(nn.Module):
    """The convolutions alone, under the name that they have in BLIP, by which they learn more slowly there too."""

    def __init__(self, backbone: MobileNetV2) -> None:
        super().__init__()
        self.backbone = backbone


class ShowAndTell(nn.Module):
    """The picture is the LSTM's first input, and never seen again; then come [DEC] and the words."""

    def __init__(self, config: ModelConfig, backbone: MobileNetV2, dropout: float = 0.0, width: int = WIDTH) -> None:
        super().__init__()
        self.config, self.width = replace(config, tasks=("caption",)), width
        self.vision = Backbone(backbone)
        self.image = nn.Linear(1280, width)
        self.tokens = nn.Embedding(config.text.vocab_size, width)
        self.lstm = nn.LSTM(width, width, batch_first=True)
        self.words = nn.Linear(width, config.text.vocab_size)
        self.dropout = nn.Dropout(dropout)

    def look(self, pixels: Tensor, start_layer: int = 0) -> Tensor:
        """Pixels [images, 3, size, size], or with `start_layer` the input of that backbone layer -> [images, width],
        the mean over the last map, projected."""
        return cast(Tensor, self.image(self.vision.backbone.run(pixels, start_layer).mean(dim=(2, 3))))

    def start(self, looked: Tensor) -> LstmState:
        """The state after the picture [rows, width]."""
        return self._run(looked[:, None], None)[1]

    def forward(self, tokens: Tensor, state: LstmState) -> tuple[Tensor, LstmState]:
        """tokens: [rows, length]. Returns logits of each next token [rows, length, vocabulary], and the state behind
        the last."""
        hidden, state = self._run(self.tokens(tokens), state)
        return self.words(self.dropout(hidden)), state

    def _run(self, inputs: Tensor, state: LstmState | None) -> tuple[Tensor, LstmState]:
        # In float32: torch's LSTM has no bfloat16 of its own on every processor.
        with torch.autocast(inputs.device.type, enabled=False):
            hidden, state = self.lstm(self.dropout(inputs).float(), state)
            return hidden, cast(LstmState, state)


class _Averaged(nn.Module):
    """What the loop asks of an objective: the model, and its average, which is evaluated and saved."""

    queue_open = True

    def __init__(self, model: nn.Module, config: ObjectiveConfig) -> None:
        super().__init__()
        self.config, self.averaged = config, copy.deepcopy(model).eval().requires_grad_(False)

    def average(self, model: nn.Module, decay: float) -> None:
        """Move the average a step towards the model."""
        averaged: list[Tensor] = list(self.averaged.parameters())
        current: list[Tensor] = list(model.parameters())
        with torch.no_grad():
            torch._foreach_lerp_(averaged, current, 1 - decay)


class CaptionObjective(_Averaged):
    """Show and Tell's loss: the cross-entropy of each next token, label smoothing as BLIP's arm has it."""

    def __init__(self, model: ShowAndTell, config: ObjectiveConfig) -> None:
        super().__init__(model, config)
        self.model = model

    def forward(self, batch: PretrainBatch, alpha: float, noise_seed: int) -> Losses:
        """The last two are for BLIP's objectives."""
        tokens, lengths = batch.tokens.clone(), batch.lengths
        tokens[:, 0] = self.model.config.text.dec_id
        looked = self.model.look(batch.pixels, batch.start_layer)
        state = self.model.start(looked.repeat_interleave(len(tokens) // len(looked), dim=0))
        logits, _ = self.model(tokens[:, :-1], state)
        real = torch.arange(1, tokens.shape[1], device=tokens.device) < lengths[:, None]
        loss = F.cross_entropy(
            logits[real].float(), tokens[:, 1:][real], label_smoothing=self.config.label_smoothing, reduction="sum"
        )
        counts = gather(real.sum().reshape(1))
        loss = loss * len(counts) / counts.sum()
        return Losses(loss, {"lm": loss.detach()})

    def update_average(self, decay: float) -> None:
        """Move the averaged model a step towards the model."""
        self.average(self.model, decay)


class ContrastiveObjective(_Averaged):
    """CLIP's loss: each picture finds its texts among the batch's, and each text its picture; no momentum, no queue."""

    def __init__(self, model: BlipModel, config: ObjectiveConfig) -> None:
        super().__init__(model, config)
        self.model = model

    def forward(self, batch: PretrainBatch, alpha: float, noise_seed: int) -> Losses:
        """The last two are for BLIP's objectives."""
        model, tokens = self.model, batch.tokens.clone()
        tokens[:, 0] = model.config.text.cls_id
        images = model.embed_image(model.vision(batch.pixels, batch.start_layer))
        texts = model.embed_text(tokens, batch.lengths)
        ids = batch.ids.repeat_interleave(len(texts) // len(images))
        with torch.autocast(images.device.type, enabled=False):
            to_texts = images @ gather_with_gradient(texts).T / model.itc.temperature
            to_images = texts @ gather_with_gradient(images).T / model.itc.temperature
            loss = (
                F.cross_entropy(to_texts, _shared(batch.ids, gather(ids)))
                + F.cross_entropy(to_images, _shared(ids, gather(batch.ids)))
            ) / 2
        return Losses(loss, {"itc": loss.detach()})

    def update_average(self, decay: float) -> None:
        """Move the averaged model a step towards the model."""
        self.average(self.model, decay)


def _shared(ids: Tensor, candidates: Tensor) -> Tensor:
    """Targets [rows, candidates]: those of the same picture share the whole."""
    same = (ids[:, None] == candidates).float()
    return same / same.sum(dim=-1, keepdim=True)


# ------------------------------------------------------------------------------------------------------------- training


class DualEncoderTrainer(Trainer):
    """A pre-training run with ITC alone. Its checkpoint is one of ours that embeds and does nothing else."""

    def __init__(self, config: PretrainConfig) -> None:
        super().__init__(config)
        whole, optimiser = self.objective.model, config.optimiser
        self.model_config = replace(self.model_config, tasks=("embed",))
        model = BlipModel(self.model_config, optimiser.dropout, optimiser.drop_path, optimiser.token_dropout)
        weights = whole.state_dict()
        model.load_state_dict({name: weights[name] for name in model.state_dict()})  # it starts as BLIP does
        for layer in range(optimiser.frozen_layers):
            model.vision.backbone[str(layer)].requires_grad_(False)
        model.vision = model.vision.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        objective = ContrastiveObjective(model.to(self.device), config.objective).to(self.device)
        self.objective = objective  # type: ignore[assignment]
        self.optimiser = make_optimiser(model, optimiser)


class ShowAndTellTrainer(Trainer):
    """A pre-training run with Show and Tell in the place of BLIP; it cannot be resumed."""

    def __init__(self, config: PretrainConfig) -> None:
        if config.model.vision.kind != "mobilenet_v2":
            raise TrainingError(
                f"model.vision.kind = {config.model.vision.kind!r} has no feature map: Show and Tell needs mobilenet_v2"
            )
        super().__init__(config)
        backbone = self.objective.model.vision.backbone  # its frozen layers stay so
        model = ShowAndTell(self.model_config, backbone, config.optimiser.dropout).to(self.device)
        self.captioner = CaptionObjective(model, config.objective).to(self.device)
        self.objective = self.captioner  # type: ignore[assignment]
        self.optimiser = make_optimiser(model, config.optimiser)  # type: ignore[arg-type]

    def _step(self) -> None:
        """As the loop's, which also keeps the temperature of a contrast within its bounds."""
        config, model = self.config.optimiser, self.captioner.model
        scale = rate_at(self.progress.step, config, self.steps_an_epoch * config.epochs)
        for group in self.optimiser.param_groups:
            group["lr"] = group["peak"] * scale
        self._check_finite("gradient", nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm))
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        early = (1 + self.progress.step) / (10 + self.progress.step)
        self.captioner.update_average(min(self.config.objective.momentum, early))
        self.progress.step += 1

    def save(self, *, checkpoint: bool = True) -> None:
        """Write the averaged model; nothing that a run could be resumed from."""
        if self.rank == 0 and checkpoint:
            save_show_and_tell(self.output / "checkpoint", cast(ShowAndTell, self.captioner.averaged), self.vocabulary)


def save_show_and_tell(folder: Path, model: ShowAndTell, vocabulary: Path) -> None:
    """Write a folder that `load_show_and_tell` reads."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: value.float().cpu().contiguous().numpy() for name, value in model.state_dict().items()}
    write_tensors(folder / WEIGHTS, tensors, bfloat16=False)
    write_vocabulary(vocabulary, folder / VOCABULARY)
    values = {"width": model.width, "model": model.config.to_dict()}
    (folder / CONFIG).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def load_show_and_tell(folder: Path) -> Blip:
    """A trained Show and Tell behind the same calls as BLIP: `caption` and `caption_each`, and thus
    `evaluate_captions`. Raises CheckpointError on a folder that does not hold one."""
    try:
        values = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        config = ModelConfig.from_dict(values["model"])
        backbone = VisionEncoder(config.vision, 0.0, 0.0).backbone
        model = ShowAndTell(config, backbone, width=int(values["width"]))
        tensors: Mapping[str, NDArray[np.float32]] = read_tensors(folder / WEIGHTS)
        model.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in tensors.items()})
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{folder} holds no Show and Tell ({reason}): train it anew") from error
    return Blip(ShowAndTellEngine(model), Tokenizer.from_vocabulary(folder / VOCABULARY), "show-and-tell")


# -------------------------------------------------------------------------------------------------------------- running


@dataclass(frozen=True)
class _Looked:
    """Pictures as the LSTM takes them, [pictures, width]."""

    vectors: Tensor

    def __len__(self) -> int:
        return len(self.vectors)

    def take(self, indices: Ints) -> _Looked:
        """Those of the chosen pictures, in that order."""
        return _Looked(self.vectors[torch.as_tensor(indices)])

    @property
    def nbytes(self) -> int:
        """Of the vectors."""
        return self.vectors.nbytes

    def join(self, others: Sequence[ImageStates]) -> _Looked:
        """These and then the others'."""
        return _Looked(torch.cat([self.vectors, *(each.vectors for each in others if isinstance(each, _Looked))]))


class ShowAndTellEngine:
    """Show and Tell behind the Engine protocol, so that the same search writes its captions. It has no text encoder."""

    precision, lanes = "f32", 1

    def __init__(self, model: ShowAndTell) -> None:
        self.model, self.config = model.eval(), model.config

    @torch.inference_mode()
    def encode_images(self, pixels: Floats) -> _Looked:
        """As `Engine.encode_images`."""
        return _Looked(self.model.look(torch.from_numpy(pixels)))

    def decode(
        self, states: ImageStates | QuestionStates, prompts: Ints, lengths: Ints, beams: int, max_length: int
    ) -> tuple[_LstmDecode, Floats]:
        """As `Engine.decode`."""
        decode = _LstmDecode(self.model, cast(_Looked, states).vectors, beams)
        return decode, decode.feed(prompts, lengths)

    def embed_images(self, images: ImageStates) -> Floats:
        """Raises ModelError, as all that follows."""
        raise ModelError("Show and Tell only writes captions: take BLIP, or the dual encoder, to embed")

    def embed_texts(self, tokens: Ints, lengths: Ints) -> Floats:
        """Raises ModelError."""
        raise ModelError("Show and Tell only writes captions: take BLIP, or the dual encoder, to embed")

    def match(self, images: ImageStates, picture: Ints, tokens: Ints, lengths: Ints) -> Floats:
        """Raises ModelError."""
        raise ModelError("Show and Tell only writes captions: take BLIP to match")

    def relevance(self, images: ImageStates, picture: Ints, tokens: Ints, lengths: Ints, layer: int) -> Relevance:
        """Raises ModelError."""
        raise ModelError("Show and Tell only writes captions: take BLIP to match")

    def encode_questions(self, images: ImageStates, picture: Ints, tokens: Ints, lengths: Ints) -> QuestionStates:
        """Raises ModelError."""
        raise ModelError("Show and Tell only writes captions: take BLIP to answer")


class _LstmDecode:
    """One running decode; see `engine.Decode`. state: of every row, [1, pictures * beams, width] each."""

    def __init__(self, model: ShowAndTell, vectors: Tensor, beams: int) -> None:
        self._model, self._beams, self._pictures = model, beams, len(vectors)
        with torch.inference_mode():
            self._state = model.start(vectors)

    @torch.inference_mode()
    def feed(self, prompts: Ints, lengths: Ints) -> Floats:
        """The logits behind each prompt, [pictures, vocabulary]; every beam then goes on from there."""
        logits = np.empty((self._pictures, self._model.config.text.vocab_size), np.float32)
        for place in range(prompts.shape[1]):
            # Shorter prompts have ended: their state stays.
            open_rows = torch.from_numpy(np.flatnonzero(place < lengths))
            state = (self._state[0][:, open_rows], self._state[1][:, open_rows])
            found, after = self._model(torch.from_numpy(prompts[open_rows.numpy(), place : place + 1]), state)
            for whole, part in zip(self._state, after, strict=True):
                whole[:, open_rows] = part
            logits[open_rows.numpy()] = found[:, 0].numpy()
        self._choose(np.repeat(np.arange(self._pictures), self._beams))
        return logits

    @torch.inference_mode()
    def step(self, tokens: Ints, parents: Ints) -> Floats:
        """tokens, parents: [pictures, beams]. Returns logits [pictures, beams, vocabulary]."""
        self._choose((np.arange(self._pictures)[:, None] * self._beams + parents).reshape(-1))
        logits, self._state = self._model(torch.from_numpy(tokens.reshape(-1, 1)), self._state)
        return np.asarray(logits.reshape(*tokens.shape, -1).numpy(), np.float32)

    def keep(self, pictures: Ints) -> None:
        """Drop all pictures but these (indices into the present batch)."""
        self._choose((pictures[:, None] * self._beams + np.arange(self._beams)).reshape(-1))
        self._pictures = len(pictures)

    def _choose(self, rows: Ints) -> None:
        chosen = torch.from_numpy(np.ascontiguousarray(rows))
        self._state = (self._state[0][:, chosen], self._state[1][:, chosen])
