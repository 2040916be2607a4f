"""Tiny runs and what they leave in their folder, for tests of the loop."""

from __future__ import annotations

import pytest
import torch
from fs_kernel import hookimpl
from fs_kernel.storage.checkpoints import Checkpoints
from fs_kernel.testing import PlainTrainer, tiny_run
from fs_kernel.testing.plugins import PlainSteps


def open_tiny(folder, steps, *, every=0, **arguments):
    values = {"training.iterations": steps, "save.interval": every}
    return tiny_run(folder, set=values | arguments.pop("set", {}), **arguments)


def train(folder, steps, **arguments):
    with open_tiny(folder, steps, **arguments) as run:
        return run.train()


def held(folder):
    """Weights and the whole training state of the checkpoint that counts."""
    checkpoints = Checkpoints(folder / "model")
    name = checkpoints.latest_valid(lambda line: pytest.fail(line))
    return checkpoints.read_weights(name), checkpoints.read_training(name)


def state_of(folder):
    checkpoints = Checkpoints(folder / "model")
    return checkpoints.read_state(checkpoints.latest_valid(lambda line: None))


def identical(a, b):
    if isinstance(a, dict):
        return list(a) == list(b) and all(identical(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(identical, a, b))
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    return a.tolist() == b.tolist() if hasattr(a, "tolist") else a == b


def losses(folder, events):
    return [(e["step"], e["losses"]) for e in events(folder, "metrics")]


def everything_below(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


class SteppedTrainer(PlainTrainer):
    """A plain trainer that does something around its steps."""

    @hookimpl
    def create_trainer(self, run):
        self.run, self.made = run, _Steps(run)
        self.made.owner = self
        return self.made

    def after(self, batch, result):
        """Return what a step returns in place of ``result``."""
        return result


class _Steps(PlainSteps):
    owner: SteppedTrainer

    def train_step(self, batch):
        return self.owner.after(batch, super().train_step(batch))


class Watching:
    """An add-on of observers."""

    name = "watching"

    def __init__(self, *observers, name="watching"):
        self.name, self._observers = name, observers

    @hookimpl
    def create_addon(self, run):
        self.run = run
        return self

    def observers(self):
        return self._observers or [self]


class Requesting(Watching):
    """An add-on that asks for something at a step, from its own thread."""

    def __init__(self, what, at):
        super().__init__(name="requesting")
        self.what, self.at, self.heard = what, at, []

    def on_metrics(self, metrics):
        if metrics.step == self.at:
            getattr(self.run, f"request_{self.what}")()

    def on_preview(self, preview):
        self.heard.append(preview)

    def on_checkpoint(self, saved):
        self.heard.append(saved)

    def on_finish(self, outcome):
        self.heard.append(outcome)
