"""What a run over many photos costs beside the engine: `python -m benchmarks.bulk --data ../shared/data --write`.

Three ways to caption the same photos with the same loaded model, in turn and in one process, so that what else the
machine does falls on all of them alike:

- engine: pixels that are already decoded go to the engine, encode and search, in the same batches and lanes;
- caption_each: `Blip.caption_each` over paths of files, decoding included;
- command: what `openblip caption FOLDER --output captions.jsonl` does once the model is loaded: finding the files,
  captions, journal, output.

Photos a second and seconds of CPU a photo: medians over the rounds, and of the ratio to the engine within each round.
The seconds of CPU say what decoding and writing add; they do not grow where other processes wait for the same cores.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

from benchmarks.machine import machine
from openblip import Blip
from openblip.image import DEFAULT_LIMITS
from openblip.pictures import Clock, read_batches
from openblip.tasks.captions import Captioner
from openblip.tasks.encoded import Encoded
from openblip.types import GenerateOptions

RESULTS = Path(__file__).resolve().parent / "results"
ABOUT = {
    "engine": "the engine: encode and search of pixels at hand",
    "caption_each": "`Blip.caption_each` over files",
    "command": "`openblip caption --output captions.jsonl`, the model loaded",
}
LANES = 4  # as the command asks for

Figures = dict[str, float]
"""photos_per_s, and cpu_s_a_photo."""


def main() -> int:
    """Measure, print the table, write it with the figures as JSON."""
    arguments = _arguments()
    load_before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        photos = _unpacked(arguments.data / "flickr8k" / "dev-0000.tar", Path(folder) / "photos", arguments.photos)
        ways = _ways(Blip.load(arguments.model, lanes=LANES), photos, Path(folder) / "captions.jsonl")
        for work in ways.values():
            work()
        rounds = [_round(ways, number, arguments.photos) for number in range(arguments.rounds)]
    result = {
        "photos": arguments.photos,
        "model": arguments.model,
        "rounds": rounds,
        "machine": machine(load_before, ("openblip", "openvino", "numpy", "pillow")),
    }
    table = _table(result)
    print(table)
    if arguments.write:
        (RESULTS / "bulk.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
        (RESULTS / "bulk.md").write_text(table + "\n", encoding="utf-8")
    return 0


def _unpacked(shard: Path, folder: Path, count: int) -> Path:
    folder.mkdir()
    with tarfile.open(shard) as archive:
        for member in [member for member in archive if member.name.endswith(".jpg")][:count]:
            content = archive.extractfile(member)
            assert content is not None
            (folder / Path(member.name).name).write_bytes(content.read())
    return folder


def _round(ways: dict[str, Callable[[], int]], number: int, photos: int) -> dict[str, Figures]:
    """Each way once; each round begins with another."""
    names, found = list(ways), dict[str, Figures]()
    for place in range(len(names)):
        name = names[(number + place) % len(names)]
        wall, cpu = time.perf_counter(), time.process_time()
        done = ways[name]()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        assert done == photos, f"{name}: {done} of {photos}"
        found[name] = {"photos_per_s": photos / wall, "cpu_s_a_photo": cpu / photos}
    return found


def _ways(blip: Blip, photos: Path, output: Path) -> dict[str, Callable[[], int]]:
    """Each returns how many captions it found."""
    paths, part, options = sorted(photos.iterdir()), blip.part("caption"), GenerateOptions()
    captioner, size = Captioner(part, options), part.pictures_a_call(options.rows)
    batches = list(read_batches(paths, size, [part.config.vision], DEFAULT_LIMITS, Clock()))
    pool = ThreadPoolExecutor(part.engine.lanes)

    def caption(batch: Any) -> int:
        return len(captioner.captions(Encoded(batch, [part], Clock()), captioner.encode_prompts([""] * len(batch))))

    def by_engine() -> int:
        return sum(pool.map(caption, batches))

    def by_caption_each() -> int:
        return sum(len(outcome.captions) for outcome in blip.caption_each(paths))

    def by_command() -> int:
        _run_command(blip, photos, output)
        return len(output.read_text(encoding="utf-8").splitlines())

    return {"engine": by_engine, "caption_each": by_caption_each, "command": by_command}


def _run_command(blip: Blip, photos: Path, output: Path) -> None:
    from openblip import cli

    load = Blip.load
    Blip.load = lambda *_, **__: blip  # type: ignore[method-assign]
    try:
        with redirect_stderr(StringIO()):
            assert cli.run(["caption", str(photos), "--output", str(output)]) == 0
    finally:
        Blip.load = load  # type: ignore[method-assign]


def _table(result: dict[str, Any]) -> str:
    rounds, described = result["rounds"], result["machine"]
    lines = ["| what | photos/s | of the engine's | CPU ms a photo | of the engine's |", "|---|---|---|---|---|"]
    for way, about in ABOUT.items():
        cells = []
        for figure, form in (("photos_per_s", "{:.1f}"), ("cpu_s_a_photo", "{:.1f}")):
            scale = 1000 if figure == "cpu_s_a_photo" else 1
            median = statistics.median(each[way][figure] for each in rounds) * scale
            ratio = statistics.median(each[way][figure] / each["engine"][figure] for each in rounds)
            cells += [form.format(median), f"{ratio:.0%}"]
        lines.append(f"| {about} | {' | '.join(cells)} |")
    lines += ["", f"{result['photos']} photos of Flickr8k dev, {result['model']}, 3 beams; {len(rounds)} rounds."]
    lines.append(f"{described['cpu']}, {described['cores']} cores, load before: {described['load_before']}.")
    lines.append("`python -m benchmarks.bulk --data ../shared/data --write` measures it.")
    return "\n".join(lines)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--model", default="mini")
    parser.add_argument("--photos", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--write", action="store_true", help="Write results/bulk.md and bulk.json.")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
