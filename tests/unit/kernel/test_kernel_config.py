"""Options: types, ranges, layers, and everything wrong at once."""

from __future__ import annotations

import math
import tomllib
from typing import Literal

import attrs
import pytest
import tomli_w
from fs_kernel.errors import ConfigError
from fs_kernel.options import (
    CommandLineSource,
    Config,
    FileSource,
    Interval,
    ModelFolderSource,
    nearest_name,
    option,
    options_of,
    parse_assignment,
    resolve,
    to_toml_value,
)
from fs_kernel.options.defaults import KERNEL_SECTIONS
from hypothesis import given, settings
from hypothesis import strategies as st


@attrs.frozen
class Loss:
    function: str = option("ssim", "Which.", choices=("ssim", "mse", "mae"))
    weight: float = option(1.0, "Weight.", minimum=0.0, maximum=10.0)
    steps: int = option(5, "Steps.", minimum=1, maximum=100)
    on: bool = option(False, "Whether.")
    seed: int | None = option(None, "Key.", minimum=0)
    every: Interval = option(Interval(steps=250), "How often.")
    names: list[str] = option(["x"], "Names.")
    kinds: list[str] = option([], "Kinds.", choices=("one", "two"))


@attrs.frozen
class Net:
    width: int = option(8, "Filters.", minimum=1, maximum=64, fixed=True)
    dropout: float = option(0.0, "Rate.", minimum=0.0, maximum=1.0)


CLASSES = {"loss": Loss, "model.net": Net}
SOURCES = {"set": CommandLineSource, "file": FileSource, "model": ModelFolderSource}


def resolved(values, kind="set", ignored=()):
    return resolve(CLASSES, [SOURCES[kind]("--set", values)], ignored)[0]


def problems(values, kind="set"):
    with pytest.raises(ConfigError) as caught:
        resolved(values, kind)
    return caught.value.problems


def test_defaults_stand_where_nobody_says_anything():
    config = resolved({})
    assert config["loss"] == Loss()
    assert config.origins == {}
    assert list(config) == ["loss", "model.net"]
    assert len(config) == 2


def test_list_defaults_are_copied_per_instance():
    first = resolved({})["loss"].names
    first.append("y")
    assert resolved({})["loss"].names == ["x"]


def test_option_classes_are_read_only():
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        resolved({})["loss"].weight = 2.0


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("weight", 2, 2.0),
        ("weight", 2.5, 2.5),
        ("weight", 0, 0.0),
        ("weight", 10, 10.0),
        ("steps", 1, 1),
        ("on", True, True),
        ("seed", "none", None),
        ("seed", 7, 7),
        ("every", "10min", Interval(seconds=600.0)),
        ("every", 0, Interval()),
        ("names", "a, b ,", ["a", "b"]),
        ("names", [], []),
        ("names", "", []),
        ("kinds", ["two", "one"], ["two", "one"]),
        ("function", "mse", "mse"),
    ],
)
def test_good_values(key, value, expected):
    got = getattr(resolved({"loss": {key: value}})["loss"], key)
    assert got == expected
    assert type(got) is type(expected)


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("weight", "heavy", "expected a number"),
        ("weight", True, "expected a number"),
        ("weight", math.nan, "not-a-number"),
        ("weight", -0.1, "below the smallest value 0"),
        ("weight", 10.01, "above the largest value 10"),
        ("weight", math.inf, "above the largest value 10"),
        ("weight", 10**400, ""),
        ("steps", 5.0, "expected a whole number"),
        ("steps", True, "expected a whole number"),
        ("steps", 0, "below the smallest value 1"),
        ("steps", 101, "above the largest value 100"),
        ("on", "yes", "expected true or false"),
        ("on", 1, "expected true or false"),
        ("seed", -1, "below the smallest value 0"),
        ("seed", "nothing", "expected a whole number"),
        ("every", "often", "write a number of steps"),
        ("every", True, "write a number of steps"),
        ("every", -5, "write a number of steps"),
        ("every", 2.5, "whole numbers"),
        ("every", "9" * 400, ""),
        ("names", 5, "expected a list"),
        ("names", [1], "expected text"),
        ("kinds", ["one", "three"], "'three' is none of one, two"),
        ("function", "ssin", "did you mean 'ssim'"),
        ("function", 5, "expected text"),
        ("function", ["ssim"], "expected text"),
        ("function", {"a": 1}, "expected text"),
    ],
)
def test_bad_values_name_the_option(key, value, says):
    (line,) = problems({"loss": {key: value}})
    assert line.startswith(f"--set: loss.{key}: ")
    assert says in line
    assert "\n" not in line


