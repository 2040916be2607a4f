"""The pace of plain lines and the numbers on them are the options'."""

from __future__ import annotations

import io

import attrs
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


def test_values_names_the_numbers_that_are_shown(make_info, make_metrics):
    reported = attrs.evolve(make_metrics(1), values={"d_loss": 0.5, "g_loss": 1.5, "psnr": 31.25})
    shown = {}
    for names in ([], ["psnr"], ["psnr", "nothing"]):
        stream = io.StringIO()
        console = choose_console(stream, ConsoleOptions(values=names))
        console.on_start(make_info())
        console.on_metrics(reported)
        shown[tuple(names)] = stream.getvalue().splitlines()[-1]
    assert "  d_loss 0.5000  g_loss 1.5000  psnr 31.2500  31.2 img/s" in shown[()]
    assert "b 0.1567  psnr 31.2500  31.2 img/s" in shown["psnr",]
    assert shown["psnr", "nothing"] == shown["psnr",]
