"""The Parquet form: what goes in comes out, and a build that fails leaves the former one whole."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datasets_scripts.parquet import (
    SCHEMA,
    LabelledPhotograph,
    ParquetError,
    decode,
    encode,
    read_split,
    write_splits,
)


def photograph(number=0, labelled=True, size=(40, 48)):
    generator = np.random.default_rng(number)
    return LabelledPhotograph(
        name=f"photograph_{number}",
        image=generator.integers(0, 256, (*size, 3), dtype=np.uint8),
        mask=generator.random(size) > 0.5,
        keypoints=generator.random((number % 4, 2)) * 39 if labelled else None,
        types=generator.integers(0, 2, number % 4).astype(np.int8) if labelled else None,
        source="drawn",
        patient=f"{number:02d}",
        eye="left",
        licence="Apache-2.0",
    )


@pytest.mark.parametrize("number, labelled", [(3, True), (0, True), (1, False)])
def test_a_row_keeps_everything(number, labelled):
    before = photograph(number, labelled)
    after = decode(encode(before, jpeg_quality=None))
    assert np.array_equal(after.image, before.image)
    assert np.array_equal(after.mask, before.mask)
    if labelled:
        assert after.keypoints.shape == (number, 2)
        assert np.allclose(after.keypoints, before.keypoints, atol=1e-5)
        assert np.array_equal(after.types, before.types)
    else:
        # "Not labelled" and "labelled, without any keypoint" are two things.
        assert after.keypoints is None and after.types is None
    for name in ("name", "source", "patient", "eye", "licence"):
        assert getattr(after, name) == getattr(before, name)


def test_jpeg_keeps_the_colours_of_thin_vessels():
    red_line = np.full((48, 48, 3), 200, dtype=np.uint8)
    red_line[:, 24] = (200, 60, 40)
    one = photograph(0, size=(48, 48))
    one.image = red_line
    row = encode(one)
    assert row["image"]["bytes"][:2] == b"\xff\xd8" and row["image"]["path"] == "photograph_0.jpg"
    # With the usual halved colour planes the line would differ by more than 60.
    assert np.abs(decode(row).image.astype(int) - red_line).max() < 30


@pytest.mark.parametrize("place", [(-1.0, 5.0), (47.6, 5.0), (5.0, 39.6), (np.nan, 5.0)])
def test_keypoint_outside_is_refused(place):
    one = photograph(1)
    one.keypoints = np.array([place])
    with pytest.raises(ParquetError, match="drawn/photograph_1: a keypoint lies outside the 48 x 40 canvas"):
        encode(one)


def test_keypoints_without_types_are_refused():
    one = photograph(2)
    one.types = None
    with pytest.raises(ParquetError, match="differ in number"):
        encode(one)


def test_splits_shards_and_pyarrow_alone(tmp_path):
    rows = [encode(photograph(number)) for number in range(5)]
    counts = write_splits(tmp_path / "pack", {"train": iter(rows), "validation": iter([])}, rows_per_file=2)
    assert counts == {"train": 5, "validation": 0}
    names = sorted(path.name for path in (tmp_path / "pack").iterdir())
    assert names == [f"train-{number:05d}-of-00003.parquet" for number in range(3)]
    table = pa.concat_tables(pq.read_table(tmp_path / "pack" / name) for name in names)
    assert table.schema.equals(SCHEMA)
    assert table["patient"].to_pylist() == [f"{number:02d}" for number in range(5)]
    assert [one.patient for one in read_split(tmp_path / "pack", "train")] == table["patient"].to_pylist()


def test_same_rows_same_bytes(tmp_path):
    for name in ("one", "two"):
        write_splits(tmp_path / name, {"train": (encode(photograph(number)) for number in range(20))})
    one, two = (next((tmp_path / name).iterdir()).read_bytes() for name in ("one", "two"))
    assert one == two


def test_failing_build_leaves_the_former_one(tmp_path):
    folder = tmp_path / "pack"
    write_splits(folder, {"train": [encode(photograph(1))]})
    before = next(folder.iterdir()).read_bytes()

    def rows():
        yield encode(photograph(2))
        raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space left"):
        write_splits(folder, {"train": rows()})
    assert next(folder.iterdir()).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["pack"]


def test_build_after_a_kill_between_the_renames(tmp_path):
    folder = tmp_path / "pack"
    write_splits(folder, {"train": [encode(photograph(1))]})
    folder.rename(tmp_path / ".pack.former")
    (tmp_path / ".pack.building").mkdir()
    (tmp_path / ".pack.building" / "train-00000").write_bytes(b"half")

    def rows():
        # The former build is back in place while the new one is written.
        assert [one.patient for one in read_split(folder, "train")] == ["01"]
        yield encode(photograph(2))

    write_splits(folder, {"train": rows()})
    assert [one.patient for one in read_split(folder, "train")] == ["02"]
    assert [path.name for path in tmp_path.iterdir()] == ["pack"]


def test_a_folder_with_other_files_is_not_replaced(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ParquetError, match="holds files that no build has written"):
        write_splits(tmp_path, {"train": []})
    assert (tmp_path / "thesis.tex").read_text() == "years of work"
    with pytest.raises(ParquetError, match="is a file"):
        write_splits(tmp_path / "thesis.tex", {"train": []})


def test_errors_of_reading(tmp_path):
    with pytest.raises(ParquetError, match="has no file train-"):
        next(read_split(tmp_path, "train"))
    (tmp_path / "train-00000-of-00001.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(ParquetError, match="is not a whole Parquet file"):
        next(read_split(tmp_path, "train"))
    pq.write_table(pa.table({"image": [1]}), tmp_path / "train-00000-of-00001.parquet")
    with pytest.raises(ParquetError, match="lacks the column 'eye'"):
        next(read_split(tmp_path, "train"))
    with pytest.raises(ParquetError, match="Unknown split 'test'"):
        write_splits(tmp_path / "pack", {"test": []})
