"""The picture of the first batch: which columns, which colours, where."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fs_addon_preview.batch import (
    ALARM,
    FACES,
    MAX_CELL,
    SIDE_GAP,
    STRIP,
    draw_batch,
    overlay,
    side_columns,
    side_title,
)
from fs_addon_preview.compose import GAP, MARGIN, MAX_WIDTH
from fs_kernel.types import Batch, BatchMeta, Network, Output

BLUE, ORANGE = (200, 0, 0), (0, 100, 250)


def network(outputs, order="bgr"):
    sides = tuple(dict.fromkeys(output.side for output in outputs))
    return Network(None, outputs, sides=sides, color_order=order)


def faces(count, size, color):
    return (torch.tensor(color) / 255).expand(count, size, size, 3)


def masks(count, size, *names):
    """Face: the left half; eye: the upper quarter; mouth: the lower quarter."""
    shapes = {name: torch.zeros(count, size, size, 1) for name in names}
    places = {"face": np.s_[:, :, : size // 2], "eye": np.s_[:, : size // 4]}
    for name, mask in shapes.items():
        mask[places.get(name, np.s_[:, -size // 4 :])] = 1
    return {name: {size: mask} for name, mask in shapes.items()}


def make(sides="ab", count=4, size=64, names=("face", "eye", "mouth"), targets=(64,), learnt=False):
    outputs, given = [], {}
    for side in sides:
        outputs += [Output(side, "face", t) for t in targets]
        given[side] = [faces(count, t, ORANGE) for t in targets]
        if learnt:
            outputs.append(Output(side, "mask", targets[-1]))
            given[side].append(masks(count, targets[-1], "face")["face"][targets[-1]])
    inputs = {side: faces(count, size, BLUE) for side in sides}
    of_side = {side: masks(count, max(targets), *names) for side in sides}
    return Batch(1, inputs, given, BatchMeta({}, of_side)), network(outputs)


def names_of(batch, network, side="a"):
    return [column.name for column in side_columns(batch, network, side)]


def cells_of(picture, batch, network):
    """The cells of the first row, per side, as arrays."""
    columns = {side: side_columns(batch, network, side) for side in network.sides}
    count = sum(map(len, columns.values()))
    between = SIDE_GAP * (len(columns) - 1)
    cell = (picture.shape[1] - 2 * MARGIN - between) // count - GAP
    found, x = {}, MARGIN
    for side, of_side in columns.items():
        found[side] = []
        for _ in of_side:
            found[side].append(picture[3 * STRIP : 3 * STRIP + cell, x : x + cell])
            x += cell + GAP
        x += SIDE_GAP
    return found


def color_at(cell, x, y):
    return tuple(int(v) for v in cell[int(y * cell.shape[0]), int(x * cell.shape[1])])


def test_all_that_is_trained_on_has_a_column():
    batch, net = make(targets=(64, 128), size=64)
    names = ["input 64", "target at 64", "target 128", "face mask", "eyes", "mouth", "overlay"]
    assert names_of(batch, net) == names
    assert side_title(batch, net, "a") == "A: 4 faces, input 64 px, target 64, 128 px"


def test_a_target_of_the_inputs_size_is_shown_once():
    assert names_of(*make()) == ["input 64", "target 64", "face mask", "eyes", "mouth", "overlay"]


def test_without_masks_there_are_no_mask_columns():
    batch, net = make(names=())
    assert names_of(batch, net) == ["input 64", "target 64"]
    cells = cells_of(draw_batch(batch, net, "t"), batch, net)
    assert [color_at(cell, 0.5, 0.5) for cell in cells["b"]] == [BLUE, ORANGE]


def test_a_learnt_mask_is_shown_where_nothing_else_asks_for_the_face_mask():
    batch, net = make(names=(), learnt=True)
    assert names_of(batch, net) == ["input 64", "target 64", "face mask", "overlay"]
    batch, net = make(names=("face", "mouth"), learnt=True)
    assert names_of(batch, net).count("face mask") == 1


def test_an_output_without_target_and_an_odd_mask_are_taken_as_they_are():
    batch, net = make(names=("hair",))
    net.outputs = [*net.outputs, Output("a", "aux", 0)]
    batch.targets["a"].append(None)
    assert names_of(batch, net) == ["input 64", "target 64", "hair", "overlay"]


def test_every_cell_shows_its_picture():
    batch, net = make()
    cells = cells_of(draw_batch(batch, net, "title"), batch, net)
    for given, target, face, eye, mouth, over in cells.values():
        assert color_at(given, 0.5, 0.5) == BLUE
        assert color_at(target, 0.5, 0.5) == ORANGE
        assert [color_at(face, x, 0.5) for x in (0.2, 0.8)] == [(255,) * 3, (0,) * 3]
        assert [color_at(eye, 0.5, y) for y in (0.1, 0.5)] == [(255,) * 3, (0,) * 3]
        assert [color_at(mouth, 0.5, y) for y in (0.5, 0.9)] == [(0,) * 3, (255,) * 3]
        assert color_at(over, 0.2, 0.5) == ORANGE
        assert color_at(over, 0.8, 0.5) == (0, 50, 252)
        assert len({color_at(over, 0.2, y) for y in (0.1, 0.5, 0.9)}) == 3


def test_a_network_in_rgb_is_drawn_in_its_true_colours():
    batch, net = make()
    net.color_order = "rgb"
    cells = cells_of(draw_batch(batch, net, "t"), batch, net)
    assert color_at(cells["a"][0], 0.5, 0.5) == BLUE[::-1]
    assert color_at(cells["a"][1], 0.5, 0.5) == ORANGE[::-1]


@pytest.mark.parametrize(("value", "marked"), [(0.0, True), (1.0, True), (None, False)])
def test_a_mask_with_nothing_or_everything_in_it_is_framed(value, marked):
    batch, net = make(names=("face",))
    if value is not None:
        batch.meta.masks["a"]["face"][64][:] = value
    cells = cells_of(draw_batch(batch, net, "t"), batch, net)
    assert (color_at(cells["a"][2], 0, 0.5) == ALARM) is marked


def test_one_face_has_one_row_and_no_mean():
    one, net = make(count=1)
    four, _ = make(count=4)
    cell = cells_of(draw_batch(one, net, "t"), one, net)["a"][0].shape[0]
    assert draw_batch(one, net, "t").shape[0] == 4 * STRIP + cell + GAP
    assert draw_batch(four, net, "t").shape[0] == 5 * STRIP + 5 * (cell + GAP)
    assert side_title(one, net, "a") == "A: 1 face, input 64 px, target 64 px"


def test_a_large_batch_shows_a_few_and_the_mean_of_all():
    batch, net = make(count=40)
    batch.targets["a"][0] = torch.cat([faces(20, 64, (0, 0, 0)), faces(20, 64, (200, 200, 200))])
    picture = draw_batch(batch, net, "t")
    cell = cells_of(picture, batch, net)["a"][0].shape[0]
    assert picture.shape[0] == 5 * STRIP + (FACES + 1) * (cell + GAP)
    mean = picture[-STRIP - cell // 2, MARGIN + cell + GAP + cell // 2]
    assert tuple(int(v) for v in mean) == (100, 100, 100)


@pytest.mark.parametrize("sides", ["a", "ab", "abc", "abcdef"])
def test_any_number_of_sides_fits(sides):
    batch, net = make(sides, targets=(32, 128), size=64)
    picture = draw_batch(batch, net, "t")
    assert picture.shape[1] <= max(MAX_WIDTH, len(sides) * 7 * (64 + GAP) + 1000)
    assert len(cells_of(picture, batch, net)) == len(sides)


def test_cells_of_small_pictures_are_enlarged_but_not_without_bound():
    batch, net = make("a", names=())
    assert cells_of(draw_batch(batch, net, "t"), batch, net)["a"][0].shape[:2] == (
        MAX_CELL,
        MAX_CELL,
    )


def test_inputs_that_are_not_square_keep_their_proportions():
    batch, net = make("a", names=())
    batch.inputs["a"] = torch.zeros(4, 32, 64, 3)
    cell = cells_of(draw_batch(batch, net, "t"), batch, net)["a"][0]
    black = np.nonzero((cell == 0).all(axis=2))
    assert np.ptp(black[1]) + 1 == 2 * (np.ptp(black[0]) + 1)
    assert side_title(batch, net, "a") == "A: 4 faces, input 64 x 32 px, target 64 px"


def test_the_overlay_of_soft_masks_is_soft():
    picture = np.full((4, 4, 3), 100, np.uint8)
    mask = np.full((4, 4), 128, np.uint8)
    assert 100 < overlay(picture, {"face": mask})[0, 0, 2] < 177
    np.testing.assert_array_equal(overlay(picture, {}), picture)


def test_the_batch_is_left_as_it_was():
    batch, net = make()
    before = batch.inputs["a"].clone(), batch.meta.masks["a"]["face"][64].clone()
    draw_batch(batch, net, "t")
    assert torch.equal(batch.inputs["a"], before[0])
    assert torch.equal(batch.meta.masks["a"]["face"][64], before[1])
