import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from tests.helpers.training_pack import STUDENT
from train.data.store import PhotographStore
from train.data.view_settings import ViewSettings
from train.pretrain import PretrainConfig, Pretraining, TaskWeights, load_encoder, prepare
from train.run.models import ModelSettings, build_model


def config(pack, folder, **kwargs):
    settings = {
        "data": [pack],
        "output_dir": str(folder),
        "steps": 4,
        "batch_size": 2,
        "checkpointing_steps": 2,
        "cooldown_steps": 2,
        "validation_steps": 2,
        "validation_pairs": 1,
        "mixed_precision": "no",
        "model": STUDENT,
        "views": ViewSettings(size=64),
    }
    return PretrainConfig(**{**settings, **kwargs})


def run(settings, resume=False):
    torch.manual_seed(0)
    trainer = prepare(settings)
    trainer.run(resume)
    return trainer


@pytest.fixture(scope="module")
def pretrained(pack, tmp_path_factory):
    """A whole run, and where it lies."""
    folder = tmp_path_factory.mktemp("pretrain") / "run"
    return run(config(pack, folder)), folder


class TestRun:
    def test_resume_is_exact_to_the_bit(self, pack, pretrained, tmp_path):
        whole, _ = pretrained
        run(config(pack, tmp_path / "parts", stop_at=2))
        parts = run(config(pack, tmp_path / "parts"), resume=True)
        assert whole.network.config.hidden_dropout_prob == 0.5, "dropout must take part"
        for one, other in ((whole.network, parts.network), (whole.method.heads, parts.method.heads)):
            assert all(torch.equal(v, other.state_dict()[name]) for name, v in one.state_dict().items())

    def test_losses_are_logged_for_training_and_held_out_photographs(self, pretrained):
        lines = [json.loads(line) for line in (pretrained[1] / "log.jsonl").read_text().splitlines()]
        found = {name: value for line in lines for name, value in line.items()}
        for name in ("rotation", "masking", "total"):
            assert np.isfinite(found[name]) and np.isfinite(found[f"held_out_{name}"])
        assert found["total"] == pytest.approx(0.1 * found["rotation"] + found["masking"], abs=1e-4)

    def test_both_tasks_can_be_learned(self, pack, tmp_path):
        """The same views again and again: a network that sees the right targets gets better at both."""
        store = PhotographStore.read([pack], "train")
        torch.manual_seed(0)
        student = build_model(replace(STUDENT, hidden_dropout_prob=0.0))
        method = Pretraining(config(pack, tmp_path, losses=TaskWeights(1.0, 1.0)), store, student)
        optimizer = torch.optim.AdamW([*student.encoder.parameters(), *method.heads.parameters()], 1e-3)
        history = []
        for _ in range(25):
            losses = method.losses(student.encoder, store.photographs[:2], [(0, 0), (0, 1)], "cpu", 0)
            losses["total"].mean().backward()
            optimizer.step()
            optimizer.zero_grad()
            history.append({name: float(value.detach().mean()) for name, value in losses.items()})
        assert history[-1]["rotation"] < 0.5 * history[0]["rotation"]
        assert history[-1]["masking"] < 0.9 * history[0]["masking"]


def turn_like(view, other):
    """The quarter turn of a view that comes closest to another one, where that shows anything."""
    turns = [torch.rot90(view, k, (1, 2)) for k in range(4)]
    return turns[int(torch.stack([(turn - other)[other != 0].abs().sum() for turn in turns]).argmin())]


