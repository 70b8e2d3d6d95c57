"""DRIVE: 40 photographs of a Dutch screening program, half of them for training, with vessel maps by hand."""

from pathlib import Path

from .base import PhotographFile, Source
from .layout import LayoutError, image_files, match_name, pair_maps, require_images, require_subfolder, subfolder


TERMS = "research use, terms of redistribution not found"


def read(folder: Path) -> list[PhotographFile]:
    """List both halves of DRIVE; the maps of the test half are handed out by some of its mirrors only."""
    halves = {name: subfolder(folder, name) for name in ("training", "test")}
    if halves["training"] is None and halves["test"] is None:
        raise LayoutError(f"{folder} has no folder training or test")
    photographs = []
    for name, half in halves.items():
        if half is None:
            continue
        paths = require_images(require_subfolder(half, "images"))
        people = [
            match_name(path, rf"(\d+)_{name}", f"{'21' if name == 'training' else '01'}_{name}.tif") for path in paths
        ]
        maps = require_subfolder(half, "1st_manual") if name == "training" else subfolder(half, "1st_manual")
        vessels = [None] * len(paths)
        if maps is not None:
            vessels = pair_maps(paths, image_files(maps), _map_name, maps)
        photographs += [
            PhotographFile(path=path, patient=person[1], vessels=vessel_map, label_license=TERMS)
            for path, person, vessel_map in zip(paths, people, vessels)
        ]
    return photographs


def _map_name(path: Path) -> str:
    return f"{path.stem.partition('_')[0]}_manual1"


DRIVE = Source(
    name="drive",
    title="DRIVE",
    url="https://drive.grand-challenge.org/",
    license=TERMS,
    redistributable=False,
    terms="Handed out to registered users of the challenge; terms of redistribution not found: research only.",
    citation="""@article{staal2004ridge,
  title={Ridge-Based Vessel Segmentation in Color Images of the Retina},
  author={Staal, Joes and Abr{\\`a}moff, Michael D. and Niemeijer, Meindert and Viergever, Max A. and van Ginneken,
    Bram},
  journal={IEEE Transactions on Medical Imaging},
  year={2004},
  doi={10.1109/TMI.2004.825627}
}""",
    use="training",
    folders=("drive",),
    expected="training/images/21_training.tif with training/1st_manual/21_manual1.gif, and test/images/01_test.tif",
    reader=read,
    # Published by three projects that agree, torch-em among them.
    checksums={
        "training.zip": "sha256:7101e19598e2b7aacdbd5e6e7575057b9154a4aaec043e0f4e28902bf4e2e209",
        "test.zip": "sha256:d76c95c98a0353487ffb63b3bb2663c00ed1fde7d8fdfd8c3282c6e310a02731",
    },
)


__all__ = ["DRIVE"]
