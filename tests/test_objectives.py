"""The pre-training losses against their definitions."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from openblip.engines.torch.model import BlipModel
from openblip.train.config import ObjectiveConfig
from openblip.train.objectives import NO_ID, _draw, _targets
from tiny import tiny_config
from training import objective_for, random_batch


def test_captions_of_one_picture_are_never_negatives() -> None:
    ids, candidates = torch.tensor([7, 8]), torch.tensor([7, 7, 8, 9])
    targets = _targets(ids, candidates, torch.zeros(2, 4), alpha=0.0)
    assert targets.tolist() == [[0.5, 0.5, 0, 0], [0, 0, 1, 0]]
    soft = _targets(ids, candidates, torch.zeros(2, 4), alpha=0.4)
    assert torch.allclose(soft, 0.4 * 0.25 + 0.6 * targets)


def test_hard_negatives_follow_the_similarities_and_never_the_own_picture() -> None:
    similarity = torch.tensor([[9.0, 2.0, 0.0], [2.0, 9.0, 0.0], [0.0, 0.0, 9.0]])
    similarity.fill_diagonal_(float("-inf"))
    draws = torch.stack([_draw(similarity, seed, 3) for seed in range(400)])
    assert not (draws == torch.arange(3)).any()
    share = (draws[:, 0] == 1).float().mean().item()
    assert abs(share - math.exp(2) / (math.exp(2) + 1)) < 0.06


def test_language_loss_ignores_padding_and_the_text_after_it() -> None:
    config = tiny_config("vit")
    objective = objective_for(config, ObjectiveConfig(captions_per_image=1), 0).eval()
    batch = random_batch(config, 4, 1)
    changed = batch.tokens.clone()
    for row, length in enumerate(batch.lengths):
        changed[row, length:] = 9
    with torch.no_grad():
        losses = [objective(replace(batch, tokens=tokens), 0.0, 1) for tokens in (batch.tokens, changed)]
    for name in ("lm", "itc", "itm"):
        assert losses[0].parts[name].item() == pytest.approx(losses[1].parts[name].item(), abs=1e-6)


def test_language_loss_is_smoothed_cross_entropy() -> None:
    config = tiny_config("vit")
    objective = objective_for(config, ObjectiveConfig(captions_per_image=1, label_smoothing=0.1), 0).eval()
    batch = random_batch(config, 2, 1)
    model, text = objective.model, config.text
    with torch.no_grad():
        got = objective(batch, 0.0, 1).parts["lm"].item()
        keys_values = model.text.keys_values(model.vision(batch.pixels))
        tokens = batch.tokens.clone()
        tokens[:, 0] = text.dec_id
        log_probabilities = model.next_token_logits(
            model.text(tokens, batch.lengths, "decoder", keys_values)
        ).log_softmax(-1)
    terms = [
        0.9 * log_probabilities[row, step, tokens[row, step + 1]] + 0.1 * log_probabilities[row, step].mean()
        for row, length in enumerate(batch.lengths.tolist())
        for step in range(length - 1)
    ]
    assert got == pytest.approx(-float(torch.stack(terms).mean()), abs=1e-5)


def test_the_queue_holds_the_latest_pictures() -> None:
    config = tiny_config("vit")
    objective = objective_for(config, ObjectiveConfig(captions_per_image=2), 6).train()
    for step in range(2):
        batch = random_batch(config, 4, 2, seed=step)
        objective(replace(batch, ids=batch.ids + 4 * step), 0.4, step)
    assert sorted(objective.queue_ids.tolist()) == [2, 3, 4, 5, 6, 7]
    with torch.no_grad():
        newest = objective.averaged.embed_image(objective.averaged.vision(batch.pixels))
    place = objective.queue_ids.tolist().index(7)
    assert torch.allclose(objective.image_queue[place], newest[3], atol=1e-5)


def test_the_contrast_is_in_float32_under_autocast() -> None:
    config = tiny_config("vit")
    objective = objective_for(config, ObjectiveConfig(captions_per_image=2), 0).eval()
    batch = random_batch(config, 4, 2)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        images, texts, _ = objective._momentum_features(batch)
        _, (to_texts, to_images) = objective._contrastive(batch, images, texts, 0.4)
    assert to_texts.dtype == torch.float32
    assert torch.allclose(to_texts, images @ texts[::2].T / 0.07, atol=1e-5)
    assert torch.allclose(to_images, to_texts.T, atol=1e-5)


def test_a_closed_queue_stays_empty() -> None:
    config = tiny_config("vit")
    objective = objective_for(config, ObjectiveConfig(captions_per_image=2), 6).train()
    objective.queue_open = False
    objective(random_batch(config, 4, 2), 0.4, 0)
    assert (objective.queue_ids == NO_ID).all()


def test_a_fresh_model_tells_texts_apart() -> None:
    """As small as BERT's, the weights of a narrow model make all text embeddings alike: the contrast collapses."""
    config = tiny_config("vit")
    config = replace(config, text=replace(config.text, width=64, layers=4, mlp_width=256))
    torch.manual_seed(0)
    model = BlipModel(config).eval()
    model.initialise()
    batch = random_batch(config, 12, 1)
    tokens = batch.tokens.clone()
    tokens[:, 0] = config.text.cls_id

    def spread() -> float:
        with torch.no_grad():
            features = model.embed_text(tokens, batch.lengths)
        return (features - features.mean(dim=0)).norm(dim=-1).mean().item()

    started = spread()
    for name, parameter in model.named_parameters():
        if "attention" in name and parameter.ndim == 2:
            torch.nn.init.trunc_normal_(parameter, std=0.02)
    assert started > 0.15
    assert started > 5 * spread()


def test_the_encoder_can_start_from_the_decoder() -> None:
    config = tiny_config("vit")
    model = objective_for(config, ObjectiveConfig(), 0).model
    before = model.itm.weight.clone()
    model.start_encoder_from_decoder()
    state = model.state_dict()
    for name, value in state.items():
        if ".encoder_attention." in name:
            assert torch.equal(value, state[name.replace("encoder", "decoder")]), name
    assert not torch.equal(model.itm.weight, before)
    assert model.itc.temperature.item() == pytest.approx(0.07)
