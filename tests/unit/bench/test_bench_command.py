"""``fs bench`` on a small network, from the command to its files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fs_kernel.cli import run_cli
from fs_kernel.plugins import discovery

ONNX = "onnx" in {found.name for found in discovery.installed("executors")}
SMALL = str(Path(__file__).parents[2] / "data" / "small_net.py")
QUICK = ("bench", "--device", "cpu", "--quick", "--rounds", "1", "--executor", "keras")
FIGURE = {"key", "title", "unit", "median", "min", "max", "runs"}


def bench(*arguments):
    return run_cli([*QUICK, *map(str, arguments)])


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """All parts that need no process of their own, on a small network."""
    folder = tmp_path_factory.mktemp("bench")
    files = ("--json", folder / "found.json", "--markdown", folder / "found.md")
    parts = [f"--part={part}" for part in ("machine", "steps", "swap", "feed", "save", "watch")]
    assert bench("-t", SMALL, "-b", "2", *parts, *files) == 0
    return json.loads((folder / "found.json").read_text()), (folder / "found.md").read_text()


def test_the_json_has_these_keys(found):
    facts, _ = found
    assert set(facts) == {"format", "time", "machine", "figures", "rooflines", "skipped"}
    assert facts["format"] == 1
    assert {"device", "device_name", "processors", "torch", "keras"} <= set(facts["machine"])
    for figure in facts["figures"]:
        assert set(figure) >= FIGURE
        assert figure["min"] <= figure["median"] <= figure["max"]
        assert figure["median"] > 0 or figure["key"] == "feed.waiting"
    assert facts["skipped"] == ([] if ONNX else ["the executor 'onnx' is not installed"])


def test_every_part_gives_its_figures(found):
    keys = {figure["key"] for figure in found[0]["figures"]}
    assert keys == {
        "rate.gemm.fp32",
        "rate.conv.fp32",
        "rate.copy",
        "step.small_net.b2.fp32.keras",
        "swap.small_net.b1.keras",
        "swap.small_net.b16.keras",
        "feed.64.64",
        "feed.64.64.one",
        "feed.128.256",
        "feed.128.256.one",
        "feed.waiting",
        "save.pause",
        "save.total",
        "swap.files.keras",
        *(["swap.files.onnx"] if ONNX else []),
        "watch.engine",
        "watch.watched",
        "watch.preview",
    }


def test_a_step_is_held_against_the_bound(found):
    facts, _ = found
    figures = {figure["key"]: figure for figure in facts["figures"]}
    step = figures["step.small_net.b2.fp32.keras"]
    gflops = figures["rate.conv.fp32"]["median"]
    assert step["share_of_bound"] == pytest.approx(step["gflops"] / gflops)
    assert step["images_per_second"] == pytest.approx(4 / step["median"])
    assert figures["watch.engine"]["percent_of_step"] > 0
    assert figures["watch.preview"]["median"] > 10 * figures["watch.engine"]["median"] / 1000


def test_the_page_has_a_row_per_figure(found):
    facts, page = found
    for figure in facts["figures"]:
        assert f"| {figure['title']} |" in page


def test_what_is_not_installed_is_skipped_with_a_line(capsys):
    assert bench("--part", "steps", "-t", SMALL, "-b", "1", "--executor", "nonsense") == 0
    captured = capsys.readouterr()
    assert "skipped: the executor 'nonsense' is not installed" in captured.err
    assert "small_net b1 fp32, keras" in captured.out


def test_a_network_that_cannot_be_had_is_one_line(capsys):
    assert bench("--part", "steps", "-t", "nonsense") == 0
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("skipped")]
    assert "there is no model 'nonsense'" in line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--device", "cuda:99"), "device 'cuda:99' cannot be used here"),
        (("--precision", "fp16"), "fp16 needs a GPU"),
        (("--part", "nonsense"), "'nonsense' is not one of"),
    ],
)
def test_bad_options(arguments, words, capsys):
    assert bench(*arguments) == 2
    assert words in capsys.readouterr().err


def test_rooflines_are_counted(tmp_path):
    assert bench("--part", "networks", "-t", SMALL, "-b", "8", "--json", tmp_path / "x.json") == 0
    lines = json.loads((tmp_path / "x.json").read_text())["rooflines"]
    assert lines["small_net"]["batch"] == 8
    assert lines["original"]["flops_step"] == pytest.approx(1.46e12 / 8, rel=0.005)
