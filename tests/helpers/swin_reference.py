"""The published student, SwinEncoder, written plainly under its published names; slow, for small images.

Window attention is done as one attention over all tokens with a mask, so it shares no step with the fast ones.
"""

import torch
from torch import nn
from torch.nn import functional as F


class Attention(nn.Module):
    def __init__(self, width, heads, window):
        super().__init__()
        self.heads, self.window = heads, window
        self.relative_position_bias_table = nn.Parameter(torch.randn((2 * window - 1) ** 2, heads))
        self.register_buffer("relative_position_index", torch.zeros(window**2, window**2, dtype=torch.long))
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, grid, shift):
        """(B, H, W, C), H and W multiples of the window, -> the same."""
        (batch, height, width, channels), w = grid.shape, self.window
        y, x = (axis.flatten() for axis in torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij"))
        group = []  # tokens attend to those of their window that were not carried over the rim by the shift
        for place, size in ((y, height), (x, width)):
            group += [(place - shift) % size // w, place < shift]
        together = torch.stack([g[:, None] == g[None] for g in group]).all(0)
        dy, dx = ((p[:, None] - p[None]).clamp(1 - w, w - 1) + w - 1 for p in (y, x))
        bias = self.relative_position_bias_table[dy * (2 * w - 1) + dx].permute(2, 0, 1)
        q, k, v = (
            part.reshape(batch, -1, self.heads, channels // self.heads).transpose(1, 2)
            for part in self.qkv(grid).split(channels, -1)
        )
        weight = (q @ k.mT * (channels // self.heads) ** -0.5 + bias).masked_fill(~together, -torch.inf).softmax(-1)
        return self.proj((weight @ v).transpose(1, 2).reshape(grid.shape))


class Mlp(nn.Module):
    def __init__(self, width, hidden):
        super().__init__()
        self.linear1, self.linear2 = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x):
        return self.linear2(F.gelu(self.linear1(x)))


class TransformerBlock(nn.Module):
    def __init__(self, width, heads, window, shift):
        super().__init__()
        self.window, self.shift = window, shift
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn, self.mlp = Attention(width, heads, window), Mlp(width, 4 * width)

    def forward(self, x):
        height, width = x.shape[1:3]
        padded = F.pad(self.norm1(x), (0, 0, 0, -width % self.window, 0, -height % self.window))
        x = x + self.attn(padded, self.shift)[:, :height, :width]
        return x + self.mlp(self.norm2(x))


class Merging(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.reduction, self.norm = nn.Linear(4 * width, 2 * width, bias=False), nn.LayerNorm(4 * width)

    def forward(self, x):
        parts = [x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2]]
        return self.reduction(self.norm(torch.cat(parts, -1)))


class Stage(nn.Module):
    def __init__(self, width, heads, window):
        super().__init__()
        self.blocks = nn.ModuleList(TransformerBlock(width, heads, window, shift) for shift in (0, window // 2))
        self.downsample = Merging(width)

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return self.downsample(x)


class SwinTransformer(nn.Module):
    def __init__(self, width, window):
        super().__init__()
        self.patch_embed = nn.Module()
        self.patch_embed.proj = nn.Conv2d(1, width, 2, 2)
        for i, heads in enumerate((3, 6, 12, 24)):
            setattr(self, f"layers{i + 1}", nn.ModuleList([Stage(width * 2**i, heads, window)]))

    def forward(self, x):
        maps = [self.patch_embed.proj(x).permute(0, 2, 3, 1)]
        for stage in (self.layers1, self.layers2, self.layers3, self.layers4):
            maps.append(stage[0](maps[-1]))
        return [F.layer_norm(m, m.shape[-1:]).permute(0, 3, 1, 2) for m in maps]


def named(layer):
    holder = nn.Module()
    holder.conv = layer
    return holder


class ResBlock(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.conv1 = named(nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False))
        self.conv2 = named(nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False))
        if inputs != outputs:
            self.conv3 = named(nn.Conv2d(inputs, outputs, 1, bias=False))

    def forward(self, x):
        norm = F.instance_norm
        y = self.conv2.conv(F.leaky_relu(norm(self.conv1.conv(x)), 0.01))
        return F.leaky_relu(norm(y) + (norm(self.conv3.conv(x)) if hasattr(self, "conv3") else x), 0.01)


class SkipBlock(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.layer = ResBlock(inputs, outputs)

    def forward(self, x):
        return self.layer(x)


class UpBlock(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.transp_conv = named(nn.ConvTranspose2d(inputs, outputs, 2, 2, bias=False))
        self.conv_block = ResBlock(2 * outputs, outputs)

    def forward(self, x, skip):
        return self.conv_block(torch.cat([self.transp_conv.conv(x), skip], 1))


class SwinEncoder(nn.Module):
    """Input sides are multiples of 32 and larger than 16 windows."""

    def __init__(self, width=12, window=3, hidden=16, size=20):
        super().__init__()
        self.swinViT = SwinTransformer(width, window)
        self.encoder1 = SkipBlock(1, width)
        self.encoder2, self.encoder3 = SkipBlock(width, width), SkipBlock(2 * width, 2 * width)
        self.encoder4, self.encoder10 = SkipBlock(4 * width, 4 * width), SkipBlock(16 * width, 16 * width)
        for i, (inputs, outputs) in {5: (16, 8), 4: (8, 4), 3: (4, 2), 2: (2, 1), 1: (1, 1)}.items():
            setattr(self, f"decoder{i}", UpBlock(inputs * width, outputs * width))
        self.out = named(named(nn.Conv2d(width, 1, 1)))
        self.convDa, self.convDb = nn.Conv2d(4 * width, hidden, 3, 1, 1), nn.Conv2d(hidden, hidden, 4, 2)
        self.convDc, self.trans_conv = nn.Conv2d(hidden, size, 1), nn.ConvTranspose2d(size, size, 2, 2)
        # What the published model stores with itself.
        self.teacher = nn.Sequential(nn.Conv2d(1, 2, 3), nn.PReLU())

    def forward(self, x):
        h0, h1, h2, h3, h4 = self.swinViT(x)
        stride16 = self.decoder5(self.encoder10(h4), h3)
        stride8 = self.decoder4(stride16, self.encoder4(h2))
        stride4 = self.decoder3(stride8, self.encoder3(h1))
        full = self.decoder1(self.decoder2(stride4, self.encoder2(h0)), self.encoder1(x))
        desc = self.convDc(F.relu(self.convDb(F.relu(self.convDa(stride8)))))
        return self.out.conv.conv(full), self.trans_conv(desc / desc.norm(dim=1, keepdim=True))
