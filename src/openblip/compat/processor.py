"""BlipProcessor: pictures and texts to arrays, and ids to text, as transformers' processor of the same folder does it.

Knows its arguments, and the files preprocessor_config.json and processor_config.json. Does not know models.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from PIL import Image

from openblip.checkpoint import find_vocabulary, read_preprocessor
from openblip.compat.arrays import BatchFeature, as_kind, as_numpy, checked_kind, is_tensor, refuse
from openblip.config import CLIP_MEAN, CLIP_STD, VisionConfig
from openblip.errors import CheckpointError, ImageError, InputError, OptionError, TextError
from openblip.hub import find_model
from openblip.image import load_image, preprocess_batch
from openblip.text import Tokenizer

_SIDE = 384  # where the folder does not say, as in transformers
_MAX_TOKENS = 512  # of every published BLIP
# What the published folders say and what is done here; another value is an error.
_DONE: dict[str, tuple[Any, ...]] = {
    "do_resize": (True,),
    "do_rescale": (True,),
    "do_normalize": (True,),
    "do_convert_rgb": (True, None),
    "do_center_crop": (False, None),
    "do_pad": (False, None),
    "resample": (3,),
}


class BlipImageProcessor:
    """Pictures to pixels: a square of `side` by bicubic resizing, normalised."""

    def __init__(self, side: int = _SIDE, mean: Sequence[float] = CLIP_MEAN, std: Sequence[float] = CLIP_STD) -> None:
        colours = [(float(values[0]), float(values[1]), float(values[2])) for values in (mean, std)]
        self._vision = VisionConfig(image_size=side, mean=colours[0], std=colours[1])

    @classmethod
    def from_settings(cls, settings: dict[str, Any], where: str) -> Self:
        """Of what preprocessor_config.json holds. Raises CheckpointError on what is done otherwise here."""
        for name, allowed in _DONE.items():
            if settings.get(name, allowed[0]) not in allowed:
                raise CheckpointError(f"{where} sets {name} to {settings[name]!r}: only {allowed[0]!r} is offered")
        if abs(float(settings.get("rescale_factor", 1 / 255)) * 255 - 1) > 1e-6:
            raise CheckpointError(
                f"{where} sets rescale_factor to {settings['rescale_factor']!r}: only 1/255 is offered"
            )
        size = settings.get("size", _SIDE)
        sides = (size.get("height"), size.get("width")) if isinstance(size, dict) else (size, size)
        if not isinstance(sides[0], int) or sides[0] != sides[1] or sides[0] < 1:
            raise CheckpointError(f"{where} sets size to {size!r}: only a square, by height and width, is offered")
        return cls(sides[0], settings.get("image_mean", CLIP_MEAN), settings.get("image_std", CLIP_STD))

    def __call__(self, images: Any, return_tensors: Any = None, **other: Any) -> BatchFeature:
        """Pixel values [pictures, 3, side, side]; images: a picture or a list of them."""
        kind = checked_kind(return_tensors)
        refuse("BlipImageProcessor", other)
        sources = list(images) if isinstance(images, (list, tuple)) else [images]
        if not sources:
            raise InputError("images is an empty list: give at least one picture")
        pixels = preprocess_batch([_as_rgb(source) for source in sources], self._vision)
        return BatchFeature(pixel_values=as_kind(pixels, kind) if kind else list(pixels))


class BlipTokenizer:
    """Texts to ids, `[CLS] text [SEP]`, and back."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.pad_token_id, self.cls_token_id, self.sep_token_id = tokenizer.pad_id, tokenizer.cls_id, tokenizer.sep_id
        self.bos_token_id, self.enc_token_id = tokenizer.dec_id, tokenizer.enc_id

    def __len__(self) -> int:
        return self._tokenizer.vocab_size

    def __call__(
        self,
        text: str | Sequence[str],
        padding: bool | str | None = False,
        truncation: bool | str | None = None,
        max_length: int | None = None,
        return_tensors: Any = None,
        **other: Any,
    ) -> BatchFeature:
        """Ids and their mask [texts, tokens]; with `padding` as long as the longest, or as max_length."""
        kind = checked_kind(return_tensors)
        refuse("BlipTokenizer", other)
        if padding not in (True, False, None, "longest", "max_length", "do_not_pad"):
            raise OptionError(f"padding={padding!r} is unknown: give True, False, 'longest' or 'max_length'")
        texts = [text] if isinstance(text, str) else list(text)
        pads = padding not in (False, None, "do_not_pad")
        cut = bool(truncation) and truncation != "do_not_truncate"
        if truncation is None and max_length is not None and not pads:
            cut = True  # so in transformers, too
        longest = max_length or _MAX_TOKENS
        rows = self._rows(texts, longest if cut else None)
        masks = [[1] * len(row) for row in rows]
        if pads:
            width = longest if padding == "max_length" else max((len(row) for row in rows), default=0)
            masks = [mask + [0] * (width - len(mask)) for mask in masks]
            rows = [row + [self.pad_token_id] * (width - len(row)) for row in rows]
        if kind is None:
            one = isinstance(text, str)
            return BatchFeature(input_ids=rows[0] if one else rows, attention_mask=masks[0] if one else masks)
        if len({len(row) for row in rows}) > 1:
            raise InputError("texts of unequal length make no array: give padding=True")
        arrays = {"input_ids": np.array(rows, np.int64), "attention_mask": np.array(masks, np.int64)}
        return BatchFeature({name: as_kind(array, kind) for name, array in arrays.items()})

    def decode(self, token_ids: Any, skip_special_tokens: bool = False, **other: Any) -> str:
        """The text of one row of ids."""
        refuse("decode", other)
        ids = as_numpy(token_ids, "token_ids", np.int64)
        if ids.ndim > 1:
            raise InputError(f"decode takes one row of ids, not {list(ids.shape)}: use batch_decode")
        return self._tokenizer.decode(ids.reshape(-1).tolist(), special_tokens=not skip_special_tokens)

    def batch_decode(self, sequences: Iterable[Any], skip_special_tokens: bool = False, **other: Any) -> list[str]:
        """The text of each row of ids."""
        refuse("batch_decode", other)
        return [self.decode(row, skip_special_tokens) for row in sequences]

    def _rows(self, texts: Sequence[str], longest: int | None) -> list[list[int]]:
        for text in texts:
            if not isinstance(text, str):
                raise TextError(f"a text must be a string, not {type(text).__name__} ({text!r})")
        batch = self._tokenizer.encode_unimodal(texts, sys.maxsize if longest is None else longest)
        return [row[:length].tolist() for row, length in zip(batch.tokens, batch.lengths, strict=True)]


