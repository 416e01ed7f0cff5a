"""The Engine protocol: what a runtime must do for the search and the pipeline. Arrays are numpy at this door.

An engine knows tensors and hardware; it does not know beams, strings, files or prompts. Rows of a decode are
independent: each reads the image states of its own picture and may be at its own length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from openblip.config import ModelConfig

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


class ImageStates(Protocol):
    """What an engine keeps of a batch of encoded pictures (opaque; may live on a device)."""

    def __len__(self) -> int: ...

    @property
    def nbytes(self) -> int:
        """The memory that they hold."""
        ...

    def take(self, indices: Ints) -> ImageStates:
        """The states of the chosen pictures, in that order."""
        ...

    def join(self, others: Sequence[ImageStates]) -> ImageStates:
        """These and then the others', of the same engine, as one batch."""
        ...


class QuestionStates(Protocol):
    """What an engine keeps of a batch of questions, each read with its picture before it (opaque)."""

    def __len__(self) -> int: ...


@runtime_checkable
class LogitRows(Protocol):
    """Logits in float32, a row a text, that stay where they were computed: what a search needs of them is small."""

    def __len__(self) -> int:
        """Rows: pictures times beams."""
        ...

    def top_k(self, k: int) -> Ints:
        """Ids of the k largest entries of each row, largest first: [rows, k]."""
        ...

    def pick(self, ids: Ints) -> Floats:
        """The entries at ids [rows, k] of each row."""
        ...

    def log_normaliser(self) -> Floats:
        """Log of the sum of the exponentials of each row, [rows, 1]."""
        ...

    def to_host(self) -> Floats:
        """All of them, [rows, vocabulary]."""
        ...


@dataclass(frozen=True, slots=True)
class Relevance:
    """How matching looked at a picture in one text layer, head by head: what GradCAM is made of (ALBEF, Li et al.
    2021).

    logits: of the ITM head, [rows, 2] (column 1: matches). attention: the weights of the cross-attention, after its
    softmax, [rows, heads, length, image tokens]; they sum to 1 over the image tokens. cam: as large, the gradient of
    the matching logit by the attention, clamped at 0, times the attention. Padding is 0 in both.

    The first image token is [CLS], whichever the backbone; the others are the rows of the grid. Matching reads the
    first text token alone ([ENC]), so in the last layer the cam of every other token is 0.
    """

    logits: Floats
    attention: Floats
    cam: Floats


Logits = Floats | LogitRows
"""Of the next tokens: an array [pictures, beams, vocabulary], after the prompts [pictures, vocabulary], or its rows."""


class Decode(Protocol):
    """One running decode of a batch of pictures, or questions, with `beams` rows each."""

    def step(self, tokens: Ints, parents: Ints) -> Logits:
        """Feed one token to every row and return the logits of the next.

        tokens: [pictures, beams], the token that each row now ends with.
        parents: [pictures, beams], the row (0 to beams - 1, of the same picture) whose past each row continues.
        Returns the logits of pictures * beams rows in float32.
        """
        ...

    def keep(self, pictures: Ints) -> None:
        """Drop all pictures but these (indices into the present batch), so that finished ones cost nothing."""
        ...


@runtime_checkable
class Engine(Protocol):
    """A loaded model on some hardware."""

    config: ModelConfig

    @property
    def precision(self) -> str:
        """Of what it computes, as it was asked for or chosen."""
        ...

    @property
    def lanes(self) -> int:
        """Calls that it does at the same time, from as many threads, in less time than one after the other."""
        ...

    def encode_images(self, pixels: Floats) -> ImageStates:
        """pixels: [batch, 3, size, size], normalised. Runs the image encoder once, whatever is asked afterwards."""
        ...

    def embed_images(self, images: ImageStates) -> Floats:
        """Unit vectors [batch, projection] of the ITC head."""
        ...

    def embed_texts(self, tokens: Ints, lengths: Ints) -> Floats:
        """tokens: [batch, length], starting with [CLS], right-padded; lengths: [batch]. Unit vectors [batch,
        projection]."""
        ...

    def match(self, images: ImageStates, picture: Ints, tokens: Ints, lengths: Ints) -> Floats:
        """ITM logits [rows, 2] (column 1: matches).

        picture: [rows], which picture each text is held against; tokens: [rows, length], starting with [ENC],
        right-padded.
        """
        ...

    def relevance(self, images: ImageStates, picture: Ints, tokens: Ints, lengths: Ints, layer: int) -> Relevance:
        """Match, and say where the text layer `layer` looked: picture, tokens and lengths as for `match`.

        layer: from 0, or negative from the last. Raises OptionError where there is none such.
        """
        ...

    def encode_questions(self, images: ImageStates, picture: Ints, tokens: Ints, lengths: Ints) -> QuestionStates:
        """Read each question with its picture before it, once, whatever is answered afterwards.

        picture: [rows], which picture each question is about; tokens: [rows, length], starting with [ENC],
        right-padded; lengths: [rows]. Padding is never looked at.
        """
        ...

    def decode(
        self, states: ImageStates | QuestionStates, prompts: Ints, lengths: Ints, beams: int, max_length: int
    ) -> tuple[Decode, Logits]:
        """Start a decode: feeds the prompts and returns it with the first logits, a row a picture.

        states: of pictures, to be captioned, or of questions, to be answered. prompts: [pictures, length], starting
        with [DEC], right-padded; lengths: [pictures]. Prompts of unequal length share the batch. Every beam of a
        picture starts as a copy of its prompt. max_length: longest sequence that will be fed.
        """
        ...
