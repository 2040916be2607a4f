"""The life of a training run, top to bottom.

::

    resolve             plugins are loaded, options     config_defaults, migrate_options,
                        are resolved                    check_options
    session             processes connect, or not       launch, connect
                        a batch they can share          fit_batch_size
                        network: new                    network_spec, build_model
                        or from the checkpoint          custom_objects, adapt_model
                        with the networks others own    build_networks
                        frozen, weights loaded          freeze_layers, load_layers
                        folders are checked             required_fields, open_feed
                        the network can run             make_forward
    trainer             new                             create_objective, create_trainer
                        with what it asks for           create_loss, create_optimizer
                        or as it was                    accepts_state, load_state_dict
                        order of faces                  get_sampler
    add-ons             what accompanies and watches    create_addon, load_state_dict, observers,
                                                        before_training
    every step          one batch                       train_step (of trainer and objectives)
                        at once                         after_step
                        live options change             on_options_changed
                        losses are read back            check_metrics -> on_metrics
                        one is bad                      on_bad_step
                        at an interval                  evaluate
                        at an interval, a save          full_weights, state_dict -> on_checkpoint
                        on request, a preview           full_weights, build_inference -> on_preview
    end                 last save                       state_dict -> on_finish
                        everything is released          close

Up to "trainer" nothing in the model folder is touched. Between two steps all processes of a run
come to one `Decision`; with one process that is simply what is due.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from functools import partial

import attrs

from fs_kernel import networks
from fs_kernel.errors import BadStepError, FsError
from fs_kernel.training.addons import AddOns
from fs_kernel.training.agenda import Agenda
from fs_kernel.training.handle import Collaborators, RunHandle
from fs_kernel.training.preview import make_preview
from fs_kernel.training.records import log_error
from fs_kernel.training.recovery import Recovery
from fs_kernel.training.resolve import ResolvedRun
from fs_kernel.training.run_facts import run_facts
from fs_kernel.training.saves import Saves
from fs_kernel.training.session import Session
from fs_kernel.training.step import TrainStep
from fs_kernel.types import Decision, Finished, Metrics, Saved, SaveReason, StopReason


class TrainingRun(RunHandle):
    """A run that is ready to train; made by `fs_kernel.open_run`.

    Iterate it for one step at a time, or call `train`. Use it as a context manager, or call
    `close`: leaving saves what was trained, unless training failed.

    Attributes:
        session: what was opened: plugins, options, network, feed, folder.
        state: what the model remembers.
        warnings: lines worth reading from the start.
        steps: runs single steps, for trials.
    """

    def __init__(self, resolved: ResolvedRun) -> None:
        self.session = session = Session(resolved)
        self._began = time.monotonic()
        self._outcome: Finished | None = None
        self._coordinator = session.coordinator
        agenda = Agenda(
            session.options, session.state.iterations, self._began, session.coordinator.is_main
        )
        swappers = networks.SwapperCache(
            session.plugins, session.network, session.device, session.info.precision
        )
        super().__init__(Collaborators(session, agenda, session.events, swappers))
        self.state, self.warnings = session.state, session.warnings
        try:
            self._start()
        except BaseException as error:
            raise self._failed(error)  # noqa: B904  (its cause is set)

    def _start(self) -> None:
        """Create trainer and add-ons, open the records, and let the feed begin."""
        session, parts, events = self.session, self._parts, self.session.events
        first = partial(events.emit, "first_batch")
        self.steps = parts.step = TrainStep(session, partial(RunHandle, parts), first)
        self.warnings += self.steps.warnings
        self._saves, self._addons = Saves(parts), AddOns(session, parts)
        session.on_close(lambda: self._addons.close(session.failed))
        self._recovery = Recovery(parts, self._addons, self._saves)
        self._coordinator.everywhere(partial(events.open, self.info, run_facts(session)))
        self._coordinator.everywhere(self._addons.create)
        events.emit("started", self.info, target=self.info.target_steps, session=self.info.session)
        events.say_all(self.warnings, session.notes)
        self._addons.before_training()
        self._begin_steps()

    def _begin_steps(self) -> None:
        """Take over options that were asked for, and let the feed prepare batches."""
        live = self.steps.live
        live.accept(self._coordinator.broadcast(live.take_requests()))
        self._change_options(begun=False)
        self.steps.start_feed()

    # --- training ---

    def train(self, max_seconds: float | None = None) -> Finished:
        """Train until the target, a stop request, or ``max_seconds``; then save and finish.

        Raises:
            FsError: training could not continue; the last good checkpoint is intact.
        """
        self._parts.agenda.deadline = None if max_seconds is None else self._began + max_seconds
        try:
            while True:
                try:
                    decision = self._decide()
                    if decision.stop:
                        return self._finish(decision.stop)
                    self._run_step(decision.evaluate)
                    if decision.read_metrics:
                        self._read_metrics()
                except BadStepError as bad:
                    self._recover(bad)
        except BaseException as error:
            raise self._failed(error)  # noqa: B904  (its cause is set)

    def __iter__(self) -> Iterator[Metrics]:
        """Train step by step until the target or a stop request, yielding each step's metrics."""
        while self._outcome is None:
            try:
                if (decision := self._decide()).stop:
                    return
                metrics = self.advance(decision.evaluate)
            except BadStepError as bad:
                self._recover(bad)
            else:
                yield metrics

    def advance(self, evaluate: bool = False) -> Metrics:
        """Run one step, evaluate what is due if asked to, and read it back at once.

        Raises:
            FsError: the step failed; nothing of it is saved.
        """
        self._run_step(evaluate)
        metrics = self._read_metrics()
        assert metrics is not None
        return metrics

    def _decide(self) -> Decision:
        """Do what is due between two steps; all processes come to the same decision, or error."""
        agenda, live, events = self._parts.agenda, self.steps.live, self.session.events
        failure, wish = None, Decision()
        try:
            # A snapshot holds exactly its step, so it waits for the save in flight.
            self._saves.collect(wait=agenda.snapshot_due(self.step))
            busy = self._saves.checkpointer.busy
            wish = agenda.wish(self.step, time.monotonic(), busy)
            if wish.stop is None:
                self.steps.prefetch()
        except FsError as error:
            failure = error
        options, messages = live.take_requests(), events.take_relayed()
        wish = attrs.evolve(wish, options=options, messages=messages)
        decision = self._coordinator.decide(wish, failure)
        live.accept(decision.options)
        for message in decision.messages:
            events.say(message)
        if decision.save:
            self._read_metrics()  # Nothing unread is ever saved: it may be bad.
            self._saves.start(decision.save)
        if decision.preview_faces:
            self._preview(decision.preview_faces)
        return decision

    def _run_step(self, evaluate: bool) -> None:
        self._change_options()
        self._addons.after_step(self.steps.run())
        if evaluate:  # Before the step is read back, so that its numbers are reported with it.
            self._addons.evaluate(self.step)

    def _change_options(self, begun: bool = True) -> None:
        made, refused = self.steps.change_options(begun)
        for name, text in made:
            line = f"from step {self.step + 1} on: {name} = {json.dumps(text)}"
            self.session.events.emit("option", line, name=name, value=text)
        if refused is not None:
            self.warn(refused)
        self.state.target_iterations = self.session.options.config["training"].iterations

    def _read_metrics(self) -> Metrics | None:
        """Read the losses back and report them; None if nothing is unread.

        Raises:
            BadStepError: they are not finite, or an add-on says that they are bad.
        """
        metrics = self._parts.metrics.read()
        if metrics is not None:
            self._parts.agenda.metrics_read(self.step, time.monotonic())
            self._addons.check_metrics(metrics)
            self.session.events.emit_record("metrics", metrics)
        return metrics

    def _recover(self, bad: BadStepError) -> None:
        self._recovery.recover(bad)
        self._begin_steps()

    def save(self, final: bool = False) -> Saved:
        """Write a checkpoint now and wait for it.

        Args:
            final: it is the last of the session, for ``save.optimizer = "exit"``.

        Raises:
            ModelFolderError: it could not be written; earlier checkpoints are intact.
            TrainingError: losses or weights are not finite; nothing is written.
        """
        self._coordinator.everywhere(partial(self._saves.collect, wait=True))
        self._read_metrics()
        self._saves.start(SaveReason.REQUESTED, final)
        return self._saves.finish()

    def _preview(self, faces: int) -> None:
        self._read_metrics()
        self._parts.agenda.preview_made(faces, self.step)
        with self.steps.full_weights():
            if self._coordinator.is_main:
                preview = make_preview(self, self.session.feed.preview(faces), self.step)
                self.session.events.emit("preview", preview)
        self._parts.metrics.resume_clock()

    # --- the end ---

    def _finish(self, reason: StopReason) -> Finished:
        self._coordinator.everywhere(partial(self._saves.collect, wait=True))
        self.state.stop_reason = reason
        kept = self._saves.checkpointer
        if self._coordinator.broadcast(kept.unsaved(self.step) or not kept.exists()):
            self.save(final=True)
        faces = self._parts.agenda.preview_at_end(self.step)
        if faces and reason is not StopReason.STOPPED:
            self._preview(faces)
        return self._end(reason)

    def _failed(self, error: BaseException) -> BaseException:
        """End because of an error; return what it means for all processes."""
        line = str(error) if isinstance(error, FsError) else f"{type(error).__name__}: {error}"
        if self._outcome is None and self.session.events.logs is not None:
            # A session that could not start leaves no trace in the folder.
            path = log_error(self.session.logs, error)
            if isinstance(error, FsError):
                error.traceback = path
        self._end(StopReason.FAILED, line)
        told = self._coordinator.as_group_error(error) if isinstance(error, Exception) else error
        if told is not error:
            told.__cause__ = error
        return told

    def _end(self, reason: StopReason, error: str | None = None) -> Finished:
        """Report the end and close everything, once."""
        if self._outcome is None:
            seconds = time.monotonic() - self._began
            self._outcome = Finished(reason, self.step, seconds, error)
            # What ends the run matters more than a save that failed meanwhile.
            with contextlib.suppress(Exception):
                self._saves.collect(wait=True)
            facts = {"reason": reason, "seconds": seconds, "error": error}
            self.session.events.emit("finished", self._outcome, **facts)
            self.session.close(failed=error is not None)
        return self._outcome

    def close(self, save: bool = True) -> None:
        """Save what was trained since the last save, and end. Safe to call more than once."""
        if self._outcome is not None:
            return
        reason = self._parts.agenda.stop_reason(self.step) or StopReason.STOPPED
        if save and self._coordinator.broadcast(self._saves.checkpointer.unsaved(self.step)):
            self._finish(reason)
        else:
            self._end(reason)

    def __enter__(self) -> TrainingRun:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Exception) and self._outcome is None:
            self._failed(error)
        self.close()
