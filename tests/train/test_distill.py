import copy
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from transformers import AutoModel

from retinamatch.image_processing_retina import PUBLISHED_ENHANCEMENT, RetinaImageProcessor
from tests.helpers.training_pack import SMALL, STUDENT
from train.data.store import PhotographStore
from train.data.view_settings import ViewSettings
from train.data.views import make_views, pixel_grid
from train.distill import Distillation, DistillConfig, TeacherWeights, build_student
from train.methods.losses import Schedule
from train.methods.teacher_outputs import TeacherOutputs, capture
from train.run.models import build_model
from train.run.trainer import Trainer, newest_checkpoint


ALL = TeacherWeights(output=1.0, contrastive=0.5, dense=Schedule(1.0, 0.0, 3), features=0.5)


@pytest.fixture(scope="module")
def store(pack):
    return PhotographStore.read([pack], "train")


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """A small teacher with random weights and many peaks, as a run saves it."""
    return save_teacher(tmp_path_factory.mktemp("teacher"), seed=3)


def save_teacher(folder, seed, processor=None):
    torch.manual_seed(seed)
    network = build_model(SMALL)
    network.heatmap.weight.data.normal_(std=30)
    network.save_pretrained(folder)
    (processor or RetinaImageProcessor()).save_pretrained(folder)
    return str(folder)


def config(pack, folder, taught_by, **kwargs):
    settings = {
        "data": [pack],
        "output_dir": str(folder),
        "steps": 4,
        "batch_size": 2,
        "checkpointing_steps": 2,
        "cooldown_steps": 2,
        "validation_pairs": 0,
        "mixed_precision": "no",
        "model": STUDENT,
        "teacher": taught_by,
        "distillation": ALL,
        "views": ViewSettings(size=64),
        "points": 32,
        "localization_points": 8,
    }
    return DistillConfig(**{**settings, **kwargs})


def make(settings, store):
    torch.manual_seed(0)
    network, _ = build_student(settings, 8)
    method = Distillation(settings, store, network)
    return Trainer(settings, network, method, len(store)), network, method


def copied(settings, store):
    """A student that is its teacher, and one batch of both."""
    network = AutoModel.from_pretrained(settings.teacher, trust_remote_code=False)
    method = Distillation(settings, store, network)
    batch = method.prepare([0, 1], 0, "cpu")
    with capture(network, list(method.layers)) as features:
        dense, _ = method.supervise(network, network, batch, 0)
    return network, method, batch, dense, method.teacher(batch.photographs, batch.views), features


