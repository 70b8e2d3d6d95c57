"""What two photographs share that is fixed to the picture and not to the eye: a watermark, lines of text, tiles.

Such a pattern makes keypoints agree, and where it is faint and everywhere, it makes the photographs look alike too:
tiles of text of 15 per cent opacity make different eyes look alike in nine tenths of all places. Two things give it
away.

It lies in the plane of the picture, and a retina is curved. A page may be scanned askew or photographed from a side:
the pattern is turned and tilted then, and no departure from a shift tells it. But a similarity, an affine map or a
homography explains its matches, held out block by block, as well as the best class does: its error is at most 1.08
times as large in 80 pairs with letters, lines and dots, turned by 3 to 20 degrees or tilted. Between pairs of
`fire_dev`, of small files too, it is 1.25 times as large at least. Where the gaze is the same in both photographs, as
in `ridb_dev`, a plane explains them too; so it does where matches are few. Such a transform is looked at again, and one
that departs from a shifted and scaled picture by less than 4 thousandths of its width as well.

It leaves the hue as it is. A veil of gray v and opacity a turns a color C into (1 - a) C + a v. That scales the
differences of the channels, R - G and G - B, by the same factor, and the angle between them cancels it, whatever v and
a are. So under the transform of a pattern the hues of different eyes look alike in no more places than by chance: in a
fifth of them at most, where the pairs of `ridb_dev` reach a quarter at least, and those of `fire_dev` two thirds even
with one photograph degraded 5.

Under text in tiles of 15 per cent opacity, photographs of one camera agree in hue in up to 35 per cent of places that
lie exactly on each other, and under pale yellow dots in half of them: there three fifths must. And where the keypoints
do not pass, and the likeness of the photographs alone is believed, the hue is looked at up to a departure of 10
hundredths, and below 4 thousandths two fifths of it must agree: tiles reach a quarter there, photographs of one eye
degraded 5 or 6 more than half.

Letters that do not lie at the very same place make few keypoints agree, 16 at most in a count of 16,698 impostors, but
guilloches make more than a hundred agree: where 40 do, and more than a third, 22 per cent of the hues must agree still.
Between the pairs of `ridb_dev`, which all look so, 26 do at least, in a veiled photograph; under guilloches 21 at most.

A colored pattern has a hue of its own, and makes that alike too. But what it adds is not what a retina shows: vessels
and pigment are dark, and change all channels in one direction, red and blue never against green. `SharedDetail` says
how far what both photographs show is from that, 1 being the limit: letters in red, green, yellow, orange, pink, cyan
and magenta reach 1.1 to 5.7, maps in the colors of the rainbow 1.04 to 1.2; photographs of one eye reach .99 at most,
in 46 registrations of `fire_dev`, clean and degraded 5 and 6, that were all asked. It is asked wherever the hue is, and
up to a departure of 10 hundredths wherever fewer than 30 keypoints agree: maps of colors have made 18 agree on a
transform of 24 thousandths. The hue itself decides nothing then, small files of one eye fall below a fifth in it. Nor
is more asked where more agree: an eye of which red shows the choroid reached 1.2 with both photographs degraded 4.

The hue suffers in small files and in poor photographs of the same gaze: of a file of 256 pixels 10 to 26 per cent of
them agree, as many as under a pattern. So the hue is not asked where what both show is like vessels: dark, and changing
less of red and blue than a gray veil would. And where it is bright, lies in a plane, and few keypoints agree, three
fifths must agree; where it is nothing but bright, as letters and dots of any pale color are, it is not believed: their
skewness is above 1, that of photographs of one eye .5 at most. Copies of one photograph with such a pattern on them are
told by their matches, of which nine tenths agree; under dots six do at most.

Photographs in gray have no hue. Then one that lies on the other exactly, without even a shift, is believed where they
look alike as copies of one photograph do; where the keypoints do not pass, nothing in a plane is believed, and nothing
that departs by less than 4 thousandths, or by 10 where what both show is bright, as letters are and vessels are not.
Unless 40 keypoints agree, nothing bright in a plane is either. A pattern as dark and as red as a vessel is not told
from one.
"""

from dataclasses import dataclass, replace

import numpy as np

from ..keypoint_set import Keypoints
from ..transforms import Transform
from .dense_agreement import ALIKE, DenseAgreement, cell_means, dense_agreement, draw, sample_transform
from .settings import EstimationSettings


