"""SimpleITK, given what we write, resamples as we do."""

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from retinamatch import cli
from retinamatch.itk import RECORD, Spacing, write_itk
from retinamatch.transfer import LocatedTransform
from retinamatch.transforms import TRANSFORMS
from tests.modeling.test_transfer import fitted


sitk = pytest.importorskip("SimpleITK")


def resampled(folder, name, slices=False):
    """Resample `moving.mha` onto `fixed.mha` with what a file of the folder holds."""
    moving, fixed = (
        sitk.ReadImage(str(folder / f"{which}.mha"), sitk.sitkVectorFloat32) for which in ("moving", "fixed")
    )
    path = str(folder / name)
    if name.endswith(".tfm"):
        transform = sitk.ReadTransform(path)
    else:
        transform = sitk.DisplacementFieldTransform(sitk.ReadImage(path, sitk.sitkVectorFloat64))
    drawn = sitk.GetArrayFromImage(sitk.Resample(moving, fixed, transform, sitk.sitkLinear, 0.0))
    return drawn[0] if slices else drawn


@pytest.mark.parametrize("slices", [False, True])
@pytest.mark.parametrize("name", TRANSFORMS)
def test_itk_resamples_as_we_do(name, slices, rng, visits, tmp_path):
    moving, fixed = visits.moving.image, visits.fixed.image[:500, :470]
    located = LocatedTransform(fitted(TRANSFORMS[name], rng)[0], moving.shape[:2], fixed.shape[:2])
    spacings = Spacing(0.011, 0.0125), Spacing(0.02, 0.017)
    written = write_itk(
        located, tmp_path, moving, fixed, *spacings, suffix=".nii.gz" if slices else ".mha", slices=slices
    )
    files = {path.name for path in written} - {RECORD}
    assert ("transform.tfm" in files) == (name in ("similarity", "affine"))
    ours = located.transform.warp(moving.astype(np.float32), fixed.shape[:2])
    # A pixel inside: at the very rim ITK cuts off where we fade.
    inner = located.transform.warp(np.pad(np.ones((508, 508), np.float32), 2), fixed.shape[:2]) == 1
    for file in files - {"moving.mha", "fixed.mha"}:
        assert np.abs(resampled(tmp_path, file, slices) - ours)[inner].max() < 1.0, file
    assert sitk.ReadImage(str(tmp_path / "fixed.mha")).GetSpacing()[:2] == pytest.approx((0.017, 0.02))


def test_upright_copies_go_along(tmp_path, visits, rng):
    """A JPEG of 72 dpi that lies on its side."""
    image = Image.fromarray(visits.moving.image[:, :400].copy())
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "side.jpg", dpi=(72, 72), exif=exif)
    transform = fitted(TRANSFORMS["affine"], rng)[0]
    record = {
        "transform": transform.to_dict(),
        "moving": {"height": 400, "width": 512},
        "fixed": {"height": 90, "width": 80},
    }
    (tmp_path / "registration.json").write_text(str(record).replace("'", '"'))
    words = ["itk", tmp_path / "registration.json", "--moving", tmp_path / "side.jpg", "--out", tmp_path / "itk"]
    done = CliRunner().invoke(cli.app, [*map(str, words), "--moving-spacing", "0.5", "0.25"])
    assert done.exit_code == 0, done.output
    copy = sitk.ReadImage(str(tmp_path / "itk" / "moving.mha"))
    assert copy.GetSize() == (512, 400) and copy.GetSpacing() == (0.25, 0.5)


def test_a_photograph_of_another_size_is_refused(tmp_path, visits, rng):
    located = LocatedTransform(fitted(TRANSFORMS["affine"], rng)[0], (512, 512), (300, 300))
    with pytest.raises(ValueError, match="fixed photograph has 512 x 512"):
        write_itk(located, tmp_path, fixed=visits.fixed.image)


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), -float("inf"), 1e-7, 1e300])
@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("name", ["moving", "fixed"])
def test_a_spacing_is_finite_and_greater_than_zero(tmp_path, value, which, name):
    spacing = [0.01, 0.01]
    spacing[which] = value
    with pytest.raises(ValueError, match=r"A spacing is two numbers .* got"):
        Spacing(*spacing)
    words = ["itk", tmp_path / "registration.json", "--out", tmp_path / "itk", f"--{name}-spacing", *spacing]
    done = CliRunner().invoke(cli.app, list(map(str, words)))
    assert done.exit_code == 2 and len(done.stderr.splitlines()) == 1 and "A spacing is two numbers" in done.stderr
    assert not (tmp_path / "itk").exists()


@pytest.mark.parametrize("first, second", [("affine", "quadratic"), ("quadratic", "affine"), ("similarity", "cubic")])
@pytest.mark.parametrize("suffixes", [(".mha", ".mha"), (".nii.gz", ".mha"), (".mha", ".nii.gz")])
def test_nothing_of_an_earlier_run_stays(tmp_path, visits, rng, first, second, suffixes):
    (tmp_path / "fixed.mha").write_text("of somebody else")
    for name, suffix, photograph in zip((first, second), suffixes, (visits.moving.image, None)):
        located = LocatedTransform(fitted(TRANSFORMS[name], rng)[0], (512, 512), (300, 300))
        written = write_itk(located, tmp_path, photograph, suffix=suffix)
        assert {path.name for path in tmp_path.iterdir()} == {path.name for path in written} | {"fixed.mha"}
    assert (tmp_path / "fixed.mha").read_text() == "of somebody else"
