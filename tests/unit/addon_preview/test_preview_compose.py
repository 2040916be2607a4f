"""Where everything is on a sheet, pixel by pixel."""

from __future__ import annotations

import attrs
import cv2
import numpy as np
import pytest
from fs_addon_preview.cells import Cell, draw_cell, resized
from fs_addon_preview.compose import MARGIN, MAX_WIDTH, Style, cell_size, compose, plan
from fs_addon_preview.text import draw_text

NO_TINT = Style(mask_opacity=0.0)
RED = (0, 0, 255)


def face_color(preview, side, index):
    return tuple(int(v) for v in preview.faces.faces[side][index][0, 0])


def swap_color(preview, source, target, index):
    return tuple(int(v) for v in preview.swaps[source, target][index][0, 0])


def middle_of(sheet, grid, block, column, row):
    y = grid.top(row) + grid.cell[1] // 2
    x = grid.left(block, column) + grid.cell[0] // 2
    return tuple(int(v) for v in sheet[y, x])


def test_two_sides_fourteen_faces_make_twelve_columns_and_seven_rows(make_preview):
    preview = make_preview("ab", 14)
    grid = plan(preview, 14)
    assert (grid.blocks, len(grid.columns), grid.rows) == (2, 6, 7)
    expected = [("a", None), ("a", "a"), ("a", "b"), ("b", None), ("b", "b"), ("b", "a")]
    assert list(grid.columns) == expected
    sheet = compose(preview, "t", NO_TINT)
    for block in range(2):
        for row in range(7):
            i = 7 * block + row
            for column, (source, target) in enumerate(expected):
                color = (
                    swap_color(preview, source, target, i)
                    if target
                    else face_color(preview, source, i)
                )
                assert middle_of(sheet, grid, block, column, row) == color


def test_a_direction_that_cannot_be_swapped_has_no_column(make_preview):
    full = make_preview("ab", 4)
    own = {pair: found for pair, found in full.swaps.items() if pair[0] == pair[1]}
    preview = attrs.evolve(full, swaps=own)
    grid = plan(preview, 4)
    assert list(grid.columns) == [("a", None), ("a", "a"), ("b", None), ("b", "b")]
    sheet = compose(preview, "t", NO_TINT)
    for row in range(grid.rows):
        assert middle_of(sheet, grid, 0, 1, row) == swap_color(preview, "a", "a", row)
        assert middle_of(sheet, grid, 0, 3, row) == swap_color(preview, "b", "b", row)
    assert plan(attrs.evolve(full, swaps={}), 4).columns == (("a", None), ("b", None))


@pytest.mark.parametrize(
    ("sides", "count", "blocks", "columns", "rows"),
    [
        ("a", 1, 1, 2, 1),
        ("a", 14, 3, 2, 5),
        ("ab", 1, 1, 6, 1),
        ("ab", 6, 1, 6, 6),
        ("ab", 8, 2, 6, 4),
        ("ab", 16, 2, 6, 8),
        ("abc", 4, 1, 12, 4),
        ("abc", 14, 2, 12, 7),
    ],
)
def test_grid_is_never_taller_than_wide(make_preview, sides, count, blocks, columns, rows):
    preview = make_preview(sides, count)
    grid = plan(preview, 16)
    assert (grid.blocks, len(grid.columns), grid.rows) == (blocks, columns, rows)
    assert compose(preview, "t", Style(images=16)).shape == (*grid.size[::-1], 3)


def test_no_more_faces_are_drawn_than_wanted(make_preview):
    preview = make_preview("ab", 14)
    assert plan(preview, 4).rows == 4
    sheet = compose(preview, "t", Style(images=8, mask_opacity=0.0))
    grid = plan(preview, 8)
    assert (grid.blocks, grid.rows) == (2, 4)
    assert middle_of(sheet, grid, 1, 0, 3) == face_color(preview, "a", 7)


def test_uneven_blocks_end_with_white_cells(make_preview):
    preview = make_preview("a", 20)
    grid = plan(preview, 14)
    assert (grid.blocks, grid.rows) == (3, 5)
    sheet = compose(preview, "t", NO_TINT)
    assert middle_of(sheet, grid, 2, 0, 3) == face_color(preview, "a", 13)
    assert middle_of(sheet, grid, 2, 0, 4) == (255, 255, 255)


