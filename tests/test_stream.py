"""A caption in pieces: joined they are the caption, and nothing is computed that nobody asked for."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openblip import Blip, Caption, CaptionPiece, GenerateOptions, ImageError, InputError, OptionError
from openblip.tasks.stream import CaptionStream, Tokens
from tiny import TINY_VOCABULARY
from tiny_blip import calls, counted_blip, picture, tiny_blip

GREEDY = GenerateOptions(num_beams=1, max_length=16, min_length=0)
DRAWN = GenerateOptions(num_beams=1, sample=True, top_p=0.95, temperature=1.5, max_length=16, min_length=0, seed=3)


@pytest.fixture(scope="module", params=["openvino", "torch"])
def blip(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Blip:
    return counted_blip(request.param, tmp_path_factory.mktemp("vocabulary"))


def steps(blip: Blip) -> int:
    return calls(blip, "step")


@pytest.mark.parametrize("options", [GREEDY, DRAWN], ids=["greedy", "drawn"])
@pytest.mark.parametrize("prompt", ["", "a picture of"])
def test_the_pieces_are_the_caption(blip: Blip, prompt: str, options: GenerateOptions) -> None:
    texts = set()
    for seed in range(4):
        stream = blip.caption_stream(picture(seed), prompt, options)
        pieces = list(stream)
        [caption] = blip.caption(picture(seed), prompt, options)
        assert stream.caption == caption
        assert "".join(piece.text for piece in pieces) == caption.text
        assert tuple(token for piece in pieces for token in piece.tokens) == caption.tokens
        probabilities = tuple(value for piece in pieces for value in piece.token_probabilities)
        assert probabilities == caption.token_probabilities
        assert len(pieces) > 3
        texts.add(caption.text)
    assert len(texts) > 1


def test_a_stream_is_greedy_by_default(blip: Blip) -> None:
    stream = blip.caption_stream(picture(1))
    text = "".join(piece.text for piece in stream)
    assert text == blip.caption(picture(1), options=GenerateOptions(num_beams=1))[0].text


def test_nothing_runs_before_it_is_asked_for_nor_after_the_end(blip: Blip) -> None:
    before = steps(blip)
    stream = blip.caption_stream(picture(1), options=GREEDY)
    assert steps(blip) == before
    first = next(stream)
    assert isinstance(first, CaptionPiece)
    so_far = steps(blip) - before
    assert so_far <= len(first.tokens) + 1
    with pytest.raises(InputError, match="not been read to its end"):
        _ = stream.caption
    stream.close()
    assert list(stream) == []
    assert steps(blip) - before == so_far
    with pytest.raises(InputError, match="not been read to its end"):
        _ = stream.caption
    with blip.caption_stream(picture(1), options=GREEDY) as whole:
        pieces = list(whole)
    assert steps(blip) - before - so_far == len(whole.caption.tokens) - 1
    assert pieces


def test_timing_is_told_at_the_end(blip: Blip) -> None:
    blip.embed_texts("a dog")
    assert blip.timing.search_s == 0
    list(blip.caption_stream(picture(1), options=GREEDY))
    assert blip.timing.search_s > 0
    assert blip.timing.encode_s > 0


def test_what_cannot_be_streamed_is_refused_at_once(blip: Blip) -> None:
    for options, says in (
        (GenerateOptions(num_beams=3), "num_beams=3 cannot be streamed"),
        (GenerateOptions(num_beams=1, sample=True, num_return=2), "num_return=2 cannot be streamed"),
        (GenerateOptions(num_beams=1, max_length=3, min_length=0), "leaves no room"),
    ):
        with pytest.raises(OptionError, match=says):
            blip.caption_stream("missing.jpg", "a picture of", options)
    with pytest.raises(ImageError, match=r"missing\.jpg"):
        blip.caption_stream("missing.jpg")
    with pytest.raises(InputError, match="takes one picture, not 2"):
        blip.caption_stream([picture(1), picture(2)])  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Blip:
    return tiny_blip("openvino", tmp_path_factory.mktemp("vocabulary"))


def replayed(blip: Blip, prompt: list[int], ids: list[int]) -> CaptionStream:
    """The stream of a search that finds these tokens."""

    def tokens() -> Tokens:
        for token in ids:
            yield token, -1.0
        text = blip.tokenizer.decode([*prompt, *ids])
        return Caption(text, -1.0, 0.5, tuple(blip.tokenizer.pieces(ids)), (0.5,) * len(ids), "tiny")

    return CaptionStream(tokens(), blip.tokenizer, prompt)


ANY_TOKENS = st.lists(st.integers(0, len(TINY_VOCABULARY) - 1), max_size=12)


@given(prompt=ANY_TOKENS, ids=ANY_TOKENS.filter(bool))
@settings(deadline=None)
def test_any_tokens_come_out_whole_words_first(plain: Blip, prompt: list[int], ids: list[int]) -> None:
    stream, shown = replayed(plain, prompt, ids), ""
    pieces = list(stream)
    for piece in pieces[:-1]:
        shown += piece.text
        assert stream.caption.text[len(shown) :].startswith(" "), "a word is shown when it is complete"
    assert shown + pieces[-1].text == stream.caption.text
    assert [token for piece in pieces for token in piece.tokens] == plain.tokenizer.pieces(ids)


def test_a_word_waits_for_what_joins_it(plain: Blip) -> None:
    table = {word: index for index, word in enumerate(TINY_VOCABULARY)}
    prompt = [table["[DEC]"], table["a"], table["dog"]]
    ids = [table[word] for word in ("##s", "runs", "##ing", "[SEP]")]
    pieces = [(piece.text, piece.tokens) for piece in replayed(plain, prompt, ids)]
    assert pieces == [("a", ()), (" dogs", ("##s",)), (" runsing", ("runs", "##ing", "[SEP]"))]
