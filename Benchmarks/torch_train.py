#!/usr/bin/env python3
"""Trains a reference model in PyTorch on Fashion-MNIST for some minutes and writes its figures and images, for comparison
with Easel in Documentation/Results.md.

    torch_train.py MODEL --data FOLDER --output FOLDER [--minutes 10] [--mode compile-bf16] [--seed 0] [--count 10000]
                   [--samplers ddim,sde]

MODEL: denoising-autoencoder masked-autoencoder vae gan diffusion-small. FOLDER is what `easel data import fashion-mnist`
makes. Networks and steps are those of torch_peer.py; learning rates, batch sizes, decay and averages those of Easel's
presets. The learning rate depends on the share of the time that is over; compilation is not counted. Writes figures.json
and, for models that draw, samples.npy [N, 28, 28, 1], uint8. A diffusion model draws in 50 steps by the first of --samplers
(default: ddim), and by the others into samples-SAMPLER.npy; sde is DPM-Solver++ with noise, on Karras's levels.
"""
import argparse, copy, gzip, json, math, os, pathlib, sys, time
import numpy as np

p = argparse.ArgumentParser()
p.add_argument("model"); p.add_argument("--data", required=True); p.add_argument("--output", required=True)
p.add_argument("--minutes", type=float, default=10); p.add_argument("--mode", default="compile-bf16")
p.add_argument("--seed", type=int, default=0); p.add_argument("--count", type=int, default=10_000)
p.add_argument("--samplers", default="ddim")
a = p.parse_args()
if unknown := set(a.samplers.split(",")) - {"ddim", "sde"}: sys.exit(f"unknown samplers: {', '.join(unknown)}; known: ddim, sde")
os.environ["TORCH_PEER"] = f"--mode {a.mode}"
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import torch, torch.nn as nn, torch.nn.functional as F
import torch_peer as peer

torch.manual_seed(a.seed)


def images(name):
    with gzip.open(pathlib.Path(a.data) / f"{name}-images-idx3-ubyte.gz") as f:
        return torch.from_numpy(np.frombuffer(f.read(), np.uint8, offset=16).reshape(-1, 1, 28, 28).copy())


def labels(name):
    with gzip.open(pathlib.Path(a.data) / f"{name}-labels-idx1-ubyte.gz") as f:
        return torch.from_numpy(np.frombuffer(f.read(), np.uint8, offset=8).astype(np.int64))


data, test = images("train"), images("t10k").float() / 255
# batch, learning rate, whether it falls along a cosine, the average's decay (0: none), warm-up steps
RECIPES = {"denoising-autoencoder": (128, 1e-3, True, 0, 0), "masked-autoencoder": (256, 1e-3, True, 0, 200),
           "vae": (128, 1e-3, True, 0, 0), "gan": (128, 2e-4, False, 0.999, 0), "diffusion-small": (128, 1e-3, True, 0.999, 200)}
batch, rate, cosine, decay, warmup = RECIPES[a.model]
name = {"denoising-autoencoder": "autoencoder"}.get(a.model, a.model)
net, train, _ = peer.build[name][1](batch)
if a.model == "masked-autoencoder":
    for o in train.optimizers: o.param_groups[0].update(betas=(0.9, 0.95), weight_decay=0.05)
# The network that makes pictures, and its average; torch_peer's diffusion keeps its own.
maker = net[0] if a.model == "gan" else net
average = copy.deepcopy(maker) if a.model == "gan" else None


def batches():
    while True:
        order = torch.randperm(len(data))
        for i in range(0, len(data) - batch + 1, batch):
            x = data[order[i : i + batch]].float() / 255
            yield x.contiguous(memory_format=torch.channels_last) if peer.channels_last else x


def step(x, index, share):
    """One training step; `share` of the time is over."""
    lr = rate * (0.5 * (1 + math.cos(math.pi * min(1, share))) if cosine else 1) * min(1, (index + 1) / max(1, warmup))
    for o in train.optimizers:
        for g in o.param_groups: g["lr"] = lr
    now = min(decay, (1 + index) / (10 + index))
    if a.model == "denoising-autoencoder": return train(x + 0.3 * torch.randn_like(x), x)
    if a.model == "diffusion-small": train.ema = 1 - now; return train(2 * x - 1)
    if a.model == "gan":
        train(2 * x - 1)
        with torch.no_grad():
            torch._foreach_lerp_(list(average.parameters()), list(maker.parameters()), 1 - now)
        return
    return train(x)


feed = batches()
# Everything is compiled first; then a copy of the previous state is restored.
kept = copy.deepcopy(net.state_dict()); optimizers = [copy.deepcopy(o.state_dict()) for o in train.optimizers]
for _ in range(3): step(next(feed), 0, 0)
net.load_state_dict(kept)
for o, s in zip(train.optimizers, optimizers): o.load_state_dict(s)
if a.model == "gan": average.load_state_dict(maker.state_dict())
if a.model == "diffusion-small": train.average.load_state_dict(net.state_dict())

start, index = time.perf_counter(), 0
while (elapsed := time.perf_counter() - start) < 60 * a.minutes:
    step(next(feed), index, elapsed / (60 * a.minutes)); index += 1
figures = {"model": a.model, "mode": a.mode, "torch": torch.__version__, "threads": torch.get_num_threads(), "seed": a.seed,
           "minutes": a.minutes, "steps": index, "images_per_second": round(index * batch / elapsed, 1)}
out = pathlib.Path(a.output); out.mkdir(parents=True, exist_ok=True)
torch.manual_seed(a.seed + 1)
net.eval()


