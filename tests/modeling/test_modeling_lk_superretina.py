import pytest
import torch
from torch.nn import functional as F
from transformers import AutoModel, AutoModelForKeypointDetection, AutoModelForKeypointMatching

from retinamatch import (
    LKSuperRetinaConfig,
    LKSuperRetinaForKeypointDetection,
    LKSuperRetinaForKeypointMatching,
    LKSuperRetinaModel,
)
from retinamatch.keypoint_heads import DescriptorHead, FineDescriptorHead
from retinamatch.modeling_lk_superretina import LargeKernelBlock
from tests.helpers.float16 import check_float16_on_a_cpu


TINY = {"encoder_widths": (4, 6, 8, 10), "descriptor_width": 12, "descriptor_dim": 16}


def count(*layers):
    """Weights and biases of convolutions given as (inputs, outputs, kernel)."""
    return sum(i * o * k * k + o for i, o, k in layers)


def published_count(kernels):
    """The number of parameters, layer by layer from the papers, independent of the code."""
    encoder = count((1, 64, 3), (64, 64, 3))
    for i, o in ((64, 64), (64, 128), (128, 128)):
        encoder += count((i, o, 3), *((o, o, k) for k in kernels or (3,)))
    decoder = count((256, 128, 3), (128, 128, 3), (192, 64, 3), (64, 64, 3), (128, 64, 3), (64, 64, 3), (64, 1, 1))
    descriptor = count((128, 256, 3), (256, 256, 4), (256, 256, 1), (256, 256, 2))
    return encoder + decoder + descriptor + bool(kernels)  # the shared PReLU


def peaky(model_class, **kwargs):
    """A model with random weights whose heat map has many peaks."""
    torch.manual_seed(0)
    model = model_class(LKSuperRetinaConfig(**TINY, **kwargs)).eval()
    base = getattr(model, "lk_superretina", model)
    with torch.no_grad():
        base.heatmap.weight.normal_(std=1.0)
    return model


class TestSize:
    @pytest.mark.parametrize(
        "config, kernels, parameters",
        [
            (LKSuperRetinaConfig(), (1, 3, 5), 3_960_322),
            (LKSuperRetinaConfig.superretina(), (), 3_001_217),
            (LKSuperRetinaConfig(kernel_sizes=(1, 3, 5, 7)), (1, 3, 5, 7), 5_766_978),
        ],
    )
    def test_as_published(self, config, kernels, parameters):
        with torch.device("meta"):
            model = LKSuperRetinaModel(config)
        assert model.num_parameters() == parameters == published_count(kernels)

    def test_small_has_about_a_million(self):
        assert 0.9e6 < LKSuperRetinaModel(LKSuperRetinaConfig.small()).num_parameters() < 1.1e6

    @pytest.mark.parametrize(
        "wrong",
        [
            {"encoder_widths": (8, 8, 8)},
            {"kernel_sizes": (2,)},
            {"activation": "gelu"},
            {"descriptor_stride": 16},
        ],
    )
    def test_impossible_architectures_are_refused(self, wrong):
        with pytest.raises(Exception, match=next(iter(wrong))):
            LKSuperRetinaConfig(**wrong)


class TestLargeKernelBlock:
    def test_one_merged_convolution_equals_the_sum_of_branches(self):
        block = LargeKernelBlock(6, (1, 3, 5, 7)).double()
        features = torch.randn(2, 6, 17, 13, dtype=torch.double)
        assert torch.allclose(block(features), features + sum(branch(features) for branch in block.branches))

    def test_every_branch_learns(self):
        block = LargeKernelBlock(3, (1, 3, 5))
        block(torch.randn(1, 3, 9, 9)).square().sum().backward()
        assert all(branch.weight.grad.abs().sum() > 0 and branch.bias.grad is not None for branch in block.branches)


