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

import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

import attrs
import tomli_w

from fs_kernel import assembly, backend, events, network, plugins, randomness, tree
from fs_kernel import graph as graphs
from fs_kernel.checkpoint import Content
from fs_kernel.errors import FsError, ModelFolderError, TrainingError
from fs_kernel.inference import Swapper, swapper_network
from fs_kernel.ledger import Ledger
from fs_kernel.observers import Observers
from fs_kernel.preview import make_preview
from fs_kernel.startup import require_space, run_facts
from fs_kernel.state import ModelState, Session
from fs_kernel.types import Batch, FeedSpec, Finished, Metrics, RunInfo, Saved, Side

if TYPE_CHECKING:
    import torch

    from fs_kernel.config import Config


class _RunView:
    """What one plugin gets to hold of a run (`fs_kernel.types.Run`)."""

    def __init__(self, owner: TrainingRun, config: Config) -> None:
        self._owner = owner
        self.config = config
        self.info = owner.info
        self.network = owner.network
        self.device = owner.device

    @property
    def step(self) -> int:
        return self._owner.step

    def forward(self, inputs: Mapping[Side, torch.Tensor], training: bool = True) -> list[Any]:
        return self._owner.forward(inputs, training=training)

    def parameters(self) -> dict[str, torch.nn.Parameter]:
        return network.parameters(self.network)

    def find(self, kind: Literal["losses", "optimizers"], name: str) -> Any:
        return plugins.load(kind, name).plugin

    def request_stop(self) -> None:
        self._owner.request_stop()

    def request_save(self) -> None:
        self._owner.request_save()

    def request_preview(self, count: int = 14) -> None:
        self._owner.request_preview(count)


