"""Rebuild the network of a Keras-2 file.

Nothing in the file is deserialized. Its graph is walked: each layer becomes one of those that
`fs_addon_import.keras2.layers` makes, and is called as the file says::

    {"class_name": "Functional", "config": {"name": ..., "layers": [
        {"class_name": "Conv2D", "name": "conv", "config": {...},
         "inbound_nodes": [[["before", 0, 0, {}]], ...]},     one list per call; its tensors
        ...], "input_layers": [["in", 0, 0]], "output_layers": [["conv", 0, 0]]}}
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import keras
from fs_kernel.errors import ModelFolderError

from fs_addon_import.keras2 import custom, layers, operations, vision
from fs_addon_import.keras2.settings import Settings, layer_name
from fs_addon_import.keras2.wiring import MODELS, Entry, Wiring

#: Limits far above any known network.
MAX_CALLS = 20_000
MAX_NESTING = 10


@attrs.frozen
class Piece:
    """A layer of the file and the layers made of it.

    Attributes:
        name: in the file.
        trains: whether it was trainable when the file was written.
        layers: the layers made of it; a nested model is one.
        children: the layers in a nested model, in the order of the file.
        is_vision: it was rebuilt from its shapes, so the order of its weights is not known.
    """

    name: str
    trains: bool
    layers: tuple[keras.layers.Layer, ...] = ()
    children: tuple[Piece, ...] = ()
    is_vision: bool = False


@attrs.frozen
class Reader:
    """Builds networks.

    Attributes:
        build_vision: makes the CLIP encoder inside the named top-level layer, for a shape.
        scaled_residuals: layers called as InceptionResNetV2's residuals are these.
    """

    build_vision: Callable[[str, tuple[int, ...]], keras.Model]
    scaled_residuals: bool = False

    def network(self, entry: Entry) -> tuple[keras.Model, Piece]:
        """Return the network of the file's ``model_config``; its inputs and outputs are flat lists.

        Raises:
            ModelFolderError: it holds something unknown, or is not connected.
        """
        if entry.get("class_name") not in MODELS:
            raise ModelFolderError(f"its network is a {entry.get('class_name')}: not supported")
        if _count(entry["config"], 0) > MAX_CALLS:
            raise ModelFolderError("its network is larger than any known one; refused")
        return self._model(entry["config"], (), True)

    def _model(
        self, config: Entry, path: tuple[str, ...], is_root: bool = False
    ) -> tuple[keras.Model, Piece]:
        entries = config["layers"]
        wiring = Wiring(entries)
        pieces = {}
        for entry in entries:
            name = entry["name"]
            if name in pieces:
                raise ModelFolderError(f"two layers in it are called '{name}'")
            pieces[name], wiring.apply[name] = self._layer(entry, (*path, name))
        wiring.run()
        inputs = wiring.tensors(config["input_layers"])
        outputs = wiring.tensors(config["output_layers"])
        # A nested model takes and returns a list only where there are several tensors.
        model = keras.Model(
            inputs if is_root or len(inputs) > 1 else inputs[0],
            outputs if is_root or len(outputs) > 1 else outputs[0],
            name=layer_name(config["name"]),
        )
        trains = bool(config.get("trainable", True))
        return model, Piece(config["name"], trains, (model,), tuple(pieces.values()))

    def _layer(self, entry: Entry, path: tuple[str, ...]) -> tuple[Piece, Callable[..., Any]]:
        """Return the layer's record and the function that calls it."""
        kind, config, name = entry["class_name"], entry["config"], entry["name"]
        trains = bool(config.get("trainable", True))
        if name == vision.NAME:
            model = self.build_vision(path[0], _input_shape(config))
            return Piece(name, trains, (model,), is_vision=True), _caller([model], name)
        if kind in MODELS:
            model, piece = self._model(config, path)
            return piece, _caller([model], name)
        if kind == "Sequential":
            return self._sequential(config, path)
        if kind == "InputLayer":
            return Piece(name, trains), _input(config)
        if operation := operations.operation(kind, config):
            return Piece(name, trains), operation
        made = [self._lambda(config)] if kind == "Lambda" else layers.make(kind, config)
        return Piece(name, trains, tuple(made)), _caller(made, name)

    def _sequential(self, config: Entry, path: tuple[str, ...]) -> tuple[Piece, Any]:
        name, entries = path[-1], config["layers"]
        pieces, steps = [], []
        for entry in entries:
            if entry["class_name"] == "InputLayer":
                steps.append(keras.Input(_shape(entry["config"])))
                continue
            piece, _ = self._layer({"name": entry["config"]["name"], **entry}, path)
            if not piece.layers:
                raise ModelFolderError(f"'{name}' holds a {entry['class_name']}: not supported")
            pieces.append(piece)
            steps += piece.layers
        model = keras.Sequential(steps, name=layer_name(name))
        trains = bool(config.get("trainable", True))
        return Piece(name, trains, (model,), tuple(pieces)), _caller([model], name)

    def _lambda(self, config: Entry) -> keras.layers.Layer:
        """Return the layer for a Lambda, whose code is never read.

        Keras 2 up to 2.10 used one in its own InceptionResNetV2, whose code is known:
        ``inputs[0] + inputs[1] * scale``. Any other is refused.
        """
        name, scale = str(config.get("name")), (config.get("arguments") or {}).get("scale")
        if not (
            self.scaled_residuals
            and name.startswith(("block35_", "block17_", "block8_"))
            and isinstance(scale, float)
        ):
            raise ModelFolderError(f"layer '{name}' is a Lambda, which holds code; refused")
        settings = {"name": name, "dtype": config.get("dtype", "float32"), "scale": scale}
        return custom.scaled_residual(Settings(settings))


def _count(config: Entry, depth: int) -> int:
    """Return the number of calls of all layers, each layer counted at least once."""
    if depth > MAX_NESTING:
        raise ModelFolderError("its network is nested deeper than any known one; refused")
    inside = (_count(e["config"], depth + 1) for e in config["layers"] if "layers" in e["config"])
    return sum(inside) + sum(1 + len(e.get("inbound_nodes", ())) for e in config["layers"])


def _input_shape(config: Entry) -> tuple[int, ...]:
    """Return the input shape of a nested model."""
    entries = [e for e in config.get("layers", ()) if e["class_name"] == "InputLayer"]
    if len(entries) != 1:
        raise ModelFolderError(f"'{config.get('name')}' does not tell the size of its pictures")
    return _shape(entries[0]["config"])


def _shape(config: Entry) -> tuple[int, ...]:
    return tuple(config["batch_input_shape"][1:])


def _input(config: Entry) -> Callable[..., Any]:
    tensor = keras.Input(_shape(config), name=layer_name(config["name"]))
    return lambda *_: tensor


def _caller(made: Sequence[keras.layers.Layer], name: str) -> Callable[..., Any]:
    def call(args: list[Any], kwargs: Mapping[str, Any]) -> Any:
        if any(value is not None for value in kwargs.values()):
            raise ModelFolderError(f"layer '{name}' is called with {dict(kwargs)}: not supported")
        x = args if len(args) > 1 else args[0]
        for layer in made:
            x = layer(x)
        return x

    return call
