#!/usr/bin/env python3
"""Makes autoencoder-kl.safetensors from diffusers' AutoencoderKL and VQModel.

    make_autoencoder_kl.py [FOLDER]        (this script's own folder unless given)

Layouts are PyTorch's. Everything is computed in float64 and stored as float32; the weights are numbers that bfloat16
holds, and are stored so. Tensors are named MODEL.NAME, where MODEL is one of

    kl         AutoencoderKL, two levels
    kl-bare    AutoencoderKL, three levels, without 1×1 convolutions and without attention
    vq         VQModel, two levels, two blocks each

and NAME one of

    weight.PARAMETER
    x, target                         images
    noise, mean, log-variance         AutoencoderKL: latents = mean + exp(log-variance / 2) · noise
    latents, indices                  VQModel: what is quantised, and the numbers of the nearest vectors
    output                            the decoder's images
    l1, l2                            the output's mean absolute and squared difference from x
    divergence, quantization          AutoencoderKL; VQModel: what the loss adds to the error, without 0.01
    loss                              mean squared error of the output; AutoencoderKL: + 0.01 · divergence, summed over
                                      an image's latents and averaged over images; VQModel: + mean squared distance of
                                      the vectors from the latents, and 0.25 times the same of the latents from the vectors
    gradient.x, gradient.PARAMETER    of the loss, for some parameters
    gradient-norm.PARAMETER           for all of them
"""
import pathlib
import sys

import diffusers
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, VQModel
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).resolve().parent
FOLDER = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else HERE


def rounded(*shape, scale=1.0):
    """Random normal values that float32 holds exactly, as float64."""
    return (torch.randn(shape) * scale).float().double()


def prepared(model):
    """Moves biases and norms off 0 and 1, and rounds all weights to bfloat16's numbers."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter += 0.2 * torch.randn_like(parameter)
            parameter.copy_(parameter.bfloat16().float())
    return model.double()


def case(model, forward, x, complete):
    """The tensors of a model whose forward pass gives tensors by name, among them the loss."""
    x.requires_grad_()
    tensors = {"x": x, **forward(model, x)}
    tensors["loss"].backward()
    tensors["gradient.x"] = x.grad
    for name, parameter in model.named_parameters():
        tensors["weight." + name] = parameter.bfloat16()
        tensors["gradient-norm." + name] = parameter.grad.norm()
        if any(part in name for part in complete):
            tensors["gradient." + name] = parameter.grad
    return tensors


def errors(output, x):
    return {"output": output, "l1": F.l1_loss(output, x), "l2": F.mse_loss(output, x)}


def kl_loss(model, x):
    posterior = model.encode(x).latent_dist
    noise, target = rounded(*posterior.mean.shape), rounded(*x.shape)
    latents = posterior.mean + posterior.std * noise
    output = model.decode(latents).sample
    divergence = posterior.kl().mean()
    loss = F.mse_loss(output, target) + 0.01 * divergence
    return {"target": target, "noise": noise, "mean": posterior.mean, "log-variance": posterior.logvar,
            "divergence": divergence, **errors(output, x), "loss": loss}


def vq_loss(model, x):
    # Otherwise diffusers weights the wrong one of the two terms with 0.25.
    model.quantize.legacy = False
    latents, target = model.encode(x).latents, rounded(*x.shape)
    indices = model.quantize(latents)[2][2]
    decoded = model.decode(latents)
    loss = F.mse_loss(decoded.sample, target) + decoded.commit_loss
    assert len(set(indices.tolist())) > 5, "nearly all latents have the same vector"
    return {"target": target, "latents": latents, "indices": indices, "quantization": decoded.commit_loss,
            **errors(decoded.sample, x), "loss": loss}


def main():
    tensors = {}

    def add(name, values):
        for key, tensor in values.items():
            # The indices are integers, and the weights bfloat16.
            tensor = tensor.float() if tensor.dtype == torch.float64 else tensor
            tensors[f"{name}.{key}"] = tensor.detach().contiguous()

    torch.manual_seed(1)
    blocks = {"down_block_types": ["DownEncoderBlock2D"] * 2, "up_block_types": ["UpDecoderBlock2D"] * 2}
    model = prepared(AutoencoderKL(block_out_channels=(8, 16), latent_channels=3, norm_num_groups=4, **blocks))
    with torch.no_grad():
        # So that some log-variances are below −30.
        model.quant_conv.bias[5] = -29.75
    shown = ["conv_in", "quant_conv", "encoder.mid_block.attentions", "downsamplers", "conv_out.weight"]
    add("kl", case(model, kl_loss, rounded(2, 3, 12, 8), shown))

    torch.manual_seed(2)
    blocks = {"down_block_types": ["DownEncoderBlock2D"] * 3, "up_block_types": ["UpDecoderBlock2D"] * 3}
    model = AutoencoderKL(
        in_channels=1, out_channels=1, block_out_channels=(4, 8, 8), latent_channels=2, norm_num_groups=2,
        use_quant_conv=False, use_post_quant_conv=False, mid_block_add_attention=False, **blocks)
    add("kl-bare", case(prepared(model), kl_loss, rounded(2, 1, 8, 12), ["encoder.conv_out", "decoder.conv_in"]))

    torch.manual_seed(3)
    blocks = {"down_block_types": ["DownEncoderBlock2D"] * 2, "up_block_types": ["UpDecoderBlock2D"] * 2}
    model = VQModel(
        block_out_channels=(4, 8), layers_per_block=2, latent_channels=3, norm_num_groups=2, num_vq_embeddings=16,
        **blocks)
    model, x = prepared(model), rounded(2, 3, 12, 8)
    with torch.no_grad():
        # Vectors among the latents, so that many of them are the nearest one of some latent.
        latents = model.encode(x).latents.permute(0, 2, 3, 1).reshape(-1, 3)
        vectors = latents[torch.randperm(len(latents))[:16]] + 0.1 * latents.std() * torch.randn(16, 3)
        model.quantize.embedding.weight.copy_(vectors.bfloat16())
    add("vq", case(model, vq_loss, x, ["quantize", "quant_conv", "encoder.conv_in"]))

    metadata = {"easel": f"torch {torch.__version__}, diffusers {diffusers.__version__}"}
    save_file(tensors, FOLDER / "autoencoder-kl.safetensors", metadata=metadata)


main()
