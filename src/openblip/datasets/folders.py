"""Folders of pictures with a text file beside each, and WebDataset shards."""

from __future__ import annotations

from pathlib import Path

from openblip.bulk.shards import find_shards, read_shards
from openblip.bulk.sidecars import sidecar_path
from openblip.bulk.sources import find_images
from openblip.datasets.collector import Collector
from openblip.errors import DataError, InputError


def read_folder(folder: Path, collector: Collector) -> None:
    """Every picture in the folder and below with dog.txt beside dog.jpg: a caption a line, or a question, a tab and its
    answer, further answers behind further tabs. Raises DataError where there is no picture."""
    for found in find_images([str(folder)]):
        if isinstance(found, InputError):
            raise DataError(str(found))
        sidecar = sidecar_path(Path(found))
        try:
            lines = sidecar.read_text(encoding="utf-8-sig").splitlines()
        except FileNotFoundError:
            collector.faults.append(f"{found}: there is no {sidecar.name} beside it")
            continue
        except (OSError, UnicodeDecodeError) as error:
            collector.faults.append(f"{sidecar} cannot be read: {error}")
            continue
        if not any(line.strip() for line in lines):
            collector.faults.append(f"{sidecar} is empty")
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            texts = [line] if collector.wanted == "captions" else [part.strip() for part in line.split("\t")]
            # The path is whole already: no folder of pictures is put before it.
            collector.add_file(str(Path(found).absolute()), folder, f"{sidecar}, line {number}", texts)


def read_tars(source: str, collector: Collector) -> None:
    """Uncompressed shards: KEY.jpg beside KEY.json with "captions", or with "qa". Raises DataError."""
    shards = find_shards(source)
    captioned = collector.wanted == "captions"
    for sample in read_shards(shards, captioned=captioned):
        texts = list(sample.captions) if captioned else sample.metadata
        where = f"{sample.shard}: {sample.key}"
        collector.add(sample.shard, sample.offset, len(sample.image_bytes), where, texts)
    for shard in shards:
        check_uncompressed(shard)


def check_uncompressed(shard: Path) -> None:
    """Raise DataError where a shard is compressed."""
    with shard.open("rb") as file:
        file.seek(257)
        if file.read(5) != b"ustar":
            raise DataError(f"{shard} is compressed: training reads pictures at random, unpack it to a plain .tar")
