"""The experiment: does a large student learn more from a small teacher than alone, and is it the representation?

python -m train.ablation --config train/recipes/ablation_tiny.yaml [--output_dir build/ablation_tiny] [--table_only]

A cell is one variant at one fraction of the labels with one seed. All cells train the same number of steps. What is
done is never done again: a finished cell keeps its result, an interrupted one goes on from its checkpoint.
"""

import json
import os
import shutil
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Literal

import torch

from retinamatch.evaluation import compare_on_fire
from retinamatch.extractor import find_model
from retinamatch.files import standard_output, write_text
from retinamatch.registrar import Registrar

from .ablation_report import write_report
from .data.store import PhotographStore, read_held_out, read_training
from .distill import Distillation, DistillConfig, TeacherWeights, build_student
from .methods.supervision import Supervision
from .pretrain import PretrainConfig, Pretraining
from .run.configuration import TrainingConfig, errors_of_the_user, parse_config
from .run.log import LOG, read_curve
from .run.models import ModelSettings, build_model, check_view_size, load_model
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

    def part_of(self, weights: TeacherWeights) -> TeacherWeights:
        """Return the weights of the teacher's terms with those that this variant does without at 0."""
        parts = {name: self.output if name == "output" else self.representation for name in vars(weights)}
        return replace(weights, **{name: 0.0 for name, taken in parts.items() if not taken})


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
OWN = "own"


@dataclass
class PretrainingBudget:
    """What the pretraining of an encoder does not share with the training of the cells.

    Attributes:
        steps: Optimizer steps.
        validation_steps: Steps between validations.
        learning_rate: Of AdamW after the warm-up.
        weight_decay: Of AdamW.
    """

    steps: int = 1000
    validation_steps: int = 500
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4


@dataclass
class Development:
    """How development pairs under RETINAMATCH_DATA are registered.

    Attributes:
        levels: Of degradation, 0 for none.
        transform: Class of the transform.
    """

    levels: list[int] = field(default_factory=lambda: [0, 1, 2, 3])
    transform: str = "quadratic"


