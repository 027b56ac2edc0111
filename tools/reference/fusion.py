#!/usr/bin/env python3
"""Makes crates/opticus-pixels/tests/golden/fusion.json: OpenCV's exposure fusion of the `house` sequence, at every 16th pixel.

    python tools/reference/fusion.py path/to/house

Made with Python 3.11, opencv-python-headless 5.0.0.
"""
import json
import pathlib
import sys

import cv2
import numpy as np

OUT = pathlib.Path(__file__).resolve().parents[2] / "crates" / "opticus-pixels" / "tests" / "golden" / "fusion.json"


def main():
    folder = pathlib.Path(sys.argv[1])
    # In the order red, green, blue, which OpenCV's luma expects here.
    stack = [cv2.cvtColor(cv2.imread(str(folder / f"{n}.jpg")), cv2.COLOR_BGR2RGB) for n in "ABCD"]
    fused = cv2.createMergeMertens(1, 1, 1).process(stack)
    levels = np.clip(np.rint(fused * 255), 0, 255).astype(int)[::16, ::16]
    OUT.write_text(json.dumps({"house": levels.transpose(2, 0, 1).ravel().tolist(), "size": levels.shape[1::-1]}) + "\n")


if __name__ == "__main__":
    main()
