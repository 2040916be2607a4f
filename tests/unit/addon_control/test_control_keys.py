"""Keys: what they do, and what becomes of the terminal."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import click
import pytest
from fake_session import FakeSession, until
from fs_addon_control import SECTION, Control, ControlOptions
from fs_addon_control.keys import HELP, KEYS, Keyboard, find_terminal
from fs_kernel.types import Finished, Preview, PreviewFaces

HERE = Path(__file__).parent
posix = pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX terminal")


class Typing:
    """A terminal on which keys are typed by the test."""

    def __init__(self, keys=""):
        self.keys, self.restored = [*keys], 0

    def read(self, seconds):
        if not self.keys:
            time.sleep(0.01)
            return ""
        key = self.keys.pop(0)
        if isinstance(key, BaseException):
            raise key
        return key

    def restore(self):
        self.restored += 1


def pressed(tmp_path, keys, **options):
    """A session after some keys were typed."""
    run = FakeSession(tmp_path, SECTION, ControlOptions(commands=False))
    control = Control(run)
    terminal = Typing(keys)
    keyboard = Keyboard(run, control, terminal)
    keyboard.start()
    until(lambda: not terminal.keys)
    time.sleep(0.03)
    keyboard.stop()
    assert terminal.restored
    return run, control


# --- what keys do ---


def test_every_key_does_what_the_help_says(tmp_path):
    run, control = pressed(tmp_path, "spnq")
    assert run.asked == ["save", "preview", "snapshot", "stop"]
    assert run.notes[0] == HELP
    assert len(run.notes) == 5
    control.on_preview(Preview(3, PreviewFaces({}, {}, {}, {}), {}, {}))
    assert run.notes[-1] == "a preview of step 3 is made"
    for key in set(KEYS) - {"\r", "\n"}:
        assert f" {key} " in HELP


def test_enter_stops_and_capitals_count(tmp_path):
    assert pressed(tmp_path, "\r")[0].asked == ["stop"]
    assert pressed(tmp_path, "\n")[0].asked == ["stop"]
    assert pressed(tmp_path, "SQ")[0].asked == ["save", "stop"]


def test_a_question_mark_shows_the_help_again(tmp_path):
    assert pressed(tmp_path, "?")[0].notes == [HELP, HELP]


def test_other_keys_do_nothing(tmp_path):
    run, _ = pressed(tmp_path, "xyz1\x1b[A\x04 \t")
    assert run.asked == []
    assert run.notes == [HELP]


def test_a_key_that_cannot_be_obeyed_warns(tmp_path):
    run, _ = pressed(tmp_path, "m")
    assert "no section [preview]" in run.warnings[0]


@pytest.mark.parametrize("end", [EOFError(), OSError(5, "Input/output error")])
def test_a_terminal_that_goes_away_ends_only_the_keys(tmp_path, end):
    run, _ = pressed(tmp_path, ["s", end])
    assert run.asked == ["save"]


def test_a_slow_terminal_does_not_hold_up_the_end(tmp_path):
    run = FakeSession(tmp_path, SECTION, ControlOptions(commands=False))
    terminal = Typing()
    stuck = threading.Event()
    terminal.read = lambda seconds: "" if stuck.wait(30) else "s"
    keyboard = Keyboard(run, Control(run), terminal)
    keyboard.start()
    begun = time.monotonic()
    keyboard.stop()
    stuck.set()
    assert time.monotonic() - begun < 5
    assert terminal.restored


# --- when there are keys ---


def in_program(name, tty=True, monkeypatch=None):
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: tty, fileno=lambda: -1))
    monkeypatch.setattr("os.tcgetpgrp", lambda descriptor: 1)
    with click.Context(click.Command("x"), info_name=name):
        return find_terminal()


@posix
def test_only_the_program_on_a_terminal_reads_keys(monkeypatch):
    assert in_program("fs", True, monkeypatch) is not None
    assert in_program("fs", False, monkeypatch) is None
    assert in_program("my_script", True, monkeypatch) is None
    assert find_terminal() is None


@posix
def test_no_keys_where_hanging_up_is_ignored(monkeypatch):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert in_program("fs", True, monkeypatch) is None
    finally:
        signal.signal(signal.SIGHUP, before)


def test_no_keys_without_standard_input(monkeypatch):
    monkeypatch.setattr("sys.stdin", None)
    with click.Context(click.Command("x"), info_name="fs"):
        assert find_terminal() is None


def test_keys_can_be_switched_off(tmp_path, monkeypatch):
    monkeypatch.setattr("fs_addon_control.find_terminal", Typing)
    on = FakeSession(tmp_path, SECTION, ControlOptions(commands=False))
    off = FakeSession(tmp_path, SECTION, ControlOptions(commands=False, keys=False))
    assert Control(on)._keyboard is not None
    assert Control(off)._keyboard is None


def test_the_end_of_a_session_that_never_began_is_quiet(tmp_path, monkeypatch):
    monkeypatch.setattr("fs_addon_control.find_terminal", Typing)
    control = Control(FakeSession(tmp_path, SECTION, ControlOptions()))
    control.on_finish(Finished("failed", 0, 0.1, "it could not start"))


# --- a Windows console ---


def test_windows_keys_come_one_by_one_and_others_are_passed_over(monkeypatch):
    typed = [*"s", "\xe0", "H", *"q"]
    console = SimpleNamespace(kbhit=lambda: bool(typed), getwch=lambda: typed.pop(0))
    monkeypatch.setitem(sys.modules, "msvcrt", console)
    monkeypatch.delitem(sys.modules, "fs_addon_control.windows", raising=False)
    from fs_addon_control.windows import WindowsTerminal

    terminal = WindowsTerminal()
    assert terminal.read(0.2) == "sq"
    begun = time.monotonic()
    assert terminal.read(0.1) == ""
    assert 0.1 <= time.monotonic() - begun < 1
    terminal.restore()
    sys.modules.pop("fs_addon_control.windows")


# --- a real terminal ---


class OnTerminal:
    """`keys_session.py` as a job of `keys_shell.py` on a pseudo terminal."""

    def __init__(self, folder, ending="finish", program="fs"):
        import pty

        self.log = folder / "log"
        reading, self._pipe = os.pipe()
        os.set_inheritable(reading, True)
        job = [sys.executable, str(HERE / "keys_session.py"), str(self.log), ending, program]
        shell = [sys.executable, str(HERE / "keys_shell.py"), str(reading), *job]
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.execv(sys.executable, shell)
        os.close(reading)
        threading.Thread(target=self._drain, daemon=True).start()

    def _drain(self):
        try:
            while os.read(self.terminal, 4096):
                pass
        except OSError:
            return

    def say(self, *words):
        for word in words:
            os.write(self._pipe, f"{word}\n".encode())

    def type(self, keys):
        os.write(self.terminal, keys.encode())

    def lines(self):
        return self.log.read_text().splitlines() if self.log.exists() else []

    def wait_for(self, line):
        until(lambda: line in self.lines(), 30)

    @property
    def plain(self):
        """Whether lines are edited and echoed, as a shell wants it."""
        import termios

        both = termios.ICANON | termios.ECHO
        return termios.tcgetattr(self.terminal)[3] & both == both

    def close(self):
        with contextlib.suppress(BrokenPipeError):
            self.say("end")
        os.close(self._pipe)
        os.waitpid(self.pid, 0)
        os.close(self.terminal)


@pytest.fixture
def on_terminal(tmp_path):
    made = []

    def make(*arguments):
        made.append(OnTerminal(tmp_path, *arguments))
        return made[-1]

    yield make
    for item in made:
        item.close()


@posix
def test_in_the_foreground_keys_are_obeyed_and_the_terminal_is_given_back(on_terminal):
    session = on_terminal()
    session.say("fg")
    session.wait_for("listening: True")
    until(lambda: not session.plain)
    session.type("s")
    session.wait_for("asked to save")
    session.type("\r")
    session.wait_for("finished")
    assert session.plain


@posix
@pytest.mark.parametrize("ending", ["raise", "exit"])
def test_a_session_that_breaks_gives_the_terminal_back(on_terminal, ending):
    session = on_terminal(ending)
    session.say("fg")
    session.wait_for("listening: True")
    until(lambda: not session.plain)
    session.type("q")
    session.wait_for("asked to stop")
    until(lambda: session.plain)


@posix
def test_in_the_background_the_terminal_is_left_alone_until_the_job_is_called(on_terminal):
    session = on_terminal()
    session.wait_for("listening: True")
    session.type("q")
    time.sleep(1)
    assert session.plain
    assert "asked to stop" not in session.lines()
    session.say("fg")
    until(lambda: not session.plain)
    session.type("s")
    session.wait_for("asked to save")


@posix
def test_a_job_sent_to_the_background_runs_on_there_and_comes_back(on_terminal):
    session = on_terminal()
    session.say("fg")
    session.wait_for("listening: True")
    until(lambda: not session.plain)
    subprocess.run(["stty", "sane"], stdin=session.terminal, check=False)
    session.say("suspend", "continue")
    time.sleep(1)
    before = session.lines()
    session.type("s")
    time.sleep(1)
    assert session.lines() == before, "a job in the background read a key"
    session.say("fg")
    session.type("n")
    session.wait_for("making a snapshot after this step")


@posix
def test_a_script_that_is_not_fs_keeps_its_terminal(on_terminal):
    session = on_terminal("hang", "my_script")
    session.say("fg")
    session.wait_for("listening: False")
    time.sleep(0.5)
    assert session.plain
