"""DICOM files that the tests write from rendered photographs: read like the photographs, and nothing of a patient."""

import io
import json
import os
import sys
import warnings
from datetime import date

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from retinamatch import cli
from retinamatch.dicom import Pseudonyms, is_dicom, read_tags, spacing_of
from retinamatch.photographs import PhotographError, PhotographWarning, photograph_name, read_photograph
from retinamatch.registrar import Registrar
from retinamatch.study import plan_from_dicom, run_study
from tests.modeling.study.conftest import in_this_process, settings  # noqa: F401


pydicom = pytest.importorskip("pydicom")
pandas = pytest.importorskip("pandas")
uid = pytest.importorskip("pydicom.uid")
NAME, NUMBER = "Doelingberger^Quillfeather", "QX-77123"
SECRETS = ("doelingberger", "quillfeather", "qx-77123", "19441231", "hospital nowhere", "1.2.826.0.1.3680043.8.498.77")
COLOR, DEEP, WIDE = (f"1.2.840.10008.5.1.4.1.1.77.1.5.{number}" for number in (1, 2, 5))
CAPTURE, OCT = "1.2.840.10008.5.1.4.1.1.7", "1.2.840.10008.5.1.4.1.1.77.1.5.4"


def dataset(pixels, kind="RGB", sop=COLOR, bits=8, patient=(NAME, NUMBER), day="20210305", eye="R", **more):
    """A DICOM file in memory, uncompressed."""
    meta = pydicom.dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = sop, uid.ExplicitVRLittleEndian
    meta.MediaStorageSOPInstanceUID = SECRETS[-1]
    made = pydicom.Dataset()
    made.file_meta, made.SOPClassUID, made.SOPInstanceUID = meta, sop, SECRETS[-1]
    made.PatientName, made.PatientID, made.PatientBirthDate = *patient, "19441231"
    made.InstitutionName, made.StudyDate, made.ImageLaterality = "Hospital Nowhere", day, eye
    made.add_new((0x0009, 0x0010), "LO", "MAKER"), made.add_new((0x0009, 0x1001), "LO", NAME)
    made.Rows, made.Columns = pixels.shape[-3:-1] if kind in ("RGB", "YBR_FULL") else pixels.shape[-2:]
    made.SamplesPerPixel, made.PhotometricInterpretation = (3 if kind in ("RGB", "YBR_FULL") else 1), kind
    made.BitsAllocated, made.BitsStored, made.HighBit = 8 if bits == 8 else 16, bits, bits - 1
    made.PixelRepresentation, made.PixelSpacing = 0, [0.012, 0.01]
    if made.SamplesPerPixel == 3:
        made.PlanarConfiguration = 0
    made.PixelData = np.ascontiguousarray(pixels).tobytes()
    for name, value in more.items():
        setattr(made, name, value)
    return made


def save(made, path):
    made.save_as(path, enforce_file_format=True)
    return path


def encapsulated(photograph, form, syntax, kind, **options):
    """A file whose pixels Pillow compressed."""
    stream = io.BytesIO()
    Image.fromarray(photograph).save(stream, form, **options)
    made = dataset(photograph, kind="RGB")
    made.PhotometricInterpretation, made.file_meta.TransferSyntaxUID = kind, syntax
    made.PixelData = pydicom.encaps.encapsulate([stream.getvalue()])
    made["PixelData"].VR = "OB"
    return made


def mpeg(made):
    made.file_meta.TransferSyntaxUID = uid.MPEG2MPML
    made.PixelData = pydicom.encaps.encapsulate([b"no film"])
    made["PixelData"].VR = "OB"


def palette(photograph):
    quantized = Image.fromarray(photograph).quantize(256)
    colors = np.array(quantized.getpalette(), np.uint16).reshape(-1, 3) * 257
    made = dataset(np.asarray(quantized), "PALETTE COLOR", CAPTURE)
    for name, channel in zip(("Red", "Green", "Blue"), colors.T):
        setattr(made, f"{name}PaletteColorLookupTableDescriptor", [len(colors), 0, 16])
        setattr(made, f"{name}PaletteColorLookupTableData", channel.tobytes())
    return made


def luminance(photograph):
    return np.asarray(Image.fromarray(photograph).convert("YCbCr"))


