"""BLIP beside a dual encoder (ITC alone, as CLIP is one) and Show and Tell: each trained by the same loop on the same
photos, epochs and cached features, and measured on the same development photos.

python -m benchmarks.comparison --config configs/comparison.toml --dev ../shared/data/flickr8k/dev-0000.tar --seeds 0 1

Every run leaves a result.json in its folder below --output and is not done again, so the command goes on where it was
stopped. All three run on the torch engine in f32 when they are measured. Prints the table of docs/comparison.md and
writes the figures to --results. Run it with nothing else going on: it says how busy the machine was before.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.machine import machine
from openblip import Blip, GenerateOptions, OpenBlipError
from openblip.bulk.shards import Sample, find_shards, read_shards
from openblip.evaluate import evaluate_captions, evaluate_retrieval
from openblip.train.config import PretrainConfig, read_config

RESULTS = Path(__file__).resolve().parent / "results" / "comparison.json"
PACKAGES = ("openblip", "torch", "numpy", "pillow")
SYSTEMS = {"blip": "BLIP", "dual-encoder": "dual encoder (ITC alone)", "show-and-tell": "Show and Tell"}
RERANK = (0, 16)
CANNOT, NOT_YET = "cannot", "not measured yet"

Run = Mapping[str, Any]
Rows = Sequence[tuple[str, Callable[[Run], float | None], str]]
"""What a row is called, its figure of a run, None where the system cannot do it, and how it is printed."""


def main() -> int:
    """Train and measure what is not there yet, print the table, write the JSON."""
    arguments = _arguments()
    config, load_before = read_config(arguments.config), os.getloadavg()[0]
    shards = [shard for source in arguments.dev for shard in find_shards(source)]
    samples = list(islice(read_shards(shards), arguments.limit))
    runs = []
    for seed in arguments.seeds:
        for system in SYSTEMS:
            _say(f"{SYSTEMS[system]}, seed {seed}")
            runs.append(run_once(system, seed, config, arguments.output, samples))
    result = {
        "command": shlex.join(["python", "-m", "benchmarks.comparison", *sys.argv[1:]]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(load_before, PACKAGES),
        "config": config.to_dict(),
        "images": len(samples),
        "runs": runs,
        "vqa": json.loads(arguments.vqa.read_text(encoding="utf-8")) if arguments.vqa else None,
    }
    arguments.results.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(table(result))
    return 0


def run_once(system: str, seed: int, config: PretrainConfig, output: Path, samples: Sequence[Sample]) -> dict[str, Any]:
    """One system trained with one seed, and its figures. The features of the frozen layers are computed before the
    clock starts, and shared by the systems."""
    folder, features = output / f"seed-{seed}" / system, output / f"seed-{seed}" / "features"
    result = folder / "result.json"
    if result.exists():
        return dict(json.loads(result.read_text(encoding="utf-8")))
    folder.mkdir(parents=True, exist_ok=True)
    features.mkdir(exist_ok=True)
    if not (folder / "features").exists():
        (folder / "features").symlink_to(features.resolve(), target_is_directory=True)
    trained = _train(system, replace(config, output=str(folder), seed=seed))
    figures = {"system": system, "seed": seed, **trained, **_measure(system, folder / "checkpoint", samples)}
    result.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return figures


def _train(system: str, config: PretrainConfig) -> dict[str, Any]:
    from openblip.train.baselines import DualEncoderTrainer, ShowAndTellTrainer
    from openblip.train.loop import Trainer

    trainers = {"blip": Trainer, "dual-encoder": DualEncoderTrainer, "show-and-tell": ShowAndTellTrainer}
    trainer = trainers[system](config)
    for view in range(min(config.data.cached_views, config.optimiser.epochs)):
        trainer._fill_features(view)
    start = time.process_time()  # of all cores together: it does not grow where something else runs beside
    trainer.run()
    seconds = time.process_time() - start
    model: Any = trainer.objective.model
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return {"train_core_s": seconds, "epochs": config.optimiser.epochs, "parameters": parameters}


def _measure(system: str, checkpoint: Path, samples: Sequence[Sample]) -> dict[str, Any]:
    """Captions and retrieval, as far as the system can do them."""
    from openblip.train.baselines import load_show_and_tell

    if system == "show-and-tell":
        blip = load_show_and_tell(checkpoint)
    else:
        blip = Blip.load(checkpoint, engine="torch", device="cpu", precision="f32")
    found: dict[str, Any] = {"captions": None, "retrieval": None}
    if "caption" in blip.tasks:
        captions = evaluate_captions(blip, samples, GenerateOptions())
        found["captions"] = {**captions.to_dict(), "images_per_s": len(samples) / captions.seconds}
    if "embed" in blip.tasks:
        depths = RERANK if "match" in blip.tasks else RERANK[:1]
        start = time.monotonic()
        first = evaluate_retrieval(blip, samples, RERANK[0])
        seconds = [time.monotonic() - start]
        result = first if len(depths) == 1 else evaluate_retrieval(blip, samples, depths)
        found["retrieval"] = {**result.to_dict(), "itc_images_per_s": len(samples) / seconds[0]}
    return found


def table(result: Mapping[str, Any] | None) -> str:
    """Markdown: a column a system, the mean over seeds and their range. None: nothing was measured."""
    runs: Sequence[Run] = result["runs"] if result else []
    rows = [f"| | {' | '.join(SYSTEMS.values())} |", "|---|" + "---|" * len(SYSTEMS)]
    for name, figure, form in _ROWS:
        cells = [
            _cell(system, [figure(run) for run in runs if run["system"] == system], name, form) for system in SYSTEMS
        ]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    vqa = (result or {}).get("vqa")
    answers = NOT_YET if vqa is None else f"{vqa['accuracy']:.3f} (prior {_number(vqa['prior'])})"
    return "\n".join([*rows, f"| answers: VQA accuracy, after fine-tuning | {answers} | {CANNOT} | {CANNOT} |"])


def _cell(system: str, values: Sequence[float | None], name: str, form: str) -> str:
    known = [value for value in values if value is not None]
    if (system, name.partition(":")[0]) in _IMPOSSIBLE or (name in _BLIP_ONLY and system != "blip"):
        return CANNOT
    if not known:
        return NOT_YET
    mean = form.format(sum(known) / len(known))
    return mean if len(known) == 1 else f"{mean} ({form.format(min(known))} to {form.format(max(known))})"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _at(*path: str) -> Callable[[Run], float | None]:
    """The figure at the end of these keys; None where a step is missing."""

    def figure(run: Run) -> float | None:
        value: Any = run
        for key in path:
            if value is None:
                return None
            value = value.get(key)
        return value

    return figure


def _minutes(run: Run) -> float | None:
    return float(run["train_core_s"]) / 60


def _millions(run: Run) -> float | None:
    return float(run["parameters"]) / 1e6


_ROWS: Rows = (
    ("captions: CIDEr-D", _at("captions", "cider"), "{:.3f}"),
    ("captions: BLEU-4", _at("captions", "bleu4"), "{:.3f}"),
    ("captions: distinct among the captions", _at("captions", "distinct_captions"), "{:.0f}"),
    ("captions: images a second", _at("captions", "images_per_s"), "{:.0f}"),
    ("retrieval: text to image R@1, ITC", _at("retrieval", "itc", "text_to_image_r1"), "{:.3f}"),
    ("retrieval: image to text R@1, ITC", _at("retrieval", "itc", "image_to_text_r1"), "{:.3f}"),
    ("retrieval: text to image R@1, best 16 by ITM", _at("retrieval", "itm", "text_to_image_r1"), "{:.3f}"),
    ("retrieval: image to text R@1, best 16 by ITM", _at("retrieval", "itm", "image_to_text_r1"), "{:.3f}"),
    ("retrieval: images a second, their captions embedded too", _at("retrieval", "itc_images_per_s"), "{:.0f}"),
    ("training, core minutes", _minutes, "{:.1f}"),
    ("parameters, million", _millions, "{:.1f}"),
)  # fmt: skip
_BLIP_ONLY = frozenset(name for name, _, _ in _ROWS if "ITM" in name)
_IMPOSSIBLE = frozenset({("dual-encoder", "captions"), ("show-and-tell", "retrieval")})


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--config", type=Path, required=True, help="of all runs: data, sizes, epochs")
    parser.add_argument("--dev", required=True, nargs="+", help="shards to measure on")
    parser.add_argument("--output", type=Path, default=Path("runs/comparison"), help="where the runs are kept")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the figures go")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--limit", type=int, help="only the first so many development photos")
    parser.add_argument(
        "--vqa", type=Path, help="what openblip eval vqa --json said of a BLIP fine-tuned for questions"
    )
    return parser.parse_args()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except OpenBlipError as error:
        sys.exit(f"error: {error}")
