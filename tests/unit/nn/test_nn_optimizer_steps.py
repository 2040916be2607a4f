"""What a step is: accumulation, loss scaling, warm-up, the average of the weights."""

from __future__ import annotations

import copy

import pytest
import torch
from fs_kernel.errors import ModelFolderError
from fs_kernel.storage import tree
from fs_nn.ema import WeightAverage
from fs_nn.optimizers import AdaBelief, adam
from fs_nn.schedule import WarmUp
from nn_weights import copies, equal, make, train, weights


def pull(parameters, seed):
    """A loss whose gradient depends on the weights and the seed."""
    rng = torch.Generator().manual_seed(seed)
    return sum(
        (p * torch.randn(p.shape, generator=rng)).sum() + p.square().sum()
        for p in parameters.values()
    )


def batches(optimizer, parameters, numbers):
    """Loss, gradients and step of some batches; what `step` returned."""
    done = []
    for number in numbers:
        optimizer.backward(pull(parameters, number))
        done.append(optimizer.step())
    return done


def saved(optimizer):
    return tree.unpack(*tree.pack(optimizer.state_dict()), "test")


# --- accumulation ---


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("clipping", ["none", "global_norm"])
def test_accumulated_gradients_are_averaged(precision, clipping):
    ours, theirs = weights(), weights()
    options = {"precision": precision, "gradient_clipping": clipping}
    optimizer = make(ours, gradient_accumulation=3, **options)
    assert batches(optimizer, ours, range(6)) == [False, False, True] * 2
    assert optimizer.steps == 2
    at_once = make(theirs, **options)
    for first in (0, 3):
        at_once.backward(sum(pull(theirs, n) for n in range(first, first + 3)) / 3)
        assert at_once.step()
    for name, parameter in ours.items():
        torch.testing.assert_close(parameter, theirs[name], rtol=1e-6, atol=1e-8)


def test_gradients_are_dropped_after_a_step_and_only_then():
    parameters = weights()
    optimizer = make(parameters, gradient_accumulation=2)
    batches(optimizer, parameters, [0])
    assert all(p.grad is not None for p in parameters.values())
    assert equal(parameters, weights())
    batches(optimizer, parameters, [1])
    assert all(p.grad is None for p in parameters.values())
    assert not equal(parameters, weights())


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_stop_between_accumulated_batches_loses_nothing(precision):
    options = {"gradient_accumulation": 3, "precision": precision}
    straight = weights()
    optimizer = make(straight, **options)
    batches(optimizer, straight, range(5))
    kept, state = copies(straight), saved(optimizer)
    assert state["accumulated"]["batches"] == 2
    batches(optimizer, straight, range(5, 9))
    resumed = make(kept, **options)
    resumed.load_state_dict(state)
    assert batches(resumed, kept, range(5, 9)) == [True, False, False, True]
    assert equal(straight, kept)


def test_waiting_gradients_are_dropped_if_accumulation_changed():
    parameters = weights()
    optimizer = make(parameters, gradient_accumulation=3)
    batches(optimizer, parameters, range(2))
    changed = weights()
    resumed = make(changed, gradient_accumulation=2)
    resumed.load_state_dict(saved(optimizer))
    assert all(p.grad is None for p in changed.values())
    assert batches(resumed, changed, range(2)) == [False, True]


def test_going_back_drops_gradients_of_the_present():
    parameters = weights()
    optimizer = make(parameters, gradient_accumulation=2)
    state = saved(optimizer)
    batches(optimizer, parameters, [0])
    optimizer.load_state_dict(state)
    assert all(p.grad is None for p in parameters.values())
    assert batches(optimizer, parameters, range(2)) == [False, True]


def test_a_state_between_steps_holds_no_gradients():
    parameters = weights()
    optimizer = make(parameters, gradient_accumulation=2)
    batches(optimizer, parameters, range(2))
    assert optimizer.state_dict()["accumulated"] == {"batches": 0, "of": 2, "gradients": {}}


# --- loss scaling ---


@pytest.mark.parametrize("clipping", ["none", "norm"])
def test_a_step_whose_gradients_overflow_is_left_out(clipping):
    parameters = weights()
    optimizer = make(
        parameters, AdaBelief, precision="fp16", gradient_clipping=clipping, ema_decay=0.9
    )
    assert batches(optimizer, parameters, [0]) == [True]
    kept, average = copies(parameters), copy.deepcopy(optimizer.average.weights())
    scale = optimizer.state_dict()["scaler"]["scale"]
    optimizer.backward(pull(parameters, 1) * 3e38)
    assert optimizer.step() is False
    assert optimizer.steps == 1
    assert equal(parameters, kept)
    assert equal(average, optimizer.average.weights())
    assert all(p.grad is None for p in parameters.values())
    assert optimizer.state_dict()["scaler"]["scale"] == scale / 2
    assert batches(optimizer, parameters, [2]) == [True]


def test_a_fused_optimizer_leaves_an_overflown_step_out_too():
    parameters = weights()
    optimizer = make(parameters, adam, precision="fp16")
    batches(optimizer, parameters, [0])
    kept = copies(parameters)
    optimizer.backward(pull(parameters, 1) * 3e38)
    optimizer.step()
    assert equal(parameters, kept)


