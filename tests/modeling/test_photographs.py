"""Every kind of picture becomes the same upright RGB array, and what cannot be read is named in one sentence."""

import contextlib
import io
import os
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from retinamatch import photographs
from retinamatch.photographs import PhotographError, PhotographWarning, photograph_name, read_photograph


@pytest.fixture
def rgb(rng):
    picture = np.add.outer(np.arange(70) * 2, np.arange(90))[..., None] + np.array([20, 0, 10])
    return np.clip(picture, 0, 255).astype(np.uint8)


@pytest.fixture
def gray(rgb):
    return np.repeat(rgb[..., 1:2], 3, 2)


def test_rgb_array_is_not_copied(rgb):
    assert read_photograph(rgb) is rgb


@pytest.mark.parametrize("as_path", [str, lambda path: path])
def test_file(rgb, tmp_path, as_path):
    Image.fromarray(rgb).save(tmp_path / "photo.png")
    np.testing.assert_array_equal(read_photograph(as_path(tmp_path / "photo.png")), rgb)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "CMYK", "YCbCr", "HSV", "P"])
def test_color_modes(rgb, mode):
    image = Image.fromarray(rgb)
    image = image.convert("P", palette=Image.Palette.ADAPTIVE) if mode == "P" else image.convert(mode)
    photo = read_photograph(image)
    assert photo.dtype == np.uint8 and photo.shape == (70, 90, 3) and photo.flags["C_CONTIGUOUS"]
    assert np.abs(photo.astype(int) - rgb).mean() < (4 if mode == "P" else 2)


@pytest.mark.parametrize(
    "mode",
    "1 L P RGB RGBA CMYK YCbCr LAB HSV I F LA PA RGBX RGBa La I;16 I;16B".split(),
)
def test_every_mode_of_pil_is_read(mode):
    assert read_photograph(Image.new(mode, (90, 70))).shape == (70, 90, 3)


def test_premultiplied_gray_is_gray_on_black(gray):
    alpha = np.broadcast_to(np.linspace(0, 255, gray.shape[1]).astype(np.uint8), gray.shape[:2])
    picture = Image.merge("LA", [Image.fromarray(gray[..., 0]), Image.fromarray(alpha)])
    found, wanted = read_photograph(picture.convert("La")), read_photograph(picture)
    assert np.abs(found.astype(int) - wanted).max() <= 3


def test_gray_modes(gray):
    level = Image.fromarray(gray[..., 0])
    for image in (level, level.convert("LA"), level.convert("P")):
        np.testing.assert_array_equal(read_photograph(image), gray)
    black_and_white = read_photograph(level.point(lambda v: 255 * (v > 100), "1"))
    np.testing.assert_array_equal(black_and_white, np.where(gray > 100, 255, 0))


def test_16_bit_files(gray, tmp_path):
    wide = gray[..., 0].astype(np.uint16) * 257
    Image.fromarray(wide).save(tmp_path / "deep.png")
    Image.fromarray(wide).save(tmp_path / "deep.tif")
    for name in ("deep.png", "deep.tif"):
        np.testing.assert_array_equal(read_photograph(tmp_path / name), gray)
    np.testing.assert_array_equal(read_photograph(Image.fromarray(wide.astype(np.int32))), gray)
    np.testing.assert_array_equal(read_photograph(Image.fromarray(gray[..., 0] / np.float32(255))), gray)


