#!/usr/bin/env python3
"""Writes scheduler-runs.json: pictures drawn by diffusers' schedulers. Needs torch and diffusers.

    python3 make_scheduler_runs.py [folder]        (default: beside this file)

start   the noise that each run begins with, as the network sees it (with variance 1)
runs    for each: the scheduler's scheduler_config.json as diffusers writes it, as a text, the steps, DDIM's η, and the result

The network is model(x, t) = 0.6 x + 0.3 sin(t), with x scaled as the network sees it. The noise of step k, from 1, is
1.2 sin(k (i + 1) + 0.5) in element i. Where diffusers' own results depend on other things, these are set aside: DDIM derives
the noise from the clipped image (use_clipped_model_output), Euler and Heun begin at `start` times √(σ² + 1), and the
network receives DPM-Solver's timesteps unrounded.
"""
import json
import pathlib
import sys

import diffusers
import numpy as np
import torch
from diffusers import (DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler, EulerDiscreteScheduler,
                       HeunDiscreteScheduler)
from diffusers.schedulers import scheduling_ddpm

HERE = pathlib.Path(__file__).resolve().parent
FOLDER = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
COUNT = 12


def model(x, t):
    return 0.6 * x + 0.3 * torch.sin(torch.as_tensor(t, dtype=torch.float64))


def noise(step):
    return 1.2 * torch.sin(step * (torch.arange(COUNT, dtype=torch.float64) + 1) + 0.5).reshape(1, 1, 3, 4)


def cosine_betas():
    """In float32, the last β is off by 1e-4, which moves the timesteps that the network receives."""
    remaining = np.cos((np.arange(1001) / 1000 + 0.008) / 1.008 * np.pi / 2) ** 2
    return torch.from_numpy(np.minimum(1 - remaining[1:] / remaining[:-1], 0.999))


def widened(scheduler):
    """A scheduler with its tables in float64."""
    cosine = scheduler.config.beta_schedule == "squaredcos_cap_v2"
    scheduler.betas = cosine_betas() if cosine else scheduler.betas.double()
    scheduler.alphas = 1 - scheduler.betas
    scheduler.alphas_cumprod = torch.cumprod(scheduler.alphas, 0)
    if hasattr(scheduler, "alpha_t"):
        scheduler.alpha_t = scheduler.alphas_cumprod.sqrt()
        scheduler.sigma_t = (1 - scheduler.alphas_cumprod).sqrt()
        scheduler.lambda_t = scheduler.alpha_t.log() - scheduler.sigma_t.log()
    return scheduler


def ddpm(scheduler, x, eta):
    for index, t in enumerate(scheduler.timesteps):
        scheduling_ddpm.randn_tensor = lambda *_, **__: noise(index + 1)
        x = scheduler.step(model(x, t), t, x).prev_sample
    return x


def ddim(scheduler, x, eta):
    for index, t in enumerate(scheduler.timesteps):
        x = scheduler.step(model(x, t), t, x, eta=eta, use_clipped_model_output=True,
                           variance_noise=noise(index + 1) if eta > 0 else None).prev_sample
    return x


def karras(scheduler, x, eta):
    """Euler and Heun, whose x is an image with noise σ."""
    x = x * (scheduler.sigmas[0].double() ** 2 + 1).sqrt()
    for index, t in enumerate(scheduler.timesteps):
        sigma = scheduler.sigmas[index].double()
        # The scheduler computes in float32.
        x = scheduler.step(model(x / (sigma**2 + 1).sqrt(), t).double(), t, x).prev_sample.double()
    return x


def dpm(scheduler, x, eta):
    logarithms = np.log(((1 - scheduler.alphas_cumprod) / scheduler.alphas_cumprod).sqrt().numpy())
    noisy = scheduler.config.algorithm_type == "sde-dpmsolver++"
    for index, t in enumerate(scheduler.timesteps):
        exact = scheduler._sigma_to_t(scheduler.sigmas[index].double().numpy(), logarithms)
        x = scheduler.step(model(x, float(exact) if scheduler.config.use_karras_sigmas else t), t, x,
                           variance_noise=noise(index + 1) if noisy else None).prev_sample
    return x


