"""Files that the other program itself wrote, with the outputs and moments that it gave.

They are not part of this repository. The small ones run where they are found beside it; all of them
with FS_ALL_LEGACY=1, which takes minutes and some GB of disk.
"""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
from fs_addon_import.importing import import_model
from fs_kernel import networks
from fs_kernel.networks import swapper_network
from fs_kernel.plugins import load_role
from fs_kernel.storage.checkpoints import Checkpoints
from fs_kernel.trained_model import TrainedModel

LEGACY = Path(__file__).parents[4] / "shared" / "data" / "legacy"
FOUND = sorted(str(p.relative_to(LEGACY))[:-7] for p in LEGACY.glob("*/*.tar.xz"))
EVERY_RUN = [
    name for name in FOUND if name.endswith(("head/phaze_a_split", "v3.0.0/phaze_a_split"))
]
#: The golden outputs come from a machine without AVX-512. With it oneDNN adds up in another order,
#: which moves outputs by up to 1.8e-6, about as far as the golden ones are from those in float64.
#: With ONEDNN_MAX_CPU_ISA=AVX2 in the environment all of them agree exactly.
TOLERANCE = 0.0 if os.environ.get("ONEDNN_MAX_CPU_ISA") == "AVX2" else 2e-6
CHOSEN = FOUND if os.environ.get("FS_ALL_LEGACY") else EVERY_RUN

pytestmark = pytest.mark.skipif(not FOUND, reason="the genuine files are not here")


def digests(folder: Path) -> dict[str, tuple[str, int]]:
    return {
        path.name: (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in folder.iterdir()
    }


def outputs(network, inputs) -> list[np.ndarray]:
    import torch

    tensors = [torch.from_numpy(array) for array in inputs]
    with torch.no_grad():
        found = network.model(tensors if len(tensors) > 1 else tensors[0], training=False)
    found = found if isinstance(found, list | tuple) else [found]
    return [tensor.float().numpy() for tensor in found]


def largest(found: list[np.ndarray], golden, prefix: str) -> float:
    wanted = [golden[f"{prefix}_{i}"] for i in range(len(found))]
    assert f"{prefix}_{len(found)}" not in golden
    return max(float(np.abs(a - b).max()) for a, b in zip(found, wanted, strict=True))


@pytest.mark.parametrize("name", CHOSEN)
def test_a_genuine_model_answers_as_it_did(name: str, tmp_path: Path, record_property) -> None:
    with tarfile.open(LEGACY / f"{name}.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    (fixture,) = tmp_path.iterdir()
    old, new = fixture / "model", tmp_path / "new"
    meta = json.loads((fixture / "meta.json").read_text())
    golden = np.load(fixture / "golden.npz")
    before = digests(old)

    made = import_model(old, new)

    assert digests(old) == before
    assert made.parameters == meta["params"]
    assert made.iterations == meta["iterations"]
    trained = TrainedModel(new)
    network = trained.network
    tolerance = 2e-5 if (old / f"{made.model}.h5").exists() else TOLERANCE
    mixed = meta["options"].get("global", {}).get("mixed_precision", False)
    if mixed:
        # The file's own program computed these in half precision.
        networks.apply_precision(network, "fp16", "cuda")
    inputs = golden["in_a"], golden["in_b"]
    differences = {"full": largest(outputs(network, inputs), golden, "train")}
    swaps, prefix = golden, "infer"
    if "infer_ab_0" not in golden:
        swaps, prefix = np.load(fixture / "golden_swap.npz"), "swap"
    for source, target, picture in (("a", "b", inputs[0]), ("b", "a", inputs[1])):
        swap = swapper_network(load_role("models", made.model), network, source, target)
        key = f"{prefix}_{source}{target}"
        differences[f"{source}{target}"] = largest(outputs(swap, [picture]), swaps, key)
    moments = compare_moments(fixture, new, made)
    print(name, differences, made.optimizer, made.optimizer_step, moments, made.notes)
    assert max(differences.values()) <= tolerance


def compare_moments(fixture: Path, new: Path, made) -> str:
    """Hold every moment against what the other program says of it."""
    checkpoints = Checkpoints(new)
    tree = checkpoints.read_training(made.generation).get("trainer")
    facts = None
    for file in ("optimizer.json", "optimizer_head_migrate.json"):
        if (fixture / file).exists():
            facts = json.loads((fixture / file).read_text())
    if tree is None or facts is None:
        return "no facts" if facts is None else "no moments"
    variables = json.loads((fixture / "variables.json").read_text())["trainable"]
    ordered = [v for v in variables if v["group"] == "decay"]
    ordered += [v for v in variables if v["group"] != "decay"]
    weights = tree["optimizer"]["weights"]
    names = {_short(name): name for name in weights}
    assert len(names) == len(weights) == len(facts["state"])
    for place, entry in facts["state"].items():
        values = weights[names[ordered[int(place)]["path"]]]["values"]
        for slot, fact in entry.items():
            found = values[slot]
            if not isinstance(fact, dict):
                assert float(found) == float(fact)
                continue
            if fact.get("shape") == [] or "norm" not in fact:
                continue
            array = found.numpy()
            assert list(array.shape) == fact["shape"]
            assert array.reshape(-1)[:4].tolist() == pytest.approx(fact["first"], rel=0, abs=0)
            norm = float(np.linalg.norm(array.astype(np.float64)))
            assert norm == pytest.approx(fact["norm"], rel=1e-6)
    return f"{len(names)} weights exact"


def _short(name: str) -> str:
    return "/".join(name.split("/")[-2:])
