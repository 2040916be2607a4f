"""The yardstick, the clock and the tables."""

from __future__ import annotations

import time

import pytest
import torch
from fs_bench import report
from fs_bench.handwritten import HandStep, Original
from fs_bench.networks import StillFeed
from fs_bench.timing import Figure, in_turn, rates
from fs_kernel.testing import tiny_run


def test_the_yardstick_has_the_weights_of_original():
    with torch.device("meta"):
        model = Original()
        assert sum(p.numel() for p in model.parameters()) == 82_062_470
        faces = torch.empty(4, 3, 64, 64)
        assert [tuple(made.shape) for made in model(faces)] == [(2, 3, 64, 64)] * 2
        assert model.swap(faces).shape == (4, 3, 64, 64)


def test_a_step_of_the_yardstick_trains(monkeypatch):
    monkeypatch.setattr("fs_bench.handwritten.Original", lambda: Original((8, 16), 16))
    step = HandStep(2, torch.device("cpu"), "fp32")
    before = [p.detach().clone() for p in step.model.parameters()]
    first = float(step())
    for _ in range(3):
        last = float(step())
    assert last < first
    moved = [not torch.equal(a, b) for a, b in zip(before, step.model.parameters(), strict=True)]
    assert all(moved)


def test_things_are_measured_in_turn_after_one_round_that_does_not_count():
    order = []
    found = in_turn({"a": lambda: order.append("a"), "b": lambda: time.sleep(0.01)}, 3)
    assert order == ["a"] * 4
    assert {name: len(seconds) for name, seconds in found.items()} == {"a": 3, "b": 3}
    assert min(found["b"]) >= 0.01 > max(found["a"])
    both = []
    in_turn({"a": lambda: both.append("a"), "b": lambda: both.append("b")}, 2)
    assert both == ["a", "b"] * 3


def test_a_figure_as_json():
    figure = Figure("x.y", "an x", "s", [3.0, 1.0, 2.0], {"batch": 4})
    assert figure.as_json() == {
        "key": "x.y",
        "title": "an x",
        "unit": "s",
        "median": 2.0,
        "min": 1.0,
        "max": 3.0,
        "runs": 3,
        "batch": 4,
    }
    assert rates([0.5, 2.0], 4) == [8.0, 2.0]


def test_tables():
    figure = Figure("x", "an x", "s", [1234.5], {"share_of_bound": 0.713, "network": "original"})
    rows = report.figure_rows([figure])
    assert rows == [["an x", "1,234", "1,234", "1,234", "s", "71% of the bound"]]
    text = report.as_markdown("Title", report.FIGURES, rows)
    lines = text.splitlines()
    assert lines[0] == "**Title**"
    assert {line.count("|") for line in lines[2:5]} == {len(report.FIGURES) + 1}


@pytest.mark.parametrize(
    ("value", "text"), [(0.01234, "0.0123"), (999.6, "1,000"), (1500, "1,500")]
)
def test_numbers(value, text):
    assert report.number(value) == text


def test_the_still_feed_gives_one_batch_for_every_step(tmp_path):
    with tiny_run(tmp_path, feed=StillFeed()) as run:
        feed = run.session.feed
        batches = [feed.next() for _ in range(3)]
        assert [batch.step for batch in batches] == [1, 2, 3]
        assert batches[0].inputs["a"] is batches[2].inputs["a"]
        assert batches[0].inputs["a"].std() > 0.2
        run.close(save=False)
