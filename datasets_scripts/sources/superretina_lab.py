"""The layout in which SuperRetina reads labeled photographs: ImageData, Annotations and lists of file names."""

import re
from pathlib import Path

from .base import PhotographFile, Source
from .layout import EYES, LayoutError, image_files, index_by_stem, require_images, stem, subfolder


TERMS = "private, terms not given"


def read(folder: Path) -> list[PhotographFile]:
    """List ImageData with its annotations, and an Auxiliary folder beside it without any."""
    lab = subfolder(folder, "Lab") or folder
    photographs = read_annotated(lab)
    auxiliary = subfolder(folder, "Auxiliary")
    if auxiliary is not None:
        photographs += [
            PhotographFile(path=path, patient=stem(path)) for path in image_files(auxiliary, recursive=True)
        ]
    return photographs


def read_annotated(folder: Path) -> list[PhotographFile]:
    """List a folder with ImageData/NAME.jpg, Annotations/NAME.txt and, if it is there, ImageSets/*.txt.

    Photographs without an annotation are unlabeled: the folder of annotations is optional by SuperRetina's README.

    Raises:
        LayoutError: ImageData is missing or empty, an annotation has no image, or a list names a missing file.
    """
    images = subfolder(folder, "ImageData")
    if images is None:
        raise LayoutError(f"{folder} has no folder ImageData")
    paths = index_by_stem(require_images(images))
    labels = subfolder(folder, "Annotations")
    annotations = {} if labels is None else index_by_stem(sorted(labels.glob("*.txt")))
    for name in sorted(set(annotations) - set(paths)):
        raise LayoutError(f"the annotation {annotations[name]} belongs to no image of {images}")
    _check_lists(subfolder(folder, "ImageSets"), paths, annotations)
    photographs = []
    for name, path in paths.items():
        # vistel0_left_0: the first person, left eye, first photograph. Other names tell nothing: a person each.
        parts = re.fullmatch(r"(?P<patient>[A-Za-z]+\d+)_(?P<eye>left|right)_\d+", name)
        patient, eye = (parts["patient"], EYES[parts["eye"]]) if parts else (name, "")
        annotation = annotations.get(name)
        terms = TERMS if annotation is not None else ""
        photographs.append(
            PhotographFile(path=path, patient=patient, eye=eye, annotation=annotation, label_license=terms)
        )
    return photographs


def _check_lists(folder: Path | None, images: dict[str, Path], annotations: dict[str, Path]) -> None:
    for path in [] if folder is None else sorted(folder.glob("*.txt")):
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            parts = [part.strip() for part in line.split(",")]
            if not line.strip() or parts[0] == "Image_ID":
                continue
            if len(parts) != 2:
                raise LayoutError(f"line {number} of {path} is not as in 'NAME.jpg, NAME.txt'")
            for part, known in zip(parts, (images, annotations)):
                if known.get(stem(Path(part))) is None or known[stem(Path(part))].name != part:
                    raise LayoutError(f"line {number} of {path} names {part}, which is missing")


SUPERRETINA_LAB = Source(
    name="superretina_lab",
    title="SuperRetina Lab",
    url="https://github.com/ruc-aimc-lab/SuperRetina/tree/master/data",
    license=TERMS,
    redistributable=False,
    terms="The authors' photographs and labels are private; data in their layout can be read, and are not published.",
    citation="""@inproceedings{liu2022SuperRetina,
  title={Semi-Supervised Keypoint Detector and Descriptor for Retinal Image Matching},
  author={Jiazhen Liu and Xirong Li and Qijie Wei and Jie Xu and Dayong Ding},
  booktitle={Proceedings of the 17th European Conference on Computer Vision (ECCV)},
  year={2022}
}""",
    use="training",
    folders=("superretina_lab", "lab"),
    expected="ImageData/NAME.jpg with Annotations/NAME.txt and ImageSets/*.txt (in the folder or in Lab/ inside it)",
    reader=read,
)


__all__ = ["SUPERRETINA_LAB", "read_annotated"]
