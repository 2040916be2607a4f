"""Records for building, cutting and running a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

import attrs

if TYPE_CHECKING:
    import keras
    import torch

#: Whose faces: "a", "b", or another name of the network's `NetworkSpec`.
Side: TypeAlias = str
#: Order of the channels of a picture.
ColorOrder = Literal["bgr", "rgb"]
#: What an output is: a face, a mask, or something without a target of its own.
OutputKind = Literal["face", "mask", "aux"]


class Forward(Protocol):
    """Run a network; what an executor's ``make_forward`` returns.

    A lowered network shows in one more attribute, ``module``: a `torch.nn.Module` that is called
    with one picture per side, in the order of the sides, and returns the same list; it trains if
    ``module.training``. Its parameters are the network's own, read at each call, so that replacing
    them (by a shard, by a replica) changes the result, except in the parts that are named in
    ``module.fallbacks`` (empty if there are none). ``module.sub_models`` has the sub-models by
    name.
    """

    def __call__(
        self, inputs: Mapping[Side, torch.Tensor], training: bool = True
    ) -> list[torch.Tensor]:
        """Return the outputs, flat, in the order of ``Network.outputs``.

        Args:
            inputs: per side ``(n, h, w, c)``, on the run's device.
            training: whether dropout and the like are active.
        """


@attrs.frozen
class NetworkSpec:
    """Describe what a network takes in, before it is built.

    Attributes:
        input_shapes: ``(height, width, channels)`` per side; the order of the keys is the order of
            the sides and of the model's inputs.
        color_order: channel order the network was designed for.
    """

    input_shapes: Mapping[Side, tuple[int, int, int]]
    color_order: ColorOrder = "bgr"


@attrs.frozen
class Output:
    """Describe one output tensor of a network.

    Attributes:
        side: the side whose decoder gives it.
        kind: "face" ``(n, size, size, 3)``, "mask" ``(n, size, size, 1)`` or "aux" (no target).
        size: edge length in pixels (0 for "aux").
    """

    side: Side
    kind: OutputKind
    size: int


@attrs.define(eq=False)
class Network:
    """Hold a built network.

    A model plugin gives ``model`` and ``outputs``; the kernel fills in the rest.

    Attributes:
        model: one input per side, in the order of the sides; its outputs, flat.
        outputs: what each of ``model.outputs`` is, in the same order.
        owned: networks that a trainer or an objective owns (see the hook ``build_networks``), by
            name: trained and saved, never swapped, exported or part of ``model``.
        sides: the sides in the order of ``model.inputs``.
        color_order: channel order of inputs and face outputs.
        mixed_layers: paths of the layers that follow ``training.precision``.
    """

    model: keras.Model
    outputs: Sequence[Output]
    owned: dict[str, keras.Model | torch.nn.Module] = attrs.field(factory=dict)
    sides: tuple[Side, ...] = ()
    color_order: ColorOrder = "bgr"
    mixed_layers: tuple[str, ...] = ()

    def outputs_of(self, side: Side) -> list[tuple[int, Output]]:
        """Return the outputs of one side as ``(position in model.outputs, Output)``, in order."""
        return [(i, output) for i, output in enumerate(self.outputs) if output.side == side]
