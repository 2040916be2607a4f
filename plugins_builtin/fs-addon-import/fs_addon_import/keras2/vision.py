"""Rebuild the vision transformer of CLIP encoders, which old files hold as custom layers.

Files call this sub-model "visual". Only faceswap has the classes of its layers, so it is rebuilt
with the sizes that its weights imply, and each weight is recognized by its shape and name.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
from fs_kernel.errors import ModelFolderError
from fs_nn.hdf5 import Stored, squeezed
from fs_nn.vit import ViTSize, vision_transformer

NAME = "visual"
_HEAD = 64
#: Names that weights of Keras's own layers have; others may have any name.
_KNOWN = ("kernel", "bias", "gamma", "beta")


def build(shape: tuple[int, int, int], weights: Sequence[Stored]) -> keras.Model:
    """Return the transformer.

    Args:
        shape: of a picture, ``(h, w, 3)``.
        weights: those that the file has for the sub-model around it.

    Raises:
        ModelFolderError: these are not the weights of such a transformer.
    """
    shapes = [weight.shape for weight in weights]
    try:
        patch, _, _, width = next(shape for shape in shapes if len(shape) == 4)
        layers = sum(shape == (width // _HEAD, _HEAD, width) for shape in shapes)
        tall = [columns for rows, columns in _pairs(shapes) if rows == width]
        (embedding,) = (columns for columns in tall if columns != 4 * width)
        size = ViTSize(patch, layers, width, embedding)
    except (StopIteration, ValueError):
        raise ModelFolderError(f"its weights tell no size of the encoder '{NAME}'") from None
    return vision_transformer(shape, size, NAME)


def _pairs(shapes: list[tuple[int, ...]]) -> list[tuple[int, int]]:
    positions = {(rows, columns) for rows, columns in (s for s in shapes if len(s) == 2)}
    return sorted(positions)


def sort(variables: Sequence[keras.Variable], weights: Sequence[Stored]) -> list[keras.Variable]:
    """Return the variables in the order of the stored weights that belong to them.

    Raises:
        ModelFolderError: a weight does not belong to any variable.
    """
    left = list(variables)
    found = []
    for weight in weights:
        place = next((i for i, variable in enumerate(left) if _fits(variable, weight)), None)
        if place is None:
            raise ModelFolderError(f"'{weight.name}' is not a weight of the encoder '{NAME}'")
        found.append(left.pop(place))
    return found


def _fits(variable: keras.Variable, weight: Stored) -> bool:
    name = weight.name.rpartition("/")[2].partition(":")[0]
    if name in _KNOWN and variable.name in _KNOWN and name != variable.name:
        return False
    if name in _KNOWN[1:] and variable.name not in _KNOWN:
        return False
    return squeezed(variable.shape) == squeezed(weight.shape)
