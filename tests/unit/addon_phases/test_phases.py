"""Phases: what can be written, what is refused, and what a session asks for."""

from __future__ import annotations

import attrs
import fs_addon_phases
import pytest
from fake_session import FakeSession
from fs_addon_phases import SECTION, PhasesOptions
from fs_addon_phases.plan import Phase, parse_plan
from fs_kernel import option
from fs_kernel.errors import ConfigError
from fs_kernel.options import CommandLineSource, Config, resolve
from fs_kernel.testing import tiny_run

WARP_OFF = "20: picture.warp=false"
RATE = "40: optimizer.learning_rate=1e-5"


@attrs.frozen
class Picture:
    warp: bool = option(True, "Warp.", live=True)
    zoom: int = option(5, "Zoom.", minimum=0, maximum=25, live=True)
    size: int = option(64, "Size.", fixed=True)


def session(tmp_path, phases, step=0, done=(), origins=None):
    options = PhasesOptions(phases=list(phases), done=list(done))
    run = FakeSession(tmp_path / "model", SECTION, options, step, picture=Picture())
    run.config = Config(dict(run.config), origins or {})
    return run


def resumed(run, done):
    """The add-on of a run whose checkpoint has seen these phases."""
    addon = fs_addon_phases.create_addon(run)
    addon.load_state_dict({"done": done})
    return addon


# --- what is written ---


@pytest.mark.parametrize(
    ("text", "phase"),
    [
        (WARP_OFF, (20, "picture.warp", False)),
        ("200k: picture.zoom = 0", (200_000, "picture.zoom", 0)),
        ("2M:addon.x.y='a: b'", (2_000_000, "addon.x.y", "a: b")),
        ("1_000 : save.interval=10min", (1000, "save.interval", "10min")),
        ("5: training.addons=[\"a\", 'b']", (5, "training.addons", ["a", "b"])),
    ],
)
def test_a_phase_is_steps_option_and_value(text, phase):
    read = Phase.parse(text)
    assert (read.step, read.option, read.value) == phase


@pytest.mark.parametrize(
    "text", ["", "picture.warp=false", "x: a.b=1", "-5: a.b=1", "1.5k: a.b=1", "5: warp", "5: =1"]
)
def test_what_is_no_phase_is_refused_with_the_form_to_write(text):
    with pytest.raises(ConfigError, match=r"write .*section\.option=value"):
        Phase.parse(text)


def test_everything_wrong_in_a_list_is_reported_at_once():
    texts = ["0: a.b=1", "300: a.b=1", "200: a.b=2", "300: a.b=2", "300: c.d=2", "never: a.b=1"]
    with pytest.raises(ConfigError) as error:
        parse_plan(texts)
    lines = error.value.problems
    assert len(lines) == 4
    assert "'0: a.b=1'" in lines[0]
    assert (
        lines[1]
        == "'200: a.b=2': it is listed after step 300; put the phases in the order of their steps"
    )
    assert lines[2] == "'300: a.b=2': step 300 changes a.b twice"
    assert "'never: a.b=1'" in lines[3]


def test_the_configuration_refuses_them_and_names_the_option():
    layer = CommandLineSource("--set", {SECTION: {"phases": "5: a.b=1, 4: a.b=2"}})
    with pytest.raises(
        ConfigError, match=r"addon\.phases\.phases: '4: a\.b=2': it is listed after"
    ):
        resolve(fs_addon_phases.config_defaults(), [layer])


# --- what a session asks for ---


def test_a_new_model_asks_for_all_of_them_after_their_steps(tmp_path):
    run = session(tmp_path, [WARP_OFF, RATE])
    fs_addon_phases.create_addon(run).before_training()
    assert run.changes == [("picture.warp", False, 21), ("optimizer.learning_rate", 1e-5, 41)]
    assert run.notes == [f"to come: {WARP_OFF}", f"to come: {RATE}"]


def test_a_checkpoint_holds_the_phases_whose_changes_were_made(tmp_path):
    run = session(tmp_path, [WARP_OFF, RATE])
    addon = fs_addon_phases.create_addon(run)
    addon.before_training()
    held = {}
    for run.step in (0, 19, 20, 21, 40, 41):
        held[run.step] = addon.state_dict()["done"]
    # A change is made just before the step after the phase's own.
    assert held == {0: [], 19: [], 20: [], 21: [WARP_OFF], 40: [WARP_OFF], 41: [WARP_OFF, RATE]}


def test_a_phase_that_had_passed_is_done_from_the_start(tmp_path):
    run = session(tmp_path, [WARP_OFF], 20)
    addon = fs_addon_phases.create_addon(run)
    addon.before_training()
    assert addon.state_dict() == {"done": [WARP_OFF]}


