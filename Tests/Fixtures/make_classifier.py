#!/usr/bin/env python3
"""Makes classifier.safetensors: the network of Sources/EaselModels/Classifier in PyTorch, with 3 classes, base 8, 16 features.

    make_classifier.py [FOLDER]        (this script's own folder unless given)

Weights under Easel's names; pixels [5, 10, 13, 3] uint8, labels [5]; features [5, 16], logits [5, 3];
loss, gradient.PARAMETER     cross-entropy with label smoothing 0.1, and its gradients
plain-loss                   without smoothing
losses [11]                  the first loss before and after each of ten AdamW steps: lr 1e-3, weight decay 1e-2
Computed in float64, stored as float32.
"""
import json
import pathlib
import sys

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

FOLDER = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parent
GROUPS = 8


class Block(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(GROUPS, inputs), nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm2, self.conv2 = nn.GroupNorm(GROUPS, outputs), nn.Conv2d(outputs, outputs, 3, padding=1)
        if inputs != outputs:
            self.conv_shortcut = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x):
        hidden = self.conv2(F.silu(self.norm2(self.conv1(F.silu(self.norm1(x))))))
        return hidden + (self.conv_shortcut(x) if hasattr(self, "conv_shortcut") else x)


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.stages = nn.ModuleList([nn.ModuleList([Block(8, 8)]), nn.ModuleList([Block(8, 16)]),
                                     nn.ModuleList([Block(16, 16)])])
        self.norm, self.head = nn.GroupNorm(GROUPS, 16), nn.Linear(16, 3)

    def features(self, images):
        x = self.stem(2 * images - 1)
        for level, blocks in enumerate(self.stages):
            x = F.avg_pool2d(x, 2) if level else x
            for block in blocks:
                x = block(x)
        return F.silu(self.norm(x)).mean((2, 3))


torch.manual_seed(5)
model = Classifier()
with torch.no_grad():
    for parameter in model.parameters():
        if parameter.dim() == 1:
            parameter += 0.2 * torch.randn_like(parameter)
model = model.double()
tensors = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
pixels = torch.randint(0, 256, (5, 10, 13, 3), dtype=torch.uint8)
labels = torch.tensor([0, 2, 1, 1, 0])
images = pixels.permute(0, 3, 1, 2).double() / 255


def smoothed():
    return F.cross_entropy(model.head(model.features(images)), labels, label_smoothing=0.1)


features = model.features(images)
logits = model.head(features)
loss = smoothed()
loss.backward()
tensors |= {"pixels": pixels, "labels": labels.double(), "features": features, "logits": logits, "loss": loss,
            "plain-loss": F.cross_entropy(logits, labels)}
for name, parameter in model.named_parameters():
    tensors["gradient." + name] = parameter.grad.clone()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-2)
losses = [loss.detach()]
for _ in range(10):
    optimizer.zero_grad()
    smoothed().backward()
    optimizer.step()
    losses.append(smoothed().detach())
tensors["losses"] = torch.stack(losses)

narrow = {name: (t.float() if t.is_floating_point() else t).detach().contiguous() for name, t in tensors.items()}
metadata = {"easel": json.dumps({"made-with": {"torch": torch.__version__}})}
save_file(narrow, FOLDER / "classifier.safetensors", metadata=metadata)
