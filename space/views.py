"""Pictures and files of an outcome, and the small pieces of HTML around them.

What moves can be stopped, what is wiped away can be moved by the keyboard, and every picture has words.
"""

import json
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np

from retinamatch.drawing import beside, checkerboard, difference, draw_heatmap, draw_matches, flicker, overlay
from retinamatch.results import matches_text, write_animation
from retinamatch.series import Series, aligned_visits, captioned_frames, draw_strip, fitted

from .results import ResultFolder, address
from .work import Outcome


FRAME_SIDE = 1400  # pixels of what is wiped and flickers on the page
ANIMATION_SIDE = 900
SECONDS_A_FRAME = 0.8


@dataclass
class PairFiles:
    """Files of one outcome; None what only a registered pair has.

    Attributes:
        matches: Both photographs with lines between the matches.
        heatmaps: The network's heat maps side by side; None with RootSIFT.
        wiped: The fixed photograph and the aligned one, equally bright.
        checkerboard: Both in turn on the tiles of a board.
        difference: Aligned minus fixed, brightness matched.
        colours: Fixed in red, aligned in cyan.
        downloads: What is given to take away.
    """

    matches: Path
    heatmaps: Path | None
    wiped: tuple[Path, Path] | None
    checkerboard: Path | None
    difference: Path | None
    colours: Path | None
    downloads: list[Path]


def write_pair(outcome: Outcome, keypoints: bool = False) -> PairFiles:
    """Draw and write everything for one pair into a new folder.

    Args:
        outcome: The registration and the photographs.
        keypoints: Mark all keypoints in the picture of the matches.
    """
    folder = ResultFolder()
    registration, pair = outcome.registration, outcome.pair
    folder.text("transform.json", json.dumps(registration.to_dict(), indent=2, allow_nan=False) + "\n")
    folder.text("matches.csv", matches_text(registration))
    wiped = board = change = colours = heatmaps = None
    if registration:
        aligned = registration.warp(outcome.moving)
        folder.photograph("aligned", aligned)
        first, second = flicker(outcome.fixed, aligned)
        board = folder.view("checkerboard", checkerboard(outcome.fixed, aligned))
        change = folder.view("difference", difference(first, second))
        colours = folder.view("overlay", overlay(outcome.fixed, aligned))
        frames = [fitted(frame, ANIMATION_SIDE) for frame in (first, second)]
        write_animation(frames, folder.file("flicker.gif"), SECONDS_A_FRAME)
        wiped = tuple(
            folder.view(name, fitted(frame, FRAME_SIDE)) for name, frame in (("fixed", first), ("moving", second))
        )
    drawn = draw_matches(outcome.moving, outcome.fixed, registration, keypoints=keypoints)
    matches = folder.view("matches", drawn)
    if pair.found_moving.heatmap is not None:
        both = ((outcome.moving, pair.found_moving), (outcome.fixed, pair.found_fixed))
        heat = [draw_heatmap(photo, np.float32(found.heatmap), found.frame) for photo, found in both]
        heatmaps = folder.view("heatmaps", beside(heat))
    archive = folder.zip("retinamatch")
    named = {path.name: path for path in folder.files}
    downloads = [named[name] for name in ("aligned.png", "matches.csv", "transform.json") if name in named]
    return PairFiles(matches, heatmaps, wiped, board, change, colours, [*downloads, archive])


@dataclass
class SeriesFiles:
    """Files of a history; without frames when nothing could be registered."""

    strip: Path
    frames: list[Path]
    animation: Path | None
    downloads: list[Path]


def write_history(series: Series) -> SeriesFiles:
    """Draw and write everything for a history into a new folder."""
    folder = ResultFolder()
    pictures = []
    for index, visit, aligned in aligned_visits(series):
        if aligned is not None:
            folder.photograph(f"{index + 1:02d}_{Path(visit.name).stem}_aligned", aligned)
        pictures.append(aligned if aligned is None else fitted(aligned, ANIMATION_SIDE))
    strip = folder.view("strip", draw_strip(series, pictures))
    drawn, animation = [], None
    if series.registered:
        drawn = captioned_frames(series, pictures)
        animation = folder.file("animation.gif")
        write_animation(drawn, animation, SECONDS_A_FRAME)
    folder.text("series.json", json.dumps(series.to_dict(), indent=2, allow_nan=False) + "\n")
    archive = folder.zip("history")
    # For the page alone, hence after the ZIP file.
    frames = [folder.view(f"frame_{number:02d}", frame) for number, frame in enumerate(drawn, start=1)]
    downloads = [strip, *([animation] if animation else []), folder.path / "series.json", archive]
    return SeriesFiles(strip, frames, animation, downloads)


