"""Shards -> batches: pictures and captions. Knows no losses.

Everything random is drawn from the seed and the place in the run, so a run resumed at any step sees the batches that
the uninterrupted run would have seen, whatever the number of workers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from openblip.bulk.shards import read_shards
from openblip.config import VisionConfig
from openblip.datasets.examples import Picture as Picture
from openblip.datasets.examples import fingerprint as fingerprint
from openblip.datasets.folders import check_uncompressed
from openblip.errors import DataError, OptionError
from openblip.text import Tokenizer, clean_caption, train_vocabulary
from openblip.train.config import DataConfig
from openblip.train.objectives import PretrainBatch
from openblip.train.views import FrozenFeatures as FrozenFeatures
from openblip.train.views import PictureCache, Views, read_views
from openblip.train.views import augment as augment


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
        check_uncompressed(shard)
    return pictures


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


def make_tokenizer(given: Path | None, size: int, captions: Sequence[str], learned: Path) -> tuple[Tokenizer, Path]:
    """The given vocabulary; else the one at `learned`, which is learned from the captions where it is not there."""
    if given is None and not learned.exists():
        temporary = learned.with_suffix(".part")
        train_vocabulary(captions, size, temporary)
        temporary.replace(learned)
    path = given or learned
    return Tokenizer.from_vocabulary(path), path


class PictureBatches:
    """Which pictures a rank sees in which batch of an epoch, and their pixels.

    fewest: pictures that a step must hold. plain, mirror: as in `Views`.
    """

    def __init__(
        self,
        pictures: Sequence[Picture],
        vision: VisionConfig,
        data: DataConfig,
        *,
        batch: int,
        seed: int,
        rank: int = 0,
        ranks: int = 1,
        fewest: int = 1,
        plain: bool = False,
        mirror: bool = True,
    ) -> None:
        if batch * ranks < fewest:
            raise DataError("a step of one picture has no wrong pairs to learn from: raise the batch to 2 or more")
        if len(pictures) < batch * ranks:
            raise DataError(f"{len(pictures)} pictures do not fill one step of {batch} x {ranks}: lower the batch")
        self.pictures, self.vision, self.data = pictures, vision, data
        self.batch, self.seed, self.rank, self.ranks = batch, seed, rank, ranks
        self.plain, self.mirror = plain, mirror

    @property
    def batches(self) -> int:
        """Batches of one epoch and rank; what does not fill a joint batch is left to the next epoch's shuffle."""
        return len(self.pictures) // (self.batch * self.ranks)

    def chosen(self, epoch: int, first: int) -> list[NDArray[np.int64]]:
        """This rank's pictures in each batch of an epoch, from batch `first` on."""
        order = np.random.default_rng((self.seed, 0, epoch)).permutation(len(self.pictures))
        joint = order[: self.batches * self.batch * self.ranks].reshape(self.batches, self.ranks, self.batch)
        return list(joint[first:, self.rank])

    def pixels(self, epoch: int, first: int, cache: PictureCache | None) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
        """The pictures of each batch of an epoch from batch `first` on, and their pixels, or what the cache holds of
        them."""
        chosen = self.chosen(epoch, first)
        if cache is None:
            flat = np.concatenate(chosen).tolist() if chosen else []
            found = read_views(self.views(flat, self.vision, epoch), self.batch)
        else:
            found = self._cached(epoch, first, chosen, cache)
        yield from zip(chosen, found, strict=True)

    def views(self, chosen: Sequence[int], vision: VisionConfig, view: int) -> Views:
        """Pixels of chosen pictures."""
        return Views(self.pictures, chosen, vision, self.data, self.seed, view, plain=self.plain, mirror=self.mirror)

    def _cached(self, epoch: int, first: int, chosen: list[NDArray[np.int64]], cache: PictureCache) -> Iterator[Tensor]:
        view = epoch % len(cache.values)
        for place, pictures in enumerate(chosen, first):
            random = np.random.default_rng((self.seed, 3, epoch, place * self.ranks + self.rank))
            yield cache.read(view, pictures, random)

    def texts(self, rows: Sequence[Sequence[Any]], count: int, epoch: int, picture: int) -> list[Any]:
        """`count` different ones of a picture's texts, repeated only where it has fewer."""
        own = rows[picture]
        order = np.random.default_rng((self.seed, 2, epoch, picture)).permutation(len(own))
        return [own[order[place % len(own)]] for place in range(count)]


class PretrainData(PictureBatches):
    """Batches of captioned pictures for one rank. prompt: what stands before every caption and is not learned."""

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
        fewest: int = 2,
        plain: bool = False,
        mirror: bool = True,
        prompt: str = "",
    ) -> None:
        super().__init__(
            pictures, vision, data, batch=batch, seed=seed, rank=rank, ranks=ranks, fewest=fewest, plain=plain,
            mirror=mirror,
        )  # fmt: skip
        self.tokenizer, self.captions = tokenizer, captions_per_image
        first = tokenizer.caption_prompt(prompt)
        self.given = len(first)
        if self.given + 2 > data.max_text_tokens:
            raise OptionError(
                f"a prompt of {self.given} tokens leaves no room for a caption within {data.max_text_tokens}: shorten "
                "it, or allow longer texts"
            )
        self.tokens = [
            [[*first, *row[1:length].tolist()] for row, length in zip(rows.tokens, rows.lengths, strict=True)]
            for rows in (
                tokenizer.encode_unimodal(picture.captions, data.max_text_tokens - self.given + 1)
                for picture in pictures
            )
        ]

    def epoch(
        self, epoch: int, first: int = 0, features: PictureCache | None = None, start_layer: int = 0
    ) -> Iterator[PretrainBatch]:
        """The batches of an epoch from batch `first` on; pixels from the cache where one is given."""
        for pictures, images in self.pixels(epoch, first, features):
            yield self.batch_of(epoch, pictures, images, start_layer)

    def batch_of(self, epoch: int, pictures: NDArray[np.int64], images: Tensor, start_layer: int = 0) -> PretrainBatch:
        """These pictures with the captions that the epoch draws."""
        rows = [row for picture in pictures for row in self.texts(self.tokens, self.captions, epoch, int(picture))]
        padded = self.tokenizer.pad(rows)
        return PretrainBatch(
            images,
            torch.from_numpy(pictures),
            torch.from_numpy(padded.tokens),
            torch.from_numpy(padded.lengths),
            start_layer,
            self.given,
        )

    def costs(self) -> list[int]:
        """Of each picture the tokens of its longest caption."""
        return [max(map(len, rows)) for rows in self.tokens]

    def text_batches(self, texts: Sequence[str], epoch: int, batch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Token ids and lengths of captions without pictures, shuffled."""
        rows = self.tokenizer.encode_unimodal(texts, self.data.max_text_tokens)
        order = np.random.default_rng((self.seed, 4, epoch)).permutation(len(texts))
        for chosen in order[: len(order) // batch * batch].reshape(-1, batch):
            lengths = rows.lengths[chosen]
            yield torch.from_numpy(rows.tokens[chosen, : lengths.max()]), torch.from_numpy(lengths)
