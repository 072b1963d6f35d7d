#!/usr/bin/env python3
"""Makes vae.safetensors: a VAE of one matrix each way, its loss and gradients, in float64 by PyTorch.

x [5, 16]              pixels, multiples of 1/255, some of them 0 and 1
noise [5, 3]           the code is mean + noise · deviation
encoder.weight, .bias  [6, 16], [6]: means, then log-variances
decoder.weight, .bias  [16, 3], [16]
LIKELIHOOD.loss, LIKELIHOOD.gradient.PARAMETER for bernoulli, gaussian (σ 0.1), learned-gaussian and
    discretized-logistic (log_scale −1.5), β = 1; free-bits.… for bernoulli with β 0.7 and 0.4 free nats a latent number
"""
import pathlib

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

torch.manual_seed(11)
HERE = pathlib.Path(__file__).resolve().parent


def exact(*shape, scale=1.0):
    return (torch.randn(shape) * scale).float().double()


x = torch.randint(0, 256, (5, 16)).double()
x[0, :4], x[1, 3:7] = 0, 255
x = (x / 255).float().double()
noise = exact(5, 3)
weights = {
    "encoder.weight": exact(6, 16, scale=0.3), "encoder.bias": exact(6, scale=0.2),
    "decoder.weight": exact(16, 3, scale=0.2), "decoder.bias": exact(16, scale=0.2) + 0.5,
}
weights["decoder.bias"] = weights["decoder.bias"].float().double()
tensors = {"x": x, "noise": noise, **weights}


def reconstruction(kind, output, log_scale):
    if kind == "bernoulli":
        return F.binary_cross_entropy_with_logits(output, x, reduction="none").sum(1)
    if kind == "gaussian":
        return -torch.distributions.Normal(output, 0.1).log_prob(x).sum(1)
    if kind == "learned-gaussian":
        return -torch.distributions.Normal(output, log_scale.exp()).log_prob(x).sum(1)
    cdf = lambda edge: torch.sigmoid((edge - output) / log_scale.exp())
    upper = torch.where(x > 1 - 0.5 / 255, torch.ones_like(x), cdf(x + 0.5 / 255))
    lower = torch.where(x < 0.5 / 255, torch.zeros_like(x), cdf(x - 0.5 / 255))
    return -(upper - lower).log().sum(1)


for kind in ["bernoulli", "gaussian", "learned-gaussian", "discretized-logistic", "free-bits"]:
    parameters = {name: value.clone().requires_grad_() for name, value in weights.items()}
    likelihood = "bernoulli" if kind == "free-bits" else kind
    if likelihood in ("learned-gaussian", "discretized-logistic"):
        parameters["decoder.log_scale"] = torch.tensor([-1.5]).double().requires_grad_()
    mean, log_variance = F.linear(x, parameters["encoder.weight"], parameters["encoder.bias"]).chunk(2, 1)
    code = mean + noise * (0.5 * log_variance).exp()
    output = F.linear(code, parameters["decoder.weight"], parameters["decoder.bias"])
    posterior = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
    divergence = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0.0, 1.0)).mean(0)
    if kind == "free-bits":
        print("divergences", divergence.tolist())
        divergence = 0.7 * torch.clamp(divergence, min=0.4)
    loss = reconstruction(likelihood, output, parameters.get("decoder.log_scale")).mean() + divergence.sum()
    loss.backward()
    print(kind, loss.item())
    tensors[f"{kind}.loss"] = loss
    tensors |= {f"{kind}.gradient.{name}": value.grad for name, value in parameters.items()}

save_file({name: value.detach().float().contiguous() for name, value in tensors.items()}, HERE / "vae.safetensors")