class TestRun:
    def test_resume_is_exact_to_the_bit(self, pack, store, teacher, tmp_path):
        options = {"expansion_start": 0, "expansion_score": 0.0, "expansion_ratio": 1.0}
        found = []
        for name, stops in (("whole", [None]), ("parts", [2, None])):
            for stop in stops:
                trainer, network, method = make(config(pack, tmp_path / name, teacher, stop_at=stop, **options), store)
                places = np.stack(np.meshgrid(np.arange(30, 170, 20), np.arange(30, 170, 20)), -1).reshape(-1, 2)
                method.expansion.update(0, places, places[:0], places[:0])
                trainer.run(resume=True)
            found.append((network.state_dict(), method.heads.state_dict(), method.expansion))
        (whole, heads, values), (parts, heads_too, values_too) = found
        assert len(heads) == 4 and network.config.hidden_dropout_prob == 0.5, "projections and dropout must take part"
        assert all(torch.equal(whole[name], parts[name]) for name in whole)
        assert all(torch.equal(heads[name], heads_too[name]) for name in heads)
        assert len(values.values[0]) and all(np.array_equal(a, b) for a, b in zip(values.values, values_too.values))
        begun = make(config(pack, tmp_path, teacher), store)[2].heads.state_dict()
        assert all(not torch.equal(begun[name], heads[name]) for name in begun), "the projections must have learned"

    def test_nothing_of_the_teacher_or_the_projections_is_saved(self, pack, store, teacher, tmp_path):
        trainer, network, _ = make(config(pack, tmp_path / "run", teacher, steps=1), store)
        trainer.run()
        with safe_open(tmp_path / "run" / "last" / "model.safetensors", "pt") as file:
            assert set(file.keys()) == set(network.state_dict())
        opened = AutoModel.from_pretrained(tmp_path / "run" / "last", trust_remote_code=False)
        assert type(opened) is type(network)
        assert all(torch.equal(v, network.state_dict()[name]) for name, v in opened.state_dict().items())
        assert RetinaImageProcessor.from_pretrained(tmp_path / "run" / "last").size["height"] == 768
        with safe_open(f"{newest_checkpoint(str(tmp_path / 'run'))}/model.safetensors", "pt") as file:
            assert set(file.keys()) == set(network.state_dict())
        assert not {id(p) for g in trainer.optimizer.param_groups for p in g["params"]} & {
            id(p) for p in trainer.method.teacher.network.parameters()
        }

    def test_all_terms_are_logged_and_weighted(self, pack, store, teacher, tmp_path):
        trainer, _, _ = make(config(pack, tmp_path / "run", teacher, log_steps=1, steps=2), store)
        trainer.run()
        for step, line in enumerate((tmp_path / "run" / "log.jsonl").read_text().splitlines()):
            line = json.loads(line)
            taught = sum(weight * line[f"teacher_{name}"] for name, weight in ALL.at(step).items())
            assert line["total"] == pytest.approx(line["own"] + taught, abs=1e-3)
            assert all(line[f"teacher_{name}"] > 0.01 for name in ALL.active)

    def test_descriptors_are_as_long_as_the_teachers_unless_the_recipe_says_otherwise(self, pack, teacher, tmp_path):
        assert build_student(config(pack, tmp_path, teacher), 8)[0].config.descriptor_dim == 8
        settings = config(pack, tmp_path, teacher, model=replace(STUDENT, descriptor_dim=12))
        assert build_student(settings, 8)[0].config.descriptor_dim == 12


class TestTerms:
    @pytest.mark.parametrize("sees", ["view", "clean"])
    def test_a_student_that_is_its_teacher_has_nothing_to_learn(self, pack, store, teacher, tmp_path, sees):
        settings = config(pack, tmp_path, teacher, model=SMALL, teacher_sees=sees, agreement=-1.0)
        network, method, batch, dense, taught, features = copied(settings, store)
        for layer in method.heads.layers.values():
            layer.weight.data = torch.eye(layer.out_channels)[:, :, None, None]
            layer.bias.data.zero_()
        losses = {name: getattr(method, f"{name}_loss")(network, batch, dense, taught, features) for name in ALL.active}
        assert all(value.shape == (4,) for value in losses.values())
        for name in ("output", "dense", "features"):
            assert (losses[name].max() < 1e-3) == (sees == "view"), name

    def test_contrastive_prefers_the_teachers_descriptors(self, pack, store, teacher, tmp_path):
        settings = config(pack, tmp_path, teacher, model=SMALL, teacher_sees="view")
        network, method, batch, dense, taught, features = copied(settings, store)
        right = method.contrastive_loss(network, batch, dense, taught, features)
        dense.descriptor_map = dense.descriptor_map.flip(0)
        assert (right < method.contrastive_loss(network, batch, dense, taught, features)).all()
        taught.logits = torch.full_like(taught.logits, -20.0)  # no keypoint anywhere
        assert (method.contrastive_loss(network, batch, dense, taught, features) == 0).all()

    def test_dense_leaves_out_what_the_teacher_does_not_recognize(self, pack, store, teacher, tmp_path):
        losses = []
        for agreement in (-1.0, 1.1):
            settings = config(pack, tmp_path, teacher, model=SMALL, agreement=agreement)
            network, method, batch, dense, taught, features = copied(settings, store)
            losses.append(method.dense_loss(network, batch, dense, taught, features))
        assert (losses[0] > 0).all() and (losses[1] == 0).all()

    def test_a_schedule_is_linear_and_then_constant(self):
        weights = TeacherWeights(output=2.0, dense=Schedule(1.0, 0.2, 4))
        dense = [weights.at(step)["dense"] for step in (0, 2, 4, math.inf)]
        assert dense == pytest.approx([1.0, 0.6, 0.2, 0.2]) and weights.at(7)["output"] == 2
        assert weights.active == ["output", "contrastive", "dense"]


