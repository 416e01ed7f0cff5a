"""Noisy shards as they come from the web: what is a sample, what is wrong with it, and where a tar breaks off."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path

import pytest

from noisy import picture_bytes, sample, write_tar
from openblip.bulk.capfilt import samples as module
from openblip.bulk.capfilt.samples import ShardSamples, WebSample, fingerprint, read_member
from openblip.bulk.shards import read_shards
from openblip.errors import DataError


def read(path: Path) -> tuple[list[WebSample], str | None]:
    shard = ShardSamples(path)
    return list(shard), shard.broken_off


def test_texts_come_from_captions_else_caption_else_txt(tmp_path: Path) -> None:
    members = [
        *sample("1", 1, ["a dog", "a cat"], caption="no"),
        ("2.jpg", b"J"), ("2.txt", b" alt text\n"), ("2.json", b'{"caption": "of the json", "captions": null}'),
        ("3.txt", "caf\u00e9".encode()), ("3.jpg", b"J"),
        ("4.webp", b"J"), ("4.json", b'{"captions": []}'), ("4.txt", b"not this"),
        ("5.jpg", b"J"),
        ("6.txt", b"no picture and no json: no sample"),
    ]  # fmt: skip
    found, broken = read(write_tar(tmp_path / "0.tar", members))
    texts = [("a dog", "a cat"), ("of the json",), ("caf\u00e9",), (), ()]
    assert [each.texts for each in found] == texts
    assert [each.key for each in found] == ["1", "2", "3", "4", "5"]
    assert [each.error for each in found] == [None] * 5
    assert broken is None
    assert found[0].metadata["url"] == "https://example.org/1"
    assert found[0].image is not None
    assert found[0].image.content == picture_bytes(1)


def test_a_bad_sample_says_what_is_wrong_and_the_rest_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_MEMBER_BYTES", 5000)
    members = [
        ("1.json", b"{}"), ("2.jpg", b"J"), ("2.png", b"J"), ("2.json", b"{}"), ("3.jpg", b"J"), ("3.json", b"{"),
        ("4.jpg", b"J"), ("4.json", b"[1]"), ("5.jpg", b"J"), ("5.json", b'{"captions": "a dog"}'), ("6.jpg", b"J"),
        ("6.jpg", b"J"), ("7.jpg", bytes(6000)), *sample("8", 8, ["a dog"]),
    ]  # fmt: skip
    found, broken = read(write_tar(tmp_path / "0.tar", members))
    errors = [each.error for each in found]
    for error, part in zip(
        errors,
        ["no picture", "2 pictures", "3.json is not JSON", "4.json holds no JSON object", "no list of texts",
         "there twice", "7.jpg has 6000 bytes, more than 5000"],
        strict=False,
    ):  # fmt: skip
        assert error is not None
        assert part in error
    assert (errors[7], broken) == (None, None)
    assert [each.image for each in found[:7]] == [None] * 7


def test_a_shard_that_breaks_off_gives_what_lies_before_it(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "0.tar", [*sample("1", 1, ["a dog"]), *sample("2", 2, ["a cat"])])
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"2.png") + 700])
    found, broken = read(path)
    assert [each.key for each in found] == ["1"]
    assert broken is not None
    assert "ReadError" in broken


@pytest.mark.parametrize("content", [b"", b"not a tar at all", gzip.compress(b"half a stream" * 99)[:-9]])
def test_a_file_that_is_no_tar_has_no_samples(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "0.tar").write_bytes(content)
    found, broken = read(tmp_path / "0.tar")
    assert found == []
    assert broken
    assert fingerprint(tmp_path / "0.tar").pictures == 0


def test_an_empty_tar_has_no_samples_and_is_whole(tmp_path: Path) -> None:
    assert read(write_tar(tmp_path / "0.tar", [])) == ([], None)


def test_a_missing_shard_is_an_error(tmp_path: Path) -> None:
    for call in (lambda path: list(ShardSamples(path)), fingerprint):
        with pytest.raises(DataError, match=r"none\.tar"):
            call(tmp_path / "none.tar")  # type: ignore[no-untyped-call]


def test_a_fingerprint_is_of_the_whole_file_and_counts_samples(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "0.tar", [*sample("1", 1, ["a dog"]), *sample("2", 2, ["a cat"])])
    found = fingerprint(path)
    content = path.read_bytes()
    assert (found.bytes, found.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert found.pictures == 2


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_member_is_found_again_by_its_place(tmp_path: Path, mode: str) -> None:
    members = [*sample("folder/" * 20 + "1", 1, ["a dog"]), *sample("2", 2, ["a cat"])]
    path = write_tar(tmp_path / "0.tar", members, mode)
    for each in ShardSamples(path):
        assert each.image is not None
        place = (each.image.name, each.image.offset, each.image.size)
        assert read_member(path, *place) == each.image.content
    with pytest.raises(DataError, match=r"gone\.png"):
        read_member(tmp_path / "none.tar", "gone.png", 0, 1)


def test_it_agrees_with_the_strict_reader_where_that_reads(tmp_path: Path) -> None:
    members = [*sample("x/1", 1, ["a dog"], width=4), ("2.json", json.dumps({"captions": ["a"]}).encode()),
               ("2.jpg", b"J"), ("._2.jpg", b"mac"), ("2.seg.png", b"S")]  # fmt: skip
    path = write_tar(tmp_path / "0.tar", members)
    strict, (lenient, _) = list(read_shards([path])), read(path)
    assert [(each.key, each.captions, each.offset) for each in strict] == [
        (each.key, each.texts, each.image.offset) for each in lenient if each.image
    ]
