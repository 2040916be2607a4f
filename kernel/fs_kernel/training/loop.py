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
    trainer             new, or as it was               create_objective, create_trainer,
                                                        accepts_state, load_state_dict
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

Everything up to "trainer" happens before anything in the model folder is touched. Between two steps
all processes of a run come to one `Decision`; with one process that is simply what is due.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import attrs

from fs_kernel import networks
from fs_kernel.errors import BadStepError, FsError, ModelFolderError
from fs_kernel.networks import SwapperCache
from fs_kernel.training import events, space
from fs_kernel.training.addons import AddOns
from fs_kernel.training.agenda import Agenda, Decision, SaveReason, settings_of
from fs_kernel.training.checkpointer import Checkpointer, SaveFailure, saved_or_raise
from fs_kernel.training.handle import Collaborators, RunHandle
from fs_kernel.training.preview import make_preview
from fs_kernel.training.records import log_error
from fs_kernel.training.resolve import ResolvedRun
from fs_kernel.training.session import Session, open_session
from fs_kernel.training.staging import Staging
from fs_kernel.training.step import TrainStep
from fs_kernel.types import BadStep, Finished, Metrics, Saved, StopReason


class TrainingRun(RunHandle):
    """A run that is ready to train; made by `fs_kernel.open_run`.

    Iterate it for one step at a time, or call `train`. Use it as a context manager, or call
    `close`: leaving saves what was trained, unless training failed.

    Attributes:
        session: what was opened: plugins, options, network, feed, folder.
        state: what the model remembers.
        warnings: lines worth reading from the start.
    """

    def __init__(self, resolved: ResolvedRun) -> None:
        self.session = session = open_session(resolved)
        self._events, self._coordinator = session.events, session.coordinator
        self._began, self._rollbacks = time.monotonic(), 0
        self._outcome: Finished | None = None
        step, precision = session.state.iterations, session.info.precision
        agenda = Agenda(
            settings_of(session.options), step, self._began, session.coordinator.is_main
        )
        swappers = SwapperCache(session.plugins, session.network, session.device, precision)
        super().__init__(Collaborators(session, agenda, session.events, swappers))
        self.state, self.warnings = session.state, session.warnings
        try:
            self._create_trainer()
            self._addons = AddOns(session, self._parts)
            self._start()
        except BaseException as error:
            self._end(StopReason.FAILED, str(error))
            raise self._as_group_error(error) from error

    def _create_trainer(self) -> None:
        session, parts = self.session, self._parts
        session.on_close(lambda: parts.step.close(session.failed) if self._has_trainer else None)
        parts.step = TrainStep(
            session,
            lambda plugin: RunHandle(parts, plugin),
            lambda batch: self._events.emit(events.FirstBatch(batch)),
        )
        self.warnings += parts.step.warnings
        self._checkpointer = Checkpointer(
            session.resolved.checkpoints,
            parts.step.capture,
            lambda: session.options.config["save"],
            _staging(session) if self._coordinator.is_main else None,
            self.step,
            session.resolved.checkpoint is not None,
        )
        self._checkpointer.prepare()

    @property
    def _has_trainer(self) -> bool:
        return hasattr(self._parts, "step")

    def _start(self) -> None:
        """Open the records, create the add-ons, and let the feed prepare the first batches."""
        session, bus = self.session, self._events
        facts = space.run_facts(session)
        self._coordinator.everywhere(
            lambda: bus.open(self.info.model_dir / "logs", self.info, facts)
        )
        self._coordinator.everywhere(self._addons.create)
        bus.emit(events.Started(self.info))
        for line in self.warnings:
            bus.warn(line)
        for line in session.notes:
            bus.note(line)
        self._addons.before_training()
        self._parts.step.live.accept(
            self._coordinator.broadcast(self._parts.step.live.take_requests())
        )
        self._change_options(begun=False)
        self._parts.step.start_feed()

    # --- training ---

    def train(self, max_seconds: float | None = None) -> Finished:
        """Train until the target, a stop request, or ``max_seconds``; then save and finish.

        Raises:
            FsError: training could not continue; the last good checkpoint is intact.
        """
        self._parts.agenda.deadline = None if max_seconds is None else self._began + max_seconds
        with self._ending_on_failure():
            while True:
                try:
                    decision = self._decide()
                    if decision.stop:
                        return self._finish(decision.stop)
                    self._run_step()
                    if decision.read_metrics:
                        self._read_metrics()
                except BadStepError as bad:
                    self._recover(bad)

    def __iter__(self) -> Iterator[Metrics]:
        """Train step by step until the target or a stop request, yielding each step's metrics."""
        while self._outcome is None:
            try:
                if self._decide().stop:
                    return
                metrics = self.advance()
            except BadStepError as bad:
                self._recover(bad)
                continue
            yield metrics

    def advance(self) -> Metrics:
        """Run one step and read it back at once.

        Raises:
            FsError: the step failed; nothing of it is saved.
        """
        self._run_step()
        metrics = self._read_metrics()
        assert metrics is not None
        return metrics

    def _decide(self) -> Decision:
        """Do what is due between two steps; all processes come to the same decision, or error."""
        parts, step = self._parts, self.step
        failure, wish = None, Decision()
        try:
            # A snapshot holds exactly its step, so it waits for the save in flight.
            self._collect(wait=parts.agenda.snapshot_due(step))
            wish = parts.agenda.wish(step, time.monotonic(), self._checkpointer.busy)
            if wish.stop is None:
                parts.step.prefetch()
        except FsError as error:
            failure = error
        live = parts.step.live
        decision = self._coordinator.decide(
            attrs.evolve(wish, options=live.take_requests(), messages=self._events.take_relayed()),
            failure,
        )
        live.accept(decision.options)
        for message in decision.messages:
            self._events.say(message)
        if decision.evaluate:
            self._addons.evaluate(step)
        if decision.save:
            self._start_save(decision.save)
        if decision.preview_faces:
            self._preview(decision.preview_faces)
        return decision

    def _run_step(self) -> None:
        self._change_options()
        self._addons.after_step(self._parts.step.run())

    def _change_options(self, begun: bool = True) -> None:
        made, refused = self._parts.step.change_options(begun)
        for name, value in made:
            self._events.emit(events.OptionChanged(name, value, self.step + 1))
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
            self._events.emit(events.MetricsRead(metrics))
        return metrics

    # --- saving, previewing, going back ---

    def save(self, final: bool = False) -> Saved:
        """Write a checkpoint now and wait for it.

        Args:
            final: it is the last of the session, for ``save.optimizer = "exit"``.

        Raises:
            ModelFolderError: it could not be written; earlier checkpoints are intact.
            TrainingError: losses or weights are not finite; nothing is written.
        """
        self._coordinator.everywhere(lambda: self._collect(wait=True))
        self._start_save(SaveReason.REQUESTED, final)
        return self._coordinator.on_main(
            lambda: saved_or_raise(self._collect(wait=True, required=True))
        )

    def _start_save(self, reason: SaveReason, final: bool = False) -> None:
        self._read_metrics()  # Nothing unread is ever saved: it may be bad.
        step = self.step
        if self._parts.agenda.snapshot_due(step):
            reason = SaveReason.SNAPSHOT
        steps = self._parts.agenda.save_started(reason, step, time.monotonic())
        average = self._parts.metrics.take_average()
        if average is not None:
            self.state.average_loss = average
        monitored = self._parts.metrics.monitored(self.session.options.config["save"], average)
        try:
            self._checkpointer.start(reason, average, steps, monitored, final)
        except ModelFolderError as error:
            if final:
                raise
            self._report(SaveFailure(step, str(error)))
        self._parts.metrics.resume_clock()

    def _collect(self, wait: bool = False, required: bool = False) -> Saved | SaveFailure | None:
        """Report how a save ended, if one has."""
        result = self._checkpointer.collect(wait)
        if isinstance(result, Saved):
            self._events.emit(events.CheckpointSaved(result))
        elif result is not None and not required:
            self._report(result)
        return result

    def _report(self, failure: SaveFailure) -> None:
        self._events.emit(events.SaveFailed(failure.step, failure.message))
        self.warn(f"{failure.message}; training continues, and the save will be retried")

    def _preview(self, faces: int) -> None:
        self._read_metrics()
        parts = self._parts
        parts.agenda.preview_made(faces, self.step)
        with parts.step.full_weights():
            if self._coordinator.is_main:
                preview = make_preview(self, parts.step.preview(faces), self.step)
                self._events.emit(events.PreviewMade(preview))
        parts.metrics.resume_clock()

    def _recover(self, bad: BadStepError) -> None:
        """Go back to the last good checkpoint if an add-on says so; else raise."""
        with contextlib.suppress(BadStepError):
            self._coordinator.everywhere(lambda: self._collect(wait=True))
        report = self._coordinator.broadcast(self._bad_step(bad))
        votes = report.checkpoint_step is not None and self._addons.on_bad_step(report)
        if not self._coordinator.broadcast(votes):
            raise BadStepError(bad.step, self._advice(report)) from bad
        name = self._coordinator.on_main(lambda: self._checkpointer.roll_back(self.warn))
        for line in self._parts.step.return_to(name):
            self.warn(line)
        self._checkpointer.returned(name, self.step)
        self._parts.agenda.restart(self.step, time.monotonic())
        self._rollbacks += 1
        self._events.emit(events.RolledBack(report.reason, bad.step, name))
        self.warn(f"{report.reason}; went back to step {self.step}")
        live = self._parts.step.live
        live.accept(self._coordinator.broadcast(live.take_requests()))
        self._change_options(begun=False)
        self._parts.step.start_feed()

    def _bad_step(self, bad: BadStepError) -> BadStep:
        with self._parts.step.full_weights():
            weights = networks.weights(self.network).items()
            names = [name for name, tensor in weights if not bool(tensor.isfinite().all())]
        line = "; ".join([str(bad), *(f"the first bad weight is {name}" for name in names[:1])])
        kept = self._checkpointer.last_step if self._checkpointer.exists() else None
        return BadStep(bad.step, line, kept, self._rollbacks)

    def _advice(self, report: BadStep) -> str:
        advice = "Start again with a lower learning rate"
        if report.checkpoint_step is not None:
            advice = (
                f"Resume from step {report.checkpoint_step} with a lower learning rate, or go "
                f"further back first: fs model restore {self.session.resolved.request.model_dir}"
            )
        return f"{report.reason}; nothing was saved since. {advice}"

    # --- the end ---

    def _finish(self, reason: StopReason) -> Finished:
        self._coordinator.everywhere(lambda: self._collect(wait=True))
        self.state.stop_reason = reason
        if self._coordinator.broadcast(self._checkpointer.unsaved(self.step)):
            self.save(final=True)
        faces = self._parts.agenda.preview_at_end(self.step)
        if faces and reason is not StopReason.STOPPED:
            self._preview(faces)
        return self._end(reason)

    @contextlib.contextmanager
    def _ending_on_failure(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            self._fail(error)
            raise self._as_group_error(error) from error

    def _fail(self, error: BaseException) -> None:
        line = str(error) if isinstance(error, FsError) else f"{type(error).__name__}: {error}"
        log_error(self.session.logs, error)
        self._end(StopReason.FAILED, line)

    def _as_group_error(self, error: BaseException) -> BaseException:
        return self._coordinator.as_group_error(error) if isinstance(error, Exception) else error

    def _end(self, reason: StopReason, error: str | None = None) -> Finished:
        """Report the end and close everything, once."""
        if self._outcome is None:
            seconds = time.monotonic() - self._began
            self._outcome = Finished(reason, self.step, seconds, error)
            # Whatever ends the run matters more than a save that failed meanwhile.
            with contextlib.suppress(Exception):
                self._collect(wait=True)
            self._events.emit(events.SessionFinished(self._outcome))
            self.session.close(failed=error is not None)
        return self._outcome

    def close(self, save: bool = True) -> None:
        """End the run: save what was trained since the last save, stop workers.

        Safe to call more than once.
        """
        if self._outcome is not None:
            return
        reason = self._parts.agenda.stop_reason(self.step) or StopReason.STOPPED
        if save and self._coordinator.broadcast(self._checkpointer.unsaved(self.step)):
            self._finish(reason)
        else:
            self._end(reason)

    def __enter__(self) -> TrainingRun:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: Any
    ) -> None:
        if isinstance(error, Exception) and self._outcome is None:
            self._fail(error)
        self.close()


def _staging(session: Session) -> Any:
    """Return what makes the buffer, large enough for weights and two moments of each."""
    copies = 1 if session.options.config["save"].optimizer == "never" else 3
    size = session.info.parameters * 4 * copies + 2**20
    return lambda: Staging(size, pinned=session.device.type == "cuda")
