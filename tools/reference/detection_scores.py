"""Figures of COCO's evaluation as pycocotools gives them, with all digits.

    pip install pycocotools==2.0.11 numpy==2.4.6
    python detection_scores.py ../shared/data/deteval/coco_fake100 > src/detect/metrics/goldens.json
    python detection_scores.py --speed FOLDER   # makes 5,000 pictures x 100 detections there, and times pycocotools

The second form leaves `truth.json` and `found.json` for `opticus detect score`.
"""

import contextlib
import io
import json
import pathlib
import sys
import time

import numpy
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval


def figures(truth, found):
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(truth))
        evaluation = COCOeval(truth, truth.loadRes(str(found)), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats.tolist()


def make(folder, pictures=5000, classes=80, objects=8, detections=100, seed=0):
    """Random scenes: half of the detections lie near an object, with few decimals, so that scores tie."""
    rng = numpy.random.default_rng(seed)
    annotations, found = [], []
    for image in range(1, pictures + 1):
        boxes = []
        for _ in range(rng.integers(0, 2 * objects)):
            w, h = numpy.exp(rng.uniform(2.0, 5.8, 2)).round(2)
            x, y = rng.uniform(0, 640 - min(w, 600)), rng.uniform(0, 480 - min(h, 440))
            category = int(rng.integers(1, classes + 1))
            box = [round(float(v), 2) for v in (x, y, w, h)]
            boxes.append((category, box))
            annotations.append({
                "id": len(annotations) + 1, "image_id": image, "category_id": category, "bbox": box,
                "area": round(float(w * h * rng.uniform(0.4, 1.0)), 3), "iscrowd": int(rng.random() < 0.02),
                "segmentation": [[box[0], box[1], box[0] + box[2], box[1], box[0] + box[2], box[1] + box[3]]],
            })
        for _ in range(detections):
            if boxes and rng.random() < 0.5:
                category, (x, y, w, h) = boxes[rng.integers(len(boxes))]
                x, y, w, h = numpy.array([x, y, w, h]) + rng.normal(0, 0.08, 4) * numpy.array([w, h, w, h])
                if rng.random() < 0.1:
                    category = int(rng.integers(1, classes + 1))
            else:
                category = int(rng.integers(1, classes + 1))
                x, y, w, h = rng.uniform(0, 500), rng.uniform(0, 400), *numpy.exp(rng.uniform(2.0, 5.8, 2))
            box = [round(float(v), 2) for v in (x, y, max(w, 1.0), max(h, 1.0))]
            found.append({"image_id": image, "category_id": category, "bbox": box,
                          "score": round(float(rng.random()), 3)})
    truth = {
        "images": [{"id": i, "file_name": f"{i:06}.jpg", "width": 640, "height": 480} for i in range(1, pictures + 1)],
        "annotations": annotations,
        "categories": [{"id": i, "name": f"class {i}"} for i in range(1, classes + 1)],
    }
    (folder / "truth.json").write_text(json.dumps(truth))
    (folder / "found.json").write_text(json.dumps(found))


if sys.argv[1] == "--speed":
    folder = pathlib.Path(sys.argv[2])
    if not (folder / "found.json").exists():
        make(folder)
    start = time.perf_counter()
    stats = figures(folder / "truth.json", folder / "found.json")
    print(json.dumps({"seconds": time.perf_counter() - start, "figures": stats}))
else:
    folder = pathlib.Path(sys.argv[1])
    names = ("instances_val2014_100.json", "instances_val2014_fakebbox100_results.json")
    print(json.dumps({"coco_fake100": figures(*(folder / name for name in names))}))
