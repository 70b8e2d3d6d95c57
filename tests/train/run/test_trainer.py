import json
import os
import re
import runpy
import subprocess
import sys
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
import yaml
from huggingface_hub import ModelCard
from safetensors.torch import load_file

from tests.helpers.hub_stand_in import StandInHub
from tests.helpers.paths import REPOSITORY
from tests.helpers.training_pack import SMALL, TINY_SWIN, write_pack
from train import teacher
from train.ablation import AblationConfig
from train.data.store import PhotographStore, read_splits
from train.data.targets import draw_correspondences, draw_heatmap
from train.data.view_settings import Sometimes, ViewSettings
from train.data.views import make_views, project
from train.distill import DistillConfig, TeacherWeights
from train.methods.losses import Schedule
from train.methods.supervision import Supervision, SupervisionConfig
from train.pretrain import PretrainConfig
from train.run.configuration import parse_config
from train.run.models import ModelSettings, build_model, check_view_size
from train.run.trainer import Trainer, batch_indices, compile_blocks, launch, newest_checkpoint


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
        "model": SMALL,
        "views": ViewSettings(size=96),
        "points": 64,
        "localization_points": 8,
        "expansion_start": 0,
        "expansion_score": 0.0,
        "expansion_ratio": 1.0,
    }
    return SupervisionConfig(**{**settings, **kwargs})


def train(settings, resume=False):
    torch.manual_seed(0)  # the initial weights
    store = PhotographStore.read(settings.data, "train")
    method = Supervision(settings, store)
    trainer = Trainer(settings, build_model(settings.model), method, len(store))
    # Candidates that the run will see fade: a state that a checkpoint must carry.
    places = np.stack(np.meshgrid(np.arange(30, 170, 20), np.arange(30, 170, 20)), -1).reshape(-1, 2)
    method.expansion.update(0, places, places[:0], places[:0])
    trainer.run(resume)
    return {name: value.clone() for name, value in trainer.network.state_dict().items()}, method


