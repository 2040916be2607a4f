"""The life of a training run, top to bottom.

::

    assemble            plugins are loaded            config_defaults
    network             new                           network_spec, build_model
                        or from the checkpoint        custom_objects, adapt_model
                        frozen, weights loaded        freeze_layers, load_layers
    feed                folders are checked           batch_needs, open_feed
    forward             the network can run           make_forward
    trainer             new, or as it was             start_trainer, restore_trainer
    feed starts         order of faces                get_sampler
    add-ons             who watches                   make_observers, before_training
    every step          one batch                     train_batch
                        losses read back              -> on_metrics
                        now and then a save           trainer_state -> on_checkpoint
                        on request a preview          build_inference -> on_preview
    end                 last save                     trainer_state -> on_finish

Everything up to "trainer" happens before anything in the model folder is touched.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

import attrs

from fs_kernel import assembly, backend, events, randomness, resume, startup
from fs_kernel.errors import FsError, ModelFolderError, TrainingError
from fs_kernel.inference import Swapper, Swappers
from fs_kernel.ledger import Ledger
from fs_kernel.observers import Observers
from fs_kernel.preview import make_preview
from fs_kernel.saver import Written, make_saver
from fs_kernel.types import Batch, Finished, Metrics, Saved, Side
from fs_kernel.view import RunView


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
        self._plugins, self.config, self.device = parts.plugins, parts.config, session.device
        self.network, self.state, self.info = session.network, session.state, session.info
        self.warnings = session.warnings
        self.addons = [item.name for item in parts.plugins.chosen if item.kind == "addons"]
        self._wants: dict[str, Any] = {}
        self._observers = Observers(self.warn)
        self._finished = False
        self._preview_count = self._preview_step = 0
        self._began = self._tried_at = self._read_at = time.monotonic()
        self._average: float | None = None
        self._final = False
        self._saved_step = self._tried_step = self._read_step = self.step
        self._saved_last = True
        try:
            with self._memory():
                self._start_trainer()
            self._start_watchers()
            with self._feed("start"):
                session.feed.start(self._sampler, self.step + 1)
        except BaseException:
            self._observers.close()
            session.feed.close()
            session.lock.release()
            raise

    # --- before the first step ---

    def _start_trainer(self) -> None:
        session, size = self.session, self.config["training"].batch_size
        randomness.seed_everything(session.seed)
        self._trainer = self._plugins.start_trainer(RunView(self, self._plugins.view("trainers")))
        sizes, lag = session.feed.sizes, session.feed.lag
        self._sampler = self._plugins.get_sampler(sizes, size, session.seed, lag)
        self.warnings += resume.restore(session, self._trainer, self._sampler)
        self._ledger = Ledger(size * len(self.network.sides))
        self._saver = make_saver(session)
        precision = self.config["training"].precision
        self._swappers = Swappers(self._plugins, self.network, self.device, precision)

    def _start_watchers(self) -> None:
        logs = self.info.model_dir / "logs"
        try:
            self._events = events.EventLog(logs)
            events.write_run_file(logs, self.info.session, startup.run_facts(self.session))
        except OSError as error:
            raise ModelFolderError(f"cannot write in {logs}: {error.strerror}") from error
        for item in self._plugins.chosen:
            if item.kind == "addons":
                view = RunView(self, self._plugins.view("addons", item.name))
                for observer in self._plugins.make_observers(item, view):
                    self._observers.add(item.name, observer)
                self._plugins.before_training(item, view)
        self._event("started", target=self.info.target_steps, session=self.info.session)
        self._observers.tell("on_start", self.info)
        for line in self.warnings:
            self.warn(line)

    # --- steps ---

    @property
    def step(self) -> int:
        """Steps done over the model's life."""
        return self.state.iterations

    def __iter__(self) -> Iterator[Metrics]:
        """Train step by step until the target or a stop request, yielding each step's metrics."""
        while not self._stop_reason():
            yield self.advance()
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
        interval = self.config["training"].metrics_interval
        try:
            while not (reason := self._stop_reason(deadline)):
                self._step()
                elapsed = time.monotonic() - self._read_at
                if interval.due(self.step - self._read_step, elapsed):
                    self._read()
                self._attend()
            return self._finish(reason)
        except BaseException as error:
            self._fail(error)
            raise

    def _stop_reason(self, deadline: float | None = None) -> str | None:
        if self.state.complete:
            return "target"
        if "stop" in self._wants:
            return "stopped"
        return "time" if deadline is not None and time.monotonic() >= deadline else None

    def _step(self) -> None:
        start = time.perf_counter()
        with self._memory():
            with self._feed("next"):
                batch = self._to_device(self.session.feed.next())
            result = self._plugins.train_batch(self._trainer, batch, self.network.sides)
        self.state.count_step()
        self._ledger.add(self.step, result, time.perf_counter() - start)
        if result.sample_loss is not None:
            losses = {side: t.cpu().numpy() for side, t in result.sample_loss.items()}
            self._sampler.update(self.step, batch.meta.indices, losses)

    @contextlib.contextmanager
    def _memory(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if not backend.is_out_of_memory(error):
                raise
            size = self.config["training"].batch_size
            raise TrainingError(
                f"step {self.step + 1}: out of memory at batch size {size}; try -b {size // 2 or 1}"
            ) from error

    def _feed(self, what: str) -> AbstractContextManager[None]:
        return self._plugins.blaming(self._plugins.of_kind("feeds"), what)

    def _to_device(self, batch: Batch) -> Batch:
        if self.device.type == "cpu":
            return batch

        def move(node: Any) -> Any:
            if isinstance(node, Mapping):
                return {key: move(value) for key, value in node.items()}
            if isinstance(node, list | tuple):
                return [move(item) for item in node]
            return node if node is None else node.to(self.device, non_blocking=True)

        meta = attrs.evolve(batch.meta, masks=move(batch.meta.masks))
        targets = move(batch.targets)
        return attrs.evolve(batch, inputs=move(batch.inputs), targets=targets, meta=meta)

    def _read(self) -> Metrics | None:
        metrics = self._ledger.read()
        if metrics is not None:
            self._read_step, self._read_at = self.step, time.monotonic()
            facts = attrs.asdict(metrics)
            facts.pop("step")
            self._event("metrics", **facts)
            self._observers.tell("on_metrics", metrics)
        return metrics

    def _attend(self) -> None:
        """Between steps: save and preview when it is time or somebody asked."""
        self.session.lock.beat()
        self._settle(self._saver.take())
        interval = self.config["save"].interval
        due = interval.due(self.step - self._tried_step, time.monotonic() - self._tried_at)
        if (due or "save" in self._wants) and not self._saver.busy and not self._stop_reason():
            self._wants.pop("save", None)
            self._begin_save()
        if (count := self._wants.pop("preview", None)) is not None:
            self._preview(count)

    # --- requests, from any thread ---

    def request_stop(self) -> None:
        """Finish the step, save, end."""
        self._wants["stop"] = True

    def request_save(self) -> None:
        """Save after the current step."""
        self._wants["save"] = True

    def request_preview(self, count: int = 14) -> None:
        """Make a preview of ``count`` faces per side after the current step."""
        self._wants["preview"] = self._preview_count = max(count, self._wants.get("preview", 0))

    def warn(self, line: str) -> None:
        """Tell everybody who watches something a user should know."""
        self._event("warning", message=line)
        self._observers.tell("on_warning", line)

    def _event(self, event: str, **facts: Any) -> None:
        self._events.write(event, self.step, **facts)

    # --- saving, previewing ---

    def save(self, final: bool = False) -> Saved:
        """Write a checkpoint now and wait for it.

        Args:
            final: it is the last of the session, for ``save.optimizer = "exit"``.

        Raises:
            ModelFolderError: it could not be written; earlier generations are intact.
            TrainingError: losses or weights are no finite numbers; nothing is written.
        """
        self._settle(self._saver.take(wait=True))
        self._begin_save(final)
        saved = self._settle(self._saver.take(wait=True), must=True)
        assert saved is not None
        return saved

    def _begin_save(self, final: bool = False) -> None:
        self._read()
        self._tried_step, self._tried_at = self.step, time.monotonic()
        self._average, self._final = self._ledger.take_average(), final
        if self._average is not None:
            self.state.average_loss = self._average
        policy = self.config["save"].optimizer
        with_trainer = policy == "always" or (policy == "exit" and final)
        with self._memory():
            self._saver.begin(
                lambda copy: resume.capture(
                    self.session, self._trainer, self._sampler, with_trainer, copy
                )
            )
        self._ledger.resume_clock()

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
            self._events.write("save_failed", written.step, message=str(failure))
            self.warn(f"{failure}; training goes on and tries again")
            return None
        if written.generation is None:
            assert written.error is not None
            raise written.error
        made = written.generation
        saved = Saved(
            made.step, made.name, made.bytes, written.seconds, written.pause, self._average
        )
        self._saved_step, self._saved_last = made.step, self._final
        facts = attrs.asdict(saved)
        self._events.write("saved", facts.pop("step"), **facts)
        self._observers.tell("on_checkpoint", saved)
        return saved

    def swapper(self, source: Side, target: Side) -> Swapper:
        """Faces of ``source`` into ``target`` with the weights of this moment."""
        return self._swappers(source, target)

    def _preview(self, count: int) -> None:
        self._read()
        self._preview_step = self.step
        with self._feed("preview"):
            faces = self.session.feed.preview(count)
        preview = make_preview(self, faces, self.step)
        self._event("preview")
        self._observers.tell("on_preview", preview)
        self._ledger.resume_clock()

    # --- the end ---

    def _finish(self, reason: str) -> Finished:
        self._settle(self._saver.take(wait=True))
        self.state.stop_reason = reason
        if self._unsaved() or self.session.parts.generation is None:
            self.save(final=True)
        if reason != "stopped" and self._preview_count and self._preview_step != self.step:
            self._preview(self._preview_count)
        return self._end(reason)

    def _unsaved(self) -> bool:
        """Whether the newest save lacks steps, or was not told that it would be the last."""
        return self.step > self._saved_step or not self._saved_last

    def _fail(self, error: BaseException) -> None:
        reason = str(error) if isinstance(error, FsError) else f"{type(error).__name__}: {error}"
        events.log_error(self.info.model_dir / "logs", error)
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
                with self._feed("close"):
                    self.session.feed.close()
            except FsError as problem:
                self.warn(str(problem))
        return outcome

    def close(self, save: bool = True) -> None:
        """End the run: save what was trained since the last save, stop workers. Twice is fine."""
        if self._finished:
            return
        if save and self._unsaved():
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
