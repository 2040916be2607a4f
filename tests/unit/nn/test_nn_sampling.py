"""Samplers: what is seen how often, and that it follows from step, seed and old losses alone."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from fs_kernel.errors import ConfigError
from fs_kernel.storage import tree
from fs_kernel.training.sampler_feedback import DELAY
from fs_nn.sampling import LossSampler, UniformSampler, YawSampler, build_sampler, yaw_groups

SIZES = {"a": 10, "b": 7}
#: 200 faces that look ahead, 30 to the left, 6 to the right, one in profile, 3 of unknown pose.
YAW = np.concatenate(
    [np.linspace(-8, 8, 200), np.linspace(-58, -51, 30), np.full(6, 31.0), [88.0], [np.nan] * 3]
)


def row(sampler, side, steps):
    return np.concatenate([sampler.draw(step)[side] for step in steps])


def loss_of(indices):
    """Face 3 is hard, all others are alike."""
    return {side: np.where(drawn == 3, 3.0, 1.0) for side, drawn in indices.items()}


def train(sampler, first, last, lag=2, losses=loss_of):
    """What a feed and a trainer do with a sampler; the draws by step."""
    ahead = {step: sampler.draw(step) for step in range(first, first + lag)}
    done = {}
    for step in range(first, last + 1):
        ahead[step + lag] = sampler.draw(step + lag)
        done[step] = ahead[step]
        sampler.update(step, done[step], losses(done[step]))
    return done


def same(one, other):
    return all(np.array_equal(one[side], other[side]) for side in one)


# --- uniform ---


def test_every_face_once_per_epoch():
    drawn = row(UniformSampler(SIZES, 4, 1), "b", range(1, 36))
    epochs = drawn.reshape(-1, 7)
    assert (np.sort(epochs, axis=1) == np.arange(7)).all()
    assert len({tuple(epoch) for epoch in epochs}) > 15


def test_f25_fewer_faces_than_a_batch_wrap():
    drawn = UniformSampler({"a": 3, "b": 1}, 8, 1).draw(1)
    assert drawn["b"].tolist() == [0] * 8
    assert sorted(drawn["a"][:3]) == sorted(drawn["a"][3:6]) == [0, 1, 2]
    assert drawn["a"].dtype == np.int64
    assert drawn["a"].shape == (8,)


def test_only_the_orders_in_use_are_kept():
    sampler = UniformSampler(SIZES, 4, 1)
    for step in range(1, 200):
        sampler.draw(step)
    assert max(len(row._orders) for row in sampler._rows.values()) <= 2


# --- all of them ---


def every_sampler(sizes, batch=4, seed=1):
    facts = {s: {"yaw": np.random.default_rng(0).normal(0, 25, n)} for s, n in sizes.items()}
    return {
        kind: build_sampler(kind, sizes, batch, seed, 2, facts)
        for kind in ("uniform", "yaw", "loss")
    }


@pytest.mark.parametrize("kind", ["uniform", "yaw"])
def test_the_step_says_it_all(kind):
    steady, jumping = every_sampler(SIZES)[kind], every_sampler(SIZES)[kind]
    draws = {step: steady.draw(step) for step in range(1, 30)}
    for step in (29, 3, 17, 3, 4):
        assert same(jumping.draw(step), draws[step])
    assert steady.state_dict() == {}


@pytest.mark.parametrize("kind", ["uniform", "yaw", "loss"])
def test_seeds_and_sides_have_orders_of_their_own(kind):
    sizes = {"a": 100, "b": 100}
    one, two = (every_sampler(sizes, 50, seed)[kind].draw(1) for seed in (1, 2))
    assert (one["a"] != one["b"]).any()
    assert (one["a"] != two["a"]).any()
    assert same(one, every_sampler(sizes, 50)[kind].draw(1))


@pytest.mark.parametrize("kind", ["yaw", "loss"])
@pytest.mark.parametrize("batch", [1, 4, 64])
def test_f25_every_face_is_seen_whatever_the_batch(kind, batch):
    sampler = every_sampler({"a": 23, "b": 1}, batch)[kind]
    steps = 1 + 400 // batch
    drawn = [draws["a"] for draws in train(sampler, 1, steps).values()]
    assert set(np.concatenate(drawn)) == set(range(23))
    assert all(d.shape == (batch,) and d.dtype == np.int64 for d in drawn)


# --- yaw ---


def test_faces_are_grouped_by_ten_degrees_and_few_are_joined():
    groups = yaw_groups(YAW)
    assert sorted(np.concatenate(groups)) == list(range(len(YAW)))
    spans = [(np.nanmin(YAW[g]), np.nanmax(YAW[g]), len(g)) for g in groups]
    assert spans[0] == (-58, -51, 30)
    assert [span[2] for span in spans[1:3]] == [100, 100]
    # 240 faces in 6 groups: fewer than 4 are too few for a group of their own.
    assert spans[3] == (31, 88, 10)


def test_directions_are_seen_alike():
    sampler = YawSampler({"a": YAW}, 8, 3)
    seen = Counter(row(sampler, "a", range(1, 1001)).tolist())
    for group in yaw_groups(YAW):
        assert sum(seen[face] for face in group) == 2000
        counts = [seen[face] for face in group]
        assert max(counts) - min(counts) <= 1, "within a group every face alike"
    assert max(seen.values()) <= 10 * 8000 / len(YAW)


@pytest.mark.parametrize("yaw", [np.zeros(5), np.array([7.0])])
def test_one_direction_is_one_group(yaw):
    (group,) = yaw_groups(yaw)
    assert group.tolist() == list(range(len(yaw)))


@pytest.mark.parametrize("facts", [{}, {"a": {}, "b": {}}, {"a": {"yaw": np.full(10, np.nan)}}])
def test_faces_of_unknown_yaw_are_refused(facts):
    with pytest.raises(ConfigError, match="no face of side a has landmarks"):
        build_sampler("yaw", SIZES, 4, 1, 2, facts)


# --- loss ---


def test_a_face_with_thrice_the_loss_is_drawn_oftener_and_all_are_seen():
    sampler = LossSampler({"a": 20, "b": 20}, 8, 1, 2)
    seen = Counter(
        np.concatenate([d["a"] for s, d in train(sampler, 1, 2000).items() if s > 100]).tolist()
    )
    draws = sum(seen.values())
    # A quarter evenly, the rest in proportion: 3 of 22 instead of 1 of 20.
    assert seen[3] / draws == pytest.approx(0.25 / 20 + 0.75 * 3 / 22, rel=0.1)
    others = [seen[face] / draws for face in range(20) if face != 3]
    assert min(others) > 0.8 * (0.25 / 20 + 0.75 / 22)


def test_a_face_that_cannot_be_learnt_does_not_take_over():
    def one_is_lost(indices):
        return {s: np.where(drawn == 3, 1e6, 1.0) for s, drawn in indices.items()}

    sampler = LossSampler({"a": 1000}, 16, 1, 2)
    draws = train(sampler, 1, 2000, losses=one_is_lost)
    share = np.mean([d["a"] == 3 for s, d in draws.items() if s > 1000])
    assert share < 4 / 1000 * 1.5


def test_losses_that_are_no_numbers_are_passed_over():
    sampler = LossSampler({"a": 8}, 8, 1, 2)
    train(sampler, 1, 30, losses=lambda i: {s: np.full(len(v), np.nan) for s, v in i.items()})
    assert np.isnan(sampler.state_dict()["means"]["a"]).all()
    train(sampler, 31, 60, losses=lambda i: {s: np.zeros(len(v)) for s, v in i.items()})
    assert set(row(sampler, "a", range(61, 70))) <= set(range(8))


def test_a_draw_depends_on_no_loss_younger_than_the_lag():
    random = np.random.default_rng(0)

    def by_chance(indices):
        return {side: random.random(len(drawn)) for side, drawn in indices.items()}

    sampler = LossSampler(SIZES, 4, 1, 2)
    train(sampler, 1, 20, losses=by_chance)
    early = {step: sampler.draw(step) for step in range(21, 46)}
    for done in range(21, 35):
        train(sampler, done, done, losses=by_chance)
        for step in range(done + 1, 36):
            assert same(sampler.draw(step), early[step]), "losses of steps up to 20 count"
    assert not all(same(sampler.draw(step), early[step]) for step in range(36, 46))


def run_with(prefetch, first=1, last=40, state=None):
    """Draws by step as a feed makes them that works so many steps ahead, and the last state.

    The kernel reads losses when `DELAY` further steps are done.
    """
    sampler = LossSampler(SIZES, 4, 1, prefetch + DELAY)
    if state is not None:
        sampler.load_state_dict(tree.unpack(*tree.pack(state), "test"))
    ahead = {step: sampler.draw(step) for step in range(first, first + prefetch)}
    for step in range(first, last + 1):
        if step + prefetch <= last:
            ahead[step + prefetch] = sampler.draw(step + prefetch)
        if step - DELAY >= first:
            sampler.update(step - DELAY, ahead[step - DELAY], loss_of(ahead[step - DELAY]))
    for step in range(max(first, last - DELAY + 1), last + 1):
        sampler.update(step, ahead[step], loss_of(ahead[step]))
    return ahead, sampler.state_dict()


@pytest.mark.parametrize("prefetch", [2, 6, 7, 10])
def test_how_far_the_feed_works_ahead_changes_no_draw(prefetch):
    known, _ = run_with(1)
    others, _ = run_with(prefetch)
    assert all(same(known[step], others[step]) for step in known)


@pytest.mark.parametrize(("before", "after"), [(1, 7), (2, 10), (7, 1), (10, 1)])
def test_a_feed_may_work_further_ahead_after_a_resume(before, after):
    known, _ = run_with(1)
    first, state = run_with(before, 1, 20)
    rest, _ = run_with(after, 21, 40, state)
    assert all(same(known[step], {**first, **rest}[step]) for step in known)


def test_a_folder_that_was_begun_with_another_lag_keeps_it():
    """Until the lag was part of the state it was ten steps, or what the feed needed."""
    _, state = run_with(1)
    assert state.pop("lag") == 14
    sampler = LossSampler(SIZES, 4, 1, 1 + DELAY)
    sampler.load_state_dict(state)
    assert sampler.state_dict()["lag"] == 10
    further = LossSampler(SIZES, 4, 1, 8 + DELAY)
    further.load_state_dict(sampler.state_dict())
    assert further.state_dict()["lag"] == 12


def test_a_feed_that_works_further_ahead_is_told_later():
    sampler = LossSampler(SIZES, 4, 1, 15)
    draws = train(sampler, 1, 40, 15)
    again = train(LossSampler(SIZES, 4, 1, 15), 1, 40, 15)
    assert all(same(draws[step], again[step]) for step in draws)


@pytest.mark.parametrize("stop", [1, 3, 11, 25])
def test_a_resumed_run_draws_what_the_uninterrupted_one_drew(stop):
    whole = train(LossSampler(SIZES, 4, 1, 2), 1, 40)
    first = LossSampler(SIZES, 4, 1, 2)
    train(first, 1, stop)
    state = tree.unpack(*tree.pack(first.state_dict()), "test")
    resumed = LossSampler(SIZES, 4, 1, 3)
    resumed.load_state_dict(state)
    rest = train(resumed, stop + 1, 40, 3)
    assert all(same(whole[step], rest[step]) for step in rest)
    restarted = train(first, stop + 1, 40)
    assert all(same(whole[step], restarted[step]) for step in rest), "drawn anew, without a load"


def test_losses_of_other_faces_are_forgotten():
    sampler = LossSampler(SIZES, 4, 1, 2)
    train(sampler, 1, 30)
    other = LossSampler({"a": 11, "b": 7}, 4, 1, 2)
    other.load_state_dict(sampler.state_dict())
    assert np.isnan(other.state_dict()["means"]["b"]).all()
    other.load_state_dict({})
    assert other.state_dict()["heard"] == []
