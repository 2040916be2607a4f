"""Draw the first batch: inputs, targets and masks.

It shows a wrong mask, centering or side before a night of training is lost to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import cv2
import numpy as np
from fs_kernel.types import Batch, Network, Side

from fs_addon_preview.cells import resized, tinted
from fs_addon_preview.compose import BLACK, GAP, GREY, MARGIN, MAX_WIDTH, MIN_CELL
from fs_addon_preview.text import draw_text

#: Faces shown one by one, per side.
FACES = 6
MAX_CELL = 208
STRIP = 30
#: Colors of the overlay as blue, green, red.
RED, GREEN, YELLOW = (0, 0, 255), (60, 200, 0), (0, 220, 255)
ALARM = (0, 0, 220)
WORDS = {"face": "face mask", "eye": "eyes", "mouth": "mouth"}
SIDE_GAP = 40
LEGEND = "input: what the network is given; target: what it should give"
MASK_LEGEND = "; overlay: red is outside the face mask, green is eyes, yellow is mouth"


@attrs.frozen(eq=False)
class Column:
    """One kind of picture of every face of a side.

    Attributes:
        name: its words.
        pictures: ``(n, h, w, 3)`` uint8 BGR, or ``(n, h, w)`` uint8 for a mask.
    """

    name: str
    pictures: np.ndarray

    @property
    def is_mask(self) -> bool:
        return self.pictures.ndim == 3


def draw_batch(batch: Batch, network: Network, title: str) -> np.ndarray:
    """Draw a batch.

    Args:
        batch: on the CPU; with or without masks.
        network: says what the targets are, and the order of the colors.
        title: words at the top.

    Returns:
        ``(height, width, 3)`` uint8 BGR: a block of columns per side, a row per face, and a last
        row with the mean of all faces, where a wrong centering shows best.
    """
    blocks = {side: side_columns(batch, network, side) for side in network.sides}
    faces = max(len(columns[0].pictures) for columns in blocks.values())
    shown = min(faces, FACES)
    rows = shown + (faces > 1)
    count = sum(map(len, blocks.values()))
    between = SIDE_GAP * (len(blocks) - 1)
    cell = max(MIN_CELL, min(MAX_CELL, (MAX_WIDTH - 2 * MARGIN - between) // count - GAP))
    width = 2 * MARGIN + between + count * (cell + GAP)
    top, mean_strip = 3 * STRIP, STRIP if faces > 1 else 0
    height = top + rows * (cell + GAP) + mean_strip + STRIP

    sheet = np.full((height, width, 3), 255, np.uint8)
    draw_text(sheet, title, (MARGIN, 0, width - MARGIN, STRIP), BLACK, "left")
    masked = any(column.is_mask for columns in blocks.values() for column in columns)
    words = LEGEND + (MASK_LEGEND if masked else "; no masks are used")
    draw_text(sheet, words, (MARGIN, height - STRIP, width - MARGIN, height), GREY, "left")
    x = MARGIN
    for side, columns in blocks.items():
        right = x + len(columns) * (cell + GAP)
        words = side_title(batch, network, side)
        draw_text(sheet, words, (x, STRIP, right, 2 * STRIP), BLACK, "left")
        if faces > 1:
            y = top + shown * (cell + GAP)
            words = f"mean of all {len(columns[0].pictures)}"
            draw_text(sheet, words, (x, y, right, y + STRIP), GREY, "left")
        for column in columns:
            _draw_column(sheet, column, (x, top, cell), shown, faces > 1)
            x += cell + GAP
        x += SIDE_GAP
    return sheet


def _draw_column(
    sheet: np.ndarray, column: Column, place: tuple[int, int, int], shown: int, mean: bool
) -> None:
    x, top, cell = place
    name = column.name
    if column.is_mask:
        name += f" {100 * column.pictures.mean() / 255:.0f}%"
    draw_text(sheet, name, (x, top - STRIP, x + cell, top), BLACK, "center")
    pictures = list(column.pictures[:shown])
    for row, picture in enumerate(pictures):
        y = top + row * (cell + GAP)
        sheet[y : y + cell, x : x + cell] = fitted(picture, cell)
        if column.is_mask:
            _frame_mask(sheet[y : y + cell, x : x + cell], picture)
    if mean:
        y = top + shown * (cell + GAP) + STRIP
        average = np.rint(column.pictures.mean(axis=0)).astype(np.uint8)
        sheet[y : y + cell, x : x + cell] = fitted(average, cell)


def side_columns(batch: Batch, network: Network, side: Side) -> list[Column]:
    """Return the columns of a side, from the input to the masks.

    Args:
        batch: on the CPU.
        network: see `draw_batch`.
        side: which.
    """
    reverse = network.color_order == "rgb"
    given = _pictures(batch.inputs[side], reverse)
    columns = [Column(f"input {given.shape[1]}", given)]
    targets = _targets(batch, network, side, "face")
    if not targets:
        return columns
    size = max(targets)
    target = _pictures(targets[size], reverse)
    if size != given.shape[1]:
        shrunk = np.stack([resized(p, given.shape[2:0:-1]) for p in target])
        columns.append(Column(f"target at {given.shape[1]}", shrunk))
    columns.append(Column(f"target {size}", target))
    masks = side_masks(batch, network, side)
    columns += [Column(WORDS.get(name, name), mask) for name, mask in masks.items()]
    if masks:
        drawn = [overlay(p, {n: m[i] for n, m in masks.items()}) for i, p in enumerate(target)]
        columns.append(Column("overlay", np.stack(drawn)))
    return columns


def side_masks(batch: Batch, network: Network, side: Side) -> dict[str, np.ndarray]:
    """Return the masks of a side by name at the largest size, ``(n, h, w)`` uint8 each.

    Where only a learned mask asks for the face mask, it is that output's target.
    """
    given = batch.meta.masks.get(side, {})
    largest = {name: of_size[max(of_size)] for name, of_size in given.items() if of_size}
    learned = _targets(batch, network, side, "mask")
    if "face" not in largest and learned:
        largest = {"face": learned[max(learned)], **largest}
    return {name: to_uint8(mask)[..., 0] for name, mask in largest.items()}


def side_title(batch: Batch, network: Network, side: Side) -> str:
    """Return ``"A: 16 faces, input 64 px, targets 64, 128 px"``."""
    height, width = batch.inputs[side].shape[1:3]
    sizes = sorted(_targets(batch, network, side, "face"))
    given = f"{width}" if width == height else f"{width} x {height}"
    count = len(batch.inputs[side])
    faces = "1 face" if count == 1 else f"{count} faces"
    words = f"{side.upper()}: {faces}, input {given} px"
    return f"{words}, target {', '.join(map(str, sizes))} px" if sizes else words


def overlay(picture: np.ndarray, masks: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return a target with its masks over it.

    Args:
        picture: ``(h, w, 3)`` uint8 BGR.
        masks: ``(h, w)`` uint8 by name.
    """
    if "face" in masks:
        picture = tinted(picture, masks["face"], RED, 0.5)
    for name, color in (("eye", GREEN), ("mouth", YELLOW)):
        if name in masks:
            picture = tinted(picture, 255 - masks[name], color, 0.4)
    return picture


