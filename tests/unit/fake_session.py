"""A `fs_kernel.types.Run` as add-ons hold it, without an engine."""

from __future__ import annotations

import contextlib
import time
from types import SimpleNamespace

import attrs
from fs_kernel import option
from fs_kernel.errors import ConfigError
from fs_kernel.options import Config, check_value, find_option
from fs_kernel.types import Metrics


@attrs.frozen
class Rate:
    """A section with a learning rate."""

    learning_rate: float = option(5e-5, "A rate.", minimum=1e-6, maximum=1e-4, live=True)
    name: str = option("adam", "Cannot change.")


class FakeSession:
    """Remembers what it is asked for; options change at once.

    Args:
        model_dir: its model folder.
        section: the add-on's section.
        options: the add-on's options.
        step: steps done.
    """

    def __init__(self, model_dir, section, options, step=0, **sections):
        self.info = SimpleNamespace(
            model_dir=model_dir, model="original", session=1, start_step=step, target_steps=100
        )
        self.step = step
        self.config = Config({section: options, "optimizer": Rate(), **sections}, {})
        self.notes, self.warnings, self.asked, self.changes = [], [], [], []

    def get_option(self, name):
        find_option(self.config, name)
        section, _, key = name.rpartition(".")
        return getattr(self.config[section], key)

    def set_option(self, name, value, *, at_step=None, bounded=True):
        annotation, info = find_option(self.config, name)
        if not info.live:
            raise ConfigError(f"{name} cannot change while training")
        if not bounded:
            info = attrs.evolve(info, minimum=None, maximum=None)
        try:
            checked = check_value(value, annotation, info)
        except ValueError as error:
            raise ConfigError(f"{name}: {error}") from None
        self.changes.append((name, checked, at_step))
        if at_step is None or at_step <= self.step + 1:
            section, _, key = name.rpartition(".")
            self.config = self.config.changed(section, key, checked, "changed")

    def note(self, line):
        self.notes.append(line)

    def warn(self, line):
        self.warnings.append(line)

    def request_stop(self):
        self.asked.append("stop")

    def request_save(self):
        self.asked.append("save")

    def request_snapshot(self):
        self.asked.append("snapshot")

    def request_preview(self, count=14):
        self.asked.append("preview")

    @contextlib.contextmanager
    def trial(self):
        before = self.config
        yield SimpleNamespace(step=self.try_step)
        self.config = before


def metrics(step, learning_rate=None, **losses):
    """A reading with these losses."""
    return Metrics(step, losses, {side: {} for side in losses}, learning_rate, 12.5, 0.1)


def until(condition, seconds=10):
    """Wait for something that another thread does."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.01)
