"""What options of the feed do that no other test shows by itself."""

from __future__ import annotations

from collections import Counter

import attrs
import cv2
import pytest
import torch
from face_files import make_spec, plain_picture
from feed_batches import NO_DISK, PLAIN, batches, make_config
from fs_feed_faces import augment
from fs_feed_faces.augmentation_params import (
    AugmentationParams,
    color_tables,
    draw_numbers,
    most_tiles,
)
from fs_feed_faces.crops import Cropper
from fs_feed_faces.options import AugmentationOptions


@pytest.mark.parametrize("color_clahe_max_size", [1, 3, 8])
def test_local_contrast_uses_every_grid_up_to_the_finest(monkeypatch, color_clahe_max_size):
    grids = set()
    create = cv2.createCLAHE
    monkeypatch.setattr(
        cv2, "createCLAHE", lambda limit, grid: (grids.add(grid), create(limit, grid))[1]
    )
    options = AugmentationOptions(color_clahe_chance=75, color_clahe_max_size=color_clahe_max_size)
    picture = plain_picture(1, 256, 256)
    how = AugmentationParams.make(draw_numbers(1, 1, "a", range(150)), options, 256)
    for table, tiles in zip(color_tables(how.changes), how.tiles, strict=True):
        augment.vary_color(picture, table, tiles)
    assert max(how.tiles) == most_tiles(options, 256)
    # At 256 pixels the coarsest grid is 2 by 2, and each step is one finer.
    assert grids == {(2 + step, 2 + step) for step in range(color_clahe_max_size + 1)}


def test_color_switches_every_change_of_color(two_sides):
    colorful = AugmentationOptions(
        flip=False, warp=False, zoom_amount=0, rotation_range=0, shift_range=0
    )
    (still,) = batches(two_sides, make_spec(), make_config(augmentation=PLAIN), 1)
    for color, same in ((True, False), (False, True)):
        options = attrs.evolve(colorful, color=color)
        (batch,) = batches(two_sides, make_spec(), make_config(augmentation=options), 1)
        assert torch.equal(batch.inputs["a"], still.inputs["a"]) is same
        assert torch.equal(batch.targets["a"][0], batch.inputs["a"])


@pytest.mark.parametrize(("cache", "once"), [(64, True), (0, False)])
def test_cache_decides_whether_a_file_is_read_again(two_sides, monkeypatch, cache, once):
    reads = Counter()
    read = Cropper.read
    monkeypatch.setattr(
        Cropper, "read", lambda cropper, file: (reads.update([file.path]), read(cropper, file))[1]
    )
    # Twice as many faces as there are.
    batches(two_sides, make_spec(batch=10), make_config(cache=cache, disk=NO_DISK), 6)
    assert (max(reads.values()) == 1) is once
