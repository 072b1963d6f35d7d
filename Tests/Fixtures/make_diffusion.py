#!/usr/bin/env python3
"""Writes diffusion.json: results of diffusers, and of the formulas of two papers. Needs torch and diffusers.

    python3 make_diffusion.py [folder]        (default: beside this file)

levels      the noise σ and the timestep, as a fraction, of each of ten steps of Karras et al.'s spacing (diffusers)
walks       the results of samplers from `start`, step by step from σ = 80 to the image. The network is
            model(x, σ) = sin(2 x + σ / (1 + σ)), with x scaled as the network sees it. dpm++ by diffusers'
            DPMSolverMultistepScheduler (with η = 1 its SDE solver, in which every step adds `start` as noise) and
            EDMDPMSolverMultistepScheduler, heun by its HeunDiscreteScheduler and, for EDM, by Karras et al. 2022,
            algorithm 1, without churn.
edm         preconditioning and loss of Karras et al. 2022, table 1, for F = `output`: the network's input, the condition, and
            each sample's λ(σ) ‖D(x; σ) − image‖², averaged over its elements
bound       the terms of the variational bound of Ho et al. 2020 and Nichol and Dhariwal 2021 in bits per dimension, for
            predicted noise and, if the variance is learned, the network's output for it; and the gradient of the sum of
            all terms with respect to that. The formulas follow the papers, in the conventions of Documentation/NUMERICS.md.
"""
import json
import math
import pathlib
import sys

import diffusers
import numpy as np
import torch
from diffusers import DPMSolverMultistepScheduler, EDMDPMSolverMultistepScheduler, HeunDiscreteScheduler

HERE = pathlib.Path(__file__).resolve().parent
FOLDER = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
SCHEDULES = {"linear": "linear", "cosine": "squaredcos_cap_v2"}
BETAS = {"beta_start": 1e-4, "beta_end": 0.02}
PREDICTIONS = {"epsilon": "epsilon", "sample": "sample", "velocity": "v_prediction"}
DATA_DEVIATION = 0.5


def numbers(tensor):
    return torch.as_tensor(tensor).flatten().tolist()


def model(x, sigma):
    return torch.sin(2 * x + sigma / (1 + sigma))


def widened(scheduler):
    """A scheduler with its tables, and the noise levels from them, in float64."""
    scheduler.betas = scheduler.betas.double()
    scheduler.alphas_cumprod = torch.cumprod(1 - scheduler.betas, 0)
    scheduler.sigmas = ((1 - scheduler.alphas_cumprod) / scheduler.alphas_cumprod) ** 0.5
    return scheduler


# ----------------------------------------------------------------------------------------------------------------------
# Samplers


def karras(steps, low):
    """Noise that falls from 80 to the least: a cosine's 20,000 would be ill-conditioned in float32."""
    ramp = torch.linspace(0, 1, steps, dtype=torch.float64)
    return (80 ** (1 / 7) + ramp * (low ** (1 / 7) - 80 ** (1 / 7))) ** 7


def dpm(schedule, prediction, steps, start, noise=None):
    """With a noise, which every step adds, the solver of the SDE."""
    scheduler = widened(DPMSolverMultistepScheduler(
        1000, beta_schedule=SCHEDULES[schedule], prediction_type=PREDICTIONS[prediction], use_karras_sigmas=True,
        algorithm_type="sde-dpmsolver++" if noise is not None else "dpmsolver++", **BETAS))
    low = float(scheduler.sigmas[0])
    scheduler.set_timesteps(steps)
    scheduler.sigmas = torch.cat([karras(steps, low), torch.zeros(1).double()])
    scheduler.timesteps = torch.arange(steps, 0, -1)  # the steps' names: rounded, some are the same
    x, path = start, []
    for sigma, step in zip(scheduler.sigmas, scheduler.timesteps):
        x = scheduler.step(model(x, sigma), step, x, variance_noise=noise).prev_sample
        path.append(numbers(x))
    return path


def dpm_edm(steps, start):
    scheduler = EDMDPMSolverMultistepScheduler(sigma_data=DATA_DEVIATION, prediction_type="v_prediction")
    scheduler.set_timesteps(steps)
    scales = (scheduler.sigmas.double() ** 2 + DATA_DEVIATION**2).sqrt()
    x, path = start * scales[0], []
    for step, t in enumerate(scheduler.timesteps):
        x = scheduler.step(model(x / scales[step], scheduler.sigmas[step].double()), t, x).prev_sample.double()
        path.append(numbers(x / scales[step + 1] if step + 1 < steps else x))
    return path