class TestStore:
    def test_reads_what_the_build_wrote(self, pack):
        store = PhotographStore.read([pack], "train", repeat={"rendered": 2, "hrf": 3})
        assert len(store.photographs) == 4 and len(store) == 8 and store.samples[:3] == [0, 0, 1]
        assert [p.labels is None for p in store.photographs] == [False, False, False, True]
        photo = store.photographs[0]
        assert photo.image.shape == (3, 192, 192) and photo.image.dtype == torch.uint8
        assert len(photo.corners) > 50 and photo.mask[tuple(photo.corners[0][::-1].astype(int))] == 1

    def test_both_readers_give_the_same_samples(self, pack):
        one, other = (PhotographStore.read([pack], "train", reader=reader) for reader in ("pyarrow", "datasets"))
        assert one.samples == other.samples and len(one.photographs) == len(other.photographs) == 4
        for first, second in zip(one.photographs, other.photographs):
            assert torch.equal(first.image, second.image) and torch.equal(first.mask, second.mask)
            assert (first.patient, first.source) == (second.patient, second.source)
            assert np.array_equal(first.corners, second.corners)
            assert (first.labels is None) == (second.labels is None)
            assert first.labels is None or np.array_equal(first.labels, second.labels)

    @pytest.mark.parametrize("reader", ["pyarrow", "datasets"])
    def test_a_missing_split_is_said(self, pack, tmp_path, reader):
        for name in (pack, str(tmp_path), "nobody/nothing"):
            with pytest.raises(FileNotFoundError, match=f"{name} holds no keypoints/test-"):
                PhotographStore.read([name], "test", reader=reader)

    def test_photographs_of_two_sizes_are_refused(self, pack, tmp_path):
        other = write_pack(tmp_path / "small", [("unlabeled", "train", (5,))], size=96)
        with pytest.raises(ValueError, match=r"must have one size, got \[\(3, 96, 96\), \(3, 192, 192\)\]"):
            PhotographStore.read([pack, other], "train")

    @pytest.mark.parametrize("pairs", [0, 2])
    def test_patients_that_are_held_out_elsewhere_are_not_trained_on(self, pack, tmp_path, pairs):
        whole = PhotographStore.read([pack], "train")
        seen = {p.patient for p in whole.photographs}
        held = write_pack(tmp_path / "held", [("unlabeled", "validation", (int(min(seen)), 77))])
        settings = config(pack, tmp_path, validation_data=[held], validation_pairs=pairs)
        training, held_out = read_splits(settings)
        assert {p.patient for p in training.photographs} == seen - {min(seen)}
        assert len(training.samples) == len(training.photographs) == len(whole.photographs) - 1
        assert (held_out is None) == (pairs == 0)

    def test_labels_are_kept_by_patients_and_smaller_shares_lie_in_larger_ones(self, pack):
        store = PhotographStore.read([pack], "train")
        kept = []
        for share, count in ((1.0, 3), (0.67, 2), (0.34, 1), (0.01, 1)):
            part = store.keep_labels(share, seed=3)
            assert len(part.photographs) == 4 and part.samples == store.samples
            kept.append({p.patient for p in part.photographs if p.labels is not None})
            assert len(kept[-1]) == count and all(kept[-1] <= larger for larger in kept)
        assert len({tuple(p.labels is None for p in store.keep_labels(0.34, s).photographs) for s in range(9)}) > 1
        for share in (0.0, 1.5):
            with pytest.raises(ValueError, match="above 0 and at most 1"):
                store.keep_labels(share, seed=0)


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

    def test_resume_with_averaged_weights_is_exact_too(self, pack, tmp_path):
        straight = config(pack, tmp_path / "straight", average=0.6)
        trained, _ = train(straight)
        train(config(pack, tmp_path / "stopped", average=0.6, stop_at=3))
        train(config(pack, tmp_path / "stopped", average=0.6), resume=True)
        saved = [load_file(str(tmp_path / name / "last" / "model.safetensors")) for name in ("straight", "stopped")]
        assert all(torch.equal(saved[0][name], saved[1][name]) for name in saved[0])
        assert any(
            not torch.equal(saved[0][name], trained[name]) for name in saved[0]
        )  # the average, not the last step

    def test_a_run_begins_with_given_weights(self, pack, tmp_path):
        train(config(pack, tmp_path / "first", steps=2))
        again = config(
            pack, tmp_path / "again", steps=1, learning_rate=0.0, start_from=str(tmp_path / "first" / "last")
        )
        taken, _ = train(again)
        saved = load_file(str(tmp_path / "first" / "last" / "model.safetensors"))
        assert all(torch.equal(saved[name], taken[name]) for name in saved)

    def test_a_run_ends_when_its_time_is_spent_with_its_whole_schedule_behind_it(self, pack, tmp_path):
        settings = config(pack, tmp_path, steps=10_000, cooldown_steps=5_000, max_seconds=2.5, log_steps=1)
        settings.learning_rate = 1e-3
        rates, learning_rate = [], Trainer.learning_rate

        def noted(trainer, step):
            rates.append(learning_rate(trainer, step))
            return rates[-1]

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Trainer, "learning_rate", noted)
            train(replace(settings, warmup_steps=0))
        assert 2 < len(rates) < 1000 and (tmp_path / "last" / "model.safetensors").is_file()
        assert rates[0] == pytest.approx(1e-3) and rates == sorted(rates, reverse=True) and rates[-1] < 8e-4

    def test_views_made_ahead_are_the_same(self, pack, tmp_path):
        def views(ahead):
            method = Supervision(config(pack, tmp_path), PhotographStore.read([pack], "train"))
            if ahead:
                method.look_ahead([1, 0], 3, torch.device("cpu"))
            made = method.prepare([1, 0], 3, torch.device("cpu"))
            assert not method.ahead
            return made

        plain, ahead = views(False), views(True)
        assert plain.keys == ahead.keys and torch.equal(plain.views.images[1], ahead.views.images[1])

    def test_weights_of_another_shape_are_refused(self, pack, tmp_path):
        train(config(pack, tmp_path / "first", steps=1))
        settings = config(pack, tmp_path / "again", start_from=str(tmp_path / "first" / "last"))
        settings.model = replace(SMALL, descriptor_dim=16)
        with pytest.raises(ValueError, match="do not fit the network"):
            train(settings)

    def test_losses_are_logged_and_finite(self, pack, tmp_path):
        train(config(pack, tmp_path / "run"))
        lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
        wanted = {"consistency", "cross_entropy", "descriptor", "detector", "localization", "total"}
        assert wanted <= set(lines[-1]) and all(np.isfinite(lines[-1][name]) for name in wanted)

    def test_the_triplet_loss_trains_too(self, pack, tmp_path):
        before = build_model(SMALL).state_dict()
        after, _ = train(config(pack, tmp_path / "run", descriptor_loss="triplet", steps=1))
        assert any(not torch.equal(before[name], after[name]) for name in before)

    def test_validation_gives_all_figures(self, pack, tmp_path):
        train(config(pack, tmp_path / "run", steps=1, validation_pairs=1))
        line = json.loads((tmp_path / "run" / "log.jsonl").read_text().splitlines()[-1])
        assert {"repeatability", "matching_score", "auc", "registered", "error"} <= set(line)
        assert (tmp_path / "run" / "last" / "model.safetensors").is_file()

    def test_a_loss_that_is_not_finite_stops_the_run(self, pack, tmp_path):
        settings = config(pack, tmp_path / "run", checkpointing_steps=1)

        class Poisoned(Supervision):
            def __call__(self, model, network, indices, epoch, step, device):
                losses, found = super().__call__(model, network, indices, epoch, step, device)
                if step == 2:
                    losses["detector"] = losses["total"] = losses["total"] * float("nan")
                return losses, found

        method = Poisoned(settings, PhotographStore.read([pack], "train"))
        with pytest.raises(FloatingPointError, match=r"\(detector\) at step 2 with the samples 3 \(rendered 2\), 0 "):
            Trainer(settings, build_model(SMALL), method, len(method.store)).run()
        assert newest_checkpoint(str(tmp_path / "run")).endswith("checkpoint-2")
        assert not (tmp_path / "run" / "last").exists()

    def test_accumulated_gradients_are_those_of_the_larger_batch(self, pack, tmp_path):
        found = []
        for batch, turns in ((4, 1), (2, 2)):
            # Without JPEG: its rounding turns the rounding errors of another batch size into other images.
            settings = config(pack, tmp_path, batch_size=batch, gradient_accumulation_steps=turns, max_grad_norm=1e9)
            settings.views.compression = 0
            method = Supervision(settings, PhotographStore.read([pack], "train"))
            torch.manual_seed(0)
            trainer, grads = Trainer(settings, build_model(SMALL), method, 4), []
            trainer.accelerator.clip_grad_norm_ = lambda parameters, _, grads=grads: grads.extend(
                p.grad.clone() for p in parameters
            )
            trainer.update()
            values = [(v.tolist(), p.tolist()) for v, p in zip(method.expansion.values, method.expansion.points)]
            found.append((grads, values, trainer))
        (whole, seen, _), (parts, seen_too, _) = found
        assert len(whole) == len(parts) > 10 and any(grad.abs().max() > 1e-3 for grad in whole)
        for one, other in zip(whole, parts):
            assert torch.allclose(one, other, atol=float(1e-4 * one.abs().max() + 1e-7))
        assert [values for values, _ in seen] == [values for values, _ in seen_too]

    def test_a_swin_network_trains_without_a_teacher_too(self, pack, tmp_path):
        model = replace(TINY_SWIN, window_size=2)
        before = build_model(model).state_dict()
        after, _ = train(config(pack, tmp_path / "run", model=model, steps=1, views=ViewSettings(size=64)))
        assert set(before) == set(after) and not torch.equal(before["heatmap.weight"], after["heatmap.weight"])

    def test_unknown_names_are_refused(self, pack, tmp_path):
        with pytest.raises(ValueError, match="variant"):
            build_model(ModelSettings(variant="huge"))
        with pytest.raises(ValueError, match=r"Unknown names \['encoder_widths'\] .* swin_retina knows"):
            build_model(ModelSettings(family="swin_retina", encoder_widths=[4, 4, 4, 4]))
        with pytest.raises(ValueError, match="Views of 96 pixels are too small for the network, which wants .* 113"):
            teacher.prepare(config(pack, tmp_path, model=ModelSettings(family="swin_retina")))


