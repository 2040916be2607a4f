"""The life of a training run, top to bottom.

::

    assemble            plugins are loaded            config_defaults, migrate_options
                        options are settled           check_options
    group               processes meet, or not        launch, join_group
                        a batch they can share        fit_batch_size
    network             new                           network_spec, build_model
                        or from the checkpoint        custom_objects, adapt_model
                        frozen, weights loaded        freeze_layers, load_layers
    feed                folders are checked           batch_needs, open_feed
    forward             the network can run           make_forward
    trainer             new, or as it was             start_trainer, restore_trainer
    feed starts         order of faces                get_sampler
    add-ons             who watches                   make_observers, before_training
    every step          one batch                     train_batch
                        live options change           change_options
                        losses read back              judge_metrics -> on_metrics
                        one is bad                    on_bad_step
                        now and then a save           whole_weights, trainer_state -> on_checkpoint
                        on request a preview          whole_weights, build_inference -> on_preview
    end                 last save                     trainer_state -> on_finish
                        the trainer lets go           stop_trainer

Everything up to "trainer" happens before anything in the model folder is touched. Where several
processes share a run, all of them go this way in step, and between steps they agree on what is next
(`fs_kernel.training.coordination.Plan`); only process 0 writes, and only it is watched.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Iterator
from typing import Any

import attrs

from fs_kernel.errors import BadStepError, FsError, ModelFolderError
from fs_kernel.networks import weights as network
from fs_kernel.networks.inference import Swapper, Swappers
from fs_kernel.options.fields import plain
from fs_kernel.options.sources import Config
from fs_kernel.plugins.loading import Chosen
from fs_kernel.preview import make_preview
from fs_kernel.training import records as events
from fs_kernel.training import resolve as assembly
from fs_kernel.training import session as startup
from fs_kernel.training.checkpointer import Written, make_saver
from fs_kernel.training.coordination import Plan, outcome, together
from fs_kernel.training.events import Telling
from fs_kernel.training.handle import RunView, Trial
from fs_kernel.training.live_options import find_option
from fs_kernel.training.step import Stepper
from fs_kernel.types import BadStep, Finished, Metrics, Observer, Saved, Side


class TrainingRun:
    """A run that is ready to train; made by `fs_kernel.open_run`.

    Iterate it for one step at a time, or call `train`. Use it as a context manager, or call
    `close`: leaving saves what was trained, unless training failed.

    Attributes:
        info: the facts of this session.
        config: every option of the run.
        network: what is trained.
        state: what the model remembers.
        warnings: lines worth reading from the start.
    """

    def __init__(self, parts: assembly.Assembled) -> None:
        self.session = session = startup.start(parts)
        self._plugins, self.device = parts.plugins, session.device
        self.network, self.state, self.info = session.network, session.state, session.info
        self.group = session.group
        self.warnings = session.warnings
        self.addons = [item.name for item in parts.plugins.chosen if item.kind == "addons"]
        self._watching: list[tuple[Chosen, RunView]] = []
        self._wants: dict[str, int] = {}
        self._plan = Plan()
        self._telling = Telling(session.group, session.state)
        self._observers, self._event = self._telling.observers, self._telling.event
        self._finished = False
        self._preview_count = self._preview_step = self._snapshot_step = self._rollbacks = 0
        self._began = self._tried_at = self._read_at = time.monotonic()
        self._average: float | None = None
        self._returned_to: str | None = None
        self._final = False
        self._saved_step = self._tried_step = self._read_step = self.step
        self._saved_last = True
        try:
            self._start_trainer()
            self._start_watchers()
            self._stepper.changes.exchange()
            self._change_options(begun=False)
            self._stepper.start_feed()
        except BaseException as error:
            seconds = time.monotonic() - self._began
            self._observers.tell("on_finish", Finished("failed", self.step, seconds, str(error)))
            self._observers.close()
            session.feed.close()
            session.lock.release()
            self._part(failed=True)
            if isinstance(error, Exception) and (told := outcome(self.group, error)) is not error:
                raise told from error
            raise

    @property
    def config(self) -> Config:
        """Every option of the run, as it is now."""
        return self.session.parts.config

    # --- before the first step ---

    def _start_trainer(self) -> None:
        view = RunView(self, self._plugins.view("trainers"))
        self._stepper = Stepper(
            self.session, view, lambda batch: self._observers.tell("on_first_batch", batch)
        )
        self.warnings += self._stepper.warnings
        self._saver = make_saver(self.session)
        precision = self.config["training"].precision
        self._swappers = Swappers(self._plugins, self.network, self.device, precision)

    def _start_watchers(self) -> None:
        logs = self.info.model_dir / "logs"
        with together(self.group):
            self._telling.begin(logs, self.info.session, startup.run_facts(self.session))
            for item in self._plugins.chosen:
                if item.kind == "addons":
                    view = RunView(self, self._plugins.view("addons", item.name))
                    for observer in self._observers_of(item, view):
                        self._observers.add(item.name, observer)
                    self._watching.append((item, view))
        self._event("started", target=self.info.target_steps, session=self.info.session)
        self._observers.tell("on_start", self.info)
        for line in self.warnings:
            self.warn(line)
        for line in self.session.notes:
            self.note(line)
        for item, view in self._watching:
            # All processes come to the same end here: their options and their losses are the same.
            with together(self.group):
                self._plugins.before_training(item, view)

    def _observers_of(self, item: Chosen, view: RunView) -> list[Observer]:
        return self._plugins.make_observers(item, view) if self.group.rank == 0 else []

    # --- steps ---

    @property
    def step(self) -> int:
        """Steps done over the model's life."""
        return self.state.iterations

    def __iter__(self) -> Iterator[Metrics]:
        """Train step by step until the target or a stop request, yielding each step's metrics."""
        self._agree()
        while not self._finished and not self._stop_reason():
            try:
                metrics = self.advance()
            except BadStepError as error:
                self._recover(error)
                self._agree()
                continue
            yield metrics
            if not self._finished:
                self._attend()

    def advance(self) -> Metrics:
        """One step, read back at once.

        Raises:
            FsError: the step failed; nothing of it is saved.
        """
        self._step()
        metrics = self._read()
        assert metrics is not None
        return metrics

    def train(self, max_seconds: float | None = None) -> Finished:
        """Train until the target, a stop request, or ``max_seconds``; then save and finish.

        Raises:
            FsError: training could not go on; the last good checkpoint is intact.
        """
        deadline = None if max_seconds is None else self._began + max_seconds
        try:
            while True:
                try:
                    self._agree(deadline)
                    while not (reason := self._stop_reason()):
                        self._step()
                        if self._plan.read:
                            self._read()
                        self._attend(deadline)
                    return self._finish(reason)
                except BadStepError as error:
                    self._recover(error)
        except BaseException as error:
            self._fail(error)
            if isinstance(error, Exception) and (told := outcome(self.group, error)) is not error:
                raise told from error
            raise

    def _stop_reason(self) -> str | None:
        if self.state.complete:
            return "target"
        if self._plan.stop:
            return "stopped"
        return "time" if self._plan.late else None

    def _agree(self, deadline: float | None = None) -> None:
        """Between steps: let all processes make one plan of what is next."""
        failure = None
        try:
            self._settle(self._saver.take(wait=self._snapshot_due()))
            if not self._stop_reason():
                self._stepper.look_ahead()
        except FsError as error:
            failure = error
        plan, wants = self._plan, self._wants
        for name in ("stop", "save", "snapshot", "preview"):
            setattr(plan, name, max(getattr(plan, name), wants.pop(name, 0)))
        plan.read = plan.due = plan.busy = 0
        if self.group.rank == 0:
            now = time.monotonic()
            plan.late = int(deadline is not None and now >= deadline)
            read, save = self.config["training"].metrics_interval, self.config["save"].interval
            plan.read = read.due(self.step + 1 - self._read_step, now - self._read_at)
            plan.due = save.due(self.step - self._tried_step, now - self._tried_at)
            plan.busy = self._saver.busy
        plan.changes, plan.lines = self._stepper.changes.waiting, self._telling.waiting
        self._plan = plan = plan.agreed(self.group, failure)
        self._preview_count = plan.preview or self._preview_count
        if plan.changes:
            self._stepper.changes.exchange()
        if plan.lines:
            self._telling.exchange()

    def _step(self) -> None:
        self._change_options()
        self._stepper.step()

    def _change_options(self, begun: bool = True) -> None:
        made, refused = self._stepper.change_options(begun)
        for name, value in made:
            self._event("option", name=name, value=plain(value))
            line = f"from step {self.step + 1} on: {name} = {json.dumps(plain(value))}"
            self._observers.tell("on_note", line)
        if refused is not None:
            self.warn(refused)
        self.state.target_iterations = self.config["training"].iterations

    def try_step(self) -> Metrics:
        """Train one step that reaches no observer; only in a trial or a dry run."""
        self._stepper.changes.exchange()
        self._stepper.change_options()
        self._stepper.step()
        metrics = self._stepper.read()
        assert metrics is not None
        return metrics

    def time_step(self, size: int) -> float:
        """Return the seconds of a step with another batch size; only in a dry run."""
        return self._stepper.time_step(size)

    @contextlib.contextmanager
    def trial(self) -> Iterator[Trial]:
        """See `fs_kernel.types.Run.trial`."""
        with self._stepper.trial():
            yield Trial(self)

    # --- a step that cannot be kept ---

    def _judge(self, metrics: Metrics) -> None:
        for item, view in self._watching:
            if line := self._plugins.judge_metrics(item, view, metrics):
                raise BadStepError(metrics.step, f"step {metrics.step}: {line}")

    def _recover(self, error: BadStepError) -> None:
        """Go back to the last good checkpoint if an add-on says so; else raise."""
        with contextlib.suppress(BadStepError), together(self.group):
            self._settle(self._saver.take(wait=True))
        with self._stepper.whole_weights():
            weights = network.weights(self.network).items()
            bad = [name for name, w in weights if not bool(w._value.isfinite().all())]
        line = "; ".join([str(error), *(f"the first bad weight is {n}" for n in bad[:1])])
        kept = self.session.parts.checkpoints.current_name() is not None
        report = BadStep(error.step, line, self._saved_step if kept else None, self._rollbacks)
        report = self.group.share(report)
        line, kept = report.reason, report.checkpoint_step is not None
        votes = [self._plugins.on_bad_step(i, v, report) for i, v in self._watching] if kept else []
        if not self.group.share(any(votes)):
            folder = self.session.parts.request.model_dir
            advice = "Begin again with a lower learning rate"
            if kept:
                advice = (
                    f"Resume from step {self._saved_step} with a lower learning rate, or go "
                    f"further back first: fs model restore {folder}"
                )
            raise BadStepError(error.step, f"{line}; nothing was saved since. {advice}") from error
        # What follows a checkpoint may be bad because the checkpoint is.
        checkpoints, last = self.session.parts.checkpoints, self._returned_to
        with together(self.group):
            name = checkpoints.choose(self.warn) if last is None else checkpoints.older_than(last)
        self._returned_to = name = self.group.share(name)
        for note in self._stepper.return_to(name):
            self.warn(note)
        self._saved_step = self._tried_step = self._read_step = self.step
        self._saved_last, self._rollbacks = True, self._rollbacks + 1
        self._event("rolled_back", reason=line, bad_step=error.step, generation=name)
        self.warn(f"{line}; went back to step {self.step}")
        self._stepper.changes.exchange()
        self._change_options(begun=False)
        self._stepper.start_feed()

    def _read(self) -> Metrics | None:
        metrics = self._stepper.read()
        if metrics is not None:
            self._read_step, self._read_at = self.step, time.monotonic()
            self._judge(metrics)
            facts = attrs.asdict(metrics)
            facts.pop("step")
            self._event("metrics", **facts)
            self._observers.tell("on_metrics", metrics)
        return metrics

    def _attend(self, deadline: float | None = None) -> None:
        """Between steps: save and preview when it is time or somebody asked."""
        self._agree(deadline)
        plan = self._plan
        wanted = plan.due or plan.save or plan.snapshot or self._snapshot_due()
        if wanted and not plan.busy and not self._stop_reason():
            plan.save = 0
            try:
                self._begin_save()
            except ModelFolderError as error:
                self._not_saved(self.step, error)
        if plan.preview:
            count, plan.preview = plan.preview, 0
            self._preview(count)

    def _snapshot_due(self) -> bool:
        every = self.config["save"].snapshot_interval
        return every > 0 and self.step % every == 0 and self.step != self._snapshot_step

    # --- requests, from any thread ---

    def request_stop(self) -> None:
        """Finish the step, save, end."""
        self._wants["stop"] = 1

    def request_save(self) -> None:
        """Save after the current step."""
        self._wants["save"] = 1

    def request_snapshot(self) -> None:
        """Save after the current step, and keep that generation for good."""
        self._wants["snapshot"] = 1

    def get_option(self, name: str) -> Any:
        """See `fs_kernel.types.Run.get_option`."""
        section, _, key = name.rpartition(".")
        find_option(self.config, name)
        return getattr(self.config[section], key)

    def set_option(
        self, name: str, value: Any, *, at_step: int | None = None, bounded: bool = True
    ) -> None:
        """See `fs_kernel.types.Run.set_option`."""
        self._stepper.changes.request(name, value, at_step, bounded)

    def request_preview(self, count: int = 14) -> None:
        """Make a preview of ``count`` faces per side after the current step."""
        self._wants["preview"] = max(count, self._wants.get("preview", 0))

    def warn(self, line: str) -> None:
        """Tell everybody who watches something a user should know."""
        self._telling.line("warning", line)

    def note(self, line: str) -> None:
        """Tell everybody who watches what happened."""
        self._telling.line("note", line)

    # --- saving, previewing ---

    def save(self, final: bool = False) -> Saved:
        """Write a checkpoint now and wait for it.

        Args:
            final: it is the last of the session, for ``save.optimizer = "exit"``.

        Raises:
            ModelFolderError: it could not be written; earlier generations are intact.
            TrainingError: losses or weights are no finite numbers; nothing is written.
        """
        with together(self.group):
            self._settle(self._saver.take(wait=True))
        self._begin_save(final)
        with together(self.group):
            saved = self._settle(self._saver.take(wait=True), must=True)
        shared: Saved = self.group.share(saved)
        return shared

    def _begin_save(self, final: bool = False) -> None:
        self._read()
        snapshot = self._snapshot_due() or bool(self._plan.snapshot)
        self._plan.snapshot = 0
        steps = self.step - self._tried_step
        self._tried_step, self._tried_at = self.step, time.monotonic()
        self._average, self._final = self._stepper.take_average(), final
        if self._average is not None:
            self.state.average_loss = self._average
        policy = self.config["save"].optimizer
        with_trainer = policy == "always" or (policy == "exit" and final)
        if snapshot:
            self._snapshot_step = self.step
        self._saver.begin(
            lambda copy: attrs.evolve(
                self._stepper.capture(with_trainer, copy),
                loss=self._average,
                loss_steps=steps,
                snapshot=snapshot,
            ),
            self.config["save"],
        )
        self._stepper.resume_clock()

    def _not_saved(self, step: int, failure: ModelFolderError) -> None:
        self._event("save_failed", step, message=str(failure))
        self.warn(f"{failure}; training goes on and tries again")

    def _settle(self, written: Written | None, must: bool = False) -> Saved | None:
        """Tell how a save ended; one that failed ends the run only if it ``must`` be."""
        if written is None:
            return None
        if isinstance(written.error, OSError):
            intact = f"; the checkpoint of step {self._saved_step} is intact"
            failure = ModelFolderError(
                f"could not save step {written.step} in {self.info.model_dir}: "
                f"{written.error.strerror}" + (intact if self._saved_step else "")
            )
            if must:
                raise failure from written.error
            self._not_saved(written.step, failure)
            return None
        if written.generation is None:
            assert written.error is not None
            raise written.error
        made = written.generation
        saved = Saved(
            made.step,
            made.name,
            made.bytes,
            written.seconds,
            written.pause,
            made.loss,
            made.snapshot,
        )
        self._saved_step, self._saved_last = made.step, self._final
        self._returned_to = None
        facts = attrs.asdict(saved)
        self._event("saved", **facts)
        self._observers.tell("on_checkpoint", saved)
        return saved

    def swapper(self, source: Side, target: Side) -> Swapper:
        """Faces of ``source`` into ``target`` with the weights of this moment."""
        return self._swappers(source, target)

    def _preview(self, count: int) -> None:
        self._read()
        self._preview_step = self.step
        with self._stepper.whole_weights():
            if self.group.rank == 0:
                preview = make_preview(self, self._stepper.preview(count), self.step)
                self._event("preview")
                self._observers.tell("on_preview", preview)
        self._stepper.resume_clock()

    # --- the end ---

    def _finish(self, reason: str) -> Finished:
        with together(self.group):
            self._settle(self._saver.take(wait=True))
        self.state.stop_reason = reason
        if self.group.share(self._unsaved() or self.session.parts.generation is None):
            self.save(final=True)
        if reason != "stopped" and self._preview_count and self._preview_step != self.step:
            self._preview(self._preview_count)
        return self._end(reason)

    def _unsaved(self) -> bool:
        """Whether the newest save lacks steps, or was not told that it would be the last."""
        return self.step > self._saved_step or not self._saved_last

    def _fail(self, error: BaseException) -> None:
        reason = str(error) if isinstance(error, FsError) else f"{type(error).__name__}: {error}"
        events.log_error(self.session.logs, error)
        self._end("failed", reason)

    def _end(self, reason: str, error: str | None = None) -> Finished:
        outcome = Finished(reason, self.step, time.monotonic() - self._began, error)
        if not self._finished:
            self._finished = True
            # Whatever ends the run matters more than a save that failed meanwhile.
            with contextlib.suppress(Exception):
                self._settle(self._saver.take(wait=True))
            self.session.lock.release()
            self._event("finished", reason=reason, seconds=outcome.seconds, error=error)
            self._observers.tell("on_finish", outcome)
            self._observers.close()
            try:
                self._stepper.close()
            except FsError as problem:
                self.warn(str(problem))
            self._part(failed=error is not None)
        return outcome

    def _part(self, failed: bool) -> None:
        """Let go of the trainer and of the other processes."""
        try:
            if hasattr(self, "_stepper"):
                self._stepper.stop_trainer(failed)
        except FsError as problem:
            self.warn(str(problem))
        self.group.close(failed)
        workspace = self.session.parts.request.temporary_workspace
        if self.group.rank > 0 and workspace is not None:
            shutil.rmtree(workspace, ignore_errors=True)

    def close(self, save: bool = True) -> None:
        """End the run: save what was trained since the last save, stop workers. Twice is fine."""
        if self._finished:
            return
        if save and self.group.share(self._unsaved()):
            self._finish(self._stop_reason() or "stopped")
        else:
            self._end(self._stop_reason() or "stopped")

    def __enter__(self) -> TrainingRun:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: Any
    ) -> None:
        if isinstance(error, Exception) and not self._finished:
            self._fail(error)
        self.close()
