"""The objective of visual question answering (BLIP paper, section 4.3): the image-grounded encoder reads the question,
and a decoder of its own, which looks at what it made of it, learns to write the answers.

Knows no files, no optimiser and no schedule.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from openblip.engines.torch.model import BlipModel, take_images
from openblip.train.losses import Losses, Objective, image_states, starting


@dataclass
class AnswerBatch:
    """One rank's share of a step; questions about one picture are consecutive, as many for each.

    pixels, start_layer: as in `losses.image_states`. tokens: [questions, length], each row [first] question [SEP],
    right-padded; lengths: [questions]. answers: [answers, length] and answer_lengths: [answers], of the same form;
    question: [answers], which row of tokens each belongs to; weights: [answers], what each counts for.
    """

    pixels: Tensor
    tokens: Tensor
    lengths: Tensor
    answers: Tensor
    answer_lengths: Tensor
    question: Tensor
    weights: Tensor
    start_layer: int = 0

    def to(self, device: torch.device) -> AnswerBatch:
        """The same batch on another device."""
        return AnswerBatch(
            self.pixels.to(device, non_blocking=True),
            self.tokens.to(device),
            self.lengths.to(device),
            self.answers.to(device),
            self.answer_lengths.to(device),
            self.question.to(device),
            self.weights.to(device),
            self.start_layer,
        )


class AnswerObjective(Objective):
    """The loss of a batch of questions."""

    def __init__(self, model: BlipModel, label_smoothing: float) -> None:
        super().__init__(model)
        self.label_smoothing = label_smoothing

    def forward(self, batch: AnswerBatch, alpha: float, noise_seed: int) -> Losses:
        """The mean over the questions of what their answers cost, each the sum over its tokens times its weight, as in
        BLIP's code; padding carries no loss. alpha, noise_seed: of other objectives, not used."""
        model = self.model
        states = image_states(model, batch.pixels, batch.start_layer)
        questions = starting(batch.tokens, model.config.text.enc_id)
        read = model.text(questions, batch.lengths, "encoder", model.text.keys_values(states))
        words = torch.arange(questions.shape[1], device=questions.device) < batch.lengths[:, None]
        written = starting(batch.answers, model.config.text.dec_id)
        hidden = model.answer(
            written,
            batch.answer_lengths,
            "decoder",
            take_images(model.answer.keys_values(read), batch.question),
            words[batch.question][:, None, None],
        )
        real = torch.arange(1, written.shape[1], device=written.device) < batch.answer_lengths[:, None]
        logits = model.answer_lm(hidden[:, :-1][real], model.answer.tokens.weight).float()
        losses = F.cross_entropy(logits, written[:, 1:][real], label_smoothing=self.label_smoothing, reduction="none")
        total = (losses * batch.weights[:, None].expand_as(real)[real]).sum() / len(questions)
        return Losses(total, {"answer": total.detach()})
