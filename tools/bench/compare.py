#!/usr/bin/env python3
"""Times `opticus bench` against PyTorch and ONNX Runtime on the same work, in turns, and prints the ratios.

    cargo build --release
    python tools/bench/compare.py [--threads N] [--rounds N] [--only TEXT] [--opticus target/release/opticus]

Each side runs in a process of its own with the same number of threads; one round is one process of every side, one
after another, so that a busy machine troubles all alike. Figures are medians over the rounds of each process's median
step, and of the peak of its resident memory. PyTorch runs with glibc's allocator as it comes and told to keep its memory,
and with jemalloc and tcmalloc where they are installed: the fastest is the one compared with. Opticus ships with mimalloc.

Needs Python 3.10 and numpy, torch, torchvision, onnx and onnxruntime (written for 2.15.0, 0.29.2 and 1.32.0). Nothing else in the project needs
this file or Python.
"""
import argparse
import ctypes.util
import json
import os
import pathlib
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
WARM, SECONDS, LEAST = 2, 4.0, 5

# name, verb, network, batch, side, the side to beat
ROWS = [
    ("train step, simple-cnn 32×3×224×224", "train", "simple-cnn", 32, 224, "PyTorch"),
    ("train step, ResNet-18 (3×3 stem) 64×3×32×32", "train", "resnet18", 64, 32, "PyTorch"),
    ("train step, DCGAN 64×64 batch 32", "train", "dcgan", 32, 64, "PyTorch"),
    ("inference ResNet-18, 1×3×224×224", "infer", "resnet18", 1, 224, "ONNX Runtime"),
    ("inference ResNet-18, 16×3×224×224", "infer", "resnet18", 16, 224, "ONNX Runtime"),
    ("inference MobileNetV3-large, 1×3×224×224", "infer", "mobilenet_v3_large", 1, 224, "ONNX Runtime"),
    ("detection Faster R-CNN ResNet-50-FPN, 1067×800", "infer", "faster-rcnn-resnet50-fpn", 1, 800, "PyTorch"),
    ("detection SSD300 VGG-16, 400×300", "infer", "ssd300-vgg16", 1, 300, "PyTorch"),
    ("detection SSDLite320 MobileNetV3, 427×320", "infer", "ssdlite320-mobilenet-v3", 1, 320, "PyTorch"),
    ("detection Faster R-CNN MobileNetV3-320-FPN, 427×320", "infer", "faster-rcnn-mobilenet-v3-fpn", 1, 320, "PyTorch"),
]

# Ours → torchvision's.
DETECTORS = {
    "faster-rcnn-resnet50-fpn": "fasterrcnn_resnet50_fpn",
    "faster-rcnn-mobilenet-v3-fpn": "fasterrcnn_mobilenet_v3_large_320_fpn",
    "ssd300-vgg16": "ssd300_vgg16",
    "ssdlite320-mobilenet-v3": "ssdlite320_mobilenet_v3_large",
}


# --- what PyTorch does ------------------------------------------------------------------------------------------


def torch_net(name, side):
    import torch
    import torchvision.models as tv
    from torch import nn

    if name == "simple-cnn":
        block = lambda i, o: [nn.Conv2d(i, o, 3), nn.ReLU(), nn.MaxPool2d(2)]
        for _ in range(3):
            side = (side - 2) // 2
        dense = [nn.Flatten(), nn.Linear(128 * side * side, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 10)]
        return nn.Sequential(*block(3, 32), *block(32, 64), *block(64, 128), *dense)
    net = getattr(tv, name)(num_classes=10)
    if name.startswith("resnet") and side <= 64:  # as opticus: pictures of few pixels get the small stem
        net.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
        net.maxpool = nn.Identity()
    return net


def dcgan(side):
    sys.path.insert(0, str(ROOT / "tools" / "reference"))
    from dcgan import Discriminator, Generator

    return Generator(side, 3, 100, 64), Discriminator(side, 3, 64)


def detector(name):
    """With random weights, but as sure of the background as a trained one is: most candidates fall to the threshold."""
    import torch
    from torchvision.models import detection

    torch.manual_seed(0)
    net = getattr(detection, DETECTORS[name])(weights=None, weights_backbone=None, num_classes=91).eval()
    with torch.no_grad():
        for key, value in net.state_dict().items():
            if key.endswith("cls_score.bias"):
                value[0] += 6
            elif "classification_head" in key and key.endswith("bias") and value.numel() % 91 == 0:
                value.view(-1, 91)[:, 0] += 10
    return net


