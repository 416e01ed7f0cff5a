"""The arguments of transformers' `generate` -> GenerateOptions, and rows of ids as it returns them.

Its defaults: greedy, 20 tokens beyond the prompt, and where it draws, from the 50 likeliest. An argument that the
search does not offer is refused by name. Knows no model and no strings.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from numbers import Integral
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from openblip.compat.arrays import refuse
from openblip.engine import Decode, Engine, ImageStates, Ints, Logits, QuestionStates
from openblip.errors import OptionError
from openblip.search import generate
from openblip.search.logits import HostRows, rows_of
from openblip.types import GenerateOptions

_BY_DEFAULT = 20  # tokens beyond the prompt
_FORBIDDEN = np.float32(-1e9)  # finite: the search's own top-k takes -inf for a place behind the vocabulary
_SCORES = ("return_dict_in_generate", "output_scores", "output_logits", "output_attentions", "output_hidden_states")
# What changes nothing at these values, which programs state all the same.
_WITHOUT_EFFECT: dict[str, tuple[Any, ...]] = {
    "use_cache": (True, False),
    "num_beam_groups": (1,),
    "diversity_penalty": (0.0,),
    "no_repeat_ngram_size": (0,),
    "synced_gpus": (False,),
    **dict.fromkeys(_SCORES, (False,)),
}


@dataclass(frozen=True, slots=True)
class SearchArguments:
    """What `generate` was asked for, by transformers' names; None is its default. Raises OptionError."""

    max_length: int | None = None
    max_new_tokens: int | None = None
    min_length: int = 0
    min_new_tokens: int | None = None
    num_beams: int = 1
    do_sample: bool = False
    top_k: int = 50
    top_p: float = 1.0
    temperature: float = 1.0
    repetition_penalty: float = 1.0
    length_penalty: float = 1.0
    num_return_sequences: int = 1
    early_stopping: bool = False

    @classmethod
    def read(cls, arguments: Mapping[str, Any]) -> SearchArguments:
        """Raises OptionError on an argument that is not offered, or together with another is not."""
        own = {entry.name for entry in fields(cls)}
        given = {name: value for name, value in arguments.items() if value is not None}
        for name in given.keys() & set(_SCORES):
            if given[name]:
                refuse("generate", {name: given[name]}, "openblip.Blip gives a probability with every text")
        rest = {name: value for name, value in given.items() if name not in own}
        refuse("generate", {name: value for name, value in rest.items() if value not in _WITHOUT_EFFECT.get(name, ())})
        return cls(**{name: value for name, value in given.items() if name in own})

    def __post_init__(self) -> None:
        for name in ("num_beams", "num_return_sequences", "top_k", "max_length", "max_new_tokens", "min_new_tokens"):
            value, least = getattr(self, name), 0 if name in ("top_k", "min_new_tokens") else 1
            if value is not None and (not isinstance(value, Integral) or value < least):
                raise OptionError(f"{name}={value!r} is out of range: give a whole number from {least}")
        if self.do_sample and self.num_beams > 1:
            raise OptionError(f"do_sample=True excludes num_beams={self.num_beams}: set num_beams=1")
        if not self.do_sample and self.num_return_sequences > self.num_beams:
            raise OptionError(
                f"num_return_sequences={self.num_return_sequences} needs as many num_beams (now {self.num_beams}) or "
                "do_sample=True"
            )
        if self.early_stopping not in (True, False):
            refuse("generate", {"early_stopping": self.early_stopping}, "give True or False")

    @property
    def rows(self) -> int:
        """Texts that one picture takes in a search."""
        return self.num_return_sequences if self.do_sample else self.num_beams

    def options(self, prompt: int, positions: int, seed: int) -> GenerateOptions:
        """For prompts of that many tokens and a model of that many positions."""
        longest = min(prompt + _BY_DEFAULT, positions) if self.max_length is None else self.max_length
        if self.max_new_tokens is not None:
            longest = prompt + self.max_new_tokens
        shortest = self.min_length if self.min_new_tokens is None else prompt + self.min_new_tokens
        return GenerateOptions(
            num_beams=self.num_beams,
            max_length=longest,
            min_length=min(shortest, longest),
            length_penalty=self.length_penalty,
            repetition_penalty=self.repetition_penalty,
            sample=self.do_sample,
            top_p=self.top_p if self.do_sample else 1.0,
            temperature=self.temperature if self.do_sample else 1.0,
            seed=seed,
            num_return=self.num_return_sequences,
            early_stopping=self.early_stopping,
        )


