#!/usr/bin/env python3
"""Makes gan.safetensors: a small DCGAN's losses and gradients, in float64 by PyTorch.

Parameters have Easel's names and shapes; images and features are [N, H, W, C].
codes [4, 6], real [4, 20, 20, 1], place [4], labels [4] of 3 classes
generator.PARAMETER, discriminator.PARAMETER   (classes.weight and planes.weight only for the cases with labels)
fake [4, 20, 20, 1]                what the generator makes of the codes (without labels), running_mean.0, running_var.0
                                   of its first norm after it
CASE.discriminator, CASE.gradient.PARAMETER    the discriminator's loss on real and fake, and its gradients
CASE.generator, CASE.image-gradient            the generator's, and its gradient with respect to the fakes
non-saturating.generator-gradient.PARAMETER    its gradients
"""
import pathlib

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).resolve().parent
torch.manual_seed(21)


def exact(*shape, scale=1.0, shift=0.0):
    return (torch.randn(shape) * scale + shift).float().double()


G = {
    "input.weight": exact(400, 6, scale=0.4), "input.bias": exact(400, scale=0.1),
    "norms.0.weight": exact(16, scale=0.2, shift=1), "norms.0.bias": exact(16, scale=0.1),
    "layers.0.weight": exact(16, 8, 4, 4, scale=0.1), "layers.0.bias": exact(8, scale=0.1),
    "norms.1.weight": exact(8, scale=0.2, shift=1), "norms.1.bias": exact(8, scale=0.1),
    "layers.1.weight": exact(8, 4, 4, 4, scale=0.15), "layers.1.bias": exact(4, scale=0.1),
    "norms.2.weight": exact(4, scale=0.2, shift=1), "norms.2.bias": exact(4, scale=0.1),
    "output.weight": exact(1, 4, 3, 3, scale=0.2), "output.bias": exact(1, scale=0.1),
}
D = {
    "blocks.0.conv.weight": exact(4, 1, 4, 4, scale=0.3), "blocks.0.conv.bias": exact(4, scale=0.1),
    "blocks.1.conv.weight": exact(8, 4, 4, 4, scale=0.2), "blocks.1.conv.bias": exact(8, scale=0.1),
    "blocks.1.norm.weight": exact(8, scale=0.2, shift=1), "blocks.1.norm.bias": exact(8, scale=0.1),
    "output.weight": exact(1, 200, scale=0.15), "output.bias": exact(1, scale=0.1),
    "classes.weight": exact(3, 200, scale=0.1), "planes.weight": exact(3, 400, scale=0.5),
}
PLANE_CONV = exact(4, 2, 4, 4, scale=0.3)
codes, real = exact(4, 6), (torch.rand(4, 20, 20, 1) * 2 - 1).float().double()
place, labels = torch.rand(4).float().double(), torch.tensor([2, 0, 1, 1])


def generate(p):
    x = F.linear(codes, p["input.weight"], p["input.bias"]).view(4, 5, 5, 16).permute(0, 3, 1, 2)
    first = x
    for i in range(3):
        x = F.relu(F.batch_norm(x, None, None, p[f"norms.{i}.weight"], p[f"norms.{i}.bias"], training=True))
        if i < 2:
            x = F.conv_transpose2d(x, p[f"layers.{i}.weight"], p[f"layers.{i}.bias"], 2, 1)
    return torch.tanh(F.conv2d(x, p["output.weight"], p["output.bias"], padding=1)).permute(0, 2, 3, 1), first


def spectral(w):
    """One power iteration from the constant vectors."""
    m = w.reshape(w.shape[0], -1)
    u = torch.full((m.shape[0],), m.shape[0] ** -0.5).double()
    with torch.no_grad():
        v = F.normalize(m.T @ u, dim=0)
        u = F.normalize(m @ v, dim=0)
    return w / (u @ m @ v)


def discriminate(p, x, norm=True, labelled=None, normalize=lambda w: w):
    x = x.permute(0, 3, 1, 2)
    if labelled == "concatenation":
        x = torch.cat([x, p["planes.weight"][labels].view(4, 1, 20, 20)], 1)
    x = F.leaky_relu(F.conv2d(x, normalize(p["blocks.0.conv.weight"]), p["blocks.0.conv.bias"], 2, 1), 0.2)
    x = F.conv2d(x, normalize(p["blocks.1.conv.weight"]), p["blocks.1.conv.bias"], 2, 1)
    if norm:
        x = F.batch_norm(x, None, None, p["blocks.1.norm.weight"], p["blocks.1.norm.bias"], training=True)
    x = F.leaky_relu(x, 0.2).permute(0, 2, 3, 1).reshape(4, -1)
    score = F.linear(x, normalize(p["output.weight"]), p["output.bias"])[:, 0]
    return score + (p["classes.weight"][labels] * x).sum(1) if labelled == "projection" else score


