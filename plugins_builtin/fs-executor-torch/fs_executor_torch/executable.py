"""The module that runs a whole network."""

from __future__ import annotations

from typing import Any

import keras
import torch
from torch import Tensor, nn

from fs_executor_torch.fallback import Fallback
from fs_executor_torch.graph import LoweredModel, graph_of
from fs_executor_torch.options import FastOptions


class Executable(nn.Module):
    """A network as torch operations.

    Takes one picture ``(n, h, w, c)`` float32 per side, in the order of the sides; returns the
    outputs as a flat list, in the order of ``Network.outputs``. Whether it trains (dropout, batch
    norm) is ``module.training``, as with any torch module: set it with ``train()`` and ``eval()``.

    Its parameters are the network's own `torch.nn.Parameter` objects, held by the parts and read at
    each call. Replacing them (sharding, a replica for another device) changes the result, except in
    the parts named in ``fallbacks``.

    Attributes:
        network: the whole graph, a `fs_executor_torch.graph.LoweredModel`; its children are the
            sub-models and layers by name.
        fallbacks: names of the parts that hold weights and that Keras runs, with Keras's weights.
    """

    def __init__(self, model: Any, options: FastOptions) -> None:
        super().__init__()
        graph = graph_of(model)
        self.network: nn.Module = (
            Fallback(model) if graph is None else LoweredModel(graph, options, {})
        )
        last = options.layout == "channels_last"
        self._format = torch.channels_last if last else torch.contiguous_format
        self.fallbacks = [
            name.removeprefix("network.")
            for name, part in self.named_modules()
            if isinstance(part, Fallback) and any(True for _ in part.parameters())
        ]

    @property
    def sub_models(self) -> dict[str, nn.Module]:
        """The sub-models of the network by their names: blocks to shard one by one."""
        return {
            name: part
            for name, part in self.network.named_children()
            if isinstance(part, LoweredModel)
        }

    def forward(self, *pictures: Tensor) -> list[Tensor]:
        turned = [p.permute(0, 3, 1, 2).contiguous(memory_format=self._format) for p in pictures]
        if isinstance(self.network, Fallback):
            outputs = keras.tree.flatten(self.network(turned if len(turned) > 1 else turned[0]))
        else:
            outputs = self.network(*turned)
        return [out.permute(0, 2, 3, 1) if out.ndim == 4 else out for out in outputs]
