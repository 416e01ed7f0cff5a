"""Real files of every kind that a camera, a browser or an attacker hands in."""

from __future__ import annotations

import warnings
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from openblip.config import CLIP_MEAN, CLIP_STD, VisionConfig
from openblip.errors import ImageError
from openblip.image import ImageLimits, load_image, preprocess, preprocess_batch
from photos import far, photo, refusal, saved

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


# What can be read


@pytest.mark.parametrize(
    ("kind", "options", "tolerance"),
    [
        ("PNG", {}, 0),
        ("BMP", {}, 0),
        ("TIFF", {}, 0),
        ("TIFF", {"compression": "tiff_lzw"}, 0),
        ("PPM", {}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("JPEG", {"quality": 95, "subsampling": 0}, 12),
        ("AVIF", {"quality": 95}, 16),
    ],
)
def test_each_format_gives_the_picture(tmp_path: Path, kind: str, options: dict[str, Any], tolerance: int) -> None:
    path = tmp_path / "no_suffix"
    path.write_bytes(saved(photo(), kind, **options))
    for source in (path, str(path), path.read_bytes()):
        image = load_image(source)
        assert image.mode == "RGB"
        assert image.size == (40, 30)
        assert far(image, photo()) <= tolerance


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation_is_applied(kind: str, orientation: int) -> None:
    upright = Image.new("RGB", (32, 16), WHITE)
    upright.paste(RED, (0, 0, 16, 8))  # red in the upper left: every orientation moves it elsewhere
    stored = {
        1: upright,
        2: upright.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        3: upright.transpose(Image.Transpose.ROTATE_180),
        4: upright.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
        5: upright.transpose(Image.Transpose.TRANSPOSE),
        6: upright.transpose(Image.Transpose.ROTATE_90),
        7: upright.transpose(Image.Transpose.TRANSVERSE),
        8: upright.transpose(Image.Transpose.ROTATE_270),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    exact: dict[str, dict[str, Any]] = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"lossless": True}}
    data = saved(stored, kind, exif=exif.tobytes() if kind != "TIFF" else exif, **exact.get(kind, {}))
    for source in (data, Image.open(BytesIO(data))):
        image = load_image(source)
        assert image.size == (32, 16)
        assert far(image, upright) <= 8


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning")
def test_broken_exif_does_not_make_a_picture_unreadable() -> None:
    data = saved(photo(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff nonsense")
    assert load_image(data).size == (40, 30)


def test_transparency_is_laid_over_white() -> None:
    rgba = Image.new("RGBA", (4, 1), (0, 0, 255, 255))
    rgba.putpixel((1, 0), (0, 0, 255, 0))
    rgba.putpixel((2, 0), (0, 0, 0, 128))
    for source in (rgba, saved(rgba, "PNG"), saved(rgba, "WEBP", lossless=True, exact=True), np.asarray(rgba)):
        image = load_image(source)
        assert image.getpixel((0, 0)) == BLUE
        assert image.getpixel((1, 0)) == WHITE
        assert image.getpixel((2, 0)) == (127, 127, 127)


def test_grey_with_alpha_and_premultiplied_modes() -> None:
    grey = Image.new("LA", (2, 1), (0, 255))
    grey.putpixel((1, 0), (0, 0))
    for source in (grey, saved(grey, "PNG"), grey.convert("La"), grey.convert("RGBA").convert("RGBa")):
        assert [load_image(source).getpixel((x, 0)) for x in (0, 1)] == [(0, 0, 0), WHITE]


@pytest.mark.parametrize("transparency", [1, b"\xff\x00\xff"])
def test_palette_with_transparency(transparency: int | bytes) -> None:
    image = Image.new("P", (3, 1))
    image.putpalette([*RED, *GREEN, *BLUE])
    for x in range(3):
        image.putpixel((x, 0), x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read = load_image(saved(image, "PNG", transparency=transparency))
    assert [read.getpixel((x, 0)) for x in range(3)] == [RED, WHITE, BLUE]


def test_a_transparent_colour_of_rgb_and_grey_pngs() -> None:
    colour = Image.new("RGB", (2, 1), RED)
    colour.putpixel((1, 0), GREEN)
    assert load_image(saved(colour, "PNG", transparency=GREEN)).getpixel((1, 0)) == WHITE
    grey = Image.new("L", (2, 1), 10)
    grey.putpixel((1, 0), 20)
    read = load_image(saved(grey, "PNG", transparency=20))
    assert [read.getpixel((x, 0)) for x in (0, 1)] == [(10, 10, 10), WHITE]
    deep = Image.fromarray(np.array([[2570, 40000]], dtype=np.uint16))
    read = load_image(saved(deep, "PNG", transparency=40000))
    assert [read.getpixel((x, 0)) for x in (0, 1)] == [(10, 10, 10), WHITE]


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk(kind: str) -> None:
    """A JPEG of CMYK is stored inverted (Adobe); read plainly, red would come out cyan."""
    image = Image.new("RGB", (16, 16), (220, 30, 40)).convert("CMYK")
    data = saved(image, kind, **({"quality": 95} if kind == "JPEG" else {}))
    assert Image.open(BytesIO(data)).mode == "CMYK"
    assert far(load_image(data), Image.new("RGB", (16, 16), (220, 30, 40))) <= 6


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_16_bit_greyscale_is_scaled_not_clipped(kind: str) -> None:
    values = np.array([[0, 128, 129, 32768, 65278, 65535]], dtype=np.uint16)
    data = saved(Image.fromarray(values), kind)
    grey = np.asarray(load_image(data))[0, :, 0]
    assert grey.tolist() == [0, 0, 1, 128, 254, 255]  # 65535 / 255 = 257 a level, to the nearest


def test_big_endian_16_bit_tiff_and_float_tiff() -> None:
    big = Image.frombytes("I;16B", (2, 1), b"\x80\x00\xff\xff")
    assert np.asarray(load_image(saved(big, "TIFF")))[0, :, 0].tolist() == [128, 255]
    floats = Image.fromarray(np.array([[0.0, 0.5, 1.0]], dtype=np.float32))
    assert np.asarray(load_image(saved(floats, "TIFF")))[0, :, 0].tolist() == [0, 128, 255]
    assert "0 to 1" in refusal(saved(Image.fromarray(np.array([[0.0, 99.0]], dtype=np.float32)), "TIFF"))
    assert "0 to 65535" in refusal(Image.fromarray(np.array([[0, 70000]], dtype=np.int32)))


def test_greyscale_and_one_bit() -> None:
    assert load_image(saved(Image.new("L", (3, 2), 77), "PNG")).getpixel((2, 1)) == (77, 77, 77)
    one_bit = Image.new("1", (9, 1), 1)
    one_bit.putpixel((4, 0), 0)
    for kind in ("PNG", "TIFF", "PPM", "BMP"):
        read = load_image(saved(one_bit, kind))
        assert [read.getpixel((x, 0)) for x in (3, 4, 5)] == [WHITE, (0, 0, 0), WHITE]


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_first_frame_of_an_animation(kind: str) -> None:
    frames = [Image.new("RGB", (20, 10), colour) for colour in (RED, GREEN, BLUE)]
    options = {"lossless": True} if kind == "WEBP" else {} if kind == "TIFF" else {"duration": 50}
    data = saved(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    Image.open(BytesIO(data)).seek(2)  # there are three
    assert load_image(data).getpixel((5, 5)) == RED


def test_the_frame_that_a_pil_image_shows_is_the_one_read() -> None:
    frames = [Image.new("RGB", (20, 10), colour) for colour in (RED, GREEN)]
    animation = Image.open(BytesIO(saved(frames[0], "GIF", save_all=True, append_images=frames[1:])))
    animation.seek(1)
    assert load_image(animation).getpixel((5, 5)) == GREEN
    assert animation.tell() == 1


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1)])
def test_one_pixel_is_a_picture(size: tuple[int, int]) -> None:
    image = load_image(saved(Image.new("RGB", size, RED), "PNG"))
    assert image.size == size
    pixels = preprocess(image, VisionConfig(image_size=32))
    assert pixels.shape == (3, 32, 32)
    assert np.isfinite(pixels).all()


def test_a_pil_image_is_not_changed() -> None:
    image = photo()
    before = image.tobytes()
    copy = load_image(image)
    copy.paste(RED, (0, 0, 40, 30))
    assert image.tobytes() == before


def test_arrays() -> None:
    colours = np.random.default_rng(1).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    assert np.array_equal(np.asarray(load_image(colours)), colours)
    assert np.array_equal(np.asarray(load_image(colours[:, ::-1])), colours[:, ::-1])  # not contiguous
    for grey in (colours[:, :, 0], colours[:, :, :1]):
        assert np.array_equal(np.asarray(load_image(grey))[:, :, 2], colours[:, :, 0])
    for floats in (np.float16, np.float32, np.float64):
        assert np.array_equal(np.asarray(load_image((colours / 255).astype(floats))), colours)
    assert np.array_equal(np.asarray(load_image(colours.astype(np.uint16) * 257)), colours)
    clear = np.dstack([colours, np.zeros((5, 7), np.uint8)])
    assert np.asarray(load_image(clear)).min() == 255


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (np.zeros((3, 8, 9), np.uint8), "transpose(1, 2, 0)"),
        (np.zeros((8, 9, 2), np.uint8), "[height, width]"),
        (np.zeros(9, np.uint8), "[height, width]"),
        (np.zeros((1, 8, 9, 3), np.uint8), "[height, width]"),
        (np.zeros((0, 9, 3), np.uint8), "at least one pixel"),
        (np.zeros((8, 9), np.int64), "int64"),
        (np.zeros((8, 9), bool), "bool"),
        (np.array([["a"]]), "uint8"),
        (np.full((8, 9), 255.0), "0 to 1"),
        (np.full((8, 9), -0.5), "0 to 1"),
        (np.full((8, 9), np.nan), "0 to 1"),
    ],
)
def test_arrays_that_are_no_picture(array: np.ndarray[Any, Any], says: str) -> None:
    assert says in refusal(array)


