import inspect

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from torch import nn
from transformers import AutoModel, AutoModelForKeypointDetection, AutoModelForKeypointMatching, pipeline
from transformers.models.swin.modeling_swin import SwinLayer, SwinPatchMerging
from typer.testing import CliRunner

from retinamatch import (
    LKSuperRetinaForKeypointDetection,
    LKSuperRetinaForKeypointMatching,
    Registrar,
    RetinaImageProcessor,
    SwinRetinaConfig,
    SwinRetinaForKeypointDetection,
    SwinRetinaForKeypointMatching,
    SwinRetinaModel,
    register,
)
from retinamatch.cli import app
from retinamatch.conversion import rename_student
from retinamatch.hub import save_repository
from retinamatch.modeling_swin_retina import Residual
from tests.helpers.float16 import check_float16_on_a_cpu
from tests.helpers.swin_reference import SwinEncoder


CLASSES = [SwinRetinaModel, SwinRetinaForKeypointDetection, SwinRetinaForKeypointMatching]


def peaky(model_class, **kwargs):
    """A tiny model with random weights, relative positions that count, and a heat map with many peaks."""
    torch.manual_seed(0)
    model = model_class(SwinRetinaConfig.tiny(**kwargs)).eval()
    with torch.no_grad():
        model.base_model.heatmap.weight.normal_(std=1.0)
        for name, parameter in model.named_parameters():
            if "position_bias_table" in name:
                parameter.normal_(std=1.0)
    return model


def unetr_count(e):
    """The number of parameters layer by layer from the papers, independent of the code."""

    def layer_norm(width):
        return 2 * width

    total = 1 * e * 4 + e  # patch embedding
    for stage, heads in enumerate((3, 6, 12, 24)):
        c = e * 2**stage
        attention = (3 * c * c + 3 * c) + (c * c + c) + 13 * 13 * heads
        mlp = (c * 4 * c + 4 * c) + (4 * c * c + c)
        total += 2 * (2 * layer_norm(c) + attention + mlp)
        total += layer_norm(4 * c) + 4 * c * 2 * c  # patch merging
    total += 9 * e + 9 * e * e + e  # residual block of the image, with 1x1 shortcut
    total += sum(2 * 9 * c * c for c in (e, 2 * e, 4 * e, 16 * e))  # those of the skips and the deepest
    for i, o in ((16, 8), (8, 4), (4, 2), (2, 1), (1, 1)):
        i, o = i * e, o * e
        total += 4 * i * o + 9 * 2 * o * o + 9 * o * o + 2 * o * o  # transposed, two 3x3, 1x1 shortcut
    return total + e + 1  # heat map


def descriptor_count(inputs):
    return sum(i * o * k * k + o for i, o, k in ((inputs, 256, 3), (256, 256, 4), (256, 256, 1), (256, 256, 2)))


class TestSize:
    @pytest.mark.parametrize(
        "config, parameters", [(SwinRetinaConfig(), 7_900_667), (SwinRetinaConfig.large(), 26_957_579)]
    )
    def test_as_published(self, config, parameters):
        with torch.device("meta"):
            model = SwinRetinaForKeypointDetection(config)
        e = config.embed_dim
        assert model.num_parameters() == parameters == unetr_count(e) + descriptor_count(4 * e)

    def test_fine_descriptors(self):
        """The same transformer, another head: 3x3 and 1x1 convolutions on the decoder's maps at strides 4 and 8."""
        with torch.device("meta"):
            model = SwinRetinaForKeypointDetection(SwinRetinaConfig.fine())
        head = (2 + 4) * 24 * 128 * 9 + 128 + 128 * 128 + 128
        assert model.num_parameters() == 6_484_731 == unetr_count(24) + head

    @pytest.mark.parametrize(
        "wrong",
        [
            {"depths": (2, 2, 2)},
            {"num_heads": (3, 6, 12, 0)},
            {"embed_dim": 20},
            {"window_size": 1},
            {"descriptor_stride": 16},
            {"hidden_dropout_prob": 1.0},
        ],
    )
    def test_impossible_architectures_are_refused(self, wrong):
        with pytest.raises(Exception, match=next(iter(wrong))):
            SwinRetinaConfig(**wrong)

    def test_the_heads_take_and_give_what_those_of_lk_superretina_do(self):
        for ours, theirs in (
            (SwinRetinaForKeypointDetection, LKSuperRetinaForKeypointDetection),
            (SwinRetinaForKeypointMatching, LKSuperRetinaForKeypointMatching),
        ):
            assert inspect.signature(ours.forward) == inspect.signature(theirs.forward)


