"""What fine-tuning learns from: prompts and padding masked, answers weighed, layers' rates, blocks computed twice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from finetuning import asked_folder, captioned_folder, finetuner, settings, tiny_checkpoint
from openblip.config import ModelConfig
from openblip.engines.torch.model import BlipModel
from openblip.errors import OptionError
from openblip.train.answering import AnswerBatch, AnswerObjective
from openblip.train.config import ObjectiveConfig, OptimiserConfig
from openblip.train.losses import ENCODED, Objective
from openblip.train.optimiser import layer_share, layers_of, make_optimiser
from openblip.train.start import freeze, open_start, start_model
from tiny import random_tensors, tiny_config
from training import objective_for, random_batch


def captions_alone(**changes: object) -> ObjectiveConfig:
    return ObjectiveConfig(queue=0, itc_weight=0.0, itm_weight=0.0, **changes)  # type: ignore[arg-type]


def test_the_prompt_and_padding_carry_no_loss() -> None:
    objective = objective_for(tiny_config("vit"), captions_alone(), 0).eval()
    model, text = objective.model, objective.model.config.text
    batch = random_batch(model.config, 4, 1)
    given = 3
    with torch.no_grad():
        losses = objective(replace(batch, given=given), 0.0, 1)
        tokens = batch.tokens.clone()
        tokens[:, 0] = text.dec_id
        hidden = model.text(tokens, batch.lengths, "decoder", model.text.keys_values(model.vision(batch.pixels)))
        log_probabilities = model.next_token_logits(hidden).log_softmax(-1)
    terms = [
        0.9 * log_probabilities[row, place - 1, tokens[row, place]] + 0.1 * log_probabilities[row, place - 1].mean()
        for row, length in enumerate(batch.lengths.tolist())
        for place in range(given, length)
    ]
    assert losses.parts.keys() == {"lm"}
    assert losses.total.item() == pytest.approx(-float(torch.stack(terms).mean()), abs=1e-5)


def test_a_prompted_batch_starts_with_the_prompt_and_keeps_the_caption(tmp_path: Path) -> None:
    run = finetuner(
        settings("caption", captioned_folder(tmp_path / "data"), tiny_checkpoint(tmp_path), tmp_path / "run",
                 prompt="a picture of ", epochs=1)
    )  # fmt: skip
    batch = next(iter(run.batches()))
    prompt = run.tokenizer.caption_prompt("a picture of ")
    assert batch.given == len(prompt) == 4
    assert (batch.tokens[:, :4] == torch.tensor(prompt)).all()
    for row, length in zip(batch.tokens.tolist(), batch.lengths.tolist(), strict=True):
        assert row[length - 1] == run.tokenizer.sep_id
        assert run.tokenizer.decode(row[4:length]) in {text for each in run.pictures for text in each.captions}


def answer_config() -> ModelConfig:
    return replace(tiny_config("vit"), tasks=("answer",))


def answer_objective() -> AnswerObjective:
    model = BlipModel(answer_config())
    model.load_state_dict({name: torch.tensor(value) for name, value in random_tensors(answer_config()).items()})
    return AnswerObjective(model, 0.1)


def answer_batch() -> AnswerBatch:
    """Two pictures with two questions each and 2, 1, 1 and 3 answers."""
    questions, answers = random_batch(answer_config(), 2, 2), random_batch(answer_config(), 7, 1, seed=1)
    return AnswerBatch(
        questions.pixels, questions.tokens, questions.lengths, answers.tokens, answers.lengths,
        torch.tensor([0, 0, 1, 2, 3, 3, 3]), torch.tensor([0.7, 0.3, 1.0, 1.0, 0.5, 0.25, 0.25]),
    )  # fmt: skip


def test_answers_cost_what_their_share_says_and_one_question_knows_nothing_of_another() -> None:
    objective, batch = answer_objective().eval(), answer_batch()
    model, text = objective.model, objective.model.config.text
    expected = 0.0
    with torch.no_grad():
        got = objective(batch, 0.0, 0).total.item()
        states = model.vision(batch.pixels)
        for place, (question, weight) in enumerate(zip(batch.question.tolist(), batch.weights.tolist(), strict=True)):
            length, written = int(batch.lengths[question]), int(batch.answer_lengths[place])
            asked = batch.tokens[question : question + 1, :length].clone()
            asked[0, 0] = text.enc_id
            looked = model.text.keys_values(states[question // 2 : question // 2 + 1])
            read = model.text(asked, torch.tensor([length]), "encoder", looked)
            answer = batch.answers[place : place + 1, :written].clone()
            answer[0, 0] = text.dec_id
            hidden = model.answer(answer, torch.tensor([written]), "decoder", model.answer.keys_values(read))
            chances = model.answer_lm(hidden, model.answer.tokens.weight).log_softmax(-1)[0]
            expected -= weight * sum(
                float(0.9 * chances[step, answer[0, step + 1]] + 0.1 * chances[step].mean())
                for step in range(written - 1)
            )
    assert got == pytest.approx(expected / 4, rel=1e-5)


@pytest.mark.parametrize("task", ["caption", "vqa", "retrieval"])
def test_blocks_computed_twice_give_the_same_gradients(tmp_path: Path, task: str) -> None:
    data = asked_folder(tmp_path / "data") if task == "vqa" else captioned_folder(tmp_path / "data")
    gradients = []
    for twice in (False, True):
        config = settings(task, data, tiny_checkpoint(tmp_path), tmp_path / "run", gradient_checkpointing=twice)
        run = finetuner(config)
        run.train_mode()
        run.one_batch(next(iter(run.batches())))
        assert run.objective.model.vision.recompute == twice
        gradients.append({name: value.grad for name, value in run.objective.model.named_parameters()})
    largest = max(float(value.abs().max()) for value in gradients[0].values() if value is not None)
    assert largest > 1e-3
    for name, gradient in gradients[0].items():
        assert gradient is not None, name
        torch.testing.assert_close(gradients[1][name], gradient, atol=1e-6 * largest, rtol=1e-5)


def test_encoded_pictures_may_stand_for_themselves() -> None:
    objective = objective_for(tiny_config("vit"), captions_alone(), 0).eval()
    batch = random_batch(objective.model.config, 4, 1)
    with torch.no_grad():
        states = objective.model.vision(batch.pixels)
        from_pixels = objective(batch, 0.0, 1).total
        from_states = objective(replace(batch, pixels=states, start_layer=ENCODED), 0.0, 1).total
    assert torch.equal(from_pixels, from_states)


def test_what_is_frozen_is_its_own_average() -> None:
    model = BlipModel(tiny_config("vit"))
    model.initialise()
    freeze(model, ["vision"])
    objective = Objective(model)
    assert objective.averaged.vision.norm.weight is model.vision.norm.weight
    assert objective.averaged.itm.weight is not model.itm.weight
    assert not any(parameter.requires_grad for parameter in objective.averaged.parameters())
    before = model.vision.norm.weight.clone()
    with torch.no_grad():
        model.itm.weight.add_(1.0)
    objective.update_average(0.75)
    assert torch.allclose(objective.averaged.itm.weight, model.itm.weight - 0.75)
    assert torch.equal(model.vision.norm.weight, before)


def test_layers_learn_more_slowly_the_lower_they_are() -> None:
    config = replace(tiny_config("mobilenet_v2"), tasks=("caption", "match", "embed", "answer"))
    expected = {
        "vision.backbone.51.weight": 0.125, "vision.bridge.weight": 0.125, "vision.positions": 0.125,
        "vision.blocks.0.norm1.weight": 0.25, "vision.blocks.1.norm1.weight": 0.5, "vision.norm.weight": 1.0,
        "text.tokens.weight": 0.125, "text.norm.bias": 0.125, "text.blocks.1.mlp.up.weight": 0.5,
        "answer.blocks.0.mlp.up.weight": 0.25, "lm.dense.weight": 1.0, "answer_lm.bias": 1.0, "itm.weight": 1.0,
        "itc.temperature": 1.0,
    }  # fmt: skip
    model = BlipModel(config)
    layers = layers_of(model)
    assert layers == {"vision": 2, "text": 2, "answer": 2}
    assert {name: layer_share(name, layers, 0.5) for name in expected} == expected
    optimiser = make_optimiser(model, OptimiserConfig(learning_rate=2.0, backbone_rate=0.1), 0.5)
    rates = {id(parameter): group["peak"] for group in optimiser.param_groups for parameter in group["params"]}
    names = dict(model.named_parameters())
    assert rates[id(names["vision.backbone.51.weight"])] == pytest.approx(0.025)
    assert rates[id(names["text.blocks.1.mlp.up.weight"])] == 1.0


def test_only_what_the_task_needs_learns_and_the_rest_is_kept_where_it_is_wanted(tmp_path: Path) -> None:
    checkpoint = open_start(str(tiny_checkpoint(tmp_path)), "caption")
    alone = start_model(checkpoint, ("caption",), dropout=0.0, seed=0)
    assert alone.model.config.tasks == ("caption",)
    assert not alone.copied
    assert not alone.drawn
    both = start_model(checkpoint, ("caption",), dropout=0.0, seed=0, keep_tasks=True).model
    assert both.config.tasks == ("caption", "match", "embed")
    learning = {name for name, value in both.named_parameters() if value.requires_grad}
    assert learning == set(alone.model.state_dict())
    assert not {name for name in learning if "encoder_attention" in name or name.startswith(("itm", "itc"))}
    assert np.array_equal(both.itm.weight.detach().numpy(), checkpoint.tensors["itm.weight"])


def test_an_answer_decoder_starts_as_a_copy_of_the_caption_decoder(tmp_path: Path) -> None:
    checkpoint = open_start(str(tiny_checkpoint(tmp_path)), "answer")
    start = start_model(checkpoint, ("answer",), dropout=0.0, seed=0)
    given, state = checkpoint.tensors, start.model.state_dict()
    for name, like in (
        ("answer.tokens.weight", "text.tokens.weight"), ("answer_lm.dense.weight", "lm.dense.weight"),
        ("answer.blocks.1.decoder_attention.qkv.weight", "text.blocks.1.decoder_attention.qkv.weight"),
        ("answer.blocks.0.cross_attention.query.weight", "text.blocks.0.cross_attention.query.weight"),
        ("text.blocks.0.encoder_attention.out.bias", "text.blocks.0.encoder_attention.out.bias"),
    ):  # fmt: skip
        assert np.array_equal(state[name].numpy(), given[like]), name
    # The picture's states are 32 wide and the question's 48: these cannot be copied.
    assert sorted(start.drawn) == [f"answer.blocks.{block}.cross_attention.key_value.weight" for block in (0, 1)]
    assert any("drawn anew" in line for line in start.lines())


def test_a_captioner_may_learn_to_retrieve(tmp_path: Path) -> None:
    checkpoint = open_start(str(tiny_checkpoint(tmp_path, ("caption",))), "match")
    start = start_model(checkpoint, ("match", "embed"), dropout=0.0, seed=0)
    name = "text.blocks.0.{}_attention.qkv.weight"
    assert np.array_equal(
        start.model.state_dict()[name.format("encoder")].numpy(), checkpoint.tensors[name.format("decoder")]
    )
    assert {drawn.partition(".")[0] for drawn in start.drawn} == {"itc", "itm"}


def test_freezing_what_is_not_there_or_everything_is_an_error() -> None:
    with pytest.raises(OptionError, match="this model has a ViT: freeze vision"):
        freeze(BlipModel(tiny_config("vit")), ["backbone"])
    model = BlipModel(replace(tiny_config("mobilenet_v2"), tasks=("caption",)))
    freeze(model, ["backbone"])
    learning = {name for name, value in model.named_parameters() if value.requires_grad}
    assert "vision.bridge.weight" in learning
    assert not any(name.startswith("vision.backbone.") for name in learning)
    for parameter in model.lm.parameters():
        parameter.requires_grad_(False)
    with pytest.raises(OptionError, match="leaves nothing to learn"):
        freeze(model, ["vision", "text"])