# What both photographs of one eye show: red and blue change by so many times what green does, and at least so much of
# the power of the detail lies in one direction of color.
_RED, _BLUE, _ONE_DIRECTION = (-0.4, 2.8), (-0.1, 1.25), 0.65
# Noise of small files scatters the colors of a retina too; its channels still change together, by so much of what green
# does, which those of a map of colors do not. Then less of the power has to lie in one direction.
_TOGETHER, _SCATTERED_TOGETHER = 0.15, 0.5
# Exudates are bright, and yellow letters are: the skewness of the detail is at most this where blue is less than that.
_BRIGHT, _WITHOUT_BLUE = EstimationSettings.bright, 0.1
# Vessels are dark lines, in which red changes by so small a part of itself, relative to green, and blue by so many
# times what green does. A black veil changes every channel by the same part; under a white one blue changes more.
_DARK, _VESSEL_RED, _VESSEL_BLUE = -0.05, (0.0, 0.8), (0.0, 0.95)
# Quarter turns.
_TURNS = [np.linalg.matrix_power(np.array([[0.0, 1.0], [-1.0, 0.0]]), k) for k in range(4)]


@dataclass(frozen=True)
class PictureShift:
    """How a transform moves the picture as such.

    Attributes:
        displacement: Median distance, over the overlap, of a place from the same place of the other picture.
        departure: The same beside the usual shift and scale of the whole picture.

    Both are fractions of the picture's width. Being medians, they are small where a pattern holds half of the overlap
    and the rest goes astray.
    """

    displacement: float
    departure: float


def picture_shift(places: np.ndarray, mapped: np.ndarray, moving: Keypoints, fixed: Keypoints) -> PictureShift:
    """Measure how a transform moves the picture.

    Args:
        places: (G, 2) in the overlap, pixels of the moving photograph.
        mapped: (G, 2) where they go, pixels of the fixed photograph.
        moving: Keypoints of the moving photograph.
        fixed: Keypoints of the fixed photograph.

    Returns:
        The smallest figures of all ways in which a pattern can lie: it is scaled with the picture, or it is as many
        pixels large in both; and tiles look alike after quarter turns too.
    """
    if len(places) == 0:
        return PictureShift(float("inf"), float("inf"))
    from_size, to_size = np.array(moving.size[::-1]), np.array(fixed.size[::-1])
    centered, target = places + 0.5 - from_size / 2, (mapped + 0.5 - to_size / 2) / to_size[0]
    moves = [
        target - start @ turn / to_size[0] for start in (centered * to_size / from_size, centered) for turn in _TURNS
    ]
    moves.append((mapped - places) / to_size[0])
    scale = _usual_scale(places, mapped)
    scaled = [(mapped - scale * places @ turn) / to_size[0] for turn in _TURNS]
    return PictureShift(
        displacement=min(_usual_length(move) for move in moves),
        departure=min(_usual_length(move - np.median(move, axis=0)) for move in moves + scaled),
    )


def hue_agreement(
    moving: Keypoints, fixed: Keypoints, transform: Transform, settings: EstimationSettings
) -> float | None:
    """Give the share of places at which the hues look alike.

    Args:
        moving: Keypoints of the moving photograph, with its picture.
        fixed: Keypoints of the fixed photograph, with its picture.
        transform: From pixels of the moving photograph to pixels of the fixed one.
        settings: Of the decision.

    Returns:
        The share; None when it cannot be told, because a photograph is in gray or nearly so, or in too few places.
    """
    if moving.picture is None or fixed.picture is None:
        return None
    first, second = moving.picture.in_hue(), fixed.picture.in_hue()
    if first is None or second is None:
        return None
    agreement = dense_agreement(first, second, transform)
    return agreement.share if agreement.cells >= settings.minimum_cells else None


