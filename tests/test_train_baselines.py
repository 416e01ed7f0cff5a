"""Show and Tell and the dual encoder: their losses by hand, decoding against teacher forcing, runs by the same loop."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from openblip.bulk.shards import read_shards
from openblip.checkpoint import save_checkpoint
from openblip.engines.torch.model import BlipModel, VisionEncoder
from openblip.errors import CheckpointError, ModelError, TrainingError
from openblip.evaluate import evaluate_captions, evaluate_retrieval
from openblip.pipeline import Blip
from openblip.search import generate
from openblip.train.baselines import (
    CaptionObjective,
    ContrastiveObjective,
    DualEncoderTrainer,
    ShowAndTell,
    ShowAndTellEngine,
    ShowAndTellTrainer,
    load_show_and_tell,
)
from openblip.train.config import ObjectiveConfig, OptimiserConfig, PretrainConfig
from openblip.train.loop import Trainer
from openblip.train.objectives import PretrainBatch
from openblip.types import GenerateOptions
from shard_files import photo, write_shard
from tiny import random_pixels, random_tensors, tiny_config, write_vocabulary
from training import training_config
from training import write_shard as write_noise

CONFIG = tiny_config("mobilenet_v2")


@pytest.fixture(scope="module")
def model() -> ShowAndTell:
    torch.manual_seed(0)
    return ShowAndTell(CONFIG, VisionEncoder(CONFIG.vision, 0.0, 0.0).backbone, width=24).eval()


def batch(images: int = 3, captions: int = 2) -> PretrainBatch:
    generator = np.random.default_rng(0)
    tokens = generator.integers(6, CONFIG.text.vocab_size, (images * captions, 6))
    lengths = generator.integers(3, 7, images * captions)
    for row, length in enumerate(lengths):
        tokens[row, length - 1], tokens[row, length:] = CONFIG.text.sep_id, CONFIG.text.pad_id
    pixels = torch.from_numpy(random_pixels(CONFIG, images))
    return PretrainBatch(pixels, torch.arange(images), torch.from_numpy(tokens), torch.from_numpy(lengths))


# -------------------------------------------------------------------------------------------------------- Show and Tell


def test_the_picture_comes_first_and_words_follow(model: ShowAndTell) -> None:
    """By hand with torch's LSTM: the mean of the last map projected, then [DEC] and the words, one step each."""
    pixels, tokens = torch.from_numpy(random_pixels(CONFIG, 2)), torch.tensor([[4, 7, 9], [4, 8, 6]])
    with torch.no_grad():
        looked = model.image(model.vision.backbone.run(pixels).flatten(2).mean(dim=2))
        sequence = torch.cat([looked[:, None], model.tokens(tokens)], dim=1)
        expected = model.words(model.lstm(sequence)[0][:, 1:])
        found, _ = model(tokens, model.start(model.look(pixels)))
    assert_allclose(found, expected, atol=1e-5)
    assert float(found.std()) > 0


def test_decoding_gives_what_teacher_forcing_gives(model: ShowAndTell) -> None:
    """Prompts of unequal length, three beams that change places, a picture that leaves."""
    engine, pixels = ShowAndTellEngine(model), random_pixels(CONFIG, 3)
    prompts = np.array([[4, 0, 0], [4, 7, 8], [4, 9, 0]])
    lengths = np.array([1, 3, 2])
    decode, first = engine.decode(engine.encode_images(pixels), prompts, lengths, 3, 12)

    def forced(picture: int, tokens: list[int]) -> np.ndarray:
        with torch.no_grad():
            state = model.start(model.look(torch.from_numpy(pixels[picture : picture + 1])))
            return np.asarray(model(torch.tensor([tokens]), state)[0][0, -1])

    rows = [[list(map(int, prompts[picture, : lengths[picture]])) for _ in range(3)] for picture in range(3)]
    for picture in range(3):
        assert_allclose(first[picture], forced(picture, rows[picture][0]), atol=1e-5)
    generator, pictures = np.random.default_rng(1), [0, 1, 2]
    for step in range(4):
        tokens = generator.integers(6, CONFIG.text.vocab_size, (len(pictures), 3))
        parents = generator.integers(0, 3, (len(pictures), 3))
        found = decode.step(tokens, parents)
        for place, picture in enumerate(pictures):
            rows[picture] = [
                [*rows[picture][parent], int(token)]
                for parent, token in zip(parents[place], tokens[place], strict=True)
            ]
            for beam in range(3):
                assert_allclose(found[place, beam], forced(picture, rows[picture][beam]), atol=1e-5)
        if step == 1:
            decode.keep(np.array([0, 2]))
            pictures = [0, 2]


