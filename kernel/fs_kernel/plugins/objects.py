"""The objects that plugins return, behind calls that blame the plugin for what it raises.

Optional methods that an object lacks do nothing here, so that callers need not ask.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fs_kernel import types
from fs_kernel.errors import PluginError
from fs_kernel.options.fields import Interval

if TYPE_CHECKING:
    import numpy as np
    import torch

    from fs_kernel.plugins.plugin import Plugin
    from fs_kernel.types import Batch, Side


class ActiveObject:
    """An object of a plugin.

    Args:
        plugin: whose it is.
        made: what the plugin returned; None stands for an object without any method.

    Attributes:
        plugin: whose it is.
        made: what the plugin returned.
    """

    def __init__(self, plugin: Plugin, made: Any) -> None:
        self.plugin, self.made = plugin, made

    def has(self, method: str) -> bool:
        """Return whether the object has a method."""
        return callable(getattr(self.made, method, None))

    def call(self, method: str, *arguments: Any) -> Any:
        """Call a method, or return None if the object does not have it."""
        found = getattr(self.made, method, None)
        if found is None:
            return None
        with self.plugin.blaming(method):
            return found(*arguments)

    def state_dict(self) -> types.Tree:
        """Return the object's state; None if it has none."""
        return self.call("state_dict")

    def load_state_dict(self, state: types.Tree) -> None:
        """Give the object its state back."""
        self.call("load_state_dict", state)

    def on_options_changed(self) -> None:
        """Tell the object that options of its sections have changed."""
        self.call("on_options_changed", self.plugin.config)

    def close(self, failed: bool) -> None:
        """Close the object."""
        self.call("close", failed)


class ActiveTrainer(ActiveObject):
    """A `fs_kernel.types.Trainer`."""

    @property
    def adds_objectives(self) -> bool:
        """Whether it adds the terms of the run's objectives."""
        return bool(getattr(self.made, "adds_objectives", False))

    def train_step(self, batch: Batch, sides: Sequence[Side]) -> types.StepResult:
        """Run one step and check the form of what it returns.

        Raises:
            PluginError: it failed, or its losses are not scalars in the order of the sides.
        """
        plugin, wanted = self.plugin, list(sides)
        result = plugin.expect(self.call("train_step", batch), types.StepResult, "train_step")
        with plugin.blaming("train_step"):
            given = [getattr(loss, "side", None) for loss in result.losses]
            if given != wanted:
                line = f"{plugin} returned losses of {given} from train_step, not of {wanted}"
                raise PluginError(line, plugin.name)
            totals = [loss.total for loss in result.losses]
            parts = [part.weighted for loss in result.losses for part in loss.parts]
        if not all(getattr(number, "shape", None) == () for number in (*totals, *parts)):
            line = f"{plugin} returned a loss from train_step that is not a scalar tensor"
            raise PluginError(line, plugin.name)
        return result

    @contextlib.contextmanager
    def full_weights(self) -> Iterator[None]:
        """Enter the trainer's context for full weights, if it has one."""
        manager = self.call("full_weights")
        with contextlib.ExitStack() as stack:
            if manager is not None:
                with self.plugin.blaming("full_weights"):
                    stack.enter_context(manager)
            yield
            with self.plugin.blaming("full_weights"):
                stack.close()


class ActiveObjective(ActiveObject):
    """A `fs_kernel.types.Objective`."""

    def terms(
        self, batch: Batch, outputs: Sequence[torch.Tensor]
    ) -> Mapping[Side, Mapping[str, torch.Tensor]]:
        """Return the objective's terms per side and name."""
        return self.call("terms", batch, outputs)

    def train_step(self) -> Mapping[str, torch.Tensor]:
        """Train what the objective owns; return numbers to report."""
        return self.call("train_step") or {}


class ActiveAddOn(ActiveObject):
    """A `fs_kernel.types.AddOn`."""

    @property
    def evaluation_interval(self) -> Interval:
        """How often `evaluate` is called; never if the add-on does not evaluate."""
        with self.plugin.blaming("evaluation_interval"):
            given = getattr(self.made, "evaluation_interval", None)
            return Interval.parse(given) if given and self.has("evaluate") else Interval()

    def observers(self) -> list[types.Observer]:
        """Return what watches the run."""
        with self.plugin.blaming("observers"):
            return list(self.call("observers") or [])

    def evaluate(self) -> dict[str, float]:
        """Return the add-on's numbers."""
        with self.plugin.blaming("evaluate"):
            found = dict(self.call("evaluate") or {})
            return {str(name): float(value) for name, value in found.items()}

    def check_metrics(self, metrics: types.Metrics) -> str | None:
        """Return what is bad about a reading, in one line, or None."""
        return self.call("check_metrics", metrics)

    def on_bad_step(self, report: types.BadStep) -> bool:
        """Return whether the add-on wants to go back and train on."""
        return bool(self.call("on_bad_step", report))


class OpenFeed(ActiveObject):
    """A `fs_kernel.types.Feed`."""

    made: types.Feed

    @property
    def sizes(self) -> Mapping[Side, int]:
        """Usable faces per side."""
        with self.plugin.blaming("sizes"):
            return {side: int(size) for side, size in self.made.sizes.items()}

    @property
    def warnings(self) -> list[str]:
        """Lines the user should read once."""
        return list(self.made.warnings)

    @property
    def fingerprint(self) -> str:
        """A short hash of what the faces are."""
        return self.made.fingerprint

    @property
    def prefetch(self) -> int:
        """How many steps are drawn ahead."""
        return self.made.prefetch

    @property
    def face_attributes(self) -> Mapping[Side, Mapping[str, np.ndarray]]:
        """What is known of each face."""
        return getattr(self.made, "face_attributes", {})

    def start(self, sampler: types.Sampler, step: int) -> None:
        """Start to prepare batches from ``step`` on."""
        self.call("start", sampler, step)

    def next(self) -> Batch:
        """Return the next batch."""
        return self.call("next")

    def preview(self, count: int) -> types.PreviewFaces:
        """Return faces to look at."""
        return self.call("preview", count)

    def close(self, failed: bool = False) -> None:
        """Close the feed."""
        self.call("close")
