"""Networks on both paths, and how far apart they may be."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from unittest import mock

import fs_executor_keras
import fs_executor_torch
import keras
import torch
from fs_kernel import hookimpl, networks
from fs_kernel.types import Network, NetworkSpec, Output

sys.path.insert(0, str(Path(__file__).parents[1] / "models"))
sys.path.insert(0, str(Path(__file__).parents[1] / "model_phaze_a"))

from built_in import SMALL
from phaze_a_small import small as small_phaze_a

__all__ = ["SMALL", "small_phaze_a"]
CPU = torch.device("cpu")


def fast(network, **options):
    return fs_executor_torch.make_forward(
        network, CPU, fs_executor_torch.FastOptions(**options) if options else None
    )


def plain(network):
    return fs_executor_keras.make_forward(network, CPU)


def still(network):
    """The network without any drawing of random numbers."""
    for layer in network.model._flatten_layers():
        for name in ("rate", "stddev"):
            if hasattr(layer, name):
                setattr(layer, name, 0.0)
    return network


def pictures(network, count=2, seed=0):
    rng = torch.Generator().manual_seed(seed)
    shapes = [tensor.shape[1:] for tensor in network.model.inputs]
    return {
        side: torch.rand((count, *shape), generator=rng)
        for side, shape in zip(network.sides, shapes, strict=True)
    }


def step(network, forward, inputs):
    """Outputs in training, gradients by name, and every weight afterwards; weights are put back."""
    parameters, named = networks.parameters(network), networks.weights(network)
    before = {name: variable.detach().clone() for name, variable in named.items()}
    network.model.zero_grad()
    outputs = forward(inputs, training=True)
    rng = torch.Generator().manual_seed(9)
    # Numbers that normalisations do not cancel.
    goals = [torch.rand(output.shape, generator=rng) for output in outputs]
    sum(((o.float() - g) ** 2 * g).mean() for o, g in zip(outputs, goals, strict=True)).backward()
    gradients = {name: parameter.grad for name, parameter in parameters.items()}
    after = {name: variable.detach().clone() for name, variable in named.items()}
    network.model.zero_grad()
    networks.assign(network, before, "before")
    return [output.detach() for output in outputs], gradients, after


def close(one, other, share=1e-4):
    """Whether two tensors are equal but for ``share`` of the larger one's largest number."""
    scale = max(one.abs().max(), other.abs().max()).item()
    return torch.allclose(one.float(), other.float(), rtol=0.0, atol=share * scale)


def gradients_close(one, other, share=1e-3):
    """As `close`; a gradient that is zero but for rounding is held against the largest of all."""
    assert one.keys() == other.keys()
    largest = max(gradient.abs().max().item() for gradient in one.values())
    return all(
        torch.allclose(one[n], other[n], rtol=0.0, atol=share * scale)
        for n in one
        for scale in [max(one[n].abs().max().item(), 1e-2 * largest)]
    )


def scaled(x, count):
    """As many inputs as a layer takes, no two alike."""
    return [keras.layers.Rescaling(number + 1.0)(x) for number in range(count)]


def one_side(layer, shape, *, inputs=1, dtype=None):
    """A network of one side and one layer between two convolutions, where shapes allow."""
    faces = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, padding="same", dtype=dtype)(faces)
    if len(shape) == 1:
        x = keras.layers.Dense(shape[0], dtype=dtype)(keras.layers.Flatten()(x))
    elif len(shape) == 2:
        x = keras.layers.Reshape((-1, shape[1]))(x)
    x = layer(x) if inputs == 1 else layer(scaled(x, inputs))
    return Network(keras.Model(faces, x), [Output("a", "aux", 0)], sides=("a",))


def _still_dropout(rate, dropout=keras.layers.Dropout, **settings):
    return dropout(0.0, **settings)


class SmallModel:
    """A model plugin of one of the small networks."""

    def __init__(self, case, dropout=0.0):
        self.case, self.dropout, self.name = case, dropout, "small"

    @hookimpl
    def network_spec(self):
        size = self.case.size
        return NetworkSpec({"a": (size, size, 3), "b": (size, size, 3)}, "bgr")

    @hookimpl
    def build_model(self, inputs):
        import importlib

        from fs_nn.blocks import Blocks

        module, function = self.case.function.split(".")
        draw = getattr(importlib.import_module(f"fs_model_{module}.network"), function)
        with contextlib.ExitStack() as patches:
            if not self.dropout:
                # A layer whose rate is set to 0 later is not the one that its config makes.
                patches.enter_context(mock.patch.object(keras.layers, "Dropout", _still_dropout))
            return draw(inputs, Blocks(), learn_mask=True, **self.case.widths)

    @hookimpl
    def custom_objects(self):
        from fs_nn.layers import custom_objects

        return custom_objects()

    @hookimpl
    def freeze_layers(self):
        return ["encoder"]