def test_the_search_writes_captions_and_a_batch_equals_singles(model: ShowAndTell) -> None:
    engine, pixels = ShowAndTellEngine(model), random_pixels(CONFIG, 4)
    start, options = np.full((4, 1), CONFIG.text.dec_id), GenerateOptions(max_length=8, min_length=3)
    together = generate(engine, engine.encode_images(pixels), start, np.ones(4, np.int64), options)
    for picture in range(4):
        states = engine.encode_images(pixels[picture : picture + 1])
        alone = generate(engine, states, start[:1], np.ones(1, np.int64), options)
        assert [each.tokens for each in alone[0]] == [each.tokens for each in together[picture]]
    taken = engine.encode_images(pixels).take(np.array([2]))
    assert generate(engine, taken, start[:1], np.ones(1, np.int64), options)[0][0].tokens == together[2][0].tokens


def test_it_only_writes_captions(model: ShowAndTell) -> None:
    engine, one = ShowAndTellEngine(model), np.ones((1, 1), np.int64)
    states = engine.encode_images(random_pixels(CONFIG, 1))
    for call in (
        lambda: engine.embed_images(states),
        lambda: engine.embed_texts(one, one[0]),
        lambda: engine.match(states, one[0], one, one[0]),
        lambda: engine.encode_questions(states, one[0], one, one[0]),
    ):
        with pytest.raises(ModelError, match="only writes captions"):
            call()


