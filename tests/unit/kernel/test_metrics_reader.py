"""Losses between the step and the reading."""

from __future__ import annotations

import math

import pytest
import torch
from fs_kernel.errors import TrainingError
from fs_kernel.training import metrics as module
from fs_kernel.training.metrics import MetricsReader
from fs_kernel.types import BatchLoss, LossPart, StepResult


def result(a, b, rate=None, dtype=torch.float32):
    def side(name, value):
        total = torch.tensor(value, dtype=dtype)
        half = total / 2
        parts = (
            LossPart("ssim", "face_64", half, total),
            LossPart("mse", "mask_64", half, half),
        )
        return BatchLoss(name, total, parts)

    return StepResult([side("a", a), side("b", b)], learning_rate=rate)


def reader(images):
    return MetricsReader(images, lambda values: values)


@pytest.fixture
def clock(monkeypatch):
    """A clock that is moved by hand."""
    now = [100.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])
    return now


def test_nothing_pending():
    metrics_reader = reader(8)
    assert metrics_reader.read() is None
    assert metrics_reader.take_average() is None


def test_the_last_step_is_reported_and_all_count_for_the_speed(clock):
    metrics_reader = reader(8)
    metrics_reader.add(1, result(1.0, 2.0), 0.5)
    metrics_reader.add(2, result(3.0, 4.0), 0.1)
    metrics_reader.add(3, result(5.0, 6.0, rate=1e-3), 0.2)
    clock[0] += 2.0
    metrics = metrics_reader.read()
    assert metrics.step == 3
    assert metrics.losses == {"a": 5.0, "b": 6.0}
    assert metrics.parts == {
        "a": {"face_64/ssim": 2.5, "mask_64/mse": 2.5},
        "b": {"face_64/ssim": 3.0, "mask_64/mse": 3.0},
    }
    assert metrics.learning_rate == 1e-3
    assert metrics.images_per_second == pytest.approx(3 * 8 / 2.0)
    assert metrics.step_seconds == 0.2
    assert metrics_reader.read() is None


def test_the_average_is_of_the_summed_loss_since_the_last_one():
    metrics_reader = reader(8)
    metrics_reader.add(1, result(1.0, 2.0), 0.1)
    metrics_reader.read()
    metrics_reader.add(2, result(3.0, 4.0), 0.1)
    metrics_reader.read()
    assert metrics_reader.take_average() == pytest.approx(5.0)
    assert metrics_reader.take_average() is None


def test_a_pause_can_be_left_out_of_the_speed(clock):
    metrics_reader = reader(10)
    clock[0] += 50.0
    metrics_reader.resume_clock()
    clock[0] += 1.0
    metrics_reader.add(1, result(1.0, 1.0), 0.1)
    assert metrics_reader.read().images_per_second == pytest.approx(10.0)


def test_a_clock_that_stands_still_does_not_divide_by_zero(clock):
    metrics_reader = reader(10)
    metrics_reader.add(1, result(1.0, 1.0), 0.0)
    assert math.isfinite(metrics_reader.read().images_per_second)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_any_float_type_is_read(dtype):
    metrics_reader = reader(8)
    metrics_reader.add(1, result(1.0, 2.0, dtype=dtype), 0.1)
    assert metrics_reader.read().losses == {"a": 1.0, "b": 2.0}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_a_number_names_step_side_and_part(value):
    metrics_reader = reader(8)
    metrics_reader.add(41, result(1.0, 1.0), 0.1)
    metrics_reader.add(42, result(1.0, value), 0.1)
    metrics_reader.add(43, result(1.0, 1.0), 0.1)
    with pytest.raises(TrainingError) as caught:
        metrics_reader.read()
    text = str(caught.value)
    assert text.startswith("step 42: ")
    assert "b face_64/ssim" in text
    assert "a face_64" not in text
    assert caught.value.exit_code == 6


def test_it_is_not_forgotten():
    metrics_reader = reader(8)
    metrics_reader.add(1, result(math.nan, 1.0), 0.1)
    for _ in range(2):
        with pytest.raises(TrainingError, match="step 1"):
            metrics_reader.read()


def test_without_parts_only_the_bad_side_is_named():
    metrics_reader = reader(8)
    losses = [BatchLoss("a", torch.tensor(1.0)), BatchLoss("b", torch.tensor(math.nan))]
    metrics_reader.add(1, StepResult(losses), 0.1)
    with pytest.raises(TrainingError, match=r"\(b total"):
        metrics_reader.read()


def test_adding_reads_nothing_from_the_device():
    """Meta tensors cannot be read, so reading would raise."""
    loss = BatchLoss("a", torch.empty((), device="meta"))
    reader(8).add(1, StepResult([loss]), 0.1)
