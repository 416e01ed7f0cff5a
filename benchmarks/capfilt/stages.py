"""The stages of the experiment, each a few commands of openblip. A stage whose results are there is passed over, and a
training run that was cut off goes on, so that the whole may be run in pieces."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.capfilt.noise import corrupt, split_clean
from benchmarks.capfilt.plan import ARMS, Experiment, Steps, equal_steps, pretrain_toml, tune_toml
from openblip.bulk.shards import Sample, find_shards, read_shards, write_shard
from openblip.text import train_vocabulary

OPENBLIP = [sys.executable, "-m", "openblip"]
NOISY_SHARDS = 8


def make_noise(experiment: Experiment) -> None:
    """The noisy shards, the clean one, and the vocabulary of both."""
    if experiment.vocabulary.exists():
        return
    samples = list(read_shards(find_shards(experiment.data / "flickr8k" / "train-*.tar")))
    chosen = split_clean([sample.key for sample in samples], experiment.clean, experiment.seed)
    clean = [sample for sample in samples if sample.key in chosen]
    others = [sample for sample in samples if sample.key not in chosen]
    noisy = corrupt([sample.captions for sample in others], experiment.share, experiment.seed, experiment.texts)
    write_shard(experiment.clean_shard, ((sample, {"captions": list(sample.captions)}) for sample in clean))
    for place in range(NOISY_SHARDS):
        rows = list(zip(others, noisy, strict=True))[place::NOISY_SHARDS]
        path = experiment.noisy_shards / f"noisy-{place:04d}.tar"
        write_shard(path, ((sample, {"captions": list(each.texts), **asdict(each)}) for sample, each in rows))
    texts = [text for each in noisy for text in each.texts] + [text for sample in clean for text in sample.captions]
    train_vocabulary(texts, 4000, experiment.vocabulary)


def tune_models(experiment: Experiment) -> None:
    """The model of the noisy set as it is, and from it captioner and filter, which all arms share."""
    pictures = sum(1 for _ in read_shards(find_shards(experiment.noisy_shards)))
    batches = pictures // experiment.batch
    base, epochs = experiment.run("base"), max(1, round(experiment.steps / batches))
    shards = find_shards(experiment.noisy_shards)
    train(base, pretrain_toml(experiment, base, shards, epochs, batches, experiment.seed))
    for name in ("captioner", "filter"):
        output = experiment.run(name)
        train(output, tune_toml(experiment, output, base / "checkpoint", captioner=name == "captioner"))


def bootstrap(experiment: Experiment) -> None:
    """The data of the three bootstrapped arms."""
    captioner, filter_ = (str(experiment.run(name) / "checkpoint") for name in ("captioner", "filter"))
    # Both decide by the cosine: in so few steps the ITM head learns next to nothing (docs/capfilt.md).
    clean_up(experiment, "filter", "none", filter_, "--keep-fraction", str(experiment.keep), "--by", "itc")
    clean_up(experiment, "captioner", captioner, "none")
    report = json.loads((experiment.bootstrapped("filter") / "report.json").read_text(encoding="utf-8"))
    clean_up(experiment, "both", captioner, filter_, "--itc", repr(report["thresholds"]["itc"]))


def clean_up(experiment: Experiment, arm: str, captioner: str, filter_: str, *decision: str) -> None:
    """One arm's data, by `openblip capfilt`, which passes over what is done."""
    out = str(experiment.bootstrapped(arm))
    models = ("--captioner", captioner, "--filter", filter_)
    call("capfilt", str(experiment.noisy_shards), "--out", out, *models, *decision)


def train_arms(experiment: Experiment) -> None:
    """Four models for each seed, all with the same number of steps."""
    sources = {arm: experiment.bootstrapped(arm) / "shards" for arm in ARMS[1:]} | {"none": experiment.noisy_shards}
    samples = {arm: list(read_shards(find_shards(sources[arm]))) for arm in ARMS}
    steps, plans = equal_steps([len(samples[arm]) for arm in ARMS], experiment.batch, experiment.steps)
    for arm, plan in zip(ARMS, plans, strict=True):
        if not experiment.arm_shard(arm).exists():
            write_shard(experiment.arm_shard(arm), chosen_pictures(samples[arm], plan, experiment.seed))
    sizes = {arm: asdict(plan) for arm, plan in zip(ARMS, plans, strict=True)}
    texts = {arm: sum(len(sample.captions) for sample in samples[arm]) for arm in ARMS}
    (experiment.work / "steps.json").write_text(json.dumps({"steps": steps, "arms": sizes, "texts": texts}, indent=2))
    for seed in experiment.seeds:
        for arm, plan in zip(ARMS, plans, strict=True):
            output = experiment.run(f"{arm}-{seed}")
            batches = plan.batches(experiment.batch)
            toml = pretrain_toml(experiment, output, [experiment.arm_shard(arm)], plan.epochs, batches, seed)
            train(output, toml)


def evaluate(experiment: Experiment) -> None:
    """Captions and retrieval of every arm and seed on the development photos."""
    for seed in experiment.seeds:
        for arm in ARMS:
            output = experiment.run(f"{arm}-{seed}")
            for task in ("caption", "retrieval"):
                result = output / f"{task}.json"
                if not result.exists():
                    model = str(output / "checkpoint")
                    depth = ["--rerank", "0"] if task == "retrieval" else []
                    said = call("eval", task, "--data", str(experiment.dev), "--model", model, *depth, "--json")
                    write_whole(result, said.encode())


def chosen_pictures(samples: Sequence[Sample], plan: Steps, seed: int) -> Iterable[tuple[Sample, dict[str, Any]]]:
    """As many of an arm's pictures as its epochs go over, drawn by their names, in their order."""
    kept = split_clean([sample.key for sample in samples], plan.pictures, seed)
    return ((sample, {"captions": list(sample.captions)}) for sample in samples if sample.key in kept)


def train(output: Path, toml: str) -> None:
    """Begin a run, or go on with it; a finished one is left as it is, without its cached features."""
    done = output / "done"
    if done.exists():
        return
    output.mkdir(parents=True, exist_ok=True)
    config = output / "run.toml"
    write_whole(config, toml.encode())
    resume = ["--resume"] if (output / "resume.pt").exists() else []
    call("train", "pretrain", "--config", str(config), *resume)
    shutil.rmtree(output / "features", ignore_errors=True)
    done.touch()


def call(*arguments: str) -> str:
    """Run a command of openblip and return what it prints; what it says on stderr is shown. Raises SystemExit where it
    fails."""
    sys.stderr.write(f"$ openblip {' '.join(arguments)}\n")
    done = subprocess.run([*OPENBLIP, *arguments], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"openblip {arguments[0]} failed with {done.returncode}")
    return done.stdout


def write_whole(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(content)
    part.replace(path)