class TestOracle:
    @pytest.mark.parametrize("embedding, height, width", [(24, 160, 224), (48, 128, 128)])
    def test_heat_map_logits_are_those_of_monai(self, embedding, height, width):
        nets = pytest.importorskip(
            "monai.networks.nets", reason="MONAI, the oracle of the student, is not installed: pip install -e '.[dev]'"
        )
        pytest.importorskip("einops", reason="einops, which MONAI needs, is not installed: pip install -e '.[dev]'")
        torch.manual_seed(0)
        oracle = nets.SwinUNETR(in_channels=1, out_channels=1, feature_size=embedding, spatial_dims=2).eval()
        for name, parameter in oracle.named_parameters():
            if "position_bias_table" in name:
                nn.init.normal_(parameter)
        state = {name: value for name, value in oracle.state_dict().items()}
        own = SwinRetinaModel(SwinRetinaConfig(embed_dim=embedding)).eval()
        theirs = ("convDa", "convDb", "convDc", "trans_conv")  # MONAI's network has no descriptors
        for name, layer in zip(theirs, own.descriptor_head.children(), strict=True):
            state |= {f"{name}.{part}": value for part, value in layer.state_dict().items()}
        state, config = rename_student(state)
        own.load_state_dict(state)
        assert (config.embed_dim, config.window_size, tuple(config.depths)) == (embedding, 7, (2, 2, 2, 2))
        images = torch.randn(2, 1, height, width)
        with torch.inference_mode():
            expected, found = oracle(images), own(images).heatmap_logits
        assert expected.std() > 0.1
        assert (expected - found).abs().max() < 1e-4