def quality(made, clean):
    """Mean PSNR and SSIM (11 × 11 Gaussian window of deviation 1.5, as Wang et al. 2004) of 8-bit images, [N, 1, H, W]."""
    made, clean = ((t.clamp(0, 1) * 255).round() / 255 for t in (made.double(), clean.double()))
    psnr = -10 * torch.log10(((made - clean) ** 2).flatten(1).mean(1))
    g = torch.exp(-((torch.arange(11).double() - 5) ** 2) / 4.5); g = (g[:, None] * g / g.sum() ** 2)[None, None]
    blur = lambda t: F.conv2d(t, g)
    u, v = blur(made), blur(clean)
    su, sv, suv = blur(made * made) - u * u, blur(clean * clean) - v * v, blur(made * clean) - u * v
    ssim = (2 * u * v + 1e-4) * (2 * suv + 9e-4) / ((u * u + v * v + 1e-4) * (su + sv + 9e-4))
    return psnr.mean().item(), ssim.mean().item()


def probe(points, tests):
    """Test accuracy of a logistic regression on standardised features; its penalty is the best for the last tenth of the
    training images (as in `easel evaluate --probe`)."""
    mean, deviation = points.mean(0), points.std(0, unbiased=False)
    points, tests = (torch.where(deviation > 1e-6, (x - mean) / deviation, 0) for x in (points, tests))
    y, t = labels("train"), labels("t10k")
    def fit(x, y, penalty):
        w = torch.zeros(10, x.shape[1], requires_grad=True); b = torch.zeros(10, requires_grad=True)
        o = torch.optim.LBFGS([w, b], max_iter=300, history_size=10, line_search_fn="strong_wolfe")
        def closure():
            o.zero_grad(); l = F.cross_entropy(x @ w.T + b, y) + penalty / 2 * (w * w).sum(); l.backward(); return l
        o.step(closure)
        return lambda x: (x @ w.T + b).argmax(1)
    cut = len(points) - len(points) // 10
    best = max([1e-1, 1e-2, 1e-3, 1e-4], key=lambda p: (fit(points[:cut], y[:cut], p)(points[cut:]) == y[cut:]).sum())
    return (fit(points, y, best)(tests) == t).float().mean().item()


def chunks(x, n=500): return (x[i : i + n] for i in range(0, len(x), n))


def write(samples, name="samples"):
    np.save(out / f"{name}.npy", (samples.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy())


with torch.no_grad():
    if a.model == "denoising-autoencoder":
        noisy = test + 0.3 * torch.randn_like(test)
        restored = torch.cat([net(x)[0] for x in chunks(noisy)])
        figures["psnr-noisy"], figures["ssim-noisy"] = quality(noisy, test)
        figures["psnr"], figures["ssim"] = quality(restored, test)
    if a.model == "masked-autoencoder":
        figures["masked-patch-error"] = torch.stack([net(x) for x in chunks(test)]).mean().item()
        def features(x):
            pt = x.reshape(-1, 7, 4, 7, 4).permute(0, 1, 3, 2, 4).reshape(-1, 49, 16)
            return net.enc(net.embed(pt) + net.pos).mean(1)
        for key, f in ("probe", features), ("probe-pixels", lambda x: x.flatten(1)):
            points = [torch.cat([f(c) for c in chunks(x)]) for x in (data.float() / 255, test)]
            with torch.enable_grad(): figures[key] = probe(*points)
    if a.model == "vae":
        # Images binarised by their own levels; the encoder sees the grey ones that it was trained on.
        binary = (torch.rand_like(test) < test).float()
        nats, kl = [], []
        for x, b in zip(chunks(test), chunks(binary)):
            y, m, lv = net(x)
            nats.append(F.binary_cross_entropy_with_logits(y, b, reduction="none").flatten(1).sum(1))
            kl.append(-0.5 * (1 + lv - m**2 - lv.exp()).sum(1))
        figures["reconstruction"], figures["kl"] = torch.cat(nats).mean().item(), torch.cat(kl).mean().item()
        figures["elbo"] = -figures["reconstruction"] - figures["kl"]
        write(torch.cat([torch.sigmoid(net.d(torch.randn(500, 32))) for _ in range(a.count // 500)]))
    if a.model == "gan":
        average.train()  # statistics of the averaged network's own batches, gathered before it draws
        for m in average.modules():
            if isinstance(m, nn.BatchNorm2d): m.reset_running_stats(); m.momentum = None
        for _ in range(16): average(torch.randn(128, 64))
        average.eval()
        write(torch.cat([average(torch.randn(500, 64)) for _ in range(a.count // 500)]) / 2 + 0.5)
    if a.model == "diffusion-small":
        from diffusers import DDIMScheduler, DPMSolverMultistepScheduler
        schedules = {"ddim": lambda: DDIMScheduler(1000, clip_sample=True, set_alpha_to_one=True),
                     "sde": lambda: DPMSolverMultistepScheduler(1000, algorithm_type="sde-dpmsolver++", use_karras_sigmas=True)}
        run = torch.compile(train.average) if peer.compiled else train.average
        for place, sampler in enumerate(a.samplers.split(",")):
            drawn = []
            for _ in range(a.count // 500):
                schedule = schedules[sampler]()
                schedule.set_timesteps(50)
                x = torch.randn(500, 1, 28, 28)
                if peer.channels_last: x = x.contiguous(memory_format=torch.channels_last)
                for t in schedule.timesteps:
                    with peer.cast(): e = run(x, t.expand(500)).sample.float()
                    x = schedule.step(e, t, x).prev_sample
                drawn.append(x / 2 + 0.5)
            write(torch.cat(drawn), "samples" if place == 0 else f"samples-{sampler}")
(out / "figures.json").write_text(json.dumps(figures, indent=1) + "\n")
print(json.dumps(figures))