def fitted(picture: np.ndarray, size: int) -> np.ndarray:
    """Return a picture or mask in a square of ``size`` on white, its proportions kept; BGR."""
    height, width = picture.shape[:2]
    scale = size / max(height, width)
    inner = (max(1, round(width * scale)), max(1, round(height * scale)))
    drawn = np.full((size, size, 3), 255, np.uint8)
    x, y = (size - inner[0]) // 2, (size - inner[1]) // 2
    found = resized(picture, inner)
    drawn[y : y + inner[1], x : x + inner[0]] = found if found.ndim == 3 else found[..., None]
    return drawn


def to_uint8(values: object) -> np.ndarray:
    """Return a float tensor of 0..1 as 0..255."""
    return np.rint(np.asarray(values, np.float32) * 255).clip(0, 255).astype(np.uint8)


def _frame_mask(cell: np.ndarray, mask: np.ndarray) -> None:
    """Frame a mask, and mark one that is empty or full, which is rarely intended."""
    edge = cell.shape[0]
    words = "EMPTY" if mask.max() < 128 else "EVERYTHING" if mask.min() >= 128 else ""
    cv2.rectangle(cell, (0, 0), (edge - 1, edge - 1), ALARM if words else GREY, 1)
    if words:
        draw_text(cell, words, (0, edge // 2 - 24, edge, edge // 2 + 24), ALARM, "center")


def _targets(batch: Batch, network: Network, side: Side, kind: str) -> dict[int, Any]:
    pairs = zip(network.outputs_of(side), batch.targets[side], strict=True)
    return {o.size: t for (_, o), t in pairs if o.kind == kind and t is not None}


def _pictures(tensor: object, reverse: bool) -> np.ndarray:
    pictures = to_uint8(tensor)
    return pictures[..., ::-1] if reverse else pictures
