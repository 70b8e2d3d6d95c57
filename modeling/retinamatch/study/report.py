"""The report of a study: one HTML file that asks no network, refused pairs first."""

import base64
import hashlib
import html
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..files import write_text
from .work import REGISTERED


REPORT = "report.html"
#: What is drawn as a histogram: column, words, how many digits.
HISTOGRAMS = (
    ("residual_px", "residual of the inliers, pixels of the fixed photograph", 2),
    ("overlap", "overlap, fraction of the fixed field of view", 2),
    ("alike", "places that look alike, fraction", 2),
    ("share", "matches that agree, fraction of those in the overlap", 2),
    ("seconds", "seconds a pair", 1),
)
_LISTED = 2000  # refused pairs that are listed; all stand in the table
_BINS = 30
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; color: #1b1b1b;
  background: #fff; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
table { border-collapse: collapse; } td, th { padding: .2rem .8rem .2rem 0; text-align: left; vertical-align: top; }
.pairs { display: grid; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); gap: 1rem; }
figure { margin: 0; overflow-wrap: anywhere; font-size: .85rem; } img { width: 100%; background: #111; }
svg { width: 20rem; height: 8rem; } .plots { display: flex; flex-wrap: wrap; gap: 1.5rem; }
.plots figure { width: 20rem; } rect { fill: #3477a8; } .note { color: #555; }
@media (prefers-color-scheme: dark) { body { background: #161616; color: #e6e6e6; } .note { color: #aaa; } }
"""


@dataclass
class Summary:
    """What a report says of all rows, gathered row by row.

    Attributes:
        statuses: How many pairs have which status.
        reasons: How many pairs that are not registered have which reason, without its numbers.
        values: Of the columns of `HISTOGRAMS`.
        refused: Rows of pairs that are not registered, the first `_LISTED` of them.
        shown: Rows of registered pairs of which there is a picture.
    """

    statuses: Counter = field(default_factory=Counter)
    reasons: Counter = field(default_factory=Counter)
    values: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name, _, _ in HISTOGRAMS})
    refused: list[dict[str, Any]] = field(default_factory=list)
    shown: list[dict[str, Any]] = field(default_factory=list)

    def add(self, row: dict[str, Any], has_picture: bool) -> None:
        """Count a row."""
        self.statuses[row["status"]] += 1
        for name, values in self.values.items():
            if row.get(name) is not None:
                values.append(row[name])
        if row["status"] == REGISTERED:
            if has_picture:
                self.shown.append(row)
            return
        self.reasons[_without_numbers(row.get("reason") or row["status"])] += 1
        if len(self.refused) < _LISTED:
            self.refused.append(row)


def write_report(rows: Iterable[dict[str, Any]], thumbnails: Path, path: Path, mix_ups: Sequence[str] = ()) -> Summary:
    """Write the report of the rows of a study.

    Args:
        rows: Of the study's record.
        thumbnails: Folder of the small pictures, NAME.jpg after `thumbnail_name` of the key.
        path: Where to.
        mix_ups: Photographs that match another eye than their own, in words.

    Returns:
        What it says.

    Raises:
        OutputError: It cannot be written.
    """
    summary = Summary()
    known = {picture.stem for picture in thumbnails.glob("*.jpg")} if thumbnails.is_dir() else set()
    for row in rows:
        summary.add(row, thumbnail_name(row["key"]) in known)
    parts = [
        _counts(summary),
        _mixed_up(mix_ups),
        _refused(summary, thumbnails),
        _plots(summary),
        _registered(summary, thumbnails),
    ]
    write_text(
        path,
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>retinamatch: study</title><style>{_STYLE}</style></head><body>\n"
        "<h1>Registrations of a study</h1>\n" + "\n".join(parts) + "\n</body></html>\n",
    )
    return summary


def thumbnail_name(key: str) -> str:
    """Name the small picture of a pair."""
    return hashlib.sha256(key.encode()).hexdigest()[:20]


def _counts(summary: Summary) -> str:
    total = sum(summary.statuses.values())
    lines = [(status, count) for status, count in summary.statuses.most_common()]
    rows = "".join(f"<tr><td>{html.escape(word)}</td><td>{count:,}</td></tr>" for word, count in lines)
    seconds = summary.values["seconds"]
    spent = f"{sum(seconds) / 3600:.2f} hours of one process" if seconds else "no time"
    median = f", {np.median(seconds):.2f} s a pair (median)" if seconds else ""
    return (
        f"<p>{total:,} pairs, {spent}{median}. Not a medical device. All figures stand in "
        f"<code>registrations.parquet</code>.</p><table>{rows}</table>"
    )


def _mixed_up(mix_ups: Sequence[str]) -> str:
    if not mix_ups:
        return ""
    lines = "".join(f"<li>{html.escape(words)}</li>" for words in mix_ups)
    return f"<h2>Match another eye than their own: {len(mix_ups):,}</h2><ul>{lines}</ul>"


def _refused(summary: Summary, thumbnails: Path) -> str:
    number = sum(summary.reasons.values())
    if not number:
        return "<h2>Not registered</h2><p>None.</p>"
    reasons = "".join(
        f"<tr><td>{count:,}</td><td>{html.escape(reason)}</td></tr>"
        for reason, count in summary.reasons.most_common(20)
    )
    left = f'<p class="note">The first {_LISTED:,} of {number:,}.</p>' if number > len(summary.refused) else ""
    return (
        f"<h2>Not registered: {number:,}</h2><table>{reasons}</table>{left}"
        f'<div class="pairs">{"".join(_figure(row, thumbnails) for row in summary.refused)}</div>'
    )


def _registered(summary: Summary, thumbnails: Path) -> str:
    figures = "".join(_figure(row, thumbnails) for row in summary.shown)
    number = summary.statuses[REGISTERED]
    return (
        f"<h2>Registered: {number:,}</h2><p class='note'>Pictures of {len(summary.shown):,}: red the fixed photograph, "
        f'cyan the moving one, gray where vessels lie on each other.</p><div class="pairs">{figures}</div>'
    )


def _figure(row: dict[str, Any], thumbnails: Path) -> str:
    words = f"{row['moving']} → {row['fixed']}"
    if row["status"] == REGISTERED:
        residual = row.get("residual_px")
        size = "" if residual is None else f", residual {residual:.2f} px"
        millimeters = row.get("residual_mm")
        size += "" if millimeters is None else f" ({millimeters:.4f} mm)"
        said = f"{row.get('transform_class')}{size}"
    else:
        said = f"{row['status']}: {row.get('reason') or ''}"
    picture = thumbnails / f"{thumbnail_name(row['key'])}.jpg"
    image = ""
    if picture.is_file():
        data = base64.b64encode(picture.read_bytes()).decode()
        image = f'<img loading="lazy" decoding="async" alt="" src="data:image/jpeg;base64,{data}">'
    return f"<figure>{image}<figcaption>{html.escape(words)}<br>{html.escape(said)}</figcaption></figure>"


def _plots(summary: Summary) -> str:
    plots = [_histogram(summary.values[name], words, digits) for name, words, digits in HISTOGRAMS]
    return f'<h2>Evidence and time</h2><div class="plots">{"".join(plots)}</div>'


def _histogram(values: Sequence[float], words: str, digits: int) -> str:
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return ""
    # The last bar holds all that is far out, so that a single value does not flatten the others.
    top = max(float(np.percentile(finite, 99)), 1e-9)
    counts, edges = np.histogram(np.minimum(finite, top), bins=_BINS, range=(min(0.0, min(finite)), top))
    highest = max(counts.max(), 1)
    bars = "".join(
        f'<rect x="{10 * k}" y="{100 - 100 * count / highest:.1f}" width="9" height="{100 * count / highest:.1f}">'
        f"<title>{edges[k]:.{digits}f} to {edges[k + 1]:.{digits}f}: {count}</title></rect>"
        for k, count in enumerate(counts)
    )
    said = f"{words}; median {np.median(finite):.{digits}f}, {edges[0]:.{digits}f} to {top:.{digits}f} and more"
    label = html.escape(said)
    return (
        f'<figure><svg viewBox="0 0 {10 * _BINS} 100" preserveAspectRatio="none" role="img" aria-label="{label}">{bars}'
        f"</svg><figcaption>{label}</figcaption></figure>"
    )


def _without_numbers(reason: str) -> str:
    """Put reasons together that differ in their figures alone, and errors of files."""
    return re.sub(r"\d+(?:[.,]\d+)*", "#", reason)[:200]


__all__ = ["REPORT", "Summary", "thumbnail_name", "write_report"]
