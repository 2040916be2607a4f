"""Read the weights of a Keras 3 file by the kernel's stable names."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import h5py
import numpy as np
from fs_kernel import networks
from fs_kernel.errors import ModelFolderError
from fs_kernel.types import Network
from fs_nn.hdf5 import member, stored

from fs_addon_import.keras3.graph import Place


@attrs.frozen
class Weight:
    """One weight of a network.

    Attributes:
        name: its stable name.
        stored: its path in the file.
        shape: as the graph gives it.
        dtype: of its numbers, "float32" or an integer type.
        trained: whether an optimizer may hold state for it.
        frozen: whether the file says that its layer does not train.
    """

    name: str
    stored: str
    shape: tuple[int, ...]
    dtype: str
    trained: bool
    frozen: bool

    @property
    def decays(self) -> bool:
        """Whether faceswap's optimizers have it in their first group, with weight decay."""
        return len(self.shape) >= 2 and not self.name.endswith("bias")

    @property
    def bytes(self) -> int:
        size = 4
        for length in self.shape:
            size *= length
        return size


def locate(built: Network, places: Sequence[Place]) -> list[Weight]:
    """Return every weight of a rebuilt network with its path in the file, in graph order.

    Args:
        built: from the rewritten graph; it may be on Keras's meta device.
        places: from the rewriting.

    Raises:
        ModelFolderError: a weight has no path in the file.
    """
    names = {id(variable): name for name, variable in networks.variables(built).items()}
    found = {path: layer for path, layer in networks.layers(built) if path}
    weights, placed = [], set()
    for place in places:
        layer = found.get(place.path)
        own = (*layer._trainable_variables, *layer._non_trainable_variables) if layer else ()
        trained = len(layer._trainable_variables) if layer else 0
        for number, variable in enumerate(own):
            name = names[id(variable)]
            placed.add(name)
            shape = tuple(int(size) for size in variable.shape)
            path = f"{place.stored}vars/{number}"
            dtype = str(variable.dtype)
            weights.append(Weight(name, path, shape, dtype, number < trained, not place.trains))
    if missing := [name for name in names.values() if name not in placed]:
        raise ModelFolderError(f"has no place for {len(missing)} weights, the first: {missing[0]}")
    return weights


@contextlib.contextmanager
def opened(path: Path, label: str) -> Iterator[h5py.File]:
    """Yield an open HDF5 file; turn any error in it into a one-line ModelFolderError.

    Args:
        path: the file.
        label: what to call it in errors.
    """
    try:
        with h5py.File(path, "r", locking=False) as file:
            yield file
    except ModelFolderError as error:
        raise ModelFolderError(f"{label}: {error}") from None
    except (OSError, KeyError, RuntimeError, ValueError, TypeError, OverflowError) as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise ModelFolderError(f"{label} is damaged: {reason}") from None


def read(file: h5py.File, weights: Sequence[Weight]) -> dict[str, np.ndarray]:
    """Return the arrays of all weights by name.

    Raises:
        ModelFolderError: one is missing, or of another shape or type.
    """
    return {w.name: read_array(file, w.stored, w.shape, w.dtype) for w in weights}


def read_array(
    file: h5py.File, path: str, shape: tuple[int, ...], dtype: str = "float32"
) -> np.ndarray:
    """Return one array; the number of axes of length 1 may differ in the file.

    Args:
        file: the open file.
        path: of the array.
        shape: the one it must have.
        dtype: "float32" or an integer type.

    Raises:
        ModelFolderError: it is missing, of another shape or type, or not stored as Keras
            stores arrays.
    """
    there = stored(file, path)
    if _without_ones(there.shape) != _without_ones(shape):
        raise ModelFolderError(f"'{path}' has shape {there.shape}, not {shape}")
    if there.data.chunks is not None:
        raise ModelFolderError(f"'{path}' is not stored in one piece; refused")
    there.require(dtype)
    return there.read(shape, dtype)


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(size for size in shape if size != 1)


def numbered(file: h5py.File, path: str) -> list[str]:
    """Return the paths of the members "0", "1", ... of a group, in numerical order.

    Raises:
        ModelFolderError: they are not numbered from 0 on.
    """
    group: Any = member(file, path)
    names = set(group)
    if names != {str(number) for number in range(len(names))}:
        raise ModelFolderError(f"'{path}' in it is not numbered in order")
    return [f"{path}/{number}" for number in range(len(names))]
