import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
import yaml
from conftest import REPOSITORY

from datasets_scripts.parquet import LabelledPhotograph, encode, write_splits
from datasets_scripts.rendered_fundus import draw_eye, render
from train.data import PhotographStore
from train.teacher import Teacher, TeacherConfig, build_model, draw_correspondences, draw_heatmap
from train.trainer import Trainer, batch_indices, newest_checkpoint
from train.views import ViewSettings, make_views, project


TINY = {"variant": "small", "encoder_widths": [4, 4, 6, 6], "descriptor_width": 8, "descriptor_dim": 8}


@pytest.fixture(scope="module")
def pack(tmp_path_factory):
    """Five rendered eyes, one without labels, as the build writes them."""
    folder = tmp_path_factory.mktemp("packs") / "pack"
    rows = []
    for seed in range(5):
        photo = render(draw_eye(seed), 192, seed=0)
        known = seed != 2
        rows.append(
            encode(
                LabelledPhotograph(
                    name=f"{seed}.png",
                    image=photo.image,
                    mask=photo.mask,
                    keypoints=photo.keypoints if known else None,
                    types=photo.types if known else None,
                    source="rendered",
                    patient=str(seed),
                    eye="L",
                    licence="Apache-2.0",
                )
            )
        )
    write_splits(folder, {"train": rows[:4], "validation": rows[4:]})
    return str(folder)


def config(pack, folder, **kwargs):
    settings = {
        "data": [pack],
        "output_dir": str(folder),
        "steps": 5,
        "batch_size": 2,
        "checkpointing_steps": 3,
        "cooldown_steps": 2,
        "validation_pairs": 0,
        "mixed_precision": "no",
        "model": TINY,
        "views": {"size": 96},
        "points": 64,
        "localisation_points": 8,
        "expansion_start": 0,
        "expansion_score": 0.0,
        "expansion_ratio": 1.0,
    }
    return TeacherConfig(**{**settings, **kwargs})


def train(settings, resume=False):
    torch.manual_seed(0)  # the initial weights
    store = PhotographStore.read(settings.data, "train")
    method = Teacher(settings, store)
    trainer = Trainer(settings, build_model(settings.model), method, len(store))
    # Candidates that the run will see fade: a state that a checkpoint must carry.
    places = np.stack(np.meshgrid(np.arange(30, 170, 20), np.arange(30, 170, 20)), -1).reshape(-1, 2)
    method.expansion.update(0, places, places[:0], places[:0])
    trainer.run(resume)
    return {name: value.clone() for name, value in trainer.network.state_dict().items()}, method


class TestStore:
    def test_reads_what_the_build_wrote(self, pack):
        store = PhotographStore.read([pack], "train", repeat=[2])
        assert len(store.photographs) == 4 and len(store) == 8 and store.samples[:3] == [0, 0, 1]
        assert [p.labels is None for p in store.photographs] == [False, False, True, False]
        photo = store.photographs[0]
        assert photo.image.shape == (3, 192, 192) and photo.image.dtype == torch.uint8
        assert len(photo.corners) > 50 and photo.mask[tuple(photo.corners[0][::-1].astype(int))] == 1

    def test_a_missing_split_is_said(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="train-"):
            PhotographStore.read([str(tmp_path)], "train")


class TestOrder:
    def test_every_sample_once_per_epoch(self):
        seen = [i for step in range(10) for i in batch_indices(step, 20, 2, seed=0)[0]]
        assert sorted(seen) == list(range(20))

    def test_a_pure_function_of_seed_and_step(self):
        assert batch_indices(7, 10, 3, 0) == batch_indices(7, 10, 3, 0) != batch_indices(7, 10, 3, 1)
        assert len(batch_indices(3, 10, 3, 0)[0]) == 3, "batches may span two epochs"


class TestTargets:
    def test_peaks_lie_on_the_labels_in_both_views(self, pack):
        photos = PhotographStore.read([pack], "train").photographs[:1]
        views = make_views(photos, [(3, 0)], ViewSettings(size=96))
        for warp in (None, views.warp):
            heat = draw_heatmap([photos[0].labels], views.to_photograph, warp, 96)
            points = project(torch.linalg.inv(views.to_photograph), torch.from_numpy(photos[0].labels)[None])
            points = points[0] if warp is None else warp.to_second(points)[0]
            points = points[((points > 8) & (points < 87)).all(-1)].round().long()
            assert len(points) > 3 and (heat[0, 0, points[:, 1], points[:, 0]] > 0.85).all()
            assert heat.max() <= 1 and heat.mean() < 0.3

    def test_correspondences_are_inside_and_correspond(self, pack):
        photos = PhotographStore.read([pack], "train").photographs[:2]
        keys = [(3, 0), (3, 1)]
        views = make_views(photos, keys, ViewSettings(size=96))
        first, second, mask = draw_correspondences(photos, [p.labels for p in photos], keys, views, 40)
        assert first.shape == (2, 40, 2) and mask.sum() > 40
        assert torch.allclose(views.warp.to_first(second)[mask], first[mask], atol=0.01)
        assert (first[mask] >= 4).all() and (second[mask] <= 91).all()


