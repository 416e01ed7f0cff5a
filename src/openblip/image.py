"""Anything that holds a picture to an RGB image, and an RGB image to the pixels that a model sees.

Knows file formats, colour modes, orientation and the limits that keep a hostile file cheap. Knows no model beyond its
`VisionConfig`, no folders (that is `bulk.sources`) and no HTTP beyond calling `download`.
"""

from __future__ import annotations

import importlib
import os
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from openblip.config import VisionConfig
from openblip.errors import ImageError, OptionError
from openblip.headers import MAX_STEPS, declared_size, format_of, steps

ImageSource = str | Path | bytes | Image.Image | NDArray[Any]

SUFFIXES: Final = frozenset(
    ".jpg .jpeg .jpe .jfif .png .apng .webp .gif .bmp .tif .tiff .avif .ppm .pgm .pbm .pnm .heic .heif".split()
)
FORMATS_IN_WORDS: Final = "JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF or PPM"

# Pillow reads some forty formats, several of them seldom used and seldom audited. Only these are tried, and each by its
# own class: Image.open would warn about a large picture, and such a warning can be silenced only for the whole process.
_PLUGINS: Final = {
    "JPEG": ("JpegImagePlugin", "JpegImageFile"),
    "PNG": ("PngImagePlugin", "PngImageFile"),
    "WebP": ("WebPImagePlugin", "WebPImageFile"),
    "GIF": ("GifImagePlugin", "GifImageFile"),
    "BMP": ("BmpImagePlugin", "BmpImageFile"),
    "TIFF": ("TiffImagePlugin", "TiffImageFile"),
    "AVIF": ("AvifImagePlugin", "AvifImageFile"),
    "PPM": ("PpmImagePlugin", "PpmImageFile"),
}
_PILLOW_HARD_LIMIT: Final = 178_956_970  # pixels; above it some of Pillow's readers refuse whatever we allow
_ORIENTATION_TAG: Final = 0x0112
_FULL_SIZE: Final = "openblip_full_size"
_TRANSPOSES: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS: Final = (5, 6, 7, 8)
_warning_filters = threading.Lock()
_callers_images = threading.Lock()


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """What a picture may cost before it is refused, and what may be saved on it.

    max_bytes: of the file or download, checked before reading. max_pixels: width times height, checked before decoding
    (the default lets a 108-megapixel phone photo pass: 360 MB decoded). url_timeout_s: for the whole of a download,
    redirects included. draft: a JPEG of more than four times the model's size is decoded at half, a quarter or an
    eighth of its own, never below twice the model's: a third of the time, and pixels that differ by less than one level
    in 256; False decodes it whole.

    Raises OptionError on a value outside its range.
    """

    max_bytes: int = 50_000_000
    max_pixels: int = 120_000_000
    url_timeout_s: float = 20.0
    url_max_redirects: int = 5
    draft: bool = True

    def __post_init__(self) -> None:
        for name, high in (
            ("max_bytes", 2**31),
            ("max_pixels", _PILLOW_HARD_LIMIT),
            ("url_timeout_s", 3600),
            ("url_max_redirects", 20),
        ):
            value, low = getattr(self, name), 0 if name == "url_max_redirects" else 1e-3
            if not low <= value <= high:
                raise OptionError(f"{name}={value!r} is out of range: give a positive number up to {high}")


DEFAULT_LIMITS: Final = ImageLimits()


