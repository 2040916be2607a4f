"""How values are written: intervals, durations, assignments, TOML files."""

from __future__ import annotations

import pytest
from fs_kernel.errors import ConfigError, UsageError
from fs_kernel.options import (
    CommandLineSource,
    Interval,
    Size,
    assignments,
    parse_assignment,
    parse_duration,
    read_toml,
    resolve,
)
from fs_kernel.options.defaults import KERNEL_SECTIONS
from hypothesis import given
from hypothesis import strategies as st


@given(st.floats(min_value=1e-3, max_value=1e9) | st.integers(1, 10**12))
def test_an_interval_written_down_reads_the_same(number):
    interval = Interval(seconds=float(number))
    assert Interval.parse(str(interval)) == interval
    if isinstance(number, int):
        assert Interval.parse(str(Interval(steps=number))) == Interval(steps=number)


@pytest.mark.parametrize(
    ("text", "steps", "seconds"),
    [
        (250, 250, None),
        (250.0, 250, None),
        ("250", 250, None),
        (" 250 it ", 250, None),
        ("250its", 250, None),
        ("250steps", 250, None),
        ("90s", None, 90.0),
        ("90sec", None, 90.0),
        ("10min", None, 600.0),
        ("10m", None, 600.0),
        ("1.5h", None, 5400.0),
        ("2hours", None, 7200.0),
        ("1d", None, 86400.0),
        (0, None, None),
        ("0min", None, None),
        (Interval(steps=3), 3, None),
    ],
)
def test_interval_forms(text, steps, seconds):
    assert Interval.parse(text) == Interval(steps, seconds)


@pytest.mark.parametrize("text", ["", "x", "1e3", "-1", "10 parsecs", "1.2.3", "5it5", None, []])
def test_what_is_no_interval(text):
    with pytest.raises(ValueError, match=r"write a number|whole"):
        Interval.parse(text)


def test_when_an_interval_is_due():
    assert [Interval(steps=3).due(n, 1e9) for n in (2, 3, 4)] == [False, True, True]
    assert [Interval(seconds=3.0).due(10**9, s) for s in (2.9, 3.0)] == [False, True]
    assert not Interval().due(10**9, 1e9)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("3h50m", 13800),
        ("90s", 90),
        ("1.5h", 5400),
        ("1d", 86400),
        ("2 H 3 M", 7380),
        ("5min", 300),
    ],
)
def test_durations(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "soon", "3h and", "-5m", "1e5s", "10minutes"])
def test_what_is_no_duration(text):
    with pytest.raises(UsageError, match="write for example 3h50m"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("loss.weight=2", ("loss", "weight", 2)),
        ("loss.weight = 2.5", ("loss", "weight", 2.5)),
        ("loss.on=true", ("loss", "on", True)),
        ('loss.function="mse"', ("loss", "function", "mse")),
        ("loss.function=mse", ("loss", "function", "mse")),
        ("model.net.width=8", ("model.net", "width", 8)),
        ("loss.names=[1, 'a']", ("loss", "names", [1, "a"])),
        ("loss.names=a,b", ("loss", "names", "a,b")),
        ("loss.function=", ("loss", "function", "")),
        ("loss.function=a=b", ("loss", "function", "a=b")),
        ("loss.every=10min", ("loss", "every", "10min")),
        ("loss.seed=none", ("loss", "seed", "none")),
        ("loss.function=1 # comment", ("loss", "function", 1)),
    ],
)
def test_assignments_are_toml_or_text(text, expected):
    assert parse_assignment(text) == expected


@pytest.mark.parametrize("text", ["", "loss", "loss.weight", "weight=2", "=2", "5"])
def test_what_is_no_assignment(text):
    with pytest.raises(ConfigError, match=r"write section\.option=value"):
        parse_assignment(text)


@pytest.mark.parametrize("value", ["1\ny=2", "1\n[other]\nz=3", "1\nx.y=2", "\n1"])
def test_an_assignment_sets_one_option_only(value):
    """TOML that would say more than one thing is text, and no number takes text."""
    section, key, got = parse_assignment(f"loss.weight={value}")
    assert (section, key) == ("loss", "weight")
    assert isinstance(got, str)
    with pytest.raises(ConfigError, match=r"save\.keep: expected a whole number"):
        resolve(KERNEL_SECTIONS, [CommandLineSource("--set", assignments([f"save.keep={value}"]))])


def test_absurd_assignments_are_text_and_no_crash():
    assert isinstance(parse_assignment("loss.weight=" + "[" * 5000)[2], str)
    assert isinstance(parse_assignment("loss.weight=" + "9" * 5000)[2], str)


def test_assignments_gather_by_section_and_the_last_wins():
    lines = ["loss.weight=1", "model.net.width=3", "loss.weight=2", "loss.on=true"]
    assert assignments(lines) == {"loss": {"weight": 2, "on": True}, "model.net": {"width": 3}}


def test_nested_tables_are_sections_with_dots(tmp_path):
    file = tmp_path / "x.toml"
    file.write_text('top = 1\n[loss]\nweight = 2\n[model.net]\nwidth = 3\n[a.b.c]\nd = "e"\n')
    assert read_toml(file) == {
        "": {"top": 1},
        "loss": {"weight": 2},
        "model.net": {"width": 3},
        "a.b.c": {"d": "e"},
    }


@pytest.mark.parametrize(
    "text",
    [b"[loss", b"x = ", b"a = 1\na = 2", b"\xff\xfe", b"x = " + b"[" * 5000, b"x = " + b"9" * 5000],
)
def test_broken_toml_is_one_line_with_the_files_name(tmp_path, text):
    file = tmp_path / "x.toml"
    file.write_bytes(text)
    with pytest.raises(ConfigError, match=r"x\.toml") as caught:
        read_toml(file)
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize("name", ["missing.toml", "."])
def test_a_toml_file_that_cannot_be_read(tmp_path, name):
    with pytest.raises(ConfigError, match="cannot read"):
        read_toml(tmp_path / name)


def test_toml_with_a_byte_order_mark(tmp_path):
    file = tmp_path / "x.toml"
    file.write_bytes(b"\xef\xbb\xbf[loss]\nweight = 2\n")
    assert read_toml(file) == {"loss": {"weight": 2}}


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        (0, 0),
        (1500, 1500),
        ("20GB", 20 * 10**9),
        ("1.5 gib", 3 * 2**29),
        ("512MiB", 2**29),
        ("3k", 3000),
        ("7B", 7),
        ("2TB", 2 * 10**12),
    ],
)
def test_sizes(text, size):
    parsed = Size.parse(text)
    assert parsed.bytes == size
    assert Size.parse(str(parsed)) == parsed
    assert Size.parse(parsed) is parsed


@pytest.mark.parametrize(
    "text", ["", "GB", "-1GB", "1PB", "20iB", "1e9", True, None, "nan", "1 GB B"]
)
def test_what_is_no_size(text):
    with pytest.raises(ValueError, match="write a size"):
        Size.parse(text)
