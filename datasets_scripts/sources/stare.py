"""STARE: 20 digitized slides with vessel maps by hand, each packed with gzip."""

from pathlib import Path

from .base import PhotographFile, Source
from .layout import image_files, is_image, match_name, pair_maps, require_images, stem, subfolder


TERMS = "terms not found: research only"


def read(folder: Path) -> list[PhotographFile]:
    """List STARE with the maps of Adam Hoover: in folders as the archives are named, or all files in one folder."""
    images = subfolder(folder, "stare-images", "images") or folder
    maps = subfolder(folder, "labels-ah") or folder
    paths = [path for path in require_images(images) if not stem(path).lower().endswith((".ah", ".vk"))]
    # Nothing else of STARE may pass for a map: the folder also takes the maps of the second observer.
    vessels = [path for path in image_files(maps) if is_image(path) and stem(path).lower().endswith(".ah")]
    vessels = pair_maps(paths, vessels, lambda path: f"{stem(path)}.ah", maps)
    return [
        PhotographFile(path=path, patient=_slide(path), vessels=vessel_map, label_license=TERMS)
        for path, vessel_map in zip(paths, vessels)
    ]


def _slide(path: Path) -> str:
    return match_name(path, r"im\d+", "im0001.ppm")[0]


STARE = Source(
    name="stare",
    title="STARE",
    url="https://cecas.clemson.edu/~ahoover/stare/probing/index.html",
    license=TERMS,
    redistributable=False,
    terms="On its author's page, terms not found: research only; whether two slides show one person is not said.",
    citation="""@article{hoover2000locating,
  title={Locating Blood Vessels in Retinal Images by Piecewise Threshold Probing of a Matched Filter Response},
  author={Hoover, Adam and Kouznetsova, Valentina and Goldbaum, Michael},
  journal={IEEE Transactions on Medical Imaging},
  year={2000},
  doi={10.1109/42.845178}
}""",
    use="training",
    folders=("stare",),
    expected="stare-images/im0001.ppm with labels-ah/im0001.ah.ppm, each with or without .gz, or all in one folder",
    reader=read,
    # Published by two projects that agree, torch-em among them.
    checksums={
        "stare-images.tar": "sha256:5f7b509b6067cad4f1be84933145d783de9ec087b3eaaf4db0103dd0144dd433",
        "labels-ah.tar": "sha256:ebf2f1e17ca955f24579d9edd990e2dae79a5c82def69f0985d8e24f826ddd2f",
        "labels-vk.tar": "sha256:47474a701536b0cfdb369fdce012be36141e9f44d80387f0179446b5cb0f5576",
    },
)


__all__ = ["STARE"]
