"""Run training steps: feed, trainer, feedback to the sampler, and unread losses."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from fs_kernel import backend, memory, networks, randomness
from fs_kernel.errors import ConfigError, FsError, TrainingError
from fs_kernel.options.fields import to_toml_value
from fs_kernel.plugins.objects import ActiveTrainer
from fs_kernel.storage import tree
from fs_kernel.storage.checkpoints import CheckpointData
from fs_kernel.training import batches, capture
from fs_kernel.training.capture import Actors
from fs_kernel.training.live_options import LiveOptions
from fs_kernel.training.metrics import MetricsReader
from fs_kernel.training.sampler_feedback import DELAY, SamplerFeedback
from fs_kernel.types import Batch, Metrics, Run, StepResult

if TYPE_CHECKING:
    from fs_kernel.plugins.plugin import Plugin
    from fs_kernel.training.session import Session


class TrainStep:
    """The moving parts of a session.

    Args:
        session: a session that is ready to train.
        handle: returns a plugin's view of the run.
        on_first_batch: called with the first batch, on the CPU.

    Attributes:
        actors: what has a state: trainer, sampler, objectives, add-ons.
        metrics: the unread losses.
        live: the changes of options that were asked for.
        warnings: lines for the user about what could not be restored.
    """

    def __init__(
        self,
        session: Session,
        handle: Callable[[Plugin], Run],
        on_first_batch: Callable[[Batch], None],
    ) -> None:
        self._session, self._handle = session, handle
        self._on_first_batch: Callable[[Batch], None] | None = on_first_batch
        self._sample: Batch | None = None
        self._ahead: Batch | None = None
        self._waited = 0.0
        self.live = LiveOptions(session.options, session.coordinator.is_main)
        images = session.info.batch_size * len(session.network.sides)
        self.metrics = MetricsReader(images, session.coordinator.mean)
        # Filled one by one, so that what was created is closed if the next one fails.
        self.actors = Actors(ActiveTrainer(session.plugins.trainer, None))
        session.on_close(lambda: self.close(session.failed))
        with self._memory():
            self._create()
        self.warnings = self._restore()

    def _create(self) -> None:
        """Create trainer, objectives and sampler as at the start of a session."""
        session, feed = self._session, self._session.feed
        plugins, done, actors = session.plugins, session.state.iterations, self.actors
        randomness.seed_everything(session.seed)
        # The trainer's handle looks objectives up here while the trainer is created.
        session.objectives = actors.objectives
        for item in plugins.objectives:
            actors.objectives[item.name] = item.create(self._handle(item))
        actors.trainer = plugins.trainer.create(self._handle(plugins.trainer))
        if actors.objectives and not actors.trainer.adds_objectives:
            raise ConfigError(
                f"trainer '{plugins.trainer.name}' does not add objectives to its loss; choose "
                f"another trainer, or leave training.objectives = "
                f"{', '.join(session.objectives)} out"
            )
        actors.sampler = plugins.trainer.get_sampler(
            feed.sizes,
            session.info.batch_size,
            session.seed,
            feed.prefetch + DELAY,
            feed.face_attributes,
        )
        self._feedback = SamplerFeedback(actors.sampler, session.coordinator.collect)
        self.metrics.forget()
        seeds = [state.data for state in networks.seed_states(session.network).values()]
        randomness.seed_apart(session.seed, done, session.coordinator.rank, seeds)

    def _restore(self) -> list[str]:
        resolved = self._session.resolved
        if resolved.checkpoint is None:
            return []
        training = resolved.checkpoints.read_training(resolved.checkpoint)
        self._session.addon_states = training.get("addons", {})
        return capture.restore(self._session, self.actors, training, resolved.checkpoint)

    # --- steps ---

    def start_feed(self) -> None:
        """Let the feed prepare batches from the next step on."""
        self._ahead = None
        self._session.feed.start(self.actors.sampler, self._session.state.iterations + 1)

    def prefetch(self) -> None:
        """Have the next batch at hand.

        Processes agree on the next step only when each of them has a batch for it: a face that
        cannot be used must stop all of them before the backward pass.
        """
        if self._ahead is None:
            start = time.perf_counter()
            with self._memory():
                self._ahead = self._session.feed.next()
            self._waited += time.perf_counter() - start

    def run(self) -> StepResult:
        """Run one step; nothing is read back.

        Raises:
            FsError: a plugin failed, or memory ran out.
        """
        self.prefetch()
        start, session = time.perf_counter(), self._session
        batch, self._ahead = self._ahead, None
        assert batch is not None
        with self._memory():
            if self._on_first_batch is not None:
                self._on_first_batch(batches.on_cpu(batch))
                self._on_first_batch = None
            batch = batches.on_device(batch, session.device)
            result = self.actors.trainer.train_step(batch, session.network.sides)
        session.state.count_step()
        seconds = time.perf_counter() - start + self._waited
        self._waited = 0.0
        self.metrics.add(session.state.iterations, result, seconds)
        self._feedback.add(session.state.iterations, batch.meta.indices, result)
        return result

    def time_step(self, size: int) -> float:
        """Return the seconds of one step of another batch size, after one to warm up.

        Weights change: only for a run that is thrown away.

        Args:
            size: faces per side; the feed's own batch is repeated to make them.
        """
        session = self._session
        with self._memory():
            if self._sample is None:
                self._sample = session.feed.next()
            batch = batches.on_device(batches.of_size(self._sample, size), session.device)
            for _ in range(2):
                start = time.perf_counter()
                result = self.actors.trainer.train_step(batch, session.network.sides)
                sum(float(loss.total) for loss in result.losses)
            return time.perf_counter() - start

    # --- options ---

    def change_options(self, begun: bool = True) -> tuple[list[tuple[str, Any]], str | None]:
        """Make the changes of options that are due before the next step.

        Args:
            begun: whether the feed is at work and must start again.

        Returns:
            Name and new value (as TOML has it) of what changed; and the line that says why nothing
            did, if a plugin cannot do with it.
        """
        before = self._session.options.config
        made = self.live.apply(self._session.state.iterations + 1)
        sections = {name.rpartition(".")[0] for name, _ in made}
        try:
            self._pass_on(sections, begun)
        except FsError as error:
            self._session.options.replace(before)
            self._pass_on(sections, begun)
            return [], f"{', '.join(name for name, _ in made)} cannot change: {error}"
        return [(name, to_toml_value(value)) for name, value in made], None

    def _pass_on(self, sections: set[str], begun: bool) -> None:
        """Hand changed sections to the trainer, the objectives and the feed that declared them."""
        feed = self._session.feed
        for item in (self.actors.trainer, *self.actors.objectives.values()):
            if sections & set(item.plugin.sections):
                item.on_options_changed()
        if sections & set(feed.plugin.sections):
            feed.on_options_changed()
            if begun:
                self.start_feed()

    # --- going back ---

    @contextlib.contextmanager
    def trial(self) -> Iterator[None]:
        """Let what is done inside leave no trace. The feed must be started afterwards."""
        options = self._session.options
        data, config = self.capture(True, tree.cpu_copy), options.config
        live, self.live = self.live, LiveOptions(options, self._session.coordinator.is_main)
        self.start_feed()
        try:
            yield
        finally:
            self.live = live
            options.replace(config)
            self._pass_on(set(config), begun=False)
            skeleton, tensors = data.training
            training = tree.unpack(skeleton, tensors, "the trial")
            self._become(data.step, data.weights, training, None)

    def trial_step(self) -> Metrics:
        """Run one step of which no event tells; for trials and dry runs."""
        asked = self._session.coordinator.broadcast(self.live.take_requests())
        self.live.accept(asked)
        self.change_options()
        self.run()
        metrics = self.metrics.read()
        assert metrics is not None
        return metrics

    def return_to(self, name: str) -> list[str]:
        """Become what a checkpoint holds; the feed must be started afterwards.

        Returns:
            Lines for the user.
        """
        checkpoints = self._session.resolved.checkpoints
        step = checkpoints.step_of(name)
        weights, training = checkpoints.read_weights(name), checkpoints.read_training(name)
        undone = self.live.undo_after(step)
        lines = self._become(step, weights, training, name)
        for addon, state in training.get("addons", {}).items():
            if addon in self.actors.addons:
                self.actors.addons[addon].load_state_dict(state)
        self._pass_on({option.rpartition(".")[0] for option in undone}, begun=False)
        return lines

    def _become(
        self, step: int, weights: Mapping[str, Any], training: Any, checkpoint: str | None
    ) -> list[str]:
        session = self._session
        source = "the trial" if checkpoint is None else f"checkpoint {checkpoint}"
        self.close(failed=False)
        lines = networks.assign(session.network, weights, source)
        session.state.go_back(step)
        with self._memory():
            self._create()
        return [*lines, *capture.restore(session, self.actors, training, checkpoint)]

    # --- what others need of it ---

    def full_weights(self) -> AbstractContextManager[None]:
        """Return a context in which the network's own variables hold its weights."""
        return self.actors.trainer.full_weights()

    def capture(self, with_trainer: bool, copy: Callable[[Any], Any]) -> CheckpointData:
        """Return a copy of everything that a step changes; see `capture.capture`."""
        self._feedback.tell()
        with self._memory(), self.full_weights():
            return capture.capture(self._session, self.actors, with_trainer, copy)

    def close(self, failed: bool) -> None:
        """Close the trainer and the objectives, if they are not closed yet."""
        with contextlib.ExitStack() as closing:
            for item in (*self.actors.objectives.values(), self.actors.trainer):
                closing.callback(item.close, failed)
        # What is closed is not used again, and an optimizer's memory is needed.
        self.actors.trainer = ActiveTrainer(self.actors.trainer.plugin, None)
        self.actors.objectives.clear()

    @contextlib.contextmanager
    def _memory(self) -> Iterator[None]:
        """Turn running out of memory into advice."""
        try:
            yield
        except Exception as error:
            if not backend.is_out_of_memory(error):
                raise
            session = self._session
            size, precision = session.info.batch_size, session.info.precision
            advice = memory.advice(session.info.parameters, size, precision, session.device)
            raise TrainingError(
                f"step {session.state.iterations + 1}: out of memory at batch size {size}; {advice}"
            ) from error