@dataclass
class AblationConfig:
    """The whole experiment.

    Attributes:
        output_dir: Where cells, table and plot go.
        training: What all cells share; `steps` is the budget. `teacher` may be "own": the variant `teacher` of the same
            labels and seed. Anybody else may have seen labels that the students must do without. Of `distillation`
            every variant takes its part.
        student: The large student.
        cnn_student: A student smaller than the teacher.
        teacher_network: The teacher, when it is trained likewise.
        pretraining: Of the encoders of variants that begin with a pretrained one.
        variants: Which ways to train.
        labeled_fractions: Fractions of the labeled patients whose labels are used.
        seeds: Of weights, views and the choice of patients.
        development: Registration of development pairs; null for none.
    """

    output_dir: str = "build/ablation"
    training: DistillConfig = field(default_factory=lambda: DistillConfig(teacher=OWN))
    student: ModelSettings = field(default_factory=lambda: ModelSettings(family="swin_retina"))
    cnn_student: ModelSettings = field(
        default_factory=lambda: ModelSettings(variant="small", encoder_widths=[8, 16, 32, 48])
    )
    teacher_network: ModelSettings = field(default_factory=lambda: ModelSettings(variant="small"))
    pretraining: PretrainingBudget = field(default_factory=PretrainingBudget)
    variants: list[Literal[tuple(VARIANTS)]] = field(default_factory=lambda: list(VARIANTS))
    labeled_fractions: list[float] = field(default_factory=lambda: [1.0, 0.3, 0.1])
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])
    development: Development | None = field(default_factory=Development)

    def check(self) -> None:
        """Reject an experiment that cannot run, before hours of it have.

        Raises:
            ValueError: Something does not fit.
        """
        for name in ("variants", "labeled_fractions", "seeds"):
            if not getattr(self, name):
                raise ValueError(f"`{name}` is empty: there is nothing to run.")
        if self.training.teacher != OWN:
            find_model(self.training.teacher)
        elif "teacher" not in self.variants and any(VARIANTS[v].taught for v in self.variants):
            raise ValueError('`teacher: own` wants "teacher" among the variants.')
        for section in ("student", "cnn_student", "teacher_network"):
            with torch.device("meta"):
                check_view_size(build_model(getattr(self, section)), self.training.views.size, section)


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
        """List variant, fraction of labels and seed of every cell: one seed after the other, teachers first."""
        config = self.config
        ordered = [name for name in VARIANTS if name in config.variants]
        return [(v, fraction, seed) for seed in config.seeds for fraction in config.labeled_fractions for v in ordered]

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

    def name(self, variant: str, fraction: float, seed: int) -> str:
        """Name a cell's folder."""
        return f"{variant}-{round(100 * fraction)}-seed{seed}"

    def result(self, variant: str, fraction: float, seed: int) -> dict | None:
        """Read the result of a cell, None when it is not finished."""
        path = self.folder / "cells" / self.name(variant, fraction, seed) / "result.json"
        return json.loads(path.read_text()) if path.is_file() else None

    def store(self, split: str) -> PhotographStore:
        """Read the photographs, once."""
        if split not in self.stores:
            shared = self.config.training
            if split == "train":
                self.stores[split] = read_training(shared).without_patients_of(self.store("validation"))
            else:
                self.stores[split] = read_held_out(shared)
        return self.stores[split]

    def run_cell(self, variant: str, fraction: float, seed: int) -> None:
        """Train and measure one cell.

        Raises:
            ValueError: Its folder holds a cell with other settings.
        """
        how, folder = VARIANTS[variant], self.folder / "cells" / self.name(variant, fraction, seed)
        training, own = self.config.training, self.folder / "cells" / self.name("teacher", fraction, seed) / "last"
        settings = replace(
            training,
            seed=seed,
            labeled_fraction=fraction,
            output_dir=str(folder),
            model=getattr(self.config, how.network),
            encoder=str(self.pretrain(seed) / "last") if how.pretrained else None,
            teacher=str(own) if training.teacher == OWN else training.teacher,
            distillation=how.part_of(training.distillation),
        )
        torch.manual_seed(seed)  # the initial weights
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
        result = {"variant": variant, "fraction": fraction, "seed": seed, "parameters": network.num_parameters()}
        labeled = {(p.source, p.patient) for p in method.store.photographs if p.labels is not None}
        result |= {"labeled_patients": len(labeled), **read_curve(folder / LOG, settings.steps)}
        result["development"] = self.measure_development(folder / "last")
        trainer.accelerator.free_memory()
        _finish(folder / "result.json", result)

    def descriptor_dim(self) -> int:
        """Return the length of the teacher's descriptors, which all networks share."""
        teacher = self.config.training.teacher
        network = build_model(self.config.teacher_network) if teacher == OWN else load_model(teacher)
        return network.config.descriptor_dim

    def pretrain(self, seed: int) -> Path:
        """Pretrain the student's encoder, once for each seed."""
        folder = self.folder / "cells" / f"pretraining-seed{seed}"
        shared = {f.name: getattr(self.config.training, f.name) for f in fields(TrainingConfig)}
        values = {**shared, **asdict(self.config.pretraining), "seed": seed, "output_dir": str(folder)}
        settings = PretrainConfig(**values, model=self.config.student, views=self.config.training.views)
        if not (folder / "done.json").is_file():
            torch.manual_seed(seed)
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
        wanted, root = self.config.development, os.environ.get("RETINAMATCH_DATA")
        pairs = Path(root or "") / "registration" / "fire_dev"
        if wanted is None or root is None or not pairs.is_dir():
            return []
        registrar = Registrar(weights, transform=wanted.transform)
        rows = compare_on_fire(pairs, {"cell": registrar}, (wanted.transform,), tuple(wanted.levels))
        return [
            {
                "degrade": row["degrade"],
                "auc": row["auc"]["mean"],
                "failed": row["failed"],
                "transform": wanted.transform,
            }
            for row in rows
        ]


def _remember(folder: Path, settings: dict) -> None:
    """Write the settings of a cell, or reject them when it was begun with others."""
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
    write_text(path, json.dumps(value, indent=2))


def main() -> None:
    """Run the experiment, or what is left of it."""
    with errors_of_the_user(OSError, ValueError, FloatingPointError, ResumeError):
        config, table_only = parse_config(
            AblationConfig, "table_only", "Write table and plot of what is done, no more."
        )
        ablation = Ablation(config)
        if not table_only:
            ablation.run()
        for path in ablation.report():
            print(path)


__all__ = ["VARIANTS", "Ablation", "AblationConfig", "Development", "PretrainingBudget", "Variant"]

if __name__ == "__main__":
    with standard_output():
        main()