class TrainingRun:
    """A run that is ready to train; made by `fs_kernel.open_run`.

    Iterate it for one step at a time, or call `train`. Use it as a context manager, or call
    `close`: leaving saves what was trained, unless training failed.

    Attributes:
        info: the facts of this session.
        network: what is trained.
        warnings: lines worth reading from the start.
    """

    def __init__(self, parts: assembly.Assembled) -> None:
        self._parts, self._plugins, self.config = parts, parts.plugins, parts.config
        self.warnings = list(parts.warnings)
        self.addons = [item.name for item in parts.plugins.chosen if item.kind == "addons"]
        self._wants: dict[str, Any] = {}
        self._events: events.EventLog | None = None
        self._observers = Observers(self.warn)
        self.device = assembly.require_device(self.config)
        self._seed = assembly.settle_seed(self.config)
        self.network = assembly.make_network(parts, self._seed, self.device)
        self._freeze_and_load()
        self._open_feed()
        try:
            self._start()
        except BaseException:
            self._feed.close()
            raise

    # --- before the first step ---

    def _freeze_and_load(self) -> None:
        parts, request = self._parts, self._parts.request
        frozen = self.config["training"].freeze_weights
        names = self._plugins.freeze_layers(self.network) if frozen else []
        for name in network.freeze(self.network, names):
            self.warn(f"there is no sub-model '{name}' to freeze")
        if request.load_weights is not None and parts.state is not None:
            self.warn("--load-weights is for a new model; this one resumes")
        elif request.load_weights is not None:
            self.warn(assembly.load_weights(parts, self.network, request.load_weights, self.warn))

    def _open_feed(self) -> None:
        self._folders = assembly.settle_folders(self._parts, self.network.sides)
        size = self.config["training"].batch_size
        shapes = [tuple(tensor.shape[1:]) for tensor in self.network.model.inputs]
        spec = FeedSpec(
            input_shapes=dict(zip(self.network.sides, shapes, strict=True)),
            color_order=self.network.color_order,
            outputs=tuple(self.network.outputs),
            masks=self._plugins.batch_needs(),
            batch_size=size,
            seed=self._seed,
            slots=range(size),
        )
        self._feed = self._plugins.open_feed(self._folders, spec)
        self.warnings += self._feed.warnings

    def _start(self) -> None:
        parts, training = self._parts, self.config["training"]
        self.forward = self._plugins.make_forward(self.network, self.device, training.precision)
        self.state = parts.state or self._new_state()
        self.state.target_iterations = training.iterations
        self.state.folders = {side: str(path) for side, path in self._folders.items()}
        self.state.plugins = {i.kind: i.identity() for i in self._plugins.chosen}
        self.state.begin(
            Session(time.time(), self.state.iterations, training.batch_size, self._seed)
        )
        self.info = self._make_info()
        require_space(parts, self.info, self.config["save"].keep)
        view = _RunView(self, self._plugins.view("trainers"))
        randomness.seed_everything(self._seed)
        self._trainer = self._plugins.start_trainer(view)
        self._sampler = self._plugins.get_sampler(
            self._feed.sizes, training.batch_size, self._seed, self._feed.lag
        )
        if parts.generation is not None:
            self._restore(parts.checkpoints.read_training(parts.generation))
        self._ledger = Ledger(training.batch_size * len(self.network.sides))
        self._finished = False
        self._swappers: dict[tuple[Side, Side], Swapper] = {}
        self._began = self._saved_at = self._read_at = time.monotonic()
        self._saved_step = self._read_step = self.step
        self._open_logs()
        self._feed.start(self._sampler, self.step + 1)

    def _new_state(self) -> ModelState:
        return ModelState(
            model=self._plugins.of_kind("models").name,
            network_name=self.network.model.name,
            plugins={},
            fingerprint=network.fingerprint(self.network),
            parameters=network.count(self.network),
            folders={},
        )

    def _make_info(self) -> RunInfo:
        training, names = self.config["training"], {i.kind: i.name for i in self._plugins.chosen}
        return RunInfo(
            model_dir=self._parts.request.model_dir,
            model=self.state.model,
            network_name=self.state.network_name,
            trainer=names["trainers"],
            feed=names["feeds"],
            executor=names["executors"],
            sides=self.network.sides,
            parameters=self.state.parameters,
            batch_size=training.batch_size,
            device=str(self.device),
            precision=training.precision,
            seed=self._seed,
            session=len(self.state.sessions),
            start_step=self.state.iterations,
            target_steps=training.iterations,
            face_counts=dict(self._feed.sizes),
        )

    def _restore(self, training: Mapping[str, Any]) -> None:
        if (trainer := training.get("trainer")) is not None:
            self._plugins.restore_trainer(self._trainer, trainer)
        else:
            self.warn("the checkpoint holds no trainer state: the optimiser starts afresh")
        if (sampler := training.get("sampler")) is not None:
            self._sampler.load_state_dict(sampler)
        for name, variable in network.seed_states(self.network).items():
            if name in training["keras_seeds"]:
                variable._value.data.copy_(training["keras_seeds"][name])
        randomness.restore(training["random"], self.device)

    def _open_logs(self) -> None:
        logs = self.info.model_dir / "logs"
        self._events = events.EventLog(logs)
        facts = run_facts(self._parts, self.info, self.config, self._feed.fingerprint)
        events.write_run_file(logs, self.info.session, facts)
        for item in self._plugins.chosen:
            if item.kind == "addons":
                view = _RunView(self, self._plugins.view("addons", item.name))
                for observer in self._plugins.make_observers(item, view):  # type: ignore[arg-type]
                    self._observers.add(item.name, observer)
                self._plugins.before_training(item, view)  # type: ignore[arg-type]
        self._event("started", target=self.info.target_steps, session=self.info.session)
        self._observers.tell("on_start", self.info)
        for line in self.warnings:
            self._event("warning", message=line)
            self._observers.tell("on_warning", line)

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
        try:
            batch = self._to_device(self._feed.next())
            result = self._plugins.train_batch(self._trainer, batch)
        except (MemoryError, backend.torch().OutOfMemoryError) as error:
            size = self.config["training"].batch_size
            raise TrainingError(
                f"step {self.step + 1}: out of memory at batch size {size}; try -b {size // 2 or 1}"
            ) from error
        self.state.count_step()
        self._ledger.add(self.step, result, time.perf_counter() - start)
        if result.sample_loss is not None:
            losses = {side: t.cpu().numpy() for side, t in result.sample_loss.items()}
            self._sampler.update(self.step, batch.meta.indices, losses)

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
        interval = self.config["save"].interval
        due = interval.due(self.step - self._saved_step, time.monotonic() - self._saved_at)
        if due or self._wants.pop("save", None):
            self._try_save()
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
        self._wants["preview"] = count

    def warn(self, line: str) -> None:
        """Tell the user something, once training or the start of it goes on."""
        if self._events is None:
            self.warnings.append(line)
            return
        self._event("warning", message=line)
        self._observers.tell("on_warning", line)

    def _event(self, event: str, **facts: Any) -> None:
        if self._events is not None:
            self._events.write(event, self.step, **facts)

    # --- saving, previewing ---

    def save(self, final: bool = False) -> Saved:
        """Write a checkpoint now.

        Args:
            final: it is the last of the session, for ``save.optimizer = "exit"``.

        Raises:
            ModelFolderError: it could not be written; earlier generations are intact.
            TrainingError: the last losses are no finite numbers; nothing is written.
        """
        self._read()
        start = time.monotonic()
        options = self.config["save"]
        average = self._ledger.take_average()
        self.state.average_loss = average if average is not None else self.state.average_loss
        try:
            written = self._parts.checkpoints.write(self._content(final), options.keep)
        except OSError as error:
            raise ModelFolderError(
                f"could not save step {self.step} in {self.info.model_dir}: {error.strerror}; "
                f"the checkpoint of step {self._saved_step} is intact"
            ) from error
        seconds = time.monotonic() - start
        saved = Saved(self.step, written.name, written.bytes, seconds, average)
        self._saved_step, self._saved_at = self.step, time.monotonic()
        self._ledger.resume_clock()
        self._event("saved", **{k: v for k, v in attrs.asdict(saved).items() if k != "step"})
        self._observers.tell("on_checkpoint", saved)
        return saved

    def _try_save(self) -> None:
        try:
            self.save()
        except ModelFolderError as error:
            self._saved_at = time.monotonic()
            self._event("save_failed", message=str(error))
            self.warn(f"{error}; training goes on and tries again")

    def _content(self, final: bool) -> Content:
        policy = self.config["save"].optimizer
        training: dict[str, Any] = {
            "random": randomness.capture(self.device),
            "keras_seeds": {
                name: variable._value
                for name, variable in network.seed_states(self.network).items()
            },
            "sampler": self._sampler.state_dict(),
        }
        if policy == "always" or (policy == "exit" and final):
            training["trainer"] = self._plugins.trainer_state(self._trainer)
        weights = {n: v._value for n, v in network.weights(self.network).items()}
        sections = self.config.as_dict()
        sections["training"]["seed"] = self._seed
        return Content(
            step=self.step,
            network=graphs.to_json(self.network),
            weights={n: tree.cpu_copy(value) for n, value in weights.items()},
            training=tree.pack(training),
            state=self.state.to_json(),
            config=tomli_w.dumps(sections),
        )

    def swapper(self, source: Side, target: Side) -> Swapper:
        """Faces of ``source`` into ``target`` with the weights of this moment."""
        if (source, target) not in self._swappers:
            swap = swapper_network(self._plugins, self.network, source, target)
            precision = self.config["training"].precision
            forward = self._plugins.make_forward(swap, self.device, precision)
            self._swappers[source, target] = Swapper(swap, forward, self.device)
        return self._swappers[source, target]

    def _preview(self, count: int) -> None:
        self._read()
        preview = make_preview(self, self._feed.preview(count), self.step)
        self._event("preview")
        self._observers.tell("on_preview", preview)
        self._ledger.resume_clock()

    # --- the end ---

    def _finish(self, reason: str) -> Finished:
        self.state.stop_reason = reason
        if self.step > self._saved_step or self._parts.generation is None:
            self.save(final=True)
        if (count := self._wants.pop("preview", None)) is not None:
            self._preview(count)
        return self._end(reason)

    def _fail(self, error: BaseException) -> None:
        reason = str(error) if isinstance(error, FsError) else f"{type(error).__name__}: {error}"
        events.log_error(self.info.model_dir / "logs", error)
        self._end("failed", reason)

    def _end(self, reason: str, error: str | None = None) -> Finished:
        outcome = Finished(reason, self.step, time.monotonic() - self._began, error)
        if not self._finished:
            self._finished = True
            self._event("finished", reason=reason, seconds=outcome.seconds, error=error)
            self._observers.tell("on_finish", outcome)
            self._observers.close()
            self._feed.close()
        return outcome

    def close(self, save: bool = True) -> None:
        """End the run: save what was trained since the last save, stop workers. Twice is fine."""
        if self._finished:
            return
        if save and self.step > self._saved_step:
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
