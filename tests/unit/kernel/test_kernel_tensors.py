"""Tensor files: what is written piece by piece is what the safetensors library reads."""

from __future__ import annotations

import json

import numpy as np
import pytest
import safetensors.torch
import torch
from fs_kernel.errors import ModelFolderError
from fs_kernel.storage import files, tensors
from hypothesis import given, settings
from hypothesis import strategies as st

DTYPES = [getattr(torch, name) for name in tensors._TYPES]
SHAPES = [(), (0,), (1,), (7,), (2, 3), (0, 5), (3, 0, 2), (2, 1, 3, 2)]


def filled(dtype, shape):
    count = int(np.prod(shape, dtype=int))
    values = torch.arange(count, dtype=torch.float64).reshape(shape) - 3
    return values.to(dtype) if dtype != torch.bool else values.remainder(2).bool()


def written(path, found):
    files.write_chunks(path, tensors.chunks(found))
    return path


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_library_reads_what_is_written(tmp_path, dtype, shape):
    tensor = filled(dtype, shape)
    path = written(tmp_path / "x.safetensors", {"a/kernel": tensor})
    for back in (safetensors.torch.load_file(path), tensors.load(path)):
        assert list(back) == ["a/kernel"]
        assert back["a/kernel"].dtype == dtype
        assert tuple(back["a/kernel"].shape) == shape
        assert torch.equal(back["a/kernel"], tensor)


def test_many_of_every_kind_in_one_file(tmp_path):
    found = {f"{d}/{s}": filled(d, s) for d in DTYPES for s in SHAPES}
    path = written(tmp_path / "x.safetensors", found)
    back = safetensors.torch.load_file(path)
    assert back.keys() == found.keys()
    assert all(torch.equal(back[name], found[name]) for name in found)
    assert all(back[name].dtype == found[name].dtype for name in found)


def test_the_library_writes_the_same_bytes_of_data(tmp_path):
    """Same order, same places: only the header's spelling may differ."""
    found = {"b": torch.ones(3), "a": torch.arange(4), "c": torch.ones(5, dtype=torch.float16)}
    ours = written(tmp_path / "x", found).read_bytes()
    theirs = safetensors.torch.save(found)

    def parts(data):
        size = int.from_bytes(data[:8], "little")
        return json.loads(data[8 : 8 + size]), data[8 + size :]

    assert parts(ours) == parts(theirs)
    assert int.from_bytes(ours[:8], "little") % 8 == 0


def test_nothing_at_all_is_a_file_too(tmp_path):
    assert safetensors.torch.load_file(written(tmp_path / "x", {})) == {}


@pytest.mark.parametrize("name", ["", "ä/ö", 'quo"te', "back\\slash", "new\nline", "\U0001f600"])
def test_any_name_is_kept(tmp_path, name):
    back = safetensors.torch.load_file(written(tmp_path / "x", {name: torch.ones(2)}))
    assert list(back) == [name]


def test_numbers_that_are_none_are_kept_to_the_bit(tmp_path):
    odd = torch.tensor([float("nan"), float("inf"), -float("inf"), -0.0, 1e-45])
    back = tensors.load(written(tmp_path / "x", {"x": odd}))["x"]
    assert torch.equal(back.view(torch.int32), odd.view(torch.int32))


def test_nothing_is_copied_while_writing():
    tensor = torch.zeros(1000)
    pieces = list(tensors.chunks({"x": tensor}))
    tensor.fill_(1.0)
    assert bytes(pieces[-1]) == torch.ones(1000).numpy().tobytes()


@pytest.mark.parametrize("dtype", [torch.complex64, torch.uint16, torch.float8_e4m3fn])
def test_types_that_files_cannot_hold_are_named(dtype):
    with pytest.raises(TypeError, match=f"encoder/x: a checkpoint cannot hold {dtype}"):
        tensors.require_kept(torch.zeros(2, dtype=dtype), "encoder/x")


@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=8).filter(
            lambda name: name != "__metadata__"
        ),
        st.tuples(st.sampled_from(DTYPES), st.sampled_from(SHAPES)),
        max_size=6,
    )
)
@settings(max_examples=60)
def test_any_collection_comes_back(tmp_path_factory, kinds):
    found = {name: filled(*kind) for name, kind in kinds.items()}
    path = tmp_path_factory.getbasetemp() / "any.safetensors"
    path.unlink(missing_ok=True)
    back = tensors.load(written(path, found))
    assert back.keys() == found.keys()
    assert all(torch.equal(back[n], found[n]) and back[n].dtype == found[n].dtype for n in found)


def test_what_cannot_be_read_is_one_line(tmp_path):
    path = written(tmp_path / "x.safetensors", {"x": torch.ones(50)})
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ModelFolderError, match=r"cannot read .*x\.safetensors") as caught:
        tensors.load(path)
    assert "\n" not in str(caught.value)
