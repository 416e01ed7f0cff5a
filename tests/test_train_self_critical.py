"""Self-critical training: what the model proposes, what that earns, and that it comes to propose what earns more."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from openblip.metrics import CiderD, caption_tokens
from openblip.text import Tokenizer
from openblip.train.config import ObjectiveConfig
from openblip.train.objectives import PretrainObjective
from openblip.train.self_critical import SelfCritic
from tiny import tiny_config, write_vocabulary
from training import objective_for, random_batch

CAPTIONS = (
    ("a dog runs on the grass", "a brown dog on green grass"),
    ("two birds over the water", "birds in the sky over water"),
    ("a man rides a horse", "the man on the horse"),
    ("a child plays with a ball", "a young child holds a ball"),
)


@pytest.fixture
def tokenizer(tmp_path: Path) -> Tokenizer:
    return Tokenizer.from_vocabulary(write_vocabulary(tmp_path))


@pytest.fixture
def critic(tokenizer: Tokenizer) -> SelfCritic:
    return SelfCritic(CAPTIONS, tokenizer, 4)


def objective(critic: SelfCritic | None, **settings: Any) -> PretrainObjective:
    made = objective_for(tiny_config("vit"), ObjectiveConfig(queue=0, **settings), 0)
    made.critic = critic
    return made


def test_proposals_are_the_beams_and_leave_no_trace(critic: SelfCritic) -> None:
    made = objective(critic)
    batch = random_batch(made.model.config, 4, 1)
    states = made.model.vision(batch.pixels)
    made.train()
    tokens, lengths = critic.propose(made.model, states, made.model.text.keys_values(states))
    assert made.model.training
    assert len(tokens) == 16
    assert (tokens[:, 0] == made.model.config.text.dec_id).all()
    rows = [tuple(row[:length]) for row, length in zip(tokens.tolist(), lengths.tolist(), strict=True)]
    assert all(len(set(rows[start : start + 4])) == 4 for start in range(0, 16, 4))
    assert not tokens.is_inference()


def test_rewards_are_cider_of_the_own_picture_with_the_end_counted(critic: SelfCritic, tokenizer: Tokenizer) -> None:
    texts = ["a dog runs on the grass", "a dog runs on the", "a man rides a horse", "birds in the sky"]
    ended = [True, False, True, True]
    rows = [
        [*tokenizer.caption_prompt(text), *([tokenizer.sep_id] if end else [])]
        for text, end in zip(texts, ended, strict=True)
    ]
    padded = tokenizer.pad(rows)
    got = critic.rewards(torch.tensor([0, 2]), torch.from_numpy(padded.tokens), torch.from_numpy(padded.lengths))
    scorer = CiderD([[[*caption_tokens(text), "[SEP]"] for text in group] for group in CAPTIONS])
    words = [caption_tokens(text) + ["[SEP]"] * end for text, end in zip(texts, ended, strict=True)]
    expected = [
        [scorer.score(0, words[0]), scorer.score(0, words[1])],
        [scorer.score(2, words[2]), scorer.score(2, words[3])],
    ]
    assert got.tolist() == [pytest.approx(row) for row in expected]
    assert got[0, 0] > got[0, 1]
    assert got[1, 0] > got[1, 1]


def test_the_model_comes_to_propose_what_earns_more(critic: SelfCritic, tokenizer: Tokenizer) -> None:
    made = objective(critic, itc_weight=0.0, itm_weight=0.0, captions_per_image=2)
    rows = tokenizer.encode_unimodal([text for group in CAPTIONS for text in group], 20)
    pictures = random_batch(made.model.config, 4, 2)
    batch = replace(pictures, tokens=torch.from_numpy(rows.tokens), lengths=torch.from_numpy(rows.lengths))

    def train(steps: int, rate: float) -> list[float]:
        optimiser = torch.optim.Adam(made.model.parameters(), lr=rate)
        rewards = []
        for step in range(steps):
            losses = made(batch, 0.0, step)
            losses.total.backward()
            optimiser.step()
            optimiser.zero_grad()
            rewards.append(losses.parts.get("cider", losses.parts["lm"]).item())
        return rewards

    train(25, 1e-3)  # as a last stage it needs a model that captions somehow
    made.config = replace(made.config, lm_weight=0.0, cider_weight=1.0)
    rewards = train(50, 1e-4)
    assert sum(rewards[-10:]) / 10 > rewards[0] + 0.5


def test_without_a_weight_nothing_is_proposed(critic: SelfCritic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(SelfCritic, "propose")
    made = objective(critic)
    assert "cider" not in made(random_batch(made.model.config, 4, 1), 0.0, 1).parts


def test_blanked_words_and_thinned_pictures_are_for_training_alone() -> None:
    made = objective(None, word_dropout=0.5)
    made.model.vision.token_dropout = 0.5
    batch = random_batch(made.model.config, 4, 1)
    made.train()
    tokens = torch.full((64, 9), 7)
    blanked = made._blanked(tokens)
    assert (blanked[:, 0] == 7).all()
    assert 0.3 < (blanked[:, 1:] == made.model.config.text.pad_id).float().mean() < 0.7
    assert made.model.vision(batch.pixels).shape[1] == 1 + round((made.model.config.vision.tokens - 1) / 2)
    made.eval()
    assert torch.equal(made._blanked(tokens), tokens)
    assert made.model.vision(batch.pixels).shape[1] == made.model.config.vision.tokens