# What the model sees


def test_preprocess_follows_the_published_recipe() -> None:
    """Square bicubic resize of the bytes, then / 255, - mean, / std, in float64 here."""
    vision = VisionConfig(image_size=48)
    image = photo(90, 50)
    resized = np.asarray(image.resize((48, 48), Image.Resampling.BICUBIC), dtype=np.float64)
    expected = ((resized / 255 - CLIP_MEAN) / CLIP_STD).transpose(2, 0, 1)
    pixels = preprocess(image, vision)
    assert pixels.dtype == np.float32
    assert pixels.flags.c_contiguous
    assert np.abs(pixels - expected).max() < 1e-6  # half a unit of float32 at 2.6 is 1.2e-7


def test_preprocess_neither_crops_nor_swaps() -> None:
    image = Image.new("RGB", (400, 100), WHITE)
    image.paste(RED, (0, 0, 100, 100))  # the left quarter; a centre crop would lose it
    vision = VisionConfig(image_size=64, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    pixels = preprocess(image, vision)
    assert pixels[:, 32, 4].tolist() == [1.0, 0.0, 0.0]
    assert pixels[1, :, :14].max() == 0.0
    assert pixels[1, :, 18:].min() == 1.0


def test_a_batch_equals_its_singles() -> None:
    vision = VisionConfig(image_size=32)
    images = [photo(20 + 7 * index, 50 - 3 * index, index) for index in range(5)]
    batch = preprocess_batch(images, vision)
    assert batch.shape == (5, 3, 32, 32)
    for image, pixels in zip(images, batch, strict=True):
        assert np.array_equal(preprocess(image, vision), pixels)
    assert preprocess_batch([], vision).shape == (0, 3, 32, 32)


def test_preprocess_takes_rgb_alone() -> None:
    with pytest.raises(ImageError, match="load_image"):
        preprocess(Image.new("L", (4, 4)), VisionConfig())


def test_a_large_jpeg_is_decoded_at_a_smaller_scale() -> None:
    """As far as the model's size allows, and to nearly the same pixels; unless exact ones are asked for."""
    smooth = np.asarray(Image.fromarray(np.random.default_rng(0).integers(0, 256, (12, 16, 3), np.uint8)))
    photo = Image.fromarray(smooth).resize((1600, 1200), Image.Resampling.BICUBIC)
    vision, files = VisionConfig(image_size=96), {}
    for kind in ("JPEG", "PNG"):
        file = BytesIO()
        photo.save(file, kind)
        files[kind] = file.getvalue()
    whole = load_image(files["JPEG"], ImageLimits(draft=False), 96)
    drafted = load_image(files["JPEG"], needed=96)
    assert (whole.size, drafted.size) == ((1600, 1200), (400, 300))
    assert load_image(files["JPEG"]).size == load_image(files["PNG"], needed=96).size == (1600, 1200)
    assert load_image(files["JPEG"], needed=700).size == (1600, 1200)
    levels = np.abs(preprocess(whole, vision) - preprocess(drafted, vision)) * np.array(vision.std)[:, None, None] * 255
    assert 0 < levels.mean() < 1
    assert levels.max() < 8
    with pytest.raises(ImageError, match="1,600 x 1,200 pixels, more than"):
        load_image(files["JPEG"], ImageLimits(max_pixels=1_000_000), 96)
