"""Files that were made to harm whoever decodes them, by their names; the same ones at every call. Knows no service.

Each is either refused or, where decoders put up with its faults, read; `GOOD` are oddities that must be read.
"""

from __future__ import annotations

import random
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from hostile_parts import (
    bmp,
    chunk_of_vp8,
    gif,
    icc_parts,
    jpeg_of_size,
    mpf,
    nested_boxes,
    png_chunk,
    riff,
    scans,
    segment,
    strip,
    tiff,
)
from photos import photo, png, saved

Files = Iterator[tuple[str, bytes]]
_PHOTO = photo(96, 72)
_OPTIONS: dict[str, dict[str, Any]] = {"WEBP": {"lossless": True}, "TIFF": {"compression": "tiff_lzw"}}
KINDS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "PPM")
WHOLE = {kind: saved(_PHOTO, kind, **_OPTIONS.get(kind, {})) for kind in KINDS}


def hostile_files() -> dict[str, bytes]:
    """Some five hundred."""
    makers: tuple[Callable[[], Files], ...] = (
        _cut, _flipped, _headers, _lengths, _spliced, _bombs, _png_chunks, _jpegs, _gifs, _tiffs, _webps, _bmps, _boxes,
        _polyglots, _no_pictures,
    )  # fmt: skip
    files: dict[str, bytes] = {}
    for maker in makers:
        for name, data in maker():
            assert name not in files, name
            files[name] = data
    return files


def good_files() -> dict[str, bytes]:
    """Unusual, and right."""
    return dict(_oddities())


