"""Coverage-guided fuzzing of what reads files of strangers (needs the package ``atheris``).

``python tests/torture/guided.py header -runs=50000``; the first word is one of `TARGETS`, the rest
goes to libFuzzer. Ends with an error at the first input that gives anything but a value or an error
of ours; put such an input into `test_fuzz.py` as an example.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
from pathlib import Path

os.environ["KERAS_BACKEND"] = "torch"
sys.path.insert(0, str(Path(__file__).parent))

import atheris

INSTRUMENTED = ["fs_kernel", "fs_graph", "fs_faces", "fs_feed_faces", "tomllib", "ast"]
with atheris.instrument_imports(include=INSTRUMENTED):
    import fs_graph
    from fs_faces.header import HeaderError, parse_header, read_header
    from fs_faces.png import PngError
    from fs_graph import GraphError
    from fs_kernel.errors import FsError
    from fs_kernel.options import FileSource, read_toml, resolve
    from fs_kernel.options.defaults import KERNEL_SECTIONS
    from fs_kernel.storage import tensors, tree
    from fs_kernel.storage.checkpoints import Checkpoints
    from fs_kernel.storage.model_state import ModelState

from test_fuzz import HEADER, MANIFEST, PNG, STATE, TOML, WEIGHTS  # noqa: E402

FOLDER = Path(tempfile.mkdtemp())
OURS = (FsError, GraphError, HeaderError, PngError)


def header(data: bytes) -> None:
    for mask in parse_header(data).masks.values():
        mask.image()


def config(data: bytes) -> None:
    (FOLDER / "x.toml").write_bytes(data)
    resolve(KERNEL_SECTIONS, [FileSource("x", read_toml(FOLDER / "x.toml"))])


def state(data: bytes) -> None:
    with contextlib.suppress(ValueError, RecursionError):
        ModelState.from_json(json.loads(data), "x")


def manifest(data: bytes) -> None:
    generation = FOLDER / "model/checkpoints/000000001"
    generation.mkdir(parents=True, exist_ok=True)
    (generation / "manifest.json").write_bytes(data)
    (FOLDER / "model/checkpoint.json").write_bytes(data)
    Checkpoints(FOLDER / "model").checkpoints()
    Checkpoints(FOLDER / "model").latest_valid(lambda line: None)


def weights(data: bytes) -> None:
    (FOLDER / "x.safetensors").write_bytes(data)
    tensors.load(FOLDER / "x.safetensors")


def skeleton(data: bytes) -> None:
    with contextlib.suppress(ValueError, RecursionError):
        tree.unpack(json.loads(data), {}, "x")


def network(data: bytes) -> None:
    fs_graph.inspect(fs_graph.parse(data), {})


SKELETON = b'{"a": [{"$tensor": "/x"}, {"$float": "nan"}, 1.5, null]}'
GRAPH = b"""{"format": 1, "sides": ["a"], "outputs": [], "model": {"class_name": "Dense",
 "module": "keras.layers", "registered_name": null, "config": {"units": 3}}, "extra": {}}"""
TARGETS = {
    "png": (read_header, PNG),
    "header": (header, HEADER),
    "config": (config, TOML),
    "state": (state, json.dumps(STATE.to_json()).encode()),
    "manifest": (manifest, json.dumps(MANIFEST).encode()),
    "weights": (weights, WEIGHTS),
    "skeleton": (skeleton, SKELETON),
    "network": (network, GRAPH),
}


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.exit(f"name one of {', '.join(TARGETS)}")
    target, seed = TARGETS[sys.argv.pop(1)]
    (FOLDER / "seeds").mkdir()
    (FOLDER / "seeds/whole").write_bytes(seed)

    def once(data: bytes) -> None:
        with contextlib.suppress(*OURS):
            target(data)

    atheris.Setup([*sys.argv, "-max_len=20000", str(FOLDER / "seeds")], once)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