@pytest.mark.parametrize("kind", ["RGBA", "palette", "RGB with a transparent color"])
def test_transparent_places_are_black(rgb, kind, tmp_path):
    image = Image.fromarray(rgb)
    if kind == "RGBA":
        image.putalpha(Image.fromarray(np.where(np.arange(90) < 30, 0, 255)[None].repeat(70, 0).astype(np.uint8)))
        image.save(tmp_path / "a.png")
        transparent = np.broadcast_to(np.arange(90) < 30, (70, 90))
    elif kind == "palette":
        image = image.convert("P", palette=Image.Palette.ADAPTIVE)
        transparent = np.asarray(image) == 7
        image.save(tmp_path / "a.png", transparency=7)
    else:
        image.save(tmp_path / "a.png", transparency=tuple(rgb[10, 10].tolist()))
        transparent = (rgb == rgb[10, 10]).all(2)
    photo = read_photograph(tmp_path / "a.png")
    assert transparent.any() and (photo[transparent] == 0).all()
    assert np.abs(photo.astype(int) - rgb)[~transparent].mean() < 4


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
def test_exif_orientation(rgb, tmp_path, orientation, suffix):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"photo.{suffix}"
    Image.fromarray(rgb).save(path, exif=exif)
    with Image.open(path) as image:
        wanted = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    photo = read_photograph(path)
    np.testing.assert_array_equal(photo, wanted)
    assert photo.shape == ((90, 70, 3) if orientation > 4 else (70, 90, 3))
    with Image.open(path) as image:
        np.testing.assert_array_equal(read_photograph(image), wanted)


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("layout", ["last", "first"])
@pytest.mark.parametrize("dtype", ["uint8", "int64", "float32", "float64", "float16", "float gray levels", "uint16"])
def test_arrays_and_tensors(rgb, library, layout, dtype):
    scale = {"float32": 1 / 255, "float64": 1 / 255, "float16": 1 / 255, "uint16": 257}.get(dtype, 1)
    array = (rgb.astype(np.float64) * scale).astype("float32" if dtype == "float gray levels" else dtype)
    array = array if layout == "last" else np.ascontiguousarray(array.transpose(2, 0, 1))
    photo = read_photograph(torch.from_numpy(array) if library == "torch" else array)
    assert photo.dtype == np.uint8 and photo.flags["C_CONTIGUOUS"]
    np.testing.assert_array_equal(photo, rgb)


def test_gray_arrays_and_alpha(rgb, gray):
    level = gray[..., 0]
    for array in (level, level[..., None], level[None], torch.from_numpy(level), torch.from_numpy(level)[None]):
        np.testing.assert_array_equal(read_photograph(array), gray)
    alpha = np.full((70, 90, 1), 255, np.uint8)
    alpha[:5] = 0
    photo = read_photograph(np.concatenate([rgb, alpha], 2))
    assert (photo[:5] == 0).all()
    np.testing.assert_array_equal(photo[5:], rgb[5:])
    np.testing.assert_array_equal(read_photograph(level > 100), np.where(gray > 100, 255, 0))
    np.testing.assert_array_equal(read_photograph(torch.from_numpy(rgb / 255).bfloat16())[0, 0], [20, 0, 10])


def test_12_bits_are_told_from_16(gray):
    np.testing.assert_array_equal(read_photograph(np.rint(gray[..., 0] / 255 * 4095).astype(np.uint16)), gray)
    overshoot = gray[..., 0] / 255
    overshoot[0, 0], overshoot[0, 1] = 1.0005, -0.0005  # as cubic resampling leaves behind
    assert read_photograph(overshoot)[0, :2, 0].tolist() == [255, 0]


@pytest.mark.parametrize(
    "content,words",
    [
        (None, "does not exist"),
        (b"", "not an image"),
        (b"x" * 1000, "not an image"),
        ("truncated", "truncated or damaged"),
        ("small", "40 x 63 pixels; at least 64 x 64"),
        ("directory", "is a directory"),
    ],
)
def test_bad_files(rng, tmp_path, content, words):
    path = tmp_path / "bad.jpg"
    if content == "directory":
        path.mkdir()
    elif content == "small":
        Image.new("RGB", (40, 63)).save(path)
    elif content == "truncated":
        Image.fromarray(rng.integers(0, 255, (200, 300, 3), dtype=np.uint8)).save(path)
        path.write_bytes(path.read_bytes()[:9000])
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(PhotographError, match=words) as error:
        read_photograph(path)
    message = str(error.value)
    assert str(path) in message and message.endswith(".") and "\n" not in message


@pytest.mark.parametrize("suffix", ["png", "tif", "webp", "bmp", "gif", "jp2"])
def test_files_broken_anywhere_raise_one_error(rng, tmp_path, suffix):
    good, bad = tmp_path / f"good.{suffix}", tmp_path / f"bad.{suffix}"
    Image.fromarray(rng.integers(0, 255, (70, 70, 3), dtype=np.uint8)).save(good)
    data = good.read_bytes()
    for share in (0.001, 0.01, 0.1, 0.5, 0.9):
        bad.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(PhotographError, match="bad"):
            read_photograph(bad)


