"""transformers on torch, called as its documentation does, and once more with the picture encoded only once.

Variants: "sdpa" asks for fused attention, "compile" compiles the image encoder with torch's inductor.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray

from benchmarks.contenders import Array, NotSupported, Setup
from benchmarks.tasks import ANSWER_LENGTH, CAPTION_LENGTH, Kind, Task, Way

CLASSES: dict[Kind, str] = {
    "caption": "BlipForConditionalGeneration",
    "answer": "BlipForQuestionAnswering",
    "match": "BlipForImageTextRetrieval",
}
TYPES = {"f32": torch.float32, "bf16": torch.bfloat16}


def load(kind: Kind, folder: Path, setup: Setup) -> Transformers:
    """Raises NotSupported where transformers has no such attention for BLIP."""
    torch.set_num_threads(setup.threads)
    return Transformers(load_model(kind, folder, setup), setup.variant)


def load_model(kind: Kind, folder: Path, setup: Setup) -> Any:
    """The model of transformers, ready for inference."""
    attention = {"attn_implementation": "sdpa"} if setup.variant == "sdpa" else {}
    try:
        model = getattr(transformers, CLASSES[kind]).from_pretrained(folder, dtype=TYPES[setup.precision], **attention)
    except ValueError as error:
        if setup.variant != "sdpa":
            raise
        raise NotSupported(str(error).split(". ")[0]) from error
    model.eval()
    if setup.variant == "compile":
        model.vision_model = torch.compile(model.vision_model)
    return model


def generate_fixed(generate: Any, length: int, beams: int, **inputs: Any) -> Array:
    """Run a `generate` of transformers to exactly this length."""
    found = generate(**inputs, num_beams=beams, do_sample=False, min_length=length, max_length=length)
    return np.asarray(found.numpy())


class Transformers:
    """One model; see `Contender`."""

    def __init__(self, model: Any, variant: str) -> None:
        self._model, self._variant, self._type = model, variant, model.dtype

    def ways(self, task: Task) -> tuple[Way, ...]:
        """All of them for the plain model; what a variant changes shows in fewer."""
        if task.texts == 0:
            return ("batch",)
        if task.texts == 1:
            return ("calls",)
        return ("shared",) if self._variant else ("calls", "repeated", "shared")

    @torch.inference_mode()
    def encode(self, pixels: NDArray[np.float32]) -> Array:
        """Image states [pictures, tokens, width]."""
        return np.asarray(self._states(pixels).float().numpy())

    @torch.inference_mode()
    def caption(self, pixels: NDArray[np.float32], beams: int) -> Array:
        """Token ids [pictures, CAPTION_LENGTH]."""
        return generate_fixed(self._model.generate, CAPTION_LENGTH, beams, pixel_values=self._pixels(pixels))

    @torch.inference_mode()
    def answer(self, pixels: NDArray[np.float32], tokens: NDArray[np.int64], way: Way) -> Array:
        """Token ids [texts, ANSWER_LENGTH]."""
        images, questions = self._pixels(pixels), torch.from_numpy(tokens)
        if way == "shared":
            return self._answer_shared(self._states(pixels), questions)
        parts = questions.split(1 if way == "calls" else len(questions))
        return np.concatenate(
            [
                generate_fixed(
                    self._model.generate, ANSWER_LENGTH, 1, pixel_values=images.repeat(len(part), 1, 1, 1),
                    input_ids=part, attention_mask=torch.ones_like(part),
                )
                for part in parts
            ]
        )  # fmt: skip

    @torch.inference_mode()
    def match(self, pixels: NDArray[np.float32], tokens: NDArray[np.int64], way: Way) -> Array:
        """ITM logits [texts, 2]."""
        images, texts = self._pixels(pixels), torch.from_numpy(tokens)
        if way == "shared":
            return self._match_shared(self._states(pixels), texts)
        parts = texts.split(1 if way == "calls" else len(texts))
        scores = [
            self._model(
                pixel_values=images.repeat(len(part), 1, 1, 1), input_ids=part, attention_mask=torch.ones_like(part)
            ).itm_score
            for part in parts
        ]
        return np.asarray(torch.cat(scores).float().numpy())

    def seen(self) -> Mapping[str, str]:
        """torch's own view of the instruction set, which is not that of its oneDNN."""
        return {
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "torch's kernels": torch.backends.cpu.get_cpu_capability(),
        }

    def _answer_shared(self, states: Any, questions: Any) -> Array:
        read = self._read(states, questions)
        start = torch.full((len(questions), 1), self._model.decoder_start_token_id)
        text = self._model.config.text_config
        return generate_fixed(
            self._model.text_decoder.generate, ANSWER_LENGTH, 1, input_ids=start, eos_token_id=text.sep_token_id,
            pad_token_id=text.pad_token_id, encoder_hidden_states=read,
            encoder_attention_mask=torch.ones(read.shape[:2], dtype=torch.long),
        )  # fmt: skip

    def _match_shared(self, states: Any, texts: Any) -> Array:
        logits = self._model.itm_head(self._read(states, texts)[:, 0])
        return np.asarray(logits.float().numpy())

    def _read(self, states: Any, texts: Any) -> Any:
        """Texts with the one picture before them, [texts, length, width]."""
        shared = states.expand(len(texts), -1, -1)
        read = self._model.text_encoder(
            input_ids=texts, attention_mask=torch.ones_like(texts), encoder_hidden_states=shared,
            encoder_attention_mask=torch.ones(shared.shape[:2], dtype=torch.long),
        )  # fmt: skip
        return read.last_hidden_state

    def _states(self, pixels: NDArray[np.float32]) -> Any:
        return self._model.vision_model(pixel_values=self._pixels(pixels)).last_hidden_state

    def _pixels(self, pixels: NDArray[np.float32]) -> Any:
        return torch.from_numpy(pixels).to(self._type)
