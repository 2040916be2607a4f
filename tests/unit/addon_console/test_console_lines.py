"""The words and the pace behind them."""

from __future__ import annotations

import math

import attrs
import pytest
from fs_addon_console import lines
from fs_addon_console.pace import Pace
from fs_kernel.types import Finished, Saved


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (59.4, "59s"),
        (59.6, "1m00s"),
        (200, "3m20s"),
        (3600, "1h00m"),
        (3725, "1h02m"),
        (2 * 86400 + 3 * 3600, "2d03h"),
        (math.inf, "?"),
        (math.nan, "?"),
    ],
)
def test_duration(seconds, text):
    assert lines.duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.0000"),
        (0.12345, "0.1235"),
        (0.0000123, "1.23e-05"),
        (123456.0, "1.23e+05"),
        (math.nan, "nan"),
        (math.inf, "inf"),
    ],
)
def test_number(value, text):
    assert lines.number(value) == text


def test_progress_line(make_metrics):
    line = lines.progress(make_metrics(1200), 10_000, 3725)
    assert line == "step 1200/10000  loss a 0.1234 b 0.1567  31.2 img/s  eta 1h02m"


def test_start_lines_say_what_is_trained(make_info):
    text = "\n".join(lines.start(make_info()))
    for fact in ("original", "69,662,656", "a 150, b 1500", "cpu", "models/[one] person"):
        assert fact in text.replace("\\", "/")
    assert "resumed" not in text


def test_start_lines_say_what_disk_the_checkpoints_will_take_if_it_is_known(make_info):
    text = "\n".join(lines.start(make_info(disk_bytes=2_512_000_000)))
    assert "; checkpoints will take up to 2.51 GB" in text
    assert "checkpoints" not in "\n".join(lines.start(make_info()))


def test_start_lines_of_a_resumed_run(make_info):
    text = lines.start(make_info(start_step=4000, session=3))[-1]
    assert text == "resumed: steps 4000 to 10000, session 3"


@pytest.mark.parametrize(
    ("reason", "start"),
    [("target", "done"), ("stopped", "stopped on request"), ("time", "stopped, the time is up")],
)
def test_finish_says_why_where_and_when(reason, start):
    line = lines.finish(Finished(reason, 1234, 200.0), 10_000)
    assert line == f"{start} at step 1234 of 10000 after 3m20s"


def test_finish_leaves_the_error_to_the_command_line():
    line = lines.finish(Finished("failed", 12, 3.0, "loss is not a number"), 100)
    assert line == "failed at step 12 of 100 after 3s"


def test_saved_with_and_without_an_average():
    assert lines.saved(Saved(5, "g1", 1000, 0.25, 0.01, None)) == "saved step 5: 1 kB in 0.2 s"
    assert lines.saved(Saved(5, "g1", 1000, 0.25, 0.01, 0.5)).endswith("average loss 0.5000")


def test_a_snapshot_is_called_one():
    line = lines.saved(Saved(5, "g1", 1000, 0.25, 0.01, None, snapshot=True))
    assert line == "saved snapshot of step 5: 1 kB in 0.2 s"


class TestValues:
    def test_the_newest_of_each_stays_although_it_is_reported_seldom(self, make_metrics):
        values = lines.Values()
        values.update(attrs.evolve(make_metrics(1), values={"psnr": 30.0}))
        values.update(make_metrics(2))
        assert values.words() == ["psnr 30.0000"]
        values.update(attrs.evolve(make_metrics(3), values={"psnr": 31.5}))
        assert values.words() == ["psnr 31.5000"]

    def test_many_are_no_flood(self, make_metrics):
        values = lines.Values()
        values.update(attrs.evolve(make_metrics(1), values={f"v{i}": 1.0 for i in range(20)}))
        assert values.words() == ["v0 1.0000", "v1 1.0000", "v2 1.0000"]


class TestPace:
    def test_before_any_report_nothing_is_known(self):
        assert Pace().remaining(100, 0.0) == math.inf

    def test_first_report_lends_its_median(self, make_metrics):
        pace = Pace()
        pace.update(make_metrics(1, step_seconds=0.5), 100.0)
        assert pace.remaining(101, 100.0) == pytest.approx(50.0)

    def test_later_the_wall_clock_counts_not_the_median(self, make_metrics):
        pace = Pace()
        for step, now in ((1, 30.0), (11, 80.0), (21, 130.0)):
            pace.update(make_metrics(step, step_seconds=0.1), now)
        assert pace.remaining(31, 130.0) == pytest.approx(50.0)

    def test_it_follows_a_change_of_speed_but_smoothly(self, make_metrics):
        pace, now = Pace(), 0.0
        pace.update(make_metrics(0), now)
        for step in range(1, 601):
            now += 1.0
            pace.update(make_metrics(step), now)
        pace.update(make_metrics(601), now + 10.0)
        assert 1.0 < pace.remaining(602, now + 10.0) < 1.2
        for step in range(602, 702):
            now += 10.0
            pace.update(make_metrics(step), now)
        assert pace.remaining(702, now) == pytest.approx(10.0, rel=0.01)

    def test_counts_down_between_reports_and_never_below_zero(self, make_metrics):
        pace = Pace()
        pace.update(make_metrics(10, step_seconds=5.0), 0.0)
        assert pace.remaining(12, 4.0) == pytest.approx(6.0)
        assert pace.remaining(12, 400.0) == 0.0

    def test_a_resumed_run_is_timed_from_its_own_steps(self, make_metrics):
        pace = Pace()
        pace.update(make_metrics(5001), 2.0)
        pace.update(make_metrics(5011), 12.0)
        assert pace.remaining(5021, 12.0) == pytest.approx(10.0)
