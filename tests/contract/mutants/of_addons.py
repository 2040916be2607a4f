"""Add-ons with one fault each, run by ``test_suites_find_faults.py`` and not by themselves."""

from __future__ import annotations

import time

import torch
from faults import suite, tidy  # noqa: F401
from fs_kernel import hookimpl
from fs_kernel.testing.suites import AddonSuite


class Part:
    """An add-on's part of a run with one observer."""

    def __init__(self, observer):
        self._observer = observer

    def observers(self):
        return [self._observer]


def addon(make):
    """Return an add-on whose part of a run is ``make(run)``."""

    class Addon:
        name = "faulty"

        @hookimpl
        def create_addon(self, run):
            return make(run)

    return Addon


def watching(**methods):
    """Return an add-on with one observer."""
    observer = type("Observer", (), methods)

    def make(run):
        made = observer()
        made.run = run
        return Part(made)

    return addon(make)


def acting(**methods):
    """Return an add-on with these methods, which may use ``self.run``."""
    part = type("Acting", (), methods)

    def make(run):
        made = part()
        made.run = run
        return made

    return addon(make)


@torch.no_grad()
def spoil_weights(self, metrics):
    next(iter(self.run.parameters().values())).add_(1.0)


def spoil_preview(self, preview):
    for picture in preview.swaps.values():
        picture[:] = 0


def needs_start(self, metrics):
    return self.started


suite(AddonSuite, "test_observers_listen_to_events_that_exist", watching(on_metric=print))
suite(AddonSuite, "test_events_in_any_order", watching(on_metrics=needs_start))
suite(
    AddonSuite,
    "test_events_in_any_order",
    watching(on_preview=lambda self, preview: time.sleep(0.3)),
    seconds=0.1,
)
suite(AddonSuite, "test_watching_touches_nothing_that_trains", watching(on_metrics=spoil_weights))
suite(AddonSuite, "test_watching_touches_nothing_that_trains", watching(on_preview=spoil_preview))
suite(AddonSuite, "test_a_run_with_it_is_the_run_without", watching(on_metrics=needs_start))


@torch.no_grad()
def spoil_after(self, result):
    next(iter(self.run.parameters().values())).add_(1.0)


def forgotten(self, state):
    self.kept = {}


suite(AddonSuite, "test_its_methods_are_ones_the_kernel_calls", acting(before_train=print))
suite(AddonSuite, "test_a_run_with_it_is_the_run_without", acting(after_step=spoil_after))
suite(
    AddonSuite,
    "test_its_state_comes_back",
    acting(state_dict=lambda self: {"seen": object()}),
)
suite(
    AddonSuite,
    "test_its_state_comes_back",
    acting(
        kept={"seen": 3},
        state_dict=lambda self: self.kept,
        load_state_dict=forgotten,
    ),
)
