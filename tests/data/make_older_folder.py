"""Makes ``tests/data/older_folder``: a model folder of ``fs-tiny 0.9``, three steps old.

It is committed, so that the tests open what an older release has saved, and is made anew only when
the format of model folders changes on purpose: ``python tests/data/make_older_folder.py``.
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path

os.environ["KERAS_BACKEND"] = "torch"
sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

from fake_packages import Site
from fs_kernel.testing import tiny_run

TARGET = Path(__file__).with_name("older_folder")

with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    sys.path.insert(0, name)
    kinds = {"models": "tiny:TinyModel", "trainers": "plain:PlainTrainer"}
    kinds |= {"feeds": "arrays:ArrayFeed", "executors": "plain:PlainExecutor"}
    entries = {
        kind: {text.partition(":")[0]: f"fs_kernel.testing:{text.partition(':')[2]}"}
        for kind, text in kinds.items()
    }
    Site(folder).install("fs-tiny", entries, version="0.9")
    options = {"model.tiny.width": 1, "training.iterations": 3}
    plugins = {"model": "tiny", "trainer": "plain", "feed": "arrays", "executor": "plain"}
    with tiny_run(folder, **plugins, set=options) as run:
        run.state.folders = {"a": "faces/a", "b": "faces/b"}
        run.train()
    shutil.rmtree(TARGET, ignore_errors=True)
    shutil.copytree(folder / "model" / "checkpoints", TARGET / "checkpoints")
    shutil.copy(folder / "model" / "checkpoint.json", TARGET)
