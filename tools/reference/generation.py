#!/usr/bin/env python3
"""Writes tests/golden/generation.json: figures of made pictures as the usual tools compute them.

    pip install numpy==2.4.6 scipy==1.17.1 scikit-learn==1.9.1 torch==2.15.0 torchvision==0.29.2
    pip install --no-deps pytorch-fid==0.3.0 prdc==0.2
    python tools/reference/generation.py            # the goldens
    python tools/reference/generation.py --speed    # seconds of the tools for 10,000 x 2048 features

Features are not committed: both sides make them from one formula of (name, index), `values` below and `uniform` in
src/generate/metrics/tests.rs. The kernel distance is clean-fid's formula (cleanfid/fid.py, `kernel_distance`) on all
pictures; clean-fid itself draws its subsets from NumPy's global generator. The inception score is the
definition in the authors' code (inception_score.py) on float64.
"""
import contextlib
import io
import json
import sys
import time
import warnings
from pathlib import Path

import numpy as np
from prdc import compute_prdc
from pytorch_fid.fid_score import calculate_frechet_distance

OUT = Path(__file__).resolve().parents[2] / "tests" / "golden" / "generation.json"


def values(name: str, count: int) -> np.ndarray:
    """`count` multiples of 2^-23 in [-1, 1): splitmix64 of (FNV-1a of the name) + index."""
    seed = 0xCBF29CE484222325
    for byte in name.encode():
        seed = ((seed ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(40)).astype(np.float32) / np.float32(2**23) - np.float32(1)


def features(name, count, width, scale, shift):
    """Correlated: each number is added to its left neighbour in the row; then scaled and shifted, in float32."""
    u = values(name, count * width).reshape(count, width)
    u = u + np.roll(u, 1, axis=1)
    return np.float32(scale) * u + np.float32(shift)


def frechet(real, fake):
    real, fake = real.astype(np.float64), fake.astype(np.float64)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()) as said:
        warnings.simplefilter("ignore")
        distance = calculate_frechet_distance(
            real.mean(axis=0), np.cov(real, rowvar=False), fake.mean(axis=0), np.cov(fake, rowvar=False)
        )
    if said.getvalue():
        print(said.getvalue().strip(), real.shape, fake.shape)
    return float(distance)


def kernel(real, fake):
    """clean-fid's kernel on all pictures; its formula for one subset where both sets have as many."""
    x, y = fake.astype(np.float64), real.astype(np.float64)
    n, m, width = len(x), len(y), x.shape[1]
    k = lambda a, b: (a @ b.T / width + 1) ** 3
    xx, yy, xy = k(x, x), k(y, y), k(x, y)
    return float(
        (xx.sum() - np.diag(xx).sum()) / (n * (n - 1)) + (yy.sum() - np.diag(yy).sum()) / (m * (m - 1)) - 2 * xy.mean()
    )


def manifold(real, fake, k):
    with contextlib.redirect_stdout(io.StringIO()):
        scores = compute_prdc(real.astype(np.float64), fake.astype(np.float64), k)
    return {name: float(value) for name, value in scores.items()}


def inception(probabilities, splits):
    scores = []
    for i in range(splits):
        part = probabilities[i * len(probabilities) // splits : (i + 1) * len(probabilities) // splits]
        kl = part * (np.log(part) - np.log(np.expand_dims(np.mean(part, 0), 0)))
        scores.append(np.exp(np.mean(np.sum(kl, 1))))
    return [float(np.mean(scores)), float(np.std(scores))]


# name, (real, made) pictures, width, scale and shift of the made ones
CASES = [
    ("width 16", (100, 120), 16, 1.25, 0.0625),
    ("width 64", (300, 200), 64, 0.75, 0.125),
    ("width 256", (400, 500), 256, 1.0, 0.03125),
    ("fewer pictures than features", (40, 50), 64, 1.0, 0.125),
    ("far fewer made ones", (300, 12), 64, 0.5, 0.25),
    ("fewer pictures on both sides", (30, 20), 256, 1.0, 0.0),
    ("width 2", (9, 12), 2, 2.0, 1.0),
    ("nothing in common", (60, 60), 8, 1.0, 16.0),
]


def main():
    cases = []
    for name, (n, m), width, scale, shift in CASES:
        real = features(f"{name}/real", n, width, 1.0, 0.0)
        fake = features(f"{name}/fake", m, width, scale, shift)
        probabilities = np.exp(2 * fake.astype(np.float64))
        probabilities = (probabilities / probabilities.sum(1, keepdims=True)).astype(np.float32)
        cases.append({
            "name": name, "real": n, "fake": m, "width": width, "scale": scale, "shift": shift,
            "frechet": frechet(real, fake), "kernel": kernel(real, fake),
            "manifold": {str(k): manifold(real, fake, k) for k in (3, 5)},
            "inception": {str(s): inception(probabilities.astype(np.float64), s) for s in (1, 3)},
        })
        print(json.dumps(cases[-1]))
    OUT.write_text(json.dumps({"cases": cases}, indent=1) + "\n")


def speed(count=10_000, width=2048):
    real, fake = features("speed/real", count, width, 1.0, 0.0), features("speed/fake", count, width, 1.25, 0.0625)
    for name, measure in (("frechet", frechet), ("manifold", lambda a, b: manifold(a, b, 3)), ("kernel", kernel)):
        start = time.perf_counter()
        print(name, measure(real, fake), f"{time.perf_counter() - start:.1f} s")


if __name__ == "__main__":
    speed() if "--speed" in sys.argv[1:] else main()