def wipe_html(pictures: tuple[Path, Path] | None, nothing: str) -> str:
    """Two pictures on each other; a slider says how much of the upper one is seen.

    Args:
        pictures: The fixed photograph and the aligned one.
        nothing: What to say when there are none.
    """
    if pictures is None:
        return nothing_html(nothing)
    below, above = map(address, pictures)
    return f"""<div class="rm-wipe" style="--cut: 50%">
<div class="rm-stage"><img src="{below}" alt="The fixed photograph">
<img class="rm-above" src="{above}" alt="The moving photograph, aligned, over the left part of the fixed one"></div>
<label>Left of the line: moving photograph, aligned. Right of it: fixed photograph.
<input type="range" min="0" max="100" value="50" aria-label="Place of the line, per cent of the width"
oninput="this.closest('.rm-wipe').style.setProperty('--cut', this.value + '%')"></label></div>"""


def frames_html(pictures: list[Path] | tuple[Path, ...] | None, words: list[str], nothing: str) -> str:
    """Pictures shown in turn; they can be stopped and gone through by hand.

    Args:
        pictures: Of one size.
        words: What each shows.
        nothing: What to say when there are none.
    """
    if not pictures:
        return nothing_html(nothing)
    count = len(pictures)
    images = "".join(
        f'<img src="{address(path)}" alt="{escape(text)}" style="animation-name: rm-turn-{count}; '
        f"animation-duration: {count * SECONDS_A_FRAME}s; animation-delay: {number * SECONDS_A_FRAME}s"
        f'"{" class=rm-chosen" if number == 0 else ""}>'
        for number, (path, text) in enumerate(zip(pictures, words))
    )
    choose = (
        "const box = this.closest('.rm-frames'); box.classList.add('rm-still'); "
        "box.querySelector('input[type=checkbox]').checked = true; box.querySelectorAll('img').forEach("
        "(image, number) => image.classList.toggle('rm-chosen', number == this.value))"
    )
    return f"""<style>@keyframes rm-turn-{count} {{
from {{ opacity: 1 }} {100 / count:.4f}% {{ opacity: 0 }} to {{ opacity: 0 }} }}</style>
<div class="rm-frames"><div class="rm-stage">{images}</div>
<label><input type="checkbox" onchange="this.closest('.rm-frames').classList.toggle('rm-still', this.checked)">
Stop</label>
<label>Show one, by hand: <input type="range" min="0" max="{count - 1}" step="1" value="0"
aria-label="Which picture, 1 to {count}" oninput="{choose}"></label></div>"""


def answer_html(words: str, kind: str = "") -> str:
    """The answer in words, with a sign for its kind: "registered", "no match", "not done" or none.

    Screen readers read it out when it changes.
    """
    sign = {"registered": "✓", "no match": "✗", "not done": "!"}.get(kind, "")
    mark = f'<b aria-hidden="true">{sign}</b>' if sign else ""
    looks = f" rm-{kind.replace(' ', '-')}" if kind else ""
    return f'<div class="rm-answer{looks}" role="status" aria-live="polite">{mark}{escape(words)}</div>'


def nothing_html(words: str) -> str:
    """A place where nothing is shown, and why."""
    return f'<div class="rm-nothing">{escape(words)}</div>'


def table_html(header: list[str], rows: list[list], caption: str) -> str:
    """A table with a heading for each column and row."""
    head = "".join(f'<th scope="col">{escape(str(cell))}</th>' for cell in header)
    body = "".join(
        f'<tr><th scope="row">{escape(str(row[0]))}</th>'
        + "".join(f"<td>{escape(str(cell))}</td>" for cell in row[1:])
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="rm-table"><table><caption>{escape(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


__all__ = [
    "PairFiles",
    "SeriesFiles",
    "answer_html",
    "frames_html",
    "nothing_html",
    "table_html",
    "wipe_html",
    "write_history",
    "write_pair",
]
