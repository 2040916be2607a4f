"""Batches made in torch, as on a device, against those of the processor's path: equal numbers."""

from __future__ import annotations

import attrs
import cv2
import numpy as np
import pytest
import torch
from face_files import make_spec, plain_picture
from feed_batches import PLAIN, InOrder, batches, flat, make_config, same
from fs_feed_faces import augment, feed_factory, gpu_batches
from fs_feed_faces import gpu_ops as ops
from fs_feed_faces.augmentation_params import (
    AugmentationParams,
    borders,
    color_tables,
    draw_numbers,
    most_tiles,
    warps,
)
from fs_feed_faces.gpu_batches import GpuBatchMaker
from fs_feed_faces.options import AugmentationOptions, CacheOptions
from fs_kernel.errors import ConfigError

ON = CacheOptions(device="on")
COLOR = AugmentationOptions(flip=False, warp=False, zoom_amount=0, rotation_range=0, shift_range=0)
MOVES = AugmentationOptions(color=False, warp=False)
WARPS = AugmentationOptions(color=False)
ALL = AugmentationOptions()


def pictures(count: int, size: int) -> np.ndarray:
    return np.stack([plain_picture(i, size, size) for i in range(count)])


def as_tensor(array: np.ndarray) -> torch.Tensor:
    """``(n, h, h, c)`` uint8 as ``(n, c, h, h)`` float."""
    return torch.from_numpy(np.ascontiguousarray(array)).permute(0, 3, 1, 2).float()


def as_array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.permute(0, 2, 3, 1).numpy()


# --- the parts ---


def test_lab_is_opencv_s():
    """Of all colors in steps; lightness to the last bit."""
    steps = np.arange(0, 256, 15, dtype=np.uint8)
    colors = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(1, 18, -1, 3)
    lab = cv2.cvtColor(colors[0], cv2.COLOR_BGR2LAB)
    apart = np.abs(as_array(ops.to_lab(as_tensor(colors)))[0] - lab)
    assert apart[..., 0].max() == 0
    assert apart.max() <= 1
    assert apart.mean() < 0.001
    bgr = cv2.cvtColor(lab, cv2.COLOR_LAB2BGR).astype(float)
    back = np.abs(as_array(ops.from_lab(as_tensor(lab[None])))[0] - bgr)
    assert back.max() <= 2
    assert back.mean() < 0.1


@pytest.mark.parametrize("size", [64, 100, 129])
def test_contrast_is_evened_out_as_opencv_does(size):
    """Every number of tiles, also where the picture is not a multiple of them, in one call."""
    tiles = np.array([1, 2, 3, 4, 5, 6, 7, 10])
    gray = pictures(len(tiles), size)[..., 0]
    made = ops.equalize(torch.from_numpy(gray).float(), torch.from_numpy(tiles), 10).numpy()
    for image, count, seen in zip(gray, tiles.tolist(), made, strict=True):
        known = cv2.createCLAHE(2.0, (count, count)).apply(image)
        assert np.abs(known - seen).max() <= 1
        assert (known != seen).mean() < 0.01


@pytest.mark.parametrize("size", [64, 256])
def test_colors_are_varied_alike(size):
    images = pictures(12, size)
    how = AugmentationParams.make(draw_numbers(1, 1, "a", range(12)), ALL, size)
    made = ops.vary_color(
        as_tensor(images),
        torch.from_numpy(how.changes).float(),
        torch.from_numpy(how.tiles),
        most_tiles(ALL, size),
    )
    tables = color_tables(how.changes)
    for row, image in enumerate(images):
        known = augment.narrow(augment.vary_color(image, tables[row], how.tiles[row]))
        assert np.abs(as_array(made)[row] - known).mean() < 0.2


def test_areas_shrink_as_in_opencv():
    images = pictures(2, 96)
    for edge in (96, 48, 32, 40, 17):
        made = as_array(ops.shrink(as_tensor(images), edge))
        for image, seen in zip(images, made, strict=True):
            known = cv2.resize(image, (edge, edge), interpolation=cv2.INTER_AREA)
            assert np.abs(known - seen).max() <= 1.01


def test_a_warp_is_black_beyond_the_border_by_as_much():
    grids = warps(draw_numbers(1, 1, "a", range(20)), 64)
    at = ops.spread(torch.from_numpy(grids).float() - 0.5, 64)
    within = ops.inside(at, 64)[:, 0].numpy() * 255
    for row, shapes in enumerate(borders(grids, 64)):
        white = np.full((64, 64, 4), 255, np.uint8)
        augment.blacken(white, shapes)
        assert np.abs(white[..., 0] - within[row]).mean() < 4


# --- the feed ---


