"""What a JPEG file is made of: its segments counted, and metadata taken off, without touching its pixels."""

import re
from collections.abc import Iterator


# Kept: JFIF (E0), color profile (E2), Adobe's color transform (EE), and everything that is no application's own.
_APPLICATIONS = set(range(0xE0, 0xF0)) - {0xE0, 0xE2, 0xEE}
_COMMENT, _START_OF_SCAN, _END = 0xFE, 0xDA, 0xD9
# Inside a scan, FF is followed by 00 or by a restart marker; anything else ends it.
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)
_FILL = re.compile(rb"\xff*")
# A camera writes some 30 segments, a file with previews and color profiles some hundred; nobody writes fill bytes.
MOST_SEGMENTS, MOST_FILL = 1500, 1000
# Most progressive files have 10 scans. Each one goes over all pixels: so many, and so many times a megapixel.
MOST_SCANS, MOST_SCANNED = 60, 600


class JpegError(ValueError):
    """The file is no JPEG file, or a damaged one."""


class JpegBombError(JpegError):
    """The file has far more parts than a photograph has."""


def _segments(content: bytes) -> Iterator[tuple[int, int, int]]:
    """Go through the segments: marker, start and end of each, the end of a scan's data for a scan."""
    if content[:2] != b"\xff\xd8":
        raise JpegError("A JPEG file starts with FF D8.")
    at, count, fill = 2, 0, 0
    while at + 2 <= len(content) and content[at] == 0xFF:
        start = _FILL.match(content, at).end() - 1
        count, fill = count + 1, fill + start - at
        if count > MOST_SEGMENTS or fill > MOST_FILL:
            raise JpegBombError(f"It has more than {MOST_SEGMENTS} segments or {MOST_FILL} fill bytes.")
        marker = content[start + 1] if start + 1 < len(content) else 0
        end = start + 2 + int.from_bytes(content[start + 2 : start + 4], "big")
        if marker == _END:
            yield marker, start, start + 2
            return
        if marker == _START_OF_SCAN:
            found = _NEXT_MARKER.search(content, end)
            if found is None:
                break
            end = found.start()
        yield marker, start, end
        at = end
    raise JpegError("The JPEG file is damaged or breaks off.")


def check_jpeg(content: bytes, pixels: int) -> None:
    """Count the parts of a JPEG file before a decoder sees it.

    Args:
        content: Of the file.
        pixels: How many it says it has.

    Raises:
        JpegBombError: It has so many segments, fill bytes or scans that its decoding would take far too long.
    """
    scans = 0
    try:
        for marker, _, _ in _segments(content):
            scans += marker == _START_OF_SCAN
            if scans > MOST_SCANS or scans * pixels > MOST_SCANNED * 1e6:
                raise JpegBombError(f"It has more than {MOST_SCANS} scans, or too many for its size.")
    except JpegBombError:
        raise
    except JpegError:
        return  # the decoder says what is wrong


def strip_jpeg(content: bytes) -> bytes:
    """Leave out EXIF, XMP, IPTC and comments of a JPEG file, and whatever follows its first picture.

    Raises:
        JpegError: This is no JPEG file, or a damaged one.
    """
    parts = [content[:2]]
    for marker, start, end in _segments(content):
        profile = marker != 0xE2 or content[start + 4 : end].startswith(b"ICC_PROFILE\0")
        if marker not in _APPLICATIONS and marker != _COMMENT and profile:
            parts.append(content[start:end])
    return b"".join(parts)


__all__ = ["JpegBombError", "JpegError", "check_jpeg", "strip_jpeg"]
