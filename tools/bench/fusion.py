#!/usr/bin/env python3
"""Times `opticus bench fuse` against OpenCV, and `opticus fuse` against Enfuse and Enblend, in turns, and prints the ratios.

    cargo build --release
    python tools/bench/fusion.py [--threads N] [--rounds N] [--size 1200] [--opticus target/release/opticus]

Against OpenCV both begin with decoded 8-bit pictures and end with an 8-bit one; figures are of each process's median.
Enfuse and Enblend are commands, so whole commands are timed, from files to a file. One round is one process of each side
after another; times and peaks of resident memory are medians over the rounds, ratios medians of the rounds' ratios with
their range. `march` has cv2.inpaint's Telea beside it, `inpaint`, the default method, its Navier-Stokes.

Needs Python 3.10, numpy and opencv-python-headless (written for 5.0.0); Enfuse and Enblend are left out where absent.
"""
import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
WORKS = ["alpha", "exposure", "clone", "multiband", "march", "inpaint"]
COMMANDS = ["exposure", "focus", "multiband"]


def pictures(size, count):
    import numpy as np

    y, x = np.mgrid[0:size, 0 : size * 4 // 3] / 40
    base = np.stack([127.5 + 127.5 * np.sin(x * (1 + 0.1 * c) + c) * np.cos(y * 1.3 - c) for c in range(3)], 2)
    base = base.astype(np.uint8)
    return [np.minimum(base * (0.5 + i / (count - 1)), 255).astype(np.uint8) for i in range(count)]


def opencv(work, size, count):
    import cv2
    import numpy as np

    stack = pictures(size, count)
    h, w = stack[0].shape[:2]
    if work == "alpha":
        return lambda: cv2.addWeighted(stack[0], 0.3, stack[1], 0.7, 0)
    if work == "exposure":
        merge = cv2.createMergeMertens()
        return lambda: np.clip(merge.process(stack) * 255, 0, 255).astype(np.uint8)
    if work == "clone":
        v, u = np.mgrid[0:h, 0:w]
        mask = (np.hypot(u / w - 0.5, v / h - 0.5) < 0.25).astype(np.uint8) * 255
        ys, xs = np.nonzero(mask)
        centre = (int((xs.min() + xs.max() + 1) // 2), int((ys.min() + ys.max() + 1) // 2))
        return lambda: cv2.seamlessClone(stack[0], stack[1], mask, centre, cv2.NORMAL_CLONE)
    if work in ("march", "inpaint"):
        v, u = np.mgrid[0:h, 0:w]
        scratches = ((3 * u + 5 * v) % 360 < 18).astype(np.uint8) * 255
        method = cv2.INPAINT_TELEA if work == "march" else cv2.INPAINT_NS
        return lambda: cv2.inpaint(stack[0], scratches, 5, method)

    def blend():
        blender = cv2.detail.MultiBandBlender()
        blender.setNumBands(6)
        blender.prepare((0, 0, w, h))
        for i, picture in enumerate(stack[:2]):
            mask = np.zeros((h, w), np.uint8)
            mask[:, : w // 2] = 255 * (1 - i)
            mask[:, w // 2 :] = 255 * i
            blender.feed(picture.astype(np.int16), mask, (0, 0))
        return blender.blend(None, None)

    return blend


def measure(step):
    start, done = time.perf_counter(), 0
    while done < 2 or time.perf_counter() - start < 0.5:
        step()
        done += 1
    times, start = [], time.perf_counter()
    while len(times) < 5 or time.perf_counter() - start < 3:
        before = time.perf_counter()
        step()
        times.append((time.perf_counter() - before) * 1e3)
    return statistics.median(times)


def run(command, threads):
    """Wall time in ms, peak resident memory in MiB, and what was printed."""
    start = time.perf_counter()
    environment = {**os.environ, "OMP_NUM_THREADS": threads}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    out, err = process.stdout.read(), process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: exit status {process.returncode}\n{err}")
    return (time.perf_counter() - start) * 1e3, usage.ru_maxrss / 1024, out


def row(name, rounds, ours, theirs, threads, figure):
    """One line of a table; `figure` is what is compared of a run."""
    times, peaks = {0: [], 1: []}, {0: [], 1: []}
    for _ in range(rounds):
        for side, command in enumerate((ours, theirs)):
            result = run(command, threads)
            times[side].append(figure(result))
            peaks[side].append(result[1])
    ratios = [a / b for a, b in zip(times[0], times[1])]
    a, b, m, n = (statistics.median(v) for v in (times[0], times[1], peaks[0], peaks[1]))
    spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
    print(f"| {name} | {a:.1f} | {b:.1f} | **{statistics.median(ratios):.2f}** | {spread} | {m:.0f} | {n:.0f} |", flush=True)


def head(other):
    print(f"\n| work | Opticus ms | {other} ms | ratio | rounds | Opticus MiB | {other} MiB |")
    print("|---|---:|---:|---:|---|---:|---:|", flush=True)


def commands(options, threads):
    """Enfuse and Enblend: PNG files to a PNG file, each program with its own defaults."""
    import cv2
    import numpy as np

    missing = [name for name in ("enfuse", "enblend") if not shutil.which(name)]
    if missing:
        print(f"\nEnfuse and Enblend are left out: {' and '.join(missing)} not found (Debian: enfuse, enblend)")
        return
    head("Enfuse")
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        stack = pictures(options.size, 3)
        width = stack[0].shape[1]
        for i, picture in enumerate(stack):
            cv2.imwrite(str(folder / f"{i}.png"), picture)
            seen = np.zeros(picture.shape[:2], np.uint8)
            seen[:, width * i * 2 // 5 : width * 3 // 5 + width * i * 2 // 5] = 255
            cv2.imwrite(str(folder / f"part{i}.png"), np.dstack([stack[1], seen]))
        three, two = ([str(folder / f"{n}{i}.png") for i in range(k)] for n, k in (("", 3), ("part", 2)))
        mine, other = str(folder / "ours.png"), str(folder / "theirs.png")
        sharpest = ["--exposure-weight=0", "--saturation-weight=0", "--contrast-weight=1", "--hard-mask"]
        theirs = {
            "exposure": ["enfuse", "-o", other, *three],
            "focus": ["enfuse", *sharpest, "-o", other, *three],
            "multiband": ["enblend", "-o", other, *two],
        }
        for work in COMMANDS:
            inputs = two if work == "multiband" else three
            ours = [options.opticus, "fuse", work, *inputs, "--out", mine, "--overwrite", "--threads", threads]
            name = f"`fuse {work}` / {theirs[work][0]}"
            row(name, options.rounds, ours, theirs[work], threads, lambda result: result[0])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--opticus", default=str(ROOT / "target" / "release" / "opticus"))
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, default=1200, help="height; the width is a third more")
    parser.add_argument("--works", default=",".join(WORKS), help="which to compare with OpenCV, with commas")
    parser.add_argument("--no-commands", action="store_true", help="leave Enfuse and Enblend out")
    options = parser.parse_args()
    size, threads = str(options.size), str(options.threads)
    print(f"{options.threads} threads, pictures of {options.size * 4 // 3}x{options.size}, {options.rounds} rounds")
    works = [work for work in options.works.split(",") if work]
    if works:
        head("OpenCV")
    for work in works:
        ours = [options.opticus, "bench", "fuse", "--work", work, "--image-size", size, "--threads", threads, "--json"]
        if work == "inpaint":
            ours += ["--iterations", "1"]
        theirs = [sys.executable, __file__, "--child", work, size, threads]
        row(work, options.rounds, ours, theirs, threads, lambda result: json.loads(result[2])["median_ms"])
    if not options.no_commands:
        commands(options, threads)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        import cv2

        work, size, threads = sys.argv[2:]
        cv2.setNumThreads(int(threads))
        print(json.dumps({"median_ms": measure(opencv(work, int(size), 3))}))
    else:
        main()
