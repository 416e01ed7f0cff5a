"""The experiment of benchmarks/capfilt: its noise, its runs' TOML, equal steps and the table. Nothing is trained."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.capfilt import kinds, stages
from benchmarks.capfilt.noise import KINDS, alt_text, corrupt, split_clean, truncate
from benchmarks.capfilt.plan import ARMS, SPARES, Experiment, equal_steps, pretrain_toml, to_toml, tune_toml
from benchmarks.capfilt.table import accepted_by_kind, draw, markdown, order_lines, read_results
from noisy import picture_bytes, tiny_checkpoint, write_tar
from openblip.bulk.shards import Sample, find_shards, read_shards
from openblip.train.config import read_config

CAPTIONS = [[f"a dog number {place} runs on the grass", f"dog {place} plays with a ball"] for place in range(60)]


@given(st.integers(0, 1000), st.floats(0, 1), st.integers(1, 2))
def test_noise_is_of_the_asked_share_and_kinds_and_follows_from_the_seed(seed: int, share: float, texts: int) -> None:
    noisy = corrupt(CAPTIONS, share, seed, texts)
    assert noisy == corrupt(CAPTIONS, share, seed, texts)
    kinds = [each.kind for each in noisy]
    bad = len(CAPTIONS) - kinds.count("clean")
    assert bad == round(share * len(CAPTIONS))
    assert all(abs(kinds.count(kind) - bad / 3) <= 2 for kind in KINDS)
    for place, each in enumerate(noisy):
        assert each.clean == tuple(CAPTIONS[place])
        assert len(each.texts) == texts
        own = set(CAPTIONS[place])
        if each.kind == "clean":
            assert set(each.texts) <= own
        elif each.kind == "swapped":
            assert not set(each.texts) & own
            assert all(any(text in others for others in CAPTIONS) for text in each.texts)
        elif each.kind == "truncated":
            for text in each.texts:
                assert any(whole.startswith(text) and len(whole) > len(text) for whole in own)
                assert 1 <= len(text.split()) <= 3
        else:
            assert not set(each.texts) & {text for others in CAPTIONS for text in others}


def test_swapped_pictures_take_one_anothers_texts() -> None:
    noisy = [each for each in corrupt(CAPTIONS, 0.9, 3) if each.kind == "swapped"]
    donors = [next(place for place, own in enumerate(CAPTIONS) if each.texts[0] in own) for each in noisy]
    swapped = [place for place, own in enumerate(CAPTIONS) if tuple(own) in {each.clean for each in noisy}]
    assert sorted(donors) == swapped  # each gives to one and takes from one


def test_other_seeds_other_noise() -> None:
    assert corrupt(CAPTIONS, 0.6, 1) != corrupt(CAPTIONS, 0.6, 2)
    with pytest.raises(ValueError, match="share"):
        corrupt(CAPTIONS, 1.5, 0)


def test_texts_of_one_word_can_be_truncated_and_turned_to_alt_text() -> None:
    for seed in range(40):
        random = np.random.default_rng(seed)
        assert truncate("dog", random) == "dog"
        assert alt_text("the", random)
        assert "{" not in alt_text("a red car", random)


def test_the_clean_pictures_do_not_depend_on_the_order() -> None:
    keys = [str(place) for place in range(50)]
    assert split_clean(keys, 10, 1) == split_clean(keys[::-1], 10, 1) != split_clean(keys, 10, 2)
    with pytest.raises(ValueError, match="more than"):
        split_clean(keys, 51, 1)


@given(st.lists(st.integers(600, 6000), min_size=4, max_size=4), st.integers(300, 1500))
def test_all_arms_take_the_same_number_of_steps(pictures: list[int], about: int) -> None:
    steps, plans = equal_steps(pictures, 64, about)
    assert abs(steps - about) <= about / 10
    for count, plan in zip(pictures, plans, strict=True):
        assert plan.epochs * plan.batches(64) == steps
        assert plan.pictures <= count


def test_the_arms_of_the_experiment_go_without_few_pictures() -> None:
    steps, plans = equal_steps([5091, 2143, 5091, 4411], 64, 1000)
    assert abs(steps - 1000) <= 100
    for count, plan in zip([5091, 2143, 5091, 4411], plans, strict=True):
        assert plan.batches(64) >= int((count // 64) * (1 - SPARES[0])) - 1


def test_too_few_pictures_for_a_batch() -> None:
    with pytest.raises(ValueError, match="fewer than a batch"):
        equal_steps([5000, 63], 64, 1000)


@pytest.fixture
def experiment(tmp_path: Path) -> Experiment:
    return Experiment(work=tmp_path / "work", data=tmp_path / "data")


def test_the_runs_are_ones_that_pre_training_reads(experiment: Experiment, tmp_path: Path) -> None:
    texts = {
        "pretrain": pretrain_toml(experiment, tmp_path / "a", [tmp_path / "0.tar"], 13, 78, 1),
        "captioner": tune_toml(experiment, tmp_path / "b", tmp_path / "start", captioner=True),
        "filter": tune_toml(experiment, tmp_path / "c", tmp_path / "start", captioner=False),
    }
    configs = {}
    for name, text in texts.items():
        (tmp_path / f"{name}.toml").write_text(text)
        configs[name] = read_config(tmp_path / f"{name}.toml")
    assert configs["pretrain"].optimiser.epochs == 13
    assert configs["pretrain"].objective.queue_start_epoch == 2
    assert configs["pretrain"].model.vision.kind == "mobilenet_v2"
    assert (configs["captioner"].objective.itm_weight, configs["captioner"].objective.lm_weight) == (0.0, 1.0)
    assert (configs["filter"].objective.itm_weight, configs["filter"].objective.lm_weight) == (1.0, 0.0)
    assert configs["filter"].start == str(tmp_path / "start")
    assert configs["captioner"].data.shards == (str(experiment.clean_shard),)
    assert len({repr(config.model) for config in configs.values()}) == 1


def test_toml_of_plain_values() -> None:
    values = {"a": 'x"y', "b": {"c": [1.5, 2], "d": {"e": True}}}
    assert to_toml(values) == 'a = "x\\"y"\n\n[b]\nc = [1.5, 2]\n\n[b.d]\ne = true\n'


def test_the_noisy_set_is_made_of_the_shards(experiment: Experiment) -> None:
    members = []
    for place in range(40):
        members += [
            (f"{place}.jpg", picture_bytes(place)),
            (f"{place}.json", json.dumps({"captions": CAPTIONS[place]}).encode()),
        ]
    write_tar(experiment.data / "flickr8k" / "train-0000.tar", members)
    small = replace(experiment, clean=10)
    stages.make_noise(small)
    clean, noisy = list(read_shards([small.clean_shard])), list(read_shards(find_shards(small.noisy_shards)))
    assert len(clean) == 10
    assert {each.key for each in clean} | {each.key for each in noisy} == {str(place) for place in range(40)}
    assert len(noisy) == 30
    assert sum(each.metadata["kind"] == "clean" for each in noisy) == 12
    assert "[DEC]" in small.vocabulary.read_text()
    made = {path: path.stat().st_mtime_ns for path in small.work.rglob("*.tar")}
    stages.make_noise(small)
    assert {path: path.stat().st_mtime_ns for path in small.work.rglob("*.tar")} == made


def result(cider: float, recall: float) -> tuple[str, str]:
    recalls = {"text_to_image_r1": recall, "image_to_text_r1": recall + 0.01}
    return json.dumps({"cider": cider}), json.dumps({"itc": recalls, "itm": None})


def test_the_table_is_of_what_the_evaluations_wrote(experiment: Experiment, tmp_path: Path) -> None:
    for place, arm in enumerate(ARMS):
        for seed in experiment.seeds:
            folder = experiment.run(f"{arm}-{seed}")
            folder.mkdir(parents=True)
            caption, retrieval = result(0.1 * place + 0.02 * seed, 0.05 * place)
            (folder / "caption.json").write_text(caption)
            (folder / "retrieval.json").write_text(retrieval)
    results = read_results(experiment)
    table = markdown(results)
    assert "| no bootstrapping | 0.010 ± 0.014 | 0.000 ± 0.000 | 0.010 ± 0.000 |" in table
    assert "| captioner + filter | 0.310 ± 0.014 |" in table
    assert "CIDEr-D: captioner + filter over captioner +0.100, 2 of 2 seeds" in order_lines(results)
    draw(results, tmp_path / "plot.svg")
    first = (tmp_path / "plot.svg").read_bytes()
    draw(results, tmp_path / "plot.svg")
    assert (tmp_path / "plot.svg").read_bytes() == first
    assert b"CIDEr-D" in first or b"<svg" in first


def test_what_the_filter_accepts_is_counted_by_kind() -> None:
    noisy = [Sample(str(place), b"", ("a",), {"kind": kind}) for place, kind in enumerate(["clean", "clean", "alt"])]
    texts = [{"source": "web", "decision": "kept"}, {"source": "synthetic", "decision": "kept"}]
    kept = [Sample("0", b"", ("a",), {"kind": "clean", "capfilt": {"texts": texts}})]
    assert accepted_by_kind(noisy, kept) == {"alt": (0, 1), "clean": (1, 2)}


def test_what_is_kept_of_each_kind_is_measured_by_real_runs(experiment: Experiment, tmp_path: Path) -> None:
    members = []
    for place in range(20):
        captions = json.dumps({"captions": CAPTIONS[place]}).encode()
        members += [(f"{place}.jpg", picture_bytes(place)), (f"{place}.json", captions)]
    write_tar(experiment.data / "flickr8k" / "dev-0000.tar", members)
    kinds.write_noisy(list(read_shards([experiment.dev])), tmp_path / "noisy")
    noisy, model = list(read_shards(find_shards(tmp_path / "noisy"))), tiny_checkpoint(tmp_path / "model")
    everything = kinds.row(tmp_path, ("--itc", "-1"), noisy, "none", model)
    assert everything == "| `--itc -1` | 100% of 4 | 100% of 8 | 100% of 4 | 100% of 4 | - |"
    half = kinds.row(tmp_path, ("--keep-fraction", "0.5"), noisy, "none", model)
    assert half.startswith("| `--keep-fraction 0.5` | ")
    assert half != everything


def test_the_command_says_its_stages() -> None:
    command = [sys.executable, "-m", "benchmarks.capfilt"]
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run([*command, "--help"], cwd=root, capture_output=True, text=True, check=True)
    assert "bootstrap" in done.stdout
    wrong = subprocess.run([*command, "sleep"], cwd=root, capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
    assert "no stage is called sleep" in wrong.stderr
