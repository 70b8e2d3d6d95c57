"""Against small reference modules with the names and the forward pass of the published networks."""

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from retinamatch.cli import app
from retinamatch.conversion import CheckpointError, convert_checkpoint
from retinamatch.image_processing_retina import RetinaImageProcessor
from retinamatch.modeling_swin_retina import SwinRetinaForKeypointMatching
from tests.helpers.swin_reference import SwinEncoder


def double_conv(inputs, outputs):
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, 1, 1), nn.ReLU(), nn.Conv2d(outputs, outputs, 3, 1, 1), nn.ReLU()
    )


class Reference(nn.Module):
    """SuperRetina, or LKUNET when `kernels` are given, at chosen widths."""

    def __init__(self, kernels=(), widths=(4, 6, 8, 10), hidden=12, size=16):
        super().__init__()
        c1, c2, c3, c4 = widths
        self.kernels = kernels
        self.conv1a, self.conv1b = nn.Conv2d(1, c1, 3, 1, 1), nn.Conv2d(c1, c1, 3, 1, 1)
        for stage, i, o in ((2, c1, c2), (3, c2, c3), (4, c3, c4)):
            if kernels:
                setattr(self, f"conv{stage}", nn.Conv2d(i, o, 3, 1, 1))
                for letter, k in zip("abcd", kernels, strict=False):
                    setattr(self, f"conv{stage}{letter}", nn.Conv2d(o, o, k, 1, k // 2))
            else:
                setattr(self, f"conv{stage}a", nn.Conv2d(i, o, 3, 1, 1))
                setattr(self, f"conv{stage}b", nn.Conv2d(o, o, 3, 1, 1))
        self.convDa, self.convDb = nn.Conv2d(c4, hidden, 3, 1, 1), nn.Conv2d(hidden, hidden, 4, 2, 0)
        self.convDc, self.trans_conv = nn.Conv2d(hidden, size, 1), nn.ConvTranspose2d(size, size, 2, 2)
        self.dconv_up3 = double_conv(c4 + c3, c3)
        self.dconv_up2 = double_conv(c3 + c2, c2)
        self.dconv_up1 = double_conv(c2 + c1, c1)
        self.conv_last = nn.Conv2d(c1, 1, 1)
        self.relu = nn.PReLU() if kernels else nn.ReLU()
        self.pool = nn.MaxPool2d(2, 2)
        self.upsample = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)

    def forward(self, x):
        skips = [self.relu(self.conv1b(self.relu(self.conv1a(x))))]
        for stage in (2, 3, 4):
            x = self.pool(skips[-1])
            if self.kernels:
                x = self.relu(getattr(self, f"conv{stage}")(x))
                x = x + sum(getattr(self, f"conv{stage}{k}")(x) for k in "abcd"[: len(self.kernels)])
            else:
                x = getattr(self, f"conv{stage}b")(self.relu(getattr(self, f"conv{stage}a")(x)))
            skips.append(self.relu(x))
        x = skips.pop()
        desc = self.convDc(self.relu(self.convDb(self.relu(self.convDa(x)))))
        desc = self.trans_conv(desc / desc.norm(dim=1, keepdim=True))
        for name in ("dconv_up3", "dconv_up2", "dconv_up1"):
            x = getattr(self, name)(torch.cat([self.upsample(x), skips.pop()], 1))
        return self.conv_last(x).sigmoid(), desc


@pytest.mark.parametrize("kernels", [(), (1, 3, 5), (1, 3, 5, 7)])
@pytest.mark.parametrize("wrapped", [True, False])
def test_equal_maps_after_conversion(kernels, wrapped, tmp_path):
    torch.manual_seed(0)
    reference = Reference(kernels).eval()
    state = reference.state_dict()
    torch.save({"net": state, "epoch": 3} if wrapped else state, tmp_path / "net.pth")
    model = convert_checkpoint(tmp_path / "net.pth", tmp_path / "out")
    again = type(model).from_pretrained(tmp_path / "out")
    image = torch.rand(2, 1, 96, 64)
    with torch.inference_mode():
        heat, desc = reference(image)
        for net in (model, again):
            dense = net.lk_superretina(image)
            assert torch.allclose(dense.heatmap_logits.sigmoid(), heat, atol=1e-5)
            assert torch.allclose(dense.descriptor_map, desc, atol=1e-5)
    assert tuple(again.config.kernel_sizes) == kernels


@pytest.mark.parametrize("window, shape", [(3, (64, 96)), (4, (96, 128))])
def test_equal_maps_of_the_student(window, shape, tmp_path):
    torch.manual_seed(0)
    reference = SwinEncoder(window=window).eval()
    state = reference.state_dict()
    torch.save({"net": state, "optimizer": {}, "epoch": 3}, tmp_path / "SwinEncoder.pth")
    done = CliRunner().invoke(app, ["convert", str(tmp_path / "SwinEncoder.pth"), str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    model = SwinRetinaForKeypointMatching.from_pretrained(tmp_path / "out")
    image = torch.rand(2, 1, *shape)
    with torch.inference_mode():
        logits, desc = reference(image)
        dense = model.swin_retina(image)
    assert logits.std() > 0.1
    assert torch.allclose(dense.heatmap_logits, logits, atol=1e-4)
    assert torch.allclose(dense.descriptor_map, desc, atol=1e-4)
    assert model.config.window_size == window and model.config.ratio_threshold == 0.9
    assert not any("teacher" in name for name in model.state_dict())


def test_incomplete_students_are_refused_in_one_sentence(tmp_path):
    state = SwinEncoder().state_dict()

    def refused(changed, sentence):
        torch.save(changed, tmp_path / "net.pth")
        with pytest.raises(CheckpointError, match=sentence):
            convert_checkpoint(tmp_path / "net.pth", tmp_path / "out")
        assert not (tmp_path / "out").exists()

    refused({k: v for k, v in state.items() if k != "convDc.bias"}, "nothing for 1 weights.*descriptor_head.conv3.bias")
    refused({k: v for k, v in state.items() if k != "convDa.bias"}, "nothing for.*descriptor_head.conv1.bias")
    refused({k: v for k, v in state.items() if not k.startswith("swinViT.layers3")}, "nothing for.*layers.2")
    refused({**state, "swinViT.layers1c.0.weight": torch.zeros(1)}, "1 names are unknown.*layers1c")
    refused({**state, "convDb.weight": torch.zeros(2, 2, 4, 4)}, "shapes that do not fit")


def test_the_processor_enhances_as_published(tmp_path):
    torch.save({"net": Reference().state_dict()}, tmp_path / "net.pth")
    convert_checkpoint(tmp_path / "net.pth", tmp_path / "out")
    processor = RetinaImageProcessor.from_pretrained(tmp_path / "out")
    assert processor.do_clahe and processor.do_min_max and processor.do_gamma and not processor.do_local_normalize


def test_other_files_are_refused_in_one_sentence(tmp_path):
    with pytest.raises(CheckpointError, match="no checkpoint file"):
        convert_checkpoint(tmp_path / "missing.pth", tmp_path / "out")
    (tmp_path / "text.pth").write_text("not a checkpoint")
    with pytest.raises(CheckpointError, match="cannot be read"):
        convert_checkpoint(tmp_path / "text.pth", tmp_path / "out")
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match="neither SuperRetina nor LKUNET nor SwinEncoder"):
        convert_checkpoint(tmp_path / "other.pth", tmp_path / "out")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(CheckpointError, match="no state dict"):
        convert_checkpoint(tmp_path / "list.pth", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_code_in_a_checkpoint_is_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "pwned"), "w"))

    torch.save({"net": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(CheckpointError, match="cannot be read"):
        convert_checkpoint(tmp_path / "evil.pth", tmp_path / "out")
    assert not (tmp_path / "pwned").exists()
