"""What is kept of a photograph to compare it with another one place by place: small and locally normalized."""

from dataclasses import dataclass, replace

import cv2
import numpy as np

from .canvas import WORKING_SIZE, canvas
from .field_of_view import FieldOfView, find_field_of_view
from .local_normalization import normalize_locally


#: Pixels across the field of view: half the working size, at which vessels are still several pixels wide.
PICTURE_SIZE = WORKING_SIZE // 2
# In pixels of the picture: the light blur that takes noise away, and the neighborhood of the local normalization.
_BLUR, _NEIGHBORHOOD = 1.0, 12.0
# What stands out this many times as much as the faint parts of the retina do (the lower quartile of the local standard
# deviation where there is any) is none of it: a letter, a watermark, the border of a bright surround. Marks are bright
# and vessels are dark, so the bright ones are held to less. Some strong vessels and the disc go with them; without
# this, marks that both photographs show made half of the places of different eyes agree.
_FOREIGN_BRIGHT, _FOREIGN_DARK = 4.0, 6.0
# In gray levels: a local standard deviation that is nothing but rounding and compression.
_FLAT = 0.5
# In gray levels, the difference of the channels, and in radians, the usual deviation of the hue from that around it:
# less of either is a gray or a tinted picture. Photographs have 6 and .01 even behind a haze.
_LEAST_CHROMA, _LEAST_HUE = 4.0, 0.005


@dataclass(frozen=True, eq=False)
class NormalizedPicture:
    """A photograph at half the working size, locally normalized and lightly blurred.

    Attributes:
        values: (H, W) float32 in [-1, 1], dark below 0 and bright above; 0 where no retina is seen.
        mask: (H, W) bool, where retina is seen: inside the field of view, and nothing foreign.
        color: (H, W, 3) uint8 RGB, the photograph before that.
        origin: (x, y) of the center of the top-left pixel, in pixels of the photograph.
        scale: Pixels of the photograph per pixel.
    """

    values: np.ndarray
    mask: np.ndarray
    color: np.ndarray
    origin: tuple[float, float]
    scale: float

    @classmethod
    def from_photo(
        cls, photo: np.ndarray, field_of_view: FieldOfView | None = None, channel: int = 1
    ) -> "NormalizedPicture":
        """Normalize one channel of a photograph.

        Args:
            photo: (H, W, 3) uint8 RGB.
            field_of_view: Where the retina lies; found when None.
            channel: 0 red, 1 green, 2 blue.
        """
        view = field_of_view or find_field_of_view(photo)
        size = (PICTURE_SIZE, PICTURE_SIZE)
        gray, mask, (x0, y0, x1, y1) = canvas(cv2.extractChannel(photo, channel), view, size)
        color = canvas(photo, view, size)[0]
        gray = masked_blur(gray, mask, _BLUR)
        mask &= ~_foreign(gray, mask)
        values = normalize_locally(gray, mask, _NEIGHBORHOOD)
        height, width = photo.shape[:2]
        scale = (x1 - x0) * width / PICTURE_SIZE
        origin = (x0 * width + (scale - 1) / 2, y0 * height + (scale - 1) / 2)
        return cls(values, mask, color, origin, scale)

    def in_hue(self) -> "NormalizedPicture | None":
        """Return the picture of the hue alone, which a veil of any gray leaves as it is; None in gray or nearly so.

        The hue is the angle between the differences of the channels, red - green and green - blue.
        """
        red, green, blue = self._channels()
        if not self.mask.any() or np.hypot(red - green, green - blue)[self.mask].mean() < _LEAST_CHROMA:
            return None
        hue = np.arctan2(green - blue, red - green)
        detail = hue - masked_blur(hue, self.mask, _NEIGHBORHOOD)
        if np.median(np.abs(detail[self.mask])) < _LEAST_HUE:
            return None
        return replace(self, values=normalize_locally(hue, self.mask, _NEIGHBORHOOD))

    def detail(self) -> np.ndarray:
        """Give what each channel shows beside what is around it, (H, W, 3) float32 gray levels."""
        parts = [channel - masked_blur(channel, self.mask, _NEIGHBORHOOD) for channel in self._channels()]
        return np.stack(parts, axis=-1)

    def _channels(self) -> list[np.ndarray]:
        return [masked_blur(self.color[..., k].astype(np.float32), self.mask, _BLUR) for k in range(3)]

    def __getstate__(self) -> dict:
        # Half the memory where many photographs are kept or sent to other processes.
        return {**self.__dict__, "values": self.values.astype(np.float16)}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state, values=state["values"].astype(np.float32))

    def to_photograph(self, pixels: np.ndarray) -> np.ndarray:
        """Bring pixels of this picture, (N, 2), to pixels of the photograph."""
        return np.asarray(self.origin) + self.scale * pixels

    def to_picture(self, pixels: np.ndarray) -> np.ndarray:
        """Bring pixels of the photograph, (N, 2), to pixels of this picture."""
        return (pixels - np.asarray(self.origin)) / self.scale


def masked_blur(image: np.ndarray, mask: np.ndarray, sigma: float, least: float = 1e-3) -> np.ndarray:
    """Blur inside a mask; what lies outside does not leak in.

    Args:
        image: (H, W) float32.
        mask: (H, W) bool.
        sigma: Standard deviation of the blur in pixels.
        least: Where the mask holds less than this fraction of the neighborhood, the result fades to 0.
    """
    seen = mask.astype(np.float32)
    weight = np.maximum(cv2.GaussianBlur(seen, (0, 0), sigma), least)
    return cv2.GaussianBlur(image * seen, (0, 0), sigma) / weight


def _foreign(gray: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Mark what stands out far more than anything of the retina does, with a little around it, (H, W) bool."""
    if not mask.any():
        return mask
    detail = gray - masked_blur(gray, mask, _NEIGHBORHOOD)
    deviation = np.sqrt(masked_blur(detail**2, mask, _NEIGHBORHOOD))
    textured = deviation[mask & (deviation > _FLAT)]
    if len(textured) == 0:
        return np.zeros_like(mask)
    least = np.percentile(textured, 25)
    strong = mask & ((detail > _FOREIGN_BRIGHT * least) | (detail < -_FOREIGN_DARK * least))
    return cv2.dilate(strong.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0


__all__ = ["PICTURE_SIZE", "NormalizedPicture", "masked_blur"]
