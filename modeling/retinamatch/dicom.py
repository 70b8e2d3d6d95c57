"""Photographs in DICOM files, without anything that tells whose they are; needs the extra `dicom`.

Ophthalmic photography of 8 and 16 bit, wide field, and secondary captures; gray, color, luminance with chrominance and
palettes; of several frames the first. JPEG and JPEG 2000 are decoded by Pillow, JPEG Lossless and JPEG-LS by GDCM.

No tag is carried over but the eye, the date, the spacing and the field angle. Patients get pseudonyms with a key that
stays with the user: `Pseudonyms`.
"""

import hashlib
import hmac
import os
import re
import secrets
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

import numpy as np

from .photographs import FORMATS, PhotographError, PhotographLike, PhotographWarning, check_size


# Of SOP classes: those that hold photographs of an eye, and secondary captures, which may.
_OPHTHALMIC = "1.2.840.10008.5.1.4.1.1.77.1.5."
_SOP_CLASSES = {_OPHTHALMIC + number for number in ("1", "2", "5", "6")} | {
    "1.2.840.10008.5.1.4.1.1.7" + number for number in ("", ".1", ".2", ".3", ".4")
}
_DATES = ("AcquisitionDateTime", "AcquisitionDate", "ContentDate", "StudyDate")
_PATIENT = ("PatientName", "PatientID", "OtherPatientIDs", "OtherPatientNames", "PatientBirthName", "PatientBirthDate")
_EYES = {"R": "right", "L": "left"}
_HEAD = 132  # bytes up to the word DICM
_MOST_DAYS = 3650  # that the dates of a patient are moved back


@dataclass(frozen=True)
class DicomTags:
    """What a study needs to know of a DICOM file.

    Attributes:
        patient: Whose it is; never to be written anywhere, `Pseudonyms.patient` is.
        eye: "right", "left", or "" where it is not said.
        date: Of the photograph; None where it is not said.
        spacing: Millimeters per pixel, down (row) and across (column); None where it is not said.
        field_angle: Horizontal field of view in degrees; None where it is not said.
        burnt_in: Whether something that tells whose it is may be written into the picture.
        is_photograph: Whether it is of a class that holds photographs.
    """

    patient: str
    eye: str
    date: date | None
    spacing: tuple[float, float] | None
    field_angle: float | None
    burnt_in: bool
    is_photograph: bool


class DicomFormat:
    """DICOM as a format of photographs; see `photographs.OtherFormat`."""

    def recognizes(self, head: bytes) -> bool:
        """Tell a DICOM file by its first bytes."""
        return head[128:_HEAD] == b"DICM"

    def read(self, file: str | BinaryIO, name: str) -> np.ndarray:
        """Decode the first frame; see `read_dicom`."""
        return read_dicom(file, name)

    def public_name(self, path: Path) -> str:
        """Give the name of the file, or a neutral one when it holds the name or the number of the patient."""
        try:
            with _opened(path) as dataset:
                words = {word for tag in _PATIENT for word in re.findall(r"\w{2,}", str(dataset.get(tag, "")).lower())}
        except PhotographError:
            words = {""}  # whoever it is, the name may tell
        if not any(word in path.name.lower() for word in words):
            return path.name
        return f"photograph-{hashlib.sha256(path.name.encode()).hexdigest()[:8]}"


def read_dicom(file: str | os.PathLike | BinaryIO, name: str, frame: int = 0) -> np.ndarray:
    """Decode a frame of a DICOM file.

    Args:
        file: Path, or a file open for reading bytes.
        name: What to call it in errors.
        frame: Which frame of several.

    Returns:
        (height, width) or (height, width, 3) uint8, dark below bright.

    Raises:
        PhotographError: The file is damaged, of a class that holds no photographs, or of a transfer syntax that cannot
            be decoded; the sentence names it.

    Warns:
        PhotographWarning: Annotations are burnt in.
    """
    with _opened(file, name, pixels=True) as dataset:
        _check(dataset, name, frame)
        syntax = dataset.file_meta.TransferSyntaxUID
        try:
            pixels = _decode(dataset, frame)
        except Exception:  # of whichever decoder; their words may hold what is in the file
            raise PhotographError(f"{name} cannot be decoded: its transfer syntax is {syntax.name}.") from None
        if str(dataset.get("BurnedInAnnotation", "")) == "YES":
            warnings.warn(
                f"{name} says that annotations are burnt in (0028,0301): its pixels may tell whose eye it is.",
                PhotographWarning,
                stacklevel=2,
            )
    return pixels


def read_tags(path: str | os.PathLike) -> DicomTags:
    """Read what a study needs to know of a file, nothing else.

    Raises:
        PhotographError: It is no DICOM file that can be read.
    """
    with _opened(path) as dataset:
        identity = [str(dataset.get(tag, "")) for tag in ("PatientID", "IssuerOfPatientID")]
        if not identity[0]:
            identity = [str(dataset.get(tag, "")) for tag in ("PatientName", "PatientBirthDate")]
        eye = str(dataset.get("ImageLaterality") or dataset.get("Laterality") or "")
        angle = dataset.get("HorizontalFieldOfView")
        return DicomTags(
            patient="\n".join(identity) if any(identity) else "",
            eye=_EYES.get(eye, ""),
            date=_date(dataset),
            spacing=_spacing(dataset),
            field_angle=None if angle is None else float(angle),
            burnt_in=str(dataset.get("BurnedInAnnotation", "")) == "YES",
            is_photograph=str(dataset.get("SOPClassUID", "")) in _SOP_CLASSES,
        )


def is_dicom(path: str | os.PathLike) -> bool:
    """Tell a DICOM file by its first bytes."""
    try:
        with open(path, "rb") as file:
            return file.read(_HEAD)[128:] == b"DICM"
    except OSError:
        return False