def _cut() -> Files:
    for kind, data in WHOLE.items():
        for place in (1, 2, 4, 8, 12, 16, 20, 30, len(data) // 3, len(data) - 2):
            yield f"{kind} cut at {place}", data[:place]


def _flipped() -> Files:
    """Single bits, most of them near the beginning, where sizes and offsets are."""
    chance = random.Random(1)
    for kind, data in WHOLE.items():
        for number in range(12):
            changed = bytearray(data)
            for _ in range(1 + number % 4):
                end = len(data) if number % 3 == 0 else min(64, len(data))
                changed[chance.randrange(4, end)] ^= 1 << chance.randrange(8)
            yield f"{kind} flipped {number}", bytes(changed)


def _headers() -> Files:
    """The right first bytes, and then rubbish."""
    chance = random.Random(2)
    for kind, data in WHOLE.items():
        for kept in (4, 12, 32):
            yield f"{kind} rubbish after {kept}", data[:kept] + chance.randbytes(5000)
        yield f"{kind} zeros", data[:12] + bytes(5000)
        yield f"{kind} ones", data[:12] + b"\xff" * 5000


def _lengths() -> Files:
    """Each number of four bytes near the beginning as large as it can be, or negative."""
    for kind, data in WHOLE.items():
        for place in (4, 8, 16, 18, 22, 24):
            for value in (b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0"):
                yield f"{kind} {value.hex()} at {place}", data[:place] + value + data[place + 4 :]


def _spliced() -> Files:
    """The head of one format on the body of another."""
    for first, second in zip(KINDS, KINDS[1:] + KINDS[:1], strict=True):
        yield f"{first} with a body of {second}", WHOLE[first][:40] + WHOLE[second][40:]
        yield f"{first} before {second}", WHOLE[first][:-1] + WHOLE[second]


def _bombs() -> Files:
    yield "PNG bomb 50000", png(50_000, 50_000, rows=bytes(20_000_000))
    yield "PNG bomb 2 thousand million", png(2**31 - 1, 1, rows=bytes(1000))
    yield "PNG bomb tall", png(1, 2**31 - 1, rows=bytes(1000))
    yield "PNG zero wide", png(0, 10)
    yield "PNG more rows than it says", png(10, 10, rows=bytes(30_000_000))
    yield "PNG 16 bits at the bound", png(7000, 7140, colour=6, depth=16, rows=bytes(1000))
    for side in (12_000, 40_000, 65_535):
        yield f"GIF bomb {side}", gif((side, side), (side, side))
        yield f"GIF bomb frame {side}", gif((10, 10), (side, side))
    for side in (12_000, 16_383):
        packed = struct.pack("<I", (side - 1) | (side - 1) << 14)
        yield f"WebP bomb {side}", riff(b"VP8L" + struct.pack("<I", 32) + b"\x2f" + packed + bytes(27))
        yield f"WebP lossy bomb {side}", riff(chunk_of_vp8(side))
    for side in (20_000, 2**24):
        canvas = (side - 1).to_bytes(3, "little") * 2
        yield f"WebP canvas {side}", riff(b"VP8X" + struct.pack("<I", 10) + b"\x02\0\0\0" + canvas + chunk_of_vp8(16))
    for mode, kind in (("1", "group4"), ("L", "tiff_lzw"), ("L", "tiff_adobe_deflate"), ("L", "packbits")):
        yield f"TIFF bomb {kind}", saved(Image.new(mode, (9000, 9000)), "TIFF", compression=kind)
    yield "JPEG bomb", jpeg_of_size(saved(_PHOTO, "JPEG"), 65_500, 65_500)
    yield "JPEG progressive bomb", jpeg_of_size(saved(_PHOTO, "JPEG", progressive=True), 65_500, 65_500)
    yield "JPEG at the bound", jpeg_of_size(saved(_PHOTO, "JPEG", progressive=True), 7000, 7000)
    yield "BMP bomb", bmp(50_000, 50_000)
    yield "PPM bomb", b"P6 50000 50000 255\n" + bytes(100)
    yield "PPM of a long number", b"P6 " + b"9" * 10_000 + b" 1 255\n"
    yield "PPM of comments", b"P6\n" + b"#\n" * 100_000


def _png_chunks() -> Files:
    """Texts and profiles that unpack to far more than they are."""
    packed = zlib.compress(bytes(50_000_000), 9)
    start, rest = WHOLE["PNG"][:33], WHOLE["PNG"][33:]
    for kind, data in (
        ("zTXt", b"Comment\0\0" + packed),
        ("iTXt", b"Comment\0\1\0\0\0" + packed),
        ("iCCP", b"profile\0\0" + packed),
        ("eXIf", b"MM\0*\0\0\0\x08" + b"\xff" * 5000),
        ("tRNS", b"\xff" * 5000),
        ("PLTE", b"\xff" * 5000),
        ("gAMA", b""),
        ("pHYs", b"\0"),
        ("acTL", struct.pack(">II", 2**32 - 1, 0)),
        ("IHDR", struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)),
        ("IDAT", b""),
        ("IEND", b""),
        ("caBX", bytes(10)),
        ("\0\0\0\0", b"x"),
    ):
        yield f"PNG with {kind!r}", start + png_chunk(kind.encode(), data) + rest
    yield "PNG with 2000 texts", start + png_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(100_000))) * 2000 + rest
    yield "PNG with 100000 chunks", start + png_chunk(b"teXt", b"") * 100_000 + rest
    yield "PNG with a chunk of 2 GB", start + struct.pack(">I", 2**31 - 1) + b"IDATx" + rest
    yield "PNG with wrong sums", bytes(start[:-4] + b"\0\0\0\0" + rest)
    yield "PNG that is no deflate", start + png_chunk(b"IDAT", b"\xff" * 1000) + png_chunk(b"IEND", b"")
    yield "PNG of 100000 frames", apng(100_000)
    for colour, depth in ((3, 16), (2, 4), (7, 8), (0, 3), (4, 2)):
        yield f"PNG of colour {colour} and depth {depth}", png(8, 8, colour=colour, depth=depth, rows=bytes(1000))
    yield "PNG palette without one", png(8, 8, colour=3, rows=bytes(72))


def _jpegs() -> Files:
    whole = WHOLE["JPEG"]
    for name, exif in _exifs():
        yield f"JPEG EXIF {name}", whole[:2] + segment(0xE1, b"Exif\0\0" + exif) + whole[2:]
    for marker in (0xC0, 0xC4, 0xDB, 0xDA, 0xDD, 0xE0, 0xE1, 0xE2, 0xED, 0xEE, 0xFE):
        yield f"JPEG empty {marker:x}", whole[:2] + segment(marker, b"") + whole[2:]
        yield f"JPEG long {marker:x}", whole[:2] + segment(marker, b"\xff" * 60_000) + whole[2:]
        yield f"JPEG short {marker:x}", whole[:2] + bytes((0xFF, marker, 0, 1)) + whole[2:]
    yield "JPEG of 1000 comments", whole[:2] + segment(0xFE, bytes(10_000)) * 1000 + whole[2:]
    yield "JPEG of 100000 markers", whole[:2] + b"\xff\xd0" * 100_000 + whole[2:]
    yield "JPEG of fill", whole[:2] + b"\xff" * 1_000_000 + whole[2:]
    yield "JPEG that starts again", whole[:2] * 10_000 + whole
    yield "JPEG of scans", scans(saved(_PHOTO, "JPEG", progressive=True), 2000)
    yield "JPEG of no height", jpeg_of_size(whole, 100, 0)
    yield "JPEG of a profile in 255 parts", whole[:2] + icc_parts(255) + whole[2:]
    yield "MPO without its pictures", whole[:2] + segment(0xE2, b"MPF\0" + mpf(1000)) + whole[2:]
    yield "MPO of 60000 pictures", whole[:2] + segment(0xE2, b"MPF\0" + mpf(60_000)) + whole[2:]


