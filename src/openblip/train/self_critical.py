"""Self-critical training on CIDEr-D (Rennie et al. 2017): captions that the model proposes itself, and what they earn.

The proposals are the beams of one search, each held against the mean of its picture's (Cornia et al. 2020, section
3.3). Knows the training captions. Does not know losses, batches or the optimiser.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from openblip.engines.torch.engine import TorchEngine, TorchImageStates
from openblip.engines.torch.model import BlipModel, KeysValues
from openblip.metrics import CiderD, caption_tokens
from openblip.search import generate
from openblip.text import Tokenizer
from openblip.types import GenerateOptions

_END = "[SEP]"
"""Counts as a word of captions and references: without it a caption earns more by breaking off after "in a"."""


class SelfCritic:
    """Proposes captions of pictures and scores them against those pictures' own training captions.

    captions: those of every training picture, by its id. proposals: how many a picture.
    """

    def __init__(self, captions: Sequence[Sequence[str]], tokenizer: Tokenizer, proposals: int) -> None:
        self._tokenizer = tokenizer
        self._options = GenerateOptions(num_beams=proposals, num_return=proposals)
        self._cider = CiderD([[[*caption_tokens(caption), _END] for caption in group] for group in captions])

    def propose(self, model: BlipModel, states: Tensor, keys_values: KeysValues) -> tuple[Tensor, Tensor]:
        """Token rows [pictures * proposals, length], [DEC] first, right-padded, and their lengths."""
        engine = TorchEngine.around(model)
        images = TorchImageStates(
            states=states.detach().float(),
            keys_values=[(key.detach().float(), value.detach().float()) for key, value in keys_values],
            embedding=None,
        )
        text = model.config.text
        start, training = np.full((len(images), 1), text.dec_id), model.training
        model.eval()
        with torch.autocast(states.device.type, enabled=False):
            found = generate(engine, images, start, np.ones(len(images), np.int64), self._options)
        model.train(training)
        rows = self._tokenizer.pad([[text.dec_id, *each.tokens] for hypotheses in found for each in hypotheses])
        return torch.from_numpy(rows.tokens).to(states.device), torch.from_numpy(rows.lengths).to(states.device)

    def rewards(self, ids: Tensor, tokens: Tensor, lengths: Tensor) -> Tensor:
        """CIDEr-D [pictures, proposals] of token rows of `propose`. ids: [pictures]."""
        pictures, rows = ids.tolist(), zip(tokens.tolist(), lengths.tolist(), strict=True)
        scores = []
        for place, (row, length) in enumerate(rows):
            words = caption_tokens(self._tokenizer.decode(row[:length]))
            if row[length - 1] == self._tokenizer.sep_id:
                words.append(_END)
            scores.append(self._cider.score(pictures[place * len(pictures) // len(tokens)], words))
        return torch.tensor(scores, device=tokens.device).view(len(pictures), -1)
