"""Cut one swap direction out of a trained network.

The cut is a Functional over the tensors that are already there: no layer is called again and
nothing is cloned, so it shares the weights, leaves its source as it was, and does not care how
often a sub-model is used. To turn faces of one side into another, the path of the *target* side is
taken; which input it starts from makes no difference to an autoencoder, only the faces fed to it.
"""

from __future__ import annotations

import attrs
import keras
import numpy as np
import torch

from fs_kernel.errors import UsageError
from fs_kernel.plugins.plugin_set import RunPlugins
from fs_kernel.plugins.roles import Model
from fs_kernel.types import Forward, Network, Side


def cut(network: Network, source: Side, target: Side) -> Network:
    """Cut out the network that turns faces of ``source`` into ``target``.

    Returns:
        One input, the outputs of ``target``; weights shared with ``network``.

    Raises:
        UsageError: a side is unknown, or the target's path needs more than its own input.
    """
    inputs = dict(zip(network.sides, network.model.inputs, strict=True))
    for side in (source, target):
        if side not in inputs:
            raise UsageError(f"this model has no side '{side}' (it has {', '.join(inputs)})")
    what_to_do = "the model plugin must give a build_inference hook"
    if inputs[source].shape[1:] != inputs[target].shape[1:]:
        differ = f"sides '{source}' and '{target}' take pictures of different shape"
        raise UsageError(f"{differ}; {what_to_do}")
    tensors = [network.model.outputs[position] for position, _ in network.outputs_of(target)]
    try:
        model = keras.Model([inputs[target]], tensors, name=f"{network.model.name}_inference")
    except ValueError as error:
        needs = f"the path of side '{target}' needs other sides' faces too"
        raise UsageError(f"{needs}; {what_to_do}") from error
    return _swap(network, model, source, target)


def _swap(network: Network, model: keras.Model, source: Side, target: Side) -> Network:
    outputs = [output for _, output in network.outputs_of(target)]
    return attrs.evolve(network, model=model, outputs=outputs, sides=(source,), owned={})


def swapper_network(model: Model, network: Network, source: Side, target: Side) -> Network:
    """Return the swap network: the model plugin's own if it gives one, else the kernel's cut."""
    own = model.build_inference(network, source, target)
    return cut(network, source, target) if own is None else _swap(network, own, source, target)


class Swapper:
    """Swaps batches of faces of one side into another.

    Args:
        network: from `swapper_network`.
        forward: that network's forward pass.
        device: where inputs go.
    """

    def __init__(self, network: Network, forward: Forward, device: torch.device) -> None:
        self._side, self._forward, self._device = network.sides[0], forward, device
        # The largest of each kind is the last.
        ordered = sorted(enumerate(network.outputs), key=lambda pair: pair[1].size)
        self._largest = {o.kind: position for position, o in ordered if o.kind != "aux"}

    def __call__(self, faces: torch.Tensor) -> tuple[np.ndarray, np.ndarray | None]:
        """Swap ``(n, h, w, c)`` float32 0..1.

        Returns:
            Faces ``(n, H, W, 3)`` and the learned masks ``(n, H, W)`` or None; float32 0..1.
        """
        with torch.no_grad():
            outputs = self._forward({self._side: faces.to(self._device)}, training=False)
            largest = {kind: outputs[position] for kind, position in self._largest.items()}
            found = {k: each.float().clamp(0, 1).cpu().numpy() for k, each in largest.items()}
        return found["face"], found["mask"][..., 0] if "mask" in found else None


@attrs.frozen(eq=False)
class SwapperCache:
    """Makes the swapper of each direction of one network once, and keeps it.

    Args:
        plugins: the run's plugins.
        network: the trained network.
        device: where to compute.
        precision: of the forward pass.
    """

    _plugins: RunPlugins
    _network: Network
    _device: torch.device
    _precision: str
    _made: dict[tuple[Side, Side], Swapper] = attrs.field(init=False, factory=dict)

    def __call__(self, source: Side, target: Side) -> Swapper:
        """Return what turns batches of faces of ``source`` into ``target``."""
        if (source, target) not in self._made:
            swap = swapper_network(self._plugins.model, self._network, source, target)
            forward = self._plugins.executor.make_forward(swap, self._device, self._precision)
            self._made[source, target] = Swapper(swap, forward, self._device)
        return self._made[source, target]