def test_everything_wrong_is_reported_at_once():
    lines = problems(
        {
            "los": {"weight": 1.0},
            "loss": {"weigth": 1.0, "steps": 0, "on": "x"},
            "model.net": {"width": 1000},
            "zzz": {"a": 1},
        }
    )
    assert len(lines) == 6
    text = "\n".join(lines)
    assert "there is no section [los]; did you mean 'loss'?" in text
    assert "there is no option loss.weigth; did you mean 'weight'?" in text
    assert "there is no section [zzz]" in text
    assert "model.net.width" in text


def test_a_value_without_section_is_named():
    assert problems({"": {"weight": 1.0}}) == ["--set: there is no section 'weight'"]


@pytest.mark.parametrize(("kind", "lines"), [("set", 1), ("file", 0), ("model", 0)])
def test_sections_of_components_not_in_use_are_passed_over_and_on_a_command_line_told(kind, lines):
    """A file may be shared by several networks; who types an option wants it to count."""
    layer = SOURCES[kind]("it", {"model.other": {"x": 1}})
    config, warnings = resolve(CLASSES, [layer], ["model.other"])
    assert config["loss"] == Loss()
    assert (
        warnings
        == ["it: [model.other] belongs to nothing that this run uses; it changes nothing"][:lines]
    )


def test_later_layers_win_and_are_the_origin():
    config, warnings = resolve(
        CLASSES,
        [
            ModelFolderSource("folder", {"loss": {"weight": 1.0, "steps": 2}}),
            FileSource("file.toml", {"loss": {"weight": 2.0, "on": True}}),
            CommandLineSource("--set", {"loss": {"weight": 3.0}}),
        ],
    )
    assert (config["loss"].weight, config["loss"].steps, config["loss"].on) == (3.0, 2, True)
    assert config.origins == {
        "loss.weight": "--set",
        "loss.steps": "folder",
        "loss.on": "file.toml",
    }
    assert warnings == []


def test_a_fixed_option_of_the_model_wins_over_a_file_with_a_warning():
    layers = [
        ModelFolderSource("folder", {"model.net": {"width": 16}}),
        FileSource("file.toml", {"model.net": {"width": 32}}),
    ]
    config, warnings = resolve(CLASSES, layers)
    assert config["model.net"].width == 16
    assert config.origins["model.net.width"] == "folder"
    assert warnings == ["file.toml: model.net.width is fixed at 16 in this model; 32 is not used"]


def test_a_fixed_option_of_the_model_cannot_be_set():
    layers = [
        ModelFolderSource("folder", {"model.net": {"width": 16}}),
        CommandLineSource("--set", {"model.net": {"width": 32}}),
    ]
    with pytest.raises(ConfigError, match="fixed at 16 in this model; a new value needs a new"):
        resolve(CLASSES, layers)


def test_the_same_fixed_value_may_be_said_again():
    layers = [
        ModelFolderSource("folder", {"model.net": {"width": 16}}),
        FileSource("file.toml", {"model.net": {"width": 16}}),
        CommandLineSource("--set", {"model.net": {"width": 16}}),
    ]
    config, warnings = resolve(CLASSES, layers)
    assert config["model.net"].width == 16
    assert warnings == []


def test_a_fixed_option_may_be_set_for_a_new_model():
    assert resolved({"model.net": {"width": 32}})["model.net"].width == 32
    assert resolved({"model.net": {"width": 32}}, "file")["model.net"].width == 32


