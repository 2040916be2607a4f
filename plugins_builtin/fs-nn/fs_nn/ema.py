"""Keep a running average of the weights beside them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from fs_kernel.errors import ModelFolderError
from fs_kernel.types import Tree
from torch import Tensor
from torch.nn import Parameter

from fs_nn.dtensor import copy_full


class WeightAverage:
    """Keep the exponential moving average of named weights.

    It begins as a copy of the weights. After update n the share kept is the smaller of ``decay``
    and ``(1 + n) / (10 + n)``, so that the start is soon forgotten.

    Args:
        parameters: the weights by their stable names.
        decay: share of the old average kept per update, 0..1; may be changed at any time.
    """

    def __init__(self, parameters: Mapping[str, Parameter], decay: float) -> None:
        self._parameters = dict(parameters)
        self.decay = decay
        self._updates = 0
        self._averages = {name: p.detach().clone() for name, p in parameters.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights as they are."""
        self._updates += 1
        kept = min(self.decay, (1 + self._updates) / (10 + self._updates))
        weights = [parameter.detach() for parameter in self._parameters.values()]
        torch._foreach_lerp_(list(self._averages.values()), weights, 1 - kept)

    def weights(self) -> dict[str, Tensor]:
        """Return the averages by the weights' names: not copies, they change with each update."""
        return dict(self._averages)

    def state_dict(self) -> Tree:
        """Return ``{"updates": n, "weights": {name: tensor}}``."""
        return {"updates": self._updates, "weights": self.weights()}

    def check(self, tree: Tree) -> None:
        """Compare what `state_dict` returned with the weights, changing nothing.

        Raises:
            ModelFolderError: an average has another shape than its weight.
        """
        for name, average in self._averages.items():
            saved = tree["weights"].get(name)
            if saved is not None and saved.shape != average.shape:
                raise ModelFolderError(
                    f"the saved average of '{name}' has shape {list(saved.shape)}, but the weight "
                    f"has {list(average.shape)}; it belongs to another network"
                )

    def load_state_dict(self, tree: Tree) -> None:
        """Take over what `state_dict` returned; a weight it lacks begins with its present value."""
        self._updates = tree["updates"]
        for name, average in self._averages.items():
            if name in tree["weights"]:
                copy_full(average, tree["weights"][name])
