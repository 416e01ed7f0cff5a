"""Parts that hostile pictures are made of, a few lines a format. Knows no picture."""

from __future__ import annotations

import struct
import zlib

from photos import photo, saved


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def gif(screen: tuple[int, int], frame: tuple[int, int]) -> bytes:
    control = b"\x21\xf9\x04" + bytes([2 << 2, 0, 0, 0, 0])  # "restore to background", which allocates the frame
    descriptor = b"," + struct.pack("<HHHHB", 0, 0, *frame, 0)
    return b"GIF89a" + struct.pack("<HHBBB", *screen, 0, 0, 0) + control + descriptor + b"\x02\x02\x44\x01\x00;"


def riff(body: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def chunk_of_vp8(side: int) -> bytes:
    """A lossy picture whose own header says that it is so large."""
    data = bytearray(saved(photo(16, 16), "WEBP")[12:])
    data[14:18] = struct.pack("<HH", side & 0x3FFF, side & 0x3FFF)
    return bytes(data)


def segment(marker: int, data: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(data) + 2) + data


def jpeg_of_size(data: bytes, width: int, height: int) -> bytes:
    place = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2")) + 5
    return data[:place] + struct.pack(">HH", height, width) + data[place + 4 :]


def scans(data: bytes, count: int) -> bytes:
    """The last scan of a progressive JPEG so many times."""
    place = data.rindex(b"\xff\xda")
    return data[:place] + data[place:-2] * count + data[-2:]


def icc_parts(count: int) -> bytes:
    return b"".join(
        segment(0xE2, b"ICC_PROFILE\0" + bytes((each, 255)) + bytes(60_000)) for each in range(1, count + 1)
    )


def mpf(pictures: int) -> bytes:
    entries = struct.pack(">HHII", 0xB001, 4, 1, pictures) + struct.pack(">HHII", 0xB002, 7, 16 * pictures, 50)
    return b"MM\0*\0\0\0\x08\0\2" + entries + bytes(4) + bytes(500)


def tiff(entries: list[tuple[int, int, int, int]], following: int = 0) -> bytes:
    body = b"".join(struct.pack("<HHII", *each) for each in sorted(entries))
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + body + struct.pack("<I", following) + bytes(500)


def strip(
    width: int, height: int, compression: int, *, offset: int = 8, length: int = 400
) -> list[tuple[int, int, int, int]]:
    """Entries of a grey picture of one strip."""
    return [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (259, 3, 1, compression),
        (262, 3, 1, 1),
        (273, 4, 1, offset),
        (278, 4, 1, height),
        (279, 4, 1, length),
    ]


def bmp(width: int, height: int, bits: int = 24, compression: int = 0, colours: int = 0) -> bytes:
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, 0, 0, 0, colours % 2**32, 0)
    return b"BM" + struct.pack("<IHHI", 2000, 0, 0, 54 + 4 * min(colours, 256)) + head + bytes(2000)


def nested_boxes(depth: int) -> bytes:
    data = b""
    for _ in range(depth):
        data = struct.pack(">I", len(data) + 12) + b"meta" + bytes(4) + data
    return data