def test_padding_carries_no_loss(model: ShowAndTell) -> None:
    objective, given = CaptionObjective(model, ObjectiveConfig(captions_per_image=2, label_smoothing=0.0)), batch()
    expected, count = 0.0, 0
    with torch.no_grad():
        for row, length in enumerate(given.lengths.tolist()):
            tokens = given.tokens[row : row + 1, :length].clone()
            tokens[:, 0] = CONFIG.text.dec_id
            state = model.start(model.look(given.pixels[row // 2 : row // 2 + 1]))
            scores = model(tokens[:, :-1], state)[0].log_softmax(dim=-1)[0]
            expected -= float(scores[torch.arange(length - 1), tokens[0, 1:]].sum())
            count += length - 1
        losses = objective(given, 0.0, 0)
    assert float(losses.total) == pytest.approx(expected / count, abs=1e-5)
    assert given.tokens[0, 0] != CONFIG.text.dec_id  # the batch is left as it was


# --------------------------------------------------------------------------------------------------------- dual encoder


def test_the_contrast_by_hand() -> None:
    torch.manual_seed(0)
    config = replace(CONFIG, tasks=("embed",))
    model = BlipModel(config)
    model.initialise()
    objective, given = ContrastiveObjective(model.eval(), ObjectiveConfig(captions_per_image=2)), batch()
    with torch.no_grad():
        tokens = given.tokens.clone()
        tokens[:, 0] = config.text.cls_id
        images = model.embed_image(model.vision(given.pixels)).numpy()
        texts = model.embed_text(tokens, given.lengths).numpy()
        found = float(objective(given, 0.0, 0).total)
    logits = images @ texts.T / 0.07
    to_texts = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    to_images = logits.T - np.log(np.exp(logits.T).sum(axis=1, keepdims=True))
    by_image = -np.mean([(to_texts[image, 2 * image] + to_texts[image, 2 * image + 1]) / 2 for image in range(3)])
    by_text = -np.mean([to_images[text, text // 2] for text in range(6)])
    assert found == pytest.approx((by_image + by_text) / 2, abs=1e-4)


def test_pictures_that_are_there_twice_are_no_negatives() -> None:
    config = replace(CONFIG, tasks=("embed",))
    model = BlipModel(config)
    model.initialise()
    given = batch(2, 1)
    given.pixels[1], given.tokens[1], given.lengths[1] = given.pixels[0], given.tokens[0], given.lengths[0]
    objective = ContrastiveObjective(model.eval(), ObjectiveConfig())
    apart = float(objective(given, 0.0, 0).total.detach())
    given.ids[1] = given.ids[0]
    assert apart == pytest.approx(math.log(2), abs=1e-5)
    assert float(objective(given, 0.0, 0).total.detach()) == pytest.approx(math.log(2), abs=1e-5)
    loss = objective(given, 0.0, 0).total
    loss.backward()
    gradients = [
        float(parameter.grad.abs().max()) for parameter in model.itc.image.parameters() if parameter.grad is not None
    ]
    assert max(gradients) < 1e-6  # nothing is to be told apart


# ----------------------------------------------------------------------------------------------------------------- runs


@pytest.fixture(scope="module")
def shard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_noise(tmp_path_factory.mktemp("shards"))


def run_config(shard: Path, output: Path, epochs: int) -> PretrainConfig:
    config = training_config(shard, output, "mobilenet_v2")
    optimiser = OptimiserConfig(
        epochs=epochs, batch=6, warm_up_steps=2, learning_rate=3e-3, frozen_layers=21, dropout=0.0
    )
    return replace(config, optimiser=optimiser, data=replace(config.data, cached_views=1, canvas=64))


def test_show_and_tell_learns_by_the_loop(shard: Path, tmp_path: Path) -> None:
    trainer = ShowAndTellTrainer(run_config(shard, tmp_path, 12))
    before = trainer.captioner.averaged.words.weight.clone()
    trainer.run()
    log = trainer.log
    assert log[-1]["lm"] < 0.6 * log[0]["lm"]
    assert not torch.equal(before, trainer.captioner.averaged.words.weight)
    model = trainer.captioner.model
    assert not model.vision.backbone["20"].weight.requires_grad
    rates = sorted({group["peak"] for group in trainer.optimiser.param_groups})
    assert rates == pytest.approx([3e-4, 3e-3])
    blip = load_show_and_tell(tmp_path / "run" / "checkpoint")
    result = evaluate_captions(blip, read_shards([shard]), GenerateOptions(max_length=10, min_length=1))
    assert result.model == "show-and-tell"
    assert result.scores.images == 12
    assert result.scores.bleu1 > 0.2
    with pytest.raises(ModelError):
        evaluate_retrieval(blip, read_shards([shard]), rerank=0)


def test_the_dual_encoder_learns_by_the_loop(tmp_path: Path) -> None:
    """From weights that tell pictures apart, as small models drawn for training hardly do."""
    words = "dog cat man woman boy girl bird horse car bus train street".split()
    rows = ((f"p{place}", photo(place), {"captions": [f"a {w} runs", f"the red {w}"]}) for place, w in enumerate(words))
    shard, sizes = write_shard(tmp_path / "train.tar", rows), tiny_config("vit")
    save_checkpoint(tmp_path / "start", sizes, random_tensors(sizes), write_vocabulary(tmp_path))
    optimiser = OptimiserConfig(epochs=40, batch=6, warm_up_steps=2, learning_rate=1e-3, dropout=0.0)
    config = training_config(shard, tmp_path, optimiser=optimiser)
    config = replace(config, start=str(tmp_path / "start"), data=replace(config.data, vocabulary="", colour_jitter=0.0))
    trainer = DualEncoderTrainer(config)
    blip = Trainer(replace(config, output=str(tmp_path / "blip"))).objective.model
    assert torch.equal(blip.text.tokens.weight, trainer.objective.model.text.tokens.weight)
    trainer.run()
    losses = [line["itc"] for line in trainer.log]
    assert np.mean(losses[-6:]) < 0.7 * np.mean(losses[:2])
    trained = Blip.load(tmp_path / "run" / "checkpoint", engine="torch", precision="f32")
    assert trained.tasks == ("embed",)
    result = evaluate_retrieval(trained, read_shards([shard]), rerank=0)
    assert result.itc.text_to_image_r5 > 0.7  # chance is 5 of 12
    assert result.itc.image_to_text_r5 > 0.7
    with pytest.raises(ModelError, match="no weights to match"):
        evaluate_retrieval(trained, read_shards([shard]), rerank=4)


def test_all_arms_see_the_same_batches_and_share_features(shard: Path, tmp_path: Path) -> None:
    shared = tmp_path / "features"
    shared.mkdir()
    arms = []
    for number, kind in enumerate((Trainer, DualEncoderTrainer, ShowAndTellTrainer)):
        config = run_config(shard, tmp_path / str(number), 1)
        Path(config.output).mkdir()
        (Path(config.output) / "features").symlink_to(shared)
        arms.append(kind(config))
    blip, *others = arms
    blip.run()
    views = sorted(shared.glob("*.bin"))
    assert len(views) == 1
    written = views[0].stat().st_mtime_ns
    for other in others:
        expected = next(blip.data.epoch(0, 0, blip.features, 21))
        found = next(other.data.epoch(0, 0, other.features, 21))
        assert torch.equal(expected.tokens, found.tokens)
        assert torch.equal(expected.ids, found.ids)
    fresh = DualEncoderTrainer(replace(others[0].config))
    assert fresh.features is not None
    assert fresh.features.done == {0}
    fresh.run()
    assert views[0].stat().st_mtime_ns == written


def test_a_vit_has_no_map_for_show_and_tell(shard: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="mobilenet_v2"):
        ShowAndTellTrainer(training_config(shard, tmp_path))


def test_folders_that_hold_no_show_and_tell(tmp_path: Path, model: ShowAndTell) -> None:
    with pytest.raises(CheckpointError, match="train it anew"):
        load_show_and_tell(tmp_path)
    values = {"width": 12, "model": tiny_config("vit").to_dict()}
    (tmp_path / "show_and_tell.json").write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(CheckpointError, match="train it anew"):
        load_show_and_tell(tmp_path)