@pytest.mark.parametrize(
    ("augmentation", "near"),
    [(PLAIN, 0.3), (COLOR, 0.4), (MOVES, 0.4), (WARPS, 1.6), (ALL, 1.6)],
    ids=["still", "color", "moves", "warps", "all"],
)
@pytest.mark.parametrize("color", ["bgr", "rgb"])
def test_the_device_makes_the_processor_s_batches(two_sides, augmentation, near, color):
    """Inputs, targets and masks of several sizes differ by little, in values of 255."""
    spec = make_spec(48, 8, sizes=(32, 64), learn=True, color=color)
    host = batches(two_sides, spec, make_config(augmentation=augmentation), 2)
    on = batches(two_sides, spec, make_config(augmentation=augmentation, disk=ON), 2)
    for one, other in zip(host, on, strict=True):
        for known, seen in zip(flat(one), flat(other), strict=True):
            assert known.shape == seen.shape
            assert known.dtype == seen.dtype
            assert seen.is_contiguous()
            assert (known.double() - seen.double()).abs().mean() * 255 < near
        for side in "ab":
            bias = (one.inputs[side] - other.inputs[side]).mean().abs() * 255
            assert bias < near / 2


def test_a_device_feed_resumes_and_shares_batches_exactly(two_sides):
    config = make_config(disk=ON)
    whole = batches(two_sides, make_spec(batch=6), config, 5)
    assert all(map(same, whole[3:], batches(two_sides, make_spec(batch=6), config, 2, first=4)))
    part = batches(two_sides, make_spec(batch=6, local_indices=range(1, 6, 2)), config, 1)[0]
    torch.testing.assert_close(part.inputs["a"], whole[0].inputs["a"][1::2], atol=1e-5, rtol=0)


def test_options_change_while_a_device_feed_runs(two_sides):
    """To landmarks it is the processor that warps; afterwards the device goes on."""
    landmarks = AugmentationOptions(warp_to_landmarks=True)
    feed = feed_factory.open_feed(two_sides, make_spec(), make_config(disk=ON))
    sampler = InOrder(feed.sizes, 4)
    feed.start(sampler, 1)
    first = feed.next()
    feed.on_options_changed(make_config(augmentation=landmarks, disk=ON))
    feed.start(sampler, 2)
    second = feed.next()
    feed.on_options_changed(make_config(disk=ON))
    feed.start(sampler, 3)
    third = feed.next()
    feed.close()
    known = batches(two_sides, make_spec(), make_config(disk=ON), 3)
    assert same(first, known[0])
    assert same(third, known[2])
    host = make_config(augmentation=landmarks)
    assert same(second, batches(two_sides, make_spec(), host, 1, first=2)[0])


def made_by(two_sides, disk: CacheOptions, on: str) -> type:
    spec = attrs.evolve(make_spec(), device=on)
    feed = feed_factory.open_feed(two_sides, spec, make_config(disk=disk))
    feed.start(InOrder(feed.sizes, 4), 1)
    feed.close()
    return type(feed._maker)


def test_device_decides_where_batches_are_made(two_sides, monkeypatch):
    assert made_by(two_sides, ON, "cpu") is GpuBatchMaker
    assert made_by(two_sides, CacheOptions(), "cpu") is not GpuBatchMaker
    with pytest.raises(ConfigError, match=r"feed\.faces\.device=on needs the cache"):
        made_by(two_sides, CacheOptions(device="on", cache=False), "cpu")
    # 26 + 27 faces of 32 x 32 with three masks.
    needed = 53 * 32 * 32 * 6
    for free, taken in ((4 * needed, True), (4 * needed - 1, False)):
        monkeypatch.setattr(feed_factory, "_free_bytes", lambda device, free=free: free)
        assert (made_by(two_sides, CacheOptions(), "cpu") is GpuBatchMaker) is taken
        assert made_by(two_sides, CacheOptions(device="off"), "cpu") is not GpuBatchMaker
    assert made_by(two_sides, CacheOptions(cache=False), "cpu") is not GpuBatchMaker


def test_a_lost_face_is_replaced_on_the_device_too(two_sides, monkeypatch):
    feed = feed_factory.open_feed(two_sides, make_spec(), make_config(disk=ON))
    feed._sides["a"].crops._broken[1] = "it is not a readable picture"
    feed.start(InOrder({"a": 4, "b": 4}, 4), 1)
    with pytest.warns(UserWarning, match="0001.png: it is not a readable picture; another face"):
        batch = feed.next()
    feed.close()
    assert batch.meta.indices["a"].tolist() == [0, 2, 2, 3]


def test_faces_are_brought_over_in_parts(monkeypatch):
    monkeypatch.setattr(gpu_batches, "_AT_ONCE", 100)
    records = np.random.default_rng(0).integers(0, 256, (17, 40)).astype(np.uint8)
    np.testing.assert_array_equal(gpu_batches._faces_on(torch.device("cpu"), records), records)
