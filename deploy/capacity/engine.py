"""The engine alone, in a process of its own on given cores: python -m deploy.capacity.engine, called by `measure`.
Knows `Blip`; does not know the service."""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import psutil

if TYPE_CHECKING:
    from openblip import Blip

SIZES = (1, 2, 4, 8, 16, 32)
_LEAST = 6
_READ = 32
_SHARES = 50


@dataclass(frozen=True)
class Engine:
    """What is measured. sizes: of batches; seconds: of all together; cores: of the process, none pins nothing."""

    model: str
    precision: str | None
    threads: int
    cores: tuple[int, ...]
    pictures: Path
    sizes: Sequence[int] = SIZES
    seconds: float = 40.0

    def start(self) -> subprocess.Popen[str]:
        """Begin to measure."""
        command = [
            sys.executable, "-m", "deploy.capacity.engine", self.model, "--threads", str(self.threads),
            "--pictures", str(self.pictures), "--seconds", str(self.seconds),
            "--sizes", ",".join(map(str, self.sizes)), "--cores", ",".join(map(str, self.cores)),
        ]  # fmt: skip
        command += ["--precision", self.precision] if self.precision else []
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@dataclass(frozen=True)
class Found:
    """batch_s: seconds of batches by size, their means; spread: of single batches, as shares of that; read_s: of a
    picture; lone_s: CPU seconds of a batch of one."""

    batch_s: dict[int, float]
    spread: dict[int, tuple[float, ...]]
    read_s: float
    lone_s: float


def found(process: subprocess.Popen[str], limit_s: float = 300.0) -> Found:
    """What it measured. Raises RuntimeError with its last words."""
    try:
        output, errors = process.communicate(timeout=limit_s)
    finally:
        process.kill()
    if process.returncode:
        raise RuntimeError(f"the engine alone: {errors.strip().splitlines()[-1:]}")
    result = json.loads(output.splitlines()[-1])
    return Found(
        {int(size): seconds for size, seconds in result["batch_s"].items()},
        {int(size): tuple(shares) for size, shares in result["spread"].items()},
        float(result["read_s"]),
        float(result["lone_s"]),
    )


def main() -> None:
    """Print what was found as JSON."""
    parser = argparse.ArgumentParser(description="Batches of the engine, and reading, in seconds.")
    parser.add_argument("model")
    for name in ("precision", "threads", "cores", "pictures", "sizes", "seconds"):
        parser.add_argument(f"--{name}", default="")
    arguments = parser.parse_args()
    if arguments.cores:
        os.sched_setaffinity(0, {int(core) for core in arguments.cores.split(",")})
    from openblip import Blip  # only now: the cores are chosen before anything starts threads

    blip = Blip.load(arguments.model, precision=arguments.precision or None, threads=int(arguments.threads))
    files = sorted(Path(arguments.pictures).glob("*.jpg"))
    sizes = [int(size) for size in arguments.sizes.split(",")]
    blip.caption(files[:2])
    read_s = _read_s(blip, files[:_READ])
    for size in sizes:
        blip.caption(files[:size])  # its graphs
    samples: dict[int, list[Sample]] = {size: [] for size in sizes}
    # Others each time: how long a batch takes is up to what is in its pictures.
    pictures = {size: itertools.cycle(files) for size in sizes}
    end_s = time.perf_counter() + float(arguments.seconds)
    while len(samples[sizes[0]]) < _LEAST or time.perf_counter() < end_s:
        for size in sizes:  # in turn, so that a machine whose speed sways does so for all
            samples[size].append(_sample(blip, list(itertools.islice(pictures[size], size)), read_s))
    batch_s, spread = {}, {}
    for size in sizes:
        # Of one thread the CPU's time, which does not grow when others take the core for a moment.
        times = [sample.cpu_s if arguments.threads == "1" else sample.clock_s for sample in quietest(samples[size])]
        batch_s[size], spread[size] = statistics.fmean(times), shares(times)
    lone_s = statistics.fmean(sample.cpu_s for sample in quietest(samples[1]))
    print(json.dumps({"batch_s": batch_s, "spread": spread, "read_s": read_s, "lone_s": lone_s}))


def shares(times: Sequence[float]) -> list[float]:
    """Of their mean, from short to long; the means of neighbours where there are more than enough."""
    groups = np.array_split(np.sort(times), min(len(times), _SHARES))
    means = [float(group.mean()) for group in groups]
    return [round(each / statistics.fmean(means), 4) for each in means]


@dataclass(frozen=True)
class Sample:
    """A batch. others: cores that other processes kept busy meanwhile."""

    cpu_s: float
    clock_s: float
    others: float


def quietest(samples: Sequence[Sample]) -> list[Sample]:
    """The half of them in which other processes did least: cores share caches, if not more."""
    return sorted(samples, key=lambda sample: sample.others)[: (len(samples) + 1) // 2]


def _sample(blip: Blip, files: Sequence[Path], read_s: float) -> Sample:
    busy_s, own_s, began_s = _busy_s(), time.process_time(), time.perf_counter()
    blip.caption(files)
    own_s, seconds = time.process_time() - own_s, time.perf_counter() - began_s
    engine_s = blip.timing.encode_s + blip.timing.search_s
    return Sample(own_s - len(files) * read_s, engine_s, (_busy_s() - busy_s - own_s) / seconds)


def _busy_s() -> float:
    """CPU seconds of all processes of the machine."""
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system + times.softirq)


def _read_s(blip: Blip, files: Sequence[Path]) -> float:
    """As `serve.worker` reads, one thread, the middle of three rounds."""
    import hashlib

    from openblip.image import ImageLimits, load_image
    from openblip.pictures import loaded_from, needed_side

    inputs = tuple(dict.fromkeys(blip.part(task).config.vision for task in blip.tasks))
    rounds = []
    for _ in range(3):
        began_s = time.process_time()
        for file in files:
            image = load_image(file.read_bytes(), ImageLimits(), needed_side(inputs))
            digest = hashlib.sha256()
            for array in loaded_from(image, b"", inputs).pixels:
                digest.update(array.data)
        rounds.append((time.process_time() - began_s) / len(files))
    return statistics.median(rounds)


if __name__ == "__main__":
    main()
