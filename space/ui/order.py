"""The visits of a history in their order, as small pictures with the days they were taken on."""

import re
from base64 import b64encode
from dataclasses import dataclass, field
from html import escape
from numbers import Real

from retinamatch.files import OutputError

from ..files import decoding
from ..files.uploads import MOST_FILES, Upload, UploadError, clean


_DAY_IN_NAME = re.compile(r"(?<!\d)((?:19|20)\d\d)[-_.]?(0[1-9]|1[0-2])[-_.]?(0[1-9]|[12]\d|3[01])(?!\d)")


@dataclass
class Known:
    """What is known of photographs that lost their metadata; in the memory of the session alone.

    Attributes:
        days: When they were taken, by path.
        refused: Sentences about files that were not taken.
    """

    days: dict[str, str] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)


def cleaned_visits(uploads: list[Upload] | None, known: Known | None) -> tuple[list[str], Known]:
    """Take metadata off photographs as soon as they are there; the days that they tell are kept for the session."""
    paths, now = [], Known()
    uploads = uploads or []
    if len(uploads) > MOST_FILES:
        last = uploads[MOST_FILES - 1].name
        now.refused.append(f"At most {MOST_FILES} photographs are taken; those after {last} are not.")
    for upload in uploads[:MOST_FILES]:
        try:
            day = known.days.get(upload.path) if known else None
            day = day or upload.bounded(decoding.preview)[1]
            path = clean(upload).path
        except (UploadError, OutputError) as error:
            now.refused.append(str(error))
            continue
        paths.append(path)
        if day:
            now.days[path] = day
    return paths, now


def order_html(uploads: list[Upload] | None, known: Known | None, number: float | None) -> str:
    """Draw the visits in order.

    Args:
        uploads: The photographs.
        known: What is known of them.
        number: Of the fixed one, from 1.
    """
    known = known or Known()
    refused = "".join(f'<p class="rm-refusal" role="alert">{escape(sentence)}</p>' for sentence in known.refused)
    fixed = number if isinstance(number, Real) else None
    shown = (uploads or [])[:MOST_FILES]
    items = "".join(_item(upload, place, known, place == fixed) for place, upload in enumerate(shown, start=1))
    return refused + (f'<ol class="rm-order">{items}</ol>' if items else "")


def _item(upload: Upload, place: int, known: Known, fixed: bool) -> str:
    name = escape(upload.name)
    try:
        picture, day = upload.bounded(decoding.preview)
        drawn = f'<img src="data:image/jpeg;base64,{b64encode(picture).decode()}" alt="{name}">'
    except UploadError as error:
        drawn, day = escape(str(error)), None
    in_name = _DAY_IN_NAME.search(upload.name)
    day = known.days.get(upload.path) or day or ("-".join(in_name.groups()) if in_name else "")
    words = "".join(f"<br>{part}" for part in (day, "fixed" if fixed else "") if part)
    return f"<li{' class=rm-fixed' if fixed else ''}>{drawn}{place}. {name}{words}</li>"


__all__ = ["Known", "cleaned_visits", "order_html"]
