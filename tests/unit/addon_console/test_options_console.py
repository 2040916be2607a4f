"""The pace of plain lines is the option's."""

from __future__ import annotations

import io

import pytest
from fs_addon_console import ConsoleOptions, choose_console
from fs_kernel.options import Interval


@pytest.mark.parametrize(
    ("interval", "expected"),
    [(Interval(steps=2), [1, 3, 5]), (Interval(steps=3), [1, 4]), (Interval(), [1])],
)
def test_interval_is_the_pace_of_lines_without_a_terminal(
    interval, expected, make_info, make_metrics
):
    stream = io.StringIO()
    console = choose_console(stream, ConsoleOptions(interval=interval))
    console.on_start(make_info())
    for step in range(1, 7):
        console.on_metrics(make_metrics(step))
    lines = [line for line in stream.getvalue().splitlines() if line.startswith("step ")]
    assert [int(line.split()[1].split("/")[0]) for line in lines] == expected