TWO_PROCESSES = """
import sys, torch
torch.set_num_threads(1)
from train.data.store import PhotographStore
from train.distill import DistillConfig, Distillation
from train.methods.supervision import Supervision, SupervisionConfig
from train.run.configuration import parse_config
from train.run.models import build_model
from train.run.trainer import Trainer
grads = {}
for kind, config in (("alone", SupervisionConfig), ("taught", DistillConfig)):
    settings, _ = parse_config(config, words=["--config", f"{sys.argv[1]}/{kind}.yaml"])
    torch.manual_seed(0)
    store, network = PhotographStore.read(settings.data, "train"), build_model(settings.model)
    method = Supervision(settings, store) if kind == "alone" else Distillation(settings, store, network)
    trainer = Trainer(settings, network, method, len(store))
    assert trainer.accelerator.num_processes * settings.batch_size == 4
    modules = [("network", network)] + ([("heads", method.heads)] if method.heads is not None else [])
    step = trainer.optimizer.step
    def keep(*args, **kwargs):
        for prefix, module in modules:
            for name, p in module.named_parameters():
                grads[f"{kind} {prefix} {name.removeprefix('module.')}"] = p.grad.clone()
        return step(*args, **kwargs)
    trainer.optimizer.step = keep
    trainer.update()
if trainer.accelerator.is_main_process:
    torch.save(grads, sys.argv[2])
# A process that leaves while the other one still speaks to it aborts now and then.
trainer.accelerator.wait_for_everyone()
trainer.accelerator.end_training()
"""


