#!/usr/bin/env python3
"""Makes the golden values in this folder from PyTorch and diffusers.

    make_fixtures.py [FOLDER]        (this script's own folder unless given)

Layouts are PyTorch's: images NCHW, convolution weights OIHW, linear weights [out, in]. Everything is computed in
float64 from float32 inputs and stored as float32, so that a test's tolerance covers only its own rounding. diffusers
itself computes β and time embeddings in float32 (the latter are therefore off by about 1e-5 at t = 999). Seeds are
fixed: with the same versions of the libraries the files are the same, byte for byte.

unet-null-head/, unet-default/   two UNet2DModels as diffusers' save_pretrained writes them, and cases.safetensors:
unet-text/, unet-embedding/       the same of two UNet2DConditionModels
    x, timesteps (int64), output      one forward pass
    encoder_hidden_states, class_labels   further inputs, if there are any, with gradient.NAME
    target, loss, gradient.x          mean squared error against the target, and its gradients
    gradient.PARAMETER
    losses.adamw                      [11] the loss before and after each of ten AdamW steps on the same batch:
                                      lr 1e-3, betas 0.9 0.999, eps 1e-8, weight decay 1e-2
    losses.adamw-clipped              [11] the same, gradients clipped to a global norm of 1

autoencoder.safetensors   AutoEncoder(latent 32) of Benchmarks/torch_peer.py with base 8: its weights under their names,
    input, output, loss (mean squared error), gradient-norm.PARAMETER

operations.safetensors    OPERATION.x … .y, the gradient of y .dy and what it gives: .dx, .dweight, …
    attention-first-….counts [N]: how many keys of each sample are seen; attention-keys-….shown [N, keys]: which
    optimizers.parameters [7], .gradients [10, 7]; optimizers.NAME [10, 7]: the parameters after each step
    The file's metadata, "easel", has each operation's settings as JSON.

schedulers.json           diffusers' DDPM and DDIM schedules, variances and single steps; time embeddings
"""
import ast
import json
import pathlib
import sys
from unittest import mock

import diffusers
import torch
import torch.nn.functional as F
from diffusers import DDIMScheduler, DDPMScheduler, UNet2DConditionModel, UNet2DModel
from diffusers.models.embeddings import get_timestep_embedding
from safetensors.torch import save_file
from torch import nn

HERE = pathlib.Path(__file__).resolve().parent
FOLDER = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else HERE


def rounded(*shape, scale=1.0, shift=0.0):
    """Random normal values that float32 holds exactly, as float64."""
    return (torch.randn(shape) * scale + shift).float().double()


VERSIONS = {"torch": torch.__version__, "diffusers": diffusers.__version__}


def save(path, tensors, settings={}):
    """Writes float64 tensors as float32; versions and settings become metadata, as JSON."""
    narrow = {name: (t.float() if t.is_floating_point() else t).detach().contiguous() for name, t in tensors.items()}
    # One entry, because safetensors writes several in another order each time.
    save_file(narrow, path, metadata={"easel": json.dumps({"made-with": VERSIONS, **settings})})


