"""The engine without a service: captions of files in batches, decoding included, in a process of its own.

`python -m benchmarks.load.raw MODEL PRECISION THREADS ROUNDS FOLDER COUNT` prints pictures a second of each round as
JSON; PRECISION and THREADS may be "default".
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

WARM = 32


def main() -> None:
    """Caption COUNT files of FOLDER, round by round."""
    from openblip import Blip, GenerateOptions

    model, precision, threads, rounds, folder, count = sys.argv[1:]
    files = sorted(Path(folder).glob("*.jpg"))[: int(count)]
    blip = Blip.load(
        model,
        precision=None if precision == "default" else precision,
        threads=None if threads == "default" else int(threads),
    )
    options = GenerateOptions(num_beams=3)
    blip.caption(files[:WARM], options=options)
    rates = []
    for _ in range(int(rounds)):
        started = time.perf_counter()
        blip.caption(files, options=options)
        rates.append(len(files) / (time.perf_counter() - started))
    print(json.dumps(rates))


def measure(
    model: str,
    precision: str | None,
    threads: int,
    rounds: int,
    folder: Path,
    count: int,
    environment: Mapping[str, str],
) -> list[float]:
    """Pictures a second, by round. Raises RuntimeError with the last words of a process that failed."""
    command = [sys.executable, "-m", "benchmarks.load.raw", model, precision or "default", str(threads), str(rounds)]
    command += [str(folder), str(count)]
    done = subprocess.run(command, env=dict(environment), capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"the engine alone: {done.stderr.strip().splitlines()[-1:]}")
    rates: list[float] = json.loads(done.stdout.splitlines()[-1])
    return rates


if __name__ == "__main__":
    main()
