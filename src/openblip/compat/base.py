"""What the models have in common: from_pretrained, devices and number types, and the shape of their inputs.

Knows engines and checkpoints. Does not know what is asked of a model.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from openblip.checkpoint import open_checkpoint
from openblip.compat.arrays import as_numpy, device_and_dtype, has_cuda, number_type, refuse
from openblip.config import ModelConfig, Task, TextConfig
from openblip.engine import Engine, Floats, ImageStates, Ints
from openblip.errors import InputError, OptionError
from openblip.hub import find_model
from openblip.parts import EngineName, LoadOptions, load_parts
from openblip.text import TokenBatch

_WITHOUT_EFFECT = ("low_cpu_mem_usage", "use_safetensors", "local_files_only")


class Model:
    """What the three have in common: loading, moving, and the shape of their inputs."""

    task: ClassVar[Task]

    def __init__(self, folder: Path, sizes: ModelConfig, options: LoadOptions) -> None:
        """options: engine is that of the CPU; on another device torch's runs the model."""
        sizes.require(self.task)
        self.sizes = sizes
        self._folder, self._options = folder, options
        # Started at first use, so that .to("cuda") need not load it twice.
        self._running: Engine | None = None

    @classmethod
    def from_pretrained(
        cls,
        name_or_folder: str | os.PathLike[str],
        *,
        torch_dtype: Any = None,
        dtype: Any = None,
        device_map: Any = None,
        engine: EngineName = "openvino",
        precision: str | None = None,
        threads: int | None = None,
        image_size: int | None = None,
        **other: Any,
    ) -> Self:
        """Load a model by name or folder, as `openblip.Blip.load` does.

        dtype, or torch_dtype: float32, the default, computes in that; float16 and bfloat16 let the engine choose, which
        takes bfloat16 where the processor has it. device_map: "cpu", "cuda" or "auto". engine, precision, threads,
        image_size: as in `openblip.Blip.load`, and before dtype.

        Raises ModelNotFound, CheckpointError, ModelError, OptionError.
        """
        refuse(f"{cls.__name__}.from_pretrained", {name: other[name] for name in other if name not in _WITHOUT_EFFECT})
        wanted = torch_dtype if dtype is None else dtype
        kind = "float32" if wanted in (None, "auto") else number_type(wanted)
        options = LoadOptions(engine, precision or _precision(kind), _device(device_map), threads, image_size)
        # Absolute: it is loaded later, when a bare name would mean another model.
        folder = find_model(name_or_folder).path.absolute()
        return cls(folder, open_checkpoint(folder, image_size=image_size).config, options)

    @property
    def device(self) -> str:
        """Where the model runs, for `inputs.to(model.device)`."""
        return self._options.device or "cpu"

    @property
    def positions(self) -> int:
        """The longest text that the model can hold, in tokens."""
        return self.sizes.text.max_positions

    def to(self, *places: Any, device: Any = None, dtype: Any = None) -> Self:
        """Move to a device, "cuda" meaning torch's engine; or to a number type, as in `from_pretrained`."""
        where, kind = device_and_dtype(places, device, dtype)
        options = replace(
            self._options,
            precision=self._options.precision if kind is None else _precision(kind),
            device=self.device if where is None else _device(where),
        )
        if options != self._options:
            self._options, self._running = options, None
        return self

    def cuda(self, device: Any = None) -> Self:
        """To the (first) GPU."""
        return self.to("cuda" if device is None else device)

    def cpu(self) -> Self:
        """To the CPU."""
        return self.to("cpu")

    def half(self) -> Self:
        """As `to("float16")`."""
        return self.to("float16")

    def bfloat16(self) -> Self:
        """As `to("bfloat16")`."""
        return self.to("bfloat16")

    def float(self) -> Self:
        """As `to("float32")`."""
        return self.to("float32")

    def eval(self) -> Self:
        """Nothing: a model here never trains."""
        return self

    def train(self, mode: bool = True) -> Self:
        """Refused: a model here never trains."""
        if mode:
            raise OptionError("a model of openblip.compat cannot be trained: use transformers, or openblip train")
        return self

    @property
    def engine(self) -> Engine:
        """What runs the model, started when it is first asked for."""
        if self._running is None:
            engine = self._options.engine if self.device == "cpu" else "torch"
            self._running = load_parts(self._folder, replace(self._options, engine=engine)).only("engine").engine
        return self._running

    def encoded(self, pixels: Floats, texts: int, together: int) -> Iterator[tuple[ImageStates, Ints, Ints]]:
        """Pairs in order, or one picture or text with many of the other, some at a time: encoded pictures, which of
        these each pair is about, and its text. Each picture is encoded once."""
        pictures, pairs = len(pixels), max(len(pixels), texts)
        if pictures != texts and 1 not in (pictures, texts):
            raise InputError(
                f"{texts} texts do not go with {pictures} pictures: give as many of each, or one of either"
            )
        only = self.engine.encode_images(pixels) if pictures == 1 else None
        for start in range(0, pairs, together):
            rows = np.arange(start, min(start + together, pairs))
            states = self.engine.encode_images(pixels[rows]) if only is None else only
            yield (
                states,
                np.zeros_like(rows) if only is not None else rows - start,
                rows if texts > 1 or pairs == 1 else np.zeros_like(rows),
            )

    def pixels(self, pixel_values: Any) -> Floats:
        """pixel_values as float32 [pictures, 3, side, side]. Raises InputError."""
        pixels = as_numpy(pixel_values, "pixel_values", np.float32)
        side = self.sizes.vision.image_size
        if pixels.ndim != 4 or pixels.shape[1:] != (3, side, side):
            raise InputError(
                f"pixel_values are {list(pixels.shape)}, where this model takes [pictures, 3, {side}, {side}]: use its "
                "own processor, or from_pretrained(..., image_size=)"
            )
        return pixels