class TestDense:
    @pytest.mark.parametrize("stride", [4, 8])
    @pytest.mark.parametrize("height, width", [(64, 64), (65, 97), (33, 50), (120, 72)])
    def test_the_heat_map_has_the_size_of_any_input(self, stride, height, width):
        model = LKSuperRetinaModel(LKSuperRetinaConfig(**TINY, descriptor_stride=stride)).eval()
        dense = model(torch.randn(2, 1, height, width))
        assert dense.heatmap_logits.shape == (2, 1, height, width)
        assert dense.descriptor_map.shape[:2] == (2, 16)

    def test_published_descriptor_map_of_768(self):
        with torch.device("meta"):
            dense = LKSuperRetinaModel(LKSuperRetinaConfig())(torch.empty(1, 1, 768, 768))
        assert dense.descriptor_map.shape == (1, 256, 94, 94)

    @pytest.mark.parametrize(
        "shape, word", [((1, 3, 64, 64), "shape"), ((64, 64), "shape"), ((1, 1, 16, 64), "at least")]
    )
    def test_wrong_input_is_said(self, shape, word):
        with pytest.raises(ValueError, match=word):
            LKSuperRetinaModel(LKSuperRetinaConfig(**TINY))(torch.randn(shape))

    @pytest.mark.parametrize("head_class, cells", [(DescriptorHead, 24), (FineDescriptorHead, 48)])
    @pytest.mark.parametrize("shift", [0, 5])
    def test_cells_see_where_they_are_said_to_lie(self, head_class, cells, shift):
        """The receptive field of a cell, weighted by gradient, is centered on the pixel that stride and offset name."""
        torch.manual_seed(1)
        config = LKSuperRetinaConfig(**TINY, descriptor_stride=head_class.stride, align_corners=False)
        head = LKSuperRetinaModel(config).descriptor_head
        assert type(head) is head_class
        for parameter in head.parameters():  # positive weights that do not prefer a side
            parameter.data.fill_(1.0 if parameter.ndim > 1 else 0.0)
        stage3, stage4 = torch.ones(1, 8, 48, 48), torch.ones(1, 10, 24, 24)
        stage3.requires_grad_(), stage4.requires_grad_()
        # Without normalization, which would hide the size of the features.
        features = stage4
        if head_class is DescriptorHead:
            features = head.upsample(head.conv3(head.conv2(head.conv1(features))))
        else:
            coarse = F.interpolate(features, scale_factor=2, mode="bilinear", align_corners=False)
            features = head.conv2(head.conv1(torch.cat([coarse, stage3 * 0], 1)))
        middle = features.shape[-1] // 2 - 1 + shift
        pair = features[0, :, middle : middle + 2, middle : middle + 2].sum()  # two cells: strides 8 and 16 alternate
        (gradient,) = torch.autograd.grad(pair, stage4)
        weight = gradient[0].sum((0, 1))
        seen = float((weight * (torch.arange(24) * 8 + 3.5)).sum() / weight.sum())
        said = head.offset + (middle + 0.5) * head.stride
        # Within an even pair the published head sees one common window; an odd pair joins two neighboring windows.
        assert abs(seen - said) < 0.01

    def test_shifts_by_whole_cells_move_everything_along(self):
        """With align_corners off a crop and the whole photograph agree; keypoints shift with the image."""
        model = peaky(LKSuperRetinaModel, align_corners=False, descriptor_stride=4, activation="relu")
        image = torch.randn(1, 1, 320, 320)
        whole, crop = model(image), model(image[..., 64:, 64:])
        inside = slice(128, 168)
        assert torch.allclose(
            whole.heatmap_logits[..., 64:, 64:][..., inside, inside],
            crop.heatmap_logits[..., inside, inside],
            atol=1e-4,
        )
        points = torch.rand(1, 20, 2) * 40 + 128
        there = model.sample_descriptors(whole.descriptor_map, points + 64)
        assert torch.allclose(there, model.sample_descriptors(crop.descriptor_map, points), atol=1e-4)


