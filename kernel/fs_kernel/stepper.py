"""What turns batches into steps: the feed, the trainer, the order of faces, the unread losses."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

import attrs

from fs_kernel import backend, network, randomness, resume
from fs_kernel.checkpoint import Content
from fs_kernel.errors import TrainingError
from fs_kernel.ledger import Ledger
from fs_kernel.startup import Started
from fs_kernel.types import Batch, Metrics, PreviewFaces, Run


class Stepper:
    """The moving parts of a session.

    Args:
        session: a session that is ready to train.
        run: what the trainer gets to hold of the run.
        on_first_batch: told about the first batch, before it is moved to the device.
    """

    def __init__(self, session: Started, run: Run, on_first_batch: Callable[[Batch], None]) -> None:
        self._session, self._run, self._plugins = session, run, session.parts.plugins
        self._tell_first: Callable[[Batch], None] | None = on_first_batch
        self._batch_size = session.info.batch_size
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
            feed.sizes, self._batch_size, session.seed, feed.lag, facts
        )
        self._ledger = Ledger(self._batch_size * len(session.network.sides))

    def _restore(self) -> list[str]:
        parts = self._session.parts
        if parts.generation is None:
            return []
        training = parts.checkpoints.read_training(parts.generation)
        source = f"generation {parts.generation}"
        return resume.restore(self._session, self._trainer, self._sampler, training, source)

    def start_feed(self) -> None:
        """Begin, or begin anew, to prepare batches from the next step on."""
        with self._feed("start"):
            self._session.feed.start(self._sampler, self._session.state.iterations + 1)

    def step(self) -> None:
        """One step; nothing is read back.

        Raises:
            FsError: a plugin failed, or memory ran out.
        """
        start, session = time.perf_counter(), self._session
        with self._memory():
            with self._feed("next"):
                batch = session.feed.next()
            if self._tell_first is not None:
                self._tell_first(batch)
                self._tell_first = None
            batch = self._to_device(batch)
            result = self._plugins.train_batch(self._trainer, batch, session.network.sides)
        session.state.count_step()
        step = session.state.iterations
        self._ledger.add(step, result, time.perf_counter() - start)
        if result.sample_loss is not None:
            losses = {side: t.cpu().numpy() for side, t in result.sample_loss.items()}
            self._sampler.update(step, batch.meta.indices, losses)

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

    def change_options(self, sections: Iterable[str], begun: bool) -> None:
        """Hand changed sections to the trainer and the feed they belong to.

        Args:
            sections: names of sections; of other plugins' too.
            begun: whether the feed is at work and must begin anew.
        """
        changed, feed = set(sections), self._session.feed
        if changed & set(self._plugins.of_kind("trainers").sections):
            self._plugins.change_options(self._trainer)
        if changed & set(self._plugins.of_kind("feeds").sections):
            with self._feed("change_options"):
                if (change := getattr(feed, "change_options", None)) is not None:
                    change(self._plugins.view("feeds"))
            if begun:
                self.start_feed()

    def capture(self, with_trainer: bool, copy: Callable[[Any], Any]) -> Content:
        """A copy of everything that a step changes; see `fs_kernel.resume.capture`."""
        with self._memory():
            return resume.capture(self._session, self._trainer, self._sampler, with_trainer, copy)

    def go_back(
        self, step: int, weights: Mapping[str, Any], training: Any, source: str
    ) -> list[str]:
        """Become what a capture or a checkpoint holds; the feed must be started afterwards.

        Args:
            step: how many steps were done then.
            weights: by name.
            training: the tree of trainer, sampler and random states.
            source: what to call it in errors.
        """
        session = self._session
        network.assign(session.network, weights, source)
        session.state.go_back(step)
        with self._memory():
            self._begin()
        return resume.restore(session, self._trainer, self._sampler, training, source)

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
            size = self._batch_size
            raise TrainingError(
                f"step {self._session.state.iterations + 1}: out of memory at batch size {size}; "
                f"try -b {size // 2 or 1}"
            ) from error

    def _feed(self, what: str) -> AbstractContextManager[None]:
        return self._plugins.blaming(self._plugins.of_kind("feeds"), what)

    def _to_device(self, batch: Batch) -> Batch:
        device = self._session.device
        if device.type == "cpu":
            return batch

        def move(node: Any) -> Any:
            if isinstance(node, Mapping):
                return {key: move(value) for key, value in node.items()}
            if isinstance(node, list | tuple):
                return [move(item) for item in node]
            return node if node is None else node.to(device, non_blocking=True)

        meta = attrs.evolve(batch.meta, masks=move(batch.meta.masks))
        targets = move(batch.targets)
        return attrs.evolve(batch, inputs=move(batch.inputs), targets=targets, meta=meta)
