"""A network's graph as JSON, and back, without letting the file choose what code runs.

Every object in a graph is checked against a list of Keras classes and the classes the chosen model
plugin names in ``custom_objects``, before Keras sees any of it. Anything else - functions, lambdas,
unknown classes, classes with a foreign module path - is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fs_kernel import backend
from fs_kernel.errors import ModelFolderError
from fs_kernel.networks.weights import check
from fs_kernel.types import Network, Output

FORMAT = 1
MAX_BYTES = 64 * 2**20
MAX_DEPTH = 100

_LAYERS = """
    InputLayer Functional Sequential Dense Conv1D Conv2D DepthwiseConv2D SeparableConv2D
    Conv2DTranspose Activation LeakyReLU PReLU ReLU ELU Softmax Flatten Reshape Permute
    RepeatVector Concatenate Add Subtract Multiply Average Maximum Minimum Dot UpSampling2D
    ZeroPadding2D Cropping2D MaxPooling2D AveragePooling2D GlobalAveragePooling2D
    GlobalMaxPooling2D Dropout SpatialDropout2D GaussianNoise GaussianDropout AlphaDropout
    BatchNormalization LayerNormalization GroupNormalization UnitNormalization RMSNormalization
    SpectralNormalization Rescaling Normalization Resizing Embedding MultiHeadAttention Identity
"""
_INITIALIZERS = """
    Zeros Ones Constant RandomNormal RandomUniform TruncatedNormal VarianceScaling Orthogonal
    Identity IdentityInitializer GlorotNormal GlorotUniform HeNormal HeUniform LecunNormal
    LecunUniform
"""
_OTHERS = "L1 L2 L1L2 OrthogonalRegularizer MaxNorm NonNeg UnitNorm MinMaxNorm DTypePolicy"
_ALLOWED = frozenset(f"{_LAYERS} {_INITIALIZERS} {_OTHERS}".split())
_STRUCTURE = frozenset(["__keras_tensor__", "__tuple__", "__slice__", "__ellipsis__"])
_MARKERS = ("__lambda__", "__numpy__", "__tensor__", "__typespec__", "__bytes__")


def to_json(network: Network) -> dict[str, Any]:
    """The graph of a network and what its inputs and outputs are."""
    keras = backend.keras()
    return {
        "format": FORMAT,
        "sides": list(network.sides),
        "color_order": network.color_order,
        "outputs": [{"side": o.side, "kind": o.kind, "size": o.size} for o in network.outputs],
        "mixed_layers": list(network.mixed_layers),
        "model": keras.saving.serialize_keras_object(network.model),
        "extra": {n: keras.saving.serialize_keras_object(m) for n, m in network.extra.items()},
    }


def parse(text: bytes, source: str) -> dict[str, Any]:
    """Read graph JSON within limits of size and depth.

    Raises:
        ModelFolderError: it is too large, too deep, or no graph.
    """
    if len(text) > MAX_BYTES:
        raise ModelFolderError(f"{source} is larger than {MAX_BYTES >> 20} MiB; refused")
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelFolderError(f"{source} is no valid JSON: {error}") from None
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise ModelFolderError(f"{source} is no network graph of format {FORMAT}")
    return data


def inspect(node: Any, custom: Mapping[str, type], source: str, depth: int = 0) -> None:
    """Check every object of a graph before anything is made from it.

    Raises:
        ModelFolderError: naming the first class that is not allowed.
    """
    if depth > MAX_DEPTH:
        raise ModelFolderError(f"{source} is nested deeper than {MAX_DEPTH} levels; refused")
    if isinstance(node, list):
        for item in node:
            inspect(item, custom, source, depth + 1)
    elif isinstance(node, dict):
        if "class_name" in node:
            _inspect_class(node, custom, source)
        for key, value in node.items():
            if key in _MARKERS:
                raise ModelFolderError(f"{source} holds a {key} object; refused")
            inspect(value, custom, source, depth + 1)


def _inspect_class(node: dict[str, Any], custom: Mapping[str, type], source: str) -> None:
    name, module = node["class_name"], node.get("module")
    registered = node.get("registered_name")
    if not isinstance(name, str):
        raise ModelFolderError(f"{source} holds a class_name that is no text; refused")
    if name in _STRUCTURE:
        return
    if name in custom:
        # Keras takes the class from `custom` by its registered name; where a plugin keeps it may
        # have changed with its version.
        own = registered is None and module in (None, custom[name].__module__)
        fits = own or (registered == name and isinstance(module, str | None))
    else:
        keras_home = module is None or module == "keras" or str(module).startswith("keras.")
        fits = name in _ALLOWED and keras_home and registered in (None, name)
    if not fits:
        raise ModelFolderError(
            f"{source} holds an object of class {module}.{name}, which is neither plain Keras nor "
            "named in the model plugin's custom_objects; refused"
        )


def from_json(data: Mapping[str, Any], custom: Mapping[str, type], source: str) -> Network:
    """Make the network of a parsed graph. Call inside `fs_kernel.networks.weights.building`.

    Args:
        data: from `parse`.
        custom: classes by name, from the model plugin.
        source: what to call the file in errors.

    Raises:
        ModelFolderError: the graph holds what it may not, or Keras cannot build it.
    """
    keras = backend.keras()
    inspect([data.get("model"), data.get("extra")], custom, source)
    try:
        outputs = [Output(o["side"], o["kind"], int(o["size"])) for o in data["outputs"]]
        model = keras.saving.deserialize_keras_object(data["model"], custom_objects=dict(custom))
        extra = {
            name: keras.saving.deserialize_keras_object(item, custom_objects=dict(custom))
            for name, item in data.get("extra", {}).items()
        }
        if not all(isinstance(item, keras.Model) for item in (model, *extra.values())):
            raise ValueError("its root is no model")
        mixed = tuple(map(str, data["mixed_layers"]))
        built = Network(model, outputs, extra, tuple(data["sides"]), data["color_order"], mixed)
        return check(built, source)
    except Exception as error:
        reason = str(error).strip().splitlines()
        raise ModelFolderError(
            f"{source} cannot be built: {type(error).__name__}: {reason[0] if reason else ''}"
        ) from error
