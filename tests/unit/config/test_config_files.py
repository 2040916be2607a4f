"""``fs config``: a file with every option, what is wrong with one, a schema, plugins' commands."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import attrs
import jsonschema
import pytest
from fs_config.files import installed_sections, write_all
from fs_config.schema import DIALECT, schema
from fs_kernel import option
from fs_kernel.options import Interval, Size, check_value, options_of, read_toml, to_toml_value
from fs_kernel.testing import tiny_run
from fs_kernel.training.resolve import Request, resolve_run

TINY = "fs_kernel.testing:TinyModel"


@pytest.fixture
def toml(tmp_path):
    """Writes a file of options."""

    def write(text):
        path = tmp_path / "options.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def defaults(model):
    return resolve_run(Request(Path(), model), look=False).config


# --- init ---


def test_init_writes_every_option_at_its_default(fs):
    code, out, err = fs("config", "init", "-t", TINY)
    assert (code, err) == (0, "")
    flat = {
        section: values
        for section, values in defaults(TINY).as_dict().items()
        if "." not in section
    }
    written = tomllib.loads(out)
    assert {section: written[section] for section in flat} == flat
    assert written["model"]["tiny"] == {"width": 16, "dropout": 0.1}


def test_init_explains_every_option(fs):
    out = " ".join(fs("config", "init", "-t", TINY)[1].replace("\n# ", " ").split())
    for values in defaults(TINY).values():
        for name, (_, info) in options_of(type(values)).items():
            assert info.help in out
            assert f"{name} = " in out
    assert "Filters of the encoder. int; 1 .. 64; fixed width = 16" in out
    assert "Dropout rate in the encoder. float; 0 .. 0.9; at start dropout = 0.1" in out
    assert "int; 1 .. 100; live keep = 2" in out
    assert "str; fp32 | fp16 | bf16; at start precision" in out
    assert "str; installed: faces; at start feed" in out


def test_init_takes_settings_and_refuses_wrong_ones(fs):
    _, out, _ = fs("config", "init", "-t", TINY, "--set", "save.keep=7")
    assert tomllib.loads(out)["save"]["keep"] == 7
    code, out, err = fs("config", "init", "-t", TINY, "--set", "save.keep=0")
    assert (code, out) == (2, "")
    assert "save.keep: 0 is below the smallest value 1" in err


def test_init_overwrites_nothing(fs, tmp_path):
    path = tmp_path / "train.toml"
    assert fs("config", "init", "-t", TINY, "-o", path) == (0, "", "")
    before = path.read_bytes()
    code, _, err = fs("config", "init", "-t", TINY, "--set", "save.keep=7", "-o", path)
    assert (code, err) == (2, f"fs: {path} is there already; name another file\n")
    assert path.read_bytes() == before


def test_init_cannot_write_where_there_is_no_folder(fs, tmp_path):
    code, _, err = fs("config", "init", "-t", TINY, "-o", tmp_path / "no" / "train.toml")
    assert (code, err.count("\n")) == (2, 1)
    assert "cannot write" in err


@attrs.frozen
class Following:
    base: int = option(3, "What the other follows.", minimum=0, maximum=9)
    twice: int = attrs.field(
        default=attrs.Factory(lambda self: 2 * self.base, takes_self=True),
        metadata=attrs.fields_dict(attrs.make_class("One", {"x": option(0, "Twice.")}))[
            "x"
        ].metadata,
    )


def test_init_leaves_what_follows_others_to_follow():
    parts = resolve_run(Request(Path(), TINY), look=False)
    sections = {"made.up": Following(base=4)}
    parts.options.replace(type(parts.config)(sections))
    text = write_all(parts)
    assert tomllib.loads(text) == {"made": {"up": {"base": 4}}}
    assert "# twice = 8\n" in text
    parts.options.replace(type(parts.config)(sections, {"made.up.twice": "--set"}))
    assert tomllib.loads(write_all(parts)) == {"made": {"up": {"base": 4, "twice": 8}}}


# --- check ---


@pytest.mark.parametrize("settings", [[], ["training.seed=3", "save.max_disk=20GB"]])
def test_what_init_writes_is_fine_and_changes_nothing(fs, tmp_path, settings):
    path = tmp_path / "train.toml"
    given = [part for text in settings for part in ("--set", text)]
    fs("config", "init", "-t", TINY, *given, "-o", path)
    assert fs("config", "check", path, "-t", TINY) == (0, f"{path} is fine\n", "")
    from_file = resolve_run(Request(Path(), TINY, config_file=path), look=False).config
    assert (from_file.as_dict() == defaults(TINY).as_dict()) is (not settings)


WRONG = """
[training]
batch_size = 0
trainer = "standrad"
addons = ["console", "previw"]
presicion = "fp16"
[loss]
loss_function = "ssmi"
loss_weight_2 = 500
[optimizer]
optimizer = "adan"
[model.dfaker]
output_sise = 256
[modle.original]
lowmem = true
[addon.guard]
policy = "sto"
"""
SAYS = [
    "training.batch_size: 0 is below the smallest value 1",
    "training.trainer: there is no trainer 'standrad'",
    "did you mean 'standard'?",
    "training.addons: there is no add-on 'previw'",
    "did you mean 'preview'?",
    "there is no option training.presicion; did you mean 'precision'?",
    "loss.loss_function: there is no loss 'ssmi'",
    "did you mean 'ssim'?",
    "loss.loss_weight_2: 500 is above the largest value 400",
    "optimizer.optimizer: there is no optimizer 'adan'",
    "there is no option model.dfaker.output_sise; did you mean 'output_size'?",
    "there is no section [modle.original]; did you mean 'model.original'?",
    "addon.guard.policy: 'sto' is none of stop, rollback; did you mean 'stop'?",
]


def test_everything_wrong_is_said_at_once(fs, toml):
    path = toml(WRONG)
    code, out, err = fs("config", "check", path)
    assert (code, out) == (2, "")
    for line in SAYS:
        assert line in err
    assert err.count(f"fs: {path}: ") == 10
    code, out, err = fs("config", "check", path, "--json")
    assert (code, err) == (2, "")
    assert len(json.loads(out)["problems"]) == 10


def test_sections_the_run_does_not_use_are_checked_and_named(fs, toml):
    path = toml("[model.dfaker]\noutput_size = 256\n")
    line = f"note: {path}: this run does not use [model.dfaker]\n"
    assert fs("config", "check", path) == (0, f"{path} is fine\n", line)
    assert fs("config", "check", path, "-t", "dfaker") == (0, f"{path} is fine\n", "")


def test_what_no_network_can_be_made_of_is_wrong(fs, toml):
    path = toml("[model.realface]\noutput_size = 80\n")
    code, _, err = fs("config", "check", path, "-t", "realface")
    assert code == 2
    assert "32" in err


@pytest.mark.parametrize(
    "content", [b"x = [", b"\x00\x01\xff", b"[a]\n[a]\n", b"x = " + b"[" * 9999]
)
def test_what_is_no_toml_is_one_line(fs, tmp_path, content):
    path = tmp_path / "options.toml"
    path.write_bytes(content)
    code, out, err = fs("config", "check", path)
    assert (code, out) == (2, "")
    assert err.startswith(f"fs: {path} is not valid TOML")
    assert fs("config", "check", tmp_path / "missing.toml")[0] == 2


def test_a_file_is_held_against_a_model(fs, toml, tmp_path):
    with tiny_run(tmp_path, model=TINY, set={"training.iterations": 1}) as run:
        run.train()
    path = toml("[model.tiny]\nwidth = 32\ndropout = 0.2\n[save]\nkepe = 3\n")
    code, _, err = fs("config", "check", path, "-t", TINY, "-m", tmp_path / "model")
    assert code == 2
    assert "there is no option save.kepe; did you mean 'keep'?" in err
    path = toml("[model.tiny]\nwidth = 32\ndropout = 0.2\n")
    code, out, err = fs("config", "check", path, "-t", TINY, "-m", tmp_path / "model")
    assert (code, out) == (0, f"{path} is fine\n")
    assert "model.tiny.width is fixed at 16 in this model; 32 is not used" in err


def test_a_folder_without_a_model_is_checked_like_none(fs, toml, tmp_path):
    assert fs("config", "check", toml(""), "-m", tmp_path / "nothing")[0] == 0


# --- schema ---


@pytest.fixture(scope="module")
def whole():
    made = schema(installed_sections(), whole=True)
    jsonschema.Draft202012Validator.check_schema(made)
    return jsonschema.Draft202012Validator(made)


def test_the_schema_is_of_the_draft_it_names(fs):
    code, out, _ = fs("config", "schema", "-t", TINY)
    made = json.loads(out)
    assert (code, made["$schema"]) == (0, DIALECT)
    jsonschema.Draft202012Validator.check_schema(made)
    width = made["properties"]["model"]["properties"]["tiny"]["properties"]["width"]
    assert width == {
        "description": "Filters of the encoder. Fixed when the model is made.",
        "type": "integer",
        "minimum": 1,
        "maximum": 64,
        "default": 16,
    }


def test_the_whole_schema_has_every_section_installed(whole):
    properties = whole.schema["properties"]
    for section in installed_sections():
        place = whole.schema
        for part in section.split("."):
            place = place["properties"][part]
        assert place["type"] == "object"
    names = properties["training"]["properties"]["trainer"]["examples"]
    assert "standard" in names
    assert "ssim" in properties["loss"]["properties"]["loss_function"]["examples"]


@pytest.mark.parametrize("model", ["original", "dfaker", "phaze_a"])
def test_what_init_writes_fits_the_schema(fs, whole, model):
    data = tomllib.loads(fs("config", "init", "-t", model)[1])
    assert [error.message for error in whole.iter_errors(data)] == []


def test_the_schema_finds_what_check_finds(whole):
    found = {error.json_path: error.message for error in whole.iter_errors(tomllib.loads(WRONG))}
    assert "'presicion' was unexpected" in found["$.training"]
    assert "'modle' was unexpected" in found["$"]
    assert {"$.training.batch_size", "$.loss.loss_weight_2", "$.addon.guard.policy"} <= set(found)


def test_a_schema_of_one_run_leaves_other_plugins_alone(fs):
    validator = jsonschema.Draft202012Validator(json.loads(fs("config", "schema", "-t", TINY)[1]))
    assert validator.is_valid({"model": {"dfaker": {"whatever": 1}}})
    assert not validator.is_valid({"model": {"tiny": {"whatever": 1}}})


@attrs.frozen
class Kinds:
    number: int = option(1, "", minimum=0, maximum=5)
    real: float = option(1.0, "", minimum=0.0, maximum=5.0)
    word: str = option("a", "", choices=("a", "b"))
    flag: bool = option(True, "")
    maybe: int | None = option(None, "", minimum=0, maximum=5)
    words: list[str] = option(["a"], "", choices=("a", "b"))
    pace: Interval = option(Interval(steps=1), "")
    size: Size = option(Size(), "")


VALUES = [0, 3, 9, -1, 2.5, True, "a", "c", "none", ["a"], ["c"], "a,b", "10min", "3 it", "often",
          "20GB", "512 mib", "20 gigs", {}]  # fmt: skip


@pytest.mark.parametrize("name", [field.name for field in attrs.fields(Kinds)])
def test_the_schema_takes_what_the_kernel_takes(name):
    made = schema({"x": [Kinds]}, whole=True)
    annotation, info = options_of(Kinds)[name]
    for value in [*VALUES, to_toml_value(getattr(Kinds(), name))]:
        try:
            check_value(value, annotation, info)
            fits = True
        except Exception:
            fits = False
        if name == "words" and value == "a,b":
            assert fits
        if isinstance(value, str) and name == "words":
            continue  # JSON Schema cannot look into a text with commas.
        valid = jsonschema.Draft202012Validator(made).is_valid({"x": {name: value}})
        assert valid is fits, value


def test_a_section_that_two_plugins_give_may_be_of_either():
    made = jsonschema.Draft202012Validator(schema({"x": [Kinds, Following]}, whole=True))
    assert made.is_valid({"x": {"base": 3}})
    assert made.is_valid({"x": {"number": 3}})
    assert not made.is_valid({"x": {"base": 3, "number": 3}})


def test_read_toml_gives_sections_as_they_are_declared(toml):
    assert read_toml(toml("[model.tiny]\nwidth = 3\n")) == {"model.tiny": {"width": 3}}
