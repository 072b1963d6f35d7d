#!/usr/bin/env python3
"""Makes translation.safetensors: a CycleGAN and a pix2pix of a few channels, their losses, gradients and first steps, in
float64 by PyTorch. Networks, losses and names are those of NUMERICS.md; sizes that are not multiples of 4 are led back to by
`output_size`.

a, b [2, 3, 24, 27]                 images of both kinds, multiples of 1/255, as 0 to 1
MODEL.weight.COMPONENT.PARAMETER    the first values
MODEL.PART                          the parts of the losses: cyclegan's generator (all of it), generator-a, generator-b, cycle,
                                    identity, discriminator-a, discriminator-b; pix2pix's generator (all of it), fooling,
                                    reconstruction, discriminator
MODEL.gradient.COMPONENT.PARAMETER  of generator, of the sum of the discriminators
MODEL.curve [5, 2]                  generator and sum of discriminators over five steps of Adam (2e-3, 0.5, 0.999) on a and b
MODEL.translated [2, 3, 24, 27]     a translated to b by the first values, 0 to 1
"""
import pathlib

import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors.torch import save_file

torch.manual_seed(17)
torch.set_default_dtype(torch.float64)
HERE = pathlib.Path(__file__).resolve().parent
tensors = {}


def picture():
    """Smooth enough that generators have something to copy."""
    rough = F.interpolate(torch.rand(2, 3, 6, 7), size=(24, 27), mode="bilinear")
    return (rough * 255).round().float().double() / 255


a, b = picture(), picture() ** 2
b = (b * 255).round() / 255
tensors["a"], tensors["b"] = a, b
A, B = 2 * a - 1, 2 * b - 1


class Back(nn.ConvTranspose2d):
    """A transposed convolution that receives the size of its result."""

    def forward(self, x, size):
        return super().forward(x, output_size=size)


class Residual(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.ReflectionPad2d(1), nn.Conv2d(c, c, 3), nn.InstanceNorm2d(c), nn.ReLU(),
            nn.ReflectionPad2d(1), nn.Conv2d(c, c, 3), nn.InstanceNorm2d(c))

    def forward(self, x):
        return x + self.conv_block(x)


