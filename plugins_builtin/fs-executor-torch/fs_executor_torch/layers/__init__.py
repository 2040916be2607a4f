"""Lower Keras layers to torch operations by their class."""

from __future__ import annotations

from typing import Any

from fs_executor_torch.layers import activations, convolutions, normalizations, randoms, shapes
from fs_executor_torch.layers.base import Lowered, NotLoweredError

TABLE: dict[type[Any], type[Lowered]] = {
    **activations.TABLE,
    **convolutions.TABLE,
    **normalizations.TABLE,
    **randoms.TABLE,
    **shapes.TABLE,
}


def lower_layer(layer: Any) -> Lowered | None:
    """Return the lowered form of a built Keras layer; None if Keras must run it."""
    make = TABLE.get(type(layer))
    try:
        return None if make is None else make(layer)
    except NotLoweredError:
        return None


__all__ = ["Lowered", "lower_layer"]
