"""Greedy, beam, diverse beam and nucleus search over the steps of any engine, in numpy.

Knows token ids, logits and GenerateOptions. Does not know strings, pictures, files or a framework. Pictures of a batch
are independent: what one gives depends on its own logits, prompt and seed alone, so a batch of n equals n singles.

`max_length` bounds [DEC], prompt and generated tokens, a closing [SEP] among them; `min_length` is how many of them
must stand before [SEP] may follow. As in transformers, the repetition penalty acts on log-probabilities in a beam
search and on logits otherwise. Reported log-probabilities are the model's own: log-softmax of the raw logits, before
temperature, nucleus or penalty.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence

import numpy as np

from openblip.engine import Engine, ImageStates, Ints, QuestionStates
from openblip.errors import OptionError
from openblip.search.beams import beam_search
from openblip.search.rows import row_search, row_steps
from openblip.search.texts import Hypothesis as Hypothesis
from openblip.search.texts import check_room as check_room
from openblip.types import GenerateOptions


def generate(
    engine: Engine,
    states: ImageStates | QuestionStates,
    prompts: Ints,
    lengths: Ints,
    options: GenerateOptions,
    seeds: Sequence[int] | None = None,
) -> list[list[Hypothesis]]:
    """`options.num_return` texts for each picture, or question: best first from a beam search, in order of draw when
    sampling.

    prompts: [pictures, length], starting with [DEC], right-padded; lengths: [pictures].
    seeds: one a picture, mixed with options.seed when sampling, so that unlike pictures draw unlike numbers.
    Raises OptionError where a prompt leaves no room within max_length or max_length exceeds the model's positions.
    """
    pictures = len(lengths)
    if pictures == 0:
        return []
    check_room(lengths, options, engine.config.text.max_positions)
    decode, first = engine.decode(states, prompts, lengths, options.rows, options.max_length - 1)
    sep = engine.config.text.sep_id
    if options.num_beams > 1:
        return beam_search(decode, first, prompts, lengths, options, sep)
    return row_search(decode, first, prompts, lengths, options, sep, seeds or [0] * pictures)


def stream(
    engine: Engine, states: ImageStates, prompt: Sequence[int], options: GenerateOptions, seed: int = 0
) -> Generator[tuple[int, float], None, None]:
    """The text that `generate` gives for one picture, token by token as it grows, [SEP] included where it closes
    itself: each token and its log-probability. Nothing is computed before a token is asked for, and nothing after the
    generator is closed.

    prompt: starts with [DEC]. Raises OptionError at once, also where the options keep more than one text.
    """
    check_streamed(options)
    lengths = np.array([len(prompt)])
    check_room(lengths, options, engine.config.text.max_positions)
    return _streamed(engine, states, np.array([prompt], np.int64), lengths, options, seed)


def check_streamed(options: GenerateOptions) -> None:
    """Raise OptionError where a text is not found token by token."""
    if options.num_beams > 1:
        raise OptionError(
            f"num_beams={options.num_beams} cannot be streamed, its text is known at the end alone: give num_beams=1"
        )
    if options.num_return > 1:
        raise OptionError(f"num_return={options.num_return} cannot be streamed: give 1")


def _streamed(
    engine: Engine, states: ImageStates, prompts: Ints, lengths: Ints, options: GenerateOptions, seed: int
) -> Generator[tuple[int, float], None, None]:
    decode, first = engine.decode(states, prompts, lengths, 1, options.max_length - 1)
    for step in row_steps(decode, first, prompts, lengths, options, engine.config.text.sep_id, [seed]):
        yield int(step.tokens[0, 0]), float(step.log_probabilities[0, 0])
