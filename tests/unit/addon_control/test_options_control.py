"""A session listens to ``fs ctl`` only if it shall."""

from __future__ import annotations

import pytest
from fake_session import FakeSession
from fs_addon_control import SECTION, Control, ControlOptions


@pytest.mark.parametrize("commands", [True, False])
def test_commands_decides_whether_a_session_listens(tmp_path, commands):
    run = FakeSession(tmp_path, SECTION, ControlOptions(keys=False, commands=commands))
    assert (Control(run)._inbox is not None) is commands
