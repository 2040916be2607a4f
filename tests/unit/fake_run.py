"""A `fs_kernel.types.Run` of parts, for tests of trainers and their parts without an engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import attrs
import torch
from fs_kernel.training.coordination import Alone
from fs_kernel.types import Batch, BatchMeta, Network


@attrs.define
class FakeRun:
    """What a trainer holds of a run.

    Attributes:
        network: the network.
        weights: gives the trainable weights by name.
        config: option objects by section.
        found: what is installed, ``found[kind][name]``.
        runs: the forward pass.
        module: what runs the lowered network.
        info: the facts of the session.
        group: the processes that share it.
    """

    network: Network | None = None
    weights: Callable[[], dict[str, torch.nn.Parameter]] = dict
    config: Mapping[str, Any] = attrs.field(factory=dict)
    found: Mapping[str, Mapping[str, Any]] = attrs.field(factory=dict)
    runs: Callable[..., list[torch.Tensor]] | None = None
    module: torch.nn.Module | None = None
    info: Any = SimpleNamespace(precision="fp32")
    group: Any = attrs.field(factory=Alone)
    device: torch.device = attrs.field(factory=lambda: torch.device("cpu"))

    def parameters(self) -> dict[str, torch.nn.Parameter]:
        return self.weights()

    def forward(self, inputs: Any, training: bool = True) -> list[torch.Tensor]:
        return self.runs(inputs, training=training)

    def find(self, kind: str, name: str) -> Any:
        return self.found[kind][name]


def random_batch(
    network: Network, count: int, seed: int = 0, step: int = 1, size: int = 64
) -> Batch:
    """Noise for inputs and targets, a disc for the face mask, bars for eyes and mouth."""
    rng = torch.Generator().manual_seed(seed)

    def noise(edge: int, channels: int) -> torch.Tensor:
        return torch.rand((count, edge, edge, channels), generator=rng)

    masks: dict[str, dict[str, dict[int, torch.Tensor]]] = {}
    for output in network.outputs:
        of_side = masks.setdefault(output.side, {"face": {}, "eye": {}, "mouth": {}})
        y, x = torch.meshgrid(*[torch.linspace(-1, 1, output.size)] * 2, indexing="ij")
        shapes = {
            "face": x**2 + y**2 < 0.8,
            "eye": (y - 0.3).abs() < 0.1,
            "mouth": (y + 0.3).abs() < 0.1,
        }
        for name, shape in shapes.items():
            of_side[name][output.size] = shape.float().expand(count, -1, -1).unsqueeze(-1)
    return Batch(
        step,
        {side: noise(size, 3) for side in network.sides},
        {
            side: [noise(o.size, 3 if o.kind == "face" else 1) for _, o in network.outputs_of(side)]
            for side in network.sides
        },
        BatchMeta({}, masks),
    )