def waves(side):
    """The picture of `opticus bench infer --model`."""
    import torch

    y, x = torch.meshgrid(torch.arange(side) / 40, torch.arange(side * 4 // 3) / 40, indexing="ij")
    wave = lambda c: 127.5 + 127.5 * torch.sin(x * (1 + 0.1 * c) + c) * torch.cos(y * 1.3 - c)
    return torch.stack([wave(c).to(torch.uint8) for c in range(3)])


def torch_step(verb, name, batch, side):
    """One step of the work, as a function."""
    import torch
    from torch.nn import functional as F

    if name in DETECTORS:
        net, picture = detector(name), waves(side)
        # As opticus, from a decoded picture of bytes.
        return torch.inference_mode()(lambda: net([picture / 255]))

    if name == "dcgan":
        generator, discriminator = dcgan(side)
        if verb == "infer":
            z = torch.randn(batch, 100)
            generator.eval()
            return torch.inference_mode()(lambda: generator(z))
        real = torch.rand(batch, 3, side, side) * 2 - 1
        adam = lambda m: torch.optim.Adam(m.parameters(), lr=1e-6, betas=(0.5, 0.999))
        of_g, of_d = adam(generator), adam(discriminator)
        loss = lambda logits, target: F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))

        def step():
            discriminator.zero_grad()
            loss(discriminator(real), 1.0).backward()
            fake = generator(torch.randn(batch, 100))
            loss(discriminator(fake.detach()), 0.0).backward()
            of_d.step()
            # As opticus: the discriminator's own gradients are not needed here (the example computes them).
            discriminator.requires_grad_(False)
            generator.zero_grad()
            fooled = loss(discriminator(fake), 1.0)
            fooled.backward()
            of_g.step()
            discriminator.requires_grad_(True)
            return fooled.item()

        return step
    net = torch_net(name, side)
    x = torch.rand(batch, 3, side, side) * 2 - 1
    if verb == "infer":
        net.eval()
        return torch.inference_mode()(lambda: net(x).numpy())
    labels = torch.arange(batch) % 10
    adam = torch.optim.Adam(net.parameters(), lr=1e-6)

    def step():
        adam.zero_grad()
        loss = F.cross_entropy(net(x), labels)
        loss.backward()
        adam.step()
        return loss.item()

    return step


def onnx_step(model, batch, side, threads):
    import numpy as np
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    x = np.random.default_rng(0).random((batch, 3, side, side), dtype=np.float32)
    name = session.get_inputs()[0].name
    return lambda: session.run(None, {name: x})


def export(name, batch, side, file):
    """PyTorch's own export, so that ONNX Runtime runs the very network. The old exporter needs no further package."""
    import torch

    if name in DETECTORS:
        torch.save(detector(name).state_dict(), file)
        return
    net = torch_net(name, side).eval()
    options = {"opset_version": 17, "dynamo": False}
    torch.onnx.export(net, torch.rand(batch, 3, side, side), file, **options)


def measure(step):
    start, done = time.perf_counter(), 0
    while done < WARM or time.perf_counter() - start < 0.5:
        step()
        done += 1
    times, start = [], time.perf_counter()
    while len(times) < LEAST or time.perf_counter() - start < SECONDS:
        before = time.perf_counter()
        step()
        times.append((time.perf_counter() - before) * 1e3)
    return statistics.median(times)


def child(side_name, verb, name, batch, side, threads, model):
    """The process of one side: prints its median."""
    if side_name == "export":
        export(name, batch, side, model)
        median = 0.0
    elif side_name == "ONNX Runtime":
        median = measure(onnx_step(model, batch, side, threads))
    else:
        import torch

        torch.set_num_threads(threads)
        torch.manual_seed(0)
        median = measure(torch_step(verb, name, batch, side))
    print(json.dumps({"median_ms": median}))


# --- in turns ---------------------------------------------------------------------------------------------------


def allocators():
    """Name → what it adds to the environment."""
    # As it comes, glibc gives large memory back at once, and the next step pays for each page anew.
    keep = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**36), "MALLOC_TOP_PAD_": str(2**28)}
    found = {"glibc": {}, "glibc that keeps its memory": keep}
    for name in ("jemalloc", "tcmalloc_minimal", "tcmalloc"):
        library = ctypes.util.find_library(name)
        if library:
            found[name] = {"LD_PRELOAD": library}
    return found