def spacing_of(source: PhotographLike | Any) -> tuple[float, float] | None:
    """Read the millimeters per pixel, down and across, of a photograph that is a DICOM file; None of any other."""
    if not isinstance(source, str | os.PathLike) or not is_dicom(source):
        return None
    try:
        return read_tags(source).spacing
    except PhotographError:
        return None


class Pseudonyms:
    """Names for patients and dates for visits that tell nothing without the key; intervals between visits stay.

    Args:
        key: At least 16 secret bytes. Who has them can find out whether a known number is behind a pseudonym.
    """

    def __init__(self, key: bytes):
        if len(key) < 16:
            raise ValueError(f"A key has at least 16 bytes, got {len(key)}.")
        self._key = key

    @classmethod
    def from_file(cls, path: str | os.PathLike) -> "Pseudonyms":
        """Read the key from a file, which is made, for its owner alone, when there is none.

        Raises:
            ValueError: The file holds no key.
            OSError: It can be neither read nor made.
        """
        path = Path(path)
        try:
            with open(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
                file.write(secrets.token_hex(32) + "\n")
        except FileExistsError:
            pass
        try:
            return cls(bytes.fromhex(path.read_text(encoding="ascii").strip()))
        except ValueError:
            raise ValueError(f"{path} holds no key; 32 or more digits of 0 to 9 and a to f are wanted.") from None

    @classmethod
    def forgotten(cls) -> "Pseudonyms":
        """Take a key that nobody keeps: another run gives other pseudonyms."""
        return cls(secrets.token_bytes(32))

    def patient(self, identity: str) -> str:
        """Name a patient, always alike."""
        return "P" + self._digest("patient", identity)[:12]

    def visit(self, identity: str, day: date) -> date:
        """Move a date back by the days of its patient, 1 to 3650 of them."""
        days = int(self._digest("days", identity)[:12], 16) % _MOST_DAYS + 1
        return day - timedelta(days=days)

    def _digest(self, purpose: str, text: str) -> str:
        return hmac.new(self._key, f"{purpose}\n{text}".encode(), hashlib.sha256).hexdigest()


@contextmanager
def _opened(file: str | os.PathLike | BinaryIO, name: str = "", pixels: bool = False) -> Iterator[Any]:
    """Open a file with pydicom, its tags alone unless pixels are wanted; its own warnings may hold what it holds."""
    pydicom = _pydicom()
    name = name or str(file)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            dataset = pydicom.dcmread(file, stop_before_pixels=not pixels)
        except (FileNotFoundError, PermissionError):
            raise
        except Exception:
            raise PhotographError(f"{name} is a DICOM file that is truncated or damaged.") from None
    yield dataset


def _check(dataset: Any, name: str, frame: int) -> None:
    """Make sure that there are pixels of a photograph, no more than can be read."""
    kind = dataset.get("SOPClassUID", "")
    if str(kind) not in _SOP_CLASSES:
        word = getattr(kind, "name", "") or "no class"
        raise PhotographError(
            f"{name} is a DICOM file of the class {word}; ophthalmic photography or a secondary capture is wanted."
        )
    if "PixelData" not in dataset or not dataset.get("Rows") or not dataset.get("Columns"):
        raise PhotographError(f"{name} is a DICOM file without a picture.")
    check_size(int(dataset.Rows), int(dataset.Columns), name)
    frames = int(dataset.get("NumberOfFrames") or 1)
    if not 0 <= frame < frames:
        raise PhotographError(f"{name} has {frames} frames; there is no frame {frame + 1}.")


def _decode(dataset: Any, frame: int) -> np.ndarray:
    from pydicom.pixels import apply_color_lut, apply_voi_lut, pixel_array

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pixels = pixel_array(dataset, index=frame)  # luminance and chrominance become RGB here
        kind, bits = str(dataset.PhotometricInterpretation), int(dataset.BitsStored)
        if kind == "PALETTE COLOR":
            pixels, bits = apply_color_lut(pixels, dataset), int(dataset.RedPaletteColorLookupTableDescriptor[2])
        elif kind.startswith("MONOCHROME"):
            if dataset.get("PixelRepresentation") == 1:
                pixels = pixels.astype(np.int32) + 2 ** (bits - 1)
            elif "WindowWidth" in dataset or "VOILUTSequence" in dataset:
                pixels = apply_voi_lut(pixels, dataset)
            pixels = 2**bits - 1 - pixels.astype(np.float32) if kind == "MONOCHROME1" else pixels
    if bits == 8 and pixels.dtype == np.uint8:
        return pixels
    return (pixels.astype(np.float32) * (255 / (2**bits - 1))).round().clip(0, 255).astype(np.uint8)


def _date(dataset: Any) -> date | None:
    for tag in _DATES:
        digits = re.match(r"(\d{4})\.?(\d{2})\.?(\d{2})", str(dataset.get(tag) or ""))
        if digits:
            try:
                return date(*(int(part) for part in digits.groups()))
            except ValueError:
                continue
    return None


def _spacing(dataset: Any) -> tuple[float, float] | None:
    values = dataset.get("PixelSpacing")
    try:
        row, column = (float(value) for value in values or ())
    except (TypeError, ValueError):
        return None
    return (row, column) if row > 0 and column > 0 else None


def _pydicom() -> ModuleType:
    try:
        import pydicom
    except ImportError:
        raise PhotographError("Reading DICOM files needs pydicom: pip install 'retinamatch[dicom]'.") from None
    return pydicom


FORMATS.append(DicomFormat())

__all__ = ["DicomFormat", "DicomTags", "Pseudonyms", "is_dicom", "read_dicom", "read_tags", "spacing_of"]
