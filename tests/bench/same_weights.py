"""Train small configurations for 50 steps and print digests of every weight and state.

Two versions of the project train alike if their digests are equal: run this file with the Python
of each, and give the second run the first one's JSON::

    before/.venv/bin/python tests/bench/same_weights.py --output before.json
    after/.venv/bin/python tests/bench/same_weights.py --against before.json

Each configuration is one ``fs run`` in a process of its own, on the CPU with one thread, with
seed 1, over synthetic faces that are drawn first. Names that have changed are in `RENAMED`: the new
one is tried first, then the old one. Exits with 1 if a run fails or a digest differs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

STEPS = 50
#: Fewer where the network is a large one.
FEWER = {"built_in_model": 2}
FACES, SIZE = 40, 96
BATCH = 4
#: What newer versions call options and plugins: old name (of an option or its value) -> new name.
RENAMED = {
    "trainer.original.sampler": "trainer.standard.sampler",
    "training.trainer=original": "training.trainer=standard",
    "training.executor=fast": "training.executor=torch",
    "loader.num_processes": "loader.workers",
}
KIT = "fs_kernel.testing:"
#: Of each configuration the model, and what ``--set`` says.
CONFIGURATIONS: dict[str, tuple[str, list[str]]] = {
    "defaults": ("small", []),
    "built_in_model": ("lightweight", []),
    "named_parts": (
        "small",
        ["training.trainer=original", "training.executor=fast", "loader.num_processes=2"],
    ),
    "bf16": ("small", ["training.precision=bf16"]),
    "average_accumulation_autoclip": (
        "noisy",
        [
            "optimizer.ema_decay=0.95",
            "optimizer.gradient_accumulation=3",
            "optimizer.gradient_clipping=autoclip",
            "optimizer.clipping_value=2.0",
            "optimizer.warmup_steps=5",
        ],
    ),
    "sampler_loss": ("small", ["trainer.original.sampler=loss"]),
    "sampler_yaw": ("small", ["trainer.original.sampler=yaw"]),
    "warp_to_landmarks": ("small", ["augmentation.warp_to_landmarks=true"]),
    "learn_mask": (
        "small",
        [
            "network.learn_mask=true",
            "loss.mask_loss_function=mae",
            "loss.loss_function_3=ffl",
            "loss.loss_weight_3=50",
            "face.mask_type=bisenet-fp_face",
        ],
    ),
    "phases_and_found_rate": (
        "noisy",
        [
            'training.addons=["console", "guard", "lr_finder", "phases"]',
            "addon.lr_finder.iterations=100",
            'addon.phases.phases=["10: augmentation.warp=false", "30: loss.mouth_multiplier=6"]',
            "save.interval=20it",
        ],
    ),
    "adabelief": ("small", ["optimizer.optimizer=adabelief", "optimizer.weight_decay=0.01"]),
    "keras_executor": ("noisy", ["training.executor=keras", "training.metrics_interval=7it"]),
    "kit": (
        f"{KIT}TinyModel",
        [
            f"training.trainer={KIT}PlainTrainer",
            f"training.feed={KIT}ArrayFeed",
            f"training.executor={KIT}PlainExecutor",
        ],
    ),
}
#: Plugin files of the version under test, below its ``tests/data``.
FILES = {"small": "small_net.py", "noisy": "older_net.py"}
#: A copy for versions that lack the file; it needs nothing but Keras and public names.
NOISY = Path(__file__).resolve().parents[1] / "data" / "older_net.py"


def draw_faces(folder: Path) -> None:
    """Draw two synthetic people into ``folder/A`` and ``folder/B`` with ``fs faces demo``."""
    wanted = ["faces", "demo", str(folder), f"--count={FACES}", f"--size={SIZE}", "--seed=1"]
    done = _fs(wanted)
    if done.returncode:
        sys.exit(f"error: faces could not be drawn:\n{done.stderr}")


def train(name: str, faces: Path, folder: Path) -> dict[str, Any]:
    """Train one configuration.

    Args:
        name: of `CONFIGURATIONS`.
        faces: from `draw_faces`.
        folder: an empty one for the model; the cache of faces is made beside it.

    Returns:
        The contents of its last checkpoint, see `contents`, or ``{"error": text}``.
    """
    model, options = CONFIGURATIONS[name]
    own = [
        "training.device=cpu",
        "feed.faces.cache_dir=" + json.dumps(str(folder.parent / "cache")),
    ]
    wanted = ["run", "-A", str(faces / "A"), "-B", str(faces / "B"), "-t", _model(model)]
    wanted += ["-b", str(BATCH), "-i", str(FEWER.get(name, STEPS)), "--seed", "1"]
    errors = []
    for spelled in dict.fromkeys([tuple(map(renamed, options)), tuple(options)]):
        target = folder / f"model{len(errors)}"
        # The kit's feed has no section for the cache of faces.
        settings = [*spelled, *(own[:1] if model.startswith(KIT) else own)]
        done = _fs([*wanted, "-m", str(target), *(f"--set={each}" for each in settings)])
        if done.returncode == 0:
            return contents(target)
        errors.append(done.stderr.strip()[-2000:])
    return {"error": "\n".join(errors)}


def renamed(assignment: str) -> str:
    """Return ``section.option=value`` as newer versions spell it."""
    if assignment in RENAMED:
        return RENAMED[assignment]
    option, _, value = assignment.partition("=")
    return f"{RENAMED.get(option, option)}={value}"


def contents(model: Path) -> dict[str, Any]:
    """Return the digests of a model folder's current checkpoint.

    Returns:
        ``step``; ``weights`` and ``training``: SHA-256 of the bytes of each tensor by its name;
        ``skeleton``: SHA-256 of the JSON of each part of the training state; ``losses``: of each
        step that was read, from ``logs/events.jsonl``.
    """
    name = json.loads((model / "checkpoint.json").read_text())["generation"]
    folder = model / "checkpoints" / name
    skeleton = json.loads((folder / "training.json").read_text())
    events = map(json.loads, (model / "logs" / "events.jsonl").read_text().splitlines())
    return {
        "step": json.loads((folder / "manifest.json").read_text())["step"],
        "weights": digests(folder / "weights.safetensors"),
        "training": digests(folder / "training.safetensors"),
        "skeleton": {
            part: hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()
            for part, tree in skeleton.items()
        },
        "losses": {e["step"]: e["losses"] for e in events if e["event"] == "metrics"},
    }


def digests(path: Path) -> dict[str, str]:
    """Return the SHA-256 of dtype, shape and bytes of each tensor of a safetensors file.

    The file is read by its format, so that this process needs no torch: a length, a JSON header,
    the bytes of all tensors.
    """
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    found = {}
    for name, facts in sorted(json.loads(data[8:start]).items()):
        if name != "__metadata__":
            first, last = facts["data_offsets"]
            head = f"{facts['dtype']} {facts['shape']} ".encode()
            whole = head + data[start + first : start + last]
            found[name] = hashlib.sha256(whole).hexdigest()
    return found


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Return a line for each digest that is missing, new or another; none for equal results."""
    lines = []
    for name in sorted(before.keys() | after.keys()):
        one, other = before.get(name), after.get(name)
        if one is None or other is None:
            lines.append(f"{name}: only {'after' if one is None else 'before'}")
            continue
        for part in ("error", "step", "weights", "training", "skeleton", "losses"):
            lines += [f"{name}: {line}" for line in _differ(part, one.get(part), other.get(part))]
    return lines