def perturb(model):
    """Moves biases and norms off 0 and 1, so that an omitted one is noticed. Values stay exact in float32."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter += 0.2 * torch.randn_like(parameter)
    return model


# ----------------------------------------------------------------------------------------------------------------------
# Networks


def make_unet(name, x_shape, timesteps, kind=UNet2DModel, conditions={}, **configuration):
    torch.manual_seed(1)
    folder = FOLDER / name
    perturb(kind(**configuration)).save_pretrained(folder)

    def loaded():
        network = kind.from_pretrained(folder, low_cpu_mem_usage=False).double()
        return lambda *inputs: network(*inputs, **inputs_beside), network

    x, target, t = rounded(*x_shape).requires_grad_(), rounded(*x_shape, scale=3), torch.tensor(timesteps)
    inputs_beside = {key: rounded(*shape).requires_grad_() for key, shape in conditions.items()}
    model, network = loaded()
    output = model(x, t).sample
    loss = F.mse_loss(output, target)
    loss.backward()
    cases = {"x": x, "timesteps": t, "output": output, "target": target, "loss": loss, "gradient.x": x.grad.clone()}
    for key, value in inputs_beside.items():
        cases[key] = value
        cases["gradient." + key] = value.grad.clone()
    for parameter_name, parameter in network.named_parameters():
        cases["gradient." + parameter_name] = parameter.grad

    def train(clip):
        model, network = loaded()
        optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2)
        losses = []
        for _ in range(10):
            loss = F.mse_loss(model(x, t).sample, target)
            losses.append(loss.detach())
            optimizer.zero_grad()
            loss.backward()
            if clip:
                norm = nn.utils.clip_grad_norm_(network.parameters(), 1.0)
                assert norm > 1, "clipping would not show"
            optimizer.step()
        return torch.stack(losses + [F.mse_loss(model(x, t).sample, target).detach()])

    cases["losses.adamw"], cases["losses.adamw-clipped"] = train(clip=False), train(clip=True)
    save(folder / "cases.safetensors", cases)


def make_unets():
    make_unet(
        "unet-null-head", (2, 3, 16, 16), [3, 871],
        sample_size=16, in_channels=3, out_channels=3, layers_per_block=1, block_out_channels=(8, 24),
        down_block_types=("DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        norm_num_groups=8, norm_eps=1e-6, attention_head_dim=None, downsample_padding=0,
        flip_sin_to_cos=False, freq_shift=1)
    make_unet(
        "unet-default", (3, 1, 12, 12), [0, 42, 999],
        sample_size=12, in_channels=1, out_channels=1, layers_per_block=2, block_out_channels=(8, 16, 16),
        down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "AttnUpBlock2D", "UpBlock2D"), norm_num_groups=4)
    make_unet(
        "unet-text", (2, 4, 8, 8), [5, 640], kind=UNet2DConditionModel, conditions={"encoder_hidden_states": (2, 5, 12)},
        sample_size=8, layers_per_block=1, block_out_channels=(8, 16), cross_attention_dim=12, attention_head_dim=2,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        norm_num_groups=4)
    make_unet(
        "unet-embedding", (2, 3, 6, 6), [17, 903], kind=UNet2DConditionModel,
        conditions={"encoder_hidden_states": (2, 3, 6), "class_labels": (2, 5)}, sample_size=6, in_channels=3,
        out_channels=3, layers_per_block=1, block_out_channels=(8, 16), cross_attention_dim=6,
        attention_head_dim=[2, 4], use_linear_projection=True, class_embed_type="projection",
        projection_class_embeddings_input_dim=5, down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), norm_num_groups=4)


def peer_classes(*names):
    """The named classes from torch_peer.py, which is a program and cannot be imported."""
    tree = ast.parse((HERE.parent.parent / "Benchmarks/torch_peer.py").read_text())
    tree.body = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name in names]
    namespace = {"nn": nn, "torch": torch}
    exec(compile(tree, "torch_peer.py", "exec"), namespace)
    return [namespace[name] for name in names]


def make_autoencoder():
    torch.manual_seed(2)
    encoder, decoder, peer = peer_classes("Encoder", "Decoder", "AutoEncoder")

    class AutoEncoder(peer):
        def __init__(self, base, latent):
            nn.Module.__init__(self)
            self.v, self.e, self.d = False, encoder(1, base, latent), decoder(1, base, latent)

    model = perturb(AutoEncoder(8, 32)).double()
    x = torch.rand(4, 1, 28, 28).double()
    output = model(x)[0]
    loss = F.mse_loss(output, x)
    loss.backward()
    tensors = {name: value.clone() for name, value in model.state_dict().items()}
    tensors |= {"input": x, "output": output, "loss": loss}
    for name, parameter in model.named_parameters():
        tensors["gradient-norm." + name] = parameter.grad.norm()
    save(FOLDER / "autoencoder.safetensors", tensors)


# ----------------------------------------------------------------------------------------------------------------------
# Operations and optimizers


def make_operations():
    torch.manual_seed(3)
    tensors, settings = {}, {}

    def case(name, function, inputs, **setting):
        """Records inputs, y = function(*inputs), a gradient of y and the gradients it gives."""
        inputs = {key: value.requires_grad_() for key, value in inputs.items()}
        y = function(*inputs.values())
        dy = rounded(*y.shape)
        gradients = torch.autograd.grad(y, list(inputs.values()), dy)
        tensors.update({f"{name}.{key}": value for key, value in inputs.items()})
        tensors.update({f"{name}.y": y, f"{name}.dy": dy})
        tensors.update({f"{name}.d{key}": value for key, value in zip(inputs, gradients)})
        settings[name] = setting

    image = {"x": rounded(2, 8, 5, 3, shift=0.5), "weight": rounded(8, shift=1), "bias": rounded(8)}
    case("group-norm", lambda x, w, b: F.group_norm(x, 4, w, b, 1e-5), image, groups=4, epsilon=1e-5)
    tokens = {"x": rounded(3, 5, 12, shift=0.5), "weight": rounded(12, shift=1), "bias": rounded(12)}
    case("layer-norm", lambda x, w, b: F.layer_norm(x, (12,), w, b, 1e-6), tokens, epsilon=1e-6)

    def line():
        return {"x": torch.cat([torch.tensor([0.0, 0.5, -0.5, 12.0, -12.0, 30.0, -30.0]), 2 * torch.randn(33)]).double()}

    case("silu", F.silu, line())
    case("gelu", F.gelu, line())
    case("gelu-tanh", lambda x: F.gelu(x, approximate="tanh"), line())

    def attention():
        return {"q": rounded(2, 3, 5, 8), "k": rounded(2, 3, 7, 8), "v": rounded(2, 3, 7, 8)}

    case("attention", F.scaled_dot_product_attention, attention(), scale=8**-0.5)
    mask = torch.rand(2, 1, 5, 7) < 0.6
    mask[..., 0] = True  # each query sees something
    case("attention-masked", lambda q, k, v: F.scaled_dot_product_attention(q, k, v, mask), attention(), scale=8**-0.5)
    tensors["attention-masked.mask"] = mask.to(torch.uint8)

    bits = torch.rand(40).double().float().double()
    for reduction in ("none", "mean", "sum"):
        case(f"bce-with-logits-{reduction}",
             lambda x: F.binary_cross_entropy_with_logits(x, bits, reduction=reduction), line())
    tensors["bce-with-logits.target"] = bits
    case("upsample-nearest", lambda x: F.interpolate(x, scale_factor=2, mode="nearest"), {"x": rounded(2, 3, 4, 5)})
    case("average-pool", lambda x: F.avg_pool2d(x, 2), {"x": rounded(2, 3, 6, 4)}, kernel=2, stride=2)

    start, gradients = rounded(7), rounded(10, 7)
    gradients[:, 6] = 0  # a parameter that only weight decay moves
    optimizers = {
        "sgd-momentum": (torch.optim.SGD, dict(lr=0.05, momentum=0.9)),
        "sgd-nesterov": (torch.optim.SGD, dict(lr=0.05, momentum=0.9, nesterov=True)),
        "sgd-weight-decay": (torch.optim.SGD, dict(lr=0.05, momentum=0.9, weight_decay=0.01)),
        "rmsprop": (torch.optim.RMSprop, dict(lr=0.01, alpha=0.99, eps=1e-8, momentum=0.9)),
        "rmsprop-centered": (torch.optim.RMSprop, dict(lr=0.01, alpha=0.99, eps=1e-8, momentum=0.9, centered=True)),
        "adam": (torch.optim.Adam, dict(lr=0.01, betas=(0.9, 0.999), eps=1e-8)),
        "adam-weight-decay": (torch.optim.Adam, dict(lr=0.01, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01)),
        "adamw": (torch.optim.AdamW, dict(lr=0.01, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01)),
    }
    tensors |= {"optimizers.parameters": start, "optimizers.gradients": gradients}
    for name, (make, options) in optimizers.items():
        parameter = nn.Parameter(start.clone())
        optimizer, history = make([parameter], **options), []
        for gradient in gradients:
            parameter.grad = gradient.clone()
            optimizer.step()
            history.append(parameter.detach().clone())
        tensors["optimizers." + name] = torch.stack(history)
        settings["optimizers." + name] = options

    # A separate random state, so that the values above do not change.
    torch.manual_seed(5)
    for name, keys in (("self", 4), ("cross", 6)):
        first = torch.arange(keys) < torch.tensor([[keys - 3], [keys]])
        some = torch.rand(2, keys) < 0.5
        some[:, -1] = True  # each query sees something
        inputs = {"q": rounded(2, 3, 4, 4), "k": rounded(2, 3, keys, 4), "v": rounded(2, 3, keys, 4)}
        for mask, options in (("causal", {"is_causal": True}), ("first", {"attn_mask": first[:, None, None]}),
                              ("keys", {"attn_mask": some[:, None, None]})):
            case(f"attention-{mask}-{name}",
                 lambda q, k, v: F.scaled_dot_product_attention(q, k, v, **options), dict(inputs), scale=0.5)
        tensors[f"attention-first-{name}.counts"] = first.sum(1)
        tensors[f"attention-keys-{name}.shown"] = some.to(torch.uint8)
    save(FOLDER / "operations.safetensors", tensors, settings)


# ----------------------------------------------------------------------------------------------------------------------
# Schedulers


def numbers(tensor):
    return torch.as_tensor(tensor).flatten().tolist()


def widened(scheduler):
    """A scheduler with its tables in float64: in float32, a β derived from two ᾱ is off by 1e-4."""
    scheduler.betas = scheduler.betas.double()
    scheduler.alphas = 1 - scheduler.betas
    scheduler.alphas_cumprod = torch.cumprod(scheduler.alphas, 0)
    if isinstance(scheduler, DDIMScheduler):
        last = 1 if scheduler.config.set_alpha_to_one else scheduler.alphas_cumprod[0]
        scheduler.final_alpha_cumprod = torch.as_tensor(last, dtype=torch.float64)
    return scheduler


def make_schedulers():
    torch.manual_seed(4)
    timesteps = [0, 1, 10, 250, 487, 998, 999]
    schedules = {}
    for schedule in ("linear", "squaredcos_cap_v2"):
        scheduler = widened(DDPMScheduler(1000, beta_schedule=schedule))
        schedules[schedule] = {
            "timesteps": timesteps,
            "betas": numbers(scheduler.betas[timesteps]),
            "alphas-cumprod": numbers(scheduler.alphas_cumprod[timesteps]),
            "fixed-small": [float(scheduler._get_variance(t, variance_type="fixed_small")) for t in timesteps],
            "fixed-large": [float(scheduler._get_variance(t, variance_type="fixed_large")) for t in timesteps],
        }

    # Large enough for clipping to matter in some elements and not in others.
    sample, output, noise = rounded(1, 1, 3, 4, scale=0.8), rounded(1, 1, 3, 4), rounded(1, 1, 3, 4)

    def result(step, **setting):
        return {**setting, "previous": numbers(step.prev_sample), "x0": numbers(step.pred_original_sample)}

    ddpm, ddim = [], []
    for schedule in ("linear", "squaredcos_cap_v2"):
        for prediction in ("epsilon", "sample", "v_prediction"):
            for clip in (True, False):
                # No inference steps: all 1000. With 50, betas are re-spaced from the alphas that are kept.
                for variance, steps, t in (
                        ("fixed_small", None, 300), ("fixed_large", None, 300), ("fixed_small", 50, 300),
                        ("fixed_large", 50, 300), ("fixed_small", None, 0), ("fixed_large", None, 0)):
                    scheduler = widened(DDPMScheduler(1000, beta_schedule=schedule, prediction_type=prediction,
                                                      variance_type=variance, clip_sample=clip))
                    if steps:
                        scheduler.set_timesteps(steps)
                    with mock.patch("diffusers.schedulers.scheduling_ddpm.randn_tensor", lambda *_, **__: noise):
                        step = scheduler.step(output, t, sample)
                    ddpm.append(result(step, **{"schedule": schedule, "prediction": prediction, "clip": clip,
                                                "variance": variance, "inference-steps": steps, "timestep": t}))
                for eta, final_one, t in ((0.0, True, 300), (0.6, True, 300), (0.0, True, 0), (0.0, False, 0)):
                    scheduler = widened(DDIMScheduler(1000, beta_schedule=schedule, prediction_type=prediction,
                                                      clip_sample=clip, set_alpha_to_one=final_one))
                    scheduler.set_timesteps(10)
                    # The noise is derived again from the clipped image, as in Easel.
                    step = scheduler.step(output, t, sample, eta=eta, use_clipped_model_output=True,
                                          variance_noise=noise if eta else None)
                    ddim.append(result(step, **{"schedule": schedule, "prediction": prediction, "clip": clip,
                                                "eta": eta, "set-alpha-to-one": final_one, "inference-steps": 10,
                                                "timestep": t}))

    embeddings = []
    for dimension in (32, 33):
        for flip, shift in ((False, 1), (True, 0)):
            times = [0, 1, 10, 999]
            values = get_timestep_embedding(torch.tensor(times), dimension, flip, shift)
            embeddings.append({"dimension": dimension, "flip-sin-to-cos": flip, "frequency-shift": shift,
                               "timesteps": times, "values": [numbers(row) for row in values]})

    document = {
        "made-with": VERSIONS,
        "schedules": schedules,
        "inputs": {"sample": numbers(sample), "model-output": numbers(output), "noise": numbers(noise)},
        "ddpm-steps": ddpm, "ddim-steps": ddim, "time-embeddings": embeddings,
    }
    # One case per line: short enough to read, and a change affects one line.
    text = json.dumps(json.loads(json.dumps(document), parse_float=lambda digits: float(f"{float(digits):.9g}")))
    (FOLDER / "schedulers.json").write_text(text.replace("}, {", "},\n{").replace("], \"", "],\n\"") + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    make_unets()
    make_autoencoder()
    make_operations()
    make_schedulers()