@pytest.mark.parametrize(
    "source,words",
    [
        (np.full((70, 70), np.nan, np.float32), "not finite"),
        (torch.full((3, 70, 70), torch.inf), "not finite"),
        (np.full((70, 70), -3, np.int32), "from -3 to -3"),
        (np.full((70, 70), 1e6), "gray levels run"),
        (np.zeros((70, 70, 2), np.uint8), r"shape \(70, 70, 2\)"),
        (np.zeros((2, 3, 70, 70), np.uint8), r"shape \(2, 3, 70, 70\)"),
        (np.zeros(70, np.uint8), r"shape \(70,\)"),
        (np.zeros((63, 900, 3), np.uint8), "900 x 63 pixels; at least 64 x 64"),
        (np.zeros((0, 0, 3), np.uint8), "0 x 0 pixels"),
        (np.zeros((70, 70), complex), "complex"),
        (np.full((70, 70), "a"), "not gray levels"),
        (torch.zeros(3, 70, 70, device="meta"), "dense tensor"),
        (torch.zeros(70, 70, device="meta"), "torch.float32 on meta"),
        (torch.rand(70, 70).to_sparse(), "torch.sparse_coo"),
        (torch.rand(3, 70, 70).to_sparse(), "dense tensor"),
        (torch.rand(70, 70, dtype=torch.complex64).conj(), "complex"),
        (42, "not int"),
        (None, "not NoneType"),
    ],
)
def test_bad_objects(source, words):
    with pytest.raises(PhotographError, match=words):
        read_photograph(source)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sizes_beyond_the_limit_of_pil(tmp_path, monkeypatch, recwarn, suffix):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2_000_000)  # far below the file: PIL alone would refuse it
    path = tmp_path / f"large.{suffix}"
    Image.new("L", (3000, 2000), 77).save(path)
    photo = read_photograph(path)
    assert photo.shape == (2000, 3000, 3) and (photo == 77).all()
    assert Image.MAX_IMAGE_PIXELS == 2_000_000 and not recwarn.list
    monkeypatch.setattr(photographs, "MAXIMUM_PIXELS", 5_000_000)
    with pytest.raises(PhotographError, match="3000 x 2000 pixels; more than 5 megapixels"):
        read_photograph(path)


DISGUISES = {
    "bytes": lambda path: path.read_bytes(),
    "bytearray": lambda path: bytearray(path.read_bytes()),
    "memoryview": lambda path: memoryview(path.read_bytes()),
    "in memory": lambda path: io.BytesIO(path.read_bytes()),
    "open file": lambda path: open(path, "rb"),
    "open without a buffer": lambda path: open(path, "rb", buffering=0),
    "row of bytes": lambda path: {"bytes": path.read_bytes(), "path": None},
    "row of a path": lambda path: {"bytes": None, "path": str(path)},
    "row of both": lambda path: {"bytes": path.read_bytes(), "path": "gone.png"},
}


@pytest.mark.parametrize("disguise", DISGUISES)
@pytest.mark.parametrize("deep", [False, True])
def test_files_that_are_not_paths(rgb, gray, tmp_path, disguise, deep):
    path = tmp_path / "photo.png"
    Image.fromarray(gray[..., 0].astype(np.uint16) * 257 if deep else rgb).save(path)
    source = DISGUISES[disguise](path)
    for _ in range(2):  # an open file can be read again
        np.testing.assert_array_equal(read_photograph(source), gray if deep else rgb)
    assert photograph_name(source) == {"row of both": "gone.png"}.get(
        disguise, "photo.png" if "open" in disguise or "path" in disguise else ""
    )


def test_names_of_photographs(rgb, tmp_path):
    Image.fromarray(rgb).save(tmp_path / "a.png")
    for source in (tmp_path / "a.png", str(tmp_path / "a.png"), Image.open(tmp_path / "a.png")):
        assert photograph_name(source) == "a.png"
    for source in (rgb, torch.from_numpy(rgb), Image.fromarray(rgb), b"", lambda: rgb, None, {"bytes": b""}):
        assert photograph_name(source) == ""


def test_a_pipe_is_read(rgb, tmp_path):
    Image.fromarray(rgb).save(tmp_path / "photo.png")
    os.mkfifo(tmp_path / "pipe")
    content = (tmp_path / "photo.png").read_bytes()
    threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(content,), daemon=True).start()
    np.testing.assert_array_equal(read_photograph(tmp_path / "pipe"), rgb)


