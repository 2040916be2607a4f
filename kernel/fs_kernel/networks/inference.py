"""Cut one swap direction out of a trained network.

The cut is a Functional over the tensors that are already there: no layer is called again and
nothing is cloned, so it shares the weights, leaves its source as it was, and does not care how
often a sub-model is used. To turn faces of one side into another, the path of the *target* side is
taken; which input it starts from makes no difference to an autoencoder, only the faces fed to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from fs_kernel import backend
from fs_kernel.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    import torch

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
    keras = backend.keras()
    for side in (source, target):
        if side not in network.sides:
            raise UsageError(f"this model has no side '{side}' (it has {', '.join(network.sides)})")
    shapes = [tuple(tensor.shape[1:]) for tensor in network.model.inputs]
    start = network.sides.index(target)
    if shapes[network.sides.index(source)] != shapes[start]:
        raise UsageError(
            f"sides '{source}' and '{target}' take pictures of different shape; "
            "the model plugin must give a build_inference hook"
        )
    chosen = network.outputs_of(target)
    tensors = [network.model.outputs[position] for position, _ in chosen]
    name = f"{network.model.name}_inference"
    try:
        model = keras.Model([network.model.inputs[start]], tensors, name=name)
    except ValueError as error:
        raise UsageError(
            f"the path of side '{target}' needs other sides' faces too; "
            "the model plugin must give a build_inference hook"
        ) from error
    return attrs.evolve(
        network, model=model, outputs=[o for _, o in chosen], sides=(source,), owned={}
    )


def swapper_network(model: Model, network: Network, source: Side, target: Side) -> Network:
    """Return the swap network: the model plugin's own if it gives one, else the kernel's cut."""
    own = model.build_inference(network, source, target)
    if own is None:
        return cut(network, source, target)
    outputs = [output for _, output in network.outputs_of(target)]
    return attrs.evolve(network, model=own, outputs=outputs, sides=(source,), owned={})


class Swapper:
    """Swaps batches of faces of one side into another.

    Args:
        network: from `swapper_network`.
        forward: that network's forward pass.
        device: where inputs go.
    """

    def __init__(self, network: Network, forward: Forward, device: torch.device) -> None:
        self._side: Any = network.sides[0]
        self._forward = forward
        self._device = device
        self._face = max((o.size, i) for i, o in enumerate(network.outputs) if o.kind == "face")[1]
        masks = [(o.size, i) for i, o in enumerate(network.outputs) if o.kind == "mask"]
        self._mask = max(masks)[1] if masks else None

    def __call__(self, faces: torch.Tensor) -> tuple[np.ndarray, np.ndarray | None]:
        """Swap ``(n, h, w, c)`` float32 0..1.

        Returns:
            Faces ``(n, H, W, 3)`` and the learned masks ``(n, H, W)`` or None; float32 0..1.
        """
        torch = backend.torch()
        with torch.no_grad():
            outputs = self._forward({self._side: faces.to(self._device)}, training=False)
            face = outputs[self._face].float().clamp(0, 1).cpu().numpy()
            if self._mask is None:
                return face, None
            return face, outputs[self._mask].float().clamp(0, 1).cpu().numpy()[..., 0]


class SwapperCache:
    """Makes the swapper of each direction of one network once, and keeps it.

    Args:
        plugins: the run's plugins.
        network: the trained network.
        device: where to compute.
        precision: of the forward pass.
    """

    def __init__(
        self, plugins: RunPlugins, network: Network, device: torch.device, precision: str
    ) -> None:
        self._plugins, self._network = plugins, network
        self._device, self._precision = device, precision
        self._made: dict[tuple[Side, Side], Swapper] = {}

    def __call__(self, source: Side, target: Side) -> Swapper:
        """Return what turns batches of faces of ``source`` into ``target``."""
        if (source, target) not in self._made:
            swap = swapper_network(self._plugins.model, self._network, source, target)
            forward = self._plugins.executor.make_forward(swap, self._device, self._precision)
            self._made[source, target] = Swapper(swap, forward, self._device)
        return self._made[source, target]