def heun(schedule, prediction, steps, start):
    scheduler = widened(HeunDiscreteScheduler(
        1000, beta_schedule=SCHEDULES[schedule], prediction_type=PREDICTIONS[prediction], use_karras_sigmas=True,
        **BETAS))
    low = float(scheduler.sigmas[0])
    scheduler.set_timesteps(steps)
    sigmas = karras(steps, low)
    sigmas = torch.cat([sigmas[:1], sigmas[1:].repeat_interleave(2), torch.zeros(1).double()])
    scheduler.sigmas = sigmas
    x, path = start * (sigmas[0] ** 2 + 1).sqrt(), []
    for index, t in enumerate(scheduler.timesteps):
        sigma = sigmas[index]
        x = scheduler.step(model(x / (sigma**2 + 1).sqrt(), sigma), t, x).prev_sample
        if scheduler.state_in_first_order or index + 1 == len(scheduler.timesteps):
            path.append(numbers(x / (sigmas[index + 1] ** 2 + 1).sqrt()))
    return path


def preconditioned(output, x, sigma):
    """D of Karras et al. 2022, table 1, for x = image + σ noise and F's value."""
    total = sigma**2 + DATA_DEVIATION**2
    return DATA_DEVIATION**2 / total * x + sigma * DATA_DEVIATION / total.sqrt() * output


def heun_edm(steps, start):
    sigmas = torch.cat([karras(steps, 0.002), torch.zeros(1).double()])

    def scale(sigma):
        return (sigma**2 + DATA_DEVIATION**2).sqrt()

    def direction(x, sigma):
        # F has the opposite sign of v.
        return (x - preconditioned(-model(x / scale(sigma), sigma), x, sigma)) / sigma

    x, path = start * scale(sigmas[0]), []
    for sigma, following in zip(sigmas, sigmas[1:]):
        first = direction(x, sigma)
        guess = x + (following - sigma) * first
        if following > 0:
            guess = x + (following - sigma) * (first + direction(guess, following)) / 2
        x = guess
        path.append(numbers(x / scale(following) if following > 0 else x))
    return path


def make_walks(start):
    walks = []

    def add(sampler, schedule, prediction, path, eta=0):
        walks.append({"sampler": sampler, "schedule": schedule, "prediction": prediction, "steps": len(path),
                      "eta": eta, "path": path})

    for schedule in SCHEDULES:
        for prediction in PREDICTIONS:
            for steps in (3, 8):
                add("dpm++", schedule, prediction, dpm(schedule, prediction, steps, start))
                add("heun", schedule, prediction, heun(schedule, prediction, steps, start))
                # The noise is `start` again.
                add("dpm++", schedule, prediction, dpm(schedule, prediction, steps, start, start), eta=1)
    for steps in (3, 8):
        add("dpm++", "edm", "velocity", dpm_edm(steps, start))
        add("heun", "edm", "velocity", heun_edm(steps, start))
    return walks


def make_levels():
    levels = {}
    for name, schedule in SCHEDULES.items():
        scheduler = widened(HeunDiscreteScheduler(1000, beta_schedule=schedule, use_karras_sigmas=True, **BETAS))
        scheduler.set_timesteps(10)
        levels[name] = {"sigmas": numbers(torch.cat([scheduler.sigmas[:1], scheduler.sigmas[1:-1:2]])),
                        "timesteps": numbers(torch.cat([scheduler.timesteps[:1], scheduler.timesteps[1::2]]))}
    return levels


# ----------------------------------------------------------------------------------------------------------------------
# Losses


def make_edm():
    sigma = torch.tensor([0.002, 0.1, 0.5, 3.0, 80.0], dtype=torch.float64).reshape(-1, 1)
    image, noise, output = (torch.randn(5, 6).float().double() for _ in range(3))
    noisy = image + sigma * noise
    weight = (sigma**2 + DATA_DEVIATION**2) / (sigma * DATA_DEVIATION) ** 2
    loss = weight * (preconditioned(output, noisy, sigma) - image) ** 2
    return {"sigmas": numbers(sigma), "image": numbers(image), "noise": numbers(noise), "output": numbers(output),
            "input": numbers(noisy / (sigma**2 + DATA_DEVIATION**2).sqrt()),
            "conditions": numbers(sigma.log() / 4), "losses": numbers(loss.mean(1))}


