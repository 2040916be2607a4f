"""Networks are built by a model plugin or from a graph as JSON, checked, and set to a precision.

A graph does not choose what code runs: see `fs_graph`. Weights are float32 always; under "fp16" and
"bf16" the layers that were built with Keras's default policy compute in half precision, and those
that a plugin made float32 on purpose (outputs, as a rule) stay. Which layers these are is kept with
the graph, so that a model can be switched either way at any time without touching a weight. Keras's
global policy is never changed.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import attrs
import fs_graph
import keras
import torch

from fs_kernel import backend, randomness
from fs_kernel.errors import ConfigError, ModelFolderError, PluginError
from fs_kernel.networks import named_weights
from fs_kernel.plugins.roles import Model
from fs_kernel.storage.tensors import require_kept
from fs_kernel.types import Network, NetworkSpec, Output, Side

FORMAT = 1
POLICIES = {"fp32": "float32", "fp16": "mixed_float16", "bf16": "mixed_bfloat16"}
#: Counts the networks of this process: the first one finds no memory to free, and to look for some
#: takes a fifth of a second.
_built = itertools.count()


@contextlib.contextmanager
def building(seed: int, device: str | torch.device) -> Iterator[None]:
    """Clear the Keras session, seed everything, and make ``device`` the one for new weights.

    Every network is made inside this context.

    Raises:
        UsageError: Keras runs on another backend.
    """
    backend.keras().utils.clear_session(free_memory=next(_built) > 0)
    randomness.seed_everything(seed)
    with keras.device(str(device)):
        yield


def make_inputs(spec: NetworkSpec) -> dict[Side, keras.KerasTensor]:
    """Return symbolic inputs ``face_in_<side>``, in the order of the sides."""
    shapes = spec.input_shapes.items()
    return {side: keras.Input(shape, name=f"face_in_{side}") for side, shape in shapes}


def build(model: Model) -> Network:
    """Return a new network of a model plugin. Call inside `building`.

    Raises:
        PluginError: what the plugin returned differs from what it says it is.
    """
    spec = model.network_spec()
    with model.blaming("network_spec"):
        inputs = make_inputs(spec)
    built = model.build_model(inputs)
    with model.blaming("build_model"):
        built = attrs.evolve(built, sides=tuple(spec.input_shapes), color_order=spec.color_order)
        return check(built, str(model))


def check(network: Network, who: str) -> Network:
    """Return the network if it is as it describes itself.

    Raises:
        PluginError: outputs and their description differ, in number, side, kind or size.
    """
    shapes = [tuple(tensor.shape[1:]) for tensor in network.model.outputs]
    inputs, sides = network.model.inputs, network.sides
    if len(shapes) != len(network.outputs):
        raise PluginError(f"{who} describes {len(network.outputs)} outputs, has {len(shapes)}")
    if len(inputs) != len(sides):
        raise PluginError(f"{who} has {len(inputs)} inputs, {len(sides)} sides")
    for shape, output in zip(shapes, network.outputs, strict=True):
        channels = {"face": 3, "mask": 1}.get(output.kind)
        if output.side not in sides:
            raise PluginError(f"{who}: an output names side '{output.side}', which has no input")
        if channels is not None and shape != (output.size, output.size, channels):
            raise PluginError(f"{who}: {output} has shape {shape}")
    faces = {output.side for output in network.outputs if output.kind == "face"}
    if faceless := [side for side in sides if side not in faces]:
        raise PluginError(f"{who} gives no face for side '{faceless[0]}'")
    return network


def check_owned(owned: Mapping[str, Any], who: str) -> dict[str, Any]:
    """Return the networks that a trainer or an objective owns, if a checkpoint can hold them.

    Args:
        owned: by name, what ``build_networks`` gave.
        who: gave them.

    Raises:
        PluginError: a name or a type is wrong, or a network has no weights yet.
    """
    for name, model in owned.items():
        if not isinstance(name, str) or not name or "/" in name:
            raise PluginError(f"{who}: {name!r} cannot name a network; use text without '/'")
        where = f"{who}: network '{name}'"
        # On this backend a Keras layer is a torch module too.
        if not isinstance(model, torch.nn.Module):
            kind = type(model).__name__
            raise PluginError(f"{where} is a {kind}; give a keras.Model or a torch.nn.Module")
        if unbuilt := fs_graph.unbuilt(model):
            problem = f"has no weights yet ({unbuilt[0]}); call it once on an input"
            raise PluginError(f"{where} {problem}")
    return dict(owned)


def require_storable(tensors: Mapping[str, torch.Tensor], who: str) -> None:
    """Check that a checkpoint can hold every weight.

    Raises:
        PluginError: naming the first weight of a type that it cannot hold.
    """
    for name, tensor in tensors.items():
        try:
            require_kept(tensor, name)
        except TypeError:
            kind = str(tensor.dtype).removeprefix("torch.")
            problem = f"weight '{name}' is {kind}, which a checkpoint cannot hold"
            mend = "use float32 or another real or integer type"
            raise PluginError(f"{who}: {problem}; {mend}") from None


def to_json(network: Network) -> dict[str, Any]:
    """Return the graph of the swapped network and what its inputs and outputs are.

    Owned networks are not in it: who owns one builds it.
    """
    return {
        "format": FORMAT,
        "sides": list(network.sides),
        "color_order": network.color_order,
        "outputs": [attrs.asdict(output) for output in network.outputs],
        "mixed_layers": list(network.mixed_layers),
        "model": fs_graph.write(network.model),
        # Held the graphs of owned networks once; kept for readers that expect the key.
        "extra": {},
    }


def parse(text: bytes, source: str) -> dict[str, Any]:
    """Read graph JSON within a limit of size.

    Raises:
        ModelFolderError: it is too large, or not a graph.
    """
    try:
        data = fs_graph.parse(text)
    except fs_graph.GraphError as error:
        raise ModelFolderError(f"{source} {error}") from None
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise ModelFolderError(f"{source} is not a network graph of format {FORMAT}")
    return data


def from_json(data: Mapping[str, Any], custom: Mapping[str, type], source: str) -> Network:
    """Return the network of a parsed graph. Call inside `fs_kernel.networks.building`.

    What old graphs hold under "extra" is not looked at.

    Args:
        data: from `parse`; Keras takes it apart.
        custom: classes by name, from the model plugin.
        source: what to call the file in errors.

    Raises:
        ModelFolderError: the graph holds what it may not, or Keras cannot build it.
    """
    try:
        model = fs_graph.read(data.get("model"), custom)
        outputs = [Output(o["side"], o["kind"], int(o["size"])) for o in data["outputs"]]
        sides, mixed = tuple(data["sides"]), tuple(map(str, data["mixed_layers"]))
        built = Network(model, outputs, {}, sides, data["color_order"], mixed)
        return check(built, source)
    except fs_graph.GraphError as error:
        raise ModelFolderError(f"{source} {error}") from error
    except Exception as error:
        raise ModelFolderError(f"{source} cannot be built: {fs_graph.reason_of(error)}") from error


def require_reopenable(network: Network, custom: Mapping[str, type], who: str) -> None:
    """Check that a checkpoint of this network could be opened again, before its first step.

    The states of random generators and Keras's names are left as they were.

    Args:
        network: newly built.
        custom: classes by name, from the model plugin.
        who: built it.

    Raises:
        PluginError: naming the layer that cannot be read back, and what to do.
    """
    weights = named_weights.weights(network)
    require_storable(weights, who)
    taken = named_weights.OWNED
    if path := next((p for p, _ in named_weights.layers(network) if p.startswith(taken)), None):
        raise PluginError(f"{who}: layer '{path[:-1]}': names that begin with {taken} are taken")
    devices = (weight.device for weight in weights.values() if weight.device.type != "meta")
    device = next(devices, torch.device("cpu"))
    before = randomness.capture(device)
    try:
        fs_graph.require_reopenable(network.model, custom, str(device))
    except fs_graph.GraphError as error:
        raise PluginError(f"{who}: {error}") from error
    finally:
        randomness.restore(before, device)


def following_layers(network: Network) -> tuple[str, ...]:
    """Return the paths of the layers of a new network that follow ``training.precision``.

    Networks that a trainer owns are not asked: they keep the types they were built with.
    """
    default, fixed = keras.config.dtype_policy(), keras.Model | keras.layers.InputLayer
    return tuple(
        path
        for path, layer in named_weights.layers(network)
        if layer.dtype_policy is default and not isinstance(layer, fixed)
    )


def apply_precision(network: Network, precision: str, device: str) -> None:
    """Make a network compute in ``precision``.

    Raises:
        ConfigError: the device cannot train in it.
    """
    if precision == "fp16" and device == "cpu":
        raise ConfigError("training.precision=fp16 needs a GPU; on a CPU use bf16 or fp32")
    following = set(network.mixed_layers)
    for path, layer in named_weights.layers(network):
        if path in following:
            layer.dtype_policy = keras.DTypePolicy(POLICIES[precision])
