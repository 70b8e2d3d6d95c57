"""MeDAL-Retina: unlabeled photographs, and photographs with keypoints by students, some of FIRE's among them."""

from dataclasses import replace
from pathlib import Path

from .base import PhotographFile, Source
from .layout import LayoutError, image_files, require_images, stem, subfolder
from .superretina_lab import read_annotated


UNLABELED = {"Self-Supervision Data": "self_supervision", "Auxiliary Data": "auxiliary"}
LABELED = "Super Retina Training Data"
LABEL_TERMS = "CC BY 4.0 by our notes, not found in the copy of its README that could be read"


def read(folder: Path) -> list[PhotographFile]:
    """List the three folders, as many of them as are there; a person a file, because names do not tell."""
    labeled = subfolder(folder, LABELED)
    unlabeled = {subfolder(folder, name): prefix for name, prefix in UNLABELED.items() if subfolder(folder, name)}
    if labeled is None and not unlabeled:
        raise LayoutError(f"{folder} has none of the folders {', '.join((*UNLABELED, LABELED))}")
    photographs = []
    for part, prefix in unlabeled.items():
        paths = image_files(part, recursive=True) or require_images(part)
        for path in paths:
            # Names such as 12.png repeat from folder to folder and would be one person, and one name.
            inner = "_".join((prefix, *path.relative_to(part).parts[:-1])).replace(" ", "_") + "_"
            photographs.append(PhotographFile(path=path, patient=inner + stem(path), prefix=inner))
    if labeled is not None:
        for one in read_annotated(labeled):
            name = "labeled_" + stem(one.path)
            license = LABEL_TERMS if one.annotation is not None else ""
            photographs.append(replace(one, patient=name, eye="", prefix="labeled_", label_license=license))
    return photographs


MEDAL_RETINA = Source(
    name="medal_retina",
    title="MeDAL-Retina",
    url="https://github.com/SaharAlmahfouzNasser/MeDAL-Retina",
    license="mixed: photographs of e-ophtha, FIRE and others, whose own terms hold",
    redistributable=False,
    terms=(
        "Our notes say CC BY 4.0 by its README, the copy of the README that could be read names no license, and its "
        "photographs are other people's (e-ophtha, FIRE and others by that README): research only, not published."
    ),
    citation="""@misc{medal-retina,
  author={Gupte, Nihar and Almahfouz Nasser, Sahar and Garg, Prateek and Singhal, Keshav and Jain, Tanmay and Aditya and
    Kumar, Ravi and Sethi, Amit},
  title={{MeDAL-Retina}},
  howpublished={\\url{https://github.com/SaharAlmahfouzNasser/MeDAL-Retina}},
  year={2023}
}""",
    use="training",
    folders=("medal_retina", "medal-retina", "medal"),
    expected=(
        "the folders 'Self-Supervision Data' and 'Auxiliary Data' with images, and 'Super Retina Training Data' with "
        "ImageData/NAME.jpg, Annotations/NAME.txt and ImageSets/*.txt"
    ),
    reader=read,
    may_contain=("fire",),
)


__all__ = ["MEDAL_RETINA"]
