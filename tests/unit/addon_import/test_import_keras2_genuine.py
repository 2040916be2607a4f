"""Keras-2 files that the other program itself wrote: graph, weights and moments as it had them.

They are not part of this repository. The small ones run where they are found beside it; all of them
with FS_ALL_LEGACY=1.
"""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from addon_import.keras2_files import build
from fs_addon_import.keras2 import read_keras2
from fs_kernel.networks import cut
from fs_kernel.types import Network, Output

LEGACY = Path(__file__).parents[4] / "shared" / "data" / "legacy"
FOUND = sorted(
    str(path.relative_to(LEGACY))[: -len(".tar.xz")]
    for version in ("v2.*", "k2last")
    for path in LEGACY.glob(f"{version}/*.tar.xz")
)
EVERY_RUN = [name for name in FOUND if name.endswith("phaze_a_split")]
CHOSEN = FOUND if os.environ.get("FS_ALL_LEGACY") else EVERY_RUN
TOLERANCE = 2e-5

pytestmark = pytest.mark.skipif(not FOUND, reason="the genuine files are not here")


def largest(found: Any, golden: Mapping[str, np.ndarray], prefix: str) -> float:
    found = found if isinstance(found, list | tuple) else [found]
    assert f"{prefix}_{len(found)}" not in golden
    pairs = [(tensor.numpy(), golden[f"{prefix}_{i}"]) for i, tensor in enumerate(found)]
    return max(float(np.abs(one - other).max()) for one, other in pairs)


@pytest.mark.parametrize("name", CHOSEN)
def test_a_genuine_file_answers_as_it_did_and_keeps_its_moments(
    name: str, tmp_path: Path, record_property: Any
) -> None:
    with tarfile.open(LEGACY / f"{name}.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    (fixture,) = tmp_path.iterdir()
    (path,) = (fixture / "model").glob("*.h5")
    (state,) = (fixture / "model").glob("*_state.json")
    meta = json.loads((fixture / "meta.json").read_text())

    foreign, optimizer = read_keras2(path, json.loads(state.read_text()))

    assert sum(value.size for value in foreign.weights.values()) == meta["params"]
    shapes = meta["output_shapes"]
    outputs = [
        Output("ab"[2 * place // len(shapes)], {3: "face", 1: "mask"}[shape[-1]], shape[1])
        for place, shape in enumerate(shapes)
    ]
    network = Network(build(foreign), outputs, {}, ("a", "b"))
    golden = np.load(fixture / "golden.npz")
    a, b = torch.from_numpy(golden["in_a"]), torch.from_numpy(golden["in_b"])
    with torch.no_grad():
        differences = {
            "train": largest(network.model([a, b], training=False), golden, "train"),
            "ab": largest(cut(network, "a", "b").model(a, training=False), golden, "infer_ab"),
            "ba": largest(cut(network, "b", "a").model(b, training=False), golden, "infer_ba"),
        }
    record_property("differences", differences)
    print(name, differences)
    assert max(differences.values()) <= TOLERANCE

    if "optimizer_weights" not in meta["h5_keys"]:
        assert optimizer is None
        return
    facts = json.loads((fixture / "keras_optimizer.json").read_text())
    trained = json.loads((fixture / "variables.json").read_text())["trainable"]
    assert optimizer.step == meta["iterations"]
    assert optimizer.settings.items() <= facts["config"].items()
    by_path = {fact["path"]: fact for fact in facts["variables"]}
    with h5py.File(path, "r") as file:
        moments = file["optimizer_weights"]
        for weight, fact in zip(optimizer.slots.items(), trained, strict=True):
            ours, slots = weight
            variable = fact["path"].removesuffix(":0")
            # The same layer and weight, which is called kernel now.
            assert ours.endswith(variable.replace("depthwise_kernel", "kernel"))
            for slot, letter in (("exp_avg", "m"), ("exp_avg_sq", "v")):
                key = f"Adam/{variable}/{letter}:0"
                np.testing.assert_array_equal(slots[slot], moments[key][()])
                assert list(slots[slot].shape) == by_path[key]["shape"]
                norm = np.linalg.norm(slots[slot].astype("float64"))
                assert norm == pytest.approx(by_path[key]["norm"], rel=1e-6)
