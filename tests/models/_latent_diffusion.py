"""A banal network with the names of a latent-diffusion checkpoint, written from the paper."""

import torch
from torch import nn
from torch.nn import functional


class Block(nn.Module):
    def __init__(self, a, b):
        super().__init__()
        self.norm1 = nn.GroupNorm(32, a, eps=1e-6)
        self.conv1 = nn.Conv2d(a, b, 3, padding=1)
        self.norm2 = nn.GroupNorm(32, b, eps=1e-6)
        self.conv2 = nn.Conv2d(b, b, 3, padding=1)
        if a != b:
            self.nin_shortcut = nn.Conv2d(a, b, 1)

    def forward(self, x):
        h = self.conv1(functional.silu(self.norm1(x)))
        h = self.conv2(functional.silu(self.norm2(h)))
        return h + (self.nin_shortcut(x) if hasattr(self, "nin_shortcut") else x)


class Attention(nn.Module):
    def __init__(self, a):
        super().__init__()
        self.norm = nn.GroupNorm(32, a, eps=1e-6)
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(a, a, 1) for _ in range(4))

    def forward(self, x):
        n, c, h, w = x.shape
        q, k, v = (layer(self.norm(x)).view(n, c, h * w) for layer in (self.q, self.k, self.v))
        weights = (q.mT @ k * c**-0.5).softmax(dim=2)
        return x + self.proj_out((v @ weights.mT).view(n, c, h, w))


class Resampling(nn.Module):
    def __init__(self, a, stride):
        super().__init__()
        self.conv = nn.Conv2d(a, a, 3, stride=stride, padding=0 if stride == 2 else 1)

    def forward(self, x):
        if self.conv.stride == (2, 2):
            return self.conv(functional.pad(x, (0, 1, 0, 1)))
        return self.conv(x.repeat_interleave(2, 2).repeat_interleave(2, 3))


class Middle(nn.Module):
    def __init__(self, a, attends):
        super().__init__()
        self.block_1, self.block_2 = Block(a, a), Block(a, a)
        self.attn_1 = Attention(a) if attends else nn.Identity()

    def forward(self, x):
        return self.block_2(self.attn_1(self.block_1(x)))


class Level(nn.Module):
    def __init__(self, a, b, blocks, attends, resampling):
        super().__init__()
        self.block = nn.ModuleList([Block(a if i == 0 else b, b) for i in range(blocks)])
        self.attn = nn.ModuleList([Attention(b) for _ in range(blocks if attends else 0)])
        if resampling == 2:
            self.downsample = Resampling(b, 2)
        elif resampling == 1:
            self.upsample = Resampling(b, 1)

    def forward(self, x):
        for i, block in enumerate(self.block):
            x = block(x)
            x = self.attn[i](x) if len(self.attn) else x
        for name in ("downsample", "upsample"):
            x = getattr(self, name)(x) if hasattr(self, name) else x
        return x


class Half(nn.Module):
    """Encoder (``down``) or decoder (``up``, level 0 the finest)."""

    def __init__(self, ch, ch_mult, blocks, attends, ends, mid_attn, down):
        super().__init__()
        widths, last = [ch * m for m in ch_mult], len(ch_mult) - 1
        before = [ch, *widths[:-1]] if down else [*widths[1:], widths[-1]]
        top = widths[-1]
        self.conv_in = nn.Conv2d(ends[0], ch if down else top, 3, padding=1)
        self.mid = Middle(top, mid_attn)
        resampled = [(2 if i < last else 0) if down else (1 if i else 0) for i in range(last + 1)]
        levels = nn.ModuleList(
            [
                Level(
                    before[i], widths[i], blocks if down else blocks + 1, attends[i], resampled[i]
                )
                for i in range(last + 1)
            ]
        )
        setattr(self, "down" if down else "up", levels)
        out = top if down else widths[0]
        self.norm_out = nn.GroupNorm(32, out, eps=1e-6)
        self.conv_out = nn.Conv2d(out, ends[1], 3, padding=1)

    def forward(self, x):
        x = self.conv_in(x)
        if hasattr(self, "down"):
            for level in self.down:
                x = level(x)
            x = self.mid(x)
        else:
            x = self.mid(x)
            for level in reversed(self.up):
                x = level(x)
        return self.conv_out(functional.silu(self.norm_out(x)))


class LatentDiffusion(nn.Module):
    def __init__(
        self, ch=32, ch_mult=(1, 2), blocks=1, attends=None, image=3, z=4, embed=4, mid_attn=True
    ):
        super().__init__()
        attends = attends or [False] * len(ch_mult)
        shared = ch, ch_mult, blocks, attends
        self.encoder = Half(*shared, (image, 2 * z), mid_attn, True)
        self.decoder = Half(*shared, (z, image), mid_attn, False)
        self.quant_conv = nn.Conv2d(2 * z, 2 * embed, 1)
        self.post_quant_conv = nn.Conv2d(embed, z, 1)

    def moments(self, x):
        return self.quant_conv(self.encoder(x))

    def decode(self, z):
        return self.decoder(self.post_quant_conv(z))


def stable_diffusion_checkpoint(model):
    """A whole checkpoint, with small tensors in place of its other networks."""
    others = {
        "model.diffusion_model.input_blocks.0.0.weight": torch.zeros(2),
        "cond_stage_model.transformer.encoder.weight": torch.zeros(2),
        "model_ema.decay": torch.zeros(()),
        "betas": torch.zeros(3),
        "scale_factor": torch.tensor(0.25),
    }
    return others | {f"first_stage_model.{n}": t for n, t in model.state_dict().items()}
