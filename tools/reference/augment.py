#!/usr/bin/env python3
"""Writes tests/golden/augment.json: what RandAugment's operations and affine maps make of a small picture.

    pip install torch==2.15.0 torchvision==0.29.2 pillow==13.0.0
    python tools/reference/augment.py

The picture is pixel (x, y, c) = (37 x + 59 y + 83 c + x y) % 256,
17x13, RGB; the operations are bilinear with black beyond the edges, as in torchvision's classification reference.
"""

import json
from pathlib import Path

import PIL
import torch
import torchvision
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms.autoaugment import RandAugment, _apply_op
from torchvision.transforms import functional as F

WIDTH, HEIGHT = 17, 13


def picture():
    data = bytes((37 * x + 59 * y + 83 * c + x * y) % 256 for y in range(HEIGHT) for x in range(WIDTH) for c in range(3))
    return Image.frombytes("RGB", (WIDTH, HEIGHT), data)


def main():
    table = RandAugment()._augmentation_space(31, (HEIGHT, WIDTH))
    cases = []
    for name, (magnitudes, signed) in table.items():
        for m in (9, 30) if magnitudes.ndim else (9,):
            for sign in (1, -1) if signed else (1,):
                magnitude = sign * float(magnitudes[m].item() if magnitudes.ndim else 0.0)
                result = _apply_op(picture(), name, magnitude, InterpolationMode.BILINEAR, None)
                cases.append({"operation": name, "m": m, "sign": sign, "magnitude": magnitude,
                              "result": result.tobytes().hex()})
    hue = [{"turns": turns, "result": F.adjust_hue(picture(), turns).tobytes().hex()} for turns in (0.1, -0.3, 0.5)]
    affine = []
    for angle, translate, scale, shear in [(20.0, (2, -1), 0.8, 0.0), (-33.0, (0, 0), 1.3, 12.0)]:
        result = F.affine(picture(), angle, list(translate), scale, [shear, 0.0], InterpolationMode.BILINEAR)
        affine.append({"angle": angle, "translate": translate, "scale": scale, "shear": shear,
                       "result": result.tobytes().hex()})
    document = {
        "versions": {"torch": torch.__version__, "torchvision": torchvision.__version__, "pillow": PIL.__version__},
        "operations": cases,
        "hue": hue,
        "affine": affine,
    }
    golden = Path(__file__).resolve().parents[2] / "tests" / "golden" / "augment.json"
    golden.write_text(json.dumps(document, indent=0) + "\n")


if __name__ == "__main__":
    main()
