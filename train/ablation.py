"""The experiment: does a large student learn more from a small teacher than alone, and is it the representation?

python -m train.ablation train/recipes/ablation_tiny.yaml [--output-dir build/ablation_tiny] [--table-only]

A cell is one variant at one amount of labels with one seed. All cells train the same number of steps. What is done is
never done again: a finished cell keeps its result, an interrupted one goes on from its checkpoint.
"""

import json
import os
import shutil
import sys
import tempfile
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Annotated

import torch
import typer

from retinamatch.evaluation import compare_on_fire, read_fire
from retinamatch.registration import Registrar, find_model

from .ablation_report import write_report
from .data.store import PhotographStore
from .distill import Distillation, DistillConfig, build_student
from .methods.supervision import Supervision, SupervisionConfig
from .pretrain import PretrainConfig, Pretraining
from .run.configuration import read_recipe
from .run.log import LOG, read_curve
from .run.models import build_model, load_model
from .run.trainer import ResumeError, Trainer, checkpoints


@dataclass(frozen=True)
class Variant:
    """A way to train: which network, what its teacher tells it, and whether its encoder is pretrained."""

    network: str  # student, cnn_student or teacher_network
    output: bool = False
    representation: bool = False
    pretrained: bool = False

    @property
    def taught(self) -> bool:
        """Whether a teacher takes part."""
        return self.output or self.representation


VARIANTS = {
    "teacher": Variant("teacher_network"),
    "direct": Variant("student"),
    "output": Variant("student", output=True),
    "representation": Variant("student", representation=True),
    "both": Variant("student", output=True, representation=True),
    "direct_pretrained": Variant("student", pretrained=True),
    "both_pretrained": Variant("student", output=True, representation=True, pretrained=True),
    "cnn_direct": Variant("cnn_student"),
    "cnn_both": Variant("cnn_student", output=True, representation=True),
}


@dataclass
class AblationConfig:
    """The whole experiment.

    Attributes:
        output_dir: Where cells, table and plot go.
        training: Names of `DistillConfig` that all cells share; `steps` is the budget.
        student: Model section of the large student.
        cnn_student: Model section of a student smaller than the teacher.
        teacher_network: Model section of the teacher when it is trained likewise.
        teacher: Who teaches: a model of the package, a folder, or "own": the variant `teacher` of the same labels
            and seed. Anybody else may have seen labels that the students must do without.
        output: Weights of the variants that learn the teacher's output; see `DistillConfig.distillation`.
        representation: Weights of the variants that learn its representation.
        pretraining: Names of `PretrainConfig` that differ from `training`.
        variants: Which of `VARIANTS`.
        labelled_shares: Shares of the labelled patients whose labels are used.
        seeds: Of weights, views and the choice of patients.
        development: `pairs` (how many), `levels` (of degradation) and `transform` of the registration of development
            pairs under RETINAMATCH_DATA; null for none.
    """

    output_dir: str = "build/ablation"
    training: dict = field(default_factory=dict)
    student: dict = field(default_factory=lambda: {"family": "swin_retina"})
    cnn_student: dict = field(default_factory=lambda: {"variant": "small", "encoder_widths": [8, 16, 32, 48]})
    teacher_network: dict = field(default_factory=lambda: {"variant": "small"})
    teacher: str = "own"
    output: dict = field(default_factory=lambda: {"output": 1.0})
    representation: dict = field(default_factory=lambda: {"contrastive": 1.0})
    pretraining: dict = field(default_factory=dict)
    variants: list[str] = field(default_factory=lambda: list(VARIANTS))
    labelled_shares: list[float] = field(default_factory=lambda: [1.0, 0.3, 0.1])
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])
    development: dict | None = field(default_factory=lambda: {"pairs": 23, "levels": [0, 1, 2, 3]})

    def check(self) -> None:
        """Refuse an experiment that cannot run, before hours of it have.

        Raises:
            ValueError: Something does not fit.
        """
        if unknown := sorted(set(self.variants) - set(VARIANTS)):
            raise ValueError(f"Unknown variants {unknown}; known are {list(VARIANTS)}.")
        for name in ("variants", "labelled_shares", "seeds"):
            if not getattr(self, name):
                raise ValueError(f"`{name}` is empty: there is nothing to run.")
        if self.teacher == "own" and "teacher" not in self.variants and any(VARIANTS[v].taught for v in self.variants):
            raise ValueError('`teacher: own` wants "teacher" among the variants.')
        for kind, section in ((DistillConfig, "training"), (PretrainConfig, "pretraining")):
            if unknown := sorted(set(getattr(self, section)) - {f.name for f in fields(kind)}):
                raise ValueError(f"Unknown names {unknown} in the section `{section}`.")
        for section in ("student", "cnn_student", "teacher_network"):
            with torch.device("meta"):
                build_model(getattr(self, section))

    @classmethod
    def read(cls, path: str | os.PathLike) -> "AblationConfig":
        """Read a recipe.

        Raises:
            ValueError: It is no recipe of an experiment.
            OSError: It cannot be read.
        """
        values = read_recipe(path)
        if unknown := sorted(set(values) - {f.name for f in fields(cls)}):
            raise ValueError(f"Unknown names {unknown} in {path}; known are {[f.name for f in fields(cls)]}.")
        return cls(**values)


