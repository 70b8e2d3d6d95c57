"""Pictures and files of an outcome."""

import json
from dataclasses import dataclass
from pathlib import Path

from retinamatch.drawing import beside, checkerboard, difference, draw_heatmap, draw_matches, flicker, overlay
from retinamatch.results import matches_text, write_animation
from retinamatch.series import Series, aligned_visits, captioned_frames, draw_strip, fitted

from ..files.results import ResultFolder
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
        colors: Fixed in red, aligned in cyan.
        downloads: What is given to take away.
    """

    matches: Path
    heatmaps: Path | None
    wiped: tuple[Path, Path] | None
    checkerboard: Path | None
    difference: Path | None
    colors: Path | None
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
    wiped = board = change = colors = heatmaps = None
    if registration:
        aligned = registration.warp(outcome.moving)
        folder.photograph("aligned", aligned)
        first, second = flicker(outcome.fixed, aligned)
        board = folder.view("checkerboard", checkerboard(outcome.fixed, aligned))
        change = folder.view("difference", difference(first, second))
        colors = folder.view("overlay", overlay(outcome.fixed, aligned))
        frames = [fitted(frame, ANIMATION_SIDE) for frame in (first, second)]
        write_animation(frames, folder.file("flicker.gif"), SECONDS_A_FRAME)
        wiped = tuple(
            folder.view(name, fitted(frame, FRAME_SIDE)) for name, frame in (("fixed", first), ("moving", second))
        )
    drawn = draw_matches(outcome.moving, outcome.fixed, registration, keypoints=keypoints)
    matches = folder.view("matches", drawn)
    if pair.moving_keypoints.heatmap is not None:
        both = ((outcome.moving, pair.moving_keypoints), (outcome.fixed, pair.fixed_keypoints))
        heatmaps = folder.view("heatmaps", beside([draw_heatmap(photo, keypoints) for photo, keypoints in both]))
    archive = folder.zip("retinamatch")
    named = {path.name: path for path in folder.files}
    downloads = [named[name] for name in ("aligned.png", "matches.csv", "transform.json") if name in named]
    return PairFiles(matches, heatmaps, wiped, board, change, colors, [*downloads, archive])


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


__all__ = [
    "SECONDS_A_FRAME",
    "PairFiles",
    "SeriesFiles",
    "write_history",
    "write_pair",
]