def _exifs() -> Files:
    entry = struct.pack(">HHII", 0x112, 3, 1, 6 << 16)
    yield "loop", b"MM\0*\0\0\0\x08\0\1" + entry + b"\0\0\0\x08"
    yield "sub-loop", b"MM\0*\0\0\0\x08\0\1" + struct.pack(">HHII", 0x8769, 4, 1, 8) + bytes(4)
    yield "of 65535 entries", b"MM\0*\0\0\0\x08\xff\xff" + entry * 5000
    yield "offset", b"MM\0*\xff\xff\xff\xff"
    yield "far", b"MM\0*\0\0\0\x08\0\1" + struct.pack(">HHII", 0x112, 7, 2**31, 2**31) + bytes(4)
    yield "order", b"XX\0*\0\0\0\x08"
    yield "empty", b""
    for value in (0, 9, 255, 65535):
        yield f"orientation {value}", b"MM\0*\0\0\0\x08\0\1" + struct.pack(">HHIHH", 0x112, 3, 1, value, 0) + bytes(4)
    for kind in (0, 1, 2, 5, 7, 12, 13, 99):
        for count in (0, 3, 2**32 - 1):
            data = b"MM\0*\0\0\0\x08\0\1" + struct.pack(">HHII", 0x112, kind, count, 8) + bytes(4)
            yield f"orientation of kind {kind} times {count}", data


def _gifs() -> Files:
    head = b"GIF89a" + struct.pack("<HHBBB", 16, 16, 0, 0, 0)
    frame = b"," + struct.pack("<HHHHB", 0, 0, 16, 16, 0) + b"\x02\x02\x44\x01\0"
    comment = b"\x21\xfe\xff" + bytes(255) + b"\0"
    yield "GIF of 100000 frames", head + frame * 100_000 + b";"
    yield "GIF of 100000 comments", head + comment * 20_000 + frame + b";"
    yield "GIF of 1000000 extensions", head + b"\x21\xf9\x04\0\0\0\0\0" * 200_000 + frame + b";"
    yield "GIF without an end", head + b"\x21\xfe" + b"\xff" + bytes(255) * 1000
    yield "GIF of unknown blocks", head + b"\x99" * 500_000 + frame
    yield "GIF of a code size", head + frame[:10] + b"\xff\x02\x44\x01\0;"
    yield "GIF of no frame", head + b";"
    yield "GIF with its frame outside", head + b"," + struct.pack("<HHHHB", 65_000, 65_000, 500, 500, 0) + b"\2\2D\1\0;"
    yield "GIF of a short table", head[:10] + b"\xf7\0\0" + bytes(30)


def _tiffs() -> Files:
    yield "TIFF loop", tiff([(256, 4, 1, 8), (257, 4, 1, 8), (273, 4, 1, 8)], following=8)
    yield "TIFF sub-loop", tiff([(330, 4, 1, 8), (256, 4, 1, 8), (257, 4, 1, 8)], following=8)
    yield "TIFF of itself", tiff([(34665, 4, 1, 8), (34853, 4, 1, 8), (40965, 4, 1, 8)])
    yield "TIFF of 65535 entries", b"II*\0\x08\0\0\0\xff\xff" + struct.pack("<HHII", 256, 3, 1, 1) * 65_535 + bytes(4)
    yield "TIFF of an entry of 4 GB", tiff([(273, 4, 2**30, 8)])
    yield "TIFF of a text of 4 GB", tiff([(270, 2, 2**32 - 1, 8)])
    for kind in (1, 5, 6, 7, 8, 32_773, 32_946, 34_712, 34_925, 50_000, 50_001, 65_535):
        yield f"TIFF of compression {kind}", tiff(strip(64, 64, kind))
    yield "TIFF of a huge strip", tiff(strip(64, 64, 5, length=2**32 - 1))
    yield "TIFF of a strip far away", tiff(strip(64, 64, 1, offset=2**32 - 2))
    yield "TIFF of many rows a strip", tiff(strip(7000, 7000, 5))
    yield "TIFF raw at the bound", tiff(strip(7000, 7000, 1, length=49_000_000))
    yield "TIFF of a line", tiff(strip(2**31 - 1, 1, 1))
    for bits, samples in ((0, 1), (64, 1), (8, 65_535), (7, 3), (8, 0)):
        entries = [*strip(64, 64, 1), (258, 3, 1, bits), (277, 3, 1, samples)]
        yield f"TIFF of {samples} samples of {bits} bits", tiff(entries)
    for photometric in (0, 3, 5, 6, 8, 32_803, 65_535):
        yield f"TIFF of photometric {photometric}", tiff([*strip(64, 64, 1), (262, 3, 1, photometric)])
    yield "TIFF of tiles", tiff([*strip(64, 64, 1), (322, 4, 1, 2**31), (323, 4, 1, 2**31), (324, 4, 1, 8)])
    yield "TIFF of tiles of no size", tiff([*strip(64, 64, 1), (322, 4, 1, 0), (323, 4, 1, 0), (324, 4, 1, 8)])
    yield "BigTIFF", b"II+\0\x08\0\0\0" + struct.pack("<Q", 2**63) + bytes(100)
    yield "BigTIFF of many entries", b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, 2**64 - 1) + bytes(500)


