#!/usr/bin/env python3
"""Makes crates/opticus-pixels/tests/golden/quality.json: measures of made pictures, each written out from its definition, and
PSNR and SSIM by scikit-image.

    python tools/reference/quality.py

Made with Python 3.11, numpy 2.4.6, scipy 1.17.1, scikit-image 0.26.0.
"""
import json
import math
import pathlib

import numpy as np
from scipy.signal import convolve2d
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

WIDTH, HEIGHT = 192, 180
OUT = pathlib.Path(__file__).resolve().parents[2] / "crates" / "opticus-pixels" / "tests" / "golden" / "quality.json"


def pictures():
    """As the test makes them: integers only."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    a = ((x * x + 3 * y * y) // 64 + 2 * x) % 256
    b = (3 * y + (x * y) // 32) % 256
    c = (np.abs(x - 96) * 2 + y + (x // 8 + y // 8) % 2 * 40) % 256
    return [a, b, c], (a + b + c) // 3, (2 * a + b + c) // 4


def entropy(p):
    h = np.bincount(p.ravel(), minlength=256) / p.size
    return float(-(h[h > 0] * np.log2(h[h > 0])).sum())


def mutual_information(p, q):
    joint = np.histogram2d(p.ravel(), q.ravel(), bins=256, range=[[0, 256]] * 2)[0] / p.size
    outer = joint.sum(1, keepdims=True) @ joint.sum(0, keepdims=True)
    there = joint > 0
    return float((joint[there] * np.log2(joint[there] / outer[there])).sum())


def spatial_frequency(p):
    p = p.astype(float)
    rows = (np.diff(p, axis=1) ** 2).sum() / p.size
    columns = (np.diff(p, axis=0) ** 2).sum() / p.size
    return math.sqrt(rows + columns)


def average_gradient(p):
    p = p.astype(float)
    right, down = p[:-1, 1:] - p[:-1, :-1], p[1:, :-1] - p[:-1, :-1]
    return float(np.sqrt((right**2 + down**2) / 2).mean())


def edges(p):
    p = p.astype(float)
    x = convolve2d(p, [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], mode="same")
    y = convolve2d(p, [[1, 2, 1], [0, 0, 0], [-1, -2, -1]], mode="same")
    angle = np.where(x == 0, math.pi / 2, np.arctan(np.divide(y, x, out=np.zeros_like(x), where=x != 0)))
    return np.hypot(x, y), angle


def qabf(sources, fused):
    gf, af = edges(fused)
    top = bottom = 0.0
    for source in sources:
        g, a = edges(source)
        low, high = np.minimum(g, gf), np.maximum(g, gf)
        strength = np.divide(low, high, out=np.ones_like(low), where=high > 0)
        turn = 1 - np.abs(a - af) / (math.pi / 2)
        q = 0.9994 / (1 + np.exp(-15 * (strength - 0.5))) * 0.9879 / (1 + np.exp(-22 * (turn - 0.8)))
        top, bottom = top + (q * g).sum(), bottom + g.sum()
    return float(top / bottom)


def gaussian(n, sigma):
    g = np.exp(-((np.arange(n) - (n - 1) / 2) ** 2) / (2 * sigma**2))
    return np.outer(g, g) / g.sum() ** 2


def ssim_parts(p, q, k2=0.03):
    w, c1, c2 = gaussian(11, 1.5), (0.01 * 255) ** 2, (k2 * 255) ** 2
    p, q = p.astype(float), q.astype(float)
    f = lambda v: convolve2d(v, w, mode="valid")
    m, n = f(p), f(q)
    cov, vp, vq = f(p * q) - m * n, f(p * p) - m * m, f(q * q) - n * n
    contrast = (2 * cov + c2) / (vp + vq + c2)
    return float(((2 * m * n + c1) / (m * m + n * n + c1) * contrast).mean()), float(contrast.mean())


def halved(p):
    """As the authors' `imfilter(p, ones(2)/4, 'symmetric')` at every second pixel: its 2x2 window begins at the pixel."""
    p = np.pad(p.astype(float), ((0, 1), (0, 1)), mode="edge")
    return ((p[:-1, :-1] + p[1:, :-1] + p[:-1, 1:] + p[1:, 1:]) / 4)[::2, ::2]


