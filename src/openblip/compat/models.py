"""The three BLIP models of transformers that the published checkpoints are for, run by the engines of openblip.

Knows the arguments of generate and forward, and how their arrays lie. Does not know pictures or text: that is the
processor's part.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from openblip.compat.arrays import like, refuse
from openblip.compat.base import Model, refuse_interpolation, taken, text_rows
from openblip.compat.generation import Search, SearchArguments
from openblip.config import Task
from openblip.engine import Floats, ImageStates, Ints
from openblip.errors import OptionError
from openblip.text import TokenBatch

_PICTURES, _ROWS = 8, 128  # of one engine call


class _Generating(Model, ABC):
    """A model that writes."""

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        """Refused: logits and losses are for training."""
        raise OptionError(f"{type(self).__name__} gives no logits or losses in openblip.compat: call generate")

    def _run(self, pixels: Floats, arguments: dict[str, Any], texts: TokenBatch | None) -> Ints:
        """Rows of ids [texts, longest]; texts: ids as a processor gives them, one row a picture, or one of either with
        many of the other."""
        search = Search(SearchArguments.read(arguments))
        rows = len(pixels) if texts is None else len(texts.lengths)
        together = max(1, min(_ROWS if len(pixels) == 1 else _PICTURES, _ROWS // search.arguments.rows))
        for states, picture, text in self.encoded(pixels, rows, together):
            self._write(search, states, picture, None if texts is None else taken(texts, text))
        return search.padded(self.sizes.text.pad_id, self.sizes.text.sep_id)

    @abstractmethod
    def _write(self, search: Search, states: ImageStates, picture: Ints, texts: TokenBatch | None) -> None:
        """Add the rows of some pairs: their pictures, which of these each is about, and their texts."""


class BlipForConditionalGeneration(_Generating):
    """Captions: `generate(pixel_values, input_ids)`, where the ids are what captions start with."""

    task: ClassVar[Task] = "caption"

    def generate(
        self,
        pixel_values: Any,
        input_ids: Any = None,
        attention_mask: Any = None,
        interpolate_pos_encoding: bool = False,
        **arguments: Any,
    ) -> Any:
        """Ids [texts, longest]: [DEC], the prompt, the caption and [SEP], then padding."""
        refuse_interpolation(interpolate_pos_encoding)
        texts = None if input_ids is None else text_rows(input_ids, attention_mask, self.sizes.text)
        return like(self._run(self.pixels(pixel_values), arguments, texts), pixel_values)

    def _write(self, search: Search, states: ImageStates, picture: Ints, texts: TokenBatch | None) -> None:
        dec_id = self.sizes.text.dec_id
        if texts is None:
            prompts = [[dec_id] for _ in picture]
        else:
            # The processor has written [CLS] prompt [SEP].
            rows = zip(texts.tokens.tolist(), texts.lengths.tolist(), strict=True)
            prompts = [[dec_id, *row[1 : length - 1]] for row, length in rows]
        search.run(self.engine, states.take(picture), prompts)


class BlipForQuestionAnswering(_Generating):
    """Answers: `generate(input_ids, pixel_values)`, where the ids are the questions."""

    task: ClassVar[Task] = "answer"

    def generate(
        self,
        input_ids: Any,
        pixel_values: Any,
        attention_mask: Any = None,
        interpolate_pos_encoding: bool = False,
        **arguments: Any,
    ) -> Any:
        """Ids [texts, longest]: [DEC], the answer and [SEP], then padding."""
        refuse_interpolation(interpolate_pos_encoding)
        texts = text_rows(input_ids, attention_mask, self.sizes.text)
        return like(self._run(self.pixels(pixel_values), arguments, texts), pixel_values)

    def _write(self, search: Search, states: ImageStates, picture: Ints, texts: TokenBatch | None) -> None:
        assert texts is not None
        read = self.engine.encode_questions(states, picture, texts.tokens, texts.lengths)
        search.run(self.engine, read, [[self.sizes.text.dec_id] for _ in picture])


@dataclass(frozen=True, slots=True)
class ImageTextMatchingOutput:
    """itm_score: logits [pairs, 2] of the matching head, or cosines [pictures, texts] of the embeddings. `[0]` is it,
    too."""

    itm_score: Any

    def __getitem__(self, key: int | str) -> Any:
        return getattr(self, key) if isinstance(key, str) else self.to_tuple()[key]

    def to_tuple(self) -> tuple[Any, ...]:
        """All there is."""
        return (self.itm_score,)


class BlipForImageTextRetrieval(Model):
    """How well texts describe pictures: `model(input_ids, pixel_values)`."""

    task: ClassVar[Task] = "match"

    def __call__(
        self,
        input_ids: Any,
        pixel_values: Any,
        use_itm_head: bool | None = True,
        attention_mask: Any = None,
        interpolate_pos_encoding: bool = False,
        **other: Any,
    ) -> ImageTextMatchingOutput:
        """Logits of pairs in order, or of one picture or text with many; without the head, cosines of all with all."""
        refuse_interpolation(interpolate_pos_encoding)
        refuse("BlipForImageTextRetrieval", {name: other[name] for name in other if name != "return_dict"})
        texts, pixels = text_rows(input_ids, attention_mask, self.sizes.text), self.pixels(pixel_values)
        scores = self._logits(pixels, texts) if use_itm_head else self._cosines(pixels, texts)
        return ImageTextMatchingOutput(like(scores, pixel_values))

    forward = __call__

    def _logits(self, pixels: Floats, texts: TokenBatch) -> Floats:
        parts = [np.zeros((0, 2), np.float32)]
        count = len(texts.lengths)
        for states, picture, text in self.encoded(pixels, count, count if len(pixels) == 1 else _PICTURES):
            rows = taken(texts, text)
            parts.append(self.engine.match(states, picture, rows.tokens, rows.lengths))
        return np.concatenate(parts)

    def _cosines(self, pixels: Floats, texts: TokenBatch) -> Floats:
        parts = [
            self.engine.embed_images(self.engine.encode_images(pixels[start : start + _PICTURES]))
            for start in range(0, len(pixels), _PICTURES)
        ]
        return np.asarray(np.concatenate(parts) @ self.engine.embed_texts(texts.tokens, texts.lengths).T)
