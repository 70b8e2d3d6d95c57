"""Pictures and files of an outcome."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from retinamatch.drawing import beside, draw_agreement, draw_heatmap, flicker, pictures
from retinamatch.estimation.dense_agreement import dense_agreement
from retinamatch.memory import give_back_freed_memory
from retinamatch.results import matches_text, write_animation
from retinamatch.series import FRAME, STRIP, Series, fitted, plain_name
from retinamatch.series import pictures as series_pictures

from ..files.results import ResultFolder
from .work import Outcome


FRAME_SIDE = 1400  # pixels of what is wiped and flickers on the page
ANIMATION_SIDE = 900
SECONDS_A_FRAME = 0.8


@dataclass
class PairFiles:
    """Files of one outcome, named after both photographs.

    Attributes:
        aligned: The moving photograph on the pixel grid of the fixed one; None when the pair is not registered.
        matches: CSV.
        transform: JSON.
        archive: All files, ZIP.
        views: Pictures to look at by their names in `retinamatch.drawing.PICTURES`, "agreement" where the photographs
            were compared, and "heatmaps" where there are any.
        wiped: The fixed photograph and the aligned one, equally bright; None when the pair is not registered.
    """

    aligned: Path | None
    matches: Path
    transform: Path
    archive: Path
    views: dict[str, Path]
    wiped: tuple[Path, ...] | None

    @property
    def downloads(self) -> list[Path]:
        """What is given to take away."""
        return [path for path in (self.aligned, self.matches, self.transform, self.archive) if path is not None]


def write_pair(outcome: Outcome, keypoints: bool = False) -> PairFiles:
    """Draw and write everything for one pair into a new folder.

    Args:
        outcome: The registration and the photographs.
        keypoints: Mark all keypoints in the picture of the matches.
    """
    folder = ResultFolder()
    registration, pair = outcome.registration, outcome.pair
    stem = f"{plain_name(pair.moving.name)}_onto_{plain_name(pair.fixed.name)}"
    matches = folder.text(f"{stem}_matches.csv", matches_text(registration))
    record = folder.text(f"{stem}_transform.json", json.dumps(registration.to_dict(), indent=2, allow_nan=False) + "\n")
    views, wiped, aligned = {}, None, None
    for name, picture in pictures(registration, outcome.moving, outcome.fixed, keypoints):
        if name == "aligned":
            aligned = folder.photograph(stem, picture)
            frames = flicker(outcome.fixed, picture)
            small = [fitted(frame, ANIMATION_SIDE) for frame in frames]
            write_animation(small, folder.file(f"{stem}_flicker.gif"), SECONDS_A_FRAME)
            wiped = tuple(
                folder.view(f"{stem}_{side}", fitted(frame, FRAME_SIDE))
                for side, frame in zip(("fixed", "moving"), frames)
            )
        else:
            views[name] = folder.view(f"{stem}_{name}", picture)
    views |= {name: folder.view(f"{stem}_{name}", picture) for name, picture in _more(outcome)}
    give_back_freed_memory()
    return PairFiles(aligned, matches, record, folder.zip(stem), views, wiped)


def _more(outcome: Outcome) -> Iterator[tuple[str, np.ndarray]]:
    """Draw what only the page shows: where the photographs look alike, and the heat maps."""
    pair, transform = outcome.pair, outcome.registration.transform
    shown = pair.moving_keypoints.picture, pair.fixed_keypoints.picture
    if transform is not None and None not in shown:
        yield "agreement", draw_agreement(outcome.fixed, dense_agreement(*shown, transform), shown[0], transform)
    if pair.moving_keypoints.heatmap is not None:
        both = ((outcome.moving, pair.moving_keypoints), (outcome.fixed, pair.fixed_keypoints))
        yield "heatmaps", beside([draw_heatmap(*one) for one in both])


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
    drawn, animation = [], None
    for name, picture in series_pictures(series):
        if name == FRAME:
            drawn.append(picture)
        elif name == STRIP:
            strip = folder.view(name, picture)
        else:
            folder.photograph(name, picture)
    if drawn:
        animation = folder.file("animation.gif")
        write_animation(drawn, animation, SECONDS_A_FRAME)
    record = folder.text("series.json", json.dumps(series.to_dict(), indent=2, allow_nan=False) + "\n")
    archive = folder.zip("history")
    # For the page alone, hence after the ZIP file.
    frames = [folder.view(f"{FRAME}_{number:02d}", frame) for number, frame in enumerate(drawn, start=1)]
    give_back_freed_memory()
    return SeriesFiles(strip, frames, animation, [strip, *([animation] if animation else []), record, archive])


__all__ = ["SECONDS_A_FRAME", "PairFiles", "SeriesFiles", "write_history", "write_pair"]
