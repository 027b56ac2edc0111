#!/usr/bin/env python3
"""Writes tests/golden/optim.json: what PyTorch's optimisers and learning-rate schedules do.

    pip install torch==2.15.0 numpy==2.4.6
    python tools/reference/optim.py

Optimisers: ten steps on `weight` [3, 4] and `bias` [4] in single precision, with given gradients (so that no other
arithmetic takes part), weight decay on the weight alone and a learning rate that changes; the values after each step.
Schedules: the rate of every step.
"""

import json
from pathlib import Path

import torch
from torch.optim import lr_scheduler as lrs

STEPS = 10
PEAK = 0.3


def gradient(step, index, scale):
    """The same deterministic numbers on both sides: exact in single precision."""
    value = ((step * 7919 + index * 104729 + 17) % 2003 - 1001) / 512
    return value * scale


def rates():
    return [0.05 * (1 + step % 3) for step in range(STEPS)]


def optimiser(config):
    weight = torch.nn.Parameter(torch.arange(12, dtype=torch.float32).reshape(3, 4) / 8 - 0.7)
    bias = torch.nn.Parameter(torch.tensor([0.5, -0.25, 0.0, 1.0]))
    groups = [{"params": [weight], "weight_decay": config["weight_decay"]}, {"params": [bias], "weight_decay": 0.0}]
    betas = (config.get("beta1", 0.9), config.get("beta2", 0.999))
    match config["kind"]:
        case "sgd":
            made = torch.optim.SGD(groups, lr=1.0, momentum=config["momentum"], nesterov=config["nesterov"])
        case "adam":
            made = torch.optim.Adam(groups, lr=1.0, betas=betas, eps=config["epsilon"])
        case "adamw":
            made = torch.optim.AdamW(groups, lr=1.0, betas=betas, eps=config["epsilon"])
    values = []
    for step, rate in enumerate(rates()):
        weight.grad = torch.tensor([gradient(step, i, 1.0) for i in range(12)]).reshape(3, 4)
        # The bias has no gradient at steps 3 and 4: PyTorch leaves it and its moments alone.
        bias.grad = None if step in (3, 4) else torch.tensor([gradient(step, 100 + i, 0.25) for i in range(4)])
        if config["clip_norm"] > 0:
            torch.nn.utils.clip_grad_norm_([weight, bias], config["clip_norm"])
        for group in made.param_groups:
            group["lr"] = rate
        made.step()
        values.append([float(v) for v in [*weight.detach().flatten(), *bias.detach()]])
    return {"config": config, "values": values}


def schedule(config, steps_per_epoch, epochs):
    steps = steps_per_epoch * epochs
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=PEAK)
    warmup = round(config.get("warmup_epochs", 0) * steps_per_epoch)
    match config["kind"]:
        case "constant":
            main = lrs.ConstantLR(optimizer, factor=1.0)
        case "step":
            main = lrs.StepLR(optimizer, config["every"] * steps_per_epoch, config["factor"])
        case "multi-step":
            main = lrs.MultiStepLR(optimizer, [m * steps_per_epoch for m in config["milestones"]], config["factor"])
        case "cosine":
            main = lrs.CosineAnnealingLR(optimizer, steps - warmup, eta_min=PEAK * config.get("floor", 0.0))
        case "one-cycle":
            main = lrs.OneCycleLR(
                optimizer,
                PEAK,
                total_steps=steps,
                pct_start=config["rise"],
                div_factor=config["start_divisor"],
                final_div_factor=config["end_divisor"],
            )
    if warmup:
        first = lrs.LinearLR(optimizer, start_factor=config["warmup_start"], total_iters=warmup)
        main = lrs.SequentialLR(optimizer, [first, main], [warmup])
    values = []
    for _ in range(steps):
        values.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        main.step()
    return {"config": config, "steps_per_epoch": steps_per_epoch, "epochs": epochs, "rates": values}


def main():
    adam = {"epsilon": 1e-8, "clip_norm": 0.0}
    sgd = {"kind": "sgd", "momentum": 0.0, "nesterov": False, "weight_decay": 0.0, "clip_norm": 0.0}
    optimisers = [
        sgd,
        sgd | {"weight_decay": 0.1},
        sgd | {"momentum": 0.9, "weight_decay": 0.05},
        sgd | {"momentum": 0.9, "nesterov": True, "weight_decay": 0.05},
        sgd | {"momentum": 0.9, "nesterov": True, "clip_norm": 0.5},
        adam | {"kind": "adam", "weight_decay": 0.0},
        adam | {"kind": "adam", "weight_decay": 0.1, "epsilon": 1e-7},
        adam | {"kind": "adam", "weight_decay": 0.0, "beta1": 0.5, "beta2": 0.9, "clip_norm": 1.0},
        adam | {"kind": "adamw", "weight_decay": 0.0},
        adam | {"kind": "adamw", "weight_decay": 0.3, "beta2": 0.95},
    ]
    cycle = {"kind": "one-cycle", "rise": 0.3, "start_divisor": 25.0, "end_divisor": 1e4}
    schedules = [
        ({"kind": "constant"}, 3, 4),
        ({"kind": "step", "every": 2, "factor": 0.1}, 3, 7),
        ({"kind": "multi-step", "milestones": [1, 3, 4], "factor": 0.5}, 5, 6),
        ({"kind": "cosine"}, 7, 5),
        ({"kind": "cosine", "floor": 0.05, "warmup_epochs": 1.5, "warmup_start": 0.01}, 8, 6),
        ({"kind": "constant", "warmup_epochs": 1.0, "warmup_start": 0.1}, 4, 3),
        (cycle, 10, 4),
        (cycle | {"rise": 0.45, "start_divisor": 10.0, "end_divisor": 100.0}, 7, 3),
    ]
    golden = {
        "torch": torch.__version__.split("+")[0],
        "peak": PEAK,
        "rates": rates(),
        "optimisers": [optimiser(config) for config in optimisers],
        "schedules": [schedule(*each) for each in schedules],
    }
    out = Path(__file__).resolve().parents[2] / "tests" / "golden" / "optim.json"
    out.write_text(json.dumps(golden) + "\n")
    print(f"{out.name}: {out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
