"""Draw a preview as one picture.

For every side its face and what each decoder makes of it, a row per face; a sheet taller than wide
is cut into blocks side by side.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import attrs
import numpy as np
from fs_kernel.types import Preview, Side

from fs_addon_preview.cells import Cell, draw_cell
from fs_addon_preview.text import draw_text

MAX_WIDTH = 2400
MIN_CELL = 64
#: Small pictures are enlarged up to this width.
ENLARGED = 256
MARGIN = 12
GAP = 2
BLACK, GREY = (0, 0, 0), (110, 110, 110)
FOOTER = "fs-kernel preview - synthetic"


@attrs.frozen
class Style:
    """How a sheet is drawn.

    Attributes:
        images: most faces per side.
        mask_color: blue, green, red; of the tint and of the corner marks.
        mask_opacity: 0..1, strength of the tint outside the mask; 0 for none.
    """

    images: int = 14
    mask_color: tuple[int, int, int] = (0, 0, 255)
    mask_opacity: float = 0.3


@attrs.frozen
class Grid:
    """Where things are on a sheet, in pixels.

    Attributes:
        rows: faces in a block.
        blocks: blocks side by side.
        columns: ``(source, target)`` in a block; target None is the face itself.
        cell: ``(width, height)``.
    """

    rows: int
    blocks: int
    columns: tuple[tuple[Side, Side | None], ...]
    cell: tuple[int, int]

    @property
    def header(self) -> int:
        """Return the height of the strip with the columns' names."""
        return round(self.cell[0] / 4.5)

    def left(self, block: int, column: int) -> int:
        """Return the left edge of a column; sides and blocks stand a little apart."""
        sides = sum(target is None for _, target in self.columns[: column + 1]) - 1
        of_all = sum(target is None for _, target in self.columns)
        cells = block * len(self.columns) + column
        gaps = cells * GAP + (block * of_all + sides) * 2 * GAP + block * MARGIN
        return MARGIN + cells * self.cell[0] + gaps

    def top(self, row: int) -> int:
        """Return the upper edge of a row below the title and the header."""
        return 2 * self.header + row * (self.cell[1] + GAP)

    @property
    def size(self) -> tuple[int, int]:
        """Return width and height of the whole sheet; even, as video codecs need them."""
        width = self.left(self.blocks - 1, len(self.columns) - 1) + self.cell[0] + MARGIN
        height = self.top(self.rows) - GAP + self.header
        return width + width % 2, height + height % 2


def compose(
    preview: Preview,
    title: str,
    style: Style,
    below: Callable[[int], np.ndarray] | None = None,
) -> np.ndarray:
    """Draw a preview.

    Args:
        preview: with any number of sides, each with any number of faces.
        title: words at the top.
        style: how to draw.
        below: draws what stands between the faces and the last line, given the sheet's width.

    Returns:
        ``(height, width, 3)`` uint8 BGR.
    """
    grid = plan(preview, style.images)
    width, height = grid.size
    sheet = np.full((height, width, 3), 255, np.uint8)
    draw_text(sheet, title, (MARGIN, 0, width - MARGIN, grid.header), BLACK, "left")
    draw_text(sheet, FOOTER, (MARGIN, height - grid.header, width - MARGIN, height), GREY, "right")
    for block in range(grid.blocks):
        for column, pair in enumerate(grid.columns):
            left = grid.left(block, column)
            box = (left, grid.header, left + grid.cell[0], 2 * grid.header)
            draw_text(sheet, column_name(*pair), box, BLACK, "center")
            first = block * grid.rows
            cells = _cells(preview, pair, range(first, min(first + grid.rows, style.images)))
            for row, cell in enumerate(cells):
                picture = draw_cell(cell, grid.cell, style.mask_color, style.mask_opacity)
                top = grid.top(row)
                sheet[top : top + grid.cell[1], left : left + grid.cell[0]] = picture
    if below is None:
        return sheet
    faces, footer = np.split(sheet, [height - grid.header])
    return np.concatenate([faces, below(width), footer])


def plan(preview: Preview, images: int) -> Grid:
    """Return the grid of a sheet with at most ``images`` faces per side.

    A direction that the network cannot swap, between sides of different sizes say, has no column.
    """
    faces = preview.faces.faces
    columns = tuple(
        (side, target)
        for side in faces
        for target in (None, side, *(other for other in faces if other != side))
        if target is None or (side, target) in preview.swaps
    )
    count = max(1, min(images, max(len(pictures) for pictures in faces.values())))
    blocks = 1
    while math.ceil(count / blocks) > blocks * len(columns):
        blocks += 1
    shape = max((pictures.shape[1:3] for pictures in faces.values()), key=lambda hw: hw[1])
    return Grid(math.ceil(count / blocks), blocks, columns, cell_size(shape, blocks * len(columns)))


def cell_size(shape: tuple[int, int], columns: int) -> tuple[int, int]:
    """Return width and height of a cell for faces of ``(height, width)`` in N columns.

    Small faces are enlarged by a whole factor, large ones shrunk until the columns fit.
    """
    height, width = shape
    room = (MAX_WIDTH - 2 * MARGIN) // columns - 3 * GAP
    most = max(MIN_CELL, min(room, max(width, ENLARGED)))
    chosen = max(MIN_CELL, width * (most // width) if width <= most else most)
    return chosen, max(1, round(chosen * height / width))


def column_name(source: Side, target: Side | None) -> str:
    """Return ``"A"`` or ``"A > B"``."""
    return source.upper() if target is None else f"{source.upper()} > {target.upper()}"


def _cells(preview: Preview, pair: tuple[Side, Side | None], wanted: range) -> Iterator[Cell]:
    source, target = pair
    faces = preview.faces
    mask = faces.masks[source]
    swaps = None if target is None else preview.swaps[source, target]
    learned = None if target is None else preview.masks.get((source, target))
    for i in range(wanted.start, min(wanted.stop, len(faces.faces[source]))):
        left, top, right, bottom = (int(edge) for edge in faces.boxes[source][i])
        yield Cell(
            face=faces.faces[source][i],
            box=(left, top, right, bottom),
            mask=None if mask is None else mask[i],
            swap=None if swaps is None else swaps[i],
            learned=None if learned is None else learned[i],
        )
