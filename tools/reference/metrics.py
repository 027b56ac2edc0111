#!/usr/bin/env python3
"""Writes tests/golden/classify_metrics.json: classification figures as scikit-learn computes them.

    pip install scikit-learn==1.9.1 numpy==2.4.6 scipy
    python tools/reference/metrics.py

The expected calibration error is not in scikit-learn; it is computed here from its definition (Guo et al. 2017, eq. 3)
in plain NumPy, another way than the product does.
"""

import json
import warnings
from pathlib import Path

import numpy as np
from scipy.special import log_softmax, softmax
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    log_loss,
    precision_recall_fscore_support,
    top_k_accuracy_score,
)

BINS = 15


def calibration_error(probabilities, targets):
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == targets
    edges = np.arange(BINS + 1) / BINS
    bin_of = np.digitize(confidence, edges[1:-1], right=True)
    error = 0.0
    for b in range(BINS):
        inside = bin_of == b
        if inside.any():
            error += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    return float(error)


def figures(logits, targets):
    classes = logits.shape[1]
    labels = np.arange(classes)
    wide = logits.astype(np.float64)
    probabilities = softmax(wide, axis=1)
    predicted = logits.argmax(axis=1)

    # scikit-learn ranks the last of equal scores first; we rank the first, as argmax does. Reversing the classes
    # makes both speak of the same thing.
    if classes <= 5:
        top5 = 1.0
    else:
        top5 = top_k_accuracy_score(classes - 1 - targets, wide[:, ::-1], k=5, labels=labels)

    # scikit-learn clips probabilities in log_loss, which only matters where a softmax rounds to 0 or 1; the loss there
    # is taken from the log-softmax.
    loss = -log_softmax(wide, axis=1)[np.arange(len(targets)), targets].mean()
    if np.abs(wide).max() < 30:
        assert np.isclose(loss, log_loss(targets, probabilities, labels=labels), rtol=1e-12)

    each = precision_recall_fscore_support(targets, predicted, labels=labels, zero_division=0)
    out = {
        "top1": accuracy_score(targets, predicted),
        "top5": float(top5),
        "loss": float(loss),
        "ece": calibration_error(probabilities, targets),
        "confusion": confusion_matrix(targets, predicted, labels=labels).tolist(),
        "precision": each[0].tolist(),
        "recall": each[1].tolist(),
        "f1": each[2].tolist(),
        "support": [int(x) for x in each[3]],
        "balanced_accuracy": float(balanced_accuracy_score(targets, predicted)),
    }
    for average in ("macro", "weighted"):
        p, r, f, _ = precision_recall_fscore_support(
            targets, predicted, labels=labels, average=average, zero_division=0
        )
        out[average] = [float(p), float(r), float(f)]
    return out


def case(name, logits, targets):
    logits = np.asarray(logits, dtype=np.float32)
    targets = np.asarray(targets)
    return {
        "name": name,
        "classes": logits.shape[1],
        "logits": [float(x) for x in logits.ravel()],
        "targets": targets.tolist(),
        "expected": figures(logits, targets),
    }


def noisy(random, images, classes, signal, step):
    """Logits that favour the truth by `signal`, rounded to multiples of `step` (coarse steps make ties)."""
    targets = random.integers(0, classes, images)
    logits = random.normal(0, 2, (images, classes))
    logits[np.arange(images), targets] += signal
    return np.round(logits / step) * step, targets


def main():
    # Classes that are predicted but never true are one of the cases.
    warnings.filterwarnings("ignore", message="y_pred contains classes not in y_true")
    random = np.random.default_rng(20240601)
    cases = [
        case("ten classes", *noisy(random, 160, 10, 3.0, 1 / 64)),
        case("ties everywhere", *noisy(random, 120, 8, 1.0, 2.0)),
        case("all scores equal", np.zeros((9, 7)), np.arange(9) % 7),
        case("three classes", *noisy(random, 60, 3, 1.5, 1 / 64)),
        case("two classes", *noisy(random, 60, 2, 1.0, 1 / 64)),
        case("five classes", *noisy(random, 40, 5, 1.0, 1 / 64)),
        case("six classes", *noisy(random, 60, 6, 0.5, 1 / 64)),
        case("one picture", [[0.5, -1.0, 2.0, 0.25, 0.0, 1.0]], [3]),
    ]
    # Class 2 never occurs, class 5 is never predicted, class 6 neither.
    logits, targets = noisy(random, 80, 7, 2.0, 1 / 64)
    targets[(targets == 2) | (targets == 6)] = 0
    logits[:, 5] = -20
    logits[:, 6] = -20
    cases.append(case("absent classes", logits, targets))
    # Saturated: naive softmax overflows, naive logarithms are infinite.
    logits, targets = noisy(random, 30, 6, 2.0, 1 / 4)
    cases.append(case("huge scores", logits * 200, targets))

    path = Path(__file__).resolve().parents[2] / "tests" / "golden" / "classify_metrics.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"cases": cases}, separators=(",", ":")) + "\n")
    print(path, path.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