def load_image(source: ImageSource, limits: ImageLimits = DEFAULT_LIMITS, needed: int | None = None) -> Image.Image:
    """An RGB picture, upright, on white where it was transparent; the first frame of an animation.

    source: a path, an http(s) address, the bytes of a file, a PIL image, or an array [height, width] or
    [height, width, 1 | 3 | 4] of uint8, uint16 or floats from 0 to 1. needed: the side that it will be resized to, if
    it may come smaller than it is, see `ImageLimits.draft`.

    Raises ImageError, with one line that names the source and the remedy.
    """
    if isinstance(source, str) and is_url(source):
        from openblip.download import download

        name = shown_name(source)
        data = download(source, limits.max_bytes, limits.url_timeout_s, limits.url_max_redirects)
        return _decode(data, name, limits, needed)
    if isinstance(source, (str, Path)):
        return _decode(_read_file(source, limits), shown_name(source), limits, needed)
    if isinstance(source, (bytes, bytearray, memoryview)):
        if len(source) > limits.max_bytes:
            raise _too_many_bytes("the picture", limits)
        return _decode(bytes(source), "the picture", limits, needed)
    if isinstance(source, Image.Image):
        _check_pixels(source.size, "the PIL image", limits)
        with _callers_images:  # Image.open reads late, and two threads must not do so for one image
            rgb = _to_rgb(source, "the PIL image")
        rgb.info.pop(_FULL_SIZE, None)  # Pillow hands it on to what is made of a picture of ours
        return rgb
    if isinstance(source, np.ndarray):
        return _from_array(source, limits)
    raise ImageError(
        f"cannot make a picture of a {type(source).__name__}: give a path, an http(s) address, bytes, "
        "a PIL image or an array"
    )


def full_size(image: Image.Image) -> tuple[int, int]:
    """Width and height in pixels, as it is shown, of a picture that `load_image` gave: it may have come smaller."""
    size = image.info.get(_FULL_SIZE, image.size)
    return int(size[0]), int(size[1])


def preprocess(image: Image.Image, vision: VisionConfig) -> NDArray[np.float32]:
    """Pixels [3, size, size] of an RGB picture: resized to a square (bicubic, no crop), then (x / 255 - mean) / std."""
    return cast("NDArray[np.float32]", preprocess_batch([image], vision)[0])


def preprocess_windows(
    image: Image.Image, vision: VisionConfig, windows: Sequence[tuple[float, float, float, float]]
) -> NDArray[np.float32]:
    """Pixels [windows, 3, size, size] of parts of an RGB picture, as `preprocess` would give them of each cut out.

    windows: left, top, right and bottom, as shares of width and height.
    """
    side, across, down = vision.image_size, image.width, image.height
    cut = [
        image.resize((side, side), Image.Resampling.BICUBIC, (left * across, top * down, right * across, bottom * down))
        for left, top, right, bottom in windows
    ]
    return preprocess_batch(cut, vision)


def preprocess_batch(images: Sequence[Image.Image], vision: VisionConfig) -> NDArray[np.float32]:
    """Pixels [batch, 3, size, size] of RGB pictures, each exactly what `preprocess` gives for it alone."""
    side = vision.image_size
    pixels = np.empty((len(images), 3, side, side), dtype=np.float32)
    mean = np.array(vision.mean)[:, None]
    levels = ((np.arange(256) / 255 - mean) / np.array(vision.std)[:, None]).astype(np.float32)  # [3, 256]
    for index, image in enumerate(images):
        if image.mode != "RGB":
            raise ImageError(
                f"preprocess takes RGB pictures, not mode {image.mode!r}: pass it through load_image first"
            )
        resized = np.asarray(image.resize((side, side), Image.Resampling.BICUBIC))  # [side, side, 3]
        for channel in range(3):
            np.take(levels[channel], resized[:, :, channel], out=pixels[index, channel], mode="clip")
    return pixels


def is_url(source: str) -> bool:
    """Whether a text is an http(s) address rather than a path."""
    return source[:8].lower().startswith(("http://", "https://"))


def shown_name(source: str | Path) -> str:
    """A path or address as error messages show it: on one line, whatever it holds."""
    text = str(source)
    return text if text.isprintable() and text else ascii(text)


