"""Runs the network as the Keras model it is.

Nothing is compiled or cast: precision is what each layer's own dtype policy says.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from fs_kernel import Network, hookimpl
from fs_kernel.types import Forward, Side

if TYPE_CHECKING:
    import torch


@hookimpl
def make_forward(network: Network, device: torch.device) -> Forward:
    import keras

    model, sides, name = network.model, network.sides, str(device)

    def forward(inputs: Mapping[Side, torch.Tensor], training: bool = True) -> list[torch.Tensor]:
        pictures = [inputs[side] for side in sides]
        with keras.device(name):
            outputs = model(pictures if len(pictures) > 1 else pictures[0], training=training)
        tensors: list[torch.Tensor] = keras.tree.flatten(outputs)
        return tensors

    return forward
