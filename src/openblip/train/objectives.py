"""BLIP's pre-training objectives (BLIP paper, section 3.2): contrastive (ITC), matching (ITM) and language modelling
(LM).

`PretrainObjective` holds the model, its momentum copy and the queues, and turns a batch into losses. It knows no files,
no optimiser and no schedule. Across ranks the features are gathered, so that n processes compute what one would on the
joint batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from openblip.engines.torch.model import BlipModel, KeysValues
from openblip.train.config import ObjectiveConfig
from openblip.train.losses import Losses as Losses
from openblip.train.losses import Objective, image_states, language_loss, starting
from openblip.train.ranks import gather, gather_sizes, gather_with_gradient, own_share
from openblip.train.self_critical import SelfCritic

NO_ID = -1


@dataclass
class PretrainBatch:
    """One rank's share of a step; texts of one picture are consecutive.

    pixels, start_layer: as in `losses.image_states`. ids: [images], equal for equal
    pictures.
    tokens: [images * captions, length], each row [first] text [SEP], right-padded; lengths: [images * captions]. The
    objectives put [CLS], [ENC] or [DEC] in the first place. given: as in `losses.language_loss`.
    """

    pixels: Tensor
    ids: Tensor
    tokens: Tensor
    lengths: Tensor
    start_layer: int = 0
    given: int = 1

    def to(self, device: torch.device) -> PretrainBatch:
        """The same batch on another device."""
        return PretrainBatch(
            self.pixels.to(device, non_blocking=True),
            self.ids.to(device),
            self.tokens.to(device),
            self.lengths.to(device),
            self.start_layer,
            self.given,
        )


class PretrainObjective(Objective):
    """Losses of a batch; one whose weight is 0 is left out. The average of the model serves as momentum copy: its
    encoders give ITC's targets."""

    image_queue: Tensor
    text_queue: Tensor
    queue_ids: Tensor
    queue_end: Tensor

    def __init__(self, model: BlipModel, config: ObjectiveConfig, queue: int, critic: SelfCritic | None = None) -> None:
        """queue: pictures whose momentum features are kept; their texts fill a queue captions_per_image times as
        long. critic: for self-critical training; needed where config.cider_weight is set."""
        super().__init__(model)
        self.config, self.critic = config, critic
        width, captions = model.config.projection, config.captions_per_image
        self.register_buffer("image_queue", F.normalize(torch.randn(queue, width), dim=-1))
        self.register_buffer("text_queue", F.normalize(torch.randn(queue, captions, width), dim=-1))
        self.register_buffer("queue_ids", torch.full((queue,), NO_ID))
        self.queue_open = True
        self.register_buffer("queue_end", torch.zeros((), dtype=torch.long))

    def forward(self, batch: PretrainBatch, alpha: float, noise_seed: int) -> Losses:
        """alpha: weight of the soft targets now. noise_seed: draws the hard negatives; equal on all ranks."""
        weights, parts = self.config, dict[str, Tensor]()
        states = image_states(self.model, batch.pixels, batch.start_layer)
        keys_values = self.model.text.keys_values(states)
        total = states.new_zeros((), dtype=torch.float32)
        if weights.itc_weight or weights.itm_weight:
            itc, itm = self._alignment(batch, states, keys_values, alpha, noise_seed)
            total = total + weights.itc_weight * itc + weights.itm_weight * itm
            parts |= {"itc": itc.detach(), "itm": itm.detach()}
        if weights.lm_weight or weights.cider_weight:
            decoding = starting(batch.tokens, self.model.config.text.dec_id)
            hidden = self.model.text(self._blanked(decoding, batch.given), batch.lengths, "decoder", keys_values)
            lm = self._language(hidden, decoding, batch.lengths, batch.given)
            total, parts["lm"] = total + weights.lm_weight * lm, lm.detach()
        if self.critic is not None and weights.cider_weight:
            loss, parts["cider"] = self._self_critical(self.critic, batch.ids, states, keys_values)
            total = total + weights.cider_weight * loss
        return Losses(total, parts)

    def text_loss(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """The LM loss of captions without a picture: the decoder with its cross-attention left out."""
        decoding = starting(tokens, self.model.config.text.dec_id)
        return self._language(self.model.text(decoding, lengths, "decoder"), decoding, lengths)

    def _alignment(
        self, batch: PretrainBatch, states: Tensor, keys_values: KeysValues, alpha: float, noise_seed: int
    ) -> tuple[Tensor, Tensor]:
        """ITC over all texts, and ITM over the first of each picture."""
        config, captions = self.model.config.text, self.config.captions_per_image
        image_features = self.model.embed_image(states)
        text_features = self.model.embed_text(starting(batch.tokens, config.cls_id), batch.lengths)
        itc, similarity = self._contrastive(batch, image_features, text_features, alpha)
        first = slice(None, None, captions)
        matching = starting(batch.tokens[first], config.enc_id)
        itm = self._matching(batch, states, keys_values, matching, batch.lengths[first], similarity, noise_seed)
        return itc, itm

    def _contrastive(
        self, batch: PretrainBatch, images: Tensor, texts: Tensor, alpha: float
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """ITC with momentum features and soft targets (ALBEF section 3.2). Returns the loss and the similarities of
        this rank's pictures to all ranks' first texts, and of its first texts to all ranks' pictures."""
        captions = self.config.captions_per_image
        new_images, new_texts, new_ids = self._momentum_features(batch)
        all_images = torch.cat([new_images, self.image_queue])
        all_texts = torch.cat([new_texts, self.text_queue.flatten(0, 1)])
        image_ids = torch.cat([new_ids, self.queue_ids])
        text_ids, own_text_ids = image_ids.repeat_interleave(captions), batch.ids.repeat_interleave(captions)
        # bfloat16 would round a logit of 14 to the nearest sixteenth.
        with torch.autocast(images.device.type, enabled=False):
            to_texts = self._logits(images, all_texts, text_ids)
            to_images = self._logits(texts, all_images, image_ids)
            with torch.no_grad():
                soft_texts = self._logits(own_share(new_images), all_texts, text_ids)
                soft_images = self._logits(own_share(new_texts), all_images, image_ids)
                text_targets = _targets(batch.ids, text_ids, soft_texts, alpha)
                image_targets = _targets(own_text_ids, image_ids, soft_images, alpha)
            loss = (_soft_cross_entropy(to_texts, text_targets) + _soft_cross_entropy(to_images, image_targets)) / 2
        joint = len(new_ids)
        with torch.no_grad():
            similarity = (to_texts[:, : joint * captions : captions], to_images[::captions, :joint])
            if self.training and self.queue_open:
                self._enqueue(new_images, new_texts, new_ids)
        return loss, similarity

    @torch.no_grad()
    def _momentum_features(self, batch: PretrainBatch) -> tuple[Tensor, Tensor, Tensor]:
        """The momentum encoders' features of all ranks' pictures and texts, and the pictures' ids."""
        averaged, config = self.averaged, self.model.config.text
        images = averaged.embed_image(image_states(averaged, batch.pixels, batch.start_layer))
        texts = averaged.embed_text(starting(batch.tokens, config.cls_id), batch.lengths)
        return gather(images), gather(texts), gather(batch.ids)

    def _logits(self, features: Tensor, candidates: Tensor, candidate_ids: Tensor) -> Tensor:
        """Cosines over the temperature, [rows, candidates]; -inf at empty places of the queue."""
        logits = features @ candidates.T / self.model.itc.temperature
        return logits.masked_fill(candidate_ids == NO_ID, float("-inf"))

    def _matching(
        self,
        batch: PretrainBatch,
        states: Tensor,
        keys_values: KeysValues,
        tokens: Tensor,
        lengths: Tensor,
        similarity: tuple[Tensor, Tensor],
        noise_seed: int,
    ) -> Tensor:
        """ITM on each true pair, each picture with a hard negative text and each text with a hard negative picture,
        drawn in proportion to the ITC softmax, never of the same picture."""
        all_ids = gather(batch.ids)
        all_states = gather_with_gradient(states)
        width = max(gather_sizes(tokens.shape[1], tokens.device))
        all_tokens = gather(F.pad(tokens, (0, width - tokens.shape[1])))
        all_lengths = gather(lengths)
        same = batch.ids[:, None] == all_ids
        wrong_texts = _draw(similarity[0].masked_fill(same, float("-inf")), noise_seed, len(all_ids))
        wrong_images = _draw(similarity[1].masked_fill(same, float("-inf")), noise_seed + 1, len(all_ids))

        pairs = torch.stack([F.pad(tokens, (0, width - tokens.shape[1])), all_tokens[wrong_texts]], dim=1).flatten(0, 1)
        pair_lengths = torch.stack([lengths, all_lengths[wrong_texts]], dim=1).flatten()
        right_image = self.model.match(pairs, pair_lengths, keys_values).unflatten(0, (-1, 2))
        wrong = self.model.match(tokens, lengths, self.model.text.keys_values(all_states[wrong_images]))
        logits = torch.cat([right_image[:, 0], right_image[:, 1], wrong]).float()
        labels = torch.zeros(len(logits), dtype=torch.long, device=logits.device)
        labels[: len(tokens)] = 1
        return F.cross_entropy(logits, labels)

    def _blanked(self, tokens: Tensor, given: int = 1) -> Tensor:
        """Some tokens replaced by [PAD], which the decoder never meets otherwise; what is given stays."""
        if not self.training or not self.config.word_dropout:
            return tokens
        blank = torch.rand(tokens.shape, device=tokens.device) < self.config.word_dropout
        blank[:, :given] = False
        return tokens.masked_fill(blank, self.model.config.text.pad_id)

    def _language(self, hidden: Tensor, tokens: Tensor, lengths: Tensor, given: int = 1) -> Tensor:
        return language_loss(self.model, hidden, tokens, lengths, self.config.label_smoothing, given)

    def _self_critical(
        self, critic: SelfCritic, ids: Tensor, states: Tensor, keys_values: KeysValues
    ) -> tuple[Tensor, Tensor]:
        """Policy gradient on the CIDEr-D of the model's own captions, each against the mean of its picture's. Returns
        the loss, whose value means nothing, and the mean reward."""
        tokens, lengths = critic.propose(self.model, states, keys_values)
        rewards = critic.rewards(ids, tokens, lengths)
        advantages = (rewards - rewards.mean(dim=1, keepdim=True)).flatten()
        hidden = self.model.text(tokens, lengths, "decoder", keys_values)[:, :-1]
        real = torch.arange(1, tokens.shape[1], device=tokens.device) < lengths[:, None]
        losses = F.cross_entropy(
            self.model.next_token_logits(hidden[real]).float(), tokens[:, 1:][real], reduction="none"
        )
        # Sums over the tokens of a caption, means over captions: the gradient of the expected reward.
        return (losses * advantages[:, None].expand_as(real)[real]).sum() / len(tokens), rewards.mean()

    def _enqueue(self, images: Tensor, texts: Tensor, ids: Tensor) -> None:
        """Replace the oldest entries of the queues."""
        size, captions = len(self.queue_ids), self.config.captions_per_image
        if not size:
            return
        images, ids = images[-size:], ids[-size:]
        texts = texts.unflatten(0, (-1, captions))[-size:]
        places = (self.queue_end + torch.arange(len(ids), device=ids.device)) % size
        self.image_queue[places], self.text_queue[places] = images, texts
        self.queue_ids[places] = ids
        self.queue_end.copy_((self.queue_end + len(ids)) % size)


def _targets(ids: Tensor, candidate_ids: Tensor, similarity: Tensor, alpha: float) -> Tensor:
    """Candidates of the same picture share the hard target equally: none of them is a negative."""
    same = (ids[:, None] == candidate_ids).float()
    return alpha * similarity.softmax(dim=-1) + (1 - alpha) * same / same.sum(dim=-1, keepdim=True)


def _soft_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    # An empty place of the queue has logit -inf and target 0: leave it out of the product.
    log_probabilities = logits.log_softmax(dim=-1).masked_fill(logits == float("-inf"), 0.0)
    return -(log_probabilities * targets).sum(dim=-1).mean()


def _draw(logits: Tensor, seed: int, joint: int) -> Tensor:
    """One draw a row from softmax(logits), by Gumbel noise made for the joint batch, so that ranks draw as one process
    would."""
    generator = torch.Generator().manual_seed(seed)
    uniform = torch.rand(joint, joint, generator=generator).clamp_min(1e-20)
    noise = -torch.log(-torch.log(uniform))
    return (logits.float() + own_share(noise.to(logits.device))).argmax(dim=-1)