CASES = {
    "color": (lambda photo: dataset(photo), 0, 0),
    "wide field, of several frames the first": (
        lambda photo: dataset(np.stack([photo, photo * 0]), sop=WIDE, NumberOfFrames=2),
        0,
        0,
    ),
    "gray": (lambda photo: dataset(photo[..., 1], "MONOCHROME2"), 1, 0),
    "gray of 12 bit": (lambda photo: dataset(photo[..., 1].astype(np.uint16) * 16, "MONOCHROME2", DEEP, 12), 1, 1),
    "gray of 16 bit, white is 0": (
        lambda photo: dataset(65535 - photo[..., 1].astype(np.uint16) * 257, "MONOCHROME1", DEEP, 16),
        1,
        0,
    ),
    "luminance and chrominance": (lambda photo: dataset(luminance(photo), "YBR_FULL"), 0, 3),
    "a palette": (palette, 0, 40),
    "JPEG": (lambda photo: encapsulated(photo, "JPEG", uid.JPEGBaseline8Bit, "YBR_FULL_422", quality=95), 0, 40),
    "JPEG 2000": (lambda photo: encapsulated(photo, "JPEG2000", uid.JPEG2000Lossless, "YBR_RCT", mct=1), 0, 0),
}


@pytest.mark.parametrize("case", CASES)
def test_read_like_the_photograph(case, visits, tmp_path):
    photo = visits.fixed.image[:300, :410]
    make, gray, tolerance = CASES[case]
    path = save(make(photo), tmp_path / "file.dcm")
    wanted = np.repeat(photo[..., 1:2], 3, axis=2) if gray else photo
    for source in (path, path.read_bytes(), {"bytes": path.read_bytes(), "path": None}):
        read = read_photograph(source)
        assert read.shape == photo.shape and read.dtype == np.uint8
        assert np.abs(read.astype(int) - wanted).max() <= tolerance


@pytest.mark.parametrize("name", ["JPEGLosslessProcess14_1", "JPEGLSLossless", "RLELossless"])
def test_lossless_ways_of_compression(name, visits, tmp_path):
    gdcm = pytest.importorskip("gdcm")
    photo = visits.fixed.image[:300, :410]
    source, path = save(dataset(photo), tmp_path / "plain.dcm"), tmp_path / "file.dcm"
    reader = gdcm.ImageReader()
    reader.SetFileName(str(source))
    assert reader.Read()
    change, writer = gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
    change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, name)))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer.SetFileName(str(path)), writer.SetFile(reader.GetFile()), writer.SetImage(change.GetOutput())
    assert writer.Write()
    assert np.array_equal(read_photograph(path), photo)


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda made: setattr(made, "SOPClassUID", OCT), "Tomography"),
        (lambda made: delattr(made, "PixelData"), "without a picture"),
        (lambda made: setattr(made, "Rows", 30), "410 x 30"),
        (mpeg, "MPEG2"),
        (lambda made: setattr(made, "PixelData", b"ab"), "Explicit VR Little Endian"),
    ],
)
def test_what_cannot_be_read_is_one_sentence_without_the_patient(change, words, visits, tmp_path):
    made = dataset(visits.fixed.image[:300, :410])
    change(made)
    path = save(made, tmp_path / "file.dcm")
    with pytest.raises(PhotographError, match=words) as caught:
        read_photograph(path)
    assert not any(secret in str(caught.value).lower() for secret in SECRETS) and caught.value.__cause__ is None


def test_tags(visits, tmp_path):
    photo = visits.fixed.image[:300, :410]
    made = dataset(photo, AcquisitionDateTime="20200229101112.5", HorizontalFieldOfView=45.0, BurnedInAnnotation="YES")
    path = save(made, tmp_path / "file")
    tags = read_tags(path)
    assert is_dicom(path) and tags.eye == "right" and tags.date.isoformat() == "2020-02-29"
    assert tags.spacing == spacing_of(path) == (0.012, 0.01) and tags.field_angle == 45 and tags.is_photograph
    with pytest.warns(PhotographWarning, match="burnt in"):
        read_photograph(path)
    later = save(dataset(photo, ImageLaterality="", Laterality="L", StudyDate="20220101", ContentDate="20210101"), path)
    assert read_tags(later).eye == "left" and read_tags(later).date.isoformat() == "2021-01-01"


def test_pseudonyms_need_the_key_and_keep_intervals(tmp_path):
    one, again = (Pseudonyms.from_file(tmp_path / "key") for _ in range(2))
    other = Pseudonyms.forgotten()
    assert one.patient(NUMBER) == again.patient(NUMBER) != other.patient(NUMBER) and one.patient("x") != one.patient(
        "y"
    )
    first, second = (one.visit(NUMBER, date(2020, month, 1)) for month in (2, 3))
    assert (second - first).days == 29 and first < date(2020, 2, 1)
    assert os.stat(tmp_path / "key").st_mode & 0o077 == 0
    (tmp_path / "key").write_text("hello")
    with pytest.raises(ValueError, match="holds no key"):
        Pseudonyms.from_file(tmp_path / "key")


