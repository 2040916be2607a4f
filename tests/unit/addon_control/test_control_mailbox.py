"""Commands and answers as files; files that are none."""

from __future__ import annotations

import json
import os

import pytest
from fs_addon_control.mailbox import DONE, Answer, Inbox, Outbox

NAME = "12345678901234567890-0123abcd.command.json"


@pytest.fixture
def inbox(tmp_path):
    box = Inbox(tmp_path)
    box.open()
    return box


@pytest.fixture
def outbox(tmp_path, inbox):
    return Outbox(tmp_path)


@pytest.fixture
def token(outbox):
    return outbox.session()["token"]


def test_commands_come_once_and_in_order(inbox, outbox, token):
    sent = [outbox.send(token, "set", f"a.b={i}") for i in range(5)]
    assert inbox.take() == (sent, [])
    assert inbox.take() == ([], [])


def test_an_answer_reaches_the_one_who_asked(inbox, outbox, token, tmp_path):
    command = outbox.send(token, "save")
    assert outbox.answer(command) is None
    inbox.answer(command, Answer(DONE, "saved step 7", facts={"step": 7}))
    assert outbox.answer(command) == Answer(DONE, "saved step 7", facts={"step": 7})
    outbox.clear(command)
    assert [p.name for p in (tmp_path / "control").iterdir()] == ["session.json"]


def test_a_session_knows_when_it_is_over(inbox, outbox):
    inbox.close()
    assert outbox.session() is None


def test_commands_to_an_earlier_session_are_thrown_away(tmp_path, inbox, outbox, token):
    outbox.send(token, "stop")
    later = Inbox(tmp_path)
    later.open()
    assert later.take() == ([], [])
    outbox.send(token, "stop")
    commands, refused = later.take()
    assert commands == []
    assert "not addressed to this session" in refused[0]


def valid(token, **others):
    return {"v": 1, "to": token, "action": "save", "value": None} | others


@pytest.mark.parametrize(
    "change",
    [
        {"v": 2},
        {"v": None},
        {"to": "x"},
        {"to": None},
        {"action": "rm"},
        {"action": None},
        {"action": ["save"]},
        {"action": {"save": 1}},
        {"value": 5},
        {"value": ["a.b=1"]},
    ],
)
def test_what_is_not_of_the_right_form_is_refused(tmp_path, inbox, token, change):
    path = tmp_path / "control" / NAME
    path.write_text(json.dumps(valid(token, **change)))
    commands, refused = inbox.take()
    assert commands == []
    assert len(refused) == 1
    assert not path.exists()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe\x00",
        b"[" * 4000,
        b'{"v":' * 800,
        b" " * 100_000,
        b"\0" * 50,
        b'{"v": 1, "v": 1e999}',
    ],
)
def test_hostile_files_are_refused_and_removed(tmp_path, inbox, data):
    path = tmp_path / "control" / NAME
    path.write_bytes(data)
    commands, refused = inbox.take()
    assert commands == []
    assert len(refused) == 1
    assert not path.exists()


def test_other_names_are_no_commands(tmp_path, inbox, token):
    folder = tmp_path / "control"
    for name in ("save.json", ".x.command.json.1234", "notes.txt"):
        (folder / name).write_text(json.dumps(valid(token)))
    assert inbox.take() == ([], [])
    (folder / "please.command.json").write_text(json.dumps(valid(token)))
    assert "its name is not a command's" in inbox.take()[1][0]


def test_odd_entries_are_refused_once_and_never_block(tmp_path, inbox, token):
    folder = tmp_path / "control"
    (folder / NAME).mkdir()
    (folder / NAME / "full").touch()
    target = tmp_path / "target"
    target.write_text(json.dumps(valid(token)))
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / NAME.replace("1", "2"))
        (folder / NAME.replace("1", "3")).symlink_to(target)
    commands, refused = inbox.take()
    assert commands == []
    assert len(refused) == (3 if hasattr(os, "mkfifo") else 1)
    assert inbox.take() == ([], [])
    assert target.exists()


def test_a_flood_is_worked_off_in_portions(tmp_path, inbox):
    for i in range(100):
        (tmp_path / "control" / f"{i:020d}-00000000.command.json").write_text("x")
    portions = []
    while refused := inbox.take()[1]:
        portions.append(len(refused))
    assert sum(portions) == 100
    assert max(portions) <= 32


def test_a_missing_or_full_folder_is_no_failure(tmp_path, inbox, outbox, token):
    command = outbox.send(token, "save")
    for path in (tmp_path / "control").iterdir():
        path.unlink()
    (tmp_path / "control").rmdir()
    assert inbox.take() == ([], [])
    inbox.answer(command, Answer(DONE, "saved"))
    inbox.close()
    assert outbox.session() is None
    outbox.clear(command)


def test_a_control_folder_that_is_a_link_is_refused(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "control").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="link"):
        Inbox(tmp_path / "m").open()
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize(
    "data", ["", "[]", '{"state": 1}', '{"state":"done","message":1}', "x" * 9999]
)
def test_a_damaged_answer_is_none(tmp_path, outbox, token, data):
    command = outbox.send(token, "save")
    (tmp_path / "control" / f"{command.id}.reply.json").write_text(data)
    assert outbox.answer(command) is None
