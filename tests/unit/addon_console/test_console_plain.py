"""Plain lines: which, when, where."""

from __future__ import annotations

import io
from types import SimpleNamespace

import fs_addon_console
import pytest
from fs_addon_console import ConsoleOptions
from fs_addon_console.plain import PlainConsole
from fs_kernel.errors import ConfigError
from fs_kernel.options import CommandLineSource, Interval, resolve
from fs_kernel.types import Finished, Saved


@pytest.fixture
def stream():
    return io.StringIO()


@pytest.fixture
def console(stream, clock):
    return PlainConsole(stream, Interval(seconds=10.0), clock)


def steps_written(stream):
    return [
        int(line.split()[1].split("/")[0])
        for line in stream.getvalue().splitlines()
        if line.startswith("step ")
    ]


def run_steps(console, clock, make_metrics, count, seconds, first=1):
    for step in range(first, first + count):
        clock.now += seconds
        console.on_metrics(make_metrics(step))


def test_first_step_then_every_ten_seconds(console, stream, clock, make_info, make_metrics):
    console.on_start(make_info())
    run_steps(console, clock, make_metrics, 105, 0.25)
    assert steps_written(stream) == [1, 41, 81]


def test_slow_steps_come_at_every_second_one(console, stream, clock, make_info, make_metrics):
    console.on_start(make_info())
    run_steps(console, clock, make_metrics, 6, 5.0)
    assert steps_written(stream) == [1, 3, 5]


def test_unchanging_losses_and_a_clock_that_stands_still(console, stream, make_info, make_metrics):
    console.on_start(make_info())
    for step in (1, 2, 3):
        console.on_metrics(make_metrics(step, a=0.0, b=0.0, step_seconds=0.0))
    assert steps_written(stream) == [1]
    assert "loss a 0.0000 b 0.0000" in stream.getvalue()


def test_resumed_run_starts_at_its_own_step(console, stream, clock, make_info, make_metrics):
    console.on_start(make_info(start_step=5000, session=2))
    run_steps(console, clock, make_metrics, 1, 1.0, first=5001)
    assert steps_written(stream) == [5001]
    assert "resumed: steps 5000 to 10000" in stream.getvalue()


def test_interval_in_steps(stream, clock, make_info, make_metrics):
    console = PlainConsole(stream, Interval(steps=20), clock)
    console.on_start(make_info())
    run_steps(console, clock, make_metrics, 50, 0.01)
    assert steps_written(stream) == [1, 21, 41]


def test_interval_never_leaves_the_first_and_the_last(stream, clock, make_info, make_metrics):
    console = PlainConsole(stream, Interval(), clock)
    console.on_start(make_info())
    run_steps(console, clock, make_metrics, 50, 100.0)
    console.on_finish(Finished("target", 50, 5000.0))
    assert steps_written(stream) == [1, 50]


def test_the_last_losses_are_written_once(console, stream, clock, make_info, make_metrics):
    console.on_start(make_info(target_steps=2))
    run_steps(console, clock, make_metrics, 2, 20.0)
    console.on_finish(Finished("target", 2, 40.0))
    assert steps_written(stream) == [1, 2]
    assert stream.getvalue().splitlines()[-1] == "done at step 2 of 2 after 40s"


def test_saves_and_warnings_are_written_at_once(console, stream, make_info):
    console.on_start(make_info())
    console.on_checkpoint(Saved(7, "g1", 1_500_000, 0.4, 0.01, None))
    console.on_warning("2 files were skipped")
    assert stream.getvalue().splitlines()[-2:] == [
        "saved step 7: 1.5 MB in 0.4 s",
        "warning: 2 files were skipped",
    ]


def test_a_run_that_fails_before_it_starts(console, stream):
    console.on_finish(Finished("failed", 0, 0.1, "no memory"))
    assert stream.getvalue() == "failed at step 0 of 0 after 0s\n"


def test_the_hook_writes_to_stderr_only(capsys, make_info, make_metrics):
    run = SimpleNamespace(config={"addon.console": ConsoleOptions()})
    (observer,) = fs_addon_console.create_addon(run).observers()
    observer.on_start(make_info())
    observer.on_metrics(make_metrics(1))
    observer.on_finish(Finished("stopped", 1, 1.0))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "step 1/10000" in captured.err
    assert "\x1b" not in captured.err


def test_no_stderr_no_observer(monkeypatch):
    monkeypatch.setattr("sys.stderr", None)
    run = SimpleNamespace(config={"addon.console": ConsoleOptions()})
    assert fs_addon_console.create_addon(run).observers() == []


def test_options_are_read_and_refused():
    classes = fs_addon_console.config_defaults()
    config, _ = resolve(
        classes, [CommandLineSource("--set", {"addon.console": {"interval": "1min"}})]
    )
    assert config["addon.console"].interval == Interval(seconds=60)
    with pytest.raises(ConfigError, match=r"addon\.console\.interval"):
        resolve(classes, [CommandLineSource("--set", {"addon.console": {"interval": "soon"}})])
