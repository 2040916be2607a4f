"""Match the weights of a Keras-2 file to those of the rebuilt network.

The file lists its top-level layers, and for each the weights: first the trainable ones, in the
order of the layers inside, then all others::

    model_weights    @layer_names = [face_in_a, encoder, ...]
        encoder      @weight_names = [conv/kernel:0, conv/bias:0, ...]
            conv/kernel:0, conv/bias:0, ...
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import attrs
import h5py
import keras
import numpy as np
from fs_kernel.errors import ModelFolderError
from fs_nn import hdf5
from fs_nn.hdf5 import Stored, squeezed

from fs_addon_import.keras2 import vision
from fs_addon_import.keras2.graph import Piece

#: Names of weights that changed since Keras 2.
_RENAMED = {"depthwise_kernel": "kernel"}
#: Names that weights of Keras's layers have; those of other programs may have any name.
_NAMES = frozenset(
    [
        "kernel",
        "depthwise_kernel",
        "pointwise_kernel",
        "bias",
        "gamma",
        "beta",
        "moving_mean",
        "moving_variance",
        "mean",
        "variance",
        "count",
        "alpha",
        "scale",
    ]
)


def stored(file: h5py.File, layer: str) -> list[Stored]:
    """Return the stored weights of a top-level layer, in the order of the file.

    Raises:
        ModelFolderError: the file has no such layer, or its weights are not plain data sets.
    """
    root = hdf5.member(file, "model_weights")
    group = hdf5.member(root, layer)
    return [hdf5.stored(group, name) for name in hdf5.names(group, "weight_names")]


@attrs.frozen
class Match:
    """A weight of the network and its counterpart in the file.

    Attributes:
        variable: the weight.
        stored: its numbers, not yet read.
        trained: whether it was trainable when the file was written.
    """

    variable: keras.Variable
    stored: Stored
    trained: bool


def match(file: h5py.File, root: Piece) -> list[Match]:
    """Return each weight with its counterpart, in the order of the file.

    Raises:
        ModelFolderError: a weight is missing, left over, or does not fit the network.
    """
    found = list(_matches(file, root))
    for item in found:
        _require_fit(item.variable, item.stored)
    return found


def read(matches: Sequence[Match], names: Mapping[int, str]) -> dict[str, np.ndarray]:
    """Return the arrays of all weights by stable name.

    Args:
        matches: from `match`.
        names: the stable name of each variable, by the variable's ``id``.

    Raises:
        ModelFolderError: the file lacks some.
    """
    if missing := names.keys() - {id(item.variable) for item in matches}:
        raise ModelFolderError(f"it has no values for {len(missing)} weights of its network")
    return {
        names[id(item.variable)]: item.stored.read(item.variable.shape, item.variable.dtype)
        for item in matches
    }


def _matches(file: h5py.File, root: Piece) -> Iterator[Match]:
    for piece in root.children:
        trained, resting = _training(piece), _resting(piece)
        if not (trained or resting):
            continue
        weights = stored(file, piece.name)
        if len(weights) != len(trained) + len(resting):
            raise ModelFolderError(
                f"'{piece.name}' needs {len(trained) + len(resting)} weights, "
                f"the file has {len(weights)}"
            )
        variables = _settled(piece, [*trained, *resting], weights)
        for number, (variable, weight) in enumerate(zip(variables, weights, strict=True)):
            yield Match(variable, weight, number < len(trained))


def _training(piece: Piece) -> list[keras.Variable]:
    """Return the trainable weights, in the order of the file."""
    if not piece.trains:
        return []
    return [variable for part in _parts(piece) for variable in part[0]]


def _resting(piece: Piece) -> list[keras.Variable]:
    """Return all other weights, in the order of the file."""
    parts = _parts(piece)
    rest = [variable for part in parts for variable in part[1]]
    return rest if piece.trains else [variable for part in parts for variable in part[0]] + rest


def _parts(piece: Piece) -> list[tuple[list[keras.Variable], list[keras.Variable]]]:
    """Return the trainable and the other weights of each part of a model."""
    if piece.children:
        return [(_training(child), _resting(child)) for child in piece.children]
    return [(layer.trainable_weights, layer.non_trainable_weights) for layer in piece.layers]


def _settled(
    piece: Piece, variables: list[keras.Variable], weights: Sequence[Stored]
) -> list[keras.Variable]:
    """Return the variables, with those of a vision transformer sorted as in the file."""
    for inner in _vision_pieces(piece):
        own = {id(variable) for layer in inner.layers for variable in layer.weights}
        places = [i for i, variable in enumerate(variables) if id(variable) in own]
        found = vision.sort([variables[i] for i in places], [weights[i] for i in places])
        for place, variable in zip(places, found, strict=True):
            variables[place] = variable
    return variables


def _vision_pieces(piece: Piece) -> Iterator[Piece]:
    if piece.is_vision:
        yield piece
    for child in piece.children:
        yield from _vision_pieces(child)


def _require_fit(variable: keras.Variable, weight: Stored) -> None:
    # Only the names show that weights of equal shape are in a wrong order.
    last = weight.name.rpartition("/")[2].partition(":")[0]
    known = last in _NAMES and variable.name in _NAMES
    if known and variable.name not in (last, _RENAMED.get(last)):
        raise ModelFolderError(f"'{weight.name}' stands where {variable.path} should be")
    if squeezed(weight.shape) != squeezed(variable.shape):
        raise ModelFolderError(
            f"'{weight.name}' has shape {weight.shape}, {variable.path} needs {variable.shape}"
        )
    weight.require(variable.dtype)
