"""What all tests of training train with: a few rendered eyes in the form that training reads, and tiny networks."""

from dataclasses import replace
from pathlib import Path

from huggingface_hub import DatasetCardData

from datasets_scripts.format.card import list_configs
from datasets_scripts.format.parquet import write_table
from datasets_scripts.format.rows import LabeledPhotograph, encode
from datasets_scripts.rendering.eye import draw_eye
from datasets_scripts.rendering.fundus import render
from train.run.models import ModelSettings


SMALL = ModelSettings(variant="small", encoder_widths=[4, 4, 6, 6], descriptor_width=8, descriptor_dim=8)
TINY_SWIN = ModelSettings(family="swin_retina", variant="tiny", embed_dim=4, num_heads=[1, 2, 4, 8])
STUDENT = replace(TINY_SWIN, descriptor_width=8)
TABLES = (("keypoints", "train", (0, 1, 3)), ("unlabeled", "train", (2,)), ("keypoints", "validation", (4,)))


def draw(seed, labeled, size=192):
    photo = render(draw_eye(seed), size, seed=0)
    labels = {"keypoints": photo.keypoints, "types": photo.types} if labeled else {}
    return LabeledPhotograph(
        name=f"{seed}",
        image=photo.image,
        mask=photo.mask,
        source="rendered",
        patient=f"{seed}",
        eye="left",
        license="Apache-2.0",
        **labels,
    )


def write_pack(folder: Path, tables=TABLES, size=192) -> str:
    """Five rendered eyes, one without labels, as the build writes them."""
    for config, split, seeds in tables:
        write_table(folder, config, split, [encode(draw(seed, config == "keypoints", size)) for seed in seeds])
    (folder / "README.md").write_text(f"---\n{DatasetCardData(configs=list_configs(folder))}\n---\n")
    return str(folder)


def shared_pack(tmp_path_factory) -> str:
    """The pack, written by whoever asks first."""
    folder = tmp_path_factory.getbasetemp() / "training_pack"
    return str(folder) if (folder / "README.md").is_file() else write_pack(folder)
