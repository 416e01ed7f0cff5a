"""Shards as they come: whole ones, broken ones, and what find_shards makes of a name."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openblip.bulk import shards
from openblip.bulk.shards import Sample, find_shards, read_shards
from openblip.errors import DataError

CAPTIONS = json.dumps({"captions": ["a dog", "a brown dog"], "width": 4}).encode()


def write_shard(path: Path, members: list[tuple[str, bytes]]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def test_samples_come_in_order_with_captions_and_metadata(tmp_path: Path) -> None:
    members = [("b.jpg", b"B"), ("b.json", CAPTIONS), ("sub/a.b.txt", b"?"), ("a.json", CAPTIONS), ("a.PNG", b"A")]
    first = write_shard(tmp_path / "0.tar", members)
    second = write_shard(tmp_path / "1.tar", [("b.jpg", b"other"), ("b.json", CAPTIONS)])
    samples = list(read_shards([first, str(second)]))
    assert samples[0] == Sample("b", b"B", ("a dog", "a brown dog"), {"width": 4}, first, samples[0].offset)
    assert [(sample.key, sample.image_bytes) for sample in samples] == [("b", b"B"), ("a", b"A"), ("b", b"other")]


def test_a_sample_tells_where_its_picture_lies(tmp_path: Path) -> None:
    """Whoever comes back for one picture need not read the shard up to it."""
    long = f"{'folder/' * 30}2"  # a name beyond the header's 100 bytes moves what follows
    pictures = {"1": b"first" * 200, long: b"second", "3": b"", "4": b"fourth" * 100}
    shards_ = [
        write_shard(tmp_path / name, [(f"{key}.{suffix}", data) for key, content in keys.items()
                                      for suffix, data in (("json", CAPTIONS), ("jpg", content))])
        for name, keys in (("0.tar", pictures), ("1.tar", {"1": b"other"}))
    ]  # fmt: skip
    samples = list(read_shards(shards_))
    assert [sample.shard for sample in samples] == [shards_[0]] * 4 + [shards_[1]]
    for sample in samples:
        content = sample.shard.read_bytes()
        assert content[sample.offset : sample.offset + len(sample.image_bytes)] == sample.image_bytes
    assert len({(sample.shard, sample.offset) for sample in samples}) == 5


def test_equal_names_in_unlike_folders_are_unlike_samples(tmp_path: Path) -> None:
    members = [("x/1.jpg", b"X"), ("x/1.json", CAPTIONS), ("y/1.jpg", b"Y"), ("y/1.json", CAPTIONS)]
    shard = write_shard(tmp_path / "0.tar", members)
    assert [(sample.key, sample.image_bytes) for sample in read_shards([shard])] == [("x/1", b"X"), ("y/1", b"Y")]


def test_folders_links_and_foreign_files_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "0.tar"
    with tarfile.open(path, "w") as archive:
        for name, kind in (("photos", tarfile.DIRTYPE), ("link.jpg", tarfile.SYMTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/hostname"
            archive.addfile(member)
        for name, content in (("._1.jpg", b"mac"), ("1.seg.png", b"s"), ("1.jpg", b"1"), ("1.json", CAPTIONS)):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    assert [sample.image_bytes for sample in read_shards([path])] == [b"1"]


def test_a_compressed_shard_is_read(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "0.tar", "w:gz") as archive:
        for name, content in (("1.jpg", b"1"), ("1.json", CAPTIONS)):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    assert [sample.key for sample in read_shards([tmp_path / "0.tar"])] == ["1"]


def test_one_caption_as_img2dataset_writes_it(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "0.tar", "w") as archive:
        for name, content in (("1.jpg", b"1"), ("1.json", b'{"caption": "a dog", "url": "here"}')):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    [sample] = read_shards([tmp_path / "0.tar"])
    assert (sample.captions, sample.metadata) == (("a dog",), {"url": "here"})


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("1.jpg", b"1")], "no 1.json beside it"),
        ([("1.json", CAPTIONS)], "a json but no picture"),
        ([("1.jpg", b"1"), ("1.png", b"1"), ("1.json", CAPTIONS)], "2 pictures"),
        ([("1.jpg", b"1"), ("1.jpg", b"1"), ("1.json", CAPTIONS)], "there twice"),
        ([("1.jpg", b"1"), ("1.json", b"{")], "1.json is not JSON"),
        ([("1.jpg", b"1"), ("1.json", b"\xff\xfe\xfa")], "1.json is not JSON"),
        ([("1.jpg", b"1"), ("1.json", b"[" * 100_000)], "1.json is not JSON"),
        ([("1.jpg", b"1"), ("1.json", b"{}")], "has no captions"),
        ([("1.jpg", b"1"), ("1.json", b'{"caption": ["a dog"]}')], "has no captions"),
        ([("1.jpg", b"1"), ("1.json", b"[]")], "has no captions"),
        ([("1.jpg", b"1"), ("1.json", b'{"captions": []}')], "has no captions"),
        ([("1.jpg", b"1"), ("1.json", b'{"captions": "a dog"}')], "has no captions"),
        ([("1.jpg", b"1"), ("1.json", b'{"captions": ["a dog", null]}')], "has no captions"),
        ([("readme.txt", b"hello")], "holds no samples"),
        ([], "holds no samples"),
    ],
)
def test_a_shard_that_lacks_something_says_what(tmp_path: Path, members: list[tuple[str, bytes]], message: str) -> None:
    shard = write_shard(tmp_path / "0.tar", members)
    with pytest.raises(DataError, match=message) as caught:
        list(read_shards([shard]))
    assert str(shard) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"not a tar", b"\x1f\x8b\x08\x00broken", bytes(300)])
def test_a_file_that_is_no_tar(tmp_path: Path, content: bytes) -> None:
    shard = tmp_path / "0.tar"
    shard.write_bytes(content)
    with pytest.raises(DataError, match=r"0\.tar"):
        list(read_shards([shard]))


def test_a_missing_shard(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.tar"):
        list(read_shards([tmp_path / "none.tar"]))


@given(st.integers(min_value=0, max_value=511))
def test_a_cut_shard_never_passes_for_a_whole_one(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    """The download broke off somewhere inside the second sample."""
    folder = tmp_path_factory.mktemp("cut")
    members = [("1.jpg", b"1" * 700), ("1.json", CAPTIONS), ("2.jpg", b"2" * 700), ("2.json", CAPTIONS)]
    whole = write_shard(folder / "0.tar", members).read_bytes()
    start = whole.index(b"2" * 700) - 512
    (folder / "0.tar").write_bytes(whole[: start + 513 + cut])
    with pytest.raises(DataError):
        list(read_shards([folder / "0.tar"]))


def test_an_oversized_member_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "MAX_MEMBER_BYTES", 9)
    shard = write_shard(tmp_path / "0.tar", [("1.jpg", b"0123456789"), ("1.json", CAPTIONS)])
    with pytest.raises(DataError, match=r"1\.jpg has 10 bytes, more than 9"):
        list(read_shards([shard]))


def test_shards_are_found_by_file_folder_glob_and_range(tmp_path: Path) -> None:
    names = ["dev-0000.tar", "train-0000.tar", "train-0001.tar", "train-0002.tar"]
    for name in [*names, "readme.md"]:
        (tmp_path / name).touch()

    def found(source: str | Path) -> list[str]:
        return [path.name for path in find_shards(source)]

    assert found(tmp_path) == names
    assert found(tmp_path / "dev-0000.tar") == names[:1]
    assert found(str(tmp_path / "train-*.tar")) == names[1:]
    assert found(f"{tmp_path}/train-{{0001..0002}}.tar") == names[2:]


@pytest.mark.parametrize("name", ["none.tar", "none-*.tar", "train-{0000..0001}.tar", "."])
def test_no_shards_is_an_error_that_says_what_to_give(tmp_path: Path, name: str) -> None:
    (tmp_path / "train-0000.tar").mkdir()
    source = tmp_path / "train-0000.tar" if name == "." else tmp_path / name
    with pytest.raises(DataError, match="no shards at"):
        find_shards(source)


def test_the_real_shard(shared_data: Path) -> None:
    samples = list(read_shards(find_shards(shared_data / "flickr8k" / "dev-*.tar")))
    assert len({sample.key for sample in samples}) == 1000
    assert all(len(sample.captions) == 5 and sample.image_bytes[:2] == b"\xff\xd8" for sample in samples)
    for sample in samples[::199]:
        with sample.shard.open("rb") as shard:
            shard.seek(sample.offset)
            assert shard.read(len(sample.image_bytes)) == sample.image_bytes