def test_going_back_takes_what_the_checkpoint_holds(tmp_path):
    run = session(tmp_path, [WARP_OFF, RATE], 10)
    addon = fs_addon_phases.create_addon(run)
    addon.before_training()
    run.step = 30
    state = addon.state_dict()
    run.step = 45
    addon.load_state_dict(state)
    run.step = 31
    assert addon.state_dict() == {"done": [WARP_OFF]}


@pytest.mark.parametrize(("step", "calls"), [(19, 1), (20, 1), (21, 1)])
def test_a_phase_that_has_passed_takes_effect_with_the_first_step(tmp_path, step, calls):
    run = session(tmp_path, [WARP_OFF], step)
    fs_addon_phases.create_addon(run).before_training()
    assert len(run.changes) == calls
    assert run.get_option("picture.warp") is (step < 20)


def test_of_several_that_have_passed_the_last_one_counts(tmp_path):
    run = session(tmp_path, ["5: picture.zoom=1", "9: picture.zoom=2"], 12)
    fs_addon_phases.create_addon(run).before_training()
    assert run.changes == [("picture.zoom", 2, 10)]


def test_what_a_user_changed_later_stands(tmp_path):
    origins = {"picture.warp": str(tmp_path / "model")}
    run = session(tmp_path, [WARP_OFF], 30, origins=origins)
    resumed(run, [WARP_OFF]).before_training()
    assert run.changes == []


def test_the_folder_of_an_older_model_names_its_phases_in_an_option(tmp_path):
    origins = {"picture.warp": str(tmp_path / "model")}
    run = session(tmp_path, [WARP_OFF], 30, done=[WARP_OFF], origins=origins)
    addon = fs_addon_phases.create_addon(run)
    addon.before_training()
    assert run.changes == []
    assert addon.state_dict() == {"done": [WARP_OFF]}


def test_the_state_wins_over_what_an_older_version_wrote(tmp_path):
    origins = {"picture.warp": str(tmp_path / "model")}
    run = session(tmp_path, [WARP_OFF], 30, [WARP_OFF], origins)
    resumed(run, []).before_training()
    assert run.get_option("picture.warp") is False


@pytest.mark.parametrize("origin", ["run.toml", "--set", None])
def test_a_value_that_is_not_the_folders_own_does_not(tmp_path, origin):
    origins = {"picture.warp": origin} if origin else {}
    run = session(tmp_path, [WARP_OFF], 30, origins=origins)
    resumed(run, [WARP_OFF]).before_training()
    assert run.get_option("picture.warp") is False


def test_a_phase_changed_after_it_was_reached_takes_effect(tmp_path):
    origins = {"picture.zoom": str(tmp_path / "model")}
    run = session(tmp_path, ["5: picture.zoom=2"], 30, origins=origins)
    addon = resumed(run, ["5: picture.zoom=1"])
    addon.before_training()
    assert run.get_option("picture.zoom") == 2
    assert addon.state_dict() == {"done": ["5: picture.zoom=2"]}


def test_changes_that_cannot_be_made_are_all_named_before_training(tmp_path):
    phases = ["1: picture.wrap=0", "2: picture.size=9", "3: picture.zoom=99", "4: face.x=1", RATE]
    config = session(tmp_path, phases).config
    with pytest.raises(ConfigError) as error:
        fs_addon_phases.check_options(config.view([SECTION]), config)
    lines = error.value.problems
    assert len(lines) == 4
    for line, text in zip(lines, phases, strict=False):
        assert line.startswith(f"addon.phases.phases: '{text}': ")
    assert "did you mean 'warp'" in lines[0]
    assert "cannot change" in lines[1]
    assert "above the largest value 25" in lines[2]


def test_no_phases_ask_for_nothing(tmp_path):
    run = session(tmp_path, [])
    fs_addon_phases.create_addon(run).before_training()
    assert run.changes == run.notes == []


# --- in runs ---


@pytest.mark.parametrize("older", [False, True], ids=["state", "option of an older model"])
def test_what_a_user_changed_after_a_phase_stands_in_the_next_session(tmp_path, monkeypatch, older):
    values = {"addon.phases.phases": ["2: save.keep=5"], "save.interval": 100}
    if older:
        # As versions wrote it that had no state.
        monkeypatch.delattr(fs_addon_phases.Phases, "state_dict")
        values["addon.phases.done"] = ["2: save.keep=5"]
    first = {**values, "training.iterations": 4}
    with tiny_run(tmp_path, addons=[fs_addon_phases], set=first) as run:
        for metrics in run:
            if metrics.step == 3:
                assert run.get_option("save.keep") == 5
                run.set_option("save.keep", 7)
    monkeypatch.undo()
    for steps in (5, 6):
        again = {"training.iterations": steps}
        with tiny_run(tmp_path, addons=[fs_addon_phases], set=again) as run:
            assert run.get_option("save.keep") == 7
            run.train()
