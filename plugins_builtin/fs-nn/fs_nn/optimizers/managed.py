"""Manage everything that a step of an optimizer does, with its state by the weights' names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from fs_kernel.errors import ModelFolderError
from fs_kernel.types import Tree
from torch import Tensor
from torch.nn import Parameter

from fs_nn.clipping import AutoClip, Clip
from fs_nn.dtensor import copy_full
from fs_nn.ema import WeightAverage
from fs_nn.schedule import WarmUp


class ManagedOptimizer:
    """Run the steps of a torch optimizer whose weights are known by name.

    Args:
        optimizer: over exactly ``parameters``.
        parameters: the weights by their stable names.
        schedule: gives every step its learning rate.
        scaler: scales the loss so that half-precision gradients do not vanish; None for none.
        clip: bounds the gradients before a step; None for no bounds.
        average: follows the weights; None for no average.
        accumulation: how many batches' gradients are averaged for one step.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        parameters: Mapping[str, Parameter],
        schedule: WarmUp,
        *,
        scaler: torch.amp.GradScaler | None = None,
        clip: Clip | None = None,
        average: WeightAverage | None = None,
        accumulation: int = 1,
    ) -> None:
        self.schedule = schedule
        self.average = average
        self._optimizer = optimizer
        self._parameters = dict(parameters)
        self._names = {id(parameter): name for name, parameter in parameters.items()}
        self._scaler = scaler
        self._clip = clip
        self._accumulation = accumulation
        self._batches = 0
        self._steps = 0
        self._checked = False
        self._stepped = False
        optimizer.register_step_post_hook(self._note_step)

    @property
    def steps(self) -> int:
        """Number of steps done in the life of the model."""
        return self._steps

    @property
    def groups(self) -> list[dict[str, Parameter]]:
        """The weights of each parameter group by their stable names."""
        groups = self._optimizer.param_groups
        return [{self._names[id(p)]: p for p in group["params"]} for group in groups]

    @property
    def learning_rate(self) -> float:
        """The rate of the next step."""
        return self.schedule.rate_at(self._steps + 1)

    @property
    def completes(self) -> bool:
        """Whether the next batch completes a step, so that the weights change."""
        return self._batches + 1 >= self._accumulation

    def accumulated_gradients(self) -> dict[str, Tensor]:
        """Return the gradients that wait for their step, by the weights' names; not copies."""
        if not self._batches:
            return {}
        return {n: p.grad for n, p in self._parameters.items() if p.grad is not None}

    def change(
        self,
        settings: Sequence[Mapping[str, float]],
        schedule: WarmUp,
        *,
        clip: Clip | None,
        ema_decay: float,
        accumulation: int,
    ) -> None:
        """Take over other options, with the effect of a session that is resumed with them.

        Args:
            settings: per parameter group, what to set of what the optimizer knows.
            schedule: gives every step its learning rate.
            clip: bounds the gradients; a new `AutoClip` takes over the history of the old one.
            ema_decay: of the average, which begins with the weights as they are; 0 for none.
            accumulation: gradients waiting for a step of other length are dropped.
        """
        for group, values in zip(self._optimizer.param_groups, settings, strict=True):
            group.update({key: value for key, value in values.items() if key in group})
        self.schedule = schedule
        if isinstance(clip, AutoClip) and isinstance(self._clip, AutoClip):
            clip.load_state_dict(self._clip.state_dict())
        self._clip = clip
        if not ema_decay:
            self.average = None
        elif self.average is None:
            self.average = WeightAverage(self._parameters, ema_decay)
        else:
            self.average.decay = ema_decay
        if accumulation != self._accumulation:
            self._accumulation, self._batches = accumulation, 0
            self._optimizer.zero_grad(set_to_none=True)

    def backward(self, total: Tensor) -> None:
        """Add the gradients of one batch's loss, a scalar with its graph."""
        share = total / self._accumulation
        (share if self._scaler is None else self._scaler.scale(share)).backward()

    def step(self) -> bool:
        """Change the weights if it is time, and then drop the gradients. Call once per batch.

        Returns:
            Whether the weights were changed. False while gradients are accumulated, and where
            gradients that overflowed in half precision had to be left out. A fused optimizer leaves
            them out on the device, which only waiting for it could tell, so there it is True.
        """
        self._batches += 1
        if self._batches < self._accumulation:
            return False
        self._batches = 0
        if not self._checked:
            self._check_layout()
            self._checked = True
        for group in self._optimizer.param_groups:
            group["lr"] = self.learning_rate
        self._stepped = False
        self._change_weights()
        self._optimizer.zero_grad(set_to_none=True)
        self._steps += self._stepped
        if self.average is not None and self._stepped:
            self.average.update()
        return self._stepped

    def _change_weights(self) -> None:
        if self._scaler is not None and self._clip is not None:
            self._scaler.unscale_(self._optimizer)
        if self._clip is not None:
            self._clip([p.grad for p in self._parameters.values() if p.grad is not None])
        if self._scaler is None:
            self._optimizer.step()
        else:
            self._scaler.step(self._optimizer)
            self._scaler.update()

    def _note_step(self, *_: Any) -> None:
        # The scaler calls the optimizer only if no gradient overflowed.
        self._stepped = True

    def state_dict(self) -> Tree:
        """Return what `load_state_dict` needs; the tensors are the optimizer's own, not copies.

        Returns:
            ``weights``: per name ``{"shape": [...], "values": {...}}``, the moments;
            ``steps``: done so far; ``accumulated``: gradients waiting for the next step, by name,
            of how many batches out of how many; ``scaler``, ``clipping``, ``average``: of these
            parts, or None.
        """
        weights = {
            name: {"shape": list(parameter.shape), "values": dict(values)}
            for name, parameter in self._parameters.items()
            if (values := self._optimizer.state.get(parameter))
        }
        return {
            "weights": weights,
            "steps": self._steps,
            "accumulated": {
                "batches": self._batches,
                "of": self._accumulation,
                "gradients": self.accumulated_gradients(),
            },
            "scaler": self._scaler and self._scaler.state_dict(),
            "clipping": self._clip.state_dict() if isinstance(self._clip, AutoClip) else None,
            "average": self.average and self.average.state_dict(),
        }

    def load_state_dict(self, tree: Tree) -> None:
        """Take over what `state_dict` returned; learning rate, decay and the like stay as they are.

        Weights the tree does not know start without moments, entries for weights that are gone or
        frozen are passed over, and so are waiting gradients if accumulation or loss scaling is set
        otherwise now. Gradients of the present are dropped. Nothing is changed if anything does
        not fit.

        Raises:
            ModelFolderError: an entry belongs to a weight of another shape.
        """
        state = {}
        for number, parameter in enumerate(self._in_group_order()):
            entry = tree["weights"].get(self._names[id(parameter)])
            if entry is not None:
                self._check_shape(parameter, entry["shape"])
                state[number] = {
                    key: _as_laid_out(value, parameter) for key, value in entry["values"].items()
                }
        if self.average is not None and tree["average"] is not None:
            self.average.check(tree["average"])
            self.average.load_state_dict(tree["average"])
        groups = self._optimizer.state_dict()["param_groups"]
        self._optimizer.load_state_dict({"state": state, "param_groups": groups})
        self._steps = tree["steps"]
        self._restore_accumulated(tree)
        if self._scaler is not None and tree["scaler"]:
            self._scaler.load_state_dict(tree["scaler"])
        if isinstance(self._clip, AutoClip) and tree["clipping"] is not None:
            self._clip.load_state_dict(tree["clipping"])
        self._checked = False

    def _restore_accumulated(self, tree: Tree) -> None:
        self._optimizer.zero_grad(set_to_none=True)
        self._batches = 0
        waiting = tree["accumulated"]
        same_scale = bool(tree["scaler"]) == (self._scaler is not None)
        if waiting["of"] != self._accumulation or not same_scale:
            return
        self._batches = waiting["batches"]
        for name, gradient in waiting["gradients"].items():
            if name in self._parameters:
                parameter = self._parameters[name]
                parameter.grad = _as_laid_out(gradient, parameter)

    def _in_group_order(self) -> list[Parameter]:
        return [p for group in self._optimizer.param_groups for p in group["params"]]

    def _check_shape(self, parameter: Parameter, shape: list[int]) -> None:
        if list(parameter.shape) != list(shape):
            raise ModelFolderError(
                f"the saved optimizer state of '{self._names[id(parameter)]}' is for shape "
                f"{list(shape)}, but the weight has {list(parameter.shape)}; "
                "the state belongs to another network"
            )

    def _check_layout(self) -> None:
        # Fused kernels walk parameter, gradient and moments as flat memory: other strides would
        # pair the wrong elements silently.
        for name, parameter in self._parameters.items():
            values = self._optimizer.state.get(parameter, {}).values()
            for tensor in (parameter.grad, *values):
                if isinstance(tensor, torch.Tensor) and not _laid_out_alike(tensor, parameter):
                    raise RuntimeError(
                        f"weight '{name}' has strides {parameter.stride()}, but its gradient or "
                        f"optimizer state has {tensor.stride()}"
                    )


def _laid_out_alike(tensor: torch.Tensor, parameter: Parameter) -> bool:
    if tensor.shape != parameter.shape:
        return True
    strides = zip(tensor.shape, tensor.stride(), parameter.stride(), strict=True)
    return all(one == other for size, one, other in strides if size > 1)


def _as_laid_out(value: Any, parameter: Parameter) -> Any:
    """Return a copy of a saved value; what has the weight's shape gets its strides too."""
    if not isinstance(value, torch.Tensor):
        return value
    if value.shape != parameter.shape:
        return value.clone()
    copy = torch.empty_like(parameter, requires_grad=False)
    copy_full(copy, value)
    return copy
