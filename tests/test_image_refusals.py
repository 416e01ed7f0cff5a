"""Files that cannot be read: damaged, hostile or too large. Each is one clear line, before it takes memory."""

from __future__ import annotations

import os
import struct
import threading
import time
import tracemalloc
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from openblip.errors import ImageError, OptionError
from openblip.image import ImageLimits, load_image
from photos import photo, png, refusal, saved


def test_bad_files_are_refused_in_one_line_that_names_them(tmp_path: Path) -> None:
    bad = {
        "empty.jpg": (b"", "empty"),
        "cut.jpg": (saved(photo(400, 300), "JPEG")[:3000], "cut short"),
        "cut.png": (saved(photo(400, 300), "PNG")[:3000], "cut short"),
        "cut.webp": (saved(photo(400, 300), "WEBP")[:800], "cut short"),
        "cut.avif": (saved(photo(400, 300), "AVIF")[:500], "cut short"),
        "text.jpg": (b"This is a letter, not a picture.\n" * 50, "not a picture"),
        "page.png": (b"<!doctype html><title>404</title>", "not a picture"),
        "drawing.svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a picture"),
        "print.eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "not a picture"),
        "scan.tga": (saved(photo(), "TGA"), "not a picture"),
        "icon.ico": (saved(photo(), "ICO"), "not a picture"),
        "phone.heic": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200), "convert it to JPEG"),
        "bmw.txt": (b"BMW makes cars." * 9, "damaged"),
    }
    for name, (data, says) in bad.items():
        path = tmp_path / name
        path.write_bytes(data)
        message = refusal(path)
        assert name in message
        assert says in message
    assert "does not exist" in refusal(tmp_path / "missing.jpg")
    assert "is a folder" in refusal(tmp_path)
    assert "cannot be read" in refusal("null\0byte.jpg")
    assert "Path" not in refusal(tmp_path / "line\nbreak.jpg")
    assert "int" in refusal(3)
    assert "empty" in refusal(b"")


def test_an_unreadable_file(tmp_path: Path) -> None:
    """Root reads everything, so a folder that is a file stands in for the general failure there."""
    path = tmp_path / "photo.jpg"
    path.write_bytes(saved(photo(), "JPEG"))
    path.chmod(0)
    if os.geteuid() != 0:
        assert "permissions" in refusal(path)
    assert "cannot be read" in refusal(path / "inner.jpg")


def test_a_bomb_is_refused_from_its_header(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png(30_000, 30_000, rows=bytes(2_000_000)))
    assert path.stat().st_size < 5_000
    load_image(saved(photo(), "PNG"))  # the plugin is imported
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tracemalloc.start()
        start = time.perf_counter()
        message = refusal(path)
        seconds = time.perf_counter() - start
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert "30,000 x 30,000" in message
    assert seconds < 0.1
    assert peak_bytes < 1_000_000


def webp_header(width: int, height: int) -> bytes:
    packed = struct.pack("<I", (width - 1) | (height - 1) << 14)
    body = b"WEBPVP8L" + struct.pack("<I", 32) + b"\x2f" + packed + bytes(27)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def gif(screen: tuple[int, int], frame: tuple[int, int]) -> bytes:
    control = b"\x21\xf9\x04" + bytes([2 << 2, 0, 0, 0, 0])  # "restore to background", which allocates the frame
    descriptor = b"," + struct.pack("<HHHHB", 0, 0, *frame, 0)
    return b"GIF89a" + struct.pack("<HHBBB", *screen, 0, 0, 0) + control + descriptor + b"\x02\x02\x44\x01\x00;"


@pytest.mark.parametrize(
    "data",
    [
        png(9_500, 9_500),
        webp_header(13_000, 13_000),
        gif((13_000, 13_000), (13_000, 13_000)),
        gif((10, 10), (9_600, 9_600)),
        gif((10, 10), (65_535, 65_535)),
        b"P6 13000 13000 255\n",
        saved(Image.new("1", (13_000, 13_000)), "TIFF", compression="group4"),
    ],
    ids=["png", "webp", "gif-screen", "gif-frame", "gif-huge-frame", "ppm", "tiff"],
)
def test_pillow_never_warns_of_bombs(data: bytes) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        message = refusal(data, ImageLimits(max_pixels=90_000_000))
    assert "allowed" in message or "damaged" in message


def test_a_large_tiff_within_the_limit_does_not_warn() -> None:
    data = saved(Image.new("1", (9_500, 9_500)), "TIFF", compression="group4")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_image(data).size == (9_500, 9_500)


