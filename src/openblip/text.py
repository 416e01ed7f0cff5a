"""Text to token ids and back; the only home of [CLS], [SEP], [DEC], [ENC] and prompts.

WordPiece through the `tokenizers` library. Knows no model: a `Tokenizer` is built from a vocab.txt or tokenizer.json
alone, which also numbers the special tokens.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from openblip.errors import CheckpointError, OptionError, TextError

if TYPE_CHECKING:
    from tokenizers import Tokenizer as WordPiece

PAD, UNK, CLS, SEP, DEC, ENC = "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[DEC]", "[ENC]"
SPECIAL_TOKENS = (PAD, UNK, CLS, SEP, DEC, ENC)
_MASK = "[MASK]"  # of BERT's vocabulary, which BLIP never writes

Conventions = Literal["blip", "transformers"]
_GROUNDED_STARTS: dict[str, str] = {"blip": ENC, "transformers": CLS}
"""What a text that is read with its picture starts with: as BLIP was trained, or as transformers' port (and BLIP's own
blip_itm.py) has it."""

_DROPPED = re.compile(r"[.!\"()*#:;~]")
_SPACES = re.compile(r"\s+")


def clean_caption(text: str, max_words: int = 50) -> str:
    """Normalise a training or evaluation caption as BLIP's data code does: lower case, no punctuation that a caption
    can spare, single spaces, at most max_words words."""
    text = _SPACES.sub(" ", _DROPPED.sub(" ", text.lower())).strip()
    return " ".join(text.split(" ")[:max_words])


@dataclass(frozen=True)
class TokenBatch:
    """Right-padded token ids [rows, length] and the true lengths [rows]."""

    tokens: NDArray[np.int64]
    lengths: NDArray[np.int64]


class Tokenizer:
    """WordPiece over one vocabulary, lower-cased as BERT-uncased does it."""

    def __init__(self, word_piece: WordPiece, special_tokens: Conventions = "blip") -> None:
        if special_tokens not in _GROUNDED_STARTS:
            raise OptionError(
                f"special_tokens={special_tokens!r} is unknown: give one of {', '.join(_GROUNDED_STARTS)}"
            )
        self._word_piece = word_piece
        table = word_piece.get_vocab()
        missing = [token for token in SPECIAL_TOKENS if token not in table]
        if missing:
            raise CheckpointError(f"the vocabulary lacks {', '.join(missing)}: it is not a BLIP vocabulary")
        self.pad_id, self.unk_id, self.cls_id = table[PAD], table[UNK], table[CLS]
        self.sep_id, self.dec_id, self.enc_id = table[SEP], table[DEC], table[ENC]
        self.grounded_id = table[_GROUNDED_STARTS[special_tokens]]
        self._special_ids = frozenset(table[token] for token in (*SPECIAL_TOKENS, _MASK) if token in table)

    @classmethod
    def from_vocabulary(cls, vocabulary: Path, special_tokens: Conventions = "blip") -> Tokenizer:
        """vocabulary: a BERT vocab.txt, one token a line, or a tokenizer.json of the same. [DEC] and [ENC] are appended
        where absent, as BLIP does. special_tokens: whose conventions `encode_grounded` follows."""
        try:
            tokens = _read_vocabulary(vocabulary)
        except (OSError, ValueError, KeyError, TypeError) as error:  # ValueError: neither UTF-8 nor JSON
            raise CheckpointError(f"cannot read the vocabulary {vocabulary}: {error}") from error
        tokens += [token for token in (DEC, ENC) if token not in tokens]
        table = {token: index for index, token in enumerate(tokens)}
        if len(table) < len(tokens):
            twice = next(token for index, token in enumerate(tokens) if table[token] != index)
            raise CheckpointError(f"the vocabulary {vocabulary} holds {twice!r} twice: each line must be another token")
        return cls(_word_piece(table), special_tokens)

    @property
    def vocab_size(self) -> int:
        """Entries, special tokens included."""
        return int(self._word_piece.get_vocab_size())

    def caption_prompt(self, prompt: str = "") -> list[int]:
        """[DEC] and the prompt, without a closing [SEP]: what a caption starts from."""
        return [self.dec_id, *self._pieces(prompt)]

    def encode_unimodal(self, texts: Iterable[str], max_length: int) -> TokenBatch:
        """[CLS] text [SEP], for the text embedding (ITC)."""
        return self._batch(self.cls_id, texts, max_length)

    def encode_grounded(self, texts: Iterable[str], max_length: int) -> TokenBatch:
        """[ENC] text [SEP], for image-text matching and questions, as in BLIP's training; by the conventions of
        transformers [CLS] text [SEP]."""
        return self._batch(self.grounded_id, texts, max_length)

    def decode(self, tokens: Iterable[int], *, special_tokens: bool = False) -> str:
        """The text of token ids, special tokens left out unless they are asked for."""
        ids = [int(token) for token in tokens]
        return str(self._word_piece.decode([each for each in ids if special_tokens or each not in self._special_ids]))

    def pieces(self, tokens: Iterable[int]) -> list[str]:
        """The WordPiece string of each id."""
        return [self._word_piece.id_to_token(int(token)) or UNK for token in tokens]

    def pad(self, rows: Sequence[Sequence[int]]) -> TokenBatch:
        """Right-pad rows of ids to the longest."""
        lengths = np.array([len(row) for row in rows], dtype=np.int64)
        tokens = np.full((len(rows), int(lengths.max(initial=1))), self.pad_id, dtype=np.int64)
        for index, row in enumerate(rows):
            tokens[index, : len(row)] = row
        return TokenBatch(tokens, lengths)

    def _pieces(self, text: str) -> list[int]:
        if not isinstance(text, str):
            raise TextError(f"a text must be a string, not {type(text).__name__} ({text!r})")
        try:
            text.encode()
        except UnicodeEncodeError as error:  # half a character, as the bytes of a file name may give
            raise TextError(f"a text must be Unicode, which {text!r} is not: check its encoding") from error
        ids: list[int] = self._word_piece.encode(text, add_special_tokens=False).ids
        return [self.unk_id if index in self._special_ids else index for index in ids]

    def _batch(self, first: int, texts: Iterable[str], max_length: int) -> TokenBatch:
        return self.pad([[first, *self._pieces(text)[: max_length - 2], self.sep_id] for text in texts])


def _word_piece(table: dict[str, int]) -> WordPiece:
    """WordPiece as BERT-uncased splits texts, over a vocabulary."""
    from tokenizers import Tokenizer as WordPiece
    from tokenizers import decoders, models, normalizers, pre_tokenizers

    word_piece = WordPiece(models.WordPiece(vocab=table, unk_token=UNK, max_input_chars_per_word=100))
    word_piece.normalizer = normalizers.BertNormalizer(lowercase=True)
    word_piece.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    word_piece.decoder = decoders.WordPiece(prefix="##", cleanup=True)
    return word_piece


def _read_vocabulary(path: Path) -> list[str]:
    """Tokens in the order of their ids."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".json":
        # Not splitlines: a token may be a line separator of Unicode's, and every id after it would shift.
        return text.removesuffix("\n").split("\n")
    values = json.loads(text)
    if (kind := values["model"]["type"]) != "WordPiece":
        raise ValueError(f"its model is {kind}, where BLIP's is WordPiece")
    table = dict(values["model"]["vocab"]) | {added["content"]: added["id"] for added in values["added_tokens"]}
    if sorted(table.values()) != list(range(len(table))):
        raise ValueError("its ids have gaps")
    return sorted(table, key=table.__getitem__)


