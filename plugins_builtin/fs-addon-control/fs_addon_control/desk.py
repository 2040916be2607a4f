"""Carry out requests to a session, from commands and from keys."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeAlias

import attrs
from fs_kernel.errors import ConfigError
from fs_kernel.options import parse_assignment
from fs_kernel.types import Finished, Metrics, Preview, Run, Saved

from fs_addon_control.mailbox import ACCEPTED, DONE, FAILED, Answer

#: Called with the answer to a request, once or twice.
Reply: TypeAlias = Callable[[Answer], None]
MASK = "preview.mask"


@attrs.frozen
class _Waiting:
    action: str
    step: int
    reply: Reply


class Desk:
    """Pass requests to the run and answer them when they end. Safe to use from any thread.

    Args:
        run: the run.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._lock = threading.Lock()
        self._waiting: list[_Waiting] = []
        self._metrics: Metrics | None = None
        self._saved: Saved | None = None

    def take(self, action: str, value: str | None, reply: Reply) -> None:
        """Carry out a request.

        Args:
            action: out of `fs_addon_control.mailbox.ACTIONS`.
            value: an assignment for "set"; "on", "off" or None (the other way) for "mask".
            reply: called at once, and a second time at the end of a request that takes time.
        """
        if action == "status":
            reply(self._status())
        elif action == "set":
            reply(self._set(value or ""))
        elif action == "mask":
            reply(self._mask(value))
        else:
            self._ask(action, reply)

    def _ask(self, action: str, reply: Reply) -> None:
        request, message = {
            "save": (self._run.request_save, "saving after this step"),
            "snapshot": (self._run.request_snapshot, "making a snapshot after this step"),
            "preview": (self._run.request_preview, "making a preview after this step"),
            "stop": (self._run.request_stop, "stopping: this step is finished, then all is saved"),
        }[action]
        # "accepted" is sent before the request is made, so that "done" cannot precede it.
        with self._lock:
            reply(Answer(ACCEPTED, message))
            self._waiting.append(_Waiting(action, self._run.step, reply))
        request()

    def _set(self, text: str) -> Answer:
        try:
            section, key, value = parse_assignment(text)
            self._run.set_option(f"{section}.{key}", value)
        except ConfigError as error:
            return Answer(FAILED, str(error), error.exit_code)
        return Answer(DONE, f"from the next step on: {text.strip()}")

    def _mask(self, value: str | None) -> Answer:
        try:
            shown = not self._run.get_option(MASK) if value is None else value == "on"
            self._run.set_option(MASK, shown)
        except ConfigError as error:
            return Answer(FAILED, str(error), error.exit_code)
        return Answer(DONE, f"the mask is {'shown' if shown else 'hidden'} in previews")

    def _status(self) -> Answer:
        info, metrics, saved = self._run.info, self._metrics, self._saved
        facts: dict[str, Any] = {
            "step": self._run.step,
            "target": self._run.get_option("training.iterations"),
            "model": info.model,
            "session": info.session,
            "losses": dict(metrics.losses) if metrics else {},
            "learning_rate": metrics.learning_rate if metrics else None,
            "images_per_second": metrics.images_per_second if metrics else None,
            "saved_step": saved.step if saved else None,
        }
        words = [f"{info.model}: step {facts['step']} of {facts['target']}"]
        if metrics:
            losses = " ".join(f"{side} {loss:.4f}" for side, loss in metrics.losses.items())
            words += [f"loss {losses}", f"{metrics.images_per_second:.1f} img/s"]
        if metrics and metrics.learning_rate is not None:
            words.append(f"learning rate {metrics.learning_rate:.3g}")
        words.append(f"saved at step {saved.step}" if saved else "not saved yet in this session")
        return Answer(DONE, ", ".join(words), facts=facts)

    # --- what happens in the run; called in the observer's thread ---

    def on_metrics(self, metrics: Metrics) -> None:
        """Store the metrics for ``status``."""
        self._metrics = metrics

    def on_checkpoint(self, saved: Saved) -> None:
        """Answer the pending requests for a save or a snapshot."""
        self._saved = saved
        line = f"saved step {saved.step}"
        self._settle("save", saved.step, Answer(DONE, line))
        if saved.snapshot:
            self._settle("snapshot", saved.step, Answer(DONE, f"{line}, as a snapshot"))

    def on_preview(self, preview: Preview) -> None:
        """Answer the pending requests for a preview."""
        line = f"a preview of step {preview.step} is made"
        self._settle("preview", preview.step, Answer(DONE, line))

    def on_finish(self, outcome: Finished) -> None:
        """Answer all pending requests."""
        if outcome.error is None:
            stopped = Answer(DONE, f"stopped at step {outcome.step}, everything is saved")
            self._settle("stop", outcome.step, stopped)
            rest = Answer(FAILED, f"the session ended before, at step {outcome.step}", 5)
        else:
            rest = Answer(FAILED, f"the session failed: {outcome.error}", 6)
        for action in ("save", "snapshot", "preview", "stop"):
            self._settle(action, None, rest)

    def _settle(self, action: str, step: int | None, answer: Answer) -> None:
        with self._lock:
            settled = [
                w for w in self._waiting if w.action == action and (step is None or w.step <= step)
            ]
            self._waiting = [w for w in self._waiting if w not in settled]
        for waiting in settled:
            waiting.reply(answer)
