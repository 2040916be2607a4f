"""Batches: what is in them, and that they depend on nothing but their key."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import two_passes
from face_files import fill, make_spec, plain_picture
from feed_batches import NO_DISK, PLAIN, InOrder, batches, flat, make_config, same
from fs_faces.geometry import resize
from fs_feed_faces import augment, open_feed
from fs_feed_faces.augmentation_params import draw_numbers, movements
from fs_feed_faces.crops import Cropper
from fs_feed_faces.options import AugmentationOptions, FaceOptions
from fs_feed_faces.source import scan
from fs_kernel.errors import ConfigError, FacesError, UsageError
from fs_kernel.types import FeedSpec


def test_shapes_types_and_ranges(two_sides):
    spec = make_spec(32, 4, sizes=(16, 64), learn=True)
    (batch,) = batches(two_sides, spec, make_config(2), 1)
    assert batch.step == 1
    for side in ("a", "b"):
        assert batch.inputs[side].shape == (4, 32, 32, 3)
        shapes = [tuple(target.shape) for target in batch.targets[side]]
        assert shapes == [(4, 16, 16, 3), (4, 64, 64, 3), (4, 64, 64, 1)]
        masks = batch.meta.masks[side]
        assert {name: sorted(by_size) for name, by_size in masks.items()} == {
            "face": [16, 64], "eye": [16, 64], "mouth": [16, 64],
        }  # fmt: skip
        assert torch.equal(batch.targets[side][2], masks["face"][64])
        assert batch.meta.indices[side].tolist() == [0, 1, 2, 3]
    for tensor in flat(batch)[2:]:
        assert tensor.dtype == torch.float32
        assert tensor.device.type == "cpu"
        assert tensor.is_contiguous()
        assert 0 <= tensor.min() < tensor.max() <= 1


def test_only_what_is_asked_for_is_there(two_sides):
    (batch,) = batches(two_sides, make_spec(masks=()), make_config(), 1)
    assert batch.meta.masks == {"a": {}, "b": {}}
    (batch,) = batches(two_sides, make_spec(masks=("mouth",), learn=True), make_config(), 1)
    assert list(batch.meta.masks["a"]) == ["mouth"]
    assert batch.targets["a"][1].shape == (4, 32, 32, 1)


def test_without_variation_input_and_target_are_the_face(two_sides):
    (batch,) = batches(two_sides, make_spec(), make_config(augmentation=PLAIN), 1)
    files = scan(two_sides["a"], "none").files
    for row in range(4):
        face = Cropper(FaceOptions(), 32, ()).read(files[row]).astype(np.float32) / 255
        np.testing.assert_array_equal(batch.inputs["a"][row], face)
        np.testing.assert_array_equal(batch.targets["a"][0][row], face)


def test_color_order_is_that_of_the_network(two_sides):
    (bgr,) = batches(two_sides, make_spec(), make_config(), 1)
    (rgb,) = batches(two_sides, make_spec(color="rgb"), make_config(), 1)
    assert torch.equal(bgr.inputs["a"].flip(-1), rgb.inputs["a"])
    assert torch.equal(bgr.targets["b"][0].flip(-1), rgb.targets["b"][0])
    assert torch.equal(bgr.meta.masks["a"]["face"][32], rgb.meta.masks["a"]["face"][32])


@pytest.mark.parametrize("cache", [0, 64])
@pytest.mark.parametrize("disk", [NO_DISK, None], ids=["memory", "disk"])
@pytest.mark.parametrize("pre_fetch", [1, 5])
def test_workers_cache_and_depth_change_no_bit(two_sides, cache, disk, pre_fetch):
    spec = make_spec(64, 6, learn=True)
    alone = batches(two_sides, spec, make_config(0, cache=64, disk=NO_DISK), 6)
    config = make_config(4, cache=cache, pre_fetch=pre_fetch, disk=disk)
    many = batches(two_sides, spec, config, 6)
    assert [batch.step for batch in many] == [1, 2, 3, 4, 5, 6]
    assert all(map(same, alone, many))


def test_a_resumed_feed_goes_on_exactly(two_sides):
    spec = make_spec()
    whole = batches(two_sides, spec, make_config(2), 5)
    rest = batches(two_sides, spec, make_config(2), 2, first=4)
    assert all(map(same, whole[3:], rest))


def test_seeds_steps_sides_and_places_differ(two_sides):
    same_folder = {"a": two_sides["a"], "b": two_sides["a"]}
    spec = make_spec(batch=26)
    one, two = batches(same_folder, spec, make_config(), 2)
    (other,) = batches(same_folder, make_spec(batch=26, seed=8), make_config(), 1)
    assert not torch.equal(one.inputs["a"], one.inputs["b"]), "sides"
    assert not torch.equal(one.inputs["a"], two.inputs["a"]), "steps"
    assert not torch.equal(one.inputs["a"], other.inputs["a"]), "seeds"


def test_processes_that_share_a_batch_make_its_parts(two_sides):
    (whole,) = batches(two_sides, make_spec(batch=6), make_config(), 1)
    parts = []
    for indices in (range(0, 6, 2), range(1, 6, 2)):
        parts += batches(two_sides, make_spec(batch=6, local_indices=indices), make_config(2), 1)
    for rank, part in enumerate(parts):
        assert torch.equal(part.inputs["a"], whole.inputs["a"][rank::2])
        assert part.meta.indices["b"].tolist() == whole.meta.indices["b"][rank::2].tolist()


def test_a_batch_of_one_face_is_made_like_any_other(two_sides):
    whole = batches(two_sides, make_spec(batch=2), make_config())
    alone = batches(two_sides, make_spec(batch=2, local_indices=range(0, 2, 2)), make_config())
    for step, part in zip(whole, alone, strict=True):
        assert torch.equal(part.inputs["a"], step.inputs["a"][:1])


def test_a_flip_mirrors_target_and_masks_together(two_sides):
    always = AugmentationOptions(
        color=False, warp=False, zoom_amount=0, rotation_range=0, shift_range=0, flip_chance=75
    )
    (still,) = batches(two_sides, make_spec(batch=12), make_config(augmentation=PLAIN), 1)
    (batch,) = batches(two_sides, make_spec(batch=12), make_config(augmentation=always), 1)
    mirrored = 0
    for row in range(12):
        flip = torch.equal(batch.inputs["a"][row], still.inputs["a"][row].flip(1))
        mirrored += flip
        for got, known in zip(flat(batch)[2:], flat(still)[2:], strict=True):
            if got is batch.inputs["b"]:
                break
            assert torch.equal(got[row], known[row].flip(1) if flip else known[row])
    assert 0 < mirrored < 12


def test_masks_move_as_the_picture_does(two_sides):
    moving = AugmentationOptions(color=False, flip=False, warp=False, rotation_range=25)
    (still,) = batches(two_sides, make_spec(), make_config(augmentation=PLAIN), 1)
    (batch,) = batches(two_sides, make_spec(), make_config(augmentation=moving), 1)
    for slot in range(4):
        matrix = movements(draw_numbers(7, 1, "a", [slot]), moving, 32)[0]
        for got, known in (
            (batch.targets["a"][0], still.targets["a"][0]),
            (batch.meta.masks["a"]["face"][32], still.meta.masks["a"]["face"][32]),
            (batch.meta.masks["a"]["mouth"][32], still.meta.masks["a"]["mouth"][32]),
        ):
            before = (known[slot].numpy() * 255).round().astype(np.uint8)
            after = augment.move(augment.widen(before), matrix).astype(np.float32) / 255
            np.testing.assert_array_equal(
                got[slot], after.reshape(32, 32, -1)[..., : got.shape[-1]]
            )


@pytest.mark.parametrize("color", ["bgr", "rgb"])
def test_batches_are_distributed_as_those_made_step_by_step(two_sides, color):
    """Color, movement, mirroring and warp one after the other, each over all pixels."""
    spec = make_spec(48, 26, sizes=(32, 64), color=color)
    (batch,) = batches(two_sides, spec, make_config(), 1)
    options, numbers = AugmentationOptions(), draw_numbers(7, 1, "a", range(26))
    cropper = Cropper(FaceOptions(), 64, ("face", "eye", "mouth"))
    apart, ours, plain = {"input": [], "target": [], "mask": []}, [], []

    def compare(kind, seen, known):
        known = resize(known, len(seen)).reshape(seen.shape)
        known = known[..., ::-1] if color == "rgb" and kind != "mask" else known
        apart[kind].append(np.abs(seen.numpy() * 255 - known).mean())
        if kind == "input":
            ours.append([seen.mean() * 255, seen.std() * 255])
            plain.append([known.mean(), known.std()])

    for row, file in enumerate(scan(two_sides["a"], "none").files):
        stack = cropper.read(file)
        image = np.ascontiguousarray(stack[..., :3])
        target = two_passes.recolored(image, options, numbers, row)
        target = two_passes.moved(target, options, numbers, row)
        compare("input", batch.inputs["a"][row], two_passes.warped(target, numbers, row))
        for i, size in enumerate((32, 64)):
            compare("target", batch.targets["a"][i][row], target)
            for channel, name in enumerate(("face", "eye", "mouth"), 3):
                mask = np.ascontiguousarray(stack[..., channel])
                known = two_passes.moved(mask, options, numbers, row)
                compare("mask", batch.meta.masks["a"][name][size][row], known)
    assert np.mean(apart["input"]) < 2
    assert max(apart["target"]) < 0.2
    assert max(apart["mask"]) < 0.2
    np.testing.assert_allclose(ours, plain, atol=2)
    np.testing.assert_allclose(np.mean(ours, axis=0), np.mean(plain, axis=0), atol=0.5)


def test_the_warp_is_for_the_input_only(two_sides):
    warped = AugmentationOptions(
        color=False, flip=False, zoom_amount=0, rotation_range=0, shift_range=0
    )
    (still,) = batches(two_sides, make_spec(), make_config(augmentation=PLAIN), 1)
    (batch,) = batches(two_sides, make_spec(), make_config(augmentation=warped), 1)
    assert torch.equal(batch.targets["a"][0], still.targets["a"][0])
    assert not torch.equal(batch.inputs["a"], still.inputs["a"])
    assert (batch.inputs["a"] - still.inputs["a"]).abs().mean() < 0.1


def test_the_sampler_is_asked_just_lag_steps_ahead(two_sides):
    for workers in (0, 2):
        feed = open_feed(two_sides, make_spec(), make_config(workers, pre_fetch=3))
        assert feed.prefetch == 3
        sampler = InOrder(feed.sizes, 4)
        feed.start(sampler, 5)
        for step in (5, 6, 7):
            feed.next()
            assert max(sampler.drawn) == step + 3
        assert sampler.drawn == list(range(5, 11))
        feed.close()


def test_a_side_smaller_than_the_batch_repeats(two_sides):
    (batch,) = batches(two_sides, make_spec(batch=40), make_config(2), 1)
    assert batch.inputs["a"].shape[0] == 40
    assert batch.meta.indices["a"].tolist() == [*range(26), *range(14)]


def test_no_workers_at_all(two_sides):
    assert len(batches(two_sides, make_spec(), make_config(0), 4)) == 4


def test_start_may_come_again_and_close_twice(two_sides):
    feed = open_feed(two_sides, make_spec(), make_config(2))
    cv2.setNumThreads(2)
    with pytest.raises(UsageError, match="not started"):
        feed.next()
    feed.start(InOrder(feed.sizes, 4), 1)
    first = feed.next()
    feed.next()
    feed.start(InOrder(feed.sizes, 4), 1)
    assert same(feed.next(), first)
    feed.close()
    feed.close()
    assert cv2.getNumThreads() == 2


def test_a_face_lost_on_the_way_is_replaced_and_told_once(two_sides, tmp_path):
    folders = {s: Path(shutil.copytree(f, tmp_path / s)) for s, f in two_sides.items()}
    spec = make_spec()
    results = []
    for workers in (0, 3):
        feed = open_feed(folders, spec, make_config(workers, cache=0, disk=NO_DISK))
        lost = folders["a"] / "0001.png"
        data = lost.read_bytes()
        lost.write_bytes(data[:50])
        feed.start(InOrder({"a": 4, "b": 4}, 4), 1)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            results.append([feed.next() for _ in range(3)])
        feed.close()
        lost.write_bytes(data)
        assert [str(w.message) for w in told] == [
            f"{lost}: it is not a readable picture; another face takes its place"
        ]
    assert results[0][0].meta.indices["a"].tolist() == [0, 2, 2, 3]
    assert all(map(same, *results))


def test_a_preview_passes_over_a_lost_face(two_sides, tmp_path):
    folders = {s: Path(shutil.copytree(f, tmp_path / s)) for s, f in two_sides.items()}
    feed = open_feed(folders, make_spec(batch=26), make_config())
    feed.start(InOrder(feed.sizes, 26), 1)
    before = feed.next()
    (folders["a"] / "0000.png").unlink()
    second = feed.preview(26).faces["a"][1]
    np.testing.assert_array_equal(feed.preview(1).faces["a"][0], second)
    assert before.meta.indices["a"].tolist() == list(range(26))
    with pytest.warns(UserWarning, match="0000.png: No such file"):
        assert feed.next().meta.indices["a"].tolist() == list(range(26)), "it is in the cache"


def test_a_side_of_which_nothing_is_left_ends_the_run(two_sides, tmp_path):
    folders = {**two_sides, "a": Path(shutil.copytree(two_sides["a"], tmp_path / "A"))}
    feed = open_feed(folders, make_spec(), make_config(2, disk=NO_DISK))
    shutil.rmtree(folders["a"])
    feed.start(InOrder(feed.sizes, 4), 1)
    with pytest.raises(FacesError, match="can be read any longer"):
        feed.next()
    feed.close()


def test_a_network_of_another_shape_is_refused(two_sides):
    spec = make_spec()
    oblong = FeedSpec(
        {"a": (32, 16, 3), "b": (32, 32, 3)}, "bgr", spec.outputs, frozenset(), 4, 7, range(4)
    )
    with pytest.raises(ConfigError, match="32 x 16 x 3 for side a"):
        open_feed(two_sides, oblong, make_config())


def test_plain_pictures_train_too(two_sides, tmp_path):
    for seed in range(26):
        cv2.imwrite(str(tmp_path / f"{seed}.jpg"), plain_picture(seed))
    folders = {"a": tmp_path, "b": two_sides["b"]}
    feed = open_feed(folders, make_spec(learn=True), make_config(2))
    assert sum("no face header" in line for line in feed.warnings) == 1
    feed.start(InOrder(feed.sizes, 4), 1)
    batch = feed.next()
    feed.close()
    assert list(batch.meta.masks["a"]) == ["face"]
    assert list(batch.meta.masks["b"]) == ["face", "eye", "mouth"]
    assert (batch.targets["a"][1] == 1).all()


def test_one_header_among_plain_pictures_keeps_eyes_as_zeros(two_sides, tmp_path):
    for seed in range(26):
        cv2.imwrite(str(tmp_path / f"z{seed}.png"), plain_picture(seed))
    fill(tmp_path, 1)
    (batch,) = batches({"a": tmp_path, "b": two_sides["b"]}, make_spec(), make_config(), 1)
    eyes = batch.meta.masks["a"]["eye"][32]
    assert eyes[0].max() > 0.5
    assert eyes[1:].max() == 0


@pytest.mark.parametrize("coverage", [100.0, 75.0])
def test_the_preview_shows_the_network_s_view_in_its_surroundings(two_sides, coverage):
    spec = make_spec(64, sizes=(96,))
    feed = open_feed(two_sides, spec, make_config(face=FaceOptions(coverage=coverage)))
    shown, again = feed.preview(5), feed.preview(5)
    full = 2 * round(96 / (coverage / 100) / 2)
    for side in ("a", "b"):
        assert shown.inputs[side].shape == (5, 64, 64, 3)
        assert shown.inputs[side].dtype == torch.float32
        assert shown.faces[side].shape == (5, full, full, 3)
        assert shown.faces[side].dtype == np.uint8
        assert shown.masks[side].shape == (5, full, full)
        assert torch.equal(shown.inputs[side], again.inputs[side])
        for i, (left, top, right, bottom) in enumerate(shown.boxes[side]):
            assert (right - left, bottom - top) == (96, 96)
            view = cv2.resize(
                shown.faces[side][i, top:bottom, left:right], (64, 64), interpolation=cv2.INTER_AREA
            )
            network = (shown.inputs[side][i].numpy() * 255).astype(np.float32)
            # The crop may lie half a stored pixel beside the exact place.
            assert np.abs(view - network).mean() < 6
            assert np.corrcoef(view.ravel(), network.ravel())[0, 1] > 0.97
            middle = shown.masks[side][
                i, full // 2 - 9 : full // 2 + 9, full // 2 - 9 : full // 2 + 9
            ]
            assert middle.min() == 255
    feed.close()


def test_a_preview_without_mask(two_sides):
    feed = open_feed(
        two_sides, make_spec(masks=()), make_config(face=FaceOptions(mask_type="none"))
    )
    assert feed.preview(2).masks == {"a": None, "b": None}


def test_a_preview_of_more_faces_than_there_are(two_sides):
    feed = open_feed(two_sides, make_spec(color="rgb"), make_config())
    shown = feed.preview(100)
    assert (len(shown.inputs["a"]), len(shown.inputs["b"])) == (26, 27)
    bgr = (shown.inputs["a"][3].numpy()[..., ::-1] * 255).round().astype(np.uint8)
    np.testing.assert_array_equal(bgr, shown.faces["a"][3])


def test_memory_is_used_again_but_never_while_a_batch_is_held(two_sides):
    feed = open_feed(two_sides, make_spec(), make_config())
    feed.start(InOrder(feed.sizes, 4), 1)
    held = [feed.next() for _ in range(8)]
    copies = [[tensor.clone() for tensor in flat(batch)] for batch in held]
    part = feed.next().inputs["a"][1:3]
    known = part.clone()
    places = set()
    for _ in range(20):
        places.add(feed.next().inputs["a"].data_ptr())
    for batch, copy in zip(held, copies, strict=True):
        assert all(map(torch.equal, flat(batch), copy))
    assert torch.equal(part, known), "a view keeps its batch"
    del held, batch, part
    places = {feed.next().inputs["a"].data_ptr() for _ in range(30)}
    feed.close()
    # Those ahead, the one given out, the one before it, of all arrays of this shape.
    assert len(places) <= 4 * 4