def test_an_older_models_unknown_options_are_no_problem():
    values = {"model.net": {"gone": 1}, "gone": {"x": 1}}
    assert resolved(values, "model")["model.net"] == Net()


def test_what_a_class_itself_refuses_is_a_config_error():
    def even(instance, attribute, value):
        if value % 2:
            raise ValueError("steps must be even")

    @attrs.frozen
    class Picky:
        steps: int = attrs.field(default=2, validator=even, kw_only=True)

    layers = [
        CommandLineSource("--set", {"picky": {"steps": 3}}),
        CommandLineSource("--set", {"loss": {"weight": -1}}),
    ]
    with pytest.raises(ConfigError) as caught:
        resolve({"picky": Picky, "loss": Loss}, layers)
    assert any("steps must be even" in line for line in caught.value.problems)
    assert len(caught.value.problems) == 2


def test_types_of_any_kind_are_checked():
    @attrs.frozen
    class Odd:
        pair: tuple[int, int] = option((1, 2), "Two.")
        word: Literal["x", "y"] = option("x", "One.")

    for key, value in (("pair", [1, "q"]), ("pair", 5), ("word", "z")):
        with pytest.raises(ConfigError, match=f"odd.{key}"):
            resolve({"odd": Odd}, [CommandLineSource("--set", {"odd": {key: value}})])


def test_a_view_holds_only_its_sections_and_says_so():
    view = resolved({"loss": {"weight": 2.0}}).view(["loss"])
    assert list(view) == ["loss"]
    assert view["loss"].weight == 2.0
    with pytest.raises(KeyError, match=r"section \[model.net\] is not in this view"):
        view["model.net"]


def test_as_dict_survives_toml_and_comes_back_the_same():
    given = {
        "loss": {"every": "12d", "seed": "none", "kinds": ["one"], "weight": 0.1},
        "model.net": {"width": 3},
    }
    config = resolved(given)
    again = tomllib.loads(tomli_w.dumps(config.as_dict()))
    assert resolved(again)["loss"] == config["loss"]
    assert resolved(again)["model.net"] == config["model.net"]


def test_nearest_name():
    assert nearest_name("orignal", ["original", "iae"]) == "; did you mean 'original'?"
    assert nearest_name("zzz", ["original"]) == ""
    assert nearest_name("x", []) == ""


def test_plain_is_what_toml_and_json_hold():
    assert to_toml_value(None) == "none"
    assert to_toml_value(Interval(seconds=90.0)) == "90s"
    assert to_toml_value([1]) == [1]


def test_every_kernel_option_has_help_and_a_default_in_its_range():
    for section, cls in KERNEL_SECTIONS.items():
        defaults = Config({section: cls()}).as_dict()
        resolve({section: cls}, [CommandLineSource("defaults", defaults)])
        assert all(info.help for _, info in options_of(cls).values())


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
KEYS = st.sampled_from(["loss", "model.net", "weight", "steps", "on", "seed", "every", "names"])
KEYS |= st.sampled_from(["kinds", "function", "width", "dropout", ""]) | st.text(max_size=5)


@settings(max_examples=80)
@given(
    st.lists(
        st.tuples(
            st.dictionaries(KEYS, st.dictionaries(KEYS, VALUES, min_size=1, max_size=3)),
            st.sampled_from(["model", "file", "set"]),
        ),
        max_size=3,
    )
)
def test_resolve_gives_a_configuration_or_a_config_error(layers):
    try:
        config, _ = resolve(CLASSES, [SOURCES[kind]("x", values) for values, kind in layers])
    except ConfigError:
        return
    assert set(config) == set(CLASSES)
    assert 0.0 <= config["loss"].weight <= 10.0
    assert config["loss"].function in ("ssim", "mse", "mae")


@settings(max_examples=100)
@given(st.text())
def test_any_assignment_is_read_or_refused(text):
    try:
        section, key, _ = parse_assignment(text)
    except ConfigError:
        return
    assert isinstance(section, str)
    assert isinstance(key, str)
