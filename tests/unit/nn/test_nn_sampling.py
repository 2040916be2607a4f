"""The uniform sampler: every face once per epoch, from the step alone."""

from __future__ import annotations

import numpy as np
from fs_nn.sampling import UniformSampler

SIZES = {"a": 10, "b": 7}


def row(sampler, side, steps):
    return np.concatenate([sampler.draw(step)[side] for step in steps])


def test_every_face_once_per_epoch():
    drawn = row(UniformSampler(SIZES, 4, 1), "b", range(1, 36))
    epochs = drawn.reshape(-1, 7)
    assert (np.sort(epochs, axis=1) == np.arange(7)).all()
    assert len({tuple(epoch) for epoch in epochs}) > 15


def test_the_step_says_it_all():
    steady, jumping = UniformSampler(SIZES, 4, 1), UniformSampler(SIZES, 4, 1)
    draws = {step: steady.draw(step) for step in range(1, 30)}
    for step in (29, 3, 17, 3, 4):
        for side in SIZES:
            np.testing.assert_array_equal(jumping.draw(step)[side], draws[step][side])
    assert steady.state_dict() == {}


def test_f25_fewer_faces_than_a_batch_wrap():
    drawn = UniformSampler({"a": 3, "b": 1}, 8, 1).draw(1)
    assert drawn["b"].tolist() == [0] * 8
    assert sorted(drawn["a"][:3]) == sorted(drawn["a"][3:6]) == [0, 1, 2]
    assert drawn["a"].dtype == np.int64
    assert drawn["a"].shape == (8,)


def test_seeds_and_sides_have_orders_of_their_own():
    sizes = {"a": 100, "b": 100}
    one, two = UniformSampler(sizes, 50, 1).draw(1), UniformSampler(sizes, 50, 2).draw(1)
    assert (one["a"] != one["b"]).any()
    assert (one["a"] != two["a"]).any()
    np.testing.assert_array_equal(one["a"], UniformSampler(sizes, 50, 1).draw(1)["a"])


def test_only_the_orders_in_use_are_kept():
    sampler = UniformSampler(SIZES, 4, 1)
    for step in range(1, 200):
        sampler.draw(step)
    assert len(sampler._orders) <= 4
