"""Set new dropout rates in an existing network."""

from __future__ import annotations

from typing import Any

import attrs
import keras
from fs_kernel.types import Network

_STYLE = "fc_gblock"


def with_rates(
    network: Network, rate: float, style_rate: float, custom_objects: dict[str, type]
) -> Network:
    """Return the network with other dropout rates in its fully connected layers, weights copied.

    Layers keep their names, which state the rate they were made with. The network is rebuilt from
    its graph, because Keras gives a dropout layer with rate 0 no seed generator.

    Args:
        network: unchanged.
        rate: for all fully connected layers that make pictures.
        style_rate: for those that make the G-block's style.
        custom_objects: classes that its graph may contain, by name.
    """
    graph = keras.saving.serialize_keras_object(network.model)
    for layer in graph["config"]["layers"]:
        if layer["name"].startswith("fc_"):
            _set_rates(layer, style_rate if layer["name"] == _STYLE else rate)
    model = keras.saving.deserialize_keras_object(graph, custom_objects=custom_objects)
    for new, old in zip(model.weights, network.model.weights, strict=True):
        new.assign(old)
    return attrs.evolve(network, model=model)


def _set_rates(sub_model: dict[str, Any], rate: float) -> None:
    for layer in sub_model["config"]["layers"]:
        if layer["class_name"] == "Dropout":
            layer["config"]["rate"] = rate