def _precision(number_type: str) -> str | None:
    return "f32" if number_type == "float32" else None


def _device(wanted: Any) -> str:
    """ "cpu", or "cuda" and its like."""
    if isinstance(wanted, dict) and set(wanted) == {""}:
        wanted = wanted[""]
    if wanted == "auto":
        return "cuda" if has_cuda() else "cpu"
    if isinstance(wanted, dict):
        refuse("from_pretrained", {"device_map": wanted}, "give 'cpu', 'cuda' or 'auto'")
    [device, _] = device_and_dtype((), wanted, None)
    return device or "cpu"


def refuse_interpolation(interpolate_pos_encoding: bool) -> None:
    """Raise OptionError where a call wants positions for another size than the model was loaded for."""
    if interpolate_pos_encoding:
        refuse("the model", {"interpolate_pos_encoding": True}, "use from_pretrained(..., image_size=)")


def text_rows(input_ids: Any, attention_mask: Any, text: TextConfig) -> TokenBatch:
    """Ids without what the mask, or without one the padding, leaves out: right-padded, and their lengths."""
    ids = as_numpy(input_ids, "input_ids", np.int64)
    if ids.ndim != 2 or ids.shape[1] < 2:
        raise InputError(f"input_ids are {list(ids.shape)}, where [texts, tokens] are wanted: use the processor")
    mask = ids != text.pad_id
    if attention_mask is not None:
        mask = as_numpy(attention_mask, "attention_mask", np.int64) != 0
        if mask.shape != ids.shape:
            raise InputError(
                f"attention_mask is {list(mask.shape)} for input_ids of {list(ids.shape)}: give equal shapes"
            )
    lengths = mask.sum(axis=1)
    if lengths.min(initial=2) < 2:
        raise InputError("a text is all padding: each must hold [CLS] and [SEP] at least, as the processor gives them")
    if ids.min() < 0 or ids.max() >= text.vocab_size:
        raise InputError(f"input_ids hold {ids.min()} to {ids.max()}, where the model knows 0 to {text.vocab_size - 1}")
    tokens = np.full((len(ids), int(lengths.max())), text.pad_id, np.int64)
    for row, (given, kept) in enumerate(zip(ids, mask, strict=True)):
        tokens[row, : lengths[row]] = given[kept]
    return TokenBatch(tokens, lengths.astype(np.int64))


def taken(texts: TokenBatch, rows: Ints) -> TokenBatch:
    """The texts of these rows."""
    return TokenBatch(texts.tokens[rows], texts.lengths[rows])