@dataclass
class Search:
    """One call of `generate`: its arguments, the rows of ids found so far and, where it draws, a seed."""

    arguments: SearchArguments
    texts: list[list[int]] = field(default_factory=list)
    seed: int = 0

    def __post_init__(self) -> None:
        if self.arguments.do_sample:
            self.seed = _fresh_seed()

    def run(self, engine: Engine, states: ImageStates | QuestionStates, prompts: Sequence[Sequence[int]]) -> None:
        """Add num_return_sequences rows of ids for each prompt: the prompt, and what follows up to [SEP]."""
        found: dict[int, list[list[int]]] = {}
        lengths = np.array([len(prompt) for prompt in prompts])
        done = len(self.texts)
        limited = engine if not self._limits(engine) else cast("Engine", _LikeliestOnly(engine, self.arguments.top_k))
        # Lengths count from a prompt's own end, so that a batch gives what single calls give.
        for length in sorted(set(lengths.tolist())):
            here = np.flatnonzero(lengths == length)
            options = self.arguments.options(length, engine.config.text.max_positions, self.seed)
            rows = np.array([prompts[index] for index in here.tolist()], np.int64)
            chosen = states if len(here) == len(prompts) else cast("ImageStates", states).take(here)
            results = generate(limited, chosen, rows, lengths[here], options, (done + here).tolist())
            for index, hypotheses in zip(here.tolist(), results, strict=True):
                found[index] = [[*prompts[index], *hypothesis.tokens] for hypothesis in hypotheses]
        for index in range(len(prompts)):
            self.texts += found[index]

    def padded(self, pad_id: int, sep_id: int) -> NDArray[np.int64]:
        """All rows so far [texts, longest]."""
        # transformers' beam search takes a padding token of number 0, as BERT's is, for none and repeats [SEP].
        filler = pad_id or sep_id if self.arguments.num_beams > 1 else pad_id
        rows = np.full((len(self.texts), max(map(len, self.texts), default=0)), filler, np.int64)
        for row, text in zip(rows, self.texts, strict=True):
            row[: len(text)] = text
        return rows

    def _limits(self, engine: Engine) -> bool:
        return self.arguments.do_sample and 0 < self.arguments.top_k < engine.config.text.vocab_size


class _LikeliestOnly:
    """An engine whose decodes leave the k likeliest tokens of each step and forbid the others."""

    def __init__(self, engine: Engine, k: int) -> None:
        self.config, self._engine, self._k = engine.config, engine, k

    def decode(
        self, states: ImageStates | QuestionStates, prompts: Ints, lengths: Ints, beams: int, max_length: int
    ) -> tuple[Decode, Logits]:
        """See `engine.Engine`."""
        decode, logits = self._engine.decode(states, prompts, lengths, beams, max_length)
        return _LikeliestDecode(decode, self._k), _likeliest(logits, self._k)


class _LikeliestDecode:
    def __init__(self, decode: Decode, k: int) -> None:
        self._decode, self._k = decode, k

    def step(self, tokens: Ints, parents: Ints) -> Logits:
        return _likeliest(self._decode.step(tokens, parents), self._k)

    def keep(self, pictures: Ints) -> None:
        self._decode.keep(pictures)


def _likeliest(logits: Logits, k: int) -> Logits:
    """Forbids all but the k largest of each row, and what equals them."""
    rows = rows_of(logits)
    least, values = rows.pick(rows.top_k(k)[:, -1:]), rows.to_host()
    return HostRows(np.where(values < least, _FORBIDDEN, values))


def _fresh_seed() -> int:
    """Decided by torch.manual_seed in a program that uses torch, else by random.seed."""
    torch: Any = sys.modules.get("torch")
    return random.getrandbits(62) if torch is None else int(torch.randint(2**62, ()).item())
