"""Shards -> batches: pictures, augmentation, captions, and the cache of frozen features. Knows no losses.

Everything random is drawn from the seed and the place in the run, so a run resumed at any step sees the batches that
the uninterrupted run would have seen, whatever the number of workers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from openblip.bulk.shards import read_shards
from openblip.config import VisionConfig, mobilenet_v2_layers
from openblip.errors import DataError, ImageError
from openblip.image import load_image, preprocess
from openblip.text import Tokenizer, clean_caption, train_vocabulary
from openblip.train.config import DataConfig
from openblip.train.objectives import PretrainBatch

SIDED_WORDS = frozenset({"left", "right", "leftmost", "rightmost", "lefthand", "righthand"})


@dataclass(frozen=True)
class Picture:
    """Where a picture lies in its shard, and its cleaned captions. sided: a caption tells left from right."""

    shard: Path
    offset: int
    size: int
    captions: tuple[str, ...]

    @property
    def sided(self) -> bool:
        """Whether mirroring the picture would make a caption untrue."""
        return any(SIDED_WORDS.intersection(caption.replace("-", " ").split()) for caption in self.captions)

    def read(self) -> Image.Image:
        """The decoded picture. Raises DataError that says where it lies."""
        try:
            with self.shard.open("rb") as file:
                file.seek(self.offset)
                return load_image(file.read(self.size))
        except (OSError, ImageError) as error:
            raise DataError(f"{self.shard}: the picture at byte {self.offset}: {error}: take it out") from error


def index_shards(shards: Sequence[Path]) -> list[Picture]:
    """Find every captioned picture of uncompressed WebDataset tars. Raises DataError on a shard that does not hold what
    it must."""
    if not shards:
        raise DataError("data.shards is empty: name the tar files to train on")
    pictures = []
    for sample in read_shards(shards):
        captions = tuple(filter(None, map(clean_caption, sample.captions)))
        if captions:
            pictures.append(Picture(sample.shard, sample.offset, len(sample.image_bytes), captions))
    for shard in shards:
        with shard.open("rb") as file:
            file.seek(257)
            if file.read(5) != b"ustar":
                raise DataError(f"{shard} is compressed: training reads pictures at random, unpack it to a plain .tar")
    return pictures


def fingerprint(pictures: Iterable[Picture]) -> str:
    """Changes with the pictures, their captions or their order, not with where the shards lie."""
    digest = hashlib.sha256()
    for picture in pictures:
        digest.update(repr((picture.offset, picture.size, picture.captions)).encode())
    return digest.hexdigest()


def read_texts(paths: Sequence[Path]) -> list[str]:
    """Cleaned captions of JSON-lines files with a list "captions" a line."""
    texts: list[str] = []
    for path in paths:
        try:
            lines = path.read_text(encoding="utf-8").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"cannot read captions from {path}: {error}") from error
        for number, line in enumerate(lines, 1):
            if line.strip():
                texts += map(clean_caption, _captions_of(line, f"{path}, line {number}"))
    return list(filter(None, texts))


def _captions_of(line: str, where: str) -> list[str]:
    try:
        captions = json.loads(line)["captions"]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f'{where} is not a JSON object with "captions": {error!r}') from error
    if not isinstance(captions, list) or not all(isinstance(caption, str) for caption in captions):
        raise DataError(f'{where}: "captions" must be a list of texts')
    return captions


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
    alone."""

    def __init__(
        self,
        pictures: Sequence[Picture],
        chosen: Sequence[int],
        vision: VisionConfig,
        data: DataConfig,
        seed: int,
        view: int,
    ) -> None:
        self.pictures, self.chosen, self.vision, self.data = pictures, chosen, vision, data
        self.seed, self.view = seed, view

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, place: int) -> Tensor:
        index = self.chosen[place]
        picture = self.pictures[index]
        random = np.random.default_rng((self.seed, 1, self.view, index))
        image = augment(picture.read(), random, self.data, may_mirror=not picture.sided)
        return torch.from_numpy(preprocess(image, self.vision))


