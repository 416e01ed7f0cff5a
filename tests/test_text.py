"""Token ids, captions and vocabularies."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openblip.errors import CheckpointError, OptionError, TextError
from openblip.text import SPECIAL_TOKENS, Tokenizer, clean_caption, train_vocabulary
from tiny import TINY_VOCABULARY, write_vocabulary


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return Tokenizer.from_vocabulary(write_vocabulary(tmp_path_factory.mktemp("vocabulary")))


def ids(*tokens: str) -> list[int]:
    return [TINY_VOCABULARY.index(token) for token in tokens]


def test_captions_are_cleaned_as_in_blips_training() -> None:
    assert clean_caption('  A "Dog" (brown) runs;\n it\'s   #1 ~ !') == "a dog brown runs it's 1"
    assert clean_caption("one two three four", max_words=2) == "one two"
    assert clean_caption(" . ") == ""


def test_each_mode_has_its_first_token(tokenizer: Tokenizer) -> None:
    assert tokenizer.vocab_size == len(TINY_VOCABULARY)
    batch = tokenizer.encode_unimodal(["A Dog", "the red cats"], 20)
    assert batch.tokens.tolist() == [
        [*ids("[CLS]", "a", "dog", "[SEP]"), *ids("[PAD]", "[PAD]")],
        ids("[CLS]", "the", "red", "cat", "##s", "[SEP]"),
    ]
    assert batch.lengths.tolist() == [4, 6]
    assert tokenizer.encode_grounded(["a dog"], 20).tokens.tolist() == [ids("[ENC]", "a", "dog", "[SEP]")]
    assert tokenizer.caption_prompt("a picture of") == ids("[DEC]", "a", "picture", "of")


def test_a_grounded_text_starts_as_in_transformers_where_that_is_asked_for(tmp_path: Path) -> None:
    vocabulary = write_vocabulary(tmp_path)
    tokenizer = Tokenizer.from_vocabulary(vocabulary, "transformers")
    assert tokenizer.encode_grounded(["a dog"], 20).tokens.tolist() == [ids("[CLS]", "a", "dog", "[SEP]")]
    assert tokenizer.caption_prompt("a dog") == ids("[DEC]", "a", "dog")
    with pytest.raises(OptionError, match="special_tokens='bert' is unknown: give one of blip, transformers"):
        Tokenizer.from_vocabulary(vocabulary, "bert")  # type: ignore[arg-type]


def test_a_long_text_keeps_its_end_token(tokenizer: Tokenizer) -> None:
    assert tokenizer.encode_unimodal(["a dog runs"], 4).tokens.tolist() == [ids("[CLS]", "a", "dog", "[SEP]")]


def test_a_text_cannot_bring_special_tokens(tokenizer: Tokenizer) -> None:
    row = tokenizer.encode_unimodal(["[SEP] [DEC] a [PAD]"], 40).tokens[0].tolist()
    assert row.count(tokenizer.sep_id) == 1
    assert not {tokenizer.dec_id, tokenizer.pad_id} & set(row)


def test_decode_joins_pieces_and_leaves_special_tokens_out(tokenizer: Tokenizer) -> None:
    tokens = ids("[DEC]", "the", "cat", "##s", "[SEP]", "[PAD]")
    assert tokenizer.decode(tokens) == "the cats"
    assert tokenizer.pieces(tokens[:4]) == ["[DEC]", "the", "cat", "##s"]
    assert tokenizer.pieces([10**6]) == ["[UNK]"]


@given(st.lists(st.sampled_from([word for word in TINY_VOCABULARY if word.isalpha()]), max_size=12))
def test_known_words_survive_the_round_trip(tokenizer: Tokenizer, words: list[str]) -> None:
    batch = tokenizer.encode_unimodal([" ".join(words)], 64)
    assert tokenizer.decode(batch.tokens[0]) == " ".join(words)


def test_a_text_that_is_no_string_is_an_error(tokenizer: Tokenizer) -> None:
    with pytest.raises(TextError, match="not int"):
        tokenizer.encode_unimodal([3], 8)  # type: ignore[list-item]


def test_start_tokens_are_appended_to_a_bert_vocabulary(tmp_path: Path) -> None:
    path = tmp_path / "vocab.txt"
    path.write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n\u2028\ndog\n", encoding="utf-8")
    tokenizer = Tokenizer.from_vocabulary(path)
    assert (tokenizer.dec_id, tokenizer.enc_id, tokenizer.vocab_size) == (6, 7, 8)
    assert tokenizer.caption_prompt("dog") == [6, 5]


@pytest.mark.parametrize(
    ("text", "message"),
    [("[PAD]\n[UNK]\ndog\n", r"lacks \[CLS\], \[SEP\]"), ("[PAD]\ndog\ncat\ndog\n", "holds 'dog' twice")],
)
def test_a_broken_vocabulary_is_an_error(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "vocab.txt"
    with pytest.raises(CheckpointError, match="cannot read the vocabulary"):
        Tokenizer.from_vocabulary(path)
    path.write_text(text, encoding="utf-8")
    with pytest.raises(CheckpointError, match=message):
        Tokenizer.from_vocabulary(path)


def test_a_learned_vocabulary_is_the_same_every_time(tmp_path: Path) -> None:
    captions = [f"a {colour} {thing} jumps" for colour in ("red", "blue", "green") for thing in ("cat", "dog", "boat")]
    paths = [tmp_path / f"{run}.txt" for run in range(4)]
    for path in paths:
        train_vocabulary(captions, 60, path)
    assert len({path.read_bytes() for path in paths}) == 1
    tokens = paths[0].read_text(encoding="utf-8").split("\n")[:-1]
    assert tuple(tokens[: len(SPECIAL_TOKENS)]) == SPECIAL_TOKENS
    assert len(tokens) <= 60
    tokenizer = Tokenizer.from_vocabulary(paths[0])
    assert tokenizer.decode(tokenizer.encode_unimodal(["a red boat jumps"], 40).tokens[0]) == "a red boat jumps"
