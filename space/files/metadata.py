"""Metadata, the place where a photograph was taken among them, off a JPEG file without touching its pixels."""

import re


# Kept: JFIF (E0), color profile (E2), Adobe's color transform (EE), and everything that is no application's own.
_APPLICATIONS = set(range(0xE0, 0xF0)) - {0xE0, 0xE2, 0xEE}
_COMMENT, _START_OF_SCAN, _END = 0xFE, 0xDA, 0xD9
# Inside a scan, FF is followed by 00 or by a restart marker; anything else ends it.
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)


def strip_jpeg(content: bytes) -> bytes:
    """Leave out EXIF, XMP, IPTC and comments of a JPEG file, and whatever follows its first picture.

    Raises:
        ValueError: This is no JPEG file, or a damaged one.
    """
    if content[:2] != b"\xff\xd8":
        raise ValueError("A JPEG file starts with FF D8.")
    parts, at = [content[:2]], 2
    while at + 4 <= len(content) and content[at] == 0xFF:
        marker = content[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        end = at + 2 + int.from_bytes(content[at + 2 : at + 4], "big")
        segment = content[at:end]
        profile = marker != 0xE2 or segment[4:].startswith(b"ICC_PROFILE\0")
        if marker not in _APPLICATIONS and marker != _COMMENT and profile:
            parts.append(segment)
        if marker == _START_OF_SCAN:
            found = _NEXT_MARKER.search(content, end)
            if found is None:
                break
            parts.append(content[end : found.start()])
            end = found.start()
            if content[end + 1] == _END:
                return b"".join([*parts, content[end : end + 2]])
        at = end
    raise ValueError("The JPEG file is damaged or breaks off.")


__all__ = ["strip_jpeg"]
