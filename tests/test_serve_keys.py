"""API keys: made, kept as hashes, found again, and never shown."""

from __future__ import annotations

import hmac
import re
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openblip.errors import OptionError
from openblip.serve.guard import keys
from openblip.serve.guard.keys import Keys, new_key, presented_key, read_keys


def keys_file(folder: Path, text: str) -> Path:
    path = folder / "keys.txt"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_new_key_is_found_again_and_only_its_hash_is_kept(tmp_path: Path) -> None:
    first, line = new_key("alice")
    second, other_line = new_key("bob@shop.example")
    assert re.fullmatch(r"ob_[A-Za-z0-9_-]{43}", first)
    assert first != second
    assert line == f"alice {sha256(first.encode()).hexdigest()}"
    text = f"# who may ask\n\n{line}\n  {other_line.upper()}\n"
    known = read_keys(keys_file(tmp_path, text))
    assert known
    assert known.owner(first) == "alice"
    assert known.owner(second) == "BOB@SHOP.EXAMPLE"
    for wrong in ("", first[:-1], first + "x", first.swapcase(), " " + first, "ob_", "ü" * 46, "\ud800", first * 1000):
        assert known.owner(wrong) is None
    assert first not in repr(known)
    assert line.split()[1] not in repr(known)


def test_an_owner_may_have_two_keys(tmp_path: Path) -> None:
    (old, old_line), (new, new_line) = new_key("alice"), new_key("alice")
    known = read_keys(keys_file(tmp_path, f"{old_line}\r\n{new_line}\r\n"))
    assert known.owner(old) == known.owner(new) == "alice"


def test_every_entry_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    made = [new_key(f"owner{number}") for number in range(5)]
    known = Keys(tuple((line.split()[0], bytes.fromhex(line.split()[1])) for _, line in made))
    seen: list[bytes] = []

    def compare(a: bytes, b: bytes) -> bool:
        seen.append(b)
        return hmac.compare_digest(a, b)

    monkeypatch.setattr(keys, "hmac", type("Hmac", (), {"compare_digest": staticmethod(compare)}))
    for presented, owner in ((made[0][0], "owner0"), (made[4][0], "owner4"), ("ob_wrong", None)):
        seen.clear()
        assert known.owner(presented) == owner
        assert seen == [hashed for _, hashed in known.entries]


def test_no_keys_mean_an_open_service() -> None:
    assert not Keys()
    assert Keys().owner(new_key("alice")[0]) is None


HASH = sha256(b"a key").hexdigest()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"alice {HASH}\nbob\n", "line 2 "),
        (f"alice {HASH[:-1]}\n", "line 1 "),
        (f"alice {HASH}0\n", "line 1 "),
        (f"\n# comment\nalice {'g' * 64}\n", "line 3 "),
        (f"{HASH}\n", "line 1 "),
        (f"al/ice {HASH}\n", "line 1 "),
        (f"alice\u00a0{HASH}\n", "line 1 "),
        (f"alice {HASH} bob {HASH}\n", "line 1 "),
        (f"{'a' * 65} {HASH}\n", "line 1 "),
        (f"alice {HASH}\nbob {HASH}\n", "line 2 .* repeats"),
        ("", "holds no key"),
        ("# nothing\n", "holds no key"),
    ],
)
def test_a_bad_file_names_the_line_and_shows_no_hash(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(OptionError, match=said) as caught:
        read_keys(keys_file(tmp_path, text))
    assert HASH[:8] not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_key_in_the_file_is_not_shown(tmp_path: Path) -> None:
    key, _ = new_key("alice")
    with pytest.raises(OptionError, match=r"line 1 .* holds a key itself") as caught:
        read_keys(keys_file(tmp_path, f"alice {key}\n"))
    assert key[3:] not in str(caught.value)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="cannot be read \\(No such file"):
        read_keys(tmp_path / "none")
    with pytest.raises(OptionError, match="cannot be read \\(Is a directory"):
        read_keys(tmp_path)
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(OptionError, match="is no text"):
        read_keys(tmp_path / "binary")
    with (tmp_path / "large").open("wb") as file:
        file.truncate(20_000_000)
    with pytest.raises(OptionError, match="larger than"):
        read_keys(tmp_path / "large")


@pytest.mark.parametrize("name", ["", "two words", "a\nb", "-x", "ä", "a" * 65, "a/b"])
def test_a_name_that_a_line_cannot_hold(name: str) -> None:
    with pytest.raises(OptionError, match="cannot name a key's owner"):
        new_key(name)


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ([], None),
        ([(b"accept", b"*/*")], None),
        ([(b"authorization", b"Bearer ob_a")], "ob_a"),
        ([(b"Authorization", b"bearer   ob_a ")], "ob_a"),
        ([(b"x-api-key", b"ob_b")], "ob_b"),
        ([(b"x-api-key", b"ob_b"), (b"authorization", b"Bearer ob_a")], "ob_a"),
        ([(b"x-api-key", b"ob_b"), (b"authorization", b"Basic dTpw")], "ob_b"),
        ([(b"authorization", b"Basic dTpw")], None),
        ([(b"authorization", b"Bearer")], ""),
        ([(b"authorization", b"Bearer ob_a"), (b"authorization", b"Bearer ob_b")], ""),
        ([(b"x-api-key", b"ob_a"), (b"x-api-key", b"ob_a")], ""),
        ([(b"x-api-key", b"\xff\x00")], "\xff\x00"),
    ],
)
def test_where_a_request_carries_its_key(headers: list[tuple[bytes, bytes]], key: str | None) -> None:
    assert presented_key(headers) == key


@given(st.text(max_size=400))
def test_no_text_is_a_key_by_chance(presented: str) -> None:
    assert Keys((("alice", sha256(b"another").digest()),)).owner(presented) is None
