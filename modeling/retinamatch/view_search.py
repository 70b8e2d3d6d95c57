"""Which other views of two photographs are worth a try, when they do not match as they were given.

Both are made so small that they can be laid on each other in every turn, in three sizes and in several channels, and at
every place: masked normalized cross-correlation by the fast Fourier transform (Padfield, IEEE TIP 2012) takes some
milliseconds for each. The best few are proposed; whether one is right is not decided here.

Where a narrow field lies in a wide one, such small pictures do not tell reliably. It need not be known: the narrow one
shown at half its size is a photograph of the wide camera's scale, and its keypoints find their place by themselves.

Whether vessels are dark or bright is measured in each photograph by itself, from its ridges.

A transform that was found says exactly which views are alike: `closer_views` gives those, for a second look.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product

import cv2
import numpy as np

from .estimation.decision import overlap_grid
from .field_of_view import FieldOfView, find_field_of_view
from .keypoint_set import Keypoints
from .normalized_picture import NormalizedPicture
from .not_retina import is_gray
from .photograph_views import AS_GIVEN, CHANNELS, View, views_in_words
from .transforms import Transform


# Pixels across a small picture, and the blur there that lets vessels meet between two steps of the turn.
_SIDE, _BLUR = 96, 0.8
_TURNS = np.arange(0.0, 360.0, 15.0)
# The narrower of two fields is shown at this size: keypoints match from two fifths to two thirds of the other's width.
_SMALLER = 0.5
_RATIOS = (1.0, _SMALLER, 1 / _SMALLER)  # of the widths of the fields, fixed to moving
# So many turns of a narrow moving field are tried.
_TURNED_NARROW = 3
# Least overlap, as a share of the smaller one of the two fields.
_LEAST_OVERLAP = 0.2
# Two proposals differ by so many degrees or by such a factor; a network matches what is less than that away.
_NEAR_TURN, _NEAR_ZOOM = 20.0, 1.25
# The same for a view that undoes what a transform says.
_EXACT = (8.0, 1.05)
# Logarithm of the strength of dark ridges relative to bright ones from which on their sign is believed.
_CLEAR_RIDGES = 0.05
# Where the mirror image fits so much better, the photograph may be mirrored.
_MIRRORED = 1.15


@dataclass(frozen=True)
class Proposal:
    """Two views that may match.

    Attributes:
        moving: Of the moving photograph.
        fixed: Of the fixed photograph.
        score: Largest correlation, times the square root of the share of the smaller field that overlaps; higher is
            better among views of one kind: small parts correlate more by chance than whole fields.
    """

    moving: View
    fixed: View
    score: float

    @property
    def words(self) -> str:
        """What is done to which photograph, in words."""
        return views_in_words(self.moving, self.fixed)


class ViewSearch:
    """Other views of two photographs.

    Args:
        moving: (H, W, 3) uint8 RGB.
        fixed: (H, W, 3) uint8 RGB.
        fields: Where the retina lies in either photograph; found when None.
    """

    def __init__(self, moving: np.ndarray, fixed: np.ndarray, fields: tuple[FieldOfView, FieldOfView] | None = None):
        fields = fields or (find_field_of_view(moving), find_field_of_view(fixed))
        self._moving = moving
        self._pairs = list(_channel_pairs(moving, fixed, fields))
        self._found = [proposal for pair in self._pairs for proposal in _lay(pair, _RATIOS)]

    @cached_property
    def mirrored(self) -> np.ndarray:
        """The mirror image of the moving photograph, (H, W, 3) uint8 RGB."""
        return np.ascontiguousarray(self._moving[:, ::-1])

    def propose(self, invariant: bool = False) -> list[Proposal]:
        """Propose views, the most likely ones first: upright with like contrast, then turned or smaller.

        Those that hardly differ from the photographs as given, or from another one, are left out.

        Args:
            invariant: Leave out what differs by its turn or its size alone; see `Extractor.invariant`.
        """
        by_score = sorted(self._found, key=lambda proposal: proposal.score, reverse=True)
        upright = [p for p in by_score if p.moving.turn == 0 and p.moving.zoom == p.fixed.zoom == 1]
        green = [p for p in upright if p.moving.channel == p.fixed.channel == "green"]
        red = [p for p in upright if "red" in (p.moving.channel, p.fixed.channel)]
        if invariant:
            return _distinct(green + red)
        smaller = [p for p in by_score if p.moving.zoom != p.fixed.zoom]
        # Where a narrow field lies in a wide one is not asked, so that the score says little of an upright one.
        narrow = _distinct([p for p in smaller if p.moving.turn == 0], channels=False)
        turns = _distinct([p for p in by_score if p.moving.zoom == p.fixed.zoom == 1], channels=False)
        # Where photographs overlap little, it says little of a turn either: all of them, both photographs made smaller.
        coarse = [replace(p, moving=_shown_smaller(p.moving), fixed=_shown_smaller(p.fixed)) for p in turns]
        turned = _distinct([p for p in smaller if p.moving.turn and p.moving.zoom < 1], channels=False)[:_TURNED_NARROW]
        return _distinct(green + turns[:1] + narrow + red + turned + coarse)

    def propose_mirrored(self) -> Proposal | None:
        """Propose views of `mirrored` and the fixed photograph, if the mirror image fits clearly better."""
        found = [proposal for pair in self._pairs for proposal in _lay(pair.mirrored(), (1.0,))]
        best, straight = (
            max((p for p in proposals if p.moving.zoom == p.fixed.zoom), key=lambda p: p.score)
            for proposals in (found, self._found)
        )
        return best if best.score > _MIRRORED * straight.score else None


def closer_views(
    moving: Keypoints, fixed: Keypoints, transform: Transform, views: tuple[View, View]
) -> Proposal | None:
    """Propose views that undo the turn and the scale of a transform; None where the photographs were seen so already.

    Args:
        moving: Keypoints of the moving photograph as it is given.
        fixed: Keypoints of the fixed one.
        transform: From pixels of the moving photograph to pixels of the fixed one.
        views: In which it was found.
    """
    grid, _ = overlap_grid(moving, fixed, transform)
    if len(grid) == 0:
        return None
    place = grid.mean(0, keepdims=True)
    (a, b), (c, d) = transform.jacobian(place)[0]
    ratio = float(np.sqrt(abs(a * d - b * c))) * moving.radius / fixed.radius  # of the moving field to the fixed one
    turn = float(np.degrees(np.arctan2(b - c, a + d)))
    # What was looked at otherwise than as given was guessed roughly.
    near_turn, near_zoom = (_NEAR_TURN, _NEAR_ZOOM) if views == (AS_GIVEN, AS_GIVEN) else _EXACT
    one = replace(views[0], turn=round(turn) if abs(turn) > near_turn else 0.0, zoom=1.0, center=(0.0, 0.0))
    other = replace(views[1], zoom=1.0, center=(0.0, 0.0))
    # The wider field is cut to the part of it that both show.
    if ratio < 1 / near_zoom:
        other = replace(other, zoom=1 / ratio / fixed.part, center=_in_circle(transform(place)[0], fixed))
    elif ratio > near_zoom:
        one = replace(one, zoom=ratio / moving.part, center=_in_circle(place[0], moving))
    proposal = Proposal(one, other, 0.0)
    exact = min(view.zoom for view in views) >= 1  # not seen smaller than need be
    return None if exact and _near(proposal, Proposal(*views, 0.0), True, near_turn, near_zoom) else proposal


def _in_circle(place: np.ndarray, keypoints: Keypoints) -> tuple[float, float]:
    """Give a place (x, y) in radii of the whole field of view from its middle; see `View.center`."""
    *middle, radius = keypoints.circle
    x, y = (place - middle) / radius
    return float(x), float(y)


@dataclass(frozen=True)
class _Channels:
    """A channel of either photograph: how it is looked at, and its picture."""

    views: tuple[View, View]
    pictures: tuple[NormalizedPicture, NormalizedPicture]

    def mirrored(self) -> "_Channels":
        """Mirror the picture of the moving photograph."""
        moving, fixed = self.pictures
        mirrored = replace(moving, values=moving.values[:, ::-1], mask=moving.mask[:, ::-1])
        return replace(self, pictures=(mirrored, fixed))


def _lay(pair: _Channels, ratios: Sequence[float]) -> Iterator[Proposal]:
    """Lay one picture on the other in every turn and in these relative widths."""
    one, other = pair.views
    sign = -1.0 if one.reversed_contrast != other.reversed_contrast else 1.0
    for turn, ratio, score in _correlate(*pair.pictures, sign, ratios):
        yield Proposal(replace(one, turn=turn, zoom=min(1 / ratio, 1.0)), replace(other, zoom=min(ratio, 1.0)), score)


def vessel_contrast(picture: NormalizedPicture) -> int:
    """Say whether the vessels of a photograph are darker (1) or brighter (-1) than what is around them; 0 if unclear.

    Thin dark lines have a large positive second derivative across them, bright ones a negative one: the strongest few
    of either kind are compared.
    """
    inside = cv2.erode(picture.mask.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    if not inside.any():
        return 0
    ratios = []
    for sigma in (1.5, 2.5):
        smooth = cv2.GaussianBlur(picture.values, (0, 0), sigma)
        xx, yy, xy = (cv2.Sobel(smooth, cv2.CV_32F, *order, ksize=3) for order in ((2, 0), (0, 2), (1, 1)))
        mean, half = (xx + yy) / 2, np.sqrt(((xx - yy) / 2) ** 2 + xy**2)
        dark = np.maximum(mean + half - np.abs(mean - half), 0)[inside]
        bright = np.maximum(half - mean - np.abs(mean + half), 0)[inside]
        strongest = [max(float(np.percentile(ridges, 97)), 1e-6) for ridges in (dark, bright)]
        ratios.append(np.log(strongest[0] / strongest[1]))
    ratio = float(np.mean(ratios))
    return int(np.sign(ratio)) if abs(ratio) > _CLEAR_RIDGES else 0


def _channel_pairs(
    moving: np.ndarray, fixed: np.ndarray, fields: tuple[FieldOfView, FieldOfView]
) -> Iterator[_Channels]:
    """Give the channels to compare: green, and all of the colored one where the other is gray."""
    gray = [is_gray(photograph[::8, ::8]) for photograph in (moving, fixed)]
    choices = [CHANNELS if gray[1 - k] and not gray[k] else ("green",) for k in (0, 1)]
    pictures = [
        {name: NormalizedPicture.from_photo(photograph, field, CHANNELS.index(name)) for name in names}
        for photograph, field, names in zip((moving, fixed), fields, choices)
    ]
    one, other = (
        {View(reversed_contrast=vessel_contrast(picture) < 0, channel=name): picture for name, picture in each.items()}
        for each in pictures
    )
    for first, second in product(one, other):
        yield _Channels((first, second), (one[first], other[second]))


def _correlate(
    moving: NormalizedPicture, fixed: NormalizedPicture, sign: float, ratios: Sequence[float]
) -> Iterator[tuple[float, float, float]]:
    """Lay the moving picture on the fixed one in every way.

    Yields:
        Turn; width of the fixed field relative to the moving one; score.
    """
    second, seen = _shrink(fixed)
    shape = (2 * _SIDE, 2 * _SIDE)
    spectra = [np.conj(np.fft.rfft2(part, shape)) for part in (second, seen, second * second)]
    for ratio, turn in product(ratios, _TURNS):
        first, shown = _shrink(moving, turn, 1 / ratio)
        values, mask, squares = (np.fft.rfft2(part, shape) for part in (first, shown, first * first))
        products = (values * spectra[0], squares * spectra[1], mask * spectra[2], mask * spectra[1])
        cross, power, other_power, overlap = (np.fft.irfft2(part, shape) for part in products)
        share = np.maximum(overlap, 0) / max(min(shown.sum(), seen.sum()), 1)
        correlation = sign * cross / np.sqrt(np.maximum(power * other_power, 1e-6))
        score = np.where(share > _LEAST_OVERLAP, correlation * np.sqrt(share), 0)
        yield float(turn), ratio, float(score.max())


def _shrink(picture: NormalizedPicture, turn: float = 0.0, zoom: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Draw a picture small, turned and `zoom` times as large: values and mask, (S, S) float32."""
    side = picture.values.shape[0]
    factor = side / _SIDE
    smooth = cv2.GaussianBlur(picture.values * picture.mask, (0, 0), _BLUR * factor / zoom)
    matrix = cv2.getRotationMatrix2D(((side - 1) / 2, (side - 1) / 2), turn, zoom / factor)
    matrix[:, 2] += (_SIDE - side) / 2
    size = (_SIDE, _SIDE)
    mask = cv2.warpAffine(picture.mask.astype(np.float32), matrix, size, flags=cv2.INTER_LINEAR) > 0.5
    return cv2.warpAffine(smooth, matrix, size, flags=cv2.INTER_LINEAR) * mask, mask.astype(np.float32)


