"""DR-image-dataset of S. S. Rahim: 598 photographs of about 300 people with diabetes, without vessel maps."""

from pathlib import Path

from .base import PhotographFile, Source
from .layout import EYES, image_files, match_name


def read(folder: Path) -> list[PhotographFile]:
    """List the photographs, in folders by grade as in the repository, or in one folder."""
    photographs = []
    for path in image_files(folder, recursive=True):
        name = match_name(path, r"Patient(?P<patient>\d+)[_-](?P<eye>[LR])", "Patient001_L.jpg")
        photographs.append(PhotographFile(path=path, patient=name["patient"], eye=EYES[name["eye"].lower()]))
    return photographs


SRAHIM_DR = Source(
    name="srahim_dr",
    title="DR-image-dataset (S. S. Rahim)",
    url="https://github.com/SRahimDR/DR-image-dataset",
    license="academic use with attribution",
    redistributable=False,
    terms="Free for academic purposes with attribution, by its README; nothing is said of publishing it again.",
    citation="""@misc{rahim2025retinal,
  title={Retinal Fundus Image Dataset for Diabetic Retinopathy Detection},
  author={Rahim, S. S.},
  year={2025},
  howpublished={\\url{https://github.com/SRahimDR/DR-image-dataset}}
}""",
    use="training",
    folders=("srahim_dr", "dr-image-dataset"),
    expected="'DR and maculopathy 10 classes'/'1 - No DR'/Patient001_L.jpg, or images/Patient001_L.jpg",
    reader=read,
)


__all__ = ["SRAHIM_DR"]