@pytest.mark.slow
def test_two_processes_give_the_gradients_of_one_with_the_doubled_batch(pack, tmp_path, monkeypatch):
    """Of a network alone, and of a student with projections beside it."""
    (tmp_path / "step.py").write_text(TWO_PROCESSES)
    build_model(SMALL).save_pretrained(tmp_path / "teacher")
    terms = TeacherWeights(output=1.0, contrastive=0.0, dense=1.0, features=1.0)
    taught = {"teacher": str(tmp_path / "teacher"), "distillation": terms}
    taught["model"] = replace(TINY_SWIN, descriptor_dim=8, hidden_dropout_prob=0.0)
    found = []
    for processes, batch in ((1, 4), (2, 2)):
        # Without JPEG: its rounding turns the rounding errors of another batch size into other images.
        views = ViewSettings(size=64, compression=0)
        settings = config(pack, tmp_path / f"run{processes}", batch_size=batch, max_grad_norm=1e9, views=views)
        for kind, values in (("alone", settings), ("taught", DistillConfig(**{**vars(settings), **taught}))):
            (tmp_path / f"{kind}.yaml").write_text(yaml.safe_dump(asdict(values)))
        out = tmp_path / f"gradients{processes}.pt"
        words = [str(tmp_path / "step.py"), str(tmp_path), str(out)]
        if processes == 1:
            threads = torch.get_num_threads()
            monkeypatch.setattr(sys, "argv", words)
            runpy.run_path(words[0])
            torch.set_num_threads(threads)
        else:  # --multi_gpu is accelerate's word for several processes, on CPUs too
            launcher = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
            paths = f"{REPOSITORY}:{REPOSITORY / 'modeling'}"
            env = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
            done = subprocess.run([*launcher, *words], env=env, capture_output=True, text=True, timeout=300)
            assert done.returncode == 0, done.stdout + done.stderr
        found.append(torch.load(out, weights_only=True))
    assert set(found[0]) == set(found[1])
    assert {" ".join(name.split()[:2]) for name in found[0]} == {"alone network", "taught network", "taught heads"}
    for name, gradient in found[0].items():
        scale = gradient.abs().max()
        # (An instance norm takes away what some weights do: their gradients are rounding errors, about 1e-7.)
        assert torch.allclose(gradient, found[1][name], atol=float(1e-4 * scale + 1e-6)), name


