"""Go back to the last good checkpoint after a step that cannot be kept, or say why not."""

from __future__ import annotations

import contextlib
import time
from functools import partial

from fs_kernel import networks
from fs_kernel.errors import BadStepError
from fs_kernel.training.addons import AddOns
from fs_kernel.training.handle import Collaborators
from fs_kernel.training.saves import Saves
from fs_kernel.types import BadStep


class Recovery:
    """The roll-backs of a session.

    Args:
        parts: of the run.
        addons: decide whether to go back.
        saves: know where to.
    """

    def __init__(self, parts: Collaborators, addons: AddOns, saves: Saves) -> None:
        self._parts, self._addons, self._saves = parts, addons, saves
        self._rollbacks = 0

    def recover(self, bad: BadStepError) -> None:
        """Become what the last good checkpoint holds. The feed must be started afterwards.

        Raises:
            BadStepError: no add-on wants to go back, or there is nothing to go back to.
        """
        parts, coordinator = self._parts, self._parts.session.coordinator
        checkpointer = self._saves.checkpointer
        with contextlib.suppress(BadStepError):
            coordinator.everywhere(partial(self._saves.collect, wait=True))
        report = coordinator.broadcast(self._describe(bad))
        votes = report.checkpoint_step is not None and self._addons.on_bad_step(report)
        if not coordinator.broadcast(votes):
            raise BadStepError(bad.step, self._advice(report)) from bad
        name = coordinator.on_main(partial(checkpointer.roll_back, parts.events.warn))
        for line in parts.step.return_to(name):
            parts.events.warn(line)
        step = parts.session.state.iterations
        checkpointer.returned(name, step)
        parts.agenda.restart(step, time.monotonic())
        self._rollbacks += 1
        facts = {"reason": report.reason, "bad_step": bad.step, "generation": name}
        parts.events.emit("rolled_back", **facts)
        parts.events.warn(f"{report.reason}; went back to step {step}")

    def _describe(self, bad: BadStepError) -> BadStep:
        with self._parts.step.full_weights():
            weights = networks.weights(self._parts.session.network).items()
            names = [name for name, tensor in weights if not bool(tensor.isfinite().all())]
        line = "; ".join([str(bad), *(f"the first bad weight is {name}" for name in names[:1])])
        checkpointer = self._saves.checkpointer
        kept = checkpointer.last_step if checkpointer.exists() else None
        return BadStep(bad.step, line, kept, self._rollbacks)

    def _advice(self, report: BadStep) -> str:
        advice = "Start again with a lower learning rate"
        if report.checkpoint_step is not None:
            folder = self._parts.session.resolved.request.model_dir
            advice = (
                f"Resume from step {report.checkpoint_step} with a lower learning rate, or go "
                f"further back first: fs model restore {folder}"
            )
        return f"{report.reason}; nothing was saved since. {advice}"
