"""Nested state as JSON and tensors, and back."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from fs_kernel.errors import ModelFolderError
from fs_kernel.storage import files, tensors, tree
from fs_kernel.types import DeferredTensor
from hypothesis import given, settings
from hypothesis import strategies as st


def through_files(value, folder):
    """Packed, written, read and put together again."""
    skeleton, found = tree.pack(value)
    files.write_chunks(folder / "x.safetensors", tensors.chunks(found))
    text = json.dumps(skeleton, allow_nan=False)
    return tree.unpack(json.loads(text), tensors.load(folder / "x.safetensors"), "x")


def same(a, b):
    if isinstance(a, torch.Tensor):
        return (
            isinstance(b, torch.Tensor)
            and a.dtype == b.dtype
            and a.shape == b.shape
            and torch.equal(
                torch.nan_to_num(a.float(), nan=7.0), torch.nan_to_num(b.float(), nan=7.0)
            )
        )
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and a.dtype == b.dtype and np.array_equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return isinstance(b, list) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float) and math.isnan(a):
        return isinstance(b, float) and math.isnan(b)
    return type(a) is type(b) and a == b


@pytest.mark.parametrize(
    "value",
    [
        {},
        [],
        None,
        5,
        "text",
        torch.arange(6).reshape(2, 3),
        {"empty": torch.empty(0), "none": None, "flag": True, "word": "ä\n$tensor"},
        {"empty_too": torch.empty((0, 3), dtype=torch.int64), "list": [], "dict": {}},
        {"nan": math.nan, "inf": math.inf, "minus": -math.inf, "tiny": 5e-324, "big": 2**70},
        {"tuple": (1, (2.5, "x")), "mixed": [torch.ones(2), {"a": [torch.zeros(1)]}]},
        {"bf16": torch.tensor([1.5, math.nan, math.inf], dtype=torch.bfloat16)},
        {"half": torch.ones(3, dtype=torch.float16), "bool": torch.tensor([True, False])},
        {"scalar": torch.tensor(3.0), "u8": torch.arange(4, dtype=torch.uint8)},
        {"array": np.arange(6, dtype=np.int64).reshape(2, 3), "zero": np.array(5.0)},
        {"fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)), "none": np.empty((0, 2))},
        {"strided": torch.arange(12).reshape(3, 4).t(), "view": torch.arange(10)[::3]},
        {"encoder/conv/kernel": {"exp_avg": torch.ones(2), "step": torch.tensor(4.0)}},
        {"": torch.ones(1), "/": torch.zeros(1), "//": torch.ones(2)},
    ],
)
def test_trees_come_back_as_they_were(tmp_path, value):
    assert same(value, through_files(value, tmp_path))


def test_paths_that_spell_alike_are_kept_apart(tmp_path):
    value = {
        "a/b": torch.ones(1),
        "a": {"b": torch.zeros(1), "b'": torch.full((1,), 2.0)},
        "a/b'": torch.full((1,), 3.0),
    }
    assert same(value, through_files(value, tmp_path))


def test_numpy_scalars_become_plain(tmp_path):
    value = {"i": np.int64(3), "f": np.float32(0.5), "b": np.bool_(True), "n": np.float64("nan")}
    back = through_files(value, tmp_path)
    assert (back["i"], back["f"], back["b"]) == (3, 0.5, True)
    assert math.isnan(back["n"])


def test_packed_tensors_are_copies_without_their_graph():
    source = torch.ones(3, requires_grad=True)
    twice = source * 2
    _, tensors = tree.pack([twice, source])
    with torch.no_grad():
        source.fill_(9.0)
    assert [t.requires_grad for t in tensors.values()] == [False, False]
    assert [t.tolist() for t in tensors.values()] == [[2.0] * 3, [1.0] * 3]


def test_packed_arrays_are_copies():
    source = np.ones(3)
    _, tensors = tree.pack({"x": source})
    source[:] = 9
    assert tensors["/x"].tolist() == [1.0] * 3


def test_tensors_that_share_memory_are_both_written(tmp_path):
    base = torch.arange(4.0)
    assert same(
        {"a": base, "b": base, "c": base[1:]},
        through_files({"a": base, "b": base, "c": base[1:]}, tmp_path),
    )


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ({"a": {"b": object()}}, "/a/b"),
        ({"a": [1, {2}]}, "/a/1"),
        ({"a": b"bytes"}, "/a"),
        ({"a": 1j}, "/a"),
        ({"a": {5: 1}}, "/a"),
        ({"$tensor": "x"}, "the tree"),
        ({"a": {"$float": "nan"}}, "/a"),
    ],
)
def test_what_a_checkpoint_cannot_hold_is_named(value, where):
    with pytest.raises(TypeError, match=where.replace("/", "/")):
        tree.pack(value)


@pytest.mark.parametrize(
    "skeleton",
    [
        {"$tensor": "/gone"},
        [{"a": {"$array": "/gone"}}],
        {"$tensor": 5},
        {"$tensor": ["x"]},
        {"$float": "abc"},
        {"$float": []},
    ],
)
def test_a_skeleton_that_does_not_fit_is_refused(skeleton):
    with pytest.raises(ModelFolderError, match="checkpoint 5"):
        tree.unpack(skeleton, {}, "checkpoint 5")


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
LEAVES |= st.lists(st.floats(width=32), max_size=3).map(torch.tensor)
KEYS = st.text(alphabet="ab/'", max_size=3)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=100)
@given(TREES)
def test_any_tree_comes_back(value):
    skeleton, tensors = tree.pack(value)
    assert same(value, tree.unpack(json.loads(json.dumps(skeleton)), tensors, "x"))


def test_a_settled_tensor_is_asked_for_when_it_is_needed():
    """Not when the tree is packed: a save's thread, or whoever unpacks, waits for it."""
    asked = []

    def give():
        asked.append(1)
        return torch.arange(3.0)

    skeleton, tensors = tree.pack({"a": [DeferredTensor(give)], "b": torch.ones(2)})
    assert not asked
    settled = tree.materialize(tensors)
    assert len(asked) == 1
    assert settled["/a/0"].tolist() == [0, 1, 2]
    assert settled["/b"] is tensors["/b"]
    assert tree.unpack(skeleton, tensors, "x")["a"][0].tolist() == [0, 1, 2]
    assert tree.unpack(skeleton, settled, "x")["a"][0].tolist() == [0, 1, 2]
    assert len(asked) == 2
