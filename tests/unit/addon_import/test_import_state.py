"""State files of every age, and what becomes of their options."""

from __future__ import annotations

import pytest
from fs_addon_import.foreign import ForeignOptimizer
from fs_addon_import.options import from_state, settle
from fs_addon_import.state import interpret
from fs_feed_faces.options import FaceOptions
from fs_kernel.options.defaults import SaveOptions, TrainingOptions
from fs_kernel.types import Network, Output
from fs_model_original import OriginalOptions
from fs_nn.options import LossOptions, NetworkOptions, OptimizerOptions

CLASSES = {
    "training": TrainingOptions,
    "save": SaveOptions,
    "model.original": OriginalOptions,
    "network": NetworkOptions,
    "loss": LossOptions,
    "optimizer": OptimizerOptions,
    "face": FaceOptions,
}


def state_of(config: dict, **others):
    return interpret({"name": "original", "config": config, **others}, "original")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"dssim_loss": True}, {"loss_function": "ssim"}),
        ({"dssim_loss": False}, {"loss_function": "mae"}),
        ({"mask_type": None}, {"mask_type": "none", "learn_mask": False}),
        ({"mask_type": "facehull"}, {"mask_type": "components", "learn_mask": True}),
        ({"mask_type": "dfl_full"}, {"mask_type": "components", "learn_mask": True}),
        ({"mask_type": "extended", "learn_mask": False}, {"learn_mask": False}),
        ({"l2_reg_term": 40}, {"loss_function_2": "mse", "loss_weight_2": 40}),
        ({"clipnorm": True}, {"gradient_clipping": "norm"}),
        ({"clipnorm": False}, {"gradient_clipping": "none"}),
        ({"autoclip": True}, {"gradient_clipping": "autoclip"}),
        ({"clipnorm": True, "autoclip": True}, {"gradient_clipping": "autoclip"}),
        ({"loss_function_2": None}, {"loss_function_2": "none"}),
    ],
)
def test_old_options_are_what_they_are_called_now(old: dict, new: dict) -> None:
    config = state_of(old).config
    assert {key: config[key] for key in new} == new
    assert not {"dssim_loss", "l2_reg_term", "clipnorm", "autoclip"} & set(config)


def test_F4_autoclip_takes_effect() -> None:
    """The other program wrote it where nobody reads it."""
    values, _ = from_state(state_of({"autoclip": True}), CLASSES)
    assert values["optimizer"]["gradient_clipping"] == "autoclip"
    assert OptimizerOptions(**values["optimizer"]).gradient_clipping == "autoclip"


def test_F3_what_was_fixed_before_it_was_an_option_takes_effect_at_once() -> None:
    """The other program applied it from the next session on only."""
    values, _ = from_state(state_of({}), CLASSES)
    assert values["face"]["centering"] == "legacy"
    assert values["face"]["coverage"] == 62.5
    assert values["loss"]["mask_loss_function"] == "mse"
    assert values["optimizer"]["optimizer"] == "adam"


def test_a_loss_that_wants_a_mask_is_off_where_there_is_none() -> None:
    values, _ = from_state(state_of({"mask_type": "none"}), CLASSES)
    assert values["loss"]["penalized_mask_loss"] is False


def test_the_last_session_has_the_last_word_on_what_may_change() -> None:
    sessions = {
        "10": {"iterations": 5, "batchsize": 2, "timestamp": 20.0, "config": {"eye_multiplier": 9}},
        "9": {"iterations": 7, "batchsize": 4, "timestamp": 10.0, "config": {"eye_multiplier": 8}},
    }
    state = state_of({"eye_multiplier": 3, "coverage": 70.0}, sessions=sessions, iterations=12)
    assert state.config["eye_multiplier"] == 9
    assert state.config["coverage"] == 70.0
    assert [(s.first_step, s.steps, s.started) for s in state.sessions] == [
        (0, 7, 10.0),
        (7, 5, 20.0),
    ]


def test_numbers_out_of_range_are_kept() -> None:
    values, notes = from_state(state_of({"learning_rate": 5e-4, "eye_multiplier": 2.0}), CLASSES)
    assert values["optimizer"]["learning_rate"] == 5e-4
    assert values["loss"]["eye_multiplier"] == 2
    assert notes == []


def test_words_that_are_not_known_are_named() -> None:
    values, notes = from_state(state_of({"centering": "sideways"}), CLASSES)
    assert "centering" not in values.get("face", {})
    assert any("sideways" in note for note in notes)


def test_a_learning_rate_that_was_searched_for() -> None:
    assert state_of({}, lr_finder=2e-5).learning_rate == 2e-5
    assert state_of({}, lr_finder=-1.0).learning_rate is None


def test_dots_in_names_of_layers_are_gone() -> None:
    state = state_of({}, mixed_precision_layers=["0.0_1", "dense"])
    assert state.mixed_layers == {"0_0_1", "dense"}


def test_the_file_wins_over_its_options() -> None:
    values, _ = from_state(state_of({"learn_mask": True, "optimizer": "adam"}), CLASSES)
    built = Network(None, [Output("a", "face", 64), Output("b", "face", 64)])
    notes = settle(values, built, ForeignOptimizer("lion", 3, {}))
    assert values["network"]["learn_mask"] is False
    assert values["optimizer"]["optimizer"] == "lion"
    assert len(notes) == 2


def test_settings_of_the_optimiser_stand_in_for_a_missing_state() -> None:
    values, _ = from_state(interpret(None, "original"), CLASSES)
    built = Network(None, [Output("a", "face", 64)])
    found = ForeignOptimizer("adam", 3, {}, None, {"learning_rate": 4.999999873689376e-05})
    settle(values, built, found)
    assert values["optimizer"]["learning_rate"] == 5e-5
