"""An index run on real files and shards with a tiny model: what is added, skipped, moved, changed, dropped and
reported."""

from __future__ import annotations

import io
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from noisy import tiny_checkpoint
from openblip import Blip
from openblip.errors import DataError, ImageError, OpenBlipError, OptionError
from openblip.image import ImageLimits
from openblip.library import IndexOptions, IndexReport, Library, Record, index_photos
from openblip.library.lock import only_writer
from openblip.library.records import Place
from openblip.library.scan import place_of, read_place
from openblip.library.table import PhotoTable
from shard_files import photo, write_shard


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_checkpoint(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def blip(model: str) -> Blip:
    return Blip.load(model, precision="f32", threads=1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve photos in two folders."""
    for number in range(12):
        path = tmp_path / "album" / ("first" if number < 6 else "second") / f"photo{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(photo(number))
    return tmp_path / "album"


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "photos.lance"


def no_model() -> Blip:
    pytest.fail("the model was loaded")


def counts(report: IndexReport) -> dict[str, int]:
    """Those that are not zero."""
    return {
        name: value
        for name, value in report.to_dict().items()
        if value and name not in ("seconds", "photos", "encoded")
    }


def records(database: Path) -> dict[str, Record]:
    """By path and key; none may be there twice."""
    found = Library.open(database).list(limit=10_000)
    by_place = {record.name: record for record in found}
    assert len(by_place) == len(found)
    return by_place


def test_a_record_says_what_the_file_holds(blip: Blip, tmp_path: Path, database: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    exif.get_ifd(0x8769)[0x9003] = "2024:06:01 18:30:05"
    file = tmp_path / "lying.jpg"
    Image.open(io.BytesIO(photo(1))).save(file, exif=exif)
    report = index_photos([str(file)], database, lambda: blip)
    assert (report.added, report.encoded, report.photos, report.failed) == (1, 1, 1, 0)
    [record] = records(database).values()
    status = file.stat()
    assert (record.place.path, record.place.key) == (str(file), "")
    assert (record.place.size, record.place.modified) == (status.st_size, status.st_mtime_ns // 1000)
    assert (record.facts.width, record.facts.height) == (32, 40)
    assert record.facts.taken is not None
    assert record.facts.taken.isoformat() == "2024-06-01T18:30:05"
    assert (record.model.name, record.model.revision) == ("tiny-0", blip.part("embed").revision)
    assert record.model.revision
    assert abs(record.vector - blip.embed_images(file)[0]).max() < 1e-3
    assert record.to_dict()["taken"] == "2024-06-01T18:30:05"


def test_a_second_run_loads_no_model_and_changes_nothing(blip: Blip, folder: Path, database: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    first = index_photos([str(folder)], database, lambda: blip, progress=lambda *at: seen.append(at))
    assert counts(first) == {"added": 12}
    assert seen[-1] == ("photos", 12, 12)
    version = PhotoTable.open(database)._photos.version
    second = index_photos([str(folder)], database, no_model)
    assert counts(second) == {"unchanged": 12}
    assert second.photos == 12
    assert PhotoTable.open(database)._photos.version == version


def test_only_what_changed_is_encoded(blip: Blip, folder: Path, database: Path) -> None:
    index_photos([str(folder)], database, lambda: blip)
    (folder / "first" / "photo0.jpg").write_bytes(photo(100))  # another picture
    os.utime(folder / "first" / "photo1.jpg", (1, 1))  # the same bytes, touched
    shutil.move(folder / "first" / "photo2.jpg", folder / "second" / "moved.jpg")
    shutil.copy(folder / "first" / "photo3.jpg", folder / "second" / "copied.jpg")
    (folder / "first" / "photo4.jpg").unlink()
    (folder / "new.jpg").write_bytes(photo(101))
    before = records(database)
    report = index_photos([str(folder)], database, lambda: blip)
    assert counts(report) == {"added": 2, "updated": 1, "moved": 1, "unchanged": 9, "dropped": 1}
    assert report.encoded == 2
    after = records(database)
    assert {Path(name).relative_to(folder).as_posix() for name in after} == {
        path.relative_to(folder).as_posix() for path in folder.rglob("*.jpg")
    }
    changed, touched, moved = (
        str(folder / name) for name in ("first/photo0.jpg", "first/photo1.jpg", "second/moved.jpg")
    )
    assert after[changed].facts.sha256 != before[changed].facts.sha256
    assert abs(after[changed].vector - before[changed].vector).max() > 0.01
    assert after[touched].place.modified == 1_000_000
    assert (after[moved].vector == before[str(folder / "first/photo2.jpg")].vector).all()
    assert counts(index_photos([str(folder)], database, no_model)) == {"unchanged": 13}


def test_content_that_moves_on_while_its_place_gets_another(blip: Blip, folder: Path, database: Path) -> None:
    """a is renamed to b, and a new a comes: batches of one, so that each is written before the next."""
    index_photos([str(folder)], database, lambda: blip)
    first, other = folder / "first" / "photo0.jpg", folder / "second" / "renamed.jpg"
    first.rename(other)
    first.write_bytes(photo(200))
    report = index_photos([str(folder)], database, lambda: blip, IndexOptions(batch_size=1))
    assert counts(report) == {"added": 1, "updated": 1, "unchanged": 11}
    found = records(database)
    for path in (first, other):
        assert abs(found[str(path)].vector - blip.embed_images(path)[0]).max() < 1e-3


def test_what_lies_outside_is_left_alone(blip: Blip, folder: Path, database: Path) -> None:
    index_photos([str(folder)], database, lambda: blip)
    shutil.rmtree(folder / "second")
    assert counts(index_photos([str(folder / "first")], database, no_model)) == {"unchanged": 6}
    assert len(records(database)) == 12
    assert counts(index_photos([str(folder)], database, no_model)) == {"unchanged": 6, "dropped": 6}


def test_a_folder_that_is_not_there_drops_nothing(blip: Blip, folder: Path, database: Path) -> None:
    """A disk that is not mounted leaves an empty folder, or none."""
    index_photos([str(folder)], database, lambda: blip)
    shutil.move(folder, folder.with_name("elsewhere"))
    told: list[OpenBlipError] = []
    assert counts(index_photos([str(folder)], database, no_model, report=told.append)) == {"failed": 1}
    folder.mkdir()
    assert counts(index_photos([str(folder)], database, no_model, report=told.append)) == {"failed": 1}
    assert len(records(database)) == 12
    assert "holds no pictures" in str(told[1])


def test_a_broken_photo_is_reported_and_the_rest_goes_on(blip: Blip, folder: Path, database: Path) -> None:
    (folder / "first" / "cut.jpg").write_bytes(photo(7)[:300])
    (folder / "first" / "text.jpg").write_text("no picture")
    told: list[OpenBlipError] = []
    report = index_photos([str(folder), "http://host/a.jpg"], database, lambda: blip, report=told.append)
    assert counts(report) == {"added": 12, "failed": 3}
    assert [message for message in map(str, told) if "text.jpg" in message and "not a picture" in message]
    assert [message for message in map(str, told) if "cut.jpg" in message and "cut short" in message]
    (folder / "first" / "photo0.jpg").write_text("no picture either")
    assert counts(index_photos([str(folder)], database, lambda: blip)) == {"unchanged": 11, "failed": 3, "dropped": 1}
    assert str(folder / "first" / "photo0.jpg") not in records(database)


def test_captions_are_made_when_they_are_asked_for(blip: Blip, folder: Path, database: Path) -> None:
    index_photos([str(folder)], database, lambda: blip)
    report = index_photos([str(folder)], database, lambda: blip, IndexOptions(captions=True))
    assert counts(report) == {"updated": 12}
    path = folder / "first" / "photo0.jpg"
    assert records(database)[str(path)].caption == blip.caption(path)[0].text
    assert counts(index_photos([str(folder)], database, no_model, IndexOptions(captions=True))) == {"unchanged": 12}


def test_shards_keep_their_captions(blip: Blip, tmp_path: Path, database: Path) -> None:
    samples = [(f"key{n}", photo(n), {"captions": [f"the dog {n}", "a cat"]}) for n in range(5)]
    shard = write_shard(tmp_path / "a.tar", samples)
    told: list[OpenBlipError] = []
    assert counts(index_photos([str(shard)], database, lambda: blip, report=told.append)) == {"added": 5}
    assert counts(index_photos([str(tmp_path)], database, no_model)) == {"unchanged": 5}
    record = records(database)[f"{shard}: key3"]
    assert record.caption == "the dog 3\na cat"
    assert Library.open(database).picture(record) == photo(3)
    write_shard(shard, [*samples[1:], ("new", photo(9), {"captions": ["a bird"]}), ("bad", b"no picture", {})])
    report = index_photos([str(shard)], database, lambda: blip, report=told.append)
    assert counts(report) == {"added": 1, "unchanged": 4, "dropped": 1, "failed": 1}
    assert ["bad" in str(error) for error in told] == [True]
    assert Library.open(database).picture(records(database)[f"{shard}: key3"]) == photo(3)
    shard.write_bytes(shard.read_bytes()[:3000])  # breaks off: what it held is not dropped
    report = index_photos([str(shard)], database, no_model, report=told.append)
    assert (report.dropped, report.failed) == (0, 1)
    assert "breaks off" in str(told[-1])
    assert len(records(database)) == 5


@pytest.fixture
def web(tmp_path: Path) -> Path:
    """A shard of four below a folder that holds a photo too."""
    (tmp_path / "data" / "web").mkdir(parents=True)
    (tmp_path / "data" / "photo.jpg").write_bytes(photo(50))
    samples = [(f"key{n}", photo(n), {"captions": [f"the dog {n}"]}) for n in range(4)]
    return write_shard(tmp_path / "data" / "web" / "a.tar", samples)


def test_a_shard_below_a_folder_stays_while_it_is_there(blip: Blip, web: Path, tmp_path: Path, database: Path) -> None:
    index_photos([str(web.parent)], database, lambda: blip)
    assert counts(index_photos([str(tmp_path / "data")], database, lambda: blip)) == {"added": 1}
    assert len(records(database)) == 5
    shutil.move(web, tmp_path / "away.tar")
    assert counts(index_photos([str(tmp_path / "data")], database, no_model)) == {"unchanged": 1, "dropped": 4}
    shutil.move(tmp_path / "away.tar", web)
    assert counts(index_photos([str(web.parent)], database, lambda: blip)) == {"added": 4}


def test_a_shard_that_is_renamed_and_back_is_there(blip: Blip, web: Path, database: Path) -> None:
    index_photos([str(web.parent)], database, lambda: blip)
    for old, new in ((web, web.with_name("b.tar")), (web.with_name("b.tar"), web)):
        old.rename(new)
        assert counts(index_photos([str(web.parent)], database, no_model)) == {"moved": 4}
        assert {record.place.path for record in records(database).values()} == {str(new)}


def test_a_copy_of_what_is_not_mounted_is_no_move(blip: Blip, tmp_path: Path, database: Path) -> None:
    home, disk = tmp_path / "home", tmp_path / "disk"
    home.mkdir()
    disk.mkdir()
    for number in range(3):
        (disk / f"{number}.jpg").write_bytes(photo(number))
    index_photos([str(disk)], database, lambda: blip)
    shutil.move(disk / "0.jpg", home / "moved.jpg")
    assert counts(index_photos([str(home)], database, no_model)) == {"moved": 1}
    shutil.copy(disk / "1.jpg", home / "copy.jpg")
    disk.rename(tmp_path / "unplugged")
    disk.mkdir()
    assert counts(index_photos([str(home)], database, no_model)) == {"added": 1, "unchanged": 1}
    assert counts(index_photos([str(home), str(disk)], database, no_model)) == {"unchanged": 2, "failed": 1}
    assert {str(disk / "1.jpg"), str(disk / "2.jpg")} < records(database).keys()


def test_a_link_to_nothing_keeps_nothing_else(blip: Blip, folder: Path, tmp_path: Path, database: Path) -> None:
    (tmp_path / "outside.jpg").write_bytes(photo(60))
    (folder / "link.jpg").symlink_to(tmp_path / "outside.jpg")
    assert counts(index_photos([str(folder)], database, lambda: blip)) == {"added": 13}
    (tmp_path / "outside.jpg").unlink()
    (folder / "first" / "photo0.jpg").unlink()
    report = index_photos([str(folder)], database, no_model)
    assert counts(report) == {"unchanged": 11, "dropped": 1, "failed": 1}
    assert str(folder / "link.jpg") in records(database)  # what it leads to may come back


def test_a_file_counts_once_however_it_is_named(blip: Blip, folder: Path, database: Path) -> None:
    sources = [str(folder), str(folder / "first" / ".." / "second")]
    assert counts(index_photos(sources, database, lambda: blip)) == {"added": 12}
    for path in folder.rglob("*.jpg"):
        os.utime(path, (1, 1))
    assert counts(index_photos(sources, database, no_model)) == {"unchanged": 12}


def test_what_is_no_file_or_too_large_is_not_read(blip: Blip, folder: Path, database: Path) -> None:
    os.mkfifo(folder / "pipe.jpg")
    with (folder / "sparse.jpg").open("wb") as file:
        file.truncate(300 * 2**20)
    with pytest.raises(ImageError, match=r"pipe.jpg is no file, but a folder, a pipe or a device"):
        place_of(folder / "pipe.jpg")
    with pytest.raises(ImageError, match=r"sparse.jpg is larger than 50,000,000 bytes"):
        read_place(replace(place_of(folder / "sparse.jpg"), size=1))
    with pytest.raises(ImageError, match=r"pipe.jpg is a file no more"):
        read_place(Place(str(folder / "pipe.jpg"), 1, 0))
    told: list[OpenBlipError] = []
    assert counts(index_photos([str(folder)], database, lambda: blip, report=told.append)) == {"added": 12, "failed": 2}
    assert sorted(Path(str(error).split()[0]).name for error in told) == ["pipe.jpg", "sparse.jpg"]
    small = index_photos([str(folder)], database.with_name("small"), no_model, limits=ImageLimits(max_bytes=100))
    assert counts(small) == {"failed": 14}


def test_another_model_is_refused(blip: Blip, folder: Path, database: Path, tmp_path: Path) -> None:
    index_photos([str(folder / "first")], database, lambda: blip)
    other = Blip.load(tiny_checkpoint(tmp_path / "other", seed=1), precision="f32", threads=1)
    with pytest.raises(DataError, match=r"was indexed with tiny-0 .* give --model tiny-0, or index into another --db"):
        index_photos([str(folder)], database, lambda: other)
    with pytest.raises(DataError, match="was indexed with tiny-0"):
        Library.create(database, other)
    assert len(records(database)) == 6


def test_two_writers_do_not_meet(blip: Blip, folder: Path, database: Path) -> None:
    with only_writer(database), pytest.raises(DataError, match="another process is writing"):
        index_photos([str(folder)], database, lambda: blip)


def test_what_is_no_library_is_said(tmp_path: Path, blip: Blip) -> None:
    with pytest.raises(DataError, match=r"there is no library at .*openblip index"):
        Library.open(tmp_path / "nothing")
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(DataError, match="cannot be written"):
        index_photos([str(tmp_path)], tmp_path / "file", lambda: blip)
    with pytest.raises(OptionError, match="batch_size=0 is out of range"):
        IndexOptions(batch_size=0)


def test_one_at_a_time(blip: Blip, folder: Path, database: Path) -> None:
    library = Library.create(database, blip)
    assert len(library) == 0
    paths = sorted(folder.rglob("*.jpg"))[:3]
    added = [library.add(blip, path, f"number {place}") for place, path in enumerate(paths)]
    again = library.add(blip, paths[0], "another caption")
    assert again.id == added[0].id
    assert len(library) == 3
    found = library.get(again.id)
    assert found is not None
    assert (found.caption, found.place) == ("another caption", again.place)
    assert library.get("0" * 20) is None
    assert library.get("' OR 1=1 --") is None
    assert library.delete([again.id, "0" * 20]) == 1
    assert library.get(again.id) is None
    assert paths[0].exists()
    with pytest.raises(OpenBlipError, match="is no id"):
        library.delete(["' OR 1=1 --"])
    (folder / "text.jpg").write_text("no picture")
    with pytest.raises(OpenBlipError, match=r"text.jpg is not a picture"):
        library.add(blip, folder / "text.jpg")
    library.tidy()
    assert counts(index_photos([str(folder / "first")], database, lambda: blip)) == {"added": 4, "unchanged": 2}
