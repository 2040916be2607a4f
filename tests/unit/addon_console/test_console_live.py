"""The live display, in a real pseudo-terminal."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import textwrap
import threading

import attrs
import pytest
from fs_addon_console import ConsoleOptions, choose_console
from fs_addon_console.live import LiveConsole, Status, TerminalConsole
from fs_addon_console.plain import PlainConsole
from fs_kernel.types import Finished, Saved
from rich.console import Console

pty = pytest.importorskip("pty", reason="needs a pseudo-terminal")
termios = pytest.importorskip("termios")
fcntl = pytest.importorskip("fcntl")

HIDE_CURSOR = "\x1b[?25l"
ALTERNATE_SCREEN = "\x1b[?1049h"
ERASE_LINE = "\x1b[2K"


class Terminal:
    """A pseudo-terminal 80 columns wide; a thread keeps what is written to it."""

    def __init__(self) -> None:
        self.master, self.slave = pty.openpty()
        termios.tcsetwinsize(self.slave, (24, 80))
        self.stream = os.fdopen(os.dup(self.slave), "w", encoding="utf-8")
        self._seen = bytearray()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                block = os.read(self.master, 4096)
            except OSError:
                return
            if not block:
                return
            self._seen += block

    def text(self) -> str:
        """Close the writing end and give everything that was written."""
        self.stream.close()
        if self.slave >= 0:
            os.close(self.slave)
            self.slave = -1
        self._reader.join(timeout=10)
        return self._seen.decode()


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("NO_COLOR", "COLUMNS", "LINES", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("TTY_INTERACTIVE", raising=False)
    terminal = Terminal()
    yield terminal
    terminal.text()
    os.close(terminal.master)


def play(console, make_info, make_metrics, reason="target"):
    console.on_start(make_info(start_step=100, target_steps=200))
    console.on_metrics(make_metrics(150))
    console.on_checkpoint(Saved(150, "g1", 1_500_000, 0.4, 0.01, None))
    console.on_warning("a [bold] word")
    console.on_metrics(make_metrics(200))
    console.on_finish(Finished(reason, 200, 3.0))


def test_bar_messages_and_a_sane_end(terminal, make_info, make_metrics):
    before = termios.tcgetattr(terminal.slave)
    stderr = sys.stderr
    console = choose_console(terminal.stream, ConsoleOptions())
    assert isinstance(console, LiveConsole)
    play(console, make_info, make_metrics)
    assert termios.tcgetattr(terminal.slave) == before
    assert sys.stderr is stderr
    text = terminal.text()
    assert "step 100/200" in text
    assert "step 150/200" in text
    assert "step 200/200" in text
    assert "100%" in text
    assert "━" in text
    assert "a 0.1234 b 0.1567" in text
    assert "warning: a [bold] word" in text
    assert "models/[one] person" in text
    assert ERASE_LINE in text
    assert HIDE_CURSOR not in text
    assert ALTERNATE_SCREEN not in text
    last = text.splitlines()[-1]
    assert "done at step 200 of 200 after 3s" in last
    assert text.endswith("\n")


def test_the_bar_is_below_the_messages(terminal, make_info, make_metrics):
    play(choose_console(terminal.stream, ConsoleOptions()), make_info, make_metrics)
    lines = terminal.text().splitlines()
    message = next(i for i, line in enumerate(lines) if "saved step 150" in line)
    assert ERASE_LINE in lines[message]
    assert "step 150/200" in lines[message + 1]


def test_failure_closes_the_bar_too(terminal, make_info, make_metrics):
    running = set(threading.enumerate())
    console = choose_console(terminal.stream, ConsoleOptions())
    play(console, make_info, make_metrics, reason="failed")
    for thread in set(threading.enumerate()) - running:
        thread.join(timeout=5)
        assert not thread.is_alive()
    assert "failed at step 200 of 200" in terminal.text().splitlines()[-1]


def test_no_color_keeps_the_bar_without_colours(terminal, monkeypatch, make_info, make_metrics):
    monkeypatch.setenv("NO_COLOR", "1")
    console = choose_console(terminal.stream, ConsoleOptions())
    assert isinstance(console, LiveConsole)
    play(console, make_info, make_metrics)
    text = terminal.text()
    assert "━" in text
    assert "\x1b[3" not in text
    assert "\x1b[9" not in text


def test_reported_numbers_stand_behind_the_losses(terminal, make_info, make_metrics):
    console = choose_console(terminal.stream, ConsoleOptions())
    console.on_start(make_info())
    console.on_metrics(attrs.evolve(make_metrics(1), values={"psnr": 31.5}))
    console.on_finish(Finished("target", 1, 1.0))
    assert re.search(r"31\.2 img/s\S* +\S*psnr 31\.5000", terminal.text())


def test_dumb_terminal_gets_plain_lines(terminal, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(choose_console(terminal.stream, ConsoleOptions()), PlainConsole)


def test_forced_colours_do_not_put_a_bar_into_a_file(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert isinstance(choose_console(io.StringIO(), ConsoleOptions()), PlainConsole)


def test_a_closed_pipe_raises_and_does_not_end_the_process():
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    console = LiveConsole(TerminalConsole(file=Closed(), force_terminal=True))
    with pytest.raises(BrokenPipeError):
        console.on_warning("hello")


INTERRUPTED = """
    import os, signal, sys, time
    from pathlib import Path
    from fs_addon_console import ConsoleOptions, choose_console
    from fs_kernel.types import Metrics, RunInfo

    console = choose_console(sys.stderr, ConsoleOptions())
    console.on_start(RunInfo(Path("m"), "original", "original", "original", "faces", "keras",
                             ("a",), 1, 1, "cpu", "fp32", 1, 1, 0, 10, {"a": 1}))
    console.on_metrics(Metrics(1, {"a": 0.5}, {}, None, 1.0, 1.0))
    print("for other programs")
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(30)
"""


def test_interrupted_process_leaves_the_terminal_sane_and_stdout_clean(terminal):
    before = termios.tcgetattr(terminal.slave)
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(INTERRUPTED)],
        stdout=subprocess.PIPE,
        stderr=terminal.slave,
        timeout=30,
    )
    assert done.returncode != 0
    assert done.stdout == b"for other programs\n"
    assert termios.tcgetattr(terminal.slave) == before
    text = terminal.text()
    assert "KeyboardInterrupt" in text
    assert "step 1/10" in text
    assert HIDE_CURSOR not in text
    assert text.endswith("\n")


@pytest.mark.parametrize("width", [12, 20, 30, 40, 60, 80, 200])
def test_two_lines_at_every_width(width):
    stream = io.StringIO()
    status = Status(123_456, 1_000_000, "eta 1h02m", ["loss a 0.1234 b 0.1567", "31.2 img/s"])
    Console(file=stream, width=width).print(status)
    first, second = stream.getvalue().splitlines()
    assert max(len(first), len(second)) <= width
    assert first.startswith("step 123456")
    assert second.startswith("loss a 0.1")
    assert ("━" in first) == (width >= 60)
    assert ("img/s" in second) == (width >= 40)


def test_a_run_with_nothing_to_do_has_a_full_bar():
    stream = io.StringIO()
    Console(file=stream, width=80).print(Status(0, 0, "eta 0s", []))
    assert "step 0/0" in stream.getvalue()