class TestCommandLine:
    def launch(self, monkeypatch, *words):
        monkeypatch.setattr(sys, "argv", ["train.teacher", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            launch(SupervisionConfig, teacher.prepare)
        assert stop.value.code == 2

    @pytest.mark.parametrize(
        "words, sentence",
        [
            (["--color", "red"], "--color"),
            (["--views.rotatoin", "3"], "--views.rotatoin"),
            (["red"], "red"),
            (["--config", "nowhere.yaml"], "nowhere.yaml"),
            (["--steps", "many"], "`steps`: Expected a int. Got value: many"),
            (["--descriptor_loss", "hinge"], "Expected a Literal['contrastive', 'triplet']. Got value: hinge"),
            (["--losses.descriptor", "much"], "`losses.descriptor`: Expected float, Schedule. Got value: much"),
            (["--losses.descriptor", "{start: 1}"], "Got value: {start=1.0, end=None, steps=1}"),
            (["--losses.descriptor", "-1"], "`descriptor` must not be below 0"),
            (["--losses.descriptor", "{start: 1, end: 0, steps: 0}"], "over less than 1 step"),
            (["--model.variant", "huge"], 'Unknown model variant "huge"'),
            (["--data", "[/nowhere]"], "/nowhere holds no keypoints/train-"),
        ],
    )
    def test_bad_input_is_one_sentence(self, monkeypatch, capsys, words, sentence):
        self.launch(monkeypatch, *words)
        *bar, line = capsys.readouterr().err.strip().splitlines()
        assert line.startswith("Error: ") and sentence in line and not any("Traceback" in part for part in bar)

    @pytest.mark.parametrize("recipe", ["views: {rotatoin: 3}", "views: {size: large}", "views: [", "words"])
    def test_a_bad_recipe_is_one_sentence(self, monkeypatch, capsys, tmp_path, recipe):
        (tmp_path / "recipe.yaml").write_text(recipe)
        self.launch(monkeypatch, "--config", tmp_path / "recipe.yaml")
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert line.startswith("Error: ")

    def test_a_wrong_repository_is_refused_before_the_training(self, monkeypatch, capsys, pack, tmp_path):
        self.launch(monkeypatch, "--data", f"[{pack}]", "--push_to_hub", "nobody", "--output_dir", tmp_path / "run")
        assert "owner/name is wanted" in capsys.readouterr().err
        assert not (tmp_path / "run").exists()

    def test_a_checkpoint_of_another_network_is_refused(self, monkeypatch, capsys, pack, tmp_path):
        settings = config(pack, tmp_path / "run", steps=1)
        train(settings)
        settings.model, settings.steps = replace(SMALL, descriptor_dim=16), 2
        (tmp_path / "other.yaml").write_text(yaml.safe_dump(asdict(settings)))
        self.launch(monkeypatch, "--config", tmp_path / "other.yaml", "--resume")
        assert "is a checkpoint of another network or method" in capsys.readouterr().err

    def test_values_on_the_command_line_go_before_the_recipe(self, tmp_path):
        (tmp_path / "recipe.yaml").write_text(
            "steps: 7\nbatch_size: 3\nviews: {size: 64, haze: {low: 0.1, high: 0.4}}\n"
        )
        words = "--steps 9 --learning_rate 1e-3 --views.haze.probability .1 --model.variant published --resume"
        words += " --distillation.output 0.5 --distillation.dense {start:\u00a01,end:\u00a00,steps:\u00a04}"
        words = [word.replace("\u00a0", " ") for word in words.split(" ")]
        found, resume = parse_config(DistillConfig, words=["--config", str(tmp_path / "recipe.yaml"), *words])
        assert (found.steps, found.batch_size, found.learning_rate, resume) == (9, 3, 1e-3, True)
        assert found.views == ViewSettings(size=64, haze=Sometimes(0.1, 0.1, 0.4))
        assert found.model == ModelSettings(family="swin_retina", variant="published")
        assert found.distillation.at(1) == {"output": 0.5, "contrastive": 1.0, "dense": 0.75, "features": 0.0}

    def test_what_is_written_down_can_be_read_again(self, pack, tmp_path):
        settings = DistillConfig(data=[pack], distillation=TeacherWeights(dense=Schedule(1.0, 0.2, 9)), model=TINY_SWIN)
        (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(asdict(settings)))
        assert parse_config(DistillConfig, words=["--config", str(tmp_path / "recipe.yaml")]) == (settings, False)

    @pytest.mark.parametrize("kind", [SupervisionConfig, DistillConfig, PretrainConfig, AblationConfig])
    def test_every_name_is_explained(self, monkeypatch, capsys, kind):
        with pytest.raises(SystemExit) as stop:
            parse_config(kind, words=["--learning_rate", "1e-3", "--help"][kind is AblationConfig and 2 :])
        assert stop.value.code == 0
        text = " ".join(capsys.readouterr().out.split())
        prefix = "--training." if kind is AblationConfig else "--"
        wanted = ("learning_rate LEARNING_RATE Of AdamW after the warm-up. (type: float,", "views.haze.probability")
        assert all(prefix + words in text for words in wanted)
        undocumented = re.findall(r"(--\S+) [A-Z_]+ \(type", text)
        assert undocumented == []


@pytest.mark.parametrize("model", [SMALL, TINY_SWIN])
def test_every_block_is_compiled_by_itself(monkeypatch, model):
    network, compiled = build_model(model), []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda module, **options: compiled.append(module))
    compile_blocks(network)
    trained = {id(p) for p in network.parameters()}
    assert not any(isinstance(module, torch.nn.ModuleList) for module in compiled)
    assert {id(p) for module in compiled for p in module.parameters()} == trained


RECIPES = {"ablation": AblationConfig, "distill": DistillConfig, "pretrain": PretrainConfig, "student": DistillConfig}


@pytest.mark.parametrize("path", sorted((REPOSITORY / "train" / "recipes").glob("*.yaml")), ids=lambda path: path.stem)
def test_recipes_are_whole(path):
    kind = RECIPES.get(path.stem.split("_")[0], SupervisionConfig)
    found, _ = parse_config(kind, words=["--config", str(path)])
    if kind is AblationConfig:
        found.check()
        found = found.training
    else:
        with torch.device("meta"):
            check_view_size(build_model(found.model), found.views.size, "network")
    assert found.data[0] in ("build/training", "build/pool") and found.cooldown_steps < found.steps


PUSH = """
import sys, torch
from dataclasses import replace
torch.set_num_threads(1)
from retinamatch.publishing import PublishError
from train.methods.supervision import SupervisionConfig, SupervisionWeights
from train.run.configuration import parse_config
from train.teacher import prepare
settings, _ = parse_config(SupervisionConfig, words=["--config", sys.argv[1]])
def run(resume=False, **changes):
    trainer = prepare(replace(settings, **changes))
    trainer.run(resume)
    return trainer
try:
    run(push_to_hub="me/failed", losses=SupervisionWeights(float("nan")), output_dir=settings.output_dir + "-failed")
except FloatingPointError:
    print("failed as it should")
try:
    run()
except PublishError as error:
    print(error)
trainer = run(resume=True)
assert trainer.progress.step == 1
from transformers import AutoModel, AutoImageProcessor
import retinamatch
network = AutoModel.from_pretrained("me/trained", trust_remote_code=False)
print(type(network).__name__, AutoImageProcessor.from_pretrained("me/trained", trust_remote_code=False).size["height"])
"""


@pytest.mark.slow
def test_pushes_the_weights_when_all_went_well_and_resumes_a_push(pack, tmp_path):
    (tmp_path / "push.py").write_text(PUSH)
    settings = config(pack, tmp_path / "run", steps=1, push_to_hub="me/trained", views=ViewSettings(size=64))
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(asdict(settings)))
    with StandInHub() as hub:
        hub.fail_commits = 1
        env = {**hub.environment(tmp_path / "cache"), "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'modeling'}"}
        words = [sys.executable, str(tmp_path / "push.py"), str(tmp_path / "config.yaml")]
        done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "failed as it should" in done.stdout
        assert "The Hub rejected the push of me/trained (500); --resume pushes again." in done.stdout
        assert done.stdout.splitlines()[-1] == "LKSuperRetinaModel 768"
        assert list(hub.repositories) == [("models", "me/trained")] and len(hub.commits) == 1
        stored = hub.repositories["models", "me/trained"]
    assert {"README.md", "config.json", "model.safetensors", "preprocessor_config.json", "pipeline.py"} <= set(stored)
    card = ModelCard(stored["README.md"].decode())
    assert card.data.pipeline_tag == "keypoint-detection" and "1 steps. " in card.text and "\nsteps: 1\n" in card.text
    (tmp_path / "stored.safetensors").write_bytes(stored["model.safetensors"])
    pushed, saved = (
        load_file(tmp_path / "stored.safetensors"),
        load_file(tmp_path / "run" / "last" / "model.safetensors"),
    )
    assert torch.equal(pushed["lk_superretina.heatmap.weight"], saved["heatmap.weight"].half())


@pytest.mark.parametrize("name", ["best", "last", "hub"])
@pytest.mark.parametrize("read", ["--start_from", "--teacher", "--data"])
def test_what_a_run_reads_is_not_overwritten(tmp_path, monkeypatch, capsys, name, read):
    place = tmp_path / "run" / name
    words = ["train", "--output_dir", str(tmp_path / "run"), read, f"[{place}]" if read == "--data" else str(place)]
    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(SystemExit) as left:
        launch(DistillConfig, lambda config: pytest.fail("the work has begun"))
    assert left.value.code == 2
    assert capsys.readouterr().err == (
        f"Error: The output folder {place} holds the input {place}; choose another one.\n"
    )