def _read_file(path: str | Path, limits: ImageLimits) -> bytes:
    name = shown_name(path)
    try:
        with Path(path).open("rb") as file:
            size = os.fstat(file.fileno()).st_size  # 0 for a pipe, which is read as far as the limit
            data = b"" if size > limits.max_bytes else file.read((size or limits.max_bytes) + 1)
    except IsADirectoryError as error:
        raise ImageError(f"{name} is a folder, not a picture: name a file in it") from error
    except FileNotFoundError as error:
        raise ImageError(f"{name} does not exist: check the path") from error
    except PermissionError as error:
        raise ImageError(f"{name} may not be read: check its permissions") from error
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        raise ImageError(f"{name} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if max(size, len(data)) > limits.max_bytes:
        raise _too_many_bytes(name, limits)
    return data


def _too_many_bytes(name: str, limits: ImageLimits) -> ImageError:
    return ImageError(f"{name} is larger than {limits.max_bytes:,} bytes: make it smaller or raise max_bytes")


def _check_pixels(size: tuple[int, int], name: str, limits: ImageLimits) -> None:
    if size[0] * size[1] > limits.max_pixels:
        raise ImageError(
            f"{name} is {size[0]:,} x {size[1]:,} pixels, more than the {limits.max_pixels:,} allowed: "
            "make it smaller or raise max_pixels"
        )
    if min(size) < 1:
        raise ImageError(f"{name} is {size[0]} x {size[1]} pixels: give a picture with at least one pixel")


def open_header(data: bytes, name: str = "the picture", limits: ImageLimits = DEFAULT_LIMITS) -> ImageFile.ImageFile:
    """A picture of which nothing but the header is read yet: its size, mode and metadata. Raises ImageError."""
    if not data:
        raise ImageError(f"{name} is empty (0 bytes): copy or download it again")
    kind = format_of(data)
    if kind is None:
        raise ImageError(f"{name} is not a picture that openblip can read: give {FORMATS_IN_WORDS}")
    if kind == "HEIC" and "HEIF" not in Image.OPEN:
        raise ImageError(f"{name} is a HEIC picture, which Pillow cannot read: convert it to JPEG")
    if any(number >= MAX_STEPS for number, _ in enumerate(steps(kind, data))):
        raise ImageError(f"{name} has more than {MAX_STEPS:,} chunks or markers: save it again")
    declared = declared_size(kind, data)
    if declared is not None:
        _check_pixels(declared, name, limits)
    with _damage_named(kind, name):
        image = _open(kind, data)
        _check_pixels(image.size, name, limits)
        return image


def _decode(data: bytes, name: str, limits: ImageLimits, needed: int | None) -> Image.Image:
    image = open_header(data, name, limits)
    with _damage_named(str(format_of(data)), name):
        stored = image.size
        if needed and limits.draft:
            image.draft(image.mode, (2 * needed, 2 * needed))  # does nothing but to a JPEG
        rgb = _to_rgb(image, name)
        rgb.info[_FULL_SIZE] = stored[::-1] if _orientation(image) in _SIDEWAYS else stored
        return rgb


@contextmanager
def _damage_named(kind: str, name: str) -> Iterator[None]:
    """Whatever goes wrong in a parser that is fed with hostile bytes is an ImageError."""
    try:
        yield
    except ImageError:
        raise
    except MemoryError as error:
        raise ImageError(f"{name} needs more memory than there is: make it smaller") from error
    except Exception as error:
        raise ImageError(
            f"{name} looks like {kind} but cannot be decoded: it is damaged or cut short; copy or download it again"
        ) from error


def _open(kind: str, data: bytes) -> ImageFile.ImageFile:
    """Parse the header; no pixel is decoded yet."""
    file = BytesIO(data)
    if kind == "HEIC":
        return Image.OPEN["HEIF"][0](file, "")
    module, name = _PLUGINS[kind]
    reader = cast("type[ImageFile.ImageFile]", getattr(importlib.import_module(f"PIL.{module}"), name))
    if kind != "GIF":
        return reader(file)
    with _bomb_warnings_ignored():  # a frame may stretch the canvas that was declared
        return reader(file)


def _to_rgb(image: Image.Image, name: str) -> Image.Image:
    """A new RGB image, whatever the mode. Does not change the one given."""
    try:
        if image.width * image.height > (Image.MAX_IMAGE_PIXELS or _PILLOW_HARD_LIMIT):
            with _bomb_warnings_ignored():  # the TIFF reader checks again while it decodes
                image.load()
        else:
            image.load()
        rgb = _flatten(_eight_bits(image, name))
    except ImageError:
        raise
    except Exception as error:
        if isinstance(image, ImageFile.ImageFile) and name != "the PIL image":
            raise
        reason = " ".join(str(error).split())
        raise ImageError(f"{name} (mode {image.mode}) cannot be converted to RGB: {reason}") from error
    turn = _TRANSPOSES.get(_orientation(image))
    return rgb if turn is None else rgb.transpose(turn)


def _eight_bits(image: Image.Image, name: str) -> Image.Image:
    """Greyscale of 16 bits, 32 bits or floats scaled to 8 bits (Pillow's own conversion clips); others as they are."""
    if image.mode not in ("I", "F") and not image.mode.startswith("I;"):
        return image
    values = np.asarray(image)  # [height, width]
    if image.mode == "I":
        if values.min() < 0 or values.max() > 65535:
            raise ImageError(f"{name} holds integers from {values.min()} to {values.max()}: scale them to 0 to 65535")
        values = values.astype(np.uint16)
    grey = _scale_to_bytes(values, name)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grey[values == transparent] = 255
    return Image.fromarray(grey)


def _flatten(image: Image.Image) -> Image.Image:
    """RGB, laid over white where there is transparency (a channel, a palette entry or a single colour)."""
    if not image.has_transparency_data:
        return image.convert("RGB")
    if image.mode in ("La", "PA"):
        image = image.convert("LA" if image.mode == "La" else "RGBA")
    layer = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # noqa: BLE001 (broken metadata does not make a picture unreadable)
        return 1
    return value if isinstance(value, int) else 1


def _from_array(array: NDArray[Any], limits: ImageLimits) -> Image.Image:
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        remedy = "give [height, width] or [height, width, 1, 3 or 4]"
        if array.ndim == 3 and array.shape[0] in (1, 3, 4):
            remedy = "put the channels last, array.transpose(1, 2, 0)"
        raise ImageError(f"an array of shape {list(array.shape)} is not a picture: {remedy}")
    _check_pixels((array.shape[1], array.shape[0]), "the array", limits)
    pixels = _scale_to_bytes(array, "the array")
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    return _flatten(Image.fromarray(np.ascontiguousarray(pixels)))


def _scale_to_bytes(values: NDArray[Any], name: str) -> NDArray[np.uint8]:
    """uint8 as it is, uint16 by 255 / 65535, floats by 255; rounded to nearest. Any shape."""
    if values.dtype == np.uint8:
        return values
    if values.dtype.kind == "u" and values.dtype.itemsize == 2:
        return cast("NDArray[np.uint8]", ((values.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8))
    if values.dtype.kind != "f":
        raise ImageError(f"{name} holds {values.dtype}: give uint8, uint16 (0 to 65535) or floats from 0 to 1")
    low, high = float(values.min()), float(values.max())
    if not (low >= -1e-3 and high <= 1 + 1e-3):  # a resize may overshoot a little; also refuses NaN
        raise ImageError(f"{name} holds floats from {low:.4g} to {high:.4g}: scale them to 0 to 1, or give uint8")
    return cast("NDArray[np.uint8]", np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8))


@contextmanager
def _bomb_warnings_ignored() -> Iterator[None]:
    """Our own limit has been checked; Pillow's warning would only repeat it. Filters are global, hence the lock."""
    with _warning_filters, warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        yield
