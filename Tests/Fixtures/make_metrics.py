#!/usr/bin/env python3
"""Makes metrics.safetensors, the golden values of Metrics and of the linear probe, with numpy, scipy and scikit-image.

    make_metrics.py [FOLDER]        (this script's own folder unless given)

samples [70, 6], reference [90, 6]   points, float32; figures of them in float64:
    frechet [1]                      scipy.linalg.sqrtm
    kernel [1]                       unbiased, all pairs
    precision, recall, density, coverage [1]     k = 3, 3, 5, 5, from plain distances
    nearest [70]                     each sample's nearest reference point
images.NAME.a, images.NAME.b [H, W, C] uint8, images.NAME.figures [3]: scikit-image's PSNR and SSIM with Gaussian weights and
    population variances, mean absolute error
probe.x [60, 3], probe.labels [60], probe.logits [60, 4]: logistic regression with L2 penalty 0.01/2 |W|^2, found by BFGS
"""
import json
import pathlib
import sys

import numpy as np
import scipy
import skimage
from safetensors.numpy import save_file
from scipy.linalg import sqrtm
from scipy.optimize import minimize
from scipy.spatial.distance import cdist
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parent
rng = np.random.default_rng(0)
tensors = {}

# Points whose directions have different spreads and correlate.
mixing = rng.normal(size=(6, 6))
reference = (rng.normal(size=(90, 6)) @ mixing + 1).astype(np.float32)
samples = (0.8 * rng.normal(size=(70, 6)) @ mixing + rng.normal(size=(70, 6)) * 0.3 + 0.7).astype(np.float32)
tensors |= {"samples": samples, "reference": reference}
x, y = samples.astype(np.float64), reference.astype(np.float64)

cov_x, cov_y = np.cov(x.T, ddof=1), np.cov(y.T, ddof=1)
root = sqrtm(cov_x @ cov_y)
tensors["frechet"] = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(cov_x + cov_y - 2 * root.real)


def kernel(a, b):
    return (a @ b.T / a.shape[1] + 1) ** 3


def without_diagonal(k):
    return (k.sum() - np.trace(k)) / (len(k) * (len(k) - 1))


tensors["kernel"] = without_diagonal(kernel(x, x)) + without_diagonal(kernel(y, y)) - 2 * kernel(x, y).mean()


def radius(points, k):
    return np.sort(cdist(points, points), axis=1)[:, k]  # place 0 is the point itself


between = cdist(y, x)
tensors["precision"] = (between < radius(y, 3)[:, None]).any(0).mean()
tensors["recall"] = (between < radius(x, 3)[None, :]).any(1).mean()
tensors["density"] = (between < radius(y, 5)[:, None]).sum(0).mean() / 5
tensors["coverage"] = (between.min(1) < radius(y, 5)).mean()
tensors["nearest"] = between.argmin(0).astype(np.float64)

for name, height, width, channels in [("grey", 20, 17, 1), ("colour", 13, 24, 3), ("least", 11, 11, 1)]:
    a = rng.integers(0, 256, size=(height, width, channels)).astype(np.float64)
    a = np.clip(0.5 * a + 100 * np.sin(np.arange(width) / 3)[None, :, None] ** 2, 0, 255).astype(np.uint8)
    b = np.clip(a + rng.normal(size=a.shape) * 20, 0, 255).astype(np.uint8)
    similarity = structural_similarity(
        a, b, channel_axis=2, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False)
    error = np.abs(a.astype(np.float64) - b).mean() / 255
    tensors[f"images.{name}.a"], tensors[f"images.{name}.b"] = a, b
    tensors[f"images.{name}.figures"] = np.array([peak_signal_noise_ratio(a, b, data_range=255), similarity, error])

labels = np.arange(60) % 4
points = (rng.normal(size=(60, 3)) + rng.normal(size=(4, 3))[labels] * 1.5).astype(np.float32)


def objective(flat):
    weights, bias = flat[:12].reshape(4, 3), flat[12:]
    logits = points.astype(np.float64) @ weights.T + bias
    logits -= logits.max(1, keepdims=True)
    exps = np.exp(logits)
    loss = (np.log(exps.sum(1)) - logits[np.arange(60), labels]).mean() + 0.005 * (weights ** 2).sum()
    delta = exps / exps.sum(1, keepdims=True)
    delta[np.arange(60), labels] -= 1
    delta /= 60
    return loss, np.concatenate([(delta.T @ points + 0.01 * weights).ravel(), delta.sum(0)])


best = minimize(objective, np.zeros(16), jac=True, method="BFGS", options={"gtol": 1e-9, "maxiter": 10000}).x
logits = points @ best[:12].reshape(4, 3).T + best[12:]
# A common shift of all logits changes nothing, so it is removed.
tensors["probe.x"], tensors["probe.labels"] = points, labels.astype(np.float64)
tensors["probe.logits"] = logits - logits.mean(1, keepdims=True)

versions = {"numpy": np.__version__, "scipy": scipy.__version__, "scikit-image": skimage.__version__}
narrow = {
    name: np.ascontiguousarray(np.atleast_1d(value) if np.asarray(value).dtype == np.uint8 else
                               np.atleast_1d(value).astype(np.float32))
    for name, value in tensors.items()
}
save_file(narrow, folder / "metrics.safetensors", metadata={"easel": json.dumps({"made-with": versions})})