class Generator(nn.Module):
    def __init__(self, f=2, blocks=2):
        super().__init__()
        layers = [nn.ReflectionPad2d(3), nn.Conv2d(3, f, 7), nn.InstanceNorm2d(f), nn.ReLU()]
        for c in (f, 2 * f):
            layers += [nn.Conv2d(c, 2 * c, 3, 2, 1), nn.InstanceNorm2d(2 * c), nn.ReLU()]
        layers += [Residual(4 * f) for _ in range(blocks)]
        for c in (4 * f, 2 * f):
            layers += [Back(c, c // 2, 3, 2, 1), nn.InstanceNorm2d(c // 2), nn.ReLU()]
        self.model = nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(f, 3, 7), nn.Tanh())

    def forward(self, x):
        sizes = []
        for layer in self.model:
            if isinstance(layer, nn.Conv2d) and layer.stride == (2, 2):
                sizes.append(x.shape[2:])
            x = layer(x, sizes.pop()) if isinstance(layer, Back) else layer(x)
        return x


def discriminator(channels, f=2):
    return nn.Sequential(
        nn.Conv2d(channels, f, 4, 2, 1), nn.LeakyReLU(0.2),
        nn.Conv2d(f, 2 * f, 4, 2, 1), nn.InstanceNorm2d(2 * f), nn.LeakyReLU(0.2),
        nn.Conv2d(2 * f, 4 * f, 4, 2, 1), nn.InstanceNorm2d(4 * f), nn.LeakyReLU(0.2),
        nn.Conv2d(4 * f, 8 * f, 4, 1, 1), nn.InstanceNorm2d(8 * f), nn.LeakyReLU(0.2), nn.Conv2d(8 * f, 1, 4, 1, 1))


class Discriminator(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.model = discriminator(channels)

    def forward(self, x):
        return self.model(x)


class Level(nn.Module):
    """A level of the U-Net with the levels below it."""

    def __init__(self, channels, depth, below=None, kind="middle"):
        super().__init__()
        outer, inner = channels[depth], channels[depth + 1]
        down = nn.Conv2d(outer, inner, 4, 2, 1)
        self.kind = kind
        back = Back(inner * (1 if kind == "innermost" else 2), outer, 4, 2, 1)
        if kind == "outermost":
            self.model = nn.ModuleList([down, below, nn.ReLU(), back, nn.Tanh()])
        elif kind == "innermost":
            self.model = nn.ModuleList([nn.LeakyReLU(0.2), down, nn.ReLU(), back, nn.InstanceNorm2d(outer)])
        else:
            self.model = nn.ModuleList([
                nn.LeakyReLU(0.2), down, nn.InstanceNorm2d(inner), below, nn.ReLU(), back, nn.InstanceNorm2d(outer)])

    def forward(self, x):
        y = x
        for layer in self.model:
            y = layer(y, x.shape[2:]) if isinstance(layer, Back) else layer(y)
        return y if self.kind == "outermost" else torch.cat([x, y], 1)


class UNet(nn.Module):
    def __init__(self, f=2, depth=4):
        super().__init__()
        channels = [3] + [f * min(2 ** level, 8) for level in range(depth)]
        level = Level(channels, depth - 1, kind="innermost")
        for place in reversed(range(1, depth - 1)):
            level = Level(channels, place, level)
        self.model = Level(channels, 0, level, "outermost")

    def forward(self, x):
        return self.model(x)


def begin(module):
    """Large enough that a layer's error is visible behind all the norms."""
    for parameter in module.parameters():
        parameter.data = (torch.randn_like(parameter) * 0.3).float().double()
    return module


def square(judgement, target):
    return ((judgement - target) ** 2).mean()


def cross_entropy(judgement, target):
    return F.binary_cross_entropy_with_logits(judgement, torch.full_like(judgement, target))


class CycleGAN:
    name = "cyclegan"

    def __init__(self):
        g = begin(nn.ModuleDict({"a-to-b": Generator(), "b-to-a": Generator()}))
        d = begin(nn.ModuleDict({"a": Discriminator(3), "b": Discriminator(3)}))
        self.networks = {"generators": g, "discriminators": d}
        self.to_b, self.to_a, self.judge_a, self.judge_b = g["a-to-b"], g["b-to-a"], d["a"], d["b"]

    def generator(self):
        self.fake_b, self.fake_a = self.to_b(A), self.to_a(B)
        parts = {
            "generator-a": square(self.judge_a(self.fake_a), 1), "generator-b": square(self.judge_b(self.fake_b), 1),
            "cycle": F.l1_loss(self.to_a(self.fake_b), A) + F.l1_loss(self.to_b(self.fake_a), B),
            "identity": F.l1_loss(self.to_a(A), A) + F.l1_loss(self.to_b(B), B)}
        loss = parts["generator-a"] + parts["generator-b"] + 10 * parts["cycle"] + 5 * parts["identity"]
        return loss, parts

    def discriminator(self):
        def judged(network, real, fake):
            return 0.5 * (square(network(real), 1) + square(network(fake.detach()), 0))
        parts = {"discriminator-a": judged(self.judge_a, A, self.fake_a),
                 "discriminator-b": judged(self.judge_b, B, self.fake_b)}
        return sum(parts.values()), parts

    def translated(self):
        return self.to_b(A)


class Pix2Pix:
    name = "pix2pix"

    def __init__(self):
        self.g, self.d = begin(UNet()), begin(Discriminator(6))
        self.networks = {"generators": self.g, "discriminators": self.d}

    def generator(self):
        self.fake = self.g(A)
        parts = {"fooling": cross_entropy(self.d(torch.cat([A, self.fake], 1)), 1.0),
                 "reconstruction": F.l1_loss(self.fake, B)}
        return parts["fooling"] + 100 * parts["reconstruction"], parts

    def discriminator(self):
        real, fake = self.d(torch.cat([A, B], 1)), self.d(torch.cat([A, self.fake.detach()], 1))
        loss = 0.5 * (cross_entropy(real, 1.0) + cross_entropy(fake, 0.0))
        return loss, {"discriminator": loss}

    def translated(self):
        return self.g(A)


for model in (CycleGAN(), Pix2Pix()):
    def keep(name, value):
        tensors[f"{model.name}.{name}"] = value.detach().clone()

    for component, network in model.networks.items():
        for name, parameter in network.named_parameters():
            keep(f"weight.{component}.{name}", parameter)
    keep("translated", (model.translated() + 1) / 2)
    optimizers = {c: torch.optim.Adam(n.parameters(), 2e-3, (0.5, 0.999)) for c, n in model.networks.items()}
    curve = []
    for step in range(5):
        losses = []
        for component, part in (("generators", model.generator), ("discriminators", model.discriminator)):
            for network in model.networks.values():
                network.zero_grad()
            loss, parts = part()
            loss.backward()
            losses.append(loss.item())
            if step == 0:
                keep(component.removesuffix("s") + "-loss", loss)
                for name, value in parts.items():
                    keep(name, value)
                for name, parameter in model.networks[component].named_parameters():
                    keep(f"gradient.{component}.{name}", parameter.grad)
            # The discriminators' first gradients are those with generators that have not learned yet.
            optimizers[component].step()
        curve.append(losses)
    keep("curve", torch.tensor(curve))

save_file({name: value.float().contiguous() for name, value in tensors.items()}, HERE / "translation.safetensors")
print(f"{len(tensors)} tensors")