def test_names_of_files_that_hold_names_are_hidden(visits, tmp_path):
    photo = visits.fixed.image[:300, :410]
    hidden, shown = save(dataset(photo), tmp_path / "QUILLFEATHER_1.dcm"), save(dataset(photo), tmp_path / "a1.dcm")
    assert photograph_name(shown) == "a1.dcm" and photograph_name(hidden).startswith("photograph-")


@pytest.fixture(scope="module")
def archive(visits, other_eye, tmp_path_factory):
    """Two patients: one with two visits of one eye, and one of the other eye; file names that hold names."""
    folder = tmp_path_factory.mktemp("archive")
    for number, (photo, day, eye, patient) in enumerate(
        [
            (visits.fixed.image, "20210305", "R", (NAME, NUMBER)),
            (visits.moving.image, "20210405", "R", (NAME, NUMBER)),
            (other_eye, "20210405", "L", (NAME, NUMBER)),
            (other_eye, "20210406", "L", ("Other^Name", "8")),
        ]
    ):
        (folder / patient[0]).mkdir(exist_ok=True)
        save(dataset(photo, day=day, eye=eye, patient=patient), folder / patient[0] / f"{patient[0]}_{number}.dcm")
    (folder / "readme.txt").write_text("no photograph")
    return folder


def everything_in(folder):
    for place, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(place, name)
            yield os.path.relpath(path, folder).encode() + b"\n" + open(path, "rb").read()


def test_a_study_of_dicom_files(archive, settings, tmp_path, visits):  # noqa: F811
    words = ["study", "plan", archive, "--dicom", "--key", tmp_path / "key", "--out", tmp_path / "study.csv"]
    planned = CliRunner().invoke(cli.app, list(map(str, words)))
    assert planned.exit_code == 0 and "4 photographs of 3 eyes" in planned.stdout, planned.output
    study = run_study(tmp_path / "study.csv", tmp_path / "out", settings, engine=in_this_process, images=True)
    rows = pandas.read_parquet(tmp_path / "out" / "registrations.parquet")
    assert study.all_registered and len(rows) == 1 and rows.days[0] == 31 and rows.eye[0] == "right"
    plain = Registrar("rootsift", "quadratic", effort="fast").register(visits.moving.image, visits.fixed.image)
    assert rows.residual_px[0] == pytest.approx(plain.residual)
    assert 0.01 * rows.residual_px[0] < rows.residual_mm[0] < 0.012 * rows.residual_px[0] * 1.2
    text = b"".join(everything_in(tmp_path / "out")) + planned.output.encode()
    assert len(text) > 10_000 and not [secret for secret in SECRETS if secret.encode() in text.lower()]


def test_register_and_series_of_dicom_files(archive, tmp_path, visits):
    paths = sorted(archive.rglob("*Quill*.dcm"))
    with warnings.catch_warnings(record=True) as warned:
        done = CliRunner().invoke(
            cli.app, ["register", *map(str, (paths[1], paths[0])), "--out", str(tmp_path / "a"), "--model", "rootsift"]
        )
        words = [
            "series",
            str(paths[0].parent),
            "--out",
            str(tmp_path / "b"),
            "--model",
            "rootsift",
            "--effort",
            "fast",
        ]
        series = CliRunner().invoke(cli.app, words)
    record = json.loads((tmp_path / "a" / "registration.json").read_text())
    assert done.exit_code == 0 and record["fixed_spacing_mm"] == [0.012, 0.01] and 0 < record["residual_mm"] < 0.05
    assert series.exit_code == 0 and not warned, series.output
    text = b"".join(everything_in(tmp_path)) + series.stderr.encode() + done.stderr.encode()
    assert not [secret for secret in SECRETS if secret.encode() in text.lower()]
    visits = json.loads((tmp_path / "b" / "series.json").read_text())["visits"]
    assert [visit["status"] for visit in visits] == ["fixed", "registered", "no reliable match"]


def test_without_the_extra_it_says_what_to_install(visits, tmp_path, monkeypatch):
    path = save(dataset(visits.fixed.image[:300, :410]), tmp_path / "file.dcm")
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(PhotographError, match=r"retinamatch\[dicom\]"):
        read_photograph(path)


def test_a_folder_without_photographs_says_so(tmp_path):
    (tmp_path / "x.txt").write_text("x")
    with pytest.raises(ValueError, match="no DICOM photograph"):
        plan_from_dicom(tmp_path, Pseudonyms.forgotten())
