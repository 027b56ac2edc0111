#!/usr/bin/env python3
"""Makes crates/opticus-kernels/tests/golden/roi.json: torchvision's RoIAlign and RoIPool with their gradients.

    python tools/reference/roi.py

Made with Python 3.11, torch 2.15.0, torchvision 0.29.2.
"""
import json
import pathlib

import torch
from torchvision.ops import roi_align, roi_pool

OUT = pathlib.Path(__file__).resolve().parents[2] / "crates/opticus-kernels/tests/golden/roi.json"
torch.manual_seed(0)
x = torch.randn(2, 3, 9, 11)
# Inside, across edges, far outside, of no size, inverted, larger than the picture.
rois = torch.tensor(
    [
        [0, 3.2, 5.1, 40.7, 60.9],
        [1, -20.0, -9.5, 30.0, 25.0],
        [0, 70.0, 50.0, 130.0, 90.0],
        [1, 12.0, 12.0, 12.0, 12.0],
        [0, 500.0, 500.0, 600.0, 640.0],
        [1, 40.0, 30.0, 20.0, 10.0],
        [0, -5.0, -5.0, 200.0, 200.0],
        [1, 8.0, 8.0, 15.99, 16.01],
    ]
)
cases = []


def case(kind, f, **options):
    leaf = x.clone().requires_grad_()
    y = f(leaf)
    dy = torch.linspace(-1, 1, y.numel()).reshape(y.shape)
    y.backward(dy)
    rounded = lambda t: [float(f"{v:.8g}") for v in t.detach().flatten().tolist()]
    cases.append({"kind": kind, **options, "y": rounded(y), "dx": rounded(leaf.grad)})


for bins in ([2, 3], [3, 2]):
    for samples in (0, 2):
        for aligned in (False, True):
            case(
                "align",
                lambda t: roi_align(t, rois, bins, 1 / 8, samples or -1, aligned),
                bins=bins,
                samples=samples,
                aligned=aligned,
            )
    case("pool", lambda t: roi_pool(t, rois, bins, 1 / 8), bins=bins)
OUT.parent.mkdir(parents=True, exist_ok=True)
flat = [float(f"{v:.8g}") for v in x.flatten().tolist()]
OUT.write_text(
    json.dumps({"map": list(x.shape), "scale": 1 / 8, "x": flat, "rois": rois.tolist(), "cases": cases}) + "\n"
)