def test_a_side_with_fewer_faces_leaves_white_cells(make_preview):
    preview = make_preview("ab", {"a": 3, "b": 1})
    grid = plan(preview, 14)
    sheet = compose(preview, "t", NO_TINT)
    assert middle_of(sheet, grid, 0, 2, 2) == swap_color(preview, "a", "b", 2)
    assert middle_of(sheet, grid, 0, 3, 0) == face_color(preview, "b", 0)
    assert middle_of(sheet, grid, 0, 3, 1) == (255, 255, 255)
    assert middle_of(sheet, grid, 0, 5, 2) == (255, 255, 255)


@pytest.mark.parametrize("width", [48, 64, 100, 128, 200, 256, 512, 1024])
@pytest.mark.parametrize("columns", [2, 6, 12, 24])
def test_cell_width(width, columns):
    cell, height = cell_size((width, width), columns)
    assert cell == height
    assert cell >= 64
    assert cell * columns <= MAX_WIDTH
    if width <= cell and cell > 64:
        assert cell % width == 0


def test_cells_stay_large_enough_even_with_very_many_columns():
    assert cell_size((256, 256), 90)[0] == 64


@pytest.mark.parametrize("size", [64, 256, 512])
def test_sheet_is_at_most_as_wide_as_promised(make_preview, size):
    sheet = compose(make_preview("ab", 14, (size, size)), "t", NO_TINT)
    assert sheet.shape[1] <= MAX_WIDTH
    assert sheet.shape[1] > 0.8 * MAX_WIDTH


def test_margins_stay_white_and_words_are_there(make_preview):
    sheet = compose(make_preview("ab", 2), "a model with quite a long name " * 20, NO_TINT)
    header = plan(make_preview("ab", 2), 14).header
    assert (sheet[:, : MARGIN - 1] == 255).all()
    assert (sheet[:, -MARGIN + 1 :] == 255).all()
    for strip in (sheet[:header], sheet[header : 2 * header], sheet[-header:]):
        assert strip.min() < 128
        assert (strip[0] == 255).all()


def test_column_names_are_over_their_columns(make_preview):
    preview = make_preview("ab", 1)
    grid = plan(preview, 14)
    sheet = compose(preview, "t", NO_TINT)
    for column in range(6):
        left = grid.left(0, column)
        ink = np.nonzero(sheet[grid.header : 2 * grid.header, left : left + grid.cell[0]] < 128)[1]
        assert abs((ink.min() + ink.max()) / 2 - grid.cell[0] / 2) <= 4


def test_pictures_of_other_shapes_are_not_distorted(make_preview):
    preview = make_preview("a", 1, (60, 120))
    grid = plan(preview, 14)
    assert grid.cell[0] == 2 * grid.cell[1]

    tall = np.zeros((100, 50, 3), np.uint8)
    drawn = draw_cell(Cell(tall, (0, 0, 50, 100)), (80, 80), RED, 0.0)
    black = np.nonzero((drawn == 0).all(axis=2))
    assert (np.ptp(black[0]) + 1, np.ptp(black[1]) + 1) == (80, 40)
    assert black[1].min() == 20


def test_the_result_is_pasted_into_its_box_and_the_corners_are_marked():
    face = np.full((64, 64, 3), 50, np.uint8)
    swap = np.full((32, 32, 3), 150, np.uint8)
    drawn = draw_cell(Cell(face, (16, 8, 48, 40), swap=swap), (128, 128), RED, 0.0)
    inside = drawn[16:80, 32:96]
    assert (inside[8:-8, 8:-8] == 150).all()
    outside = drawn.copy()
    outside[16:80, 32:96] = 50
    assert (outside == 50).all()
    for y in (16, 79):
        for x in (32, 95):
            assert tuple(drawn[y, x]) == RED
    assert tuple(drawn[16, 32 + 15]) == RED
    assert tuple(drawn[16, 32 + 32]) == (150, 150, 150)
    assert tuple(drawn[16 + 32, 32]) == (150, 150, 150)