def shared_detail(
    moving: Keypoints,
    fixed: Keypoints,
    transform: Transform,
    agreement: DenseAgreement,
    settings: EstimationSettings,
) -> "SharedDetail | None":
    """Measure the color and the sign of what both photographs show.

    The detail of either photograph, less what is around it, is compared channel by channel where the two look alike.
    What only one of them shows, noise included, cancels out in such a cross-covariance.

    Args:
        moving: Keypoints of the moving photograph, with its picture.
        fixed: Keypoints of the fixed photograph, with its picture.
        transform: From pixels of the moving photograph to pixels of the fixed one.
        agreement: How alike they look under it.
        settings: Of the decision.

    Returns:
        None where too few places look alike, or photographs are not there.
    """
    if moving.picture is None or fixed.picture is None:
        return None
    alike = np.nan_to_num(agreement.correlation) > ALIKE
    if np.count_nonzero(alike) < settings.minimum_cells:
        return None
    first, second = moving.picture, fixed.picture
    places = sample_transform(first, second, transform)
    here, (there, seen) = first.detail(), draw(replace(second, values=second.detail()), places)
    both = first.mask & seen

    def mean(values: np.ndarray) -> float:
        return float(cell_means(values, both, first)[alike].mean())

    covariance = np.array([[mean(here[..., i] * there[..., j]) for j in range(3)] for i in range(3)])
    one, other = here[..., 1], there[..., 1]
    powers = mean(one * one) * mean(other * other)
    skewness = mean(one * other * (one + other) / 2) / max(powers, 1e-9) ** 0.75
    red, green, _ = first.color[first.mask].mean(0) + second.color[second.mask].mean(0)
    return SharedDetail(covariance, skewness, float(red / max(green, 1.0)))


@dataclass(frozen=True)
class SharedDetail:
    """What both photographs show beside what is around it.

    Attributes:
        covariance: (3, 3), of red, green and blue of the moving photograph with those of the fixed one.
        skewness: Of green: below 0 where lines darker than their surround are shared, above 0 where bright ones are.
        redness: Red of the photographs relative to their green.
    """

    covariance: np.ndarray
    skewness: float
    redness: float = 1.0

    @property
    def red(self) -> tuple[float, float]:
        """Red relative to green, of the moving and of the fixed photograph."""
        return self.covariance[0, 1] / self._green, self.covariance[1, 0] / self._green

    @property
    def blue(self) -> tuple[float, float]:
        """Blue relative to green, of the moving and of the fixed photograph."""
        return self.covariance[2, 1] / self._green, self.covariance[1, 2] / self._green

    @property
    def _green(self) -> float:
        return max(self.covariance[1, 1], 1e-9)

    def foreign_color(self, gray: bool = False) -> float:
        """Say how far its color is from that of retinas.

        Args:
            gray: Whether one of the photographs has no hue: then bright lines are no vessels, blue or not.

        Returns:
            The largest of four distances, each 1 at the limit of what retinas show: of red relative to green, of blue
            relative to green, of the skewness (bright lines without blue are no vessels), and of the power outside of
            the strongest color, where more is allowed if red and blue go with green at all.
        """
        directions = np.linalg.eigvalsh((self.covariance + self.covariance.T) / 2)
        scattered = 1 - float(directions[-1]) / max(float(np.abs(directions).sum()), 1e-9)
        together = (sum(self.red) + sum(self.blue)) / 2 > _TOGETHER
        return max(
            *(_distance(value, _RED) for value in self.red),
            *(_distance(value, _BLUE) for value in self.blue),
            self.skewness / _BRIGHT if gray or min(self.blue) < _WITHOUT_BLUE else 0.0,
            scattered / (_SCATTERED_TOGETHER if together else 1 - _ONE_DIRECTION),
        )

    @property
    def like_vessels(self) -> bool:
        """Whether it is dark, and changes red and blue less than a gray veil would."""
        ratios = [_distance(value / self.redness, _VESSEL_RED) for value in self.red]
        ratios += [_distance(value, _VESSEL_BLUE) for value in self.blue]
        return max(ratios) < 1 and self.skewness < _DARK


def _distance(value: float, limits: tuple[float, float]) -> float:
    """Give the distance of a value from the middle between two limits; 1 at either."""
    low, high = limits
    return float(abs(value - (low + high) / 2) / ((high - low) / 2))


def _usual_scale(places: np.ndarray, mapped: np.ndarray) -> float:
    """Measure how many times longer the way from a place to the next one gets, for most places."""
    before, after = (np.linalg.norm(np.diff(points, axis=0), axis=1) for points in (places, mapped))
    apart = before > 0
    return float(np.median(after[apart] / before[apart])) if apart.any() else 1.0


def _usual_length(moves: np.ndarray) -> float:
    return float(np.median(np.linalg.norm(moves, axis=1)))


__all__ = ["PictureShift", "SharedDetail", "hue_agreement", "picture_shift", "shared_detail"]
