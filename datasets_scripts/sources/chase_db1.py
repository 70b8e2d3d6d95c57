"""CHASE_DB1: both eyes of 14 children, 28 photographs with vessel maps by hand."""

from pathlib import Path

from .base import PhotographFile, Source
from .layout import EYES, image_files, match_name, pair_maps, require_images, stem, subfolder


def read(folder: Path) -> list[PhotographFile]:
    """List CHASE_DB1 as Kingston University hands it out (all files in one folder), or as images/ and vessels/."""
    images = subfolder(folder, "images")
    if images is not None:
        maps = subfolder(folder, "vessels") or images
        paths = require_images(images)
        vessels = pair_maps(paths, image_files(maps) if maps != images else [], stem, folder / "vessels")
    else:
        files = require_images(folder)
        paths = [path for path in files if not stem(path).lower().endswith("ho")]
        # The first of two observers is the one that everybody takes for the truth.
        maps = [path for path in files if stem(path).lower().endswith("_1stho")]
        vessels = pair_maps(paths, maps, lambda path: f"{stem(path)}_1stHO", folder)
    photographs = []
    for path, vessel_map in zip(paths, vessels):
        name = match_name(path, r"Image_(?P<patient>\d+)(?P<eye>[LR])", "Image_01L.jpg")
        eye = EYES[name["eye"].lower()]
        terms = {"labels_redistributable": True, "label_license": "CC-BY-4.0"}
        photographs.append(PhotographFile(path=path, patient=name["patient"], eye=eye, vessels=vessel_map, **terms))
    return photographs


CHASE_DB1 = Source(
    name="chase_db1",
    title="CHASE_DB1",
    url="https://researchdata.kingston.ac.uk/96/",
    license="CC-BY-4.0",
    redistributable=True,
    terms="CC BY 4.0 for photographs and vessel maps, by the page of Kingston University's data repository.",
    citation="""@article{fraz2012ensemble,
  title={An Ensemble Classification-Based Approach Applied to Retinal Blood Vessel Segmentation},
  author={Fraz, Muhammad Moazam and Remagnino, Paolo and Hoppe, Andreas and Uyyanonvara, Bunyarit and Rudnicka,
    Alicja R. and Owen, Christopher G. and Barman, Sarah A.},
  journal={IEEE Transactions on Biomedical Engineering},
  year={2012},
  doi={10.1109/TBME.2012.2205687}
}""",
    use="training",
    folders=("chase_db1", "chasedb1", "chase"),
    expected="Image_01L.jpg with Image_01L_1stHO.png in one folder, or images/Image_01L.jpg with vessels/Image_01L.png",
    reader=read,
    # Published by two projects that download it from the university's former address, and agree.
    checksums={"CHASEDB1.zip": "md5:d9e47c4bac125b29996fae4380a68db1"},
)


__all__ = ["CHASE_DB1"]