DRAW = {DDPMScheduler: ddpm, DDIMScheduler: ddim, EulerDiscreteScheduler: karras, HeunDiscreteScheduler: karras,
        DPMSolverMultistepScheduler: dpm}
SCALED = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
COSINE = {"beta_schedule": "squaredcos_cap_v2"}
LISTED = {"num_train_timesteps": 40, "trained_betas": [round(0.001 + 0.004 * i - 0.00005 * i * i, 6) for i in range(40)]}
SPACINGS = ("leading", "linspace", "trailing")
KARRAS = {"use_karras_sigmas": True}

RUNS = [
    (DDPMScheduler, 10, {}),
    (DDPMScheduler, 10, {"variance_type": "fixed_large", "clip_sample_range": 0.7}),
    (DDPMScheduler, 7, {"timestep_spacing": "linspace", "prediction_type": "v_prediction", **COSINE}),
    (DDPMScheduler, 8, {"timestep_spacing": "trailing", "prediction_type": "sample", "clip_sample": False}),
    (DDPMScheduler, 10, {"steps_offset": 1, "variance_type": "fixed_small_log", **SCALED}),
    (DDPMScheduler, 40, {**LISTED}),
    *[(DDIMScheduler, 10, {"timestep_spacing": spacing, "clip_sample": False}) for spacing in ("leading", "trailing")],
    (DDIMScheduler, 20, {"prediction_type": "v_prediction"}),
    (DDIMScheduler, 10, {"set_alpha_to_one": False, "steps_offset": 1, "clip_sample": False, **SCALED}),
    (DDIMScheduler, 8, {**LISTED, "clip_sample_range": 2.0}),
    *[(EulerDiscreteScheduler, 7 if spacing == "linspace" else 8, {"timestep_spacing": spacing, **SCALED})
      for spacing in SPACINGS],
    (EulerDiscreteScheduler, 10, {"timestep_spacing": "leading", "steps_offset": 1, **SCALED, **KARRAS}),
    (EulerDiscreteScheduler, 9, {"prediction_type": "v_prediction", **KARRAS}),
    (EulerDiscreteScheduler, 9, {"prediction_type": "sample", "sigma_max": 30.0, **KARRAS}),
    *[(DPMSolverMultistepScheduler, 8 if spacing == "trailing" else 9, {"timestep_spacing": spacing, **SCALED})
      for spacing in SPACINGS],
    (DPMSolverMultistepScheduler, 9, {"timestep_spacing": "leading", "steps_offset": 1, "prediction_type": "sample"}),
    (DPMSolverMultistepScheduler, 10, {**SCALED, **KARRAS}),
    (DPMSolverMultistepScheduler, 10, {"prediction_type": "v_prediction", **COSINE, **KARRAS}),
    (DPMSolverMultistepScheduler, 12, {"algorithm_type": "sde-dpmsolver++", **SCALED}),
    (HeunDiscreteScheduler, 6, {**SCALED}),
    (HeunDiscreteScheduler, 6, {"prediction_type": "v_prediction", **SCALED, **KARRAS}),
]


def run(kind, steps, arguments, start, eta=0.0):
    scheduler = widened(kind(**arguments))
    scheduler.is_scale_input_called = True
    if kind is DDIMScheduler and not scheduler.config.set_alpha_to_one:
        scheduler.final_alpha_cumprod = scheduler.alphas_cumprod[0]
    scheduler.set_timesteps(steps)
    x = DRAW[kind](scheduler, start, eta)
    return {"config": scheduler.to_json_string(), "steps": steps, "eta": eta, "result": x.flatten().tolist()}


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.manual_seed(9)
    start = torch.randn(1, 1, 3, 4).float().double()
    runs = [run(*entry, start) for entry in RUNS]
    runs.append(run(DDIMScheduler, 10, {}, start, eta=1.0))
    runs.append(run(DDIMScheduler, 10, {"clip_sample": False, "timestep_spacing": "trailing", **SCALED}, start, eta=1.0))
    document = {"made-with": {"torch": torch.__version__, "diffusers": diffusers.__version__},
                "start": start.flatten().tolist(), "runs": runs}
    text = json.dumps(json.loads(json.dumps(document), parse_float=lambda digits: float(f"{float(digits):.9g}")))
    (FOLDER / "scheduler-runs.json").write_text(text.replace("}, {", "},\n{") + "\n")
