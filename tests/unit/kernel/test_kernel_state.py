"""What a model remembers between sessions."""

from __future__ import annotations

import json

import pytest
from fs_kernel.errors import ModelFolderError
from fs_kernel.storage.model_state import ModelState, SessionRecord


def state():
    made = ModelState(
        model="tiny",
        network_name="tiny",
        plugins={"models": {"name": "tiny", "distribution": None, "version": None, "api": 1}},
        fingerprint="abc",
        parameters=100,
        folders={"a": "/faces/ä", "b": "/faces/b\udcff"},
        target_iterations=4,
    )
    made.begin(SessionRecord(started=1.5, first_step=0, batch_size=4, seed=7))
    made.count_step()
    made.count_step()
    return made


def test_round_trip():
    before = state()
    again = ModelState.from_json(json.loads(json.dumps(before.to_json())), "x")
    assert again == before
    assert (again.iterations, again.sessions[-1].steps, again.complete) == (2, 2, False)


def test_complete_at_the_target():
    made = state()
    made.count_step()
    assert not made.complete
    made.count_step()
    assert made.complete


def test_sessions_without_a_step_are_forgotten():
    made = state()
    made.begin(SessionRecord(started=2.0, first_step=2, batch_size=4, seed=7))
    assert len(made.sessions) == 2
    assert len(ModelState.from_json(made.to_json(), "x").sessions) == 1


def test_a_new_session_is_running():
    made = state()
    made.stop_reason = "target"
    made.begin(SessionRecord(started=2.0, first_step=2, batch_size=4, seed=7))
    assert made.stop_reason == "running"


@pytest.mark.parametrize("data", [None, [], 5, "x", {}, {"format": 2}, {"format": None}])
def test_what_is_no_state(data):
    with pytest.raises(ModelFolderError, match="checkpoint 7 is not a model state of format 1"):
        ModelState.from_json(data, "checkpoint 7")


@pytest.mark.parametrize(
    "change",
    [
        {"model": ...},
        {"fingerprint": ...},
        {"iterations": "many"},
        {"iterations": None},
        {"sessions": 5},
        {"sessions": [{}]},
        {"sessions": [5]},
        {"sessions": [{"started": "x", "first_step": 0, "batch_size": 1, "seed": 1}]},
        {"folders": ["a", "b"]},
        {"plugins": {"models": 5}},
        {"average_loss": "low"},
        {"parameters": []},
    ],
)
def test_damaged_fields_are_one_line(change):
    data = state().to_json() | change
    data = {key: value for key, value in data.items() if value is not ...}
    with pytest.raises(ModelFolderError, match="checkpoint 7 is damaged: ") as caught:
        ModelState.from_json(data, "checkpoint 7")
    assert "\n" not in str(caught.value)
