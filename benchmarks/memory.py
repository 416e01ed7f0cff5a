"""How soon a base captioner is ready and how much memory it takes: a process that captions one photo, with a random
model of ViT-B/16 at 384 px. For each precision the first start, which compiles the graphs and keeps them, and the next.

`python -m benchmarks.memory` prints a Markdown table; Linux only, as it reads VmHWM.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.child import peak_mib

PRECISIONS = ("f32", "bf16", "int8")


def main() -> int:
    """Make the model, start the processes, print the table."""
    from benchmarks import random_blip

    print("| | first start: peak memory, seconds | later: peak memory, seconds |\n| --- | --- | --- |")
    with tempfile.TemporaryDirectory() as made:
        model = Path(made) / "model"
        random_blip.save(random_blip.random_blip("BlipForConditionalGeneration"), model)
        for precision in PRECISIONS:
            cells = [_start(precision, model, Path(made) / "kept") for _ in range(2)]
            print(f"| {precision} | {' | '.join(cells)} |", flush=True)
    return 0


def caption(precision: str, model: str) -> int:
    """What the measured process does: one caption with 3 beams."""
    import numpy as np

    from openblip import Blip

    photo = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    Blip.load(model, precision=precision).caption(photo)
    print(peak_mib())
    return 0


def _start(precision: str, model: Path, kept: Path) -> str:
    command = [sys.executable, "-m", "benchmarks.memory", precision, str(model)]
    start = time.perf_counter()
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, env={**os.environ, "OPENBLIP_CACHE": str(kept)}
    )
    seconds = time.perf_counter() - start
    return f"{float(done.stdout) * 2**20 / 1e9:.2f} GB, {seconds:.1f} s"


if __name__ == "__main__":
    sys.exit(caption(*sys.argv[1:]) if sys.argv[1:] else main())