def _differ(part: str, one: Any, other: Any) -> list[str]:
    if not (isinstance(one, dict) and isinstance(other, dict)):
        return [] if one == other else [f"{part}: {one} -> {other}"]
    one, other = ({str(key): value for key, value in each.items()} for each in (one, other))
    missing = sorted(one.keys() - other.keys())
    new = sorted(other.keys() - one.keys())
    changed = [key for key in one if key in other and one[key] != other[key]]
    found = {"missing": missing, "new": new, "changed": changed}
    return [
        f"{len(keys)} of {len(one)} {part} {what}, the first is {keys[0]}"
        for what, keys in found.items()
        if keys
    ]


def _model(name: str) -> str:
    if name not in FILES:
        return name
    import importlib.util

    spec = importlib.util.find_spec("fs_kernel")
    assert spec is not None
    assert spec.origin is not None
    path = Path(spec.origin).parents[2] / "tests" / "data" / FILES[name]
    return str(path if path.exists() else NOISY)


def _fs(command: list[str]) -> subprocess.CompletedProcess[str]:
    alone = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    given = os.environ | alone | {"KERAS_BACKEND": "torch", "CUDA_VISIBLE_DEVICES": ""}
    whole = [sys.executable, "-m", "fs_kernel", *command]
    return subprocess.run(whole, env=given, capture_output=True, text=True, check=False)


def main() -> int:
    """Read the command line; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help=f"configurations: {', '.join(CONFIGURATIONS)}")
    parser.add_argument("--output", type=Path, help="write the JSON here, not to stdout")
    parser.add_argument("--against", type=Path, help="JSON of another version to compare with")
    parser.add_argument("--faces", type=Path, help="keep the drawn faces here and use them again")
    given = parser.parse_args()
    names = given.names or list(CONFIGURATIONS)
    if unknown := [name for name in names if name not in CONFIGURATIONS]:
        parser.error(f"no configuration is called {unknown[0]}")
    found = {}
    with tempfile.TemporaryDirectory() as scratch:
        faces = given.faces or Path(scratch) / "faces"
        if not (faces / "A").exists():
            draw_faces(faces)
        for name in names:
            start = time.perf_counter()
            folder = Path(scratch) / name
            folder.mkdir()
            found[name] = train(name, faces, folder)
            state = found[name].get("error") or f"{time.perf_counter() - start:.1f} s"
            print(f"{name}: {state}", file=sys.stderr)
    text = json.dumps(found, indent=1)
    if given.output is not None:
        given.output.write_text(text + "\n")
    elif given.against is None:
        print(text)
    failed = any("error" in each for each in found.values())
    if given.against is not None:
        before = json.loads(given.against.read_text())
        lines = differences({name: before[name] for name in names if name in before}, found)
        count = sum(len(each.get("weights", ())) for each in found.values())
        print("\n".join(lines) or f"equal to the bit: {len(found)} runs, {count} weights")
        failed = failed or bool(lines)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
