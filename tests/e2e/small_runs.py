"""Runs of the built-in parts on small widths, and what the tests ask of them."""

from __future__ import annotations

import hashlib
import json
import warnings
from pathlib import Path

import fs_kernel

SMALL = str(Path(__file__).parents[1] / "data" / "small_net.py")
OPTIONS = {
    "training.batch_size": 3,
    "training.seed": 7,
    "training.device": "cpu",
    "training.iterations": 8,
    "loader.workers": 2,
}


def open_small(model, people, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return fs_kernel.open_run(
            model,
            SMALL,
            a=people / "A",
            b=people / "B",
            addons=[],
            set=OPTIONS | options,
        )


def losses(run):
    with run:
        return [(m.step, m.losses["a"], m.losses["b"]) for m in run]


def checksums(folder):
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def weights(model):
    from safetensors.numpy import load_file

    (current,) = {json.loads((model / "checkpoint.json").read_text())["generation"]}
    return load_file(model / "checkpoints" / current / "weights.safetensors")