def _webps() -> Files:
    lossy = chunk_of_vp8(16)
    canvas = b"VP8X" + struct.pack("<I", 10) + b"%c\0\0\0" + bytes((15, 0, 0, 15, 0, 0))
    for flags in (0x02, 0x04, 0x08, 0x10, 0x20, 0xFF):
        yield f"WebP of flags {flags:x}", riff(canvas % flags + lossy)
    control = b"ANIM" + struct.pack("<I", 6) + bytes(6)
    frame = b"ANMF" + struct.pack("<I", 16 + len(lossy)) + bytes(6) + bytes((15, 0, 0, 15, 0, 0, 1, 0, 0, 0)) + lossy
    yield "WebP of 10000 frames", riff(canvas % 2 + control + frame * 10_000)
    yield "WebP of frames without pictures", riff(canvas % 2 + control + b"ANMF\0\0\0\0" * 100_000)
    yield "WebP of 100000 chunks", riff(canvas % 0 + b"JUNK\0\0\0\0" * 100_000 + lossy)
    yield "WebP of a chunk of 4 GB", riff(canvas % 0 + b"ICCP\xff\xff\xff\xff")
    yield "WebP alpha", riff(canvas % 0x10 + b"ALPH" + struct.pack("<I", 1000) + b"\xff" * 1000 + lossy)
    yield "WebP with EXIF", riff(canvas % 8 + lossy + b"EXIF" + struct.pack("<I", 5000) + b"\xff" * 5000)


def _bmps() -> Files:
    for width, height in ((-5, 5), (5, -5), (0, 5), (2**31 - 1, 2**31 - 1), (-(2**31), 1)):
        yield f"BMP {width} by {height}", bmp(width, height)
    for bits in (0, 1, 2, 3, 4, 8, 16, 24, 32, 64, 255):
        for compression in (0, 1, 2, 3, 4, 6, 99):
            yield f"BMP of {bits} bits in {compression}", bmp(64, 64, bits, compression)
    yield "BMP run length", bmp(7000, 7000, 8, 1, colours=256)
    yield "BMP of many colours", bmp(8, 8, 8, 0, colours=2**31)


def _boxes() -> Files:
    """AVIF and HEIC, which are boxes in boxes."""
    kind = b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf"
    yield "AVIF of boxes", kind + nested_boxes(2000)
    yield "AVIF of a box of no size", kind + b"\0\0\0\0meta" + bytes(100)
    yield "AVIF of a box of 16 exabytes", kind + b"\0\0\0\1meta" + b"\xff" * 8
    yield "AVIF of 10000 kinds", struct.pack(">I", 16 + 40_000) + b"ftypavif" + bytes(4) + b"avif" * 10_000
    yield "AVIF sequence", b"\0\0\0\x1cftypavis\0\0\0\0avismsf1miaf" + WHOLE["AVIF"][32:]
    yield "HEIC", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(5000)
    yield "AVIF thrice", WHOLE["AVIF"] * 3
    data = WHOLE["AVIF"]
    place = data.index(b"ispe") + 8
    for side in (0, 30_000, 2**31):
        yield f"AVIF of {side}", data[:place] + struct.pack(">II", side, side) + data[place + 8 :]


