"""What turns batches into steps: the feed, the trainer, the order of faces, the unread losses."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from fs_kernel import backend, memory, networks, randomness
from fs_kernel.errors import FsError, TrainingError
from fs_kernel.storage import tree
from fs_kernel.storage.checkpoints import Content
from fs_kernel.training import capture as resume
from fs_kernel.training.live_options import Changes
from fs_kernel.training.metrics import Ledger
from fs_kernel.training.session import Started
from fs_kernel.types import Batch, Metrics, PreviewFaces, Run, Side

if TYPE_CHECKING:
    import torch

#: Steps between a face's loss and its reading, so that reading does not hold up the device.
_DELAY = 4


class Stepper:
    """The moving parts of a session.

    Attributes:
        changes: the changes of options asked for.

    Args:
        session: a session that is ready to train.
        run: what the trainer gets to hold of the run.
        on_first_batch: told about the first batch, before it is moved to the device.
    """

    def __init__(self, session: Started, run: Run, on_first_batch: Callable[[Batch], None]) -> None:
        self._session, self._run, self._plugins = session, run, session.parts.plugins
        self._tell_first: Callable[[Batch], None] | None = on_first_batch
        self._batch_size = session.info.batch_size
        self._sample: Batch | None = None
        self._ahead: Batch | None = None
        self._trainer: Any = None
        self.changes = Changes(session.parts, session.group)
        with self._memory():
            self._begin()
        self.warnings = self._restore()

    def _begin(self) -> None:
        """A fresh trainer, sampler and ledger."""
        session, feed = self._session, self._session.feed
        randomness.seed_everything(session.seed)
        self._trainer = self._plugins.start_trainer(self._run)
        facts = getattr(feed, "facts", {})
        self._sampler = self._plugins.get_sampler(
            feed.sizes, self._batch_size, session.seed, feed.lag + _DELAY, facts
        )
        self._unheard: deque[tuple[int, Any, Mapping[Side, torch.Tensor]]] = deque()
        self._ledger = Ledger(self._batch_size * len(session.network.sides), session.group)
        seeds = [state.data for state in networks.seed_states(session.network).values()]
        done, rank = session.state.iterations, session.group.rank
        randomness.seed_apart(session.seed, done, rank, seeds)

    def _restore(self) -> list[str]:
        parts = self._session.parts
        if parts.generation is None:
            return []
        training = parts.checkpoints.read_training(parts.generation)
        source = f"generation {parts.generation}"
        return resume.restore(self._session, self._trainer, self._sampler, training, source)

    def start_feed(self) -> None:
        """Begin, or begin anew, to prepare batches from the next step on."""
        self._ahead = None
        with self._feed("start"):
            self._session.feed.start(self._sampler, self._session.state.iterations + 1)

    def look_ahead(self) -> None:
        """Have the next batch at hand, where processes must know that each of them has one."""
        if self._session.group.size > 1 and self._ahead is None:
            with self._memory(), self._feed("next"):
                self._ahead = self._session.feed.next()

    def step(self) -> None:
        """One step; nothing is read back.

        Raises:
            FsError: a plugin failed, or memory ran out.
        """
        start, session = time.perf_counter(), self._session
        with self._memory():
            with self._feed("next"):
                batch, self._ahead = self._ahead or session.feed.next(), None
            if self._tell_first is not None:
                self._tell_first(_mapped(batch, lambda tensor: tensor.cpu()))
                self._tell_first = None
            batch = self._to_device(batch)
            result = self._plugins.train_batch(self._trainer, batch, session.network.sides)
        session.state.count_step()
        step = session.state.iterations
        self._ledger.add(step, result, time.perf_counter() - start)
        if result.sample_loss is not None:
            self._unheard.append((step, batch.meta.indices, result.sample_loss))
        self._tell_sampler(_DELAY)

    def _tell_sampler(self, delay: int) -> None:
        """Pass on the losses of single faces, but for those of the last ``delay`` steps."""
        while len(self._unheard) > delay:
            step, indices, tensors = self._unheard.popleft()
            losses = {side: tensor.cpu().numpy() for side, tensor in tensors.items()}
            told = self._session.group.gather((indices, losses))
            self._sampler.update(step, *(_interleaved(parts) for parts in zip(*told, strict=True)))

    def time_step(self, size: int) -> float:
        """Seconds of one step of another batch size, after one to warm up; weights change.

        Args:
            size: faces per side; the feed's own batch is repeated to make them.
        """
        with self._memory():
            if self._sample is None:
                with self._feed("next"):
                    self._sample = self._session.feed.next()
            batch = self._to_device(_of_size(self._sample, size))
            for _ in range(2):
                start = time.perf_counter()
                result = self._plugins.train_batch(
                    self._trainer, batch, self._session.network.sides
                )
                sum(float(loss.total) for loss in result.losses)
            return time.perf_counter() - start

    def read(self) -> Metrics | None:
        """Read the losses of the steps since the last call; None if there were none.

        Raises:
            BadStepError: one of them is no finite number.
        """
        return self._ledger.read()

    def take_average(self) -> float | None:
        """Mean summed loss of the steps read since the last call."""
        return self._ledger.take_average()

    def resume_clock(self) -> None:
        """Leave the time since the last read out of the speed."""
        self._ledger.resume_clock()

    def change_options(self, begun: bool = True) -> tuple[list[tuple[str, Any]], str | None]:
        """Make the changes of options that are due before the next step.

        Args:
            begun: whether the feed is at work and must begin anew.

        Returns:
            Name and new value of what changed; and, if a plugin cannot do with them so that
            nothing changed, the line that says why.
        """
        parts = self._session.parts
        before = parts.config
        made = self.changes.apply(self._session.state.iterations + 1)
        sections = {name.rpartition(".")[0] for name, _ in made}
        try:
            self._pass_on(sections, begun)
        except FsError as error:
            parts.reset(before)
            self._pass_on(sections, begun)
            return [], f"{', '.join(name for name, _ in made)} cannot change: {error}"
        return made, None

    def _pass_on(self, sections: set[str], begun: bool) -> None:
        """Hand changed sections to the trainer and the feed they belong to."""
        if sections & set(self._plugins.of_kind("trainers").sections):
            self._plugins.change_options(self._trainer)
        if sections & set(self._plugins.of_kind("feeds").sections):
            with self._feed("change_options"):
                change = getattr(self._session.feed, "change_options", None)
                if change is not None:
                    change(self._plugins.view("feeds"))
            if begun:
                self.start_feed()

    @contextlib.contextmanager
    def trial(self) -> Iterator[None]:
        """Whatever is done inside leaves no trace. The feed must be started afterwards."""
        parts, label = self._session.parts, "the trial"
        content, config = self.capture(True, tree.cpu_copy), parts.config
        changes, self.changes = self.changes, Changes(parts, self._session.group)
        self.start_feed()
        try:
            yield
        finally:
            self.changes = changes
            parts.reset(config)
            self._pass_on(set(config), begun=False)
            skeleton, tensors = content.training
            training = tree.unpack(skeleton, tensors, label)
            self._become(content.step, content.weights, training, label)

    def return_to(self, name: str) -> list[str]:
        """Become what generation ``name`` holds; the feed must be started afterwards.

        Returns:
            Lines for the user.
        """
        checkpoints = self._session.parts.checkpoints
        step = checkpoints.step_of(name)
        weights, training = checkpoints.read_weights(name), checkpoints.read_training(name)
        undone = self.changes.go_back(step)
        lines = self._become(step, weights, training, f"generation {name}")
        self._pass_on({option.rpartition(".")[0] for option in undone}, begun=False)
        return lines

    def _become(
        self, step: int, weights: Mapping[str, Any], training: Any, source: str
    ) -> list[str]:
        session = self._session
        self.stop_trainer(failed=False)
        networks.assign(session.network, weights, source)
        session.state.go_back(step)
        with self._memory():
            self._begin()
        return resume.restore(session, self._trainer, self._sampler, training, source)

    def stop_trainer(self, failed: bool) -> None:
        """Let go of the trainer, if there is one; see `fs_kernel.hookspecs.TrainerHooks`."""
        trainer, self._trainer = self._trainer, None
        if trainer is not None:
            self._plugins.stop_trainer(trainer, failed)

    def whole_weights(self) -> AbstractContextManager[None]:
        """While the network's own variables hold its weights."""
        return self._plugins.whole_weights(self._trainer)

    def capture(self, with_trainer: bool, copy: Callable[[Any], Any]) -> Content:
        """A copy of everything that a step changes; see `fs_kernel.training.capture.capture`."""
        self._tell_sampler(0)
        with self._memory(), self.whole_weights():
            return resume.capture(self._session, self._trainer, self._sampler, with_trainer, copy)

    def preview(self, count: int) -> PreviewFaces:
        """A fixed choice of faces to look at."""
        with self._feed("preview"):
            return self._session.feed.preview(count)

    def close(self) -> None:
        """Stop the feed."""
        with self._feed("close"):
            self._session.feed.close()

    @contextlib.contextmanager
    def _memory(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if not backend.is_out_of_memory(error):
                raise
            size, device = self._batch_size, self._session.device
            precision = self._session.parts.config["training"].precision
            advice = memory.advice(self._session.info.parameters, size, precision, device)
            raise TrainingError(
                f"step {self._session.state.iterations + 1}: out of memory at batch size {size}; "
                f"{advice}"
            ) from error

    def _feed(self, what: str) -> AbstractContextManager[None]:
        return self._plugins.blaming(self._plugins.of_kind("feeds"), what)

    def _to_device(self, batch: Batch) -> Batch:
        device = self._session.device
        if device.type == "cpu":
            return batch

        return _mapped(batch, lambda tensor: tensor.to(device, non_blocking=True))


def _interleaved(parts: Sequence[Mapping[Side, np.ndarray]]) -> Mapping[Side, np.ndarray]:
    """What processes know of their slots of a batch, in the order of the slots."""
    if len(parts) == 1:
        return parts[0]
    whole = {}
    for side in parts[0]:
        each = [np.asarray(part[side]) for part in parts]
        whole[side] = np.empty(sum(map(len, each)), each[0].dtype)
        for rank, values in enumerate(each):
            whole[side][rank :: len(each)] = values
    return whole


def _mapped(batch: Batch, function: Callable[[torch.Tensor], torch.Tensor]) -> Batch:
    """The batch with ``function`` of every tensor."""

    def walk(node: Any) -> Any:
        if isinstance(node, Mapping):
            return {key: walk(value) for key, value in node.items()}
        if isinstance(node, list | tuple):
            return [walk(item) for item in node]
        return node if node is None else function(node)

    meta = attrs.evolve(batch.meta, masks=walk(batch.meta.masks))
    targets = walk(batch.targets)
    return attrs.evolve(batch, inputs=walk(batch.inputs), targets=targets, meta=meta)


def _of_size(batch: Batch, size: int) -> Batch:
    """The first ``size`` faces per side of a batch that is repeated as often as need be."""

    def repeat(tensor: torch.Tensor) -> torch.Tensor:
        times = -(-size // len(tensor))
        return tensor.repeat(times, *(1 for _ in tensor.shape[1:]))[:size]

    indices = {side: np.resize(rows, size) for side, rows in batch.meta.indices.items()}
    made = _mapped(batch, repeat)
    return attrs.evolve(made, meta=attrs.evolve(made.meta, indices=indices))
