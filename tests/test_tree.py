"""The token tree against the plain thing: a list of tokens a row, copied from its parent."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from openblip.engines.tree import Fed, TokenTree

PAD = 0


def seen_by(fed: Fed, fed_tokens: list[np.ndarray], picture: int, query: int) -> list[int]:
    """The token ids that one query may look at, in the order they were fed."""
    held = np.concatenate([tokens[picture] for tokens in fed_tokens])
    mask = np.concatenate([fed.past[picture, query], fed.new[query]])
    return held[mask].tolist()


@given(st.integers(1, 5), st.integers(1, 4), st.integers(1, 8), st.integers(0, 2**32 - 1))
def test_rows_see_their_ancestry_and_nothing_else(pictures: int, beams: int, steps: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    lengths = generator.integers(1, 5, pictures)
    prompts = np.full((pictures, lengths.max()), PAD)
    for picture, length in enumerate(lengths):
        prompts[picture, :length] = generator.integers(1, 1000, length)
    tree = TokenTree(prompts, lengths, beams, PAD)
    first = tree.prompt()
    for picture, length in enumerate(lengths):
        assert seen_by(first, [first.tokens], picture, length - 1) == prompts[picture, :length].tolist()

    rows = [[prompts[picture, :length].tolist()] * beams for picture, length in enumerate(lengths)]
    fed_tokens = [first.tokens]
    for _ in range(steps):
        kept = np.sort(generator.permutation(len(rows))[: generator.integers(1, len(rows) + 1)])
        places = tree.keep(kept)
        rows = [rows[picture] for picture in kept]
        if places is not None:
            fed_tokens = [tokens[places] for tokens in fed_tokens]
        tokens = generator.integers(1, 1000, (len(rows), beams))
        parents = generator.integers(0, beams, (len(rows), beams))
        fed = tree.step(tokens, parents)
        fed_tokens.append(fed.tokens)
        rows = [
            [[*row[parents[picture, beam]], int(tokens[picture, beam])] for beam in range(beams)]
            for picture, row in enumerate(rows)
        ]
        assert tree.slots == sum(tokens.shape[1] for tokens in fed_tokens)
        for picture, place in enumerate(tree.live):
            for beam in range(beams):
                assert seen_by(fed, fed_tokens, int(place), beam) == rows[picture][beam]
                assert fed.positions[place, beam] == len(rows[picture][beam]) - 1
        dead = np.setdiff1d(np.arange(tree.pictures), tree.live)
        assert not fed.positions[dead].any(), "a dead picture must not walk beyond the positions of the model"


def test_a_batch_shrinks_when_a_quarter_is_dead() -> None:
    tree = TokenTree(np.full((8, 1), 5), np.ones(8, np.int64), 2, PAD)
    assert tree.keep(np.arange(7)) is None
    assert tree.pictures == 8
    places = tree.keep(np.arange(1, 7))
    assert places is not None
    assert places.tolist() == [1, 2, 3, 4, 5, 6]
    assert tree.pictures == 6
    assert tree.live.tolist() == [0, 1, 2, 3, 4, 5]
