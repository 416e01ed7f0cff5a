"""How fast a model captions on this machine, with the engine that openblip ships: `make bench`.

Measures three things for each precision, all in one run: photos a second in batches, milliseconds for one photo, both
split into decode, preprocess, encode and search, and how long `openblip caption` takes for one photo, from the start of
its process. Prints a Markdown table and writes the same figures as JSON. Run it with nothing else going on: it says how
busy the machine was before.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.machine import machine as described
from openblip import Blip, GenerateOptions, OpenBlipError, Timing
from openblip.bulk.shards import find_shards, read_shards
from openblip.engines.openvino.processor import checked_threads

CHECKOUT = Path(__file__).resolve().parent.parent
PACKAGES = ("openblip", "openvino", "numpy", "pillow", "tokenizers")
OPTIONS = GenerateOptions(num_beams=3)
BATCH = 32  # what the pipeline computes at a time with these options
STAGES = ("decode", "preprocess", "encode", "search")


@dataclass(frozen=True)
class Figures:
    """What was measured at one precision; the stages are milliseconds a photo."""

    precision: str
    threads: int
    load_s: float
    photos_per_s: float
    batch_stages_ms: dict[str, float]
    single_ms: float
    single_p90_ms: float
    single_stages_ms: dict[str, float]
    process_first_s: float
    process_s: float


def main() -> int:
    """Measure, print the table, write the JSON."""
    arguments = _arguments()
    photos, origin = _photos(arguments.data, arguments.photos)
    load_before = os.getloadavg()[0]
    figures, refused = [], {}
    for precision in arguments.precisions.split(","):
        print(f"measuring {precision} ...", file=sys.stderr, flush=True)
        try:
            figures.append(_measure(precision, photos, arguments))
        except OpenBlipError as error:
            refused[precision] = str(error)
    machine = described(load_before, PACKAGES)
    words = [os.path.relpath(word, CHECKOUT) if Path(word).is_absolute() else word for word in sys.argv[1:]]
    command = shlex.join(["python", "-m", "benchmarks.mini", *words])
    result = {
        "command": command,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": Path(arguments.model).name,
        "photos": {"count": len(photos), "origin": origin, "batch": BATCH},
        "machine": machine,
        "figures": [asdict(entry) for entry in figures],
        "refused": refused,
    }
    print(_table(result, figures))
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"written to {arguments.output}", file=sys.stderr)
    return 0 if figures else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="How fast a model captions on this machine.")
    parser.add_argument("--model", default="mini", help="a model's name or folder")
    parser.add_argument("--precisions", default="f32,bf16,int8", help="separated by commas")
    parser.add_argument("--threads", type=int, help="default: the engine's choice")
    parser.add_argument("--photos", type=int, default=256, help=f"in one call, which computes {BATCH} at a time")
    parser.add_argument("--singles", type=int, default=40, help="calls with one photo")
    parser.add_argument("--rounds", type=int, default=3, help="rounds in batches; the median counts")
    parser.add_argument("--starts", type=int, default=5, help="starts of the command, after one with an empty cache")
    parser.add_argument("--data", nargs="*", default=[], help="WebDataset shards; default: the sample photos, repeated")
    parser.add_argument("--output", type=Path, default=CHECKOUT / "benchmarks" / "results" / "mini.json")
    return parser.parse_args()


def _photos(data: Sequence[str], count: int) -> tuple[list[bytes], str]:
    """Encoded photos, and where they are from."""
    if data:
        shards = [shard for source in data for shard in find_shards(source)]
        different = [sample.image_bytes for sample in islice(read_shards(shards), count)]
        origin = f"{len(different)} photos of {', '.join(shard.name for shard in shards)}"
    else:
        files = sorted((CHECKOUT / "samples").glob("*.jpg"))
        different = [file.read_bytes() for file in files]
        origin = f"{len(files)} sample photos, repeated"
    return [different[index % len(different)] for index in range(count)], origin


def _measure(precision: str, photos: Sequence[bytes], arguments: argparse.Namespace) -> Figures:
    start = time.perf_counter()
    blip = Blip.load(arguments.model, precision=precision, threads=arguments.threads)
    blip.caption(photos[:1], options=OPTIONS)
    load_s = time.perf_counter() - start
    photos_per_s, batch_stages = _in_batches(blip, photos, arguments.rounds)
    singles, single_stages = _one_by_one(blip, photos, arguments.singles)
    first, later = _process_starts(precision, arguments)
    return Figures(
        precision=precision,
        threads=checked_threads(arguments.threads),
        load_s=round(load_s, 3),
        photos_per_s=round(photos_per_s, 1),
        batch_stages_ms=batch_stages,
        single_ms=round(statistics.median(singles), 1),
        single_p90_ms=round(statistics.quantiles(singles, n=10)[-1], 1),
        single_stages_ms=single_stages,
        process_first_s=round(first, 2),
        process_s=round(statistics.median(later), 2),
    )


def _in_batches(blip: Blip, photos: Sequence[bytes], rounds: int) -> tuple[float, dict[str, float]]:
    """Photos a second (median round) of one call with all photos, and the milliseconds a photo of each stage."""
    blip.caption(photos[:BATCH], options=OPTIONS)
    speeds, timings = [], []
    for _ in range(rounds):
        start = time.perf_counter()
        blip.caption(photos, options=OPTIONS)
        speeds.append(len(photos) / (time.perf_counter() - start))
        timings.append(blip.timing)
    return statistics.median(speeds), _stages_ms(timings, rounds * len(photos))


def _one_by_one(blip: Blip, photos: Sequence[bytes], calls: int) -> tuple[list[float], dict[str, float]]:
    """Milliseconds of each call with one photo, and of each stage on average."""
    for photo in photos[:4]:
        blip.caption([photo], options=OPTIONS)
    times_ms, timings = [], []
    for index in range(calls):
        start = time.perf_counter()
        blip.caption([photos[index % len(photos)]], options=OPTIONS)
        times_ms.append((time.perf_counter() - start) * 1000)
        timings.append(blip.timing)
    return times_ms, _stages_ms(timings, calls)


def _process_starts(precision: str, arguments: argparse.Namespace) -> tuple[float, list[float]]:
    """Seconds that `openblip caption PHOTO` takes: once with an empty cache of compiled graphs, and after that."""
    photo = sorted((CHECKOUT / "samples").glob("*.jpg"))[0]
    command = [str(Path(sys.executable).parent / "openblip"), "caption", str(photo)]
    command += ["--model", arguments.model, "--precision", precision]
    command += ["--threads", str(arguments.threads)] if arguments.threads else []
    times = []
    with tempfile.TemporaryDirectory() as cache:
        for _ in range(arguments.starts + 1):
            start = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True, env={**os.environ, "OPENBLIP_CACHE": cache})
            times.append(time.perf_counter() - start)
    return times[0], times[1:]


def _stages_ms(timings: Sequence[Timing], photos: int) -> dict[str, float]:
    return {
        stage: round(sum(getattr(timing, f"{stage}_s") for timing in timings) / photos * 1000, 2) for stage in STAGES
    }


def _table(result: dict[str, Any], figures: Sequence[Figures]) -> str:
    """One column a precision, then what it was measured with."""
    photos, machine = result["photos"], result["machine"]
    split = f"ms a photo: {' / '.join(STAGES)}"
    rows = {
        f"photos a second, batches of {photos['batch']}": [f"**{entry.photos_per_s:.1f}**" for entry in figures],
        f"- {split}": [_joined(entry.batch_stages_ms) for entry in figures],
        "one photo, median (90th percentile)": [
            f"**{entry.single_ms:.1f} ms** ({entry.single_p90_ms:.1f})" for entry in figures
        ],
        f"- {split} ": [_joined(entry.single_stages_ms) for entry in figures],
        "process start to caption (with an empty cache)": [
            f"**{entry.process_s:.2f} s** ({entry.process_first_s:.2f})" for entry in figures
        ],
        "loading, first caption included": [f"{entry.load_s:.2f} s" for entry in figures],
        "threads": [str(entry.threads) for entry in figures],
    }
    header = [f"{result['model']}, {OPTIONS.num_beams} beams", *(entry.precision for entry in figures)]
    table = [header, ["---"] * len(header), *([name.strip(), *cells] for name, cells in rows.items())]
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    notes = [
        *(f"{precision} was not run: {reason}" for precision, reason in result["refused"].items()),
        f"At most {OPTIONS.max_length} tokens; {photos['origin']}. In batches, decode and preprocess run in threads",
        "beside the model, so that the stages may add up to more than the time that passed.",
        f"{machine['cpu']} ({', '.join(machine['instructions'])}), {machine['cores']} cores, load before:",
        f"{machine['load_before']}.",
        f"Python {machine['python']}, {versions}.",
        f"Command: `{result['command']}`",
    ]
    return "\n".join([*(f"| {' | '.join(cells)} |" for cells in table), "", *notes])


def _joined(stages_ms: dict[str, float]) -> str:
    return " / ".join(f"{stages_ms[stage]:.1f}" for stage in STAGES)


if __name__ == "__main__":
    sys.exit(main())