class TestHeads:
    def test_batches_and_single_images_agree(self):
        model = peaky(LKSuperRetinaForKeypointDetection)
        images = torch.randn(3, 1, 96, 96)
        masks = torch.ones(3, 96, 96, dtype=torch.long)
        masks[1, :, :30] = 0
        frames = torch.tensor([[0.0, 0, 1, 1], [-0.1, 0.2, 0.9, 1.2], [0.3, 0.3, 0.6, 0.6]])
        with torch.inference_mode():
            together = model(images, pixel_mask=masks, image_frames=frames)
            for i in range(3):
                alone = model(images[i : i + 1], pixel_mask=masks[i : i + 1], image_frames=frames[i : i + 1])
                kept = together.mask[i].bool()
                assert kept.sum() == alone.mask.sum() > 5
                for name in ("keypoints", "scores", "descriptors"):
                    assert torch.allclose(together[name][i][kept], alone[name][0], atol=1e-4), name
        assert together.mask.dtype == torch.int32

    def test_keypoints_are_relative_to_the_photograph(self):
        model = peaky(LKSuperRetinaForKeypointDetection)
        image = torch.randn(1, 1, 64, 96)
        with torch.inference_mode():
            plain = model(image).keypoints
            framed = model(image, image_frames=torch.tensor([[0.25, -0.5, 0.75, 1.5]])).keypoints
        assert torch.allclose(framed, torch.tensor([0.25, -0.5]) + plain * torch.tensor([0.5, 2.0]), atol=1e-6)

    def test_many_pairs_and_one_pair_agree(self):
        model = peaky(LKSuperRetinaForKeypointMatching)
        images = torch.randn(2, 1, 96, 96)
        pairs = torch.stack([torch.stack([image, image.roll(8, -1)]) for image in images])
        with torch.inference_mode():
            together = model(pairs)
            flat = model(pairs.flatten(0, 1))
            assert torch.equal(together.matches, flat.matches)
            for i in range(2):
                alone = model(pairs[i : i + 1])
                k = alone.matches.shape[-1]
                assert (alone.matches[0] >= 0).sum() > 4
                assert torch.equal(together.matches[i, :, :k], alone.matches[0])
                assert (together.matches[i, :, k:] == -1).all()
                assert torch.allclose(together.matching_scores[i, :, :k], alone.matching_scores[0], atol=1e-4)

    @pytest.mark.parametrize("stride", [4, 8])
    @pytest.mark.parametrize("batch", [(0,), (0, 2)])
    @pytest.mark.parametrize("model_class", [LKSuperRetinaForKeypointDetection, LKSuperRetinaForKeypointMatching])
    def test_an_empty_batch_has_empty_outputs(self, model_class, batch, stride):
        pairs = model_class is LKSuperRetinaForKeypointMatching
        found = peaky(model_class, descriptor_stride=stride)(torch.zeros(*(batch if pairs else (0,)), 1, 64, 72))
        assert found.keypoints.shape == ((0, 2, 0, 2) if pairs else (0, 0, 2))
        assert all(values.shape[0] == 0 for values in found.values())

    def test_an_odd_number_of_images_is_refused(self):
        with pytest.raises(ValueError, match="even"):
            LKSuperRetinaForKeypointMatching(LKSuperRetinaConfig(**TINY))(torch.randn(3, 1, 64, 64))

    def test_labels_train_the_detector(self):
        model = peaky(LKSuperRetinaForKeypointDetection)
        labels = torch.zeros(1, 64, 64)
        labels[0, 20:25, 30:35] = 1
        out = model(torch.randn(1, 1, 64, 64), labels=labels)
        out.loss.backward()
        assert 0 < out.loss.item() < 1.1 and model.lk_superretina.heatmap.weight.grad.abs().sum() > 0

    def test_labels_train_the_descriptor(self):
        model = peaky(LKSuperRetinaForKeypointMatching)
        points = torch.rand(1, 12, 4) * 50 + 5
        points[0, 10:] = torch.nan  # padding
        out = model(torch.randn(2, 1, 64, 64), labels=points)
        out.loss.backward()
        assert torch.isfinite(out.loss) and model.lk_superretina.descriptor_head.conv1.weight.grad.abs().sum() > 0

    def test_tuples_on_request(self):
        out = peaky(LKSuperRetinaForKeypointDetection)(torch.randn(1, 1, 64, 64), return_dict=False)
        assert isinstance(out, tuple) and len(out) == 4


class TestSaved:
    @pytest.mark.parametrize(
        "saved", [LKSuperRetinaModel, LKSuperRetinaForKeypointDetection, LKSuperRetinaForKeypointMatching]
    )
    def test_any_class_opens_as_any_other(self, saved, tmp_path):
        peaky(saved).save_pretrained(tmp_path)
        image = torch.randn(2, 1, 64, 64)
        with torch.inference_mode():
            expected = peaky(LKSuperRetinaModel)(image).heatmap_logits
            for auto in (AutoModel, AutoModelForKeypointDetection, AutoModelForKeypointMatching):
                model, info = auto.from_pretrained(tmp_path, output_loading_info=True)
                assert not info["missing_keys"] and not info["unexpected_keys"]
                base = getattr(model, "lk_superretina", model)
                assert torch.equal(base(image).heatmap_logits, expected)

    def test_channels_last_changes_nothing(self):
        model, image = peaky(LKSuperRetinaModel), torch.randn(1, 1, 64, 64)
        with torch.inference_mode():
            expected = model(image)
            found = model.to(memory_format=torch.channels_last)(image.to(memory_format=torch.channels_last))
        assert torch.allclose(expected.heatmap_logits, found.heatmap_logits, atol=1e-4)
        assert torch.allclose(expected.descriptor_map, found.descriptor_map, atol=1e-4)

    def test_the_fresh_heat_map_is_nearly_empty(self):
        torch.manual_seed(0)
        heat = LKSuperRetinaModel(LKSuperRetinaConfig.small())(torch.randn(1, 1, 64, 64)).heatmap_logits.sigmoid()
        assert 0.02 < heat.mean() < 0.4


@pytest.mark.parametrize(
    "model_class", [LKSuperRetinaModel, LKSuperRetinaForKeypointDetection, LKSuperRetinaForKeypointMatching]
)
def test_float16_on_a_cpu_is_computed_in_float32_with_a_warning(model_class):
    check_float16_on_a_cpu(peaky(model_class), peaky(model_class))
