#!/usr/bin/env python3
"""Makes tests/golden/weights/: small PyTorch files of every layout that `nets::import` reads, and one it must not.

Every good file holds the same numbers, tensor `t` of shape [2, 3] with t[i, j] = 3 i + j - 2, so that the tests
need no list of expected values. Names tell what is special about a file.

    python tools/reference/weights.py

Made with Python 3.11, torch 2.15.0, safetensors 0.8.0.
"""
import pathlib
import zipfile
from collections import OrderedDict

import torch
from safetensors.torch import save_file

OUT = pathlib.Path(__file__).resolve().parent.parent.parent / "tests" / "golden" / "weights"
T = torch.arange(6, dtype=torch.float32).reshape(2, 3) - 2


class Program:
    """Pickles to a call of os.system: what a reader must refuse."""

    def __reduce__(self):
        import os

        return os.system, ("echo run",)


def main():
    OUT.mkdir(parents=True, exist_ok=True)

    def both(name, state, **options):
        torch.save(state, OUT / f"{name}.zip.pt", **options)
        torch.save(state, OUT / f"{name}.legacy.pth", _use_new_zipfile_serialization=False, **options)

    both("plain", OrderedDict(t=T))
    for kind in ("half", "bfloat16", "double", "long", "int", "short", "char"):
        both(kind, {"t": getattr(T, kind)()})
    both("byte", {"t": (T + 2).byte(), "shift": torch.tensor([-2])})
    both("transposed", {"t": T.t().contiguous().t()})
    flat = torch.arange(20, dtype=torch.float32) - 7
    both("windows", {"t": flat[5:11].reshape(2, 3), "u": flat[::3]})
    both("parameter", {"t": torch.nn.Parameter(T), "scalar": torch.tensor(4.0), "empty": torch.zeros(0, 3)})
    both("wrapped", {"epoch": 3, "best": 0.5, "state_dict": OrderedDict({"module.t": T}), "optimizer": {"lr": 0.1, "momentum": [torch.ones(4)]}})
    both("program", {"t": T, "extra": Program()})
    both("protocol4", OrderedDict(t=T), pickle_protocol=4)
    save_file({"t": T, "n": T.to(torch.bfloat16)}, OUT / "plain.safetensors")
    with zipfile.ZipFile(OUT / "plain.zip.pt") as source, zipfile.ZipFile(OUT / "deflated.zip.pt", "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            target.writestr(zipfile.ZipInfo(name), source.read(name), zipfile.ZIP_DEFLATED)
    print(sum(path.stat().st_size for path in OUT.iterdir()), "bytes")


if __name__ == "__main__":
    main()