def test_no_marks_where_the_network_sees_everything():
    face = np.full((64, 64, 3), 50, np.uint8)
    drawn = draw_cell(Cell(face, (0, 0, 64, 64)), (128, 128), RED, 1.0)
    assert (drawn == 50).all()


class TestTint:
    face = np.full((64, 64, 3), 100, np.uint8)
    mask = np.zeros((64, 64), np.uint8)
    mask[:, :32] = 255
    everything = (0, 0, 64, 64)

    def test_only_outside_the_mask(self):
        drawn = draw_cell(Cell(self.face, self.everything, self.mask), (64, 64), RED, 0.3)
        assert (drawn[:, :32] == 100).all()
        assert (drawn[:, 32:] == (70, 70, 146)).all()

    def test_half_a_mask_is_half_a_tint(self):
        mask = np.full((64, 64), 51, np.uint8)
        drawn = draw_cell(Cell(self.face, self.everything, mask), (64, 64), RED, 0.5)
        assert (drawn == (60, 60, 162)).all()

    def test_none_at_opacity_zero_and_all_at_one(self):
        cell = Cell(self.face, self.everything, self.mask)
        assert (draw_cell(cell, (64, 64), RED, 0.0) == 100).all()
        assert (draw_cell(cell, (64, 64), RED, 1.0)[:, 32:] == RED).all()

    def test_a_learnt_mask_counts_in_the_box_and_nothing_is_face_outside(self):
        cell = Cell(
            self.face,
            (16, 16, 48, 48),
            np.full((64, 64), 255, np.uint8),
            np.full((8, 8, 3), 200, np.uint8),
            np.full((8, 8), 255, np.uint8),
        )
        drawn = draw_cell(cell, (64, 64), (0, 255, 0), 1.0)
        assert tuple(drawn[32, 32]) == (200, 200, 200)
        assert tuple(drawn[4, 4]) == (0, 255, 0)

    def test_sheets_of_faces_with_and_without_masks(self, make_preview):
        style = Style(mask_opacity=1.0)
        nothing = np.zeros((64, 64), np.uint8)
        for preview, tinted in (
            (make_preview("ab", 2), False),
            (make_preview("ab", 2, mask=nothing), True),
            (make_preview("ab", 2, mask=nothing, learnt=nothing + 255), False),
        ):
            sheet = compose(preview, "t", style)
            color = RED if tinted else swap_color(preview, "a", "b", 1)
            assert middle_of(sheet, plan(preview, 14), 0, 2, 1) == color


def test_the_preview_itself_is_left_as_it_was(make_preview):
    preview = make_preview(
        "ab", 2, (128, 128), box=(8, 8, 120, 120), mask=np.zeros((128, 128), "u1")
    )
    before = preview.faces.faces["a"].copy(), preview.swaps["a", "b"].copy()
    for array in (*preview.faces.faces.values(), *preview.swaps.values()):
        array.setflags(write=False)
    compose(preview, "t", Style())
    np.testing.assert_array_equal(preview.faces.faces["a"], before[0])
    np.testing.assert_array_equal(preview.swaps["a", "b"], before[1])


def test_resizing_returns_a_copy_even_at_the_same_size():
    picture = np.full((8, 8, 3), 9, np.uint8)
    resized(picture, (8, 8))[:] = 0
    assert (picture == 9).all()


@pytest.mark.parametrize("align", ["left", "center", "right"])
def test_words_stay_in_their_box(align):
    picture = np.full((60, 300, 3), 255, np.uint8)
    draw_text(picture, "B > A and much more than fits", (100, 20, 200, 44), (0, 0, 0), align)
    ink = np.nonzero((picture < 200).any(axis=2))
    assert ink[0].min() >= 20
    assert ink[0].max() < 44
    assert ink[1].min() >= 100
    assert ink[1].max() < 200


def test_a_circle_stays_a_circle(make_preview):
    face = np.zeros((256, 256, 3), np.uint8)
    cv2.circle(face, (128, 128), 100, (255, 255, 255), -1)
    ys, xs = np.nonzero(draw_cell(Cell(face, (0, 0, 256, 256)), (192, 192), RED, 0.0)[..., 0] > 127)
    assert abs(np.ptp(ys) - np.ptp(xs)) <= 1
    assert np.ptp(xs) == pytest.approx(150, abs=2)
