"""Every data set is read as its provider hands it out; what is amiss gives one sentence with what is expected."""

import gzip
import hashlib
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from datasets_scripts.sources import (
    SOURCES,
    SourceError,
    find_source,
    locate,
    open_image,
    patients,
    plain_folder,
    verify,
)


SIZE = (96, 80)


def write(root, *names, size=SIZE):
    """Small images under these names; `.txt`, `.json` and `.csv` files are written as text."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix in (".txt", ".json", ".csv"):
            path.write_text("0.5 0.5\n")
        elif path.suffix == ".gz":
            plain = path.with_name(path.name[:-3])
            write(root, plain.relative_to(root))
            path.write_bytes(gzip.compress(plain.read_bytes()))
            plain.unlink()
        else:
            bilevel = path.suffix == ".gif" or "1stHO" in path.name
            gray = bilevel or path.suffix == ".pgm"
            picture = Image.new("L" if gray else "RGB", size)
            (picture.convert("1") if bilevel else picture).save(path)
    return root


def listing(source, folder):
    rows = find_source(source).photographs(folder) if isinstance(source, str) else source.photographs(folder)
    return [
        (one.name, one.patient, one.eye, one.vessels and one.vessels.relative_to(folder).as_posix()) for one in rows
    ]


HRF = ["images/01_dr.JPG", "images/01_h.jpg", "manual1/01_dr.tif", "manual1/01_h.tif", "mask/01_h_mask.tif"]
CHASE = ["Image_01L.jpg", "Image_01L_1stHO.png", "Image_01L_2ndHO.png", "Image_01R.jpg", "Image_01R_1stHO.png"]
LES_AV = ["images/111.png", "images/12.png", "vessel-segmentations/111.png", "vessel-segmentations/12.png"]
DRIVE = ["training/images/21_training.tif", "training/1st_manual/21_manual1.gif", "test/images/01_test.tif"]
STARE = ["stare-images/im0001.ppm.gz", "labels-ah/im0001.ah.ppm.gz", "labels-ah/im0001.vk.ppm.gz"]
FIRE = ["Images/P01_1.jpg", "Images/P01_2.jpg", "Ground Truth/control_points_P01_1_2.txt"]
RIDB = ["P01/IM000001_1.jpg", "P01/IM000002_1.jpg", "P12/IM000001_12.jpg"]
SRAHIM = ["DR and maculopathy 10 classes/1 - No DR/Patient012_L.jpg", "DR/2 - Mild/Patient254-R.jpg"]
LAB = ["ImageData/vistel0_left_0.jpg", "ImageData/vistel0_right_1.jpg", "Annotations/vistel0_left_0.txt"]
MEDAL = [
    "Self-Supervision Data/a/1.png",
    "Self-Supervision Data/b/1.png",
    "Auxiliary Data/1.png",
    "Super Retina Training Data/ImageData/1.jpg",
    "Super Retina Training Data/Annotations/1.txt",
]
PLAIN = ["images/a.jpg", "images/b.png", "vessels/a.png", "annotations/b.json"]


@pytest.mark.parametrize(
    "source, names, wanted",
    [
        ("hrf", HRF, [("01_dr", "01_dr", "", "manual1/01_dr.tif"), ("01_h", "01_h", "", "manual1/01_h.tif")]),
        (
            "hrf",
            ["healthy/01_h.jpg", "healthy_manualsegm/01_h.tif"],
            [("01_h", "01_h", "", "healthy_manualsegm/01_h.tif")],
        ),
        ("hrf", ["images/01_g.jpg", "vessels/01_g.png"], [("01_g", "01_g", "", "vessels/01_g.png")]),
        (
            "chase_db1",
            CHASE,
            [
                ("Image_01L", "01", "left", "Image_01L_1stHO.png"),
                ("Image_01R", "01", "right", "Image_01R_1stHO.png"),
            ],
        ),
        (
            "chase_db1",
            ["images/Image_02R.jpg", "vessels/Image_02R.png"],
            [("Image_02R", "02", "right", "vessels/Image_02R.png")],
        ),
        (
            "les_av",
            LES_AV,
            [("111", "111", "", "vessel-segmentations/111.png"), ("12", "12", "", "vessel-segmentations/12.png")],
        ),
        ("les_av", ["LES-AV/images/9.png", "LES-AV/vessels/9.png"], [("9", "9", "", "LES-AV/vessels/9.png")]),
        (
            "drive",
            DRIVE,
            [("01_test", "01", "", None), ("21_training", "21", "", "training/1st_manual/21_manual1.gif")],
        ),
        (
            "drive",
            ["test/images/01_test.tif", "test/1st_manual/01_manual1.gif"],
            [("01_test", "01", "", "test/1st_manual/01_manual1.gif")],
        ),
        ("stare", STARE[:2], [("im0001", "im0001", "", "labels-ah/im0001.ah.ppm.gz")]),
        ("stare", ["im0001.ppm", "im0001.ah.ppm", "im0001.vk.ppm"], [("im0001", "im0001", "", "im0001.ah.ppm")]),
        ("fire", FIRE, [("P01_1", "P01", "", None), ("P01_2", "P01", "", None)]),
        (
            "ridb",
            RIDB,
            [("IM000001_1", "P01", "", None), ("IM000001_12", "P12", "", None), ("IM000002_1", "P01", "", None)],
        ),
        ("ridb", ["IM000001_3.JPG"], [("IM000001_3", "P03", "", None)]),
        ("srahim_dr", SRAHIM, [("Patient012_L", "012", "left", None), ("Patient254-R", "254", "right", None)]),
        (
            "superretina_lab",
            LAB,
            [("vistel0_left_0", "vistel0", "left", None), ("vistel0_right_1", "vistel0", "right", None)],
        ),
        (
            "superretina_lab",
            [f"Lab/{LAB[0]}", "Auxiliary/x.png"],
            [("vistel0_left_0", "vistel0", "left", None), ("x", "x", "", None)],
        ),
        (
            "medal_retina",
            MEDAL,
            [
                (name, name, "", None)
                for name in ("auxiliary_1", "labeled_1", "self_supervision_a_1", "self_supervision_b_1")
            ],
        ),
        (plain_folder("mine"), PLAIN, [("a", "a", "", "vessels/a.png"), ("b", "b", "", None)]),
        (plain_folder("mine"), ["b.jpg", "a.webp"], [("a", "a", "", None), ("b", "b", "", None)]),
    ],
)
def test_layouts(tmp_path, source, names, wanted):
    assert listing(source, write(tmp_path, *names)) == wanted


def test_varia_needs_to_know_who_is_who(tmp_path):
    write(tmp_path, *(f"Images/R00{number}.pgm" for number in range(1, 5)))
    (tmp_path / "pair_index.txt").write_text("R003.pgm, R001.pgm, 1\nR001.pgm, R002.pgm, 0\nR004.pgm, R003.pgm, 1\n")
    assert [row[1] for row in listing("varia", tmp_path)] == ["R001", "R002", "R001", "R001"]
    write(tmp_path / "other", "Images/ann/1a.pgm", "Images/bob/1b.pgm")
    assert [row[:2] for row in listing("varia", tmp_path / "other")] == [("1a", "ann"), ("1b", "bob")]


def test_annotations_and_terms_of_labels(tmp_path):
    medal = find_source("medal_retina").photographs(write(tmp_path / "medal", *MEDAL))
    assert [one.annotation is not None for one in medal] == [False, True, False, False]
    assert not any(one.labels_redistributable for one in medal)
    assert find_source("medal_retina").may_contain == ("fire",)

    provided = find_source("hrf").photographs(write(tmp_path / "hrf", *HRF))
    derived = find_source("hrf").photographs(write(tmp_path / "half", "images/01_g.jpg", "vessels/01_g.png"))
    assert all(one.labels_redistributable and one.label_license == "CC-BY-4.0" for one in provided)
    assert not derived[0].labels_redistributable and "terms not found" in derived[0].label_license

    own = plain_folder("mine", "CC0-1.0", redistributable=True)
    a, b = own.photographs(write(tmp_path / "own", *PLAIN))
    assert a.labels_redistributable and a.label_license == "CC0-1.0" and a.source == "mine"
    assert b.annotation.name == "b.json"


def test_patients_of_a_plain_folder(tmp_path):
    write(tmp_path, "images/a.jpg", "images/b.jpg", "images/c.jpg")
    (tmp_path / "patients.csv").write_text("file,patient,eye\na.jpg,ann,left\nb.jpg,ann,R\nc,bob,\n")
    found = plain_folder("mine").photographs(tmp_path)
    assert [(one.patient, one.eye) for one in found] == [("ann", "left"), ("ann", "right"), ("bob", "")]
    assert patients(found) == ["ann", "bob"]


def test_packed_images_can_be_read(tmp_path):
    found = find_source("stare").photographs(write(tmp_path, *STARE[:2]))
    with open_image(found[0].path) as image:
        assert np.asarray(image.convert("RGB")).shape == (80, 96, 3)


def test_every_source_says_where_it_is_from_and_what_may_be_done():
    for name, source in SOURCES.items():
        assert name == source.name and source.url.startswith("http") and source.terms.endswith(".")
        assert source.citation.startswith("@") and source.citation.count("{") == source.citation.count("}")
        assert source.use in ("training", "evaluation", "identity")
        assert source.use == "training" or not source.redistributable
        for checksum in source.checksums.values():
            method, _, digest = checksum.partition(":")
            assert len(digest) == {"sha256": 64, "md5": 32}[method] and int(digest, 16)
    assert {name for name, source in SOURCES.items() if source.use != "training"} == {"fire", "varia", "ridb"}
    assert {name for name, source in SOURCES.items() if source.redistributable} == {"hrf", "chase_db1"}
    with pytest.raises(SourceError, match="'nothing' is not a known source; known are chase_db1, drive, fire"):
        find_source("nothing")


def test_locate_takes_capitals_and_both_folders_of_the_shared_data(tmp_path):
    for name in ("DRIVE", "fundus/Les-AV", "registration/fire_dev", "registration/FIRE", "something"):
        (tmp_path / name).mkdir(parents=True)
    found = {name: path.relative_to(tmp_path).as_posix() for name, path in locate(tmp_path).items()}
    assert found == {"drive": "DRIVE", "les_av": "fundus/Les-AV", "fire": "registration/FIRE"}
    with pytest.raises(SourceError, match="is not a folder"):
        locate(tmp_path / "nowhere")


def test_checksums(tmp_path):
    source = replace(
        find_source("chase_db1"), checksums={"a.zip": f"md5:{hashlib.md5(b'x').hexdigest()}", "b.zip": "sha256:00"}
    )
    (tmp_path / "a.zip").write_bytes(b"x")
    assert verify(source, tmp_path) == ["a.zip"]
    (tmp_path / "b.zip").write_bytes(b"cut")
    with pytest.raises(SourceError, match=r"b\.zip has the sha256 .*download it again\."):
        verify(source, tmp_path)


def rename(old, new):
    return lambda root: (root / old).rename(root / new)


def drop(name):
    return lambda root: (root / name).unlink()


def say(name, text):
    return lambda root: (root / name).write_text(text)


def spoil_bytes(name):
    def spoil(root):
        packed = (root / name).read_bytes()
        (root / name).write_bytes(packed[:30] + b"\xff" * 20 + packed[50:])

    return spoil


def index(*lines):
    return lambda root: [
        write(root, "Images/R001.pgm", "Images/R002.pgm"),
        say("pair_index.txt", "\n".join(lines))(root),
    ]


@pytest.mark.parametrize(
    "source, names, spoil, sentence",
    [
        ("hrf", [], lambda root: None, r"has no folder images; expected: images/01_h\.jpg with manual1"),
        ("hrf", HRF[:1], lambda root: None, "has no folder manual1 or vessels"),
        ("hrf", HRF, drop("manual1/01_h.tif"), r"the vessel map 01_h of .*01_h\.jpg is missing in .*manual1"),
        ("hrf", HRF, drop("images/01_h.jpg"), r"the vessel map .*01_h\.tif belongs to no image"),
        ("hrf", HRF, rename("manual1/01_h.tif", "manual1/01_h.doc"), "the vessel map 01_h of"),
        ("hrf", HRF, say("images/01_h.jpg", "no image"), r"01_h\.jpg is damaged or no image"),
        ("hrf", HRF, say("manual1/01_h.tif", ""), r"01_h\.tif is damaged or no image"),
        ("hrf", HRF, lambda root: write(root, "images/01_h.png"), "have one name, 01_h"),
        ("hrf", HRF, lambda root: write(root, "images/x.jpg", "manual1/x.tif"), r"x\.jpg is not named .* such as 01_h"),
        (
            "hrf",
            HRF,
            lambda root: write(root, "manual1/01_h.tif", size=(10, 20)),
            r"01_h\.tif has 10 x 20 pixels, its image .*01_h\.jpg has 96 x 80",
        ),
        (
            "hrf",
            ["images/01_h.heic.txt", *HRF[2:]],
            lambda root: None,
            r"holds no image .* but 1 other files such as 01_h",
        ),
        ("chase_db1", CHASE, drop("Image_01R_1stHO.png"), r"the vessel map Image_01R_1stHO of .*Image_01R\.jpg"),
        ("chase_db1", CHASE, rename("Image_01R.jpg", "Image_1.jpg"), "the vessel map Image_1_1stHO of"),
        ("chase_db1", [], lambda root: None, r"holds no image .*expected: Image_01L\.jpg"),
        ("les_av", LES_AV, rename("images/12.png", "images/13.png"), "the vessel map 13 of"),
        ("les_av", LES_AV[:2], lambda root: None, "has no folder vessel-segmentations or vessels"),
        ("drive", ["x.tif"], lambda root: None, "has no folder training or test"),
        ("drive", DRIVE, rename("test/images/01_test.tif", "test/images/01.tif"), r"not named .* such as 01_test\.tif"),
        ("drive", DRIVE, drop("training/1st_manual/21_manual1.gif"), "the vessel map 21_manual1 of"),
        ("stare", STARE, drop("labels-ah/im0001.ah.ppm.gz"), r"the vessel map im0001\.ah of"),
        ("stare", STARE, say("stare-images/im0001.ppm.gz", "cut"), r"im0001\.ppm\.gz is damaged or no image"),
        ("stare", STARE, spoil_bytes("labels-ah/im0001.ah.ppm.gz"), r"im0001\.ah\.ppm\.gz is damaged or no image"),
        ("fire", FIRE, rename("Images/P01_1.jpg", "Images/one.jpg"), r"not named .* such as P01_1\.jpg"),
        ("fire", [], lambda root: None, "has no folder Images"),
        (
            "ridb",
            RIDB,
            rename("P01/IM000001_1.jpg", "P01/IM000001_2.jpg"),
            "in the folder of P01, but its name says P02",
        ),
        ("ridb", RIDB, lambda root: write(root, "P01/IM000001_1.png"), "have one name, IM000001_1"),
        ("varia", ["Images/R001.pgm"], lambda root: None, r"has no pair_index\.txt, without which nobody knows"),
        ("varia", [], index("R001.pgm, R002.pgm"), r"line 1 of .* is not as in 'R180\.pgm, R002\.pgm, 1'"),
        ("varia", [], index("R001.pgm, R009.pgm, 1"), "line 1 of .* names R009, which is not among the images"),
        (
            "varia",
            [],
            index("R001.pgm, R002.pgm, 1", "R002.pgm, R001.pgm, 0"),
            "line 2 of .* differ, others that they do",
        ),
        (
            "srahim_dr",
            SRAHIM,
            lambda root: write(root, "cover.jpg"),
            r"cover\.jpg is not named .* such as Patient001_L",
        ),
        ("srahim_dr", SRAHIM[:1], lambda root: write(root, "b/Patient012_L.png"), None),
        ("srahim_dr", [], lambda root: None, "holds no photograph"),
        (
            "superretina_lab",
            LAB,
            drop("ImageData/vistel0_left_0.jpg"),
            r"the annotation .*left_0\.txt belongs to no image",
        ),
        ("superretina_lab", ["x.jpg"], lambda root: None, "has no folder ImageData"),
        (
            "superretina_lab",
            [*LAB, "ImageSets/train.txt"],
            say("ImageSets/train.txt", "Image_ID, Label_ID\nvistel0_right_1.jpg, vistel0_right_1.txt\n"),
            r"line 2 of .*train\.txt names vistel0_right_1\.txt, which is missing",
        ),
        ("superretina_lab", [*LAB, "ImageSets/train.txt"], lambda root: None, "is not as in 'NAME.jpg, NAME.txt'"),
        ("medal_retina", ["x.jpg"], lambda root: None, "has none of the folders Self-Supervision Data, Auxiliary Data"),
        ("medal_retina", MEDAL, drop("Super Retina Training Data/ImageData/1.jpg"), "holds no image"),
        (plain_folder("mine"), PLAIN, drop("images/a.jpg"), r"vessel map .*vessels/a\.png belongs to no image"),
        (plain_folder("mine"), PLAIN, drop("images/b.png"), r"annotation .*b\.json belongs to no image"),
        (
            plain_folder("mine"),
            PLAIN,
            lambda root: write(root, "images/a.png"),
            r"a\.jpg and .*a\.png have one name, a",
        ),
        (
            plain_folder("mine"),
            PLAIN,
            say("patients.csv", "file,patient\na.jpg,ann\n"),
            r"b\.png has no line in .*patients",
        ),
        (
            plain_folder("mine"),
            PLAIN,
            say("patients.csv", "file,patient\nc.jpg,ann\n"),
            r"line 2 .* names c\.jpg, which is",
        ),
        (
            plain_folder("mine"),
            PLAIN,
            say("patients.csv", "file,patient\na,x\na.jpg,y\n"),
            "names a.jpg for the second time",
        ),
        (plain_folder("mine"), PLAIN, say("patients.csv", "name,eye\na,up\n"), "needs a file, a patient and an eye"),
        (
            plain_folder("mine"),
            PLAIN,
            lambda root: (root / "patients.csv").write_bytes(b"\xff\xfe\x00"),
            "cannot be read",
        ),
    ],
)
def test_whatever_is_amiss_gives_one_sentence(tmp_path, source, names, spoil, sentence):
    source = find_source(source) if isinstance(source, str) else source
    spoil(write(tmp_path, *names))
    if sentence is None:  # one name in two folders is no mistake where folders are grades: they are told apart
        assert len({one.name for one in source.photographs(tmp_path)}) == 2
        return
    with pytest.raises(SourceError, match=sentence) as caught:
        source.photographs(tmp_path)
    text = str(caught.value)
    assert "\n" not in text and text.startswith(source.title) and f"expected: {source.expected}." in text


def test_missing_folder(tmp_path):
    for source in (*SOURCES.values(), plain_folder("mine")):
        with pytest.raises(SourceError, match="nowhere is not a folder; expected: "):
            source.photographs(tmp_path / "nowhere")


def test_hidden_files_are_passed_over(tmp_path):
    write(tmp_path, *HRF, *SRAHIM)
    (tmp_path / "images" / "._01_h.jpg").write_bytes(b"")
    (tmp_path / "images" / "Thumbs.db").write_bytes(b"")
    assert len(find_source("hrf").photographs(tmp_path)) == 2


@pytest.mark.parametrize(
    "name, photographs, people, maps",
    [
        ("hrf", 45, 45, True),
        ("chase_db1", 28, 14, True),
        ("les_av", 22, 22, True),
        ("srahim_dr", 598, None, False),
        ("ridb", 50, 10, False),
        ("fire", 46, 23, False),
    ],
)
def test_real_folders(data_root, name, photographs, people, maps):
    folders = locate(data_root)
    if name not in folders:
        pytest.skip(f"needs {name}")
    found = find_source(name).photographs(folders[name])
    assert len(found) == photographs == len({one.name for one in found})
    assert people is None or len(patients(found)) == people
    assert all((one.vessels is not None) == maps for one in found)
    assert all(one.labels_redistributable == (name == "chase_db1") for one in found)
