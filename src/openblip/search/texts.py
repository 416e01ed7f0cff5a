"""What every search keeps of texts: the prompts of the living pictures, and the texts that are found.

Knows token ids and GenerateOptions. Does not know how a token is chosen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from openblip.engine import Floats, Ints
from openblip.errors import OptionError
from openblip.search.logits import penalise
from openblip.types import GenerateOptions

Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """One generated text as ids.

    tokens: what follows the prompt, the closing [SEP] included where the text ended by itself.
    log_probabilities: the model's own, one a token.
    score: what hypotheses of a picture are ordered by; in a beam search penalties and length are in it, otherwise it is
        the sum of the log-probabilities.
    """

    tokens: tuple[int, ...]
    log_probabilities: tuple[float, ...]
    score: float

    @property
    def log_probability(self) -> float:
        """Sum over the tokens."""
        return float(sum(self.log_probabilities))


def check_room(lengths: Ints, options: GenerateOptions, positions: int) -> None:
    """Raise OptionError where a prompt of these lengths leaves no room, or the model has fewer positions than asked."""
    if options.max_length > positions:
        raise OptionError(f"max_length={options.max_length} exceeds the model's {positions} positions: give less")
    longest = int(lengths.max())
    if longest >= options.max_length:
        raise OptionError(
            f"a prompt of {longest} tokens leaves no room within max_length={options.max_length}: "
            f"shorten it or give max_length > {longest}"
        )


class Prompts:
    """The prompts of the living pictures, and with what is generated their histories."""

    def __init__(self, prompts: Ints, lengths: Ints, options: GenerateOptions) -> None:
        self.prompts, self.lengths = prompts, lengths
        self.options = options

    def keep(self, pictures: Ints) -> None:
        """Drop all pictures but these."""
        self.prompts, self.lengths = self.prompts[pictures], self.lengths[pictures]

    def sep_forbidden(self, generated: int) -> Bools:
        """[pictures]: whether a text with so many generated tokens is too short to be closed."""
        return np.asarray(self.lengths + generated < self.options.min_length)

    def full(self, generated: int) -> Bools:
        """[pictures]: whether a text with so many generated tokens is as long as it may be."""
        return np.asarray(self.lengths + generated >= self.options.max_length)

    def penalised(self, values: Floats, tokens: Ints) -> Floats:
        """Penalise prompts and tokens [pictures, rows, generated] in values [pictures * rows, vocabulary]."""
        if self.options.repetition_penalty == 1.0:
            return values
        pictures, rows, generated = tokens.shape
        # Generated tokens come first and the padded prompt last, so that one length says what is present.
        history = np.concatenate([tokens, np.repeat(self.prompts[:, None], rows, axis=1)], axis=2)
        lengths = np.repeat(self.lengths + generated, rows)
        return penalise(values, history.reshape(pictures * rows, -1), lengths, self.options.repetition_penalty)