def test_clipping_sees_gradients_without_their_scale():
    ours, theirs = weights(), weights()
    options = {"gradient_clipping": "value", "clipping_value": 0.3}
    batches(make(ours, AdaBelief, precision="fp16", **options), ours, range(4))
    batches(make(theirs, AdaBelief, **options), theirs, range(4))
    for name, parameter in ours.items():
        torch.testing.assert_close(parameter, theirs[name], rtol=1e-6, atol=1e-8)


# --- warm-up ---


def test_the_rate_rises_linearly_to_its_full_value():
    schedule = WarmUp(1e-4, 4)
    rates = [schedule.rate_at(step) for step in (1, 2, 4, 5, 1000)]
    assert rates == pytest.approx([2.5e-5, 5e-5, 1e-4, 1e-4, 1e-4])
    assert WarmUp(1e-4, 0).rate_at(1) == 1e-4


def test_warm_up_counts_steps_of_the_optimizer():
    parameters = weights()
    optimizer = make(parameters, learning_rate=1e-4, warmup_steps=4, gradient_accumulation=2)
    rates = []
    for number in range(12):
        rates.append(optimizer.learning_rate)
        batches(optimizer, parameters, [number])
    expected = [rate for rate in (2.5e-5, 5e-5, 7.5e-5, 1e-4, 1e-4, 1e-4) for _ in range(2)]
    assert rates == pytest.approx(expected)


def test_the_first_step_of_a_warm_up_already_moves():
    parameters = weights()
    optimizer = make(parameters, learning_rate=1e-4, warmup_steps=10)
    train(optimizer, parameters, 1)
    moved = (parameters["encoder/conv/bias"] - weights()["encoder/conv/bias"]).abs()
    assert moved.max().item() == pytest.approx(1e-5, rel=1e-2)


def test_a_resumed_model_goes_on_with_its_warm_up():
    options = {"learning_rate": 1e-4, "warmup_steps": 6}
    straight = weights()
    optimizer = make(straight, **options)
    train(optimizer, straight, 3)
    kept, state = copies(straight), saved(optimizer)
    train(optimizer, straight, 5, seed=2)
    resumed = make(kept, **options)
    resumed.load_state_dict(state)
    assert resumed.learning_rate == pytest.approx(1e-4 * 4 / 6)
    train(resumed, kept, 5, seed=2)
    assert resumed.learning_rate == 1e-4
    assert equal(straight, kept)


# --- the average ---


def test_the_average_is_the_formula():
    parameters = weights()
    optimizer = make(parameters, ema_decay=0.5)
    expected = {name: p.detach().double() for name, p in weights().items()}
    for number in range(1, 9):
        train(optimizer, parameters, 1, seed=number)
        kept = min(0.5, (1 + number) / (10 + number))
        for name, parameter in parameters.items():
            expected[name] = kept * expected[name] + (1 - kept) * parameter.detach().double()
    for name, average in optimizer.average.weights().items():
        torch.testing.assert_close(average.double(), expected[name], rtol=0, atol=1e-6)


def test_it_is_off_unless_asked_for():
    optimizer = make(weights())
    assert optimizer.average is None
    assert optimizer.state_dict()["average"] is None


def test_the_average_goes_on_to_the_bit_and_does_not_touch_the_weights():
    straight, without = weights(), weights()
    optimizer = make(straight, ema_decay=0.99)
    train(optimizer, straight, 4)
    train(make(without), without, 4)
    assert equal(straight, without)
    kept, state = copies(straight), saved(optimizer)
    train(optimizer, straight, 3, seed=2)
    resumed = make(kept, ema_decay=0.99)
    resumed.load_state_dict(state)
    train(resumed, kept, 3, seed=2)
    assert equal(optimizer.average.weights(), resumed.average.weights())


def test_the_average_follows_strides_and_accumulation():
    turned = {"kernel": torch.nn.Parameter(torch.randn(3, 4).T)}
    optimizer = make(turned, ema_decay=0.9, gradient_accumulation=2)
    before = copy.deepcopy(optimizer.average.weights())
    assert before["kernel"].stride() == turned["kernel"].stride()
    batches(optimizer, turned, [0])
    assert equal(before, optimizer.average.weights())
    batches(optimizer, turned, [1])
    assert not equal(before, optimizer.average.weights())


def test_an_average_begun_later_starts_at_the_weights_and_one_turned_off_is_dropped():
    parameters = weights()
    optimizer = make(parameters)
    train(optimizer, parameters, 2)
    later = copies(parameters)
    resumed = make(later, ema_decay=0.9)
    resumed.load_state_dict(saved(optimizer))
    assert equal(resumed.average.weights(), parameters)
    plain = make(weights())
    plain.load_state_dict(saved(resumed))
    assert plain.state_dict()["average"] is None


def test_an_average_for_another_shape_is_refused_and_nothing_changes():
    parameters = weights({"kernel": (2, 3)})
    state = WeightAverage(weights({"kernel": (3, 2)}), 0.9).state_dict()
    optimizer = make(parameters, ema_decay=0.9)
    train(optimizer, parameters, 1)
    resumed = make(copies(parameters), ema_decay=0.9)
    with pytest.raises(ModelFolderError, match=r"saved average of 'kernel' has shape \[3, 2\]"):
        resumed.load_state_dict({**saved(optimizer), "average": state})
    assert resumed.state_dict()["weights"] == {}
    assert resumed.steps == 0