class TestRun:
    def test_resume_is_exact_to_the_bit(self, pack, tmp_path):
        whole, method = train(config(pack, tmp_path / "whole"))
        assert 0 < (method.expansion.values[0] < 5).sum(), "the test must cover the state of the expansion"
        train(config(pack, tmp_path / "parts", stop_at=3))
        assert newest_checkpoint(str(tmp_path / "parts")).endswith("checkpoint-3")
        parts, resumed = train(config(pack, tmp_path / "parts"), resume=True)
        assert all(torch.equal(whole[name], parts[name]) for name in whole)
        for one, other in zip(method.expansion.values, resumed.expansion.values, strict=True):
            assert np.array_equal(one, other)

    def test_losses_are_logged_and_finite(self, pack, tmp_path):
        train(config(pack, tmp_path / "run"))
        lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
        wanted = {"consistency", "cross_entropy", "descriptor", "detector", "localisation", "total"}
        assert wanted <= set(lines[-1]) and all(np.isfinite(lines[-1][name]) for name in wanted)

    def test_the_triplet_loss_trains_too(self, pack, tmp_path):
        before = build_model(TINY).state_dict()
        after, _ = train(config(pack, tmp_path / "run", descriptor_loss="triplet", steps=1))
        assert any(not torch.equal(before[name], after[name]) for name in before)

    def test_validation_gives_all_figures(self, pack, tmp_path):
        train(config(pack, tmp_path / "run", steps=1, validation_pairs=1))
        line = json.loads((tmp_path / "run" / "log.jsonl").read_text().splitlines()[-1])
        assert {"repeatability", "matching_score", "auc", "registered", "error"} <= set(line)
        assert (tmp_path / "run" / "last" / "model.safetensors").is_file()

    def test_a_loss_that_is_not_finite_stops_the_run(self, pack, tmp_path):
        settings = config(pack, tmp_path / "run")
        store = PhotographStore.read([pack], "train")
        network = build_model(TINY)
        network.heatmap.bias.data.fill_(float("nan"))
        with pytest.raises(FloatingPointError, match="step 0 with the samples"):
            Trainer(settings, network, Teacher(settings, store), len(store)).run()
        assert newest_checkpoint(str(tmp_path / "run")) is None

    def test_unknown_names_are_refused(self, pack, tmp_path):
        with pytest.raises(ValueError, match="variant"):
            build_model({"variant": "huge"})
        with pytest.raises(ValueError, match="descriptor_loss"):
            Teacher(config(pack, tmp_path, descriptor_loss="hinge"), PhotographStore())


TWO_PROCESSES = """
import sys, torch, yaml
torch.set_num_threads(1)
from train.data import PhotographStore
from train.teacher import Teacher, TeacherConfig, build_model
from train.trainer import Trainer
settings = TeacherConfig(**yaml.safe_load(open(sys.argv[1])))
torch.manual_seed(0)
store = PhotographStore.read(settings.data, "train")
trainer = Trainer(settings, build_model(settings.model), Teacher(settings, store), len(store))
grads = {}
step = trainer.optimizer.step
def keep(*args, **kwargs):
    grads.update({n: p.grad.clone() for n, p in trainer.network.named_parameters() if p.grad is not None})
    return step(*args, **kwargs)
trainer.optimizer.step = keep
trainer.update()
assert trainer.accelerator.num_processes * settings.batch_size == 4
if trainer.accelerator.is_main_process:
    torch.save(grads, sys.argv[2])
# A process that leaves while the other one still speaks to it aborts now and then.
trainer.accelerator.wait_for_everyone()
trainer.accelerator.end_training()
"""


def test_two_processes_give_the_gradients_of_one_with_the_doubled_batch(pack, tmp_path):
    (tmp_path / "step.py").write_text(TWO_PROCESSES)
    found = []
    for processes, batch in ((1, 4), (2, 2)):
        # Without JPEG: its rounding turns the rounding errors of another batch size into other images.
        views = {"size": 96, "compression": 0}
        settings = config(pack, tmp_path / f"run{processes}", batch_size=batch, max_grad_norm=1e9, views=views)
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(vars(settings)))
        out = tmp_path / f"gradients{processes}.pt"
        kind = ["--multi_gpu"] if processes > 1 else []  # accelerate's word for several processes, on CPUs too
        launch = [sys.executable, "-m", "accelerate.commands.launch", *kind, "--num_processes", str(processes)]
        words = [*launch, str(tmp_path / "step.py"), str(tmp_path / "config.yaml"), str(out)]
        paths = f"{REPOSITORY}:{REPOSITORY / 'modeling'}"
        env = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
        done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        found.append(torch.load(out, weights_only=True))
    assert set(found[0]) == set(found[1])
    for name, gradient in found[0].items():
        scale = gradient.abs().max()
        assert torch.allclose(gradient, found[1][name], atol=float(1e-4 * scale + 1e-7)), name
