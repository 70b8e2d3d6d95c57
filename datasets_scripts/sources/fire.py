"""FIRE: 134 pairs of photographs with control points, the final exam of everybody; never training."""

from pathlib import Path

from .base import PhotographFile, Source
from .layout import match_name, require_images, require_subfolder


def read(folder: Path) -> list[PhotographFile]:
    """List the photographs of FIRE, whole or in part; the pairs come from `retinamatch.evaluation.read_fire`."""
    # Files do not name the person (39 people, 134 pairs): the pair is the nearest thing to it.
    return [
        PhotographFile(path=path, patient=match_name(path, r"(?P<pair>[SPA]\d+)_[12]", "P01_1.jpg")["pair"])
        for path in require_images(require_subfolder(folder, "Images"))
    ]


FIRE = Source(
    name="fire",
    title="FIRE",
    url="https://projects.ics.forth.gr/cvrl/fire/",
    license="research use with citation, no open license",
    redistributable=False,
    terms="Free for research with citation, by the page of ICS-FORTH; no open license, so nothing of it is published.",
    citation="""@article{hernandezmatas2017fire,
  title={{FIRE}: Fundus Image Registration Dataset},
  author={Hernandez-Matas, Carlos and Zabulis, Xenophon and Triantafyllou, Areti and Anyfanti, Panagiota and Douma,
    Stella and Argyros, Antonis A.},
  journal={Modeling and Artificial Intelligence in Ophthalmology},
  year={2017}
}""",
    use="evaluation",
    folders=("fire", "fire_dev"),
    expected="Images/P01_1.jpg and Images/P01_2.jpg with Ground Truth/control_points_P01_1_2.txt (FIRE.7z)",
    reader=read,
)


__all__ = ["FIRE"]
