"""A `fs_kernel.types.Run` of parts, for tests of trainers and their parts without a loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import attrs
import torch
from fs_kernel import networks
from fs_kernel.options import Config
from fs_kernel.options.store import OptionStore
from fs_kernel.plugins.loading import LoadedPlugin
from fs_kernel.plugins.plugin_set import make_role
from fs_kernel.training.coordination import SingleGroup
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
        objectives: what adds terms to the trainer's loss.
    """

    network: Network | None = None
    weights: Callable[[], dict[str, torch.nn.Parameter]] = dict
    config: Mapping[str, Any] = attrs.field(factory=dict)
    found: Mapping[str, Mapping[str, Any]] = attrs.field(factory=dict)
    runs: Callable[..., list[torch.Tensor]] | None = None
    module: torch.nn.Module | None = None
    info: Any = SimpleNamespace(precision="fp32")
    group: Any = attrs.field(factory=SingleGroup)
    objectives: Sequence[Any] = ()
    device: torch.device = attrs.field(factory=lambda: torch.device("cpu"))

    def parameters(self, of: str | None = None) -> dict[str, torch.nn.Parameter]:
        return self.weights() if of is None else networks.parameters(self.network, of)

    def forward(self, inputs: Any, training: bool = True) -> list[torch.Tensor]:
        return self.runs(inputs, training=training)

    def find(self, kind: str, name: str) -> Any:
        store = OptionStore(Config(dict(self.config)))
        role = make_role(kind, LoadedPlugin(kind, name, self.found[kind][name]), store)
        role.config_defaults()
        return role


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
