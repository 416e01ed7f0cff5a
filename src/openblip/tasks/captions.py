"""Captions of encoded pictures, whole or as they grow. Knows prompts, searches and seeds. Does not know how pictures
are read."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from math import exp

import numpy as np

from openblip.errors import InputError
from openblip.parts import Part
from openblip.pictures import digest
from openblip.search import check_room, check_streamed, generate, stream
from openblip.tasks.encoded import Encoded
from openblip.tasks.stream import Tokens
from openblip.types import Caption, GenerateOptions


class Captioner:
    """Captions by one checkpoint under the same options."""

    def __init__(self, part: Part, options: GenerateOptions) -> None:
        self._part, self._options, self.parts = part, options, (part,)

    def encode_prompts(self, prompts: Sequence[str]) -> list[list[int]]:
        """Ids of what each caption starts with, [DEC] first. Raises TextError, or OptionError where one is too long."""
        ids = [self._part.tokenizer.caption_prompt(prompt) for prompt in prompts]
        if ids:
            check_room(np.array([len(row) for row in ids]), self._options, self._part.config.text.max_positions)
        return ids

    def encode_each(self, prompts: Sequence[str]) -> list[list[int] | InputError]:
        """The same of prompts that have nothing to do with one another: for each its ids, or why it cannot be used."""
        rows: list[list[int] | InputError] = []
        for prompt in prompts:
            try:
                rows += self.encode_prompts([prompt])
            except InputError as error:
                rows.append(error)
        return rows

    def captions(self, encoded: Encoded, prompts: Sequence[Sequence[int]]) -> list[list[Caption]]:
        """`num_return` captions a picture. prompts: ids, one row a picture."""
        engine, states = self._part.engine, encoded.states(self._part)
        with encoded.clock.measure("search_s"):
            rows = self._part.tokenizer.pad(prompts)
            found = generate(engine, states, rows.tokens, rows.lengths, self._options, self._seeds(encoded))
            return [
                [self._caption(prompt, each.tokens, each.log_probabilities) for each in hypotheses]
                for prompt, hypotheses in zip(prompts, found, strict=True)
            ]

    def check_streamed(self) -> None:
        """Raise OptionError where the options keep several texts, which `tokens` cannot give."""
        check_streamed(self._options)

    def tokens(self, encoded: Encoded, prompt: Sequence[int]) -> Tokens:
        """The caption of the one picture token by token."""
        states, seeds = encoded.states(self._part), self._seeds(encoded)
        found: list[tuple[int, float]] = []
        with closing(stream(self._part.engine, states, prompt, self._options, seeds[0] if seeds else 0)) as steps:
            while True:
                with encoded.clock.measure("search_s"):
                    step = next(steps, None)
                if step is None:
                    break
                found.append(step)
                yield step
        return self._caption(prompt, [token for token, _ in found], [value for _, value in found])

    def _seeds(self, encoded: Encoded) -> list[int] | None:
        """The seed follows the picture and not its place: a sampled caption must not depend on its neighbours."""
        return [digest(picture) for picture in encoded.pixels(self._part)] if self._options.sample else None

    def _caption(self, prompt: Sequence[int], tokens: Sequence[int], log_probabilities: Sequence[float]) -> Caption:
        log_probability = float(sum(log_probabilities))
        return Caption(
            text=self._part.tokenizer.decode([*prompt, *tokens]),
            log_probability=log_probability,
            probability=exp(log_probability / len(tokens)),
            tokens=tuple(self._part.tokenizer.pieces(tokens)),
            token_probabilities=tuple(exp(value) for value in log_probabilities),
            model=self._part.name,
        )