def ms_ssim(p, q):
    product = 1.0
    for i, weight in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
        whole, contrast = ssim_parts(p, q)
        product *= (whole if i == 4 else contrast) ** weight
        p, q = halved(p), halved(q)
    return product


def mef_ssim(sources, fused):
    """Ma, Zeng and Wang 2015, patch by patch."""
    size, c = 8, (0.03 * 255) ** 2
    patches = lambda p: np.lib.stride_tricks.sliding_window_view(p.astype(float), (size, size)).reshape(-1, size * size)
    xs = np.stack([patches(s) for s in sources])  # [k, n, 64]
    xs = xs - xs.mean(2, keepdims=True)
    norms = np.sqrt((xs**2).sum(2))
    total = norms.sum(0)
    r = np.divide(np.sqrt((xs.sum(0) ** 2).sum(1)), total, out=np.zeros_like(total), where=total > 1e-9)
    p = np.minimum(np.tan(math.pi / 2 * np.minimum(r, 1 - 1e-12)), 10)
    weights = np.where(norms > 1e-9, norms ** p, 0.0)
    units = np.divide(xs, norms[..., None], out=np.zeros_like(xs), where=norms[..., None] > 1e-9)
    mix = (weights[..., None] * units).sum(0)
    length = np.sqrt((mix**2).sum(1))
    wanted = np.divide(mix, length[:, None], out=np.zeros_like(mix), where=length[:, None] > 1e-9) * norms.max(0)[:, None]
    y = patches(fused)
    y = y - y.mean(1, keepdims=True)
    n = size * size
    cov, vx, vy = (wanted * y).sum(1) / n, (wanted**2).sum(1) / n, (y**2).sum(1) / n
    return float(((2 * cov + c) / (vx + vy + c)).mean())


def vifp(reference, distorted):
    """The authors' vifp_mscale."""
    p, q = reference.astype(float), distorted.astype(float)
    noise, num, den, tiny = 2.0, 0.0, 0.0, 1e-10
    for scale in range(1, 5):
        n = 2 ** (4 - scale + 1) + 1
        w = gaussian(n, n / 5)
        f = lambda v: convolve2d(v, w, mode="valid")
        if scale > 1:
            p, q = f(p)[::2, ::2], f(q)[::2, ::2]
        m, k = f(p), f(q)
        vp, vq = np.maximum(f(p * p) - m * m, 0), np.maximum(f(q * q) - k * k, 0)
        cov = f(p * q) - m * k
        g = cov / (vp + tiny)
        rest = vq - g * cov
        g[vp < tiny], rest[vp < tiny], vp[vp < tiny] = 0, vq[vp < tiny], 0
        g[vq < tiny], rest[vq < tiny] = 0, 0
        rest[g < 0] = vq[g < 0]
        g[g < 0] = 0
        rest[rest <= tiny] = tiny
        num += np.log10(1 + g * g * vp / (rest + noise)).sum()
        den += np.log10(1 + vp / noise).sum()
    return float(num / den)


def main():
    sources, fused, reference = pictures()
    u8 = lambda p: p.astype(np.uint8)
    skimage_ssim = structural_similarity(
        u8(fused), u8(reference), data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, win_size=11
    )
    golden = {
        "entropy": entropy(fused),
        "standard_deviation": float(fused.std()),
        "spatial_frequency": spatial_frequency(fused),
        "average_gradient": average_gradient(fused),
        "mutual_information": sum(mutual_information(s, fused) for s in sources),
        "qabf": qabf(sources, fused),
        "mef_ssim": mef_ssim(sources, fused),
        "psnr": float(peak_signal_noise_ratio(u8(reference), u8(fused), data_range=255)),
        "ssim": ssim_parts(fused, reference)[0],
        "ssim_skimage": float(skimage_ssim),
        "ms_ssim": ms_ssim(fused, reference),
        "vif": vifp(reference, fused),
    }
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps(golden, indent=1) + "\n")
    print(golden)


if __name__ == "__main__":
    main()
