#!/usr/bin/env python3
"""Writes crates/opticus-pixels/tests/golden/resize_float.json: Pillow's resizing of mode F, channel by channel.

    pip install pillow==13.0.0 numpy==2.4.6
    python tools/reference/float_resize.py

The sources are the bytes of `noise` in pictures.py; results are of float32, rows top to bottom, channel by channel.
"""
import json
from pathlib import Path

import numpy as np
from PIL import Image

OUT = Path(__file__).parents[2] / "crates/opticus-pixels/tests/golden/resize_float.json"


def noise(width, height, channels, seed=1):
    """Bytes of a linear congruential generator: the same everywhere."""
    state, data = seed, bytearray()
    for _ in range(width * height * channels):
        state = (state * 1103515245 + 12345) % (1 << 31)
        data.append(state >> 16 & 255)
    return bytes(data)


def main():
    cases = []
    for channels, have, want, filter in [
        (3, (7, 5), (11, 13), "bicubic"),
        (3, (17, 12), (5, 4), "bicubic"),
        (1, (9, 6), (9, 10), "bicubic"),
        (1, (9, 6), (4, 6), "bilinear"),
        (1, (13, 11), (8, 15), "lanczos3"),
        (1, (4, 3), (4, 3), "bicubic"),
    ]:
        resample = {"bicubic": Image.BICUBIC, "bilinear": Image.BILINEAR, "lanczos3": Image.LANCZOS}[filter]
        pixels = np.frombuffer(noise(*have, channels), np.uint8).reshape(have[1], have[0], channels)
        planes = [Image.fromarray(pixels[..., c].astype(np.float32)).resize(want, resample) for c in range(channels)]
        values = np.stack([np.asarray(plane) for plane in planes]).flatten()
        cases.append({"channels": channels, "have": have, "want": want, "filter": filter,
                      "values": [float(f"{v:.8g}") for v in values]})
    OUT.write_text("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")


if __name__ == "__main__":
    main()
