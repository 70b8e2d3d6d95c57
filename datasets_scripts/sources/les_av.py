"""LES-AV: 22 photographs of the Leuven Eye Study with vessel maps by hand."""

from pathlib import Path

from .base import PhotographFile, Source
from .layout import image_files, match_name, pair_maps, require_images, require_subfolder, stem


def read(folder: Path) -> list[PhotographFile]:
    """List LES-AV as Figshare hands it out, or as images/ and vessels/."""
    paths = require_images(require_subfolder(folder, "images"))
    maps = require_subfolder(folder, "vessel-segmentations", "vessels")
    vessels = pair_maps(paths, image_files(maps), stem, maps)
    return [
        PhotographFile(
            path=path,
            patient=match_name(path, r"\d+", "111.png")[0],
            vessels=vessel_map,
            label_license="scientific use only, no commercial use",
        )
        for path, vessel_map in zip(paths, vessels)
    ]


LES_AV = Source(
    name="les_av",
    title="LES-AV",
    url="https://figshare.com/articles/dataset/LES-AV_dataset/11857698",
    license="scientific use only, no commercial use",
    redistributable=False,
    terms=(
        "Its README allows scientific use with citation and forbids commercial use; the page on Figshare is said to "
        "name the GPL, which does not go together, so it is not published again."
    ),
    citation="""@inproceedings{orlando2018towards,
  title={Towards a Glaucoma Risk Index Based on Simulated Hemodynamics from Fundus Images},
  author={Orlando, Jos{\\'e} Ignacio and Barbosa Breda, Jo{\\~a}o and van Keer, Karel and Blaschko, Matthew B. and
    Blanco, Pablo J. and Bulant, Carlos A.},
  booktitle={MICCAI},
  year={2018},
  doi={10.1007/978-3-030-00934-2_8}
}""",
    use="training",
    folders=("les_av", "les-av", "lesav"),
    expected="images/111.png with vessel-segmentations/111.png (Figshare), or images/111.jpg with vessels/111.png",
    reader=read,
    # Published by torch-em, under the name that it gives to Figshare's nameless download.
    checksums={"LES-AV.zip": "sha256:6ee8186cfe68350e212dcd2de5c59d7f23a21988e9e01d796eee166282c31350"},
)


__all__ = ["LES_AV"]
