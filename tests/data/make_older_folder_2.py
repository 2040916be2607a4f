"""Make ``tests/data/older_folder_2``, or resume a copy of it and print what came out.

The folder holds a model that commit e55c076 trained for 20 steps with the built-in plugins: dropout
and batch normalization in the network, a running average, accumulation of 3 with the gradients of
two batches waiting, autoclip, the loss-driven sampler, one finished and one coming phase, an option
that was changed by hand after the finished phase, and a learning rate that ``lr_finder`` found.
It is committed and never made again: it proves that later releases open what that one wrote.

::

    older_folder_2/model         checkpoint.json and the checkpoint of step 20
    older_folder_2/faces/A, B    25 synthetic faces each, 64 pixels, with the face header
    older_folder_2/expected.json what 7 more steps gave with that commit, and on which machine

``python tests/data/make_older_folder_2.py resume MODEL_DIR`` trains a copy of the model on to step
27 and prints the JSON of `resume`, to be compared with ``expected.json``. It sets the environment
that makes a CPU give the same bits, so run it as a program of its own. ``make`` needs e55c076.
"""

from __future__ import annotations

import os

# The same instructions on every x86 processor, and one thread: sums in one order.
os.environ |= {
    "KERAS_BACKEND": "torch",
    "OMP_NUM_THREADS": "1",
    "ATEN_CPU_CAPABILITY": "default",
    "MKL_CBWR": "COMPATIBLE",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
}

import argparse
import hashlib
import importlib.metadata
import json
import platform
import shutil
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

TARGET = Path(__file__).with_name("older_folder_2")
PLUGIN = Path(__file__).with_name("older_net.py")
STEPS, MORE = 20, 7
OPTIONS = {
    "training.batch_size": 4,
    "training.iterations": STEPS,
    "training.seed": 11,
    "training.device": "cpu",
    "training.addons": ["guard", "lr_finder", "phases"],
    "save.keep": 1,
    "optimizer.ema_decay": 0.9,
    "optimizer.gradient_accumulation": 3,
    "optimizer.gradient_clipping": "autoclip",
    "optimizer.clipping_value": 2.0,
    "optimizer.warmup_steps": 4,
    "trainer.original.sampler": "loss",
    "loader.num_processes": 2,
    "feed.faces.cache": False,
    "addon.lr_finder.iterations": 100,
    "addon.phases.phases": ["6: loss.mouth_multiplier=4", "23: loss.eye_multiplier=9"],
}
#: Set by hand after the first phase; a session that forgets the phase is done would undo it.
BY_HAND = ("loss.mouth_multiplier", 7, 13)


def draw_faces(folder: Path) -> None:
    """Draw the faces, and leave the stored masks out of their headers."""
    import attrs
    from fs_feed_faces.people import draw_people
    from fs_feed_faces.png_header import format_header, read_header, write_header

    draw_people(folder, 25, 64, seed=5)
    for path in sorted(folder.glob("[AB]/*.png")):
        png = path.read_bytes()
        header = read_header(png)
        assert header is not None
        path.write_bytes(write_header(png, format_header(attrs.evolve(header, masks={}))))
    for side in ("A", "B"):
        shutil.rmtree(folder / f"{side}_true")


def make() -> None:
    """Write the folder and what resuming it gives. Needs commit e55c076."""
    from fs_kernel import open_run

    sys.path.insert(0, str(PLUGIN.parent))
    import older_net

    shutil.rmtree(TARGET, ignore_errors=True)
    draw_faces(TARGET / "faces")
    model = TARGET / "model"
    # The plugin is handed over as an object, so that no path of this machine is remembered.
    with open_run(
        model,
        older_net,
        a=TARGET / "faces" / "A",
        b=TARGET / "faces" / "B",
        trainer="original",
        feed="faces",
        executor="fast",
        addons=OPTIONS["training.addons"],
        set=OPTIONS,
    ) as run:
        run.state.folders = {"a": "faces/A", "b": "faces/B"}
        name, value, step = BY_HAND
        run.set_option(name, value, at_step=step)
        run.train()
    shutil.rmtree(model / "logs")
    (model / ".lock").unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        copy = shutil.copytree(model, Path(folder) / "model")
        expected = resume(copy)
    (TARGET / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


def resume(model: Path) -> dict[str, Any]:
    """Train a copy of the model for 7 more steps.

    Args:
        model: the copy, which is changed.

    Returns:
        ``machine``: versions and processor, without which bits need not be equal; ``losses``: of
        each step, per side; ``options``: those that the add-ons and hands have changed;
        ``weights`` and ``training``: per tensor the SHA-256 of its bytes, its dtype, shape, sum
        and norm; ``skeleton``: the SHA-256 of the JSON of each part of ``training.json``.
    """
    import cv2
    import torch
    from fs_kernel import open_run

    torch.set_num_threads(1)
    faces = TARGET / "faces"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run = open_run(
            model,
            PLUGIN,
            a=faces / "A",
            b=faces / "B",
            set={"training.iterations": STEPS + MORE},
        )
    losses = {}
    with run:
        for metrics in run:
            losses[metrics.step] = dict(metrics.losses)
        names = ("loss.mouth_multiplier", "loss.eye_multiplier", "optimizer.learning_rate")
        options = {name: run.get_option(name) for name in names}
    return {
        "machine": {
            "python": platform.python_version(),
            "processor": platform.machine(),
            "system": platform.system(),
            "opencv": cv2.__version__,
            "opencv_instructions": cv2.getCPUFeaturesLine(),
            **{name: importlib.metadata.version(name) for name in ("torch", "keras", "numpy")},
        },
        "losses": losses,
        "options": options,
        **contents(model),
    }


def contents(model: Path) -> dict[str, Any]:
    """Return digests of the newest checkpoint: ``weights``, ``training`` and ``skeleton``."""
    name = json.loads((model / "checkpoint.json").read_text())["generation"]
    folder = model / "checkpoints" / name
    skeleton = json.loads((folder / "training.json").read_text())
    return {
        "weights": _digests(folder / "weights.safetensors"),
        "training": _digests(folder / "training.safetensors"),
        "skeleton": {
            part: hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()
            for part, tree in skeleton.items()
        },
    }


def _digests(path: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return {name: _digest(tensor) for name, tensor in sorted(load_file(path).items())}


def _digest(tensor: Any) -> dict[str, Any]:
    import torch

    values = tensor.contiguous().reshape(-1)
    wide = values.to(torch.float64)
    return {
        "sha256": hashlib.sha256(values.view(torch.uint8).numpy().tobytes()).hexdigest(),
        "dtype": str(tensor.dtype),
        "shape": list(tensor.shape),
        "sum": float(wide.sum()),
        "norm": float(wide.norm()),
    }


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("make", help="write the folder; needs commit e55c076")
    resumed = commands.add_parser("resume", help="train a copy of the model on and print JSON")
    resumed.add_argument("model", type=Path)
    given = parser.parse_args()
    if given.command == "make":
        make()
    else:
        json.dump(resume(given.model), sys.stdout, indent=1)


if __name__ == "__main__":
    main()
