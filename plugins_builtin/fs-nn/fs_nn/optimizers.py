"""Optimisers whose settings come from options and whose state belongs to named weights."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from fs_kernel.errors import ConfigError, ModelFolderError
from fs_kernel.types import Run, Tree
from torch import Tensor
from torch.nn import Parameter

from fs_nn.options import OptimizerOptions

#: torch's Adam, with weight decay added to the gradient (L2).
adam = torch.optim.Adam


class NamedOptimizer:
    """A torch optimiser that knows its weights by name.

    Args:
        optimizer: over exactly ``parameters``.
        parameters: the weights by their lasting names.
        scaler: scales the loss so that half-precision gradients do not vanish; None for none.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        parameters: Mapping[str, Parameter],
        scaler: torch.amp.GradScaler | None = None,
    ) -> None:
        self._optimizer = optimizer
        self._parameters = dict(parameters)
        self._scaler = scaler
        self._checked = False

    @property
    def learning_rate(self) -> float:
        """The rate of the next step."""
        return float(self._optimizer.param_groups[0]["lr"])

    def backward(self, total: Tensor) -> None:
        """Add the gradients of a loss, a scalar with its graph."""
        (total if self._scaler is None else self._scaler.scale(total)).backward()

    def step(self) -> None:
        """Change the weights by their gradients; a step with overflown ones is left out."""
        if not self._checked:
            self._check_layout()
            self._checked = True
        if self._scaler is None:
            self._optimizer.step()
        else:
            self._scaler.step(self._optimizer)
            self._scaler.update()

    def zero_grad(self) -> None:
        """Drop all gradients."""
        self._optimizer.zero_grad(set_to_none=True)

    def state(self) -> Tree:
        """What `restore` needs; the tensors are the optimiser's own, not copies.

        Returns:
            ``{"weights": {name: {"shape": [...], "values": {...}}}, "scaler": {...} or None}``.
        """
        weights = {
            name: {"shape": list(parameter.shape), "values": dict(values)}
            for name, parameter in self._parameters.items()
            if (values := self._optimizer.state.get(parameter))
        }
        return {"weights": weights, "scaler": self._scaler and self._scaler.state_dict()}

    def restore(self, tree: Tree) -> None:
        """Take over what `state` gave; learning rate, decay and the like stay as they are now.

        Weights the tree does not know start afresh, entries for weights that are gone or frozen
        are passed over. Nothing is changed if anything does not fit.

        Raises:
            ModelFolderError: an entry belongs to a weight of another shape.
        """
        state = {}
        for number, parameter in enumerate(self._in_group_order()):
            entry = tree["weights"].get(self._name_of(parameter))
            if entry is not None:
                self._check_shape(parameter, entry["shape"])
                state[number] = {
                    key: _as_laid_out(value, parameter) for key, value in entry["values"].items()
                }
        groups = self._optimizer.state_dict()["param_groups"]
        self._optimizer.load_state_dict({"state": state, "param_groups": groups})
        if self._scaler is not None and tree["scaler"]:
            self._scaler.load_state_dict(tree["scaler"])
        self._checked = False

    def _in_group_order(self) -> list[Parameter]:
        return [p for group in self._optimizer.param_groups for p in group["params"]]

    def _name_of(self, parameter: Parameter) -> str:
        return next(name for name, p in self._parameters.items() if p is parameter)

    def _check_shape(self, parameter: Parameter, shape: list[int]) -> None:
        if list(parameter.shape) != list(shape):
            raise ModelFolderError(
                f"the saved optimizer state of '{self._name_of(parameter)}' is for shape "
                f"{list(shape)}, but the weight has {list(parameter.shape)}; "
                "the state belongs to another network"
            )

    def _check_layout(self) -> None:
        # Fused kernels walk parameter, gradient and moments as flat memory: other strides would
        # pair the wrong elements without a word.
        for name, parameter in self._parameters.items():
            values = self._optimizer.state.get(parameter, {}).values()
            for tensor in (parameter.grad, *values):
                if isinstance(tensor, torch.Tensor) and not _laid_out_alike(tensor, parameter):
                    raise RuntimeError(
                        f"weight '{name}' has strides {parameter.stride()}, but its gradient or "
                        f"optimizer state has {tensor.stride()}"
                    )


def build_optimizer(run: Run, options: OptimizerOptions) -> NamedOptimizer:
    """The optimiser that the options name, over all trainable weights of a run.

    Weight decay applies to weights of rank 2 and more that are no biases; the rest is in a second
    group without it. An optimiser is given those of ``lr``, ``betas``, ``eps``, ``weight_decay``,
    ``amsgrad`` that its signature names, and ``fused`` where torch has it for the device. The loss
    is scaled under fp16.

    Raises:
        ConfigError: no weight is left to train.
        PluginError: the optimiser is not installed.
    """
    parameters = run.parameters()
    if not parameters:
        raise ConfigError("all weights are frozen, so there is nothing to train")
    decayed = {n: p for n, p in parameters.items() if p.ndim >= 2 and not n.endswith("bias")}
    rest = [p for n, p in parameters.items() if n not in decayed]
    groups = [
        {"params": list(decayed.values())},
        {"params": rest, "weight_decay": 0.0},
    ]
    make = run.find("optimizers", options.optimizer)
    settings = _settings(options, run.device)
    accepted = inspect.signature(make).parameters
    chosen = {key: value for key, value in settings.items() if key in accepted}
    half = run.info.precision == "fp16"
    scaler = torch.amp.GradScaler(run.device.type) if half else None
    return NamedOptimizer(make(groups, **chosen), parameters, scaler)


def _settings(options: OptimizerOptions, device: torch.device) -> dict[str, Any]:
    return {
        "lr": options.learning_rate,
        "betas": (options.ada_beta_1, options.ada_beta_2),
        "eps": 10.0**options.epsilon_exponent,
        "weight_decay": options.weight_decay,
        "amsgrad": options.ada_amsgrad,
        "fused": device.type in ("cpu", "cuda"),
    }


def _laid_out_alike(tensor: torch.Tensor, parameter: Parameter) -> bool:
    if tensor.shape != parameter.shape:
        return True
    strides = zip(tensor.shape, tensor.stride(), parameter.stride(), strict=True)
    return all(one == other for size, one, other in strides if size > 1)


def _as_laid_out(value: Any, parameter: Parameter) -> Any:
    """A copy of a saved value; what has the weight's shape gets its strides too."""
    if not isinstance(value, torch.Tensor):
        return value
    if value.shape != parameter.shape:
        return value.clone()
    return torch.empty_like(parameter, requires_grad=False).copy_(value)
