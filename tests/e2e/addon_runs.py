"""Small runs of the built-in parts with add-ons, and what they leave behind."""

from __future__ import annotations

import json
import warnings

import fs_kernel
from small_runs import OPTIONS, SMALL


def open_with(model, people, addons, **options):
    """A small run with these add-ons."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return fs_kernel.open_run(
            model, SMALL, a=people / "A", b=people / "B", addons=addons, set=OPTIONS | options
        )


def losses(run):
    """Train to the end: step and losses of every step that was kept."""
    with run:
        kept = {m.step: (m.losses["a"], m.losses["b"]) for m in run}
    return [(step, *of_sides) for step, of_sides in kept.items()]


def events(model, kind):
    """The events of one kind."""
    lines = (model / "logs" / "events.jsonl").read_text().splitlines()
    return [event for event in map(json.loads, lines) if event["event"] == kind]