class TestWhatTheTeacherSees:
    def test_clean_views_do_not_depend_on_the_photometric_changes(self, store):
        photographs, keys = store.photographs[:2], [(1, 0), (1, 1)]
        mild = {"blur": 0.31, "light": 0.0, "contrast": (1.0, 1.0), "noise": 0.0, "lesions": 0, "compression": 0}
        one = make_views(photographs, keys, ViewSettings(size=64), clean=True)
        other = make_views(photographs, keys, ViewSettings(size=64, **mild), clean=True)
        assert make_views(photographs, keys, ViewSettings(size=64)).clean is None
        for k in (0, 1):
            assert torch.equal(one.clean[k], other.clean[k]) and not torch.equal(one.images[k], other.images[k])

    def test_an_average_is_another_answer_about_the_same_places(self, store, teacher, tmp_path):
        photograph = store.photographs[0]
        alone, average = (TeacherOutputs(teacher, "photograph", average=n) for n in (1, 5))
        (_, one), (_, other) = (outputs.of_photograph(photograph, "cpu") for outputs in (alone, average))
        assert one.shape == other.shape and alone.fingerprint() != average.fingerprint()
        one = torch.nn.functional.normalize(one.float(), dim=1)
        assert 0.5 < (one * other.float()).sum(1).mean() < 0.999

    def test_a_photograph_is_described_once_and_read_at_the_exact_place(self, store, teacher):
        photographs = store.photographs[:2]
        views = make_views(photographs, [(2, 0), (2, 1)], ViewSettings(size=64))
        outputs = TeacherOutputs(teacher, "photograph")
        taught = outputs(photographs, views)
        places = torch.rand(2, 20, 2) * 40 + 12
        both = taught.describe(torch.cat([places, views.warp.to_second(places)])).chunk(2)
        assert torch.allclose(*both, atol=1e-3), "one place has one descriptor"
        logits, maps = outputs.of_photograph(photographs[1], "cpu")
        grid = pixel_grid(64)[None]
        at = views.to_photograph[1] @ torch.tensor([20.0, 30.0, 1.0])
        assert torch.allclose(
            outputs.network.sample_descriptors(maps.float(), at[None, None, :2])[0, 0],
            taught.describe(grid.expand(4, -1, -1))[1, 30 * 64 + 20],
            atol=1e-4,
        )
        x, y = at[:2].tolist()
        around = logits[0, 0, int(y) : int(y) + 2, int(x) : int(x) + 2].float()
        assert around.min() - 1e-3 <= taught.logits[1, 0, 30, 20] <= around.max() + 1e-3


