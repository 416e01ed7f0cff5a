"""The engine alone, in a process of its own on given cores: python -m deploy.capacity.engine, called by `measure`.
Knows `Blip`; does not know the service."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SIZES = (1, 2, 4, 8, 16, 32)


@dataclass(frozen=True)
class Engine:
    """What is measured. sizes: of batches; seconds: of each size; cores: of the process, none pins nothing."""

    model: str
    precision: str | None
    threads: int
    cores: tuple[int, ...]
    pictures: Path
    sizes: Sequence[int] = SIZES
    seconds: float = 2.0

    def start(self) -> subprocess.Popen[str]:
        """Begin to measure."""
        command = [
            sys.executable, "-m", "deploy.capacity.engine", self.model, "--threads", str(self.threads),
            "--pictures", str(self.pictures), "--seconds", str(self.seconds),
            "--sizes", ",".join(map(str, self.sizes)), "--cores", ",".join(map(str, self.cores)),
        ]  # fmt: skip
        command += ["--precision", self.precision] if self.precision else []
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def found(process: subprocess.Popen[str], limit_s: float = 300.0) -> tuple[dict[int, float], float]:
    """Seconds of batches by size, and of reading a picture. Raises RuntimeError with its last words."""
    try:
        output, errors = process.communicate(timeout=limit_s)
    finally:
        process.kill()
    if process.returncode:
        raise RuntimeError(f"the engine alone: {errors.strip().splitlines()[-1:]}")
    result = json.loads(output.splitlines()[-1])
    return {int(size): seconds for size, seconds in result["batch_s"].items()}, float(result["read_s"])


def main() -> None:
    """Print lower quartiles as JSON."""
    parser = argparse.ArgumentParser(description="Batches of the engine, and reading, in seconds.")
    parser.add_argument("model")
    for name in ("precision", "threads", "cores", "pictures", "sizes", "seconds"):
        parser.add_argument(f"--{name}", default="")
    arguments = parser.parse_args()
    if arguments.cores:
        os.sched_setaffinity(0, {int(core) for core in arguments.cores.split(",")})
    from openblip import Blip

    blip = Blip.load(arguments.model, precision=arguments.precision or None, threads=int(arguments.threads))
    files = sorted(Path(arguments.pictures).glob("*.jpg"))
    sizes = [int(size) for size in arguments.sizes.split(",")]
    files = files[: max(sizes)]
    blip.caption(files[:2])
    read_s, batch_s = _read_s(blip, files), {}
    for size in sizes:
        times: list[float] = []
        end_s = time.perf_counter() + float(arguments.seconds)
        while len(times) < 3 or time.perf_counter() < end_s:
            began_s = time.process_time()
            blip.caption(files[:size])
            used_s = time.process_time() - began_s - size * read_s
            # Of one thread the CPU's time, which does not grow when others take the core for a moment.
            times.append(used_s if arguments.threads == "1" else blip.timing.encode_s + blip.timing.search_s)
        batch_s[size] = statistics.quantiles(times, n=4)[0]  # what disturbs makes it only longer
    print(json.dumps({"batch_s": batch_s, "read_s": read_s}))


def _read_s(blip: object, files: Sequence[Path]) -> float:
    """As `serve.worker` reads, one thread, the best of three rounds."""
    import hashlib

    from openblip import Blip
    from openblip.image import ImageLimits, load_image
    from openblip.pictures import loaded_from, needed_side

    assert isinstance(blip, Blip)
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
    return min(rounds)


if __name__ == "__main__":
    main()