def run(command, environment):
    """Its JSON, and the peak of its resident memory in MiB."""
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    out = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}: exit status {process.returncode}")
    scale = 2**20 if sys.platform == "darwin" else 2**10
    return json.loads(out)["median_ms"], usage.ru_maxrss / scale


def versions(opticus):
    # Not imported: the peak of a child's memory is no less than what its parent had when it began.
    ours = subprocess.run([opticus, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    cpu = platform.processor() or platform.machine()
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return f"{cpu}; {ours}, PyTorch {version('torch')}, ONNX Runtime {version('onnxruntime')}"


def sides_of(row, options, folder):
    """Name → (command, environment) of every side of a row."""
    _, verb, name, batch, side, _ = row
    threads = str(options.threads)
    environment = {**os.environ, "OMP_NUM_THREADS": threads}
    common = ["--batch-size", str(batch), "--image-size", str(side), "--threads", threads, "--json"]
    sides = {"Opticus": ([options.opticus, "bench", verb, "--net", name, *common], environment)}
    model = str(pathlib.Path(folder) / f"{name}-{batch}-{side}.{'pth' if name in DETECTORS else 'onnx'}")
    itself = lambda who: [sys.executable, __file__, "--child", who, verb, name, str(batch), str(side), threads, model]
    for allocator, settings in allocators().items():
        sides[f"PyTorch ({allocator})"] = (itself("PyTorch"), {**environment, **settings})
    if name in DETECTORS:
        run(itself("export"), environment)
        ours = model.replace(".pth", ".safetensors")
        convert = [options.opticus, "model", "import", model, "--net", name, "--out", ours]
        subprocess.run(convert, check=True, stdout=subprocess.DEVNULL)
        sides["Opticus"][0][3:5] = ["--model", ours]
    elif verb == "infer":
        run(itself("export"), environment)
        sides["ONNX Runtime"] = (itself("ONNX Runtime"), environment)
    return sides


def compare(row, options, folder):
    sides = sides_of(row, options, folder)
    results = {name: [] for name in sides}
    for number in range(options.rounds):
        for name, (command, environment) in sides.items():
            results[name].append(run(command, environment))
            print(f"  round {number + 1}: {name}: {results[name][-1][0]:.2f} ms", file=sys.stderr)
    return {name: [statistics.median(column) for column in zip(*pairs)] for name, pairs in results.items()}


def table_row(row, results):
    torch_name = min((n for n in results if n.startswith("PyTorch")), key=lambda n: results[n][0])
    ours, torch_side, onnx = results["Opticus"], results[torch_name], results.get("ONNX Runtime")
    rival = onnx if row[5] == "ONNX Runtime" else torch_side
    cells = [
        row[0],
        f"{ours[0]:.1f}",
        f"{torch_side[0]:.1f}",
        f"{onnx[0]:.1f}" if onnx else "",
        f"**{ours[0] / rival[0]:.2f}** × {row[5]}",
        f"{ours[1]:.0f}",
        f"{torch_side[1]:.0f}",
        f"{onnx[1]:.0f}" if onnx else "",
        f"{ours[1] / torch_side[1]:.2f}",
    ]
    return "| " + " | ".join(cells) + " |", torch_name


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--opticus", default=str(ROOT / "target" / "release" / "opticus"), help="the binary")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of every side; default: all cores")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", metavar="TEXT", help="rows whose name contains it")
    options = parser.parse_args()
    rows = [row for row in ROWS if options.only in row[0]]
    if not rows:
        parser.error(f"--only {options.only}: no such row; there are: " + "; ".join(row[0] for row in ROWS))
    print(f"{versions(options.opticus)}; {options.threads} threads, {options.rounds} rounds\n")
    names = ["work", "Opticus ms", "PyTorch ms", "ONNX Runtime ms", "time ratio"]
    names += ["Opticus MiB", "PyTorch MiB", "ONNX Runtime MiB", "memory, of PyTorch's"]
    print("| " + " | ".join(names) + " |")
    print("|---|" + "---:|" * (len(names) - 1), flush=True)
    fastest = set()
    with tempfile.TemporaryDirectory() as folder:
        for row in rows:
            print(row[0], file=sys.stderr)
            text, name = table_row(row, compare(row, options, folder))
            fastest.add(name)
            print(text, flush=True)
    print(f"\nPyTorch's fastest allocator of {', '.join(allocators())}: {', '.join(sorted(fastest))}; Opticus: mimalloc.")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        who, verb, name, batch, side, threads, model = sys.argv[2:]
        child(who, verb, name, int(batch), int(side), int(threads), model)
    else:
        main()
