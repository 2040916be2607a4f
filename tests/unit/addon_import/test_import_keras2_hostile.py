"""Files that are broken or mean harm: one line each, and nothing run, followed or allocated."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from addon_import.keras2_files import dense, entrance, layer, model, numbers, read, ref, write
from fs_kernel.errors import ModelFolderError

KERNEL, BIAS = numbers(1, 3, 4), numbers(2, 4)
DATA = "model_weights/one/one"


def file_of(tmp_path: Path, *layers: dict, **settings: str) -> Path:
    chain = layers or (dense("one", "x", 4),)
    root = model("net", [entrance("x", 3), *chain], [chain[-1]["name"]])
    weights = {"one": [("one/kernel", KERNEL), ("one/bias", BIAS)]}
    return write(tmp_path / "net.h5", root, weights if not layers else {}, **settings)


def refused(path: Path, line: str) -> None:
    with pytest.raises(ModelFolderError, match=line) as caught:
        read(path)
    assert caught.value.exit_code == 5
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_file_itself_is_fine(tmp_path: Path) -> None:
    np.testing.assert_array_equal(read(file_of(tmp_path)).weights["one/kernel"], KERNEL)


@pytest.mark.parametrize(
    ("entry", "line"),
    [
        (
            layer("Lambda", "own", "x", function=["4wIAAAAA", None, None]),
            "Lambda, which holds code",
        ),
        (
            layer("Lambda", "block35_1", "x", function=["4wIA"], arguments={"scale": 0.1}),
            "Lambda, which holds code",
        ),
        (layer("Custom>Loader", "own", "x", path="/etc/passwd"), "unknown class Loader"),
        (layer("os.system", "own", "x"), "unknown class os.system"),
        (dense("own", "x", 4, activation="hard_sigmoid"), "activation hard_sigmoid"),
        (
            dense("own", "x", 4, activation={"class_name": "function", "config": "eval"}),
            "activation .*eval",
        ),
        (dense("own", "x", 4, kernel_regularizer={"class_name": "L2"}), "kernel_regularizer"),
        (dense("own", "x", 4, lora_rank=4), "lora_rank 4"),
        (dense("own", "x", 4, dtype="float64"), "computes in float64"),
        (dense("own", "x", -1), "cannot be read"),
        (layer("TFOpLambda", "own", [ref("x")], function="io.read_file"), "calls io.read_file"),
        (
            layer("TFOpLambda", "own", ["x", 0, 0, {"y": "1.0"}], function="math.multiply"),
            "cannot multiply",
        ),
        (
            layer("TFOpLambda", "own", ["x", 0, 0, {"y": 0.0}], function="math.truediv"),
            "cannot divide",
        ),
        (layer("Dropout", "own", [ref("x", training=True)], rate=0.5), "called with"),
        (dense("own", "nobody", 4), "takes call 0 of 'nobody'"),
        (dense("own", "own", 4), "in a circle"),
        (layer("Activation", "own", [ref("x", 0, 3)], activation="relu"), "which is not there"),
        (layer("Activation", "own", [ref("x", 1)], activation="relu"), "takes call 1 of 'x'"),
        (layer("RepeatVector", "own", "x", n=10**10), "more numbers than any known"),
        (
            layer(
                "Sequential", "own", "x", layers=[{"class_name": "Lambda", "config": {"name": "l"}}]
            ),
            "Lambda, which holds code",
        ),
        (dense("x", "x", 4), "two layers in it are called 'x'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_graphs_that_are_not_what_is_known(tmp_path: Path, entry: dict, line: str) -> None:
    refused(file_of(tmp_path, entry), line)


def test_graphs_larger_or_deeper_than_any_known(tmp_path: Path) -> None:
    many = layer("Activation", "own", *["x"] * 30_000, activation="relu")
    refused(file_of(tmp_path, many), "larger than any known")
    deep = model("m0", [entrance("i", 3), dense("d", "i", 3)], ["d"], "i")
    for number in range(1, 20):
        deep = model(f"m{number}", [entrance("i", 3), deep], [[f"m{number - 1}", 1, 0]], "i")
    deep["inbound_nodes"] = [[ref("x")]]
    refused(file_of(tmp_path, deep), "nested deeper")


@pytest.mark.parametrize(
    ("attribute", "value", "line"),
    [
        ("keras_version", None, "not a Keras model"),
        ("keras_version", "1.2.2", "written by Keras 1.2.2"),
        ("keras_version", "3.3.3", "written by Keras 3.3.3"),
        ("keras_version", 2.0, "not a text"),
        ("model_config", None, "no graph"),
        ("model_config", "{", "cannot be read"),
        ("model_config", "[" * 100_000, "cannot be read"),
        ("model_config", "[]", "cannot be read"),
        ("model_config", '{"class_name": "Lambda", "config": {}}', "network is a Lambda"),
        ("model_config", '{"class_name": "Model", "config": {"layers": 3}}', "cannot be read"),
    ],
)
def test_attributes_that_are_not_a_model(
    tmp_path: Path, attribute: str, value: object, line: str
) -> None:
    path = file_of(tmp_path)
    with h5py.File(path, "a") as file:
        del file.attrs[attribute]
        if value is not None:
            file.attrs[attribute] = value
    refused(path, line)


def external(file: h5py.File, folder: Path) -> None:
    write(folder / "other.h5", model("net", [entrance("x", 3)], ["x"]), {})
    with h5py.File(folder / "other.h5", "a") as other:
        other["secret"] = KERNEL
    file[f"{DATA}/kernel:0"] = h5py.ExternalLink(str(folder / "other.h5"), "/secret")


def soft(file: h5py.File, folder: Path) -> None:
    file["elsewhere"] = KERNEL
    file[f"{DATA}/kernel:0"] = h5py.SoftLink("/elsewhere")


def stored_outside(file: h5py.File, folder: Path) -> None:
    (folder / "raw").write_bytes(KERNEL.tobytes())
    file.create_dataset(
        f"{DATA}/kernel:0", (3, 4), "<f4", external=[(str(folder / "raw"), 0, KERNEL.nbytes)]
    )


def virtual(file: h5py.File, folder: Path) -> None:
    layout = h5py.VirtualLayout((3, 4), "<f4")
    file["source"] = KERNEL
    layout[:] = h5py.VirtualSource(file["source"])
    file.create_virtual_dataset(f"{DATA}/kernel:0", layout)


def huge(file: h5py.File, folder: Path) -> None:
    file.create_dataset(f"{DATA}/kernel:0", (2**40, 4), "<f4", chunks=(1024, 4), compression=9)


def compressed(file: h5py.File, folder: Path) -> None:
    file.create_dataset(f"{DATA}/kernel:0", data=np.zeros((3, 4), "f4"), compression=9)


def never_written(file: h5py.File, folder: Path) -> None:
    file.create_dataset(f"{DATA}/kernel:0", (3, 4), "<f4")


def of_doubles(file: h5py.File, folder: Path) -> None:
    file[f"{DATA}/kernel:0"] = KERNEL.astype("f8")


def of_integers(file: h5py.File, folder: Path) -> None:
    file[f"{DATA}/kernel:0"] = KERNEL.astype("i4")


def of_text(file: h5py.File, folder: Path) -> None:
    file[f"{DATA}/kernel:0"] = "numbers"


def a_group(file: h5py.File, folder: Path) -> None:
    file.create_group(f"{DATA}/kernel:0")


def other_shape(file: h5py.File, folder: Path) -> None:
    file[f"{DATA}/kernel:0"] = KERNEL.T


def left_out(file: h5py.File, folder: Path) -> None:
    file["model_weights/one"].attrs["weight_names"] = [b"one/bias:0"]


def gone(file: h5py.File, folder: Path) -> None:
    pass


def names_of_numbers(file: h5py.File, folder: Path) -> None:
    file["model_weights/one"].attrs["weight_names"] = [1, 2]


def swapped(file: h5py.File, folder: Path) -> None:
    file[f"{DATA}/kernel:0"] = KERNEL
    file["model_weights/one"].attrs["weight_names"] = [b"one/bias:0", b"one/kernel:0"]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (external, "link to somewhere else"),
        (soft, "link to somewhere else"),
        (stored_outside, "not a plain data set"),
        (virtual, "not a plain data set"),
        (huge, "has shape"),
        (compressed, "not stored in full"),
        (never_written, "not stored in full"),
        (of_doubles, "float64 numbers"),
        (of_integers, "int32 numbers"),
        (of_text, "has shape"),
        (a_group, "not a plain data set"),
        (other_shape, r"has shape \(4, 3\)"),
        (left_out, "needs 2 weights, the file has 1"),
        (gone, "there is no 'one/kernel:0'"),
        (names_of_numbers, "not a list of names"),
        (swapped, "stands where"),
    ],
)
def test_weights_that_are_not_plain_numbers_of_the_network(
    tmp_path: Path, change: Callable[[h5py.File, Path], None], line: str
) -> None:
    path = file_of(tmp_path)
    with h5py.File(path, "a") as file:
        del file[f"{DATA}/kernel:0"]
        change(file, tmp_path)
    refused(path, line)


def test_a_huge_layer_is_refused_before_memory_is_asked_for(tmp_path: Path) -> None:
    root = model("net", [entrance("x", 3), dense("one", "x", 2**28)], ["one"])
    path = write(tmp_path / "net.h5", root, {})
    with h5py.File(path, "a") as file:
        group = file["model_weights/one"]
        group.attrs["weight_names"] = [b"kernel:0", b"bias:0"]
        for name, shape in (("kernel", (3, 2**28)), ("bias", (2**28,))):
            group.create_dataset(f"{name}:0", shape, "<f4", chunks=True, compression=9)
    tracemalloc.start()
    try:
        refused(path, "not stored in full")
        assert tracemalloc.get_traced_memory()[1] < 64 * 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("keep", [0, 4, 600, 0.5, 0.95])
def test_files_cut_short(tmp_path: Path, keep: float) -> None:
    path = file_of(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[: keep if isinstance(keep, int) else int(len(whole) * keep)])
    refused(path, "cannot be read")


def test_files_of_another_kind(tmp_path: Path) -> None:
    path = tmp_path / "net.h5"
    path.write_text(json.dumps({"class_name": "Functional"}))
    refused(path, "cannot be read")
    refused(tmp_path / "missing.h5", "cannot be read")


def test_damage_anywhere_gives_one_line_or_a_whole_network(tmp_path: Path) -> None:
    path = file_of(tmp_path)
    whole = bytearray(path.read_bytes())
    random = np.random.default_rng(0)
    for _ in range(60):
        broken = bytearray(whole)
        for place in random.integers(0, len(whole), 8):
            broken[place] = random.integers(256)
        path.write_bytes(broken)
        message = ""
        try:
            assert set(read(path).weights) == {"one/kernel", "one/bias"}
        except ModelFolderError as error:
            message = str(error)
        assert "\n" not in message