class Ablation:
    """Runs the cells of an experiment.

    Args:
        config: The experiment.
    """

    def __init__(self, config: AblationConfig):
        config.check()
        self.config, self.folder = config, Path(config.output_dir)
        self.stores: dict[str, PhotographStore] = {}

    def cells(self) -> list[tuple[str, float, int]]:
        """List variant, share and seed of every cell: one seed after the other, teachers first."""
        ordered = [name for name in VARIANTS if name in self.config.variants]
        return [
            (v, share, seed) for seed in self.config.seeds for share in self.config.labelled_shares for v in ordered
        ]

    def run(self) -> None:
        """Run what is left, and write the table after every cell."""
        cells = self.cells()
        for number, cell in enumerate(cells):
            if self.result(*cell) is None:
                print(f"cell {number + 1} of {len(cells)}: {self.name(*cell)}", flush=True)
                self.run_cell(*cell)
                self.report()

    def report(self) -> list[Path]:
        """Write table and plot of the cells that are done."""
        done = [result for cell in self.cells() if (result := self.result(*cell)) is not None]
        return write_report(done, self.config, self.folder)

    def name(self, variant: str, share: float, seed: int) -> str:
        """Name a cell's folder."""
        return f"{variant}-{round(100 * share)}-seed{seed}"

    def result(self, variant: str, share: float, seed: int) -> dict | None:
        """Read the result of a cell, None when it is not finished."""
        path = self.folder / "cells" / self.name(variant, share, seed) / "result.json"
        return json.loads(path.read_text()) if path.is_file() else None

    def store(self, split: str) -> PhotographStore:
        """Read the photographs, once."""
        if split not in self.stores:
            shared = SupervisionConfig(**{**_only(SupervisionConfig, self.config.training)})
            limit, repeat = (shared.limit, shared.repeat) if split == "train" else (None, None)
            self.stores[split] = PhotographStore.read(shared.data, split, limit, repeat, shared.reader)
        return self.stores[split]

    def run_cell(self, variant: str, share: float, seed: int) -> None:
        """Train and measure one cell.

        Raises:
            ValueError: Its folder holds a cell with other settings.
        """
        how, folder = VARIANTS[variant], self.folder / "cells" / self.name(variant, share, seed)
        values = {**self.config.training, "seed": seed, "labelled_share": share, "output_dir": str(folder)}
        values["model"] = getattr(self.config, how.network)
        encoder = str(self.pretrain(seed) / "last") if how.pretrained else None
        torch.manual_seed(seed)  # the initial weights
        if how.taught:
            terms = (self.config.output if how.output else {}) | (
                self.config.representation if how.representation else {}
            )
            own = self.folder / "cells" / self.name("teacher", share, seed) / "last"
            teacher = str(own) if self.config.teacher == "own" else self.config.teacher
            settings = DistillConfig(**{**values, "teacher": teacher, "distillation": terms, "encoder": encoder})
        else:
            settings = DistillConfig(**{**values, "distillation": {}, "encoder": encoder})
        _remember(folder, asdict(settings))
        network, report = build_student(settings, self.descriptor_dim())
        store, held_out = self.store("train"), self.store("validation")
        if how.taught:
            method = Distillation(settings, store, network, held_out)
        else:
            method = Supervision(settings, store, held_out)
        trainer = Trainer(settings, network, method, len(method.store))
        if report:
            trainer.log(encoder=str(report))
        trainer.run(resume=True)
        result = {"variant": variant, "share": share, "seed": seed, "parameters": network.num_parameters()}
        labelled = {(p.source, p.patient) for p in method.store.photographs if p.labels is not None}
        result |= {"labelled_patients": len(labelled), **read_curve(folder / LOG, settings.steps)}
        result["development"] = self.measure_development(folder / "last")
        trainer.accelerator.free_memory()
        _finish(folder / "result.json", result)

    def descriptor_dim(self) -> int:
        """Return the length of the teacher's descriptors, which all networks share."""
        if self.config.teacher == "own":
            return build_model(self.config.teacher_network).config.descriptor_dim
        return load_model(self.config.teacher).config.descriptor_dim

    def pretrain(self, seed: int) -> Path:
        """Pretrain the student's encoder, once for each seed."""
        folder = self.folder / "cells" / f"pretraining-seed{seed}"
        values = {**_only(PretrainConfig, self.config.training), **self.config.pretraining}
        values |= {"seed": seed, "output_dir": str(folder), "model": self.config.student}
        if not (folder / "done.json").is_file():
            torch.manual_seed(seed)
            settings = PretrainConfig(**values)
            _remember(folder, asdict(settings))
            student, store = build_model(settings.model), self.store("train")
            method = Pretraining(settings, store, student, self.store("validation"))
            trainer = Trainer(settings, student.encoder, method, len(store))
            trainer.run(resume=True)
            trainer.accelerator.free_memory()
            _finish(folder / "done.json", {"steps": settings.steps})
        return folder

    def measure_development(self, weights: Path) -> list[dict]:
        """Register development pairs, clean and degraded, with saved weights."""
        wanted, root = self.config.development, development_root()
        if not wanted or root is None:
            return []
        transform = wanted.get("transform", "quadratic")
        registrar = Registrar(weights, transform=transform)
        with tempfile.TemporaryDirectory() as folder:
            some = first_pairs(root, wanted.get("pairs", 23), Path(folder))
            levels = tuple(wanted.get("levels", (0, 1, 2, 3)))
            rows = compare_on_fire(some, {"cell": registrar}, (transform,), levels)
        return [
            {"degrade": row["degrade"], "auc": row["auc"]["mean"], "failed": row["failed"], "transform": transform}
            for row in rows
        ]


