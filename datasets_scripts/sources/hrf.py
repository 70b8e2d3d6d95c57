"""HRF: 45 photographs of 3504 x 2336 pixels with vessel maps by hand."""

from pathlib import Path

from .base import PhotographFile, Source
from .layout import LayoutError, image_files, match_name, pair_maps, require_images, require_subfolder, stem, subfolder


GROUPS = ("healthy", "diabetic_retinopathy", "glaucoma")


def read(folder: Path) -> list[PhotographFile]:
    """List HRF as FAU hands it out (one archive, or one a group), or reduced with maps from artery and vein labels."""
    if any(subfolder(folder, group) for group in GROUPS):
        photographs = []
        for group in (group for group in GROUPS if subfolder(folder, group)):
            maps = require_subfolder(folder, f"{group}_manualsegm")
            photographs += _pair(require_subfolder(folder, group), maps, provided=True)
        return photographs
    images = require_subfolder(folder, "images")
    provided, derived = subfolder(folder, "manual1"), subfolder(folder, "vessels")
    if provided is None and derived is None:
        raise LayoutError(f"{folder} has no folder manual1 or vessels")
    return _pair(images, provided or derived, provided=provided is not None)


def _pair(images: Path, maps: Path, provided: bool) -> list[PhotographFile]:
    paths = require_images(images)
    vessels = pair_maps(paths, image_files(maps), stem, maps)
    photographs = []
    for path, vessel_map in zip(paths, vessels):
        # 01_h and 01_dr are two people: the 15 healthy, 15 diabetic and 15 glaucoma photographs show 45.
        patient = match_name(path, r"\d+_(h|dr|g)", "01_h.jpg")[0]
        photographs.append(
            PhotographFile(
                path=path,
                patient=patient,
                vessels=vessel_map,
                labels_redistributable=provided,
                label_license="CC-BY-4.0" if provided else "derived from artery/vein labels, terms not found",
            )
        )
    return photographs


HRF = Source(
    name="hrf",
    title="HRF",
    url="https://www5.cs.fau.de/research/data/fundus-images/",
    license="CC-BY-4.0",
    redistributable=True,
    terms=(
        "CC BY 4.0 for photographs and vessel maps (manual1), by the page of FAU Erlangen; vessel maps derived from "
        "the artery/vein labels of another group (HRF-AV) carry no terms that could be found and are not published."
    ),
    citation="""@article{budai2013robust,
  title={Robust Vessel Segmentation in Fundus Images},
  author={Budai, Attila and Bock, R{\\"u}diger and Maier, Andreas and Hornegger, Joachim and Michelson, Georg},
  journal={International Journal of Biomedical Imaging},
  year={2013},
  doi={10.1155/2013/154860}
}""",
    use="training",
    folders=("hrf",),
    expected=(
        "images/01_h.jpg with manual1/01_h.tif (all.zip), or healthy/01_h.jpg with healthy_manualsegm/01_h.tif, or "
        "images/01_h.jpg with vessels/01_h.png"
    ),
    reader=read,
    # Published by torch-em (the six archives) and by three projects that agree (all.zip).
    checksums={
        "all.zip": "sha256:a914d02cda161b7f33f25d0397c276d50e9a6cbc705e9b364a54f0adafed57e4",
        "healthy.zip": "sha256:a4ce863b87371cecca8c841c4f7d8b06e39c5298fc78b103c35781bdb7eff389",
        "diabetic_retinopathy.zip": "sha256:278630bea52c2096dbfa4b6486647ea60e56db1d67f1308dab2ff4383481a244",
        "glaucoma.zip": "sha256:c3428a5eb971ce3165f21463c3e6bf0758531e30035303236b785e6b2d005071",
        "healthy_manualsegm.zip": "sha256:2f8c67ee83e9ba16707119aa9ad98ad978c70566d467fe84b328854528ef16b8",
        "diabetic_retinopathy_manualsegm.zip": (
            "sha256:5d949ed31d4b825f33b7b14123d21f2562588c8bcbaf33984ddd51ed706d6dbd"
        ),
        "glaucoma_manualsegm.zip": "sha256:ad3a0a39d2226a66da2c4072e031e23be9d27c8804e9a314db3ae757fc6f910a",
    },
)


__all__ = ["HRF"]