class TestTasks:
    def seen(self, pack, tmp_path, tasks):
        """What the encoder gets, and the losses."""
        store, student = PhotographStore.read([pack], "train"), build_model(STUDENT).eval()
        method, inputs = Pretraining(config(pack, tmp_path, losses=tasks), store, student), []

        def encoder(pixels):
            inputs.append(pixels)
            return student.encoder(pixels)

        return method.losses(encoder, store.photographs[:2], [(0, 0), (0, 1)], "cpu", 0), inputs[0]

    def test_one_alone_leaves_the_other_out(self, pack, tmp_path):
        turned, pixels = self.seen(pack, tmp_path, TaskWeights(1.0, 0.0))
        assert set(turned) == {"rotation", "total"} and (F.avg_pool2d(pixels.abs(), 32) > 0).all()
        hidden, covered = self.seen(pack, tmp_path, TaskWeights(0.0, 1.0))
        assert set(hidden) == {"masking", "total"}
        squares = F.max_pool2d(covered.abs(), 32)[:, 0] == 0
        assert (squares.sum((1, 2)) == 2).all(), "half of four squares"
        plain = torch.stack([turn_like(p, c) for p, c in zip(pixels, covered)])
        assert torch.equal(plain[covered != 0], covered[covered != 0]), "the same views, turned or covered"
        assert any(not torch.equal(a, b) for a, b in zip(plain, pixels)), "some must have been turned"

    def test_labels_are_not_used(self, pack, tmp_path):
        store = PhotographStore.read([pack], "train")
        student = build_model(STUDENT).eval()
        found = []
        for part in (store, store.keep_labels(0.1, 0)):
            method = Pretraining(config(pack, tmp_path), part, student)
            torch.manual_seed(1)
            method.heads.load_state_dict(Pretraining(config(pack, tmp_path), part, student).heads.state_dict())
            losses, _ = method(student.encoder, student.encoder, [0, 1, 2], 0, 0, "cpu")
            found.append(losses["total"])
        assert torch.equal(*found)


class TestLoading:
    def test_the_encoder_is_taken_over_and_said(self, pretrained):
        trainer, folder = pretrained
        student = build_model(replace(STUDENT, hidden_dropout_prob=0.1, descriptor_dim=12))
        decoder = student.decoder[0].conv1.weight.clone()
        report = load_encoder(student, folder / "last")
        for name, value in trainer.network.state_dict().items():
            assert torch.equal(student.encoder.state_dict()[name], value)
        assert torch.equal(student.decoder[0].conv1.weight, decoder)
        assert len(report.taken) == len(trainer.network.state_dict()) and report.unused == []
        assert {n.split(".")[0] for n in report.fresh} == {
            "skips",
            "bottleneck",
            "decoder",
            "heatmap",
            "descriptor_head",
        }
        assert str(report).startswith(f"{len(report.taken)} tensors taken over, {len(report.fresh)} begin at random (")

    def test_another_architecture_is_refused(self, pretrained):
        student = build_model(replace(STUDENT, embed_dim=8))
        before = {name: value.clone() for name, value in student.state_dict().items()}
        with pytest.raises(ValueError, match="of another architecture: embed_dim 4 instead of 8"):
            load_encoder(student, pretrained[1] / "last")
        assert all(torch.equal(before[name], value) for name, value in student.state_dict().items())
        with pytest.raises(ValueError, match="family swin_retina alone"):
            load_encoder(build_model(ModelSettings(variant="small")), pretrained[1] / "last")

    def test_a_folder_without_an_encoder_is_refused(self, pretrained, tmp_path):
        shutil.copytree(pretrained[1] / "last", tmp_path / "cut")
        (tmp_path / "cut" / "encoder.safetensors").write_bytes(b"nothing")
        for folder in (tmp_path / "nowhere", tmp_path / "cut"):
            with pytest.raises(ValueError, match="holds no pretrained encoder"):
                load_encoder(build_model(STUDENT), folder)


@pytest.mark.parametrize(
    "changes, sentence",
    [
        ({"losses": TaskWeights(0.0, 0.0)}, "the weight of every task is 0"),
        ({"views": ViewSettings(size=80)}, "multiple of 32 and of `mask_size` 32 pixels, got 80"),
        ({"views": ViewSettings(size=32)}, "too small for the student, which wants at least 49"),
        ({"mask_fraction": 1.0}, "`mask_fraction` must be above 0 and below 1"),
        ({"model": ModelSettings(variant="small")}, "Only the encoder of the family swin_retina is pretrained"),
        ({"push_to_hub": "me/encoder"}, "An encoder alone is no model"),
    ],
)
def test_bad_input_is_one_sentence(pack, tmp_path, changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        prepare(config(pack, tmp_path, **changes))
