"""The loss plot: where its lines are."""

from __future__ import annotations

import numpy as np
import pytest
from fs_addon_preview.plot import COLORS, Axis, draw_losses, loss_axis, smoothed


def curve(values):
    return np.arange(1, len(values) + 1, dtype=float), np.asarray(values, float)


def rows_of(picture, color):
    """Column by column, the mean row of pixels of this colour (nan where there are none)."""
    mask = (picture == np.array(color)).all(axis=2)
    rows = np.arange(picture.shape[0])[:, None]
    with np.errstate(invalid="ignore"):
        return (mask * rows).sum(axis=0) / mask.sum(axis=0)


def body(picture):
    """Without the strip of the legend."""
    return picture[picture.shape[0] // 8 + 4 :]


@pytest.mark.parametrize("width", [140, 400, 2376])
def test_a_falling_loss_falls_from_left_to_right_across_the_picture(width):
    picture = draw_losses({"a": curve(np.geomspace(1.0, 0.01, 300))}, width)
    rows = rows_of(body(picture), COLORS[0])
    drawn = np.nonzero(~np.isnan(rows))[0]
    assert picture.shape[1] == width
    assert np.ptp(drawn) > 0.4 * width
    assert (np.diff(rows[drawn][3:-3]) >= -0.5).all()


def test_the_higher_loss_is_drawn_above_the_lower_one():
    picture = body(draw_losses({"a": curve([0.1] * 50), "b": curve([0.4] * 50)}, 600))
    a, b = np.nanmean(rows_of(picture, COLORS[0])), np.nanmean(rows_of(picture, COLORS[1]))
    assert b < a - 30


@pytest.mark.parametrize(
    "values",
    [[0.0, 0.0], [1.0, 1.0], [-1.0, 2.0], [1e-12, 1e12], [1e30, 1e30], [0.5, 0.4999999]],
)
def test_odd_losses_can_be_drawn(values):
    picture = draw_losses({"a": curve(values)}, 400)
    assert (picture == np.array(COLORS[0])).all(axis=2).any()


def test_positive_losses_lie_on_a_logarithmic_axis():
    axis = loss_axis(np.array([0.01, 0.1, 1.0]))
    low, middle, high = axis.place(np.array([0.01, 0.1, 1.0]))
    assert axis.logarithmic
    assert middle == pytest.approx((low + high) / 2)
    assert not loss_axis(np.array([-0.1, 1.0])).logarithmic


def test_a_rare_extreme_does_not_flatten_the_rest():
    losses = np.full(1000, 0.1)
    losses[0] = 1e6
    assert loss_axis(losses).high < 2.0
    losses[0] = 0.5
    assert loss_axis(losses).high > 0.5


@pytest.mark.parametrize(
    ("axis", "most", "ticks"),
    [
        (Axis(0.0, 100.0, False), 6, [0, 20, 40, 60, 80, 100]),
        (Axis(1.0, 12.0, False), 6, [2, 4, 6, 8, 10, 12]),
        (Axis(1.0, 400_000.0, False), 9, [50_000 * i for i in range(1, 9)]),
        (Axis(0.02, 1.0, True), 6, [0.02, 0.05, 0.1, 0.2, 0.5, 1.0]),
        (Axis(0.001, 1000.0, True), 7, [10.0**e for e in range(-3, 4)]),
        (Axis(0.25, 0.45, True), 6, [0.25, 0.3, 0.35, 0.4, 0.45]),
    ],
)
def test_ticks_are_round_and_few(axis, most, ticks):
    assert axis.ticks(most) == pytest.approx(ticks)


def test_after_few_steps_each_is_named_once(monkeypatch):
    words = []
    monkeypatch.setattr("fs_addon_preview.plot.draw_text", lambda _, word, *__: words.append(word))
    draw_losses({"a": curve([0.5, 0.4])}, 2376)
    assert [word for word in words if word.isdecimal()] == ["1", "2"]


def test_smoothing_keeps_a_straight_line_and_calms_noise():
    line = np.linspace(3.0, 1.0, 200)
    np.testing.assert_allclose(smoothed(line)[4:-4], line[4:-4])
    noise = np.random.default_rng(0).normal(size=(50, 400))
    assert np.std([smoothed(row) for row in noise], axis=0).max() < 0.5, "at the ends too"
    np.testing.assert_array_equal(smoothed(np.array([1.0, 5.0])), [1.0, 5.0])


def test_more_sides_than_colours_and_hardly_any_width():
    curves = {side: curve([0.1 * (i + 1)] * 4) for i, side in enumerate("abcdef")}
    assert draw_losses(curves, 140).shape[1] == 140
