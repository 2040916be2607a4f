"""Broken and hostile input: an error of ours or a value, never anything else.

``FS_FUZZ`` is the number of cases of each test (``make fuzz`` sets it); the default is a short run.
Cases that were found once are kept as ``@example``. Each case may take ten seconds at most, and the
memory of the process is watched.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import shutil
import sys
from datetime import timedelta
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
sys.path.insert(0, str(Path(__file__).parents[1] / "unit/kernel"))
sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

from face_files import face_png, make_header, mean_landmarks
from fake_packages import Site, forget
from fs_faces.header import (
    HeaderError,
    format_header,
    parse_header,
    read_header,
    write_header,
)
from fs_faces.png import PngError
from fs_kernel import networks
from fs_kernel.cli import run_cli
from fs_kernel.errors import ConfigError, FsError, ModelFolderError, UsageError
from fs_kernel.options import CommandLineSource, FileSource, parse_assignment, read_toml, resolve
from fs_kernel.options.defaults import KERNEL_SECTIONS
from fs_kernel.plugins import discovery
from fs_kernel.storage import files, tensors, tree
from fs_kernel.storage.checkpoints import Checkpoints
from fs_kernel.storage.model_state import ModelState, SessionRecord
from fs_kernel.testing import TinyModel
from fs_kernel.testing.plugins import TinyOptions
from generations import content
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from runs import open_tiny, train

CASES = int(os.environ.get("FS_FUZZ", "40"))
many = settings(
    max_examples=CASES,
    deadline=timedelta(seconds=10),
    derandomize=CASES < 1000,
    database=None,
    suppress_health_check=list(HealthCheck),
)
few = settings(many, max_examples=max(10, CASES // 50))
NUMBERS = st.integers(-(2**70), 2**70) | st.floats() | st.just(10**400) | st.booleans()
LEAVES = st.none() | NUMBERS | st.text(max_size=12)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=10,
)
MANIFEST = json.loads(
    '{"format": 1, "step": 2, "time": 5.0, "files": {"state.json": {"bytes": 5, "sha256": "x"}}}'
)


@pytest.fixture(scope="module", autouse=True)
def _no_memory_is_lost():
    resource = pytest.importorskip("resource")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 1024 * 1024 * (1 if sys.platform != "darwin" else 1024), f"{grown} kB more"


@st.composite
def spoiled(draw, data):
    """Bytes with some of them changed, cut out, doubled, or put elsewhere."""
    found = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(found) - 1, 0)))
        size = draw(st.integers(0, 12))
        how = draw(st.integers(0, 4))
        if how == 0:
            found[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
        elif how == 1:
            del found[at : at + size]
        elif how == 2:
            found[at:at] = found[at : at + size]
        elif how == 3:
            found[at:at] = draw(st.binary(max_size=8))
        else:
            del found[at:]
    return bytes(found)


@st.composite
def swapped(draw, tree):
    """JSON with some of its values replaced, keys dropped or renamed."""
    found = json.loads(json.dumps(tree))
    for _ in range(draw(st.integers(1, 3))):
        node = found
        while isinstance(node, dict | list) and node:
            keys = list(node) if isinstance(node, dict) else list(range(len(node)))
            key = draw(st.sampled_from(keys))
            if not isinstance(node[key], dict | list) or draw(st.booleans()):
                if draw(st.booleans()):
                    node[key] = draw(JSON)
                else:
                    del node[key]
                break
            node = node[key]
    return found


# --- faces ---

PNG = face_png(0)
HEADER = format_header(make_header(mean_landmarks() * 100, "components", None))


@many
@given(spoiled(PNG))
def test_a_face_png(data):
    with contextlib.suppress(PngError, HeaderError):
        read_header(data)


@many
@given(spoiled(HEADER) | st.binary(max_size=60))
@example(b"__import__('os').system('touch /tmp/never')")
@example(b"{" * 200)
@example(b"[" * 100_000)
@example(b"9" * 100_000)
@example(b"1" + b"+1" * 50_000)
@example(b"'" + b"\\N{DIGIT ONE}" * 100 + b"'")
@example(b"{'alignments': {[]: 1}}")
@example(b"{'alignments': 1e999, 'source': -1j}")
def test_a_face_header(text):
    with contextlib.suppress(HeaderError):
        header = parse_header(text)
        for mask in header.masks.values():
            mask.image()
    with contextlib.suppress(HeaderError):
        read_header(write_header(PNG, text))


# --- text ---

TOML = b"""
[training]
batch_size = 8
iterations = 100
seed = "none"
addons = ["console"]
metrics_interval = "10s"
[save]
interval = "10min"
keep = 3
max_disk = "20GB"
[model.tiny]
width = 16
dropout = 0.1
"""


@many
@given(data=spoiled(TOML) | st.binary(max_size=60))
@example(data=b"x = " + b"[" * 5000)
@example(data=b"[save]\nmax_disk = 1e400")
@example(data=b"[save]\nkeep = " + b"9" * 5000)
@example(data=b"[training]\nbatch_size = 1e400\nseed = inf\niterations = nan")
def test_a_config_file(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "fuzz.toml"
    path.write_bytes(data)
    with contextlib.suppress(ConfigError):
        layer = FileSource("file", read_toml(path))
        resolve({**KERNEL_SECTIONS, "model.tiny": TinyOptions}, [layer])


@many
@given(st.text(max_size=40), JSON)
def test_values_of_options(text, value):
    with contextlib.suppress(UsageError):
        parse_assignment(f"save.{text}")
    for section, cls in KERNEL_SECTIONS.items():
        for field in cls.__attrs_attrs__:
            with contextlib.suppress(ConfigError):
                resolve({section: cls}, [CommandLineSource("x", {section: {field.name: value}})])
            with contextlib.suppress(ConfigError):
                resolve({section: cls}, [CommandLineSource("x", {section: {field.name: text}})])


STATE = ModelState(
    "tiny", "tiny", "0", 5, {"models": {"name": "tiny", "distribution": None}}, {"a": "/a"}
)
STATE.sessions.append(SessionRecord(0.0, 0, 4, 1, 3))


@many
@given(swapped(STATE.to_json()) | JSON)
def test_a_state(data):
    with contextlib.suppress(ModelFolderError):
        state = ModelState.from_json(data, "x")
        assert isinstance(state.complete, bool)
        state.to_json()


# --- checkpoints ---


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("fuzz") / "model"
    for step in (1, 2):
        Checkpoints(made).write(content(step), keep=2)
    return made


@many
@given(data=swapped(MANIFEST) | JSON)
@example(data={**MANIFEST, "time": 10**400})
@example(data={**MANIFEST, "time": "5"})
@example(data={**MANIFEST, "files": {"../../../etc/passwd": {"bytes": 1, "sha256": ""}}})
def test_a_manifest(folder, data):
    (folder / "checkpoints/000000002/manifest.json").write_text(json.dumps(data))
    checkpoints = Checkpoints(folder)
    assert isinstance(checkpoints.validation_error("000000002"), str)
    assert len(checkpoints.checkpoints()) == 2
    assert checkpoints.latest_valid(lambda line: None) == "000000001"


@many
@given(data=swapped({"format": 1, "generation": "000000001"}).map(json.dumps) | st.text())
def test_a_pointer(folder, data):
    (folder / "checkpoint.json").write_text(data, encoding="utf-8", errors="surrogatepass")
    assert Checkpoints(folder).current_name() in (None, "000000001", "000000002")


@many
@given(data=JSON)
@example(data=[])
def test_a_skeleton(data):
    deep = data
    for _ in range(random.Random(str(data)[:50]).choice([0, 0, 900, 5000])):
        deep = [deep]
    with contextlib.suppress(ModelFolderError):
        tree.unpack(deep, {"/x": torch.ones(1)}, "x")


WEIGHTS = b"".join(
    map(bytes, tensors.chunks({"a/kernel": torch.ones(3), "b": torch.zeros(2, 2).half()}))
)


def weights_file(header):
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(64)


@many
@given(
    data=spoiled(WEIGHTS)
    | st.binary(max_size=80)
    | swapped({"x": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}}).map(weights_file)
)
@example(data=weights_file({"x": {"dtype": "F32", "shape": [2**62, 4], "data_offsets": [0, 0]}}))
@example(data=weights_file({"x": {"dtype": "F32", "shape": [0, 2**63], "data_offsets": [0, 0]}}))
@example(data=weights_file({"__metadata__": {"a": "b"}}))
@example(data=(2**63).to_bytes(8, "little"))
def test_a_weights_file(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "fuzz.safetensors"
    path.write_bytes(data)
    with contextlib.suppress(ModelFolderError):
        tensors.load(path)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    made = tmp_path_factory.mktemp("trained")
    train(made, 2, every=1)
    return made


def graph_of(folder):
    (path, *_) = sorted((folder / "model/checkpoints").glob("*/network.json"))
    return json.loads(path.read_text())


@few
@given(data=st.data())
def test_a_graph(trained, data):
    spoilt = data.draw(swapped(graph_of(trained)))
    with contextlib.suppress(ModelFolderError), networks.building(0, "cpu"):
        networks.from_json(networks.parse(json.dumps(spoilt).encode(), "x"), {}, "x")


def outside(folder):
    """Everything beside the model folder."""
    return {
        p: p.stat().st_mtime_ns
        for p in folder.parent.iterdir()
        if p != folder and not p.name.startswith("fuzz.")
    }


@few
@given(data=st.data())
def test_a_whole_model_folder(trained, tmp_path_factory, data):
    """One file spoilt, its checksum made to fit: looked at, and resumed from."""
    work = tmp_path_factory.getbasetemp() / "whole" / "run"
    shutil.rmtree(work.parent, ignore_errors=True)
    shutil.copytree(trained, work)
    (newest, *_) = Checkpoints(work / "model").checkpoints()
    file = newest.path / data.draw(
        st.sampled_from(["state.json", "training.json", "config.toml", "weights.safetensors"])
    )
    if file.suffix == ".json" and data.draw(st.booleans()):
        tame = json.loads(file.read_text())
        file.write_text(json.dumps(data.draw(swapped(tame))))
    else:
        file.write_bytes(data.draw(spoiled(file.read_bytes())))
    manifest = json.loads((newest.path / "manifest.json").read_text())
    bytes_now = file.read_bytes()
    manifest["files"][file.name] = {
        "bytes": len(bytes_now),
        "sha256": hashlib.sha256(bytes_now).hexdigest(),
    }
    (newest.path / "manifest.json").write_text(json.dumps(manifest))
    before = outside(work)
    for command in ("info", "checkpoints", "verify"):
        assert run_cli(["model", command, str(work / "model")]) in (0, 5)
    with contextlib.suppress(FsError):
        run = open_tiny(work, 3, model=TinyModel())
        run.close(save=False)
    assert outside(work) == before


@few
@given(entries=st.text(max_size=60) | st.binary(max_size=60), metadata=st.text(max_size=60))
@example(entries="[fs_kernel.models]\nx = y\n[fs_kernel.api]\n" + "9" * 5000 + " = x", metadata="")
def test_the_metadata_of_a_plugin(tmp_path_factory, entries, metadata):
    site = Site(tmp_path_factory.getbasetemp() / "site")
    shutil.rmtree(site.folder, ignore_errors=True)
    folder = site.install("odd", {"models": {"odd": "odd:Odd"}})
    if isinstance(entries, bytes):
        (folder / "entry_points.txt").write_bytes(entries)
    else:
        text = (folder / "entry_points.txt").read_text()
        (folder / "entry_points.txt").write_text(text + entries, "utf-8", "surrogatepass")
    (folder / "METADATA").write_text(f"Name: odd\n{metadata}", "utf-8", "surrogatepass")
    (folder / "direct_url.json").write_text(metadata, "utf-8", "surrogatepass")
    sys.path.insert(0, str(site.folder))
    try:
        forget(site.folder)
        for found in discovery.installed():
            if found.name == "odd":
                found.version, found.summary, found.api, found.editable, found.issues_url
        assert run_cli(["plugins", "list"]) == 0
    finally:
        sys.path.remove(str(site.folder))
        forget(site.folder)


def test_json_of_ours_has_a_bound(tmp_path):
    with (tmp_path / "x.json").open("wb") as stream:
        stream.truncate(65 * 2**20)
    with pytest.raises(ModelFolderError, match="refused"):
        files.read_json(tmp_path / "x.json")