class BlipProcessor:
    """Pictures and texts to the inputs of a model, and its ids to text."""

    def __init__(self, image_processor: BlipImageProcessor, tokenizer: BlipTokenizer) -> None:
        self.image_processor, self.tokenizer = image_processor, tokenizer

    @classmethod
    def from_pretrained(cls, name_or_folder: str | os.PathLike[str], *, use_fast: bool = True, **other: Any) -> Self:
        """Of a model's folder or name. use_fast: has no effect. Raises ModelNotFound, CheckpointError, OptionError."""
        refuse("BlipProcessor.from_pretrained", other)
        folder = find_model(name_or_folder).path
        if folder.is_file():
            raise CheckpointError(
                f"{folder} is one file, where openblip.compat reads folders: use openblip.Blip for it"
            )
        pictures = BlipImageProcessor.from_settings(read_preprocessor(folder), str(folder))
        # What starts a text is the same for matching, questions and prompts: generate puts [DEC] in its place.
        return cls(pictures, BlipTokenizer(Tokenizer.from_vocabulary(find_vocabulary(folder), "transformers")))

    def __call__(
        self, images: Any = None, text: str | Sequence[str] | None = None, return_tensors: Any = None, **texts: Any
    ) -> BatchFeature:
        """pixel_values of the pictures and input_ids and attention_mask of the texts, whichever are given. texts:
        padding, truncation and max_length."""
        if images is None and text is None:
            raise InputError("give images, text or both")
        refuse("BlipProcessor", {name: texts[name] for name in texts.keys() - {"padding", "truncation", "max_length"}})
        inputs = BatchFeature()
        if images is not None:
            inputs.update(self.image_processor(images, return_tensors))
        if text is not None:
            inputs.update(self.tokenizer(text, return_tensors=return_tensors, **texts))
        return inputs

    def decode(self, token_ids: Any, skip_special_tokens: bool = False, **other: Any) -> str:
        """The text of one row of ids."""
        return self.tokenizer.decode(token_ids, skip_special_tokens, **other)

    def batch_decode(self, sequences: Iterable[Any], skip_special_tokens: bool = False, **other: Any) -> list[str]:
        """The text of each row of ids."""
        return self.tokenizer.batch_decode(sequences, skip_special_tokens, **other)


def _as_rgb(source: Any) -> Image.Image:
    """As transformers does it: what a PIL image or an array holds is taken as it lies, a file is turned upright."""
    if isinstance(source, Image.Image):
        if not source.has_transparency_data:
            return source.convert("RGB")
        layer = source.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    if is_tensor(source) or isinstance(source, np.ndarray):
        array = source.detach().cpu().numpy() if is_tensor(source) else source
        if array.dtype != np.uint8:
            raise ImageError(f"an array of {array.dtype} is not offered as a picture: give uint8, or a PIL image")
        if array.ndim == 3 and array.shape[0] in (1, 3):
            array = array.transpose(1, 2, 0)
        return load_image(array)
    return load_image(Path(source) if isinstance(source, os.PathLike) else source)