def _shown_smaller(view: View) -> View:
    return replace(view, zoom=_SMALLER)


def _distinct(proposals: list[Proposal], channels: bool = True) -> list[Proposal]:
    """Take the proposals that differ from the photographs as given and from each other; `channels` count too."""
    chosen: list[Proposal] = []
    as_given = Proposal(AS_GIVEN, AS_GIVEN, 0.0)
    for proposal in proposals:
        if not any(_near(proposal, other, channels) for other in (as_given, *chosen)):
            chosen.append(proposal)
    return chosen


def _near(
    one: Proposal, other: Proposal, channels: bool, most_turn: float = _NEAR_TURN, most_zoom: float = _NEAR_ZOOM
) -> bool:
    turn = abs((one.moving.turn - other.moving.turn + 180) % 360 - 180)
    zooms = [proposal.moving.zoom / proposal.fixed.zoom for proposal in (one, other)]
    kinds = [
        [(view.reversed_contrast, channels and view.channel) for view in (proposal.moving, proposal.fixed)]
        for proposal in (one, other)
    ]
    return turn <= most_turn and abs(np.log(zooms[0] / zooms[1])) < np.log(most_zoom) and kinds[0] == kinds[1]


__all__ = ["Proposal", "ViewSearch", "closer_views", "vessel_contrast"]