def normal_divergence(mean1, log_variance1, mean2, log_variance2):
    return 0.5 * (log_variance2 - log_variance1 - 1 + torch.exp(log_variance1 - log_variance2)
                  + (mean1 - mean2) ** 2 * torch.exp(-log_variance2))


def level_probability(x, mean, log_deviation):
    """The logarithm of the probability of an 8-bit level under a normal distribution."""
    def distribution(z):
        return 0.5 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)))

    above = distribution((x - mean + 1 / 255) * torch.exp(-log_deviation))
    below = distribution((x - mean - 1 / 255) * torch.exp(-log_deviation))
    probability = torch.where(x < -0.999, above, torch.where(x > 0.999, 1 - below, above - below))
    return probability.clamp(min=1e-12).log()


def make_bound():
    timesteps = torch.tensor([0, 0, 1, 2, 40, 400, 999])
    image = torch.randint(0, 256, (7, 5)) / 255.0 * 2 - 1
    image[0, :2] = torch.tensor([-1.0, 1.0])
    image = image.double()
    noise, predicted = (torch.randn(7, 5).float().double() for _ in range(2))
    predicted = (noise + 0.3 * predicted).float().double()
    predicted[1] *= 40  # so far off that probabilities are at their least
    word = (torch.rand(7, 5) * 3 - 1.5).float().double().requires_grad_()
    result = {"timesteps": numbers(timesteps), "image": numbers(image), "noise": numbers(noise),
              "predicted": numbers(predicted), "output": numbers(word), "cases": {}, "priors": {}}

    for schedule, betas in (("linear", np.linspace(1e-4, 0.02, 1000)), ("cosine", cosine_betas())):
        bars = np.cumprod(1 - betas)
        before = np.append(1, bars[:-1])
        posterior = betas * (1 - before) / (1 - bars)
        clipped = np.log(np.append(posterior[1], posterior[1:]))

        def at(table):
            return torch.as_tensor(table)[timesteps].reshape(-1, 1)

        x = at(bars).sqrt() * image + (1 - at(bars)).sqrt() * noise
        clean = (x - (1 - at(bars)).sqrt() * predicted) / at(bars).sqrt()

        def mean(image):
            return (at(before).sqrt() * at(betas) * image + at(1 - betas).sqrt() * (1 - at(before)) * x) / (1 - at(bars))

        share = (word + 1) / 2
        variances = {
            "fixed-small": at(clipped) + 0 * word,
            "fixed-large": at(np.log(np.append(posterior[1], betas[1:]))) + 0 * word,
            "learned-range": share * at(np.log(betas)) + (1 - share) * at(clipped),
        }
        for name, log_variance in variances.items():
            divergence = normal_divergence(mean(image), at(clipped), mean(clean), log_variance).mean(1) / math.log(2)
            levels = -level_probability(image, mean(clean), 0.5 * log_variance).mean(1) / math.log(2)
            terms = torch.where(timesteps == 0, levels, divergence)
            result["cases"][f"{schedule}.{name}"] = {
                "terms": numbers(terms), "gradient": numbers(torch.autograd.grad(terms.sum(), word, retain_graph=True)[0])}
        last = torch.as_tensor(bars[-1:])
        prior = normal_divergence(last.sqrt() * image, (1 - last).log(), torch.zeros(1), torch.zeros(1))
        result["priors"][schedule] = numbers(prior.mean(1) / math.log(2))
    return result


def cosine_betas():
    def remaining(t):
        return math.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2

    return np.array([min(1 - remaining((i + 1) / 1000) / remaining(i / 1000), 0.999) for i in range(1000)])


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.manual_seed(5)
    start = torch.randn(1, 1, 3, 4).float().double()
    document = {
        "made-with": {"torch": torch.__version__, "diffusers": diffusers.__version__},
        "levels": make_levels(), "start": numbers(start), "walks": make_walks(start), "edm": make_edm(),
        "bound": make_bound(),
    }
    text = json.dumps(json.loads(json.dumps(document), parse_float=lambda digits: float(f"{float(digits):.9g}")))
    (FOLDER / "diffusion.json").write_text(text.replace("}, {", "},\n{").replace("], \"", "],\n\"") + "\n")