class TestCache:
    def ask(self, teacher, cache, store, count=2):
        outputs = TeacherOutputs(teacher, "photograph", str(cache))
        return [outputs.of_photograph(photograph, "cpu") for photograph in store.photographs[:count]]

    def test_is_computed_once_and_changes_nothing(self, store, teacher, tmp_path, monkeypatch):
        without = TeacherOutputs(teacher, "photograph").of_photograph(store.photographs[0], "cpu")
        first = self.ask(teacher, tmp_path, store)
        monkeypatch.setattr(TeacherOutputs, "_compute", None)
        again = self.ask(teacher, tmp_path, store)
        for one, other in zip([without, *first], [first[0], *again]):
            assert all(torch.equal(a, b) for a, b in zip(one, other))
        with pytest.raises(TypeError):  # a photograph that is not there yet
            self.ask(teacher, tmp_path, store, count=3)

    @pytest.mark.parametrize("damage", ["cut", "flipped", "exchanged"])
    def test_broken_or_foreign_entries_are_computed_anew(self, store, teacher, tmp_path, damage):
        right = self.ask(teacher, tmp_path, store)
        first, second = sorted(tmp_path.glob("*/*.safetensors"))
        content = bytearray(first.read_bytes())
        if damage == "cut":
            content = content[:500]
        elif damage == "flipped":
            content[-9] ^= 1
        else:
            content = second.read_bytes()
        first.write_bytes(content)
        with pytest.warns(UserWarning, match="computed anew"):
            found = self.ask(teacher, tmp_path, store)
        assert all(torch.equal(a, b) for one, other in zip(found, right) for a, b in zip(one, other))
        self.ask(teacher, tmp_path, store)  # and mended, hence without a warning: pytest would show it

    def test_of_another_teacher_is_said_and_not_used(self, store, teacher, tmp_path):
        first = self.ask(teacher, tmp_path / "cache", store, 1)
        other = save_teacher(tmp_path / "other", seed=4)
        with pytest.warns(UserWarning, match="was made by another teacher or with other settings"):
            second = self.ask(other, tmp_path / "cache", store, 1)
        assert not torch.equal(first[0][0], second[0][0])
        assert len(list((tmp_path / "cache").glob("*/*.safetensors"))) == 2


class TestBadInput:
    @pytest.mark.parametrize(
        "changes, sentence",
        [
            ({"model": replace(STUDENT, descriptor_dim=12)}, "teacher has 8 numbers and one of the student 12"),
            ({"teacher": "nothing"}, "Unknown model 'nothing'"),
            ({"teacher_cache": "cache"}, "wants `teacher_sees: photograph`, got clean"),
            ({"teacher_sees": "photograph"}, "`teacher_sees` must be clean or view"),
            ({"teacher_sees": "photograph", "distillation": TeacherWeights()}, "wants `views.flip` 0, got 0.5"),
            ({"teacher_average": 3}, "`teacher_sees: photograph` for more than one, got 3 with clean"),
            ({"teacher_average": 0}, "wants a number of views, .* got 0 with clean"),
            ({"feature_layers": {"decoder.9": "encoder.3"}}, "SwinRetinaModel has no layer 'decoder.9'"),
            (
                {"views": ViewSettings(size=48)},
                "Views of 48 pixels are too small for the student, which wants at least 49",
            ),
            ({"labeled_fraction": 0.0}, "`labeled_fraction` must be above 0"),
        ],
    )
    def test_is_one_sentence(self, pack, store, teacher, tmp_path, changes, sentence):
        with pytest.raises(ValueError, match=sentence) as error:
            make(config(pack, tmp_path, teacher, **changes), store)
        assert "\n" not in str(error.value)

    def test_a_teacher_with_another_processor(self, pack, store, tmp_path):
        other = save_teacher(tmp_path / "clahe", 0, RetinaImageProcessor(**PUBLISHED_ENHANCEMENT))
        with pytest.raises(ValueError, match="The processor of the teacher .* do_clahe True instead of False"):
            make(config(pack, tmp_path, other), store)

    def test_nan_stops_with_step_and_sample_and_the_last_checkpoint_stays(self, pack, store, teacher, tmp_path):
        trainer, network, method = make(config(pack, tmp_path / "run", teacher, stop_at=2), store)
        trainer.run()
        trainer, network, method = make(config(pack, tmp_path / "run", teacher), store)
        broken = copy.deepcopy(method.teacher.network)
        broken.heatmap.bias.data.fill_(float("nan"))
        method.teacher.network = broken
        with pytest.raises(
            FloatingPointError, match=r"\(teacher_output\) at step 2 with the samples \d \(rendered \d\)"
        ):
            trainer.run(resume=True)
        assert newest_checkpoint(str(tmp_path / "run")).endswith("checkpoint-2")
