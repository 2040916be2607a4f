"""Building a network: a cleared session, symbolic inputs, and checks of what a plugin gave."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import attrs

from fs_kernel import backend
from fs_kernel.errors import PluginError
from fs_kernel.randomness import seed_everything
from fs_kernel.storage.tensors import require_kept
from fs_kernel.types import Network, NetworkSpec

if TYPE_CHECKING:
    import keras
    import torch

    from fs_kernel.plugins.roles import Model
    from fs_kernel.types import Side

#: Counts the networks of this process: the first one finds no memory to free, and to look for some
#: takes a fifth of a second.
_built = itertools.count()


@contextlib.contextmanager
def building(seed: int, device: str | torch.device) -> Iterator[None]:
    """Clear the Keras session, seed everything, and make ``device`` the one for new weights.

    Every network is made inside this context.
    """
    keras = backend.keras()
    keras.utils.clear_session(free_memory=next(_built) > 0)
    seed_everything(seed)
    with keras.device(str(device)):
        yield


def make_inputs(spec: NetworkSpec) -> dict[Side, keras.KerasTensor]:
    """Return symbolic inputs ``face_in_<side>``, in the order of the sides."""
    keras = backend.keras()
    return {
        side: keras.Input(shape, name=f"face_in_{side}")
        for side, shape in spec.input_shapes.items()
    }


def build(model: Model) -> Network:
    """Return a new network of a model plugin. Call inside `building`.

    Raises:
        PluginError: what the plugin returned differs from what it says it is.
    """
    spec = model.network_spec()
    with model.blaming("network_spec"):
        inputs = make_inputs(spec)
    network = model.build_model(inputs)
    with model.blaming("build_model"):
        return check(attrs.evolve(network, **_from_spec(spec)), str(model))


def _from_spec(spec: NetworkSpec) -> dict[str, Any]:
    return {"sides": tuple(spec.input_shapes), "color_order": spec.color_order}


def check(network: Network, who: str) -> Network:
    """Return the network if it is as it describes itself.

    Raises:
        PluginError: outputs and their description differ, in number, side, kind or size.
    """
    shapes = [tuple(tensor.shape[1:]) for tensor in network.model.outputs]
    if len(shapes) != len(network.outputs):
        raise PluginError(f"{who} describes {len(network.outputs)} outputs, has {len(shapes)}")
    if len(network.model.inputs) != len(network.sides):
        raise PluginError(
            f"{who} has {len(network.model.inputs)} inputs, {len(network.sides)} sides"
        )
    for shape, output in zip(shapes, network.outputs, strict=True):
        channels = {"face": 3, "mask": 1}.get(output.kind)
        if output.side not in network.sides:
            raise PluginError(f"{who}: an output names side '{output.side}', which has no input")
        if channels is not None and shape != (output.size, output.size, channels):
            raise PluginError(f"{who}: {output} has shape {shape}")
    for side in network.sides:
        if not any(o.kind == "face" for _, o in network.outputs_of(side)):
            raise PluginError(f"{who} gives no face for side '{side}'")
    return network


def check_owned(owned: Mapping[str, Any], who: str) -> dict[str, Any]:
    """Return the networks that a trainer or an objective owns, if a checkpoint can hold them.

    Args:
        owned: by name, what ``build_networks`` gave.
        who: gave them.

    Raises:
        PluginError: a name or a type is wrong, or a network has no weights yet.
    """
    keras, torch = backend.keras(), backend.torch()
    for name, model in owned.items():
        if not isinstance(name, str) or not name or "/" in name:
            raise PluginError(f"{who}: {name!r} cannot name a network; use text without '/'")
        where = f"{who}: network '{name}'"
        if isinstance(model, keras.layers.Layer):
            inside = [model, *model._flatten_layers(include_self=False)]
            unbuilt = next((layer.name for layer in inside if not layer.built), None)
        elif isinstance(model, torch.nn.Module):
            lazy = torch.nn.parameter.UninitializedTensorMixin
            named = itertools.chain(model.named_parameters(), model.named_buffers())
            unbuilt = next((weight for weight, t in named if isinstance(t, lazy)), None)
        else:
            kind = type(model).__name__
            raise PluginError(f"{where} is a {kind}; give a keras.Model or a torch.nn.Module")
        if unbuilt is not None:
            raise PluginError(f"{where} has no weights yet ({unbuilt}); call it once on an input")
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
            raise PluginError(
                f"{who}: weight '{name}' is {kind}, which a checkpoint cannot hold; "
                "use float32 or another real or integer type"
            ) from None
