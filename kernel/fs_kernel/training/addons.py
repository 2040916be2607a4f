"""The add-ons of a run: created, asked in order, and their states given back."""

from __future__ import annotations

import contextlib
import time
from functools import partial
from typing import TYPE_CHECKING

from fs_kernel.errors import BadStepError
from fs_kernel.plugins.objects import ActiveAddOn
from fs_kernel.training.handle import Collaborators, RunHandle
from fs_kernel.types import BadStep, Metrics, StepResult

if TYPE_CHECKING:
    from fs_kernel.training.session import Session


class AddOns:
    """Every add-on of a run.

    Args:
        session: the session.
        parts: of the run.
    """

    def __init__(self, session: Session, parts: Collaborators) -> None:
        self._session, self._parts = session, parts
        # Asked for after each step, so that a run whose add-ons do nothing then pays nothing.
        self._after_step: list[ActiveAddOn] = []

    def create(self) -> None:
        """Create the add-ons, give them their states, and let them watch in process 0."""
        session, parts, now = self._session, self._parts, time.monotonic()
        for plugin in session.plugins.addons:
            addon = plugin.create(RunHandle(parts, plugin))
            parts.step.actors.addons[plugin.name] = addon
            state = session.addon_states.get(plugin.name)
            if state is not None and addon.has("load_state_dict"):
                addon.load_state_dict(state)
            if session.coordinator.is_main:
                for observer in addon.observers():
                    parts.events.watch(plugin.name, observer)
            if addon.has("evaluate"):
                interval = addon.evaluation_interval
                parts.agenda.evaluate_at(plugin.name, interval, session.state.iterations, now)
            if addon.has("after_step"):
                self._after_step.append(addon)

    @property
    def _all(self) -> list[ActiveAddOn]:
        return list(self._parts.step.actors.addons.values())

    def before_training(self) -> None:
        """Let each act before the first step; all processes fail together if one does."""
        for addon in self._all:
            self._session.coordinator.everywhere(partial(addon.call, "before_training"))

    def after_step(self, result: StepResult) -> None:
        """Let those act that act after each step."""
        for addon in self._after_step:
            addon.call("after_step", result)

    def evaluate(self, step: int) -> None:
        """Ask those whose interval has passed for their numbers, and log them."""
        parts, now = self._parts, time.monotonic()
        due = self._session.coordinator.broadcast(parts.agenda.evaluations_due(step, now))
        with parts.step.full_weights():
            for name in due:
                addon = parts.step.actors.addons[name]
                parts.metrics.log(addon.evaluate())
                parts.agenda.evaluated(name, step, now)
        parts.metrics.resume_clock()

    def check_metrics(self, metrics: Metrics) -> None:
        """Let each judge a reading.

        Raises:
            BadStepError: one of them says what is bad.
        """
        for addon in self._all:
            if line := addon.check_metrics(metrics):
                raise BadStepError(metrics.step, f"step {metrics.step}: {line}")

    def on_bad_step(self, report: BadStep) -> bool:
        """Ask each what follows; return whether one of them wants to go back and train on."""
        votes = [addon.on_bad_step(report) for addon in self._all]
        return any(votes)

    def close(self, failed: bool) -> None:
        """Close each, the last one first, whether or not another one fails."""
        with contextlib.ExitStack() as closing:
            for addon in self._all:
                closing.callback(addon.close, failed)
