#!/usr/bin/env python3
"""Makes tests/golden/detect.json: torchvision's anchors, codes, matches, and what a whole Faster R-CNN detects.

Weights and the picture come from the formula of `nets.py`, on both sides. Networks compute in float64.

    python tools/reference/detect.py

Made with Python 3.11, torch 2.15.0, torchvision 0.29.2, numpy 2.4.6.
"""
import json
import math
import pathlib

import torch
import torch.nn.functional as F
import torchvision
from torchvision.models import detection
from torchvision.models.detection import _utils, anchor_utils, roi_heads
from torchvision.models.detection.image_list import ImageList

from nets import fill, values

CALM_SCORES, CALM_BOXES = 0.04, 0.1
OUT = pathlib.Path(__file__).resolve().parents[2] / "tests" / "golden" / "detect.json"


def rounded(t, digits=9):
    return [float(f"{v:.{digits}g}") for v in t.detach().flatten().tolist()]


def anchors():
    sizes, ratios = ((32,), (64, 100), (512,)), (0.5, 1.0, 2.0)
    maps = [(5, 7), (3, 4), (1, 2)]
    generator = anchor_utils.AnchorGenerator(sizes, (ratios,) * 3)
    made = generator(ImageList(torch.zeros(1, 3, 96, 128), [(96, 128)]), [torch.zeros(1, 1, *m) for m in maps])
    return {"sizes": sizes, "ratios": ratios, "input": [96, 128], "maps": maps, "anchors": rounded(made[0])}


def defaults(**options):
    maps = [(3, 4), (2, 2), (1, 1)]
    generator = anchor_utils.DefaultBoxGenerator([[2], [2, 3], []], **options)
    made = generator(ImageList(torch.zeros(1, 3, 90, 120), [(90, 120)]), [torch.zeros(1, 1, *m) for m in maps])
    return {"maps": maps, "input": [90, 120], "boxes": rounded(made[0], 7), **options}


def boxes(name, count, side):
    u = torch.from_numpy(values(name, 4 * count)).double().reshape(-1, 4)
    corner = (u[:, :2] + 1) / 2 * side * 0.7
    return torch.cat([corner, corner + 2 + (u[:, 2:] + 1) / 2 * side * 0.5], 1)


def codes():
    target, reference = boxes("target", 6, 100), boxes("reference", 6, 100)
    coder = _utils.BoxCoder((10.0, 10.0, 5.0, 5.0))
    code = torch.from_numpy(values("code", 24)).double().reshape(-1, 4) * 40
    return {
        "encoded": rounded(coder.encode_single(target, reference)),
        "decoded": rounded(coder.decode_single(code, reference)),
    }


def matches():
    truth, candidates = boxes("truth", 5, 60), boxes("candidates", 200, 60)
    iou = torchvision.ops.box_iou(truth, candidates)
    return {
        "proposals": _utils.Matcher(0.7, 0.3, True)(iou).tolist(),
        "heads": _utils.Matcher(0.5, 0.5, False)(iou).tolist(),
        "ssd": _utils.SSDMatcher(0.5)(iou).tolist(),
    }


def losses():
    """Losses and their gradients: of a region proposal network, and of the heads."""
    formula = lambda name, *shape: torch.from_numpy(values(name, math.prod(shape))).double().reshape(shape)
    count, objects, background = 60, [3, 17, 40], [0, 5, 9, 22, 58]
    logits = (formula("loss.logits", count) * 4).requires_grad_()
    corrections = formula("loss.corrections", count, 4).requires_grad_()
    wanted = formula("loss.wanted", len(objects), 4) * 0.5
    # `RegionProposalNetwork.compute_loss` after matching and sampling.
    sampled = torch.tensor(sorted(objects + background))
    labels = torch.tensor([1.0 if i in objects else 0.0 for i in sampled.tolist()]).double()
    box = F.smooth_l1_loss(corrections[objects], wanted, beta=1 / 9, reduction="sum") / len(sampled)
    object_ = F.binary_cross_entropy_with_logits(logits[sampled], labels)
    (object_ + 2 * box).backward()
    rpn = {
        "objects": objects,
        "background": background,
        "object": object_.item(),
        "box": box.item(),
        "logits": rounded(logits.grad),
        "corrections": rounded(corrections.grad),
    }
    regions, classes = 9, 3
    logits = (formula("heads.logits", regions, classes + 1) * 3).requires_grad_()
    corrections = formula("heads.corrections", regions, 4 * (classes + 1)).requires_grad_()
    labels = [0, 2, 0, 1, 3, 3, 0, 2, 0]
    wanted = formula("heads.wanted", regions, 4) * 0.5
    class_, box = roi_heads.fastrcnn_loss(logits, corrections, [torch.tensor(labels)], [wanted])
    (class_ + 2 * box).backward()
    heads = {
        "labels": labels,
        "class": class_.item(),
        "box": box.item(),
        "logits": rounded(logits.grad),
        "corrections": rounded(corrections.grad),
    }
    return {"proposals": rpn, "heads": heads}


