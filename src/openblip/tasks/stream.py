"""A caption's tokens -> the pieces of text that can be shown as it grows. Knows words. Does not know how tokens are
found."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from math import exp
from types import TracebackType

from openblip.errors import InputError
from openblip.text import Tokenizer
from openblip.types import Caption, CaptionPiece

Tokens = Generator[tuple[int, float], None, Caption]
"""Each token and its log-probability; the return value is the finished caption."""


class CaptionStream:
    """An iterator over a growing caption: `CaptionPiece`s, a word or so each, whose texts joined are the caption's.

    A word is held back until the next one begins, since "##ing" or a full stop may still join it. After the last piece
    `caption` is the whole result. Closing the stream early (`close`, or leaving its `with` block) ends the search.
    """

    def __init__(self, tokens: Tokens, tokenizer: Tokenizer, prompt: Sequence[int]) -> None:
        self._tokens, self._tokenizer, self._ids = tokens, tokenizer, list(prompt)
        self._shown = ""
        self._caption: Caption | None = None
        self._pieces = self._run()

    def __iter__(self) -> CaptionStream:
        return self

    def __next__(self) -> CaptionPiece:
        return next(self._pieces)

    def __enter__(self) -> CaptionStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the search; no further piece comes."""
        self._pieces.close()
        self._tokens.close()

    @property
    def caption(self) -> Caption:
        """The whole caption. Raises InputError before the last piece was read."""
        if self._caption is None:
            raise InputError("the caption has not been read to its end: iterate over all pieces of the stream first")
        return self._caption

    def _run(self) -> Generator[CaptionPiece, None, None]:
        held: list[tuple[int, float]] = []
        while True:
            try:
                token = next(self._tokens)
            except StopIteration as end:
                self._caption = end.value
                break
            self._ids.append(token[0])
            settled = self._tokenizer.decode(self._ids).rpartition(" ")[0]
            if len(settled) > len(self._shown):
                yield self._piece(settled, held)
                held = []
            held.append(token)
        yield self._piece(self._caption.text, held)

    def _piece(self, text: str, held: Sequence[tuple[int, float]]) -> CaptionPiece:
        new, self._shown = text[len(self._shown) :], text
        tokens = self._tokenizer.pieces(token for token, _ in held)
        return CaptionPiece(new, tuple(tokens), tuple(exp(value) for _, value in held))
