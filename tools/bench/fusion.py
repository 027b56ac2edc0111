#!/usr/bin/env python3
"""Times `opticus bench fuse` against OpenCV on the same made pictures, in turns, and prints the ratios.

    cargo build --release
    python tools/bench/fusion.py [--threads N] [--rounds N] [--size 1200] [--opticus target/release/opticus]

Both begin with decoded 8-bit pictures and end with an 8-bit one. One round is one process of each side after another;
figures are medians over the rounds of each process's median, and of the peak of its resident memory.

Needs Python 3.10, numpy and opencv-python-headless (written for 5.0.0).
"""
import argparse
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
WORKS = ["alpha", "exposure", "clone", "multiband"]


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


def run(command):
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    out = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: exit status {process.returncode}")
    return json.loads(out)["median_ms"], usage.ru_maxrss / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--opticus", default=str(ROOT / "target" / "release" / "opticus"))
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=int, default=1200, help="height; the width is a third more")
    options = parser.parse_args()
    size, threads = str(options.size), str(options.threads)
    print(f"{options.threads} threads, pictures of {options.size * 4 // 3}x{options.size}, {options.rounds} rounds\n")
    print("| work | Opticus ms | OpenCV ms | ratio | Opticus MiB | OpenCV MiB |")
    print("|---|---:|---:|---:|---:|---:|", flush=True)
    for work in WORKS:
        sides = {
            "ours": [options.opticus, "bench", "fuse", "--work", work, "--image-size", size, "--threads", threads, "--json"],
            "theirs": [sys.executable, __file__, "--child", work, size, threads],
        }
        results = {name: [] for name in sides}
        for _ in range(options.rounds):
            for name, command in sides.items():
                results[name].append(run(command))
        median = {name: [statistics.median(c) for c in zip(*r)] for name, r in results.items()}
        (a, m), (b, n) = median["ours"], median["theirs"]
        print(f"| {work} | {a:.1f} | {b:.1f} | **{a / b:.2f}** | {m:.0f} | {n:.0f} |", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        import cv2

        work, size, threads = sys.argv[2:]
        cv2.setNumThreads(int(threads))
        print(json.dumps({"median_ms": measure(opencv(work, int(size), 3))}))
    else:
        main()
