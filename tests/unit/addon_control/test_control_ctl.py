"""``fs ctl`` against a session in this process."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import fs_addon_control
import pytest
from fake_session import until
from fs_addon_control import command
from fs_kernel.cli import run_cli
from fs_kernel.storage.lock import FolderLock, holder
from fs_kernel.types import Finished, Preview, PreviewFaces, Saved


class Typed:
    """``fs ctl`` in a thread of its own, for what takes time."""

    def __init__(self, *words):
        self.code = None
        self._thread = threading.Thread(target=self._type, args=words)
        self._thread.start()

    def _type(self, *words):
        self.code = run_cli(["ctl", *map(str, words)])

    def end(self):
        self._thread.join(20)
        return self.code


def fs(capsys, *words):
    code = run_cli(["ctl", *map(str, words)])
    output = capsys.readouterr()
    return code, output.out + output.err


def saved(step, snapshot=False):
    return Saved(step, f"{step:09}", 10, 0.1, 0.01, None, snapshot)


# --- what is done ---


def test_set_changes_options_in_order(session, capsys):
    words = ("set", "optimizer.learning_rate=1e-5", "training.iterations = 90")
    code, output = fs(capsys, session.info.model_dir, *words)
    assert code == 0
    assert session.changes == [
        ("optimizer.learning_rate", 1e-5, None),
        ("training.iterations", 90, None),
    ]
    assert output.splitlines() == [
        "from the next step on: optimizer.learning_rate=1e-5",
        "from the next step on: training.iterations = 90",
    ]


def test_set_stops_at_the_first_error_with_exit_code_2(session, capsys):
    words = ("set", "optimizer.learning_rate=9", "training.iterations=90")
    code, output = fs(capsys, session.info.model_dir, *words)
    assert code == 2
    assert "above the largest value" in output
    assert session.changes == []


@pytest.mark.parametrize(
    "words", [["optimizer.name=lion"], ["no.such=1"], ["training.iteration=5"]]
)
def test_what_cannot_be_set_says_why(session, capsys, words):
    code, output = fs(capsys, session.info.model_dir, "set", *words)
    assert code == 2
    assert words[0].partition("=")[0] in output


def test_status_tells_where_the_session_is(session, capsys):
    session.control.on_checkpoint(saved(5))
    code, output = fs(capsys, session.info.model_dir, "status")
    assert code == 0
    assert output == (
        "original: step 7 of 1000000, loss a 0.2500 b 0.1250, 12.5 img/s, "
        "learning rate 5e-05, saved at step 5\n"
    )
    code, output = fs(capsys, session.info.model_dir, "status", "--json")
    facts = json.loads(output)["facts"]
    assert (facts["step"], facts["losses"]) == (7, {"a": 0.25, "b": 0.125})


def test_save_waits_for_a_checkpoint_that_holds_the_step(session, capsys):
    typed = Typed(session.info.model_dir, "save")
    until(lambda: session.asked == ["save"])
    session.control.on_checkpoint(saved(6))
    time.sleep(0.3)
    assert typed.code is None, "an older checkpoint answered"
    session.control.on_checkpoint(saved(8))
    assert typed.end() == 0
    assert capsys.readouterr().out == "saved step 8\n"


def test_a_snapshot_is_not_just_any_save(session, capsys):
    typed = Typed(session.info.model_dir, "snapshot")
    until(lambda: session.asked == ["snapshot"])
    session.control.on_checkpoint(saved(8))
    session.control.on_checkpoint(saved(9, snapshot=True))
    assert typed.end() == 0
    assert capsys.readouterr().out == "saved step 9, as a snapshot\n"


def test_preview_waits_for_the_picture(session, capsys):
    typed = Typed(session.info.model_dir, "preview")
    until(lambda: session.asked == ["preview"])
    session.control.on_preview(Preview(8, PreviewFaces({}, {}, {}, {}), {}, {}))
    assert typed.end() == 0
    assert "a preview of step 8 is made" in capsys.readouterr().out


def test_stop_waits_for_the_end_although_the_lock_goes_first(session, capsys):
    typed = Typed(session.info.model_dir, "stop")
    until(lambda: session.asked == ["stop"])
    session.lock.release()
    time.sleep(0.3)
    session.control.on_finish(Finished("stopped", 9, 2.0))
    assert typed.end() == 0
    assert capsys.readouterr().out == "stopped at step 9, everything is saved\n"


def test_whoever_waits_hears_of_a_failed_session(session, capsys):
    typed = Typed(session.info.model_dir, "save")
    until(lambda: session.asked == ["save"])
    session.control.on_finish(Finished("failed", 9, 2.0, "step 9: no finite number"))
    assert typed.end() == 6
    assert "step 9: no finite number" in capsys.readouterr().err


@pytest.mark.parametrize(("words", "shown"), [((), True), (("on",), True), (("off",), False)])
def test_the_mask_is_shown_hidden_or_the_other_way(session, capsys, words, shown):
    import attrs
    from fs_kernel import option
    from fs_kernel.options import Config

    @attrs.frozen
    class PreviewSection:
        mask: bool = option(False, "Mask.", live=True)

    session.config = Config({**session.config, "preview": PreviewSection()})
    code, output = fs(capsys, session.info.model_dir, "mask", *words)
    assert code == 0
    assert session.get_option("preview.mask") is shown
    assert ("shown" if shown else "hidden") in output


def test_without_the_preview_add_on_there_is_no_mask(session, capsys):
    code, output = fs(capsys, session.info.model_dir, "mask")
    assert code == 2
    assert "no section [preview]" in output


def test_nothing_is_left_in_the_folder(session, capsys):
    for words in (["status"], ["set", "optimizer.learning_rate=2e-5"], ["set", "no.such=1"]):
        fs(capsys, session.info.model_dir, *words)
    folder = session.info.model_dir / "control"
    assert [p.name for p in folder.iterdir()] == ["session.json"]
    session.control.on_finish(Finished("stopped", 7, 1.0))
    assert list(folder.iterdir()) == []


# --- what is not ---


@pytest.mark.parametrize(
    "words",
    [
        ["set"],
        ["set", "learning_rate"],
        ["set", "learning_rate=1"],
        ["save", "now"],
        ["mask", "maybe"],
        ["mask", "on", "off"],
        ["explode"],
        [],
    ],
)
def test_wrong_words_are_exit_code_2_and_nothing_is_sent(session, capsys, words):
    code, output = fs(capsys, session.info.model_dir, *words)
    assert code == 2
    assert output.count("fs: ") == 1
    assert session.asked == session.changes == []


def test_a_missing_folder_is_exit_code_5(tmp_path, capsys):
    assert fs(capsys, tmp_path / "none", "save") == (
        5,
        f"fs: there is no model folder {tmp_path / 'none'}\n",
    )


def test_a_folder_without_a_session_is_exit_code_5(tmp_path, capsys):
    assert fs(capsys, tmp_path, "save") == (5, f"fs: no session is running in {tmp_path}\n")
    FolderLock(tmp_path).release()
    assert fs(capsys, tmp_path, "save")[0] == 5
    assert not (tmp_path / "control").exists()


def test_a_session_that_was_killed_is_none(tmp_path, capsys):
    note = {"host": __import__("socket").gethostname(), "pid": 1, "since": 0}
    (tmp_path / ".lock").write_text(json.dumps(note))
    (tmp_path / "control").mkdir()
    (tmp_path / "control" / "session.json").write_text(json.dumps(note | {"token": "x"}))
    code, output = fs(capsys, tmp_path, "stop")
    assert (code, output) == (5, f"fs: no session is running in {tmp_path}\n")


def test_a_session_without_the_add_on_is_told_apart(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(command, "HEARD_SECONDS", 0.3)
    lock = FolderLock(tmp_path)
    code, output = fs(capsys, tmp_path, "save")
    lock.release()
    assert code == 5
    assert "without the add-on 'control'" in output


def test_a_session_that_hangs_is_given_up_and_the_command_withdrawn(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(command, "HEARD_SECONDS", 0.3)
    lock = FolderLock(tmp_path)
    fs_addon_control.Inbox(tmp_path).open()
    code, output = fs(capsys, tmp_path, "stop")
    lock.release()
    assert code == 5
    assert "did not answer" in output
    assert [p.name for p in (tmp_path / "control").iterdir()] == ["session.json"]


def test_what_is_heard_but_not_done_in_time_says_so(session, capsys):
    code, output = fs(capsys, session.info.model_dir, "save", "--timeout", "0.3")
    assert code == 5
    assert output == "fs: saving after this step; not done within 0.3 s\n"


def test_a_session_that_dies_after_hearing_is_noticed(session, capsys, monkeypatch):
    monkeypatch.setattr(command, "ENDED_SECONDS", 0.3)
    typed = Typed(session.info.model_dir, "save")
    until(lambda: session.asked == ["save"])
    session.lock.release()
    assert typed.end() == 5
    assert "ended without an answer" in capsys.readouterr().err


def test_hostile_files_are_ignored_with_one_warning(session):
    folder = session.info.model_dir / "control"
    for i in range(3):
        (folder / f"{i}.command.json").write_text("rm -rf /")
    until(lambda: session.warnings)
    until(lambda: not list(folder.glob("*.command.json")))
    assert session.asked == session.changes == []
    assert all(
        line.startswith("ignored a file that is not a command: ") for line in session.warnings
    )


def test_a_folder_that_cannot_be_made_costs_only_fs_ctl(tmp_path):
    from fake_session import FakeSession

    (tmp_path / "control").write_text("a file")
    run = FakeSession(tmp_path, fs_addon_control.SECTION, fs_addon_control.ControlOptions())
    control = fs_addon_control.Control(run)
    control.on_start(run.info)
    control.on_finish(Finished("stopped", 1, 1.0))
    assert "fs ctl will not work" in run.warnings[0]


# --- who holds a folder ---


def test_holder_names_the_process_and_leaves_the_lock_alone(tmp_path):
    assert holder(tmp_path) is None
    lock = FolderLock(tmp_path)
    assert holder(tmp_path)["pid"] == __import__("os").getpid()
    with pytest.raises(Exception, match="in use"):
        FolderLock(tmp_path)
    lock.release()
    assert holder(tmp_path) is None
    FolderLock(tmp_path).release()


def test_the_command_imports_neither_torch_nor_keras(tmp_path):
    import subprocess
    import sys

    lines = (
        "import sys; from fs_kernel.cli import run_cli; "
        f"run_cli(['ctl', {str(tmp_path)!r}, 'status']); "
        "sys.exit('torch' in sys.modules or 'keras' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", lines], stderr=subprocess.DEVNULL).returncode == 0
    assert Path(tmp_path).exists()
