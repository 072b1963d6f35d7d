#!/usr/bin/env python3
"""Makes masked-autoencoder.safetensors in this folder: a tiny masked autoencoder in PyTorch.

    make_masked_autoencoder.py [FOLDER]        (this script's own folder unless given)

As make_fixtures.py: computed in float64 from float32 inputs, stored as float32, the same bytes every time.
Images are 8 high, 12 wide and have 3 channels; patches of 4, so 2 rows of 3; width 16, 2 blocks, 2 heads; decoder 8 × 1, 2 heads;
MLP ratio 2. Parameters have the names and shapes of facebookresearch/mae, except patch_embed.proj, a linear layer over
(row, column, channel).

PARAMETER, pos_embed, decoder_pos_embed    the weights; the positions, [1, 6, width]
images [4, 8, 12, 3], visible [4, 3]       channels last; the patches that the encoder sees of each image
prediction [4, 6, 48], features [4, 16]    of the network; the mean over patches with all of them seen
CASE.loss, CASE.gradient.PARAMETER         plain, norm-pix (normalised targets), rezero (gates in place of the blocks' norms)
plain.losses [11]                          before and after each of ten AdamW steps: lr 1e-2, betas 0.9 0.95, eps 1e-8, weight
                                           decay 0.05 of parameters with more than one axis
"""
import json
import math
import pathlib
import sys

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

HERE = pathlib.Path(__file__).resolve().parent
FOLDER = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
HEIGHT, WIDTH, CHANNELS, PATCH = 8, 12, 3, 4
ROWS, COLUMNS = HEIGHT // PATCH, WIDTH // PATCH
TOKENS, PIXELS = ROWS * COLUMNS, PATCH * PATCH * CHANNELS


def positions(width):
    """Sines and cosines of the column, then of the row."""
    table = torch.zeros(1, TOKENS, width, dtype=torch.float64)
    quarter = width // 4
    for row in range(ROWS):
        for column in range(COLUMNS):
            for half, place in enumerate((column, row)):
                for i in range(quarter):
                    angle = place / 10000 ** (i / quarter)
                    table[0, row * COLUMNS + column, half * 2 * quarter + i] = math.sin(angle)
                    table[0, row * COLUMNS + column, half * 2 * quarter + quarter + i] = math.cos(angle)
    return table


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads, self.qkv, self.proj = heads, nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x):
        n, t, c = x.shape
        q, k, v = (part.reshape(n, t, self.heads, -1).transpose(1, 2) for part in self.qkv(x).chunk(3, -1))
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, t, c))


class Block(nn.Module):
    def __init__(self, width, heads, rezero):
        super().__init__()
        self.rezero, self.attn = rezero, Attention(width, heads)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, 2 * width), "fc2": nn.Linear(2 * width, width)})
        if rezero:
            self.resweight = nn.Parameter(torch.zeros(1))
        else:
            self.norm1, self.norm2 = nn.LayerNorm(width, 1e-6), nn.LayerNorm(width, 1e-6)

    def forward(self, x):
        feed = lambda x: self.mlp["fc2"](F.gelu(self.mlp["fc1"](x)))
        if self.rezero:
            x = x + self.resweight * self.attn(x)
            return x + self.resweight * feed(x)
        x = x + self.attn(self.norm1(x))
        return x + feed(self.norm2(x))


class MaskedAutoencoder(nn.Module):
    def __init__(self, rezero=False, width=16, decoder=8):
        super().__init__()
        self.patch_embed = nn.ModuleDict({"proj": nn.Linear(PIXELS, width)})
        self.blocks = nn.ModuleList([Block(width, 2, rezero) for _ in range(2)])
        self.norm = nn.LayerNorm(width, 1e-6)
        self.decoder_embed, self.mask_token = nn.Linear(width, decoder), nn.Parameter(torch.zeros(1, 1, decoder))
        self.decoder_blocks = nn.ModuleList([Block(decoder, 2, rezero)])
        self.decoder_norm, self.decoder_pred = nn.LayerNorm(decoder, 1e-6), nn.Linear(decoder, PIXELS)
        self.places, self.decoder_places = positions(width), positions(decoder)

    def encode(self, patches, visible):
        x = self.patch_embed["proj"](patches) + self.places
        x = torch.stack([tokens[chosen] for tokens, chosen in zip(x, visible)])
        for block in self.blocks:
            x = block(x)
        return self.norm(x)

    def forward(self, patches, visible):
        seen = self.decoder_embed(self.encode(patches, visible))
        x = self.mask_token.repeat(len(patches), TOKENS, 1)
        x = torch.stack([all.index_copy(0, chosen, tokens) for all, chosen, tokens in zip(x, visible, seen)])
        x = x + self.decoder_places
        for block in self.decoder_blocks:
            x = block(x)
        return self.decoder_pred(self.decoder_norm(x))

    def loss(self, patches, visible, normalized=False):
        target = patches
        if normalized:
            target = (patches - patches.mean(-1, True)) / (patches.var(-1, keepdim=True) + 1e-6).sqrt()
        masked = torch.ones(patches.shape[:2], dtype=torch.float64).scatter(1, visible, 0)
        errors = ((self(patches, visible) - target) ** 2).mean(-1)
        return (errors * masked).sum() / masked.sum()


def make():
    torch.manual_seed(5)
    images = torch.rand(4, HEIGHT, WIDTH, CHANNELS).double()
    patches = images.reshape(4, ROWS, PATCH, COLUMNS, PATCH, CHANNELS).transpose(2, 3).reshape(4, TOKENS, PIXELS)
    visible = torch.stack([torch.randperm(TOKENS)[:3] for _ in range(4)])
    tensors = {"images": images, "visible": visible}

    def perturbed(model):
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.dim() == 1 or parameter.shape[1] == 1:
                    parameter += 0.2 * torch.randn_like(parameter)
        return model.double()

    model = perturbed(MaskedAutoencoder())
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    tensors |= weights | {"pos_embed": model.places, "decoder_pos_embed": model.decoder_places}
    tensors["prediction"] = model(patches, visible)
    tensors["features"] = model.encode(patches, torch.arange(TOKENS).repeat(4, 1)).mean(1)

    gated = perturbed(MaskedAutoencoder(rezero=True))
    tensors |= {f"rezero.{name}": value.clone() for name, value in gated.state_dict().items()}
    for case, network, normalized in (("plain", model, False), ("norm-pix", model, True), ("rezero", gated, False)):
        network.zero_grad()
        loss = network.loss(patches, visible, normalized)
        loss.backward()
        tensors[f"{case}.loss"] = loss
        tensors |= {f"{case}.gradient.{name}": p.grad.clone() for name, p in network.named_parameters()}

    decayed = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}], lr=1e-2, betas=(0.9, 0.95))
    losses = []
    for _ in range(10):
        loss = model.loss(patches, visible)
        losses.append(loss.detach())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    tensors["plain.losses"] = torch.stack(losses + [model.loss(patches, visible).detach()])
    narrow = {name: (t.float() if t.is_floating_point() else t).detach().contiguous() for name, t in tensors.items()}
    save_file(narrow, FOLDER / "masked-autoencoder.safetensors",
              metadata={"easel": json.dumps({"made-with": {"torch": torch.__version__}})})


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    make()