@pytest.mark.parametrize("as_path", [str, Path])
@pytest.mark.parametrize(
    "address",
    [
        "https://example.org/eye.jpg",
        "HTTP://example.org/eye.jpg",
        "ftp://example.org/a/eye.tif",
        "s3://bucket/eye.png",
        "hf://datasets/owner/name/eye.png",
        "file:///tmp/eye.png",
        "data:image/png;base64,iVBORw0KGgo=",
    ],
)
def test_an_address_is_refused_as_an_address(address, as_path):
    with pytest.raises(PhotographError, match=r"is an address \(URL\), not a file: download"):
        read_photograph(as_path(address))


@pytest.mark.parametrize("name", ["C:/eyes/left.png", "a:b.png", "left eye.png", "https.png"])
def test_a_file_is_not_taken_for_an_address(name):
    with pytest.raises(PhotographError, match="does not exist"):
        read_photograph(name)


@pytest.mark.parametrize(
    "source,words",
    [
        (b"", "not an image"),
        (b"not a picture", "not an image"),
        ({"bytes": b"x", "path": "a.png"}, "a.png is not an image"),
        ({"bytes": None, "path": "a.png"}, "a.png does not exist"),
        ({"bytes": None, "path": None}, 'has "bytes" or a "path"'),
        ({"image": 3}, "this one has: image"),
        ({"bytes": "abc"}, "row are the bytes of a file, not str"),
        ({"bytes": [1], "path": "a.png"}, "row are the bytes of a file, not list"),
        ({"bytes": None, "path": 5}, "row is the path of a file, not int"),
        ({"path": b"a.png"}, "row is the path of a file, not bytes"),
        ({"path": "a\0b.jpg"}, "holds a null character"),
        ("a\0b.jpg", "holds a null character"),
        (Path("a") / "\0", "holds a null character"),
        ("\0", "holds a null character"),
        (io.StringIO("text"), "open as text"),
        (io.BytesIO(b"x"), "not an image"),
    ],
)
def test_bad_files_that_are_not_paths(source, words):
    with pytest.raises(PhotographError, match=words):
        read_photograph(source)


def test_closed_files(tmp_path):
    (tmp_path / "a.png").write_bytes(b"x")
    with open(tmp_path / "a.png", "rb") as closed, open(tmp_path / "b.png", "wb") as writing:
        closed.close()
        for file, name in ((closed, "a.png"), (writing, "b.png")):
            with pytest.raises(PhotographError, match=f"{name} cannot be read"):
                read_photograph(file)


def pages(shades, sizes, path, **options):
    first, *rest = (Image.new("RGB", size, (shade,) * 3) for shade, size in zip(shades, sizes))
    first.save(path, save_all=True, append_images=rest, **options)


@pytest.mark.parametrize("source", ["path", "bytes", "open file"])
@pytest.mark.parametrize("compression", [None, "tiff_lzw", "jpeg"])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (0, 2, 1)])
def test_the_largest_page_of_a_file_is_taken_and_that_is_said(tmp_path, source, compression, order):
    sizes, shades = [(20, 10), (90, 70), (300, 200)], [200, 100, 50]
    path = tmp_path / "pages.tif"
    pages([shades[i] for i in order], [sizes[i] for i in order], path, compression=compression)
    with contextlib.ExitStack() as stack:
        given = {"path": path, "bytes": path.read_bytes(), "open file": stack.enter_context(open(path, "rb"))}[source]
        words = rf"has 3 pages; the largest one is taken, page {order.index(2) + 1} of 300 x 200 pixels"
        with pytest.warns(PhotographWarning, match=words):
            photo = read_photograph(given)
    assert photo.shape == (200, 300, 3) and abs(int(photo.mean()) - 50) < 3


def test_pages_of_one_size_and_damaged_ones(tmp_path, recwarn):
    path = tmp_path / "pages.tif"
    pages([70, 80], [(90, 70)] * 2, path)
    with pytest.warns(PhotographWarning, match="2 pages; the largest one is taken, page 1"):
        assert read_photograph(path).mean() == 70
    pages([70, 80], [(90, 70), (100, 80)], path)
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.warns(PhotographWarning), pytest.raises(PhotographError, match="truncated or damaged"):
        read_photograph(path)
    recwarn.clear()
    for name in ("one.tif", "animation.gif", "animation.png", "animation.webp"):
        pages([70] if "one" in name else [70, 80], [(90, 70)] * 2, tmp_path / name)
        assert abs(read_photograph(tmp_path / name).mean() - 70) < 2
    assert not [warning for warning in recwarn if warning.category is PhotographWarning]