BCE = F.binary_cross_entropy_with_logits
entropy = lambda s, t: BCE(s, torch.full_like(s, t))
log_losses = lambda smoothing=0.0: lambda r, f: entropy(r, 1 - smoothing) + entropy(f, 0.0)
squares = lambda smoothing=0.0: lambda r, f: 0.5 * ((r - 1 + smoothing) ** 2).mean() + 0.5 * (f**2).mean()
lower = lambda f: -f.mean()
wasserstein = lambda r, f: f.mean() - r.mean()
hinge = lambda r, f: F.relu(1 - r).mean() + F.relu(1 + f).mean()
squares_up = lambda f: 0.5 * ((f - 1) ** 2).mean()
CASES = {
    "minimax": (log_losses(), lambda f: torch.log(1 - torch.sigmoid(f)).mean(), {}),
    "non-saturating": (log_losses(), lambda f: F.softplus(-f).mean(), {}),
    "least-squares": (squares(), squares_up, {}),
    "hinge": (hinge, lower, {}),
    "wasserstein": (wasserstein, lower, {}),
    "wgan-gp": (wasserstein, lower, {"norm": False}),
    "r1": (log_losses(), lambda f: F.softplus(-f).mean(), {"norm": False}),
    "smoothed": (log_losses(0.1), lambda f: F.softplus(-f).mean(), {}),
    "smoothed-squares": (squares(0.1), squares_up, {}),
    "projection": (hinge, lower, {"labelled": "projection"}),
    "projection-r1": (log_losses(), lambda f: F.softplus(-f).mean(), {"labelled": "projection", "norm": False}),
    "concatenation": (log_losses(), lambda f: F.softplus(-f).mean(), {"labelled": "concatenation"}),
    "concatenation-wgan-gp": (wasserstein, lower, {"labelled": "concatenation", "norm": False}),
    "spectral": (hinge, lower, {"norm": False, "normalize": spectral}),
    "spectral-r1": (log_losses(), lambda f: F.softplus(-f).mean(), {"norm": False, "normalize": spectral}),
}

tensors = {"codes": codes, "real": real, "place": place, "labels": labels.float(), "plane-conv": PLANE_CONV}
tensors |= {f"generator.{k}": v for k, v in G.items()} | {f"discriminator.{k}": v for k, v in D.items()}
with torch.no_grad():
    fake, first = generate(G)
tensors["fake"] = fake
tensors["running_mean.0"] = 0.1 * first.mean((0, 2, 3))
tensors["running_var.0"] = 0.9 + 0.1 * first.transpose(0, 1).reshape(16, -1).var(1)
for name, (d_loss, g_loss, options) in CASES.items():
    p = {k: v.clone().requires_grad_() for k, v in D.items()}
    if options.get("labelled") == "concatenation":
        p["blocks.0.conv.weight"] = PLANE_CONV.clone().requires_grad_()
    loss = d_loss(discriminate(p, real, **options), discriminate(p, fake, **options))
    if "wgan-gp" in name or "r1" in name:
        a = place[:, None, None, None]
        x = (a * real + (1 - a) * fake if "wgan-gp" in name else real).requires_grad_()
        g, = torch.autograd.grad(discriminate(p, x, **options).sum(), x, create_graph=True)
        length = g.flatten(1).norm(dim=1)
        loss = loss + (10 * (length - 1) ** 2 if "wgan-gp" in name else 5 * length**2).mean()
    loss.backward()
    tensors[f"{name}.discriminator"] = loss
    tensors |= {f"{name}.gradient.{k}": v.grad.clone() for k, v in p.items() if v.grad is not None}
    g = {k: v.clone().requires_grad_() for k, v in G.items()}
    image = generate(g)[0] if name == "non-saturating" else fake.clone().requires_grad_()
    if name == "non-saturating":
        image.retain_grad()
    loss = g_loss(discriminate(p, image, **options))
    loss.backward()
    tensors |= {f"{name}.generator": loss, f"{name}.image-gradient": image.grad}
    if name == "non-saturating":
        tensors |= {f"{name}.generator-gradient.{k}": v.grad for k, v in g.items()}
    print(name, tensors[f"{name}.discriminator"].item(), loss.item())
save_file({k: v.detach().float().contiguous() for k, v in tensors.items()}, HERE / "gan.safetensors")
