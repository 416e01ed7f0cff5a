"""Augmented views of pictures, and what frozen layers made of them kept on disk. Knows pictures and pixels, neither
texts nor losses."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from openblip.config import VisionConfig, mobilenet_v2_layers
from openblip.datasets.examples import Picture
from openblip.errors import DataError
from openblip.image import preprocess
from openblip.train.config import DataConfig


def augment(image: Image.Image, random: np.random.Generator, config: DataConfig, *, may_mirror: bool) -> Image.Image:
    """A random crop (its area from crop_area up, aspect 3/4 to 4/3), a flip where no caption tells left from right, and
    light changes of colour, contrast, brightness and sharpness: nothing that a caption could name is taken away on
    purpose."""
    width, height = image.size
    for _ in range(10):
        area = random.uniform(config.crop_area, 1.0) * width * height
        aspect = np.exp(random.uniform(np.log(3 / 4), np.log(4 / 3))) * width / height
        crop_width, crop_height = round((area * aspect) ** 0.5), round((area / aspect) ** 0.5)
        if crop_width <= width and crop_height <= height:
            left, top = random.integers(width - crop_width + 1), random.integers(height - crop_height + 1)
            image = image.crop((left, top, left + crop_width, top + crop_height))
            break
    if random.random() < 0.5 and may_mirror:
        image = ImageOps.mirror(image)
    for enhancer in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color, ImageEnhance.Sharpness):
        strength = 1 + random.uniform(-config.colour_jitter, config.colour_jitter)
        if random.random() < 0.5:
            image = enhancer(image).enhance(strength)
    return image


class Views(Dataset[Tensor]):
    """Augmented, preprocessed views [3, size, size] of chosen pictures; the draw depends on (seed, view, picture)
    alone. plain: the pictures as they are. mirror: whether any may be mirrored."""

    def __init__(
        self,
        pictures: Sequence[Picture],
        chosen: Sequence[int],
        vision: VisionConfig,
        data: DataConfig,
        seed: int,
        view: int,
        *,
        plain: bool = False,
        mirror: bool = True,
    ) -> None:
        self.pictures, self.chosen, self.vision, self.data = pictures, chosen, vision, data
        self.seed, self.view, self.plain, self.mirror = seed, view, plain, mirror

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, place: int) -> Tensor:
        index = self.chosen[place]
        picture = self.pictures[index]
        image = picture.read(self.vision.image_size)
        if not self.plain:
            random = np.random.default_rng((self.seed, 1, self.view, index))
            image = augment(image, random, self.data, may_mirror=self.mirror and not picture.sided)
        return torch.from_numpy(preprocess(image, self.vision))


class PictureCache:
    """A disk cache of what frozen layers make of every view of every picture: [views, pictures, ...] in bfloat16,
    filled as needed."""

    def __init__(self, folder: Path, name: str, shape: tuple[int, ...], made_from: str = "") -> None:
        """made_from: a fingerprint of all that the values follow from; those of another one are computed anew."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{name}-{'x'.join(map(str, shape))}.bin"
        mode: Any = "r+" if path.exists() else "w+"
        self.values: np.memmap[Any, np.dtype[np.int16]] = np.memmap(path, dtype=np.int16, mode=mode, shape=shape)
        self._marks, self._made_from = path.with_suffix(".done"), made_from
        self.done = self._marked() if mode == "r+" else set()

    def read(self, view: int, pictures: NDArray[np.int64], random: np.random.Generator) -> Tensor:
        """What is kept of these pictures, [pictures, ...] in float32."""
        return torch.from_numpy(self.values[view, pictures]).view(torch.bfloat16).float()

    def write(self, view: int, start: int, values: Tensor) -> None:
        """Store what belongs to consecutive pictures."""
        rows = values.to(torch.bfloat16).contiguous().cpu()
        self.values[view, start : start + len(rows)] = rows.view(torch.int16).numpy()

    def mark(self, view: int, *, keep: bool = True) -> None:
        """Remember that a view is whole; keep: also for later runs."""
        self.done.add(view)
        if keep:
            temporary = self._marks.with_suffix(".part")
            temporary.write_text(json.dumps({"made_from": self._made_from, "views": sorted(self.done)}))
            temporary.replace(self._marks)

    def flush(self) -> None:
        """Bring what was written to the disk, where other processes and later runs find it."""
        self.values.flush()

    def _marked(self) -> set[int]:
        try:
            marks = json.loads(self._marks.read_text())
            return set(marks["views"]) if marks["made_from"] == self._made_from else set()
        except (OSError, ValueError, KeyError, TypeError):
            return set()  # no marks that can be trusted: nothing is lost but time


class FrozenFeatures(PictureCache):
    """The output of the backbone's frozen part: [views, pictures, side, side, channels].

    Views are computed on a canvas somewhat larger than the model's input; each reading takes a window of the model's
    size at a random place, so that few cached views still make many crops.
    """

    def __init__(
        self,
        folder: Path,
        data: DataConfig,
        pictures: int,
        vision: VisionConfig,
        frozen_layers: int,
        made_from: str = "",
    ) -> None:
        layers = mobilenet_v2_layers()[:frozen_layers]
        shrink = int(np.prod([layer.stride for layer in layers]))
        self.window = vision.image_size // shrink
        self.canvas = replace(vision, image_size=max(data.canvas, vision.image_size))
        side = self.canvas.image_size // shrink
        shape = (data.cached_views, pictures, side, side, layers[-1].outputs)
        super().__init__(folder, f"features-{frozen_layers}", shape, made_from)

    def read(self, view: int, pictures: NDArray[np.int64], random: np.random.Generator) -> Tensor:
        """[pictures, channels, height, width] in channels-last memory, one random window for each picture."""
        side, window = self.values.shape[2], self.window
        rows = np.empty((len(pictures), window, window, self.values.shape[-1]), dtype=np.int16)
        for place, (top, left) in enumerate(random.integers(side - window + 1, size=(len(pictures), 2))):
            rows[place] = self.values[view, pictures[place], top : top + window, left : left + window]
        return torch.from_numpy(rows).view(torch.bfloat16).float().permute(0, 3, 1, 2)

    def write(self, view: int, start: int, values: Tensor) -> None:
        """Store the features [pictures, channels, height, width] of consecutive pictures."""
        super().write(view, start, values.permute(0, 2, 3, 1))


def read_views(views: Views, batch: int) -> Iterator[Tensor]:
    """Pixels [batch, 3, size, size] of the views in their order, read by data.workers processes."""
    loader = DataLoader(views, batch_size=batch, num_workers=views.data.workers, pin_memory=torch.cuda.is_available())
    try:
        yield from loader
    except DataError as error:
        # A worker's error comes with its traceback around it; the last line is the message.
        raise DataError(str(error).rstrip().rpartition("DataError: ")[2]) from error