def _polyglots() -> Files:
    archive = BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr(zipfile.ZipInfo("../../openblip-was-here"), bytes(10_000_000), zipfile.ZIP_DEFLATED)
    script = b"*/=1;alert(1);/*"
    yield "GIF and JavaScript", b"GIF89a/*" + bytes(5) + script + WHOLE["GIF"][13:]
    yield "PDF and JPEG", b"%PDF-1.7\n" + WHOLE["JPEG"] + b"\n%%EOF"
    yield "BMP and JavaScript", b"BM/*" + WHOLE["BMP"][4:60] + script
    yield "HTML in a PNG", WHOLE["PNG"][:33] + png_chunk(b"tEXt", b"<script>\0alert(1)</script>") + WHOLE["PNG"][33:]
    yield "PHP in a JPEG", WHOLE["JPEG"][:2] + segment(0xFE, b"<?php system($_GET['c']); ?>") + WHOLE["JPEG"][2:]
    yield "PNG and ZIP", WHOLE["PNG"] + archive.getvalue()
    yield "JPEG and ZIP", WHOLE["JPEG"] + archive.getvalue()
    yield "ZIP", archive.getvalue()
    yield "TIFF and JPEG", b"II*\0" + WHOLE["JPEG"]
    yield "MZ", b"MZ" + bytes(60) + WHOLE["PNG"]


def _no_pictures() -> Files:
    entity = "".join(f'<!ENTITY {chr(97 + each)} "{f"&{chr(96 + each)};" * 10}">' for each in range(1, 9))
    space = "xmlns='http://www.w3.org/2000/svg'"
    yield "SVG", f"<svg {space}><image href='file:///etc/passwd'/></svg>".encode()
    yield (
        "SVG of entities",
        f"<?xml version='1.0'?><!DOCTYPE s [<!ENTITY a 'x'>{entity}]><svg {space}>&i;</svg>".encode(),
    )
    yield "HTML", b"<!doctype html><script>alert(1)</script>"
    yield "nothing", b""
    yield "a line", b"\n"
    yield "a NUL", b"\0"
    yield "text", b"This is a letter.\n" * 5000
    yield "zeros", bytes(1_000_000)
    yield "PostScript", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n(x) run\n"
    yield "ImageMagick", b"push graphic-context\nfill 'url(https://127.0.0.1/\"|id\")'\npop graphic-context"
    yield "gzip", b"\x1f\x8b\x08" + bytes(1000)
    yield "ICO", saved(_PHOTO, "ICO")
    yield "TGA", saved(_PHOTO, "TGA")
    yield "JPEG 2000", b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(1000)
    yield "PSD", b"8BPS\0\1" + bytes(1000)
    yield "FITS", b"SIMPLE  =                    T" + bytes(3000)
    yield "base64 of a picture", b"/9j/4AAQSkZJRgABAQAAAQABAAD/2wBD"


def _oddities() -> Files:
    """Files to be read, whatever they look like."""
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
        yield f"PNG {mode}", saved(_PHOTO.convert("L" if mode == "I;16" else mode).convert(mode), "PNG")
    for mode in ("L", "CMYK", "RGB"):
        yield f"JPEG {mode}", saved(_PHOTO.convert(mode), "JPEG")
    for mode in ("1", "CMYK", "RGBA", "L"):
        yield f"TIFF {mode}", saved(_PHOTO.convert(mode), "TIFF")
    yield "TIFF of two pages", saved(_PHOTO, "TIFF", save_all=True, append_images=[_PHOTO])
    yield "one pixel", saved(photo(1, 1), "PNG")
    yield "one pixel JPEG", saved(photo(1, 1), "JPEG")
    yield "tall", saved(photo(1, 60_000), "PNG")
    yield "wide", saved(photo(60_000, 1), "JPEG")
    yield "tall GIF", saved(photo(1, 60_000), "GIF")
    yield "MPO", saved(_PHOTO, "MPO", save_all=True, append_images=[_PHOTO])
    frames = [Image.fromarray(np.full((20, 20), shade, np.uint8)) for shade in range(100)]
    for kind in ("GIF", "PNG", "WEBP"):
        yield f"animated {kind}", saved(frames[0], kind, save_all=True, append_images=frames[1:])
    for turn in range(1, 9):
        exif = Image.Exif()
        exif[0x112] = turn
        yield f"JPEG turned {turn}", saved(_PHOTO, "JPEG", exif=exif)
    yield "JPEG with a zip behind it", WHOLE["JPEG"] + b"PK\3\4" + bytes(1000)


def apng(frames: int) -> bytes:
    control = struct.pack(">IIIIIHHBB", 1, 8, 8, 0, 0, 1, 1, 0, 0)
    start, rest = WHOLE["PNG"][:33], WHOLE["PNG"][33:]
    return start + png_chunk(b"acTL", struct.pack(">II", frames, 0)) + png_chunk(b"fcTL", control) * frames + rest