def development_root() -> Path | None:
    """Return the folder of development pairs under RETINAMATCH_DATA, None when there is none."""
    root = os.environ.get("RETINAMATCH_DATA")
    folder = Path(root) / "registration" / "fire_dev" if root else None
    return folder if folder is not None and folder.is_dir() else None


def first_pairs(root: Path, count: int, folder: Path) -> Path:
    """Link some of the development pairs, evenly taken from all, into a folder of the same layout."""
    pairs = read_fire(root)
    for name in ("Images", "Ground Truth"):
        (folder / name).mkdir()
    for i in range(min(count, len(pairs))):
        pair = pairs[i * len(pairs) // min(count, len(pairs))]
        for path in (pair.fixed, pair.moving):
            (folder / "Images" / path.name).symlink_to(path.resolve())
        points = root / "Ground Truth" / f"control_points_{pair.name}_1_2.txt"
        (folder / "Ground Truth" / points.name).symlink_to(points.resolve())
    return folder


def _only(kind, values: dict) -> dict:
    known = {f.name for f in fields(kind)}
    return {name: value for name, value in values.items() if name in known}


def _remember(folder: Path, settings: dict) -> None:
    """Write the settings of a cell, or refuse when it was begun with others."""
    path, settings = folder / "settings.json", json.loads(json.dumps(settings))
    if path.is_file():
        before = json.loads(path.read_text())
        if differ := sorted(n for n in {*before, *settings} if before.get(n) != settings.get(n)):
            raise ValueError(
                f"{folder} was begun with other settings ({', '.join(differ)}); choose another output_dir or remove it."
            )
    _write_json(path, settings)


def _finish(path: Path, value) -> None:
    """Write the result of a run, and remove its checkpoints, which dozens of cells would fill a disk with."""
    _write_json(path, value)
    for checkpoint in checkpoints(str(path.parent)):
        shutil.rmtree(checkpoint)


def _write_json(path: Path, value) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(value, indent=2))
    os.replace(part, path)


def main(
    recipe: Annotated[Path, typer.Argument(help="YAML of the experiment, see train/recipes/ablation_*.yaml.")],
    output_dir: Annotated[str | None, typer.Option(help="Instead of the recipe's.")] = None,
    development: Annotated[bool, typer.Option(help="Register development pairs, if RETINAMATCH_DATA has them.")] = True,
    table_only: Annotated[bool, typer.Option("--table-only", help="Only table and plot of what is done.")] = False,
) -> None:
    """Run the experiment, or what is left of it."""
    try:
        config = AblationConfig.read(recipe)
        config.output_dir = output_dir or config.output_dir
        config.development = config.development if development else None
        if config.teacher != "own":
            find_model(config.teacher)
        ablation = Ablation(config)
        if not table_only:
            ablation.run()
        for path in ablation.report():
            print(path)
    except (OSError, ValueError, FloatingPointError, ResumeError) as error:
        print(f"Error: {error}", file=sys.stderr)
        raise typer.Exit(2) from error


__all__ = ["VARIANTS", "Ablation", "AblationConfig", "Variant", "first_pairs"]

if __name__ == "__main__":
    typer.run(main)