class FrozenFeatures:
    """A disk cache of the backbone's frozen part: [views, pictures, side, side, channels] in bfloat16, filled as
    needed.

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
        """made_from: a fingerprint of all that the features follow from; those of another one are computed anew."""
        layers = mobilenet_v2_layers()[:frozen_layers]
        self.shrink = int(np.prod([layer.stride for layer in layers]))
        self.window = vision.image_size // self.shrink
        self.canvas = replace(vision, image_size=max(data.canvas, vision.image_size))
        side = self.canvas.image_size // self.shrink
        folder.mkdir(parents=True, exist_ok=True)
        shape = (data.cached_views, pictures, side, side, layers[-1].outputs)
        path = folder / f"features-{frozen_layers}-{'x'.join(map(str, shape))}.bin"
        mode: Any = "r+" if path.exists() else "w+"
        self.values: np.memmap[Any, np.dtype[np.int16]] = np.memmap(path, dtype=np.int16, mode=mode, shape=shape)
        self._marks, self._made_from = path.with_suffix(".done"), made_from
        self.done = self._marked() if mode == "r+" else set()

    def read(self, view: int, pictures: NDArray[np.int64], random: np.random.Generator) -> Tensor:
        """[pictures, channels, height, width] in channels-last memory, one random window for each picture."""
        side, window = self.values.shape[2], self.window
        rows = np.empty((len(pictures), window, window, self.values.shape[-1]), dtype=np.int16)
        for place, (top, left) in enumerate(random.integers(side - window + 1, size=(len(pictures), 2))):
            rows[place] = self.values[view, pictures[place], top : top + window, left : left + window]
        return torch.from_numpy(rows).view(torch.bfloat16).float().permute(0, 3, 1, 2)

    def write(self, view: int, start: int, features: Tensor) -> None:
        """Store the features of consecutive pictures."""
        rows = features.to(torch.bfloat16).permute(0, 2, 3, 1).contiguous().cpu()
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


def make_tokenizer(given: Path | None, size: int, captions: Sequence[str], learned: Path) -> tuple[Tokenizer, Path]:
    """The given vocabulary; else the one at `learned`, which is learned from the captions where it is not there."""
    if given is None and not learned.exists():
        temporary = learned.with_suffix(".part")
        train_vocabulary(captions, size, temporary)
        temporary.replace(learned)
    path = given or learned
    return Tokenizer.from_vocabulary(path), path


class PretrainData:
    """Batches of an epoch for one rank."""

    def __init__(
        self,
        pictures: Sequence[Picture],
        tokenizer: Tokenizer,
        vision: VisionConfig,
        data: DataConfig,
        *,
        batch: int,
        captions_per_image: int,
        seed: int,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        if batch * ranks < 2:
            raise DataError(
                "a step of one picture has no wrong pairs to learn from: raise optimiser.batch to 2 or more"
            )
        if len(pictures) < batch * ranks:
            raise DataError(
                f"{len(pictures)} pictures do not fill one step of {batch} x {ranks}: lower optimiser.batch"
            )
        self.pictures, self.tokenizer, self.vision, self.data = pictures, tokenizer, vision, data
        self.batch, self.captions, self.seed, self.rank, self.ranks = batch, captions_per_image, seed, rank, ranks
        limit = data.max_text_tokens
        self.tokens = [
            [row[:length].tolist() for row, length in zip(rows.tokens, rows.lengths, strict=True)]
            for rows in (tokenizer.encode_unimodal(picture.captions, limit) for picture in pictures)
        ]

    @property
    def batches(self) -> int:
        """Batches of one epoch and rank; what does not fill a joint batch is left to the next epoch's shuffle."""
        return len(self.pictures) // (self.batch * self.ranks)

    def chosen(self, epoch: int, first: int) -> list[NDArray[np.int64]]:
        """This rank's pictures in each batch of an epoch, from batch `first` on."""
        order = np.random.default_rng((self.seed, 0, epoch)).permutation(len(self.pictures))
        joint = order[: self.batches * self.batch * self.ranks].reshape(self.batches, self.ranks, self.batch)
        return list(joint[first:, self.rank])

    def epoch(
        self, epoch: int, first: int = 0, features: FrozenFeatures | None = None, start_layer: int = 0
    ) -> Iterator[PretrainBatch]:
        """The batches of an epoch from batch `first` on; pixels from the cache where one is given."""
        chosen = self.chosen(epoch, first)
        if features is None:
            pixels: Iterator[Tensor] = self._live(epoch, chosen)
        else:
            view = epoch % len(features.values)
            random = np.random.default_rng
            pixels = (
                features.read(view, pictures, random((self.seed, 3, epoch, place * self.ranks + self.rank)))
                for place, pictures in enumerate(chosen, first)
            )
        for pictures, images in zip(chosen, pixels, strict=True):
            rows = [row for picture in pictures for row in self._texts(epoch, int(picture))]
            padded = self.tokenizer.pad(rows)
            yield PretrainBatch(
                images,
                torch.from_numpy(pictures),
                torch.from_numpy(padded.tokens),
                torch.from_numpy(padded.lengths),
                start_layer,
            )

    def text_batches(self, texts: Sequence[str], epoch: int, batch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Token ids and lengths of captions without pictures, shuffled."""
        rows = self.tokenizer.encode_unimodal(texts, self.data.max_text_tokens)
        order = np.random.default_rng((self.seed, 4, epoch)).permutation(len(texts))
        for chosen in order[: len(order) // batch * batch].reshape(-1, batch):
            lengths = rows.lengths[chosen]
            yield torch.from_numpy(rows.tokens[chosen, : lengths.max()]), torch.from_numpy(lengths)

    def _texts(self, epoch: int, picture: int) -> list[list[int]]:
        """captions_per_image different captions, repeated only where a picture has fewer."""
        texts = self.tokens[picture]
        order = np.random.default_rng((self.seed, 2, epoch, picture)).permutation(len(texts))
        return [texts[order[place % len(texts)]] for place in range(self.captions)]

    def _live(self, epoch: int, chosen: list[NDArray[np.int64]]) -> Iterator[Tensor]:
        flat = np.concatenate(chosen).tolist() if chosen else []
        views = Views(self.pictures, flat, self.vision, self.data, self.seed, epoch)
        return read_views(views, self.batch)


def read_views(views: Views, batch: int) -> Iterator[Tensor]:
    """Pixels [batch, 3, size, size] of the views in their order, read by data.workers processes."""
    loader = DataLoader(views, batch_size=batch, num_workers=views.data.workers, pin_memory=torch.cuda.is_available())
    try:
        yield from loader
    except DataError as error:
        # A worker's error comes with its traceback around it; the last line is the message.
        raise DataError(str(error).rstrip().rpartition("DataError: ")[2]) from error