def picture(height, width):
    return torch.from_numpy(values("picture", 3 * height * width)).double().reshape(3, height, width) / 2 + 0.5


def faster_rcnn(build, name, classes, size, keep):
    shorter, longer = keep["min_size"], keep["max_size"]
    net = build(weights=None, weights_backbone=None, num_classes=classes + 1, **keep)
    fill(net, {"name": name})
    with torch.no_grad():
        # The formula's weights are large: as they are, PyTorch's own float32 is 1.5e-4 off its float64 in the
        # scores, and 0.05 px in the boxes.
        net.roi_heads.box_predictor.cls_score.weight.mul_(CALM_SCORES)
        net.roi_heads.box_predictor.bbox_pred.weight.mul_(CALM_BOXES)
    with torch.no_grad():
        # Anchors and sizes are made in the type of the maps.
        found = net.double().eval()([picture(*size)])[0]
    return {
        "classes": classes,
        "size": size,
        "shorter": shorter,
        "longer": longer,
        "parameters": sum(p.numel() for p in net.parameters()),
        "boxes": rounded(found["boxes"]),
        "labels": found["labels"].tolist(),
        "scores": rounded(found["scores"]),
    }


def one_stage(build, name, classes, size, calm, **keep):
    """A one-stage detector with its usual settings; the last layers calmed as `CALM_SCORES` and `CALM_BOXES` are."""
    net = build(weights=None, weights_backbone=None, num_classes=classes + 1, **keep)
    fill(net, {"name": name})
    with torch.no_grad():
        for head, factor in [(net.head.classification_head, calm[0]), (net.head.regression_head, calm[1])]:
            for module in head.module_list:
                last = module if isinstance(module, torch.nn.Conv2d) else module[-1]
                last.weight.mul_(factor)
        found = net.double().eval()([picture(*size)])[0]
    return {
        "classes": classes,
        "size": size,
        "calm": calm,
        "parameters": sum(p.numel() for p in net.parameters()),
        "boxes": rounded(found["boxes"]),
        "labels": found["labels"].tolist(),
        "scores": rounded(found["scores"]),
    }


def multibox():
    """SSD's loss and its gradients."""
    formula = lambda name, *shape: torch.from_numpy(values(name, math.prod(shape))).double().reshape(shape)
    count, classes = 40, 3
    default = boxes("multibox.default", count, 60)
    logits = (formula("multibox.logits", 2, count, classes + 1) * 2).requires_grad_()
    corrections = formula("multibox.corrections", 2, count, 4).requires_grad_()
    truth = [boxes("multibox.truth.0", 3, 60), boxes("multibox.truth.1", 1, 60)]
    labels = [[1, 3, 2], [2]]
    ssd = detection.ssd300_vgg16(weights=None, weights_backbone=None)
    matches = [_utils.SSDMatcher(0.5)(torchvision.ops.box_iou(t, default)) for t in truth]
    targets = [{"boxes": t, "labels": torch.tensor(l)} for t, l in zip(truth, labels)]
    said = {"bbox_regression": corrections, "cls_logits": logits}
    losses = ssd.compute_loss(targets, said, [default] * 2, matches)
    (losses["classification"] + 2 * losses["bbox_regression"]).backward()
    return {
        "labels": labels,
        "class": losses["classification"].item(),
        "box": losses["bbox_regression"].item(),
        "logits": rounded(logits.grad),
        "corrections": rounded(corrections.grad),
    }


if __name__ == "__main__":
    torch.manual_seed(0)
    keep = {"min_size": 160, "max_size": 250, "box_detections_per_img": 30}
    OUT.write_text(
        json.dumps(
            {
                "anchors": anchors(),
                "defaults": [defaults(), defaults(min_ratio=0.2, max_ratio=0.95), defaults(steps=[32, 64, 100])],
                "codes": codes(),
                "matches": matches(),
                "losses": losses(),
                "multibox": multibox(),
                "resnet50_fpn": faster_rcnn(
                    detection.fasterrcnn_resnet50_fpn, "resnet", 5, (90, 150), keep
                ),
                "mobilenet_v3_fpn": faster_rcnn(
                    detection.fasterrcnn_mobilenet_v3_large_320_fpn,
                    "mobilenet_v3_large",
                    5,
                    (90, 150),
                    {"min_size": 160, "max_size": 250, "box_detections_per_img": 30},
                ),
                "ssd300": one_stage(
                    detection.ssd300_vgg16, "vgg16", 4, (90, 150), [0.004, 0.02], detections_per_img=40
                ),
                "ssdlite320": one_stage(
                    detection.ssdlite320_mobilenet_v3_large,
                    "mobilenet_v3_large",
                    4,
                    (90, 150),
                    [0.1, 0.1],
                    detections_per_img=40,
                ),
            }
        )
        + "\n"
    )