def write_vocabulary(vocabulary: Path, copy: Path) -> None:
    """Copy a vocab.txt, or write a tokenizer.json as one."""
    if vocabulary.suffix != ".json":
        copy.write_text(vocabulary.read_text(encoding="utf-8"), encoding="utf-8")
        return
    copy.write_text("".join(f"{token}\n" for token in all_tokens(vocabulary)), encoding="utf-8")


def write_tokenizer(vocabulary: Path, folder: Path, max_length: int) -> None:
    """Write what transformers reads a tokenizer from: vocab.txt, tokenizer.json and tokenizer_config.json. Texts come
    out of it as [CLS] text [SEP]."""
    from tokenizers import AddedToken, processors

    tokens = all_tokens(vocabulary)
    table = {token: index for index, token in enumerate(tokens)}
    word_piece = _word_piece(table)
    word_piece.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS])
    word_piece.post_processor = processors.BertProcessing((SEP, table[SEP]), (CLS, table[CLS]))
    word_piece.save(str(folder / "tokenizer.json"))
    (folder / "vocab.txt").write_text("".join(f"{token}\n" for token in tokens), encoding="utf-8")
    settings = {
        "tokenizer_class": "BertTokenizer",
        "processor_class": "BlipProcessor",
        "do_lower_case": True,
        "model_max_length": max_length,
        "pad_token": PAD,
        "unk_token": UNK,
        "cls_token": CLS,
        "sep_token": SEP,
        "extra_special_tokens": [DEC, ENC],
        "additional_special_tokens": [DEC, ENC],  # what transformers before 5 calls them
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def all_tokens(vocabulary: Path) -> list[str]:
    """In the order of their ids, [DEC] and [ENC] among them."""
    tokenizer = Tokenizer.from_vocabulary(vocabulary)
    return tokenizer.pieces(range(tokenizer.vocab_size))


def train_vocabulary(captions: Iterable[str], size: int, vocabulary: Path, min_frequency: int = 2) -> None:
    """Learn a WordPiece vocabulary of at most `size` entries from captions and write it as vocab.txt; the same captions
    give the same file."""
    from tokenizers import Tokenizer as WordPiece
    from tokenizers import models, normalizers, pre_tokenizers, trainers

    captions = list(captions)
    word_piece = WordPiece(models.WordPiece(unk_token=UNK))
    normalizer, splitter = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
    word_piece.normalizer, word_piece.pre_tokenizer = normalizer, splitter
    # The trainer numbers inner letters as it meets them, in another order each run, and breaks ties by number: they are
    # named beforehand.
    words = {word for text in captions for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text))}
    inner = sorted({f"##{letter}" for word in words for letter in word[1:]})
    trainer = trainers.WordPieceTrainer(
        vocab_size=size,
        min_frequency=min_frequency,
        special_tokens=[*SPECIAL_TOKENS, *inner],
        continuing_subword_prefix="##",
        show_progress=False,
    )
    word_piece.train_from_iterator(captions, trainer)
    table = word_piece.get_vocab()
    vocabulary.write_text("".join(f"{token}\n" for token in sorted(table, key=table.__getitem__)), encoding="utf-8")
