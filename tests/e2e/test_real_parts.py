"""The built-in parts together, in this process, on small widths and real files."""

from __future__ import annotations

import warnings

import cv2
import fs_kernel
import numpy as np
from small_runs import OPTIONS, SMALL, checksums, losses, open_small, weights


def test_two_runs_with_one_seed_give_the_same_losses_to_the_bit(tmp_path, people):
    first = losses(open_small(tmp_path / "1", people))
    second = losses(open_small(tmp_path / "2", people, **{"loader.workers": 0}))
    other = losses(open_small(tmp_path / "3", people, **{"training.seed": 8}))
    assert len(first) == 8
    assert first == second
    assert first != other


def test_a_stopped_and_resumed_run_goes_on_to_the_bit(tmp_path, people):
    straight = losses(open_small(tmp_path / "1", people))
    model = tmp_path / "2"
    parts = losses(open_small(model, people, **{"training.iterations": 3}))
    parts += losses(open_small(model, people, **{"loader.workers": 4}))
    assert parts == straight
    one, two = weights(tmp_path / "1"), weights(model)
    assert one.keys() == two.keys()
    assert all(np.array_equal(one[name], two[name]) for name in one)


def test_a_learnt_mask_is_trained_and_used(tmp_path, people):
    options = {"network.learn_mask": True, "training.iterations": 3}
    run = open_small(tmp_path / "m", people, **options)
    with run:
        metrics = list(run)[-1]
    assert set(metrics.parts["a"]) == {"face_64/ssim", "face_64/mse", "mask_64/mse"}
    trained = fs_kernel.open_model(tmp_path / "m", SMALL)
    face, mask = trained.swapper("a", "b")(np_faces(2))
    assert (face.shape, mask.shape) == ((2, 64, 64, 3), (2, 64, 64))
    assert trained.swap_folder(people / "A", tmp_path / "out") == 27


def np_faces(count):
    import torch

    return torch.linspace(0, 1, count * 64 * 64 * 3).reshape(count, 64, 64, 3)


def test_both_directions_from_one_model_repeatably_without_changing_it(tmp_path, people):
    model = tmp_path / "m"
    losses(open_small(model, people, **{"training.iterations": 2}))
    before = checksums(model)
    trained = fs_kernel.open_model(model, SMALL)
    for name in ("one", "two"):
        trained.swap_folder(people / "A", tmp_path / name / "a2b", "a2b")
        trained.swap_folder(people / "B", tmp_path / name / "b2a", "b2a")
    assert checksums(model) == before
    for direction in ("a2b", "b2a"):
        one, two = (checksums(tmp_path / name / direction).values() for name in ("one", "two"))
        assert list(one) == list(two)
        assert len(one) == 27
    assert not set(checksums(tmp_path / "one" / "a2b").values()) & set(
        checksums(tmp_path / "one" / "b2a").values()
    )


def test_plain_pictures_train_and_swap(tmp_path):
    rng = np.random.default_rng(0)
    kinds = (".png", ".JPG", ".webp", ".jpeg", ".PNG")
    for side in "AB":
        (tmp_path / side).mkdir()
        for i in range(25):
            picture = cv2.resize(rng.integers(0, 255, (6, 8, 3), np.uint8), (96, 80))
            path = tmp_path / side / f"{i:02}{kinds[i % 5]}"
            ok, data = cv2.imencode(path.suffix.lower(), picture)
            assert ok
            path.write_bytes(data.tobytes())
    run = open_small(tmp_path / "m", tmp_path, **{"training.iterations": 2})
    about = [line for line in run.warnings if "header" in line]
    assert len(about) == 2, "one warning per folder"
    assert len(losses(run)) == 2
    trained = fs_kernel.open_model(tmp_path / "m", SMALL)
    assert trained.swap_folder(tmp_path / "A", tmp_path / "out") == 25


def test_load_weights_starts_from_another_model_and_freeze_keeps_them(tmp_path, people):
    losses(open_small(tmp_path / "old", people, **{"training.iterations": 2}))
    old = weights(tmp_path / "old")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run = fs_kernel.open_run(
            tmp_path / "new",
            SMALL,
            a=people / "A",
            b=people / "B",
            addons=[],
            load_weights=tmp_path / "old",
            set=OPTIONS | {"training.iterations": 2, "training.freeze_weights": True},
        )
    assert any("encoder 12 of 12" in line for line in run.session.notes)
    losses(run)
    new = weights(tmp_path / "new")
    encoder = [name for name in new if name.startswith("encoder/")]
    assert len(encoder) == 12
    assert all(np.array_equal(new[name], old[name]) for name in encoder)
    assert not np.array_equal(
        new["decoder_a/face_out_a_0_conv2d/kernel"], old["decoder_a/face_out_a_0_conv2d/kernel"]
    )


def test_real_faces_train(tmp_path, shared_faces):
    run = open_small(tmp_path / "m", shared_faces, **{"training.iterations": 30})
    values = losses(run)
    assert np.mean([a + b for _, a, b in values[-5:]]) < np.mean([a + b for _, a, b in values[:5]])
