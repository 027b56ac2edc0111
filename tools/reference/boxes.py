#!/usr/bin/env python3
"""Writes crates/opticus-pixels/tests/golden/boxes.json: overlaps, clipping and suppression of boxes.

    pip install torch==2.15.0 torchvision==0.29.2 ensemble-boxes==1.0.9
    python tools/reference/boxes.py

Overlaps, clipping and greedy suppression are torchvision's, in f64 (suppression in f32 too, on coordinates that both
hold exactly); fusion is the authors' program. Soft suppression is figure 2 of its paper, written down again here,
since no reference package keeps to it (the authors' own code counts pixels with "+1").

Sets of boxes: `random` (three classes, many overlaps), `grid` (small integers: ties of score, identical, nested and
touching boxes, zero area), `far` (coordinates about 1e5, little overlap). Scores of `grid` have one decimal, so most
of them are equal to another.
"""

import importlib.util
import json
from pathlib import Path

import numpy as np
import torch
import torchvision
from torchvision import ops

# The package's `__init__` asks for numba and pandas, which fusion itself does not need.
_found = importlib.util.find_spec("ensemble_boxes")
_path = Path(_found.submodule_search_locations[0]) / "ensemble_boxes_wbf.py"
_spec = importlib.util.spec_from_file_location("wbf", _path)
wbf = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(wbf)

THRESHOLDS = [0.0, 0.3, 0.45, 0.5, 0.7, 1.0]


def sets():
    rng = np.random.default_rng(20)
    centre, size = rng.uniform(0, 100, (60, 2)), rng.gamma(4.0, 6.0, (60, 2))
    boxes = np.float32(np.concatenate([centre - size / 2, centre + size / 2], 1)).astype(np.float64)
    yield "random", boxes, np.float32(rng.uniform(0, 1, 60)).astype(np.float64), rng.integers(0, 3, 60)
    corner, size = rng.integers(0, 5, (60, 2)), rng.integers(0, 4, (60, 2))
    boxes = np.concatenate([corner, corner + size], 1).astype(np.float64)
    boxes[1] = boxes[0]
    yield "grid", boxes, rng.integers(1, 10, 60) / 10, rng.integers(0, 2, 60)
    corner, size = rng.uniform(1e5, 1.002e5, (40, 2)), rng.uniform(1, 40, (40, 2))
    boxes = np.float32(np.concatenate([corner, corner + size], 1)).astype(np.float64)
    yield "far", boxes, np.float32(rng.uniform(0, 1, 40)).astype(np.float64), rng.integers(0, 40, 40)


def iou(a, b):
    """Of one box with many; 0 where there is no area."""
    width = np.clip(np.minimum(a[2], b[:, 2]) - np.maximum(a[0], b[:, 0]), 0, None)
    height = np.clip(np.minimum(a[3], b[:, 3]) - np.maximum(a[1], b[:, 1]), 0, None)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1]) - width * height
    return np.where(union > 0, width * height / np.where(union > 0, union, 1), 0.0)


def soft_nms(boxes, scores, classes, decay, min_score):
    kept = []
    for label in np.unique(classes):
        left = [i for i in np.flatnonzero(classes == label) if scores[i] >= min_score]
        s = {i: scores[i] for i in left}
        while left:
            best = max(left, key=lambda i: (s[i], -i))
            left.remove(best)
            kept.append((int(best), float(s[best])))
            for i, factor in zip(left, decay(iou(boxes[best], boxes[left]))) if left else []:
                s[i] *= factor
            left = [i for i in left if s[i] >= min_score]
    return sorted(kept, key=lambda pair: (-pair[1], pair[0]))


DECAYS = {
    "linear": lambda u: np.where(u >= 0.3, 1 - u, 1.0),
    "gaussian": lambda u: np.exp(-u * u / 0.5),
}


def fused(boxes, scores, classes, extent, weights, iou_thr, skip):
    """As if box i came from detector i mod 3. The program wants coordinates in 0..=1."""
    part = [np.arange(len(boxes)) % 3 == k for k in range(3)]
    result = wbf.weighted_boxes_fusion(
        [boxes[p] / extent for p in part], [scores[p] for p in part], [classes[p] for p in part],
        weights=weights, iou_thr=iou_thr, skip_box_thr=skip)
    rows = [[*(b * extent), s, int(c)] for b, s, c in zip(*result)]
    return {"weights": weights, "iou": iou_thr, "min_score": skip, "result": rows}


def main():
    cases = []
    for name, boxes, scores, classes in sets():
        b, s, c = torch.tensor(boxes), torch.tensor(scores), torch.tensor(classes)
        clear = torch.nan_to_num  # 0/0 where two boxes have no area
        few = b[:24]
        case = {
            "name": name, "boxes": boxes.tolist(), "scores": scores.tolist(), "classes": classes.tolist(),
            "iou": clear(ops.box_iou(few, few)).flatten().tolist(),
            "giou": clear(ops.generalized_box_iou(few, few)).flatten().tolist(),
            "clipped": ops.clip_boxes_to_image(b, (40, 70)).tolist(),
            "large": {str(side): ops.remove_small_boxes(b, side).tolist() for side in (1.0, 2.0, 20.0)},
            "nms": [], "soft": [],
        }
        for threshold in THRESHOLDS:
            # torchvision's CPU kernel sorts stably; the f64 path is the rule, f32 what detectors run.
            plain, batched = ops.nms(b, s, threshold), ops.batched_nms(b, s, c, threshold)
            if name != "grid":
                assert plain.tolist() == ops.nms(b.float(), s.float(), threshold).tolist()
            case["nms"].append({"iou": threshold, "kept": plain.tolist(), "kept_per_class": batched.tolist()})
        for kind, decay in DECAYS.items():
            rows = soft_nms(boxes, scores, classes, decay, 0.01)
            case["soft"].append({"decay": kind, "min_score": 0.01, "kept": rows})
        if name == "random":
            inside = np.clip(boxes, 0, 100)
            case["fusion"] = {"boxes": inside.tolist(), "cases": [
                fused(inside, scores, classes, 100.0, [1, 1, 1], 0.55, 0.0),
                fused(inside, scores, classes, 100.0, [2, 1, 3], 0.3, 0.2)]}
        cases.append(case)
    versions = {"torch": torch.__version__, "torchvision": torchvision.__version__, "ensemble-boxes": "1.0.9"}
    golden = Path(__file__).resolve().parents[2] / "crates/opticus-pixels/tests/golden/boxes.json"
    golden.write_text(json.dumps({"versions": versions, "cases": cases}, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
