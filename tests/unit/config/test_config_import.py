"""``fs config import``: a train.ini of the other program becomes options of ours."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
from fs_config.files import installed_sections
from fs_config.options_map import GONE, HERE
from fs_config.train_ini import read_ini, translate
from fs_kernel.errors import ConfigError
from fs_kernel.options import options_of

ROOT = Path(__file__).resolve().parents[3]
SPEC = ROOT.parent / "shared" / "spec"
#: Every option of the other program with its default, by section.
REFERENCE = json.loads((ROOT / "tests/data/reference_options.json").read_text())


@pytest.fixture(scope="module")
def classes():
    return installed_sections()


@pytest.fixture
def ini(tmp_path):
    """Writes a file as the other program does: its help stands in comments over each option."""

    def write(options):
        lines = []
        for section, entries in options.items():
            lines += ["# What this section is for.", f"[{section}]"]
            for name, value in entries.items():
                lines += [f"# Help of {name}: choose = wisely", "#", f"{name} = {value}", ""]
        path = tmp_path / "train.ini"
        path.write_text("\n".join(lines), encoding="utf-8")
        return path

    return write


def test_every_option_of_the_other_program_is_here_or_gone_for_a_reason(classes):
    for section, options in REFERENCE.items():
        for name in options:
            gone = GONE.get(section, {}).get(name)
            here = f"{section}.{name}" if section.startswith("model.") else HERE[section].get(name)
            assert (gone is None) is not (here is None), f"[{section}] {name}"
            if here:
                target, _, option = here.rpartition(".")
                assert option in options_of(classes[target][0]), here


def test_the_table_has_no_option_that_the_other_program_lacks():
    for section in (*HERE, *GONE):
        for name in {**HERE.get(section, {}), **GONE.get(section, {})}:
            assert name in REFERENCE[section], f"[{section}] {name}"


@pytest.mark.skipif(not SPEC.is_dir(), reason="the list itself is not here")
def test_the_copied_options_are_those_of_the_list():
    found = {}
    for page in ("training.md", "models.md"):
        section = None
        for line in (SPEC / page).read_text(encoding="utf-8").splitlines():
            if head := re.match(r"\*\*Section `([\w.]+)`\*\*", line):
                section = found.setdefault(head[1], {})
            elif line.startswith("## "):
                section = None
            elif section is not None and (
                row := re.match(r"\| `(\w+)` \| \w+ \| ([^|]*) \|", line)
            ):
                section[row[1]] = row[2].strip()
    assert found == REFERENCE


def test_a_whole_file_at_its_defaults_is_ours_at_our_defaults(fs, ini, tmp_path, classes):
    path = tmp_path / "train.toml"
    code, out, err = fs("config", "import", ini(REFERENCE), "-o", path)
    assert (code, out) == (0, "")
    count = sum(map(len, REFERENCE.values()))
    assert f"{count - 2} options brought over, 3 notes" in err
    values = tomllib.loads(path.read_text())
    for section, options in REFERENCE.items():
        for name in set(options) - set(GONE.get(section, {})):
            here = f"{section}.{name}" if section.startswith("model.") else HERE[section][name]
            *tables, option = here.split(".")
            place = values
            for table in tables:
                place = place[table]
            default = getattr(classes[".".join(tables)][0](), option)
            assert place[option] == default, here
    assert fs("config", "check", path)[0] == 0
    for model in ("original", "dfaker", "dfl_sae", "phaze_a", "realface"):
        assert fs("config", "check", path, "-t", model)[0] == 0


@pytest.mark.parametrize(
    ("section", "line", "target", "value"),
    [
        ("global", "coverage = 87.5", "face.coverage", 87.5),
        ("global", "coverage = 80", "face.coverage", 80.0),
        ("global", "vertical_offset = -10", "face.vertical_offset", -10),
        ("global", "Centering = Head", "face.centering", "head"),
        ("global", "mixed_precision = True", "training.precision", "fp16"),
        ("global", "mixed_precision = no", "training.precision", "fp32"),
        ("global", "lr_finder_mode = graph_and_exit", "addon.lr_finder.mode", "graph_and_exit"),
        ("global.loss", "loss_function = MS_SSIM", "loss.loss_function", "ms_ssim"),
        ("global.loss", "loss_weight_2: 25", "loss.loss_weight_2", 25),
        ("global.loss", "mask_type = bisenet-fp_head", "face.mask_type", "bisenet-fp_head"),
        ("global.loss", "learn_mask = on", "network.learn_mask", True),
        ("global.loss", "penalized_mask_loss=0", "loss.penalized_mask_loss", False),
        ("global.optimizer", "optimizer = rms-prop", "optimizer.optimizer", "rms-prop"),
        ("global.optimizer", "learning_rate = 3.5e-5", "optimizer.learning_rate", 3.5e-5),
        ("global.optimizer", "save_optimizer = never", "save.optimizer", "never"),
        ("trainer.augmentation", "mask_color = #00FF7f", "preview.mask_color", "#00ff7f"),
        ("trainer.augmentation", "rotation_range = 25", "augmentation.rotation_range", 25),
        ("trainer.loader", "num_processes = 0", "loader.workers", 0),
        ("model.dfaker", "output_size = 256", "model.dfaker.output_size", 256),
        ("model.phaze_a", "freeze_layers = encoder, fc_a encoder",
         "model.phaze_a.freeze_layers", ["encoder", "fc_a"]),
        ("model.phaze_a", "load_layers = encoder", "model.phaze_a.load_layers", ["encoder"]),
    ],
)  # fmt: skip
def test_values_mean_here_what_they_mean_there(tmp_path, classes, section, line, target, value):
    path = tmp_path / "train.ini"
    path.write_text(f"[{section}]\n{line}\n")
    options = translate(read_ini(path), classes)
    place, _, option = target.rpartition(".")
    assert options.values == {place: {option: value}}
    assert type(options.values[place][option]) is type(value)
    assert options.notes == []


def test_an_optimiser_saved_at_exit_only_is_always_saved_and_said(tmp_path, classes):
    options = translate({"global.optimizer": {"save_optimizer": "exit"}}, classes)
    assert options.values == {"save": {"optimizer": "always"}}
    assert "save.optimizer = always here" in options.notes[0]


@pytest.mark.parametrize(
    ("section", "name", "text", "says"),
    [
        ("global.loss", "eye_multiplier", "50", "50 is above the largest value 40; left at 3"),
        ("global.loss", "mask_type", "facehull", "'facehull' is none of"),
        ("global.loss", "loss_function", "ssmi", "did you mean 'ssim'?; left at 'ssim'"),
        ("global.loss", "eye_multipler", "3", "no such option is known; did you mean 'eye_mult"),
        ("global.optimizer", "learning_rate", "nan", "not-a-number"),
        ("global.optimizer", "learning_rate", "1e999", "above the largest value"),
        ("global.optimizer", "autoclip_history", "9" * 5000, "limit"),
        ("global.optimizer", "ada_amsgrad", "perhaps", "write true or false; left at False"),
        ("global", "coverage", "", "could not convert"),
        ("global", "centering", "fa\x1b[31m\nce", "fa\\x1b[31m\\nce' is none of"),
        ("global", "nan_protection", "False", "always stops the run"),
        ("global", "convert_batchsize", "16", "fs swap --batch-size"),
        ("trainer.augmentation", "preview_images", "13", "'13' is none of"),
    ],
)
def test_what_is_not_brought_over_is_listed_with_the_reason(classes, section, name, text, says):
    options = translate({section: {name: text}}, classes)
    assert options.values == {}
    assert len(options.notes) == 1
    assert options.notes[0].startswith(f"[{section}] {name}")
    assert says in options.notes[0]
    assert len(options.notes[0]) < 400


def test_sections_that_are_not_known_are_listed(classes):
    found = {"global": {}, "model.nosuch": {"a": "1"}, "gobal.loss": {}, "a\x1b[31mred": {"b": "2"}}
    assert translate(found, classes).notes == [
        "[model.nosuch]: no such network is installed",
        "[gobal.loss]: no such section is known; did you mean 'global.loss'?",
        "[a\\x1b[31mred]: no such section is known",
    ]


def test_a_network_or_an_addon_that_is_not_installed_is_named_with_its_package(classes):
    fewer = {
        name: cls
        for name, cls in classes.items()
        if name not in ("model.villain", "addon.lr_finder")
    }
    found = {"model.villain": {"lowmem": "True"}, "global": {"lr_finder_strength": "extreme"}}
    options = translate(found, fewer)
    assert options.values == {}
    assert options.notes == [
        "[model.villain]: not taken; pip install fs-model-villain",
        "[global] lr_finder_strength: not taken; pip install fs-addon-lr-finder",
    ]


def test_options_that_contradict_each_other_are_refused(classes):
    found = {"global.optimizer": {"gradient_clipping": "norm", "clipping_value": "0"}}
    with pytest.raises(ConfigError, match="would leave no gradient"):
        translate(found, classes)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"no section\n", "contains no section headers"),
        (b"[global]\n[global]\n", "already exists"),
        (b"[global]\ncoverage = 1\ncoverage = 2\n", "already exists"),
        (b"[global]\n\xff\xfe", "decode"),
        (b"[global\n", "no section headers"),
        (b"", "is none of [global]"),
        (b"[DEFAULT]\ncoverage = 80\n", "is none of [global]"),
        (b"[color.avg_color]\nx = 1\n", "is none of [global]"),
        (b"#" * (2**20 + 1), "larger than 1 MiB"),
        (b"[global]\n= 3\n", "not a valid ini"),
        (b"[global]\ncoverage\n  80\n", "not a valid ini"),
    ],
)
def test_what_is_no_train_ini_is_one_line(fs, tmp_path, content, says):
    path, out = tmp_path / "train.ini", tmp_path / "train.toml"
    path.write_bytes(content)
    code, text, err = fs("config", "import", path, "-o", out)
    assert (code, text) == (2, "")
    assert says in err
    assert err.startswith("fs: ")
    assert err.count("\n") == 1
    assert not out.exists()


def test_what_cannot_be_read_or_written_is_one_line(fs, ini, tmp_path):
    for path in (tmp_path / "missing.ini", tmp_path):
        code, _, err = fs("config", "import", path)
        assert (code, err) == (2, f"fs: {path} is not a file\n")
    path = tmp_path / "train.toml"
    path.write_text("mine")
    code, _, err = fs("config", "import", ini({"global": {"coverage": "80"}}), "-o", path)
    assert (code, path.read_text()) == (2, "mine")
    assert "is there already" in err


def test_percent_signs_and_interpolation_are_text(tmp_path, classes):
    path = tmp_path / "train.ini"
    path.write_text("[global]\ncoverage = %(here)s\ncentering = face\n")
    options = translate(read_ini(path), classes)
    assert options.values == {"face": {"centering": "face"}}


def test_a_file_with_a_byte_order_mark_is_read(tmp_path):
    path = tmp_path / "train.ini"
    path.write_bytes(b"\xef\xbb\xbf[global]\r\ncoverage = 80\r\n")
    assert read_ini(path) == {"global": {"coverage": "80"}}