class TestDense:
    @pytest.mark.parametrize("stride", [8, 4])
    @pytest.mark.parametrize("height, width", [(64, 64), (65, 97), (49, 50), (120, 72)])
    def test_the_heat_map_has_the_size_of_any_input(self, height, width, stride):
        dense = peaky(SwinRetinaModel, descriptor_stride=stride)(torch.randn(2, 1, height, width))
        assert dense.heatmap_logits.shape == (2, 1, height, width)
        assert dense.descriptor_map.shape[:2] == (2, 32)
        assert dense.heatmap_logits.isfinite().all() and dense.descriptor_map.isfinite().all()

    def test_published_descriptor_map_of_768(self):
        with torch.device("meta"):
            dense = SwinRetinaModel(SwinRetinaConfig())(torch.empty(1, 1, 768, 768))
        assert dense.descriptor_map.shape == (1, 256, 94, 94)
        assert dense.heatmap_logits.shape == (1, 1, 768, 768)

    def test_fine_descriptor_map_covers_the_image(self):
        dense = peaky(SwinRetinaModel, descriptor_stride=4)(torch.randn(1, 1, 65, 99))
        assert dense.descriptor_map.shape == (1, 32, 17, 25)

    def test_no_statistic_sees_more_padding_than_its_stride_asks(self):
        """Instance norms run over whole maps: padding of the input to 32 would shift every pixel of the heat map."""
        model, seen = peaky(SwinRetinaModel), {}
        for name, module in model.named_modules():
            if isinstance(module, Residual):
                module.register_forward_hook(lambda m, i, o, name=name: seen.update({name: tuple(o.shape[-2:])}))
        model(torch.randn(1, 1, 65, 99))
        strides = {"skips.0": 1, "skips.1": 2, "skips.2": 4, "skips.3": 8, "bottleneck": 32}
        strides |= {f"decoder.{i}": 16 // 2**i for i in range(5)}
        assert seen == {name: (-(-65 // stride), -(-99 // stride)) for name, stride in strides.items()}

    @pytest.mark.parametrize(
        "shape, word",
        [
            ((1, 3, 64, 64), "shape"),
            ((64, 64), "shape"),
            ((1, 1, 48, 64), "at least 49 x 49"),
            ((0, 1, 64, 64), "at least one image"),
            ((0, 1, 200, 64), "at least one image"),
        ],
    )
    def test_wrong_input_is_said(self, shape, word):
        with pytest.raises(ValueError, match=word):
            peaky(SwinRetinaModel)(torch.randn(shape))

    @pytest.mark.parametrize("stride", [8, 4])
    @pytest.mark.parametrize("axis", [-1, -2])
    def test_descriptors_are_read_where_they_lie(self, axis, stride):
        """With weights that are their own mirror image, a mirrored photograph has the descriptors mirrored.

        Any offset of the cells from where `sample_descriptors` takes them to be would break this.
        """
        model = peaky(SwinRetinaModel, descriptor_stride=stride)
        with torch.no_grad():
            for module in model.modules():
                if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                    module.weight.copy_((module.weight + module.weight.flip(axis)) / 2)
                elif isinstance(module, SwinLayer):  # shifted windows have no mirror image; they move nothing either
                    module.attention.o_proj.weight.zero_()
                elif isinstance(module, SwinPatchMerging):
                    blocks = module.reduction.weight.unflatten(1, (2, 2, -1))  # column, row, channel
                    blocks.copy_((blocks + blocks.flip(1 if axis == -1 else 2)) / 2)
        image, points = torch.randn(1, 1, 96, 96), torch.rand(1, 50, 2) * 95
        mirrored = points.clone()
        mirrored[..., 0 if axis == -1 else 1] = 95 - mirrored[..., 0 if axis == -1 else 1]
        with torch.inference_mode():
            dense, other = model(image), model(image.flip(axis))
        assert torch.allclose(dense.heatmap_logits.flip(axis), other.heatmap_logits, atol=1e-4)
        here = model.sample_descriptors(dense.descriptor_map, points)
        there = model.sample_descriptors(other.descriptor_map, mirrored)
        assert torch.allclose(here, there, atol=1e-4)
        moved = model.sample_descriptors(other.descriptor_map, mirrored + 0.5)
        assert not torch.allclose(here, moved, atol=1e-2), "half a pixel shows"

    @pytest.mark.parametrize("implementation", ["eager", "sdpa"])
    def test_attention_is_fused_on_request_and_by_default(self, implementation, tmp_path):
        model, image = peaky(SwinRetinaModel), torch.randn(1, 1, 64, 80)
        assert model.encoder.config._attn_implementation == "sdpa"
        model.save_pretrained(tmp_path)
        other = SwinRetinaModel.from_pretrained(tmp_path, attn_implementation=implementation)
        assert other.encoder.config._attn_implementation == implementation
        with torch.inference_mode():
            assert torch.allclose(other(image).heatmap_logits, model(image).heatmap_logits, atol=1e-4)
        model.set_attn_implementation(implementation)
        assert model.encoder.config._attn_implementation == implementation

    def test_channels_last_changes_nothing(self):
        model, image = peaky(SwinRetinaModel), torch.randn(1, 1, 64, 64)
        with torch.inference_mode():
            expected = model(image)
            found = model.to(memory_format=torch.channels_last)(image.to(memory_format=torch.channels_last))
        assert torch.allclose(expected.heatmap_logits, found.heatmap_logits, atol=1e-4)
        assert torch.allclose(expected.descriptor_map, found.descriptor_map, atol=1e-4)

    def test_bfloat16_stays_close(self):
        model, image = peaky(SwinRetinaModel), torch.randn(1, 1, 64, 64)
        expected = model(image)
        with torch.autocast("cpu", torch.bfloat16):
            found = model(image)
        (found.heatmap_logits.float().square().mean() + found.descriptor_map.float().square().mean()).backward()
        assert found.heatmap_logits.dtype == torch.bfloat16
        assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
        difference = (found.heatmap_logits.float() - expected.heatmap_logits).abs()
        assert difference.mean() < 0.05 * expected.heatmap_logits.std()

    def test_the_fresh_heat_map_is_nearly_empty(self):
        torch.manual_seed(0)
        heat = SwinRetinaModel(SwinRetinaConfig.tiny())(torch.randn(1, 1, 64, 64)).heatmap_logits.sigmoid()
        assert 0.02 < heat.mean() < 0.4


class TestTraining:
    def test_gradient_checkpointing_changes_no_gradient(self):
        images, gradients, calls = torch.randn(2, 1, 64, 72), [], []
        for checkpointing in (False, True):
            model = peaky(SwinRetinaForKeypointDetection, hidden_dropout_prob=0.0).train()
            if checkpointing:
                model.gradient_checkpointing_enable()
            count = []
            model.swin_retina.decoder[4].conv1.register_forward_hook(lambda *_, count=count: count.append(1))
            model.swin_retina.encoder.encoder.layers[0].blocks[0].mlp.register_forward_hook(
                lambda *_, count=count: count.append(1)
            )
            model(images, labels=torch.rand(2, 64, 72)).loss.backward()
            gradients.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
            calls.append(len(count))
        assert calls[0] == 2 < calls[1], "with checkpointing, layers run again in the backward pass"
        assert gradients[0].keys() == gradients[1].keys() and len(gradients[0]) > 100
        for name, gradient in gradients[0].items():
            assert torch.allclose(gradient, gradients[1][name], atol=1e-6), name

    def test_dropout_acts_in_training_alone(self):
        model, image = peaky(SwinRetinaModel, hidden_dropout_prob=0.5), torch.randn(1, 1, 64, 64)
        with torch.inference_mode():
            assert torch.equal(model(image).heatmap_logits, model(image).heatmap_logits)
            assert not torch.equal(model.train()(image).heatmap_logits, model(image).heatmap_logits)
            quiet = peaky(SwinRetinaModel, hidden_dropout_prob=0.0).train()
            assert torch.equal(quiet(image).heatmap_logits, quiet(image).heatmap_logits)

    def test_labels_train_the_detector(self):
        model = peaky(SwinRetinaForKeypointDetection)
        labels = torch.zeros(1, 64, 64)
        labels[0, 20:25, 30:35] = 1
        out = model(torch.randn(1, 1, 64, 64), labels=labels)
        out.loss.backward()
        first = model.swin_retina.encoder.embeddings.patch_embeddings.projection.weight.grad
        assert 0 < out.loss.item() < 1.1 and first.abs().sum() > 0

    def test_labels_train_the_descriptor(self):
        model = peaky(SwinRetinaForKeypointMatching)
        points = torch.rand(1, 12, 4) * 50 + 5
        points[0, 10:] = torch.nan  # padding
        out = model(torch.randn(2, 1, 64, 64), labels=points)
        out.loss.backward()
        assert torch.isfinite(out.loss) and model.swin_retina.descriptor_head.conv1.weight.grad.abs().sum() > 0


class TestHeads:
    def test_batches_and_single_images_agree(self):
        model = peaky(SwinRetinaForKeypointDetection)
        images = torch.randn(3, 1, 96, 96) * torch.tensor([1.0, 0.1, 5.0])[:, None, None, None]
        masks = torch.ones(3, 96, 96, dtype=torch.long)
        masks[1, :, :30] = 0
        with torch.inference_mode():
            together = model(images, pixel_mask=masks)
            for i in range(3):
                alone = model(images[i : i + 1], pixel_mask=masks[i : i + 1])
                kept = together.mask[i].bool()
                assert kept.sum() == alone.mask.sum() > 5
                for name in ("keypoints", "scores", "descriptors"):
                    assert torch.allclose(together[name][i][kept], alone[name][0], atol=1e-4), name

    def test_many_pairs_and_one_pair_agree(self):
        model = peaky(SwinRetinaForKeypointMatching)
        pairs = torch.stack([torch.stack([image, image]) for image in torch.randn(2, 1, 96, 96)])
        with torch.inference_mode():
            together = model(pairs)
            assert torch.equal(together.matches, model(pairs.flatten(0, 1)).matches)
            for i in range(2):
                alone = model(pairs[i : i + 1])
                k = alone.matches.shape[-1]
                assert (alone.matches[0, 0] >= 0).sum() > 4
                assert torch.equal(together.matches[i, :, :k], alone.matches[0])

    def test_an_odd_number_of_images_is_refused(self):
        with pytest.raises(ValueError, match="even"):
            peaky(SwinRetinaForKeypointMatching)(torch.randn(3, 1, 64, 64))

    def test_tuples_on_request(self):
        out = peaky(SwinRetinaForKeypointDetection)(torch.randn(1, 1, 64, 64), return_dict=False)
        assert isinstance(out, tuple) and len(out) == 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("swin") / "model"
    processor = RetinaImageProcessor(size={"height": 192, "width": 192})
    model = peaky(SwinRetinaForKeypointMatching)
    save_repository(model, processor, out, dtype=torch.float32, remote_code=False)
    return out


class TestSaved:
    @pytest.mark.parametrize("saved", CLASSES)
    def test_any_class_opens_as_any_other(self, saved, tmp_path):
        peaky(saved).save_pretrained(tmp_path)
        image = torch.randn(2, 1, 64, 64)
        with torch.inference_mode():
            expected = peaky(SwinRetinaModel)(image)
            for auto, wanted in zip(
                (AutoModel, AutoModelForKeypointDetection, AutoModelForKeypointMatching), CLASSES, strict=True
            ):
                model, info = auto.from_pretrained(tmp_path, output_loading_info=True)
                assert type(model) is wanted
                assert not info["missing_keys"] and not info["unexpected_keys"]
                dense = model.base_model(image)
                assert torch.equal(dense.heatmap_logits, expected.heatmap_logits)
                assert torch.equal(dense.descriptor_map, expected.descriptor_map)

    def test_buffers_are_right_after_loading(self, folder):
        """What is not stored is made again: otherwise it is whatever lies in memory."""
        fresh = dict(peaky(SwinRetinaForKeypointMatching).named_buffers())
        loaded = dict(SwinRetinaForKeypointMatching.from_pretrained(folder).named_buffers())
        assert len(fresh) == 8 and fresh.keys() == loaded.keys()
        stored = SwinEncoder().state_dict()  # of the same window size
        for name, value in fresh.items():
            assert torch.equal(value, loaded[name]), name
            assert (
                value.unique().numel() == 25
                and len(value) == stored["swinViT.layers1.0.blocks.0.attn.relative_position_index"].numel()
            )

    def test_stored_names_are_those_of_the_modules(self, folder):
        """transformers stores its own Swin under older names; ours must not depend on which it takes."""
        with safe_open(folder / "model.safetensors", "pt") as weights:
            assert set(weights.keys()) == set(SwinRetinaForKeypointMatching(SwinRetinaConfig.tiny()).state_dict())

    def test_the_pipeline_matches_a_photograph_with_itself(self, folder, visits):
        photo = Image.fromarray(visits.fixed.image)
        matches = pipeline("retina-keypoint-matching", model=str(folder))([photo, photo])
        places = [[[m[f"keypoint_image_{i}"][axis] for axis in "xy"] for m in matches] for i in (0, 1)]
        assert len(matches) > 20
        assert np.abs(np.subtract(*places)).max() < 1e-3

    @pytest.mark.slow
    def test_registration_with_a_folder(self, folder, visits, other_eye):
        photo = visits.fixed.image
        registration = register(photo, photo, transform="affine", model=folder)
        assert registration.registered
        assert np.abs(registration.transform(registration.moving_points) - registration.moving_points).max() < 1
        # Untrained: whatever comes out of other pairs, it is an answer.
        registrar = Registrar(folder)
        for found in registrar.register_many([(visits.moving.image, photo), (other_eye, photo)]):
            assert found.registered or found.reason

    def test_the_command_line_takes_a_folder(self, folder, example_pair, tmp_path):
        words = ["register", str(example_pair[1]), str(example_pair[1]), "--model", str(folder), "--out"]
        done = CliRunner().invoke(app, [*words, str(tmp_path / "out")])
        assert done.exit_code == 0, done.output
        assert (tmp_path / "out" / "registration.json").is_file()


@pytest.mark.parametrize("model_class", CLASSES)
def test_float16_on_a_cpu_is_computed_in_float32_with_a_warning(model_class):
    check_float16_on_a_cpu(peaky(model_class), peaky(model_class))