def test_a_file_of_nothing_but_small_parts_is_refused_at_once() -> None:
    """Pillow takes 10 to 23 seconds of Python for the larger ones of these."""
    jpeg, whole_png = saved(photo(), "JPEG"), saved(photo(), "PNG")
    empty = b"\0\0\0\0tEXt" + struct.pack(">I", zlib.crc32(b"tEXt"))
    for count, refused in ((15_000, False), (25_000, True), (2_500_000, True)):
        for data in (
            jpeg[:2] + b"\xff" * count + jpeg[2:],
            jpeg[:2] + b"\xff\xd0" * count + jpeg[2:],
            jpeg[:2] + b"\xff\xfe\0\2" * count + jpeg[2:],
            jpeg[:2] + segment_and_junk(count) + jpeg[2:],
            whole_png[:33] + empty * count + whole_png[33:],
        ):
            start = time.perf_counter()
            if refused:
                assert "save it again" in refusal(data)
                assert time.perf_counter() - start < 0.5
            else:
                assert load_image(data).size == (40, 30)


def segment_and_junk(count: int) -> bytes:
    return b"\xff\xfe\0\2" + b"\1" * count


def test_limits_apply_to_every_kind_of_source(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(saved(photo(), "PNG"))
    few_pixels, few_bytes = ImageLimits(max_pixels=40 * 30 - 1), ImageLimits(max_bytes=path.stat().st_size - 1)
    for source in (path, path.read_bytes(), photo(), np.asarray(photo())):
        assert "40 x 30" in refusal(source, few_pixels)
    for source in (path, path.read_bytes()):
        assert "bytes" in refusal(source, few_bytes)
        load_image(source, ImageLimits(max_pixels=40 * 30, max_bytes=path.stat().st_size))


def test_a_large_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "large.jpg"
    with path.open("wb") as file:
        file.truncate(2**40)  # sparse
    start = time.perf_counter()
    assert "50,000,000 bytes" in refusal(path)
    assert time.perf_counter() - start < 1
    if Path("/dev/zero").exists():  # a file without a size
        assert "1,000 bytes" in refusal(Path("/dev/zero"), ImageLimits(max_bytes=1000))


@pytest.mark.parametrize(
    ("name", "value"),
    [("max_bytes", 0), ("max_pixels", 0), ("max_pixels", 10**9), ("url_timeout_s", np.nan), ("url_max_redirects", -1)],
)
def test_limits_are_checked(name: str, value: float) -> None:
    with pytest.raises(OptionError, match=name):
        ImageLimits(**{name: value})  # type: ignore[arg-type]


def mutated(data: bytes) -> st.SearchStrategy[bytes]:
    """A real file with some of its bytes changed, or cut short."""
    edits = st.lists(st.tuples(st.integers(0, len(data) - 1), st.integers(0, 255)), max_size=12)

    def apply(values: tuple[list[tuple[int, int]], int]) -> bytes:
        changed = bytearray(data)
        for position, value in values[0]:
            changed[position] = value
        return bytes(changed[: values[1]])

    ends = st.just(len(data)) | st.integers(1, len(data))
    return st.tuples(edits, ends).map(apply)


REAL_FILES = [saved(photo(16, 12), kind) for kind in ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "AVIF")]
SIGNATURES = [
    *(b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"II*\0", b"MM\0*", b"II+\0", b"P1 ", b"P6\n"),
    *(b"RIFF\x30\0\0\0WEBPVP8 ", b"\0\0\0\x20ftypavif", b"\0\0\0\x18ftypheic"),
]


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's notes on metadata are no concern here
@given(
    st.binary(max_size=300)
    | st.builds(bytes.__add__, st.sampled_from(SIGNATURES), st.binary(max_size=200))
    | st.sampled_from(REAL_FILES).flatmap(mutated)
)
@example(b"GIF89a")
@example(b"P6\n1 1 65535\n")
def test_random_bytes_give_a_picture_or_an_image_error(data: bytes) -> None:
    try:
        image = load_image(data, ImageLimits(max_pixels=1_000_000))
    except ImageError as error:
        assert "\n" not in str(error)  # noqa: PT017 (either outcome is right)
    else:
        assert image.mode == "RGB"
        assert min(image.size) >= 1


def test_many_threads_read_at_once() -> None:
    """And leave the warning filters, which are global, as they were."""
    data, before, sizes = saved(photo(), "GIF"), list(warnings.filters), list[tuple[int, int]]()

    def work() -> None:
        sizes.extend(load_image(data).size for _ in range(50))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sizes == [(40, 30)] * 400
    assert list(warnings.filters) == before


def test_one_image_that_is_read_late_may_stand_in_a_list_twice() -> None:
    data = saved(photo(800, 600), "JPEG")
    expected = load_image(data).tobytes()
    with ThreadPoolExecutor(4) as pool:
        for _ in range(10):
            image = Image.open(BytesIO(data))
            assert all(found.tobytes() == expected for found in pool.map(load_image, [image] * 4))
