"""Moments and counters of Keras 2's optimisers, in torch's words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from addon_import.keras2_files import dense, entrance, model, numbers, read_optimizer, write
from fs_kernel.errors import ModelFolderError

NAMES = ["one/kernel", "one/bias", "two/kernel", "two/bias"]
SHAPES = [(3, 4), (4,), (4, 3), (3,)]
VALUES = [numbers(seed, *shape) for seed, shape in enumerate(SHAPES)]


def net() -> dict:
    layers = [entrance("x", 3), dense("one", "x", 4), dense("two", "one", 3)]
    return model("net", layers, ["two"])


def moments(kind: int) -> list[np.ndarray]:
    return [numbers(100 * kind + i, *shape) for i, shape in enumerate(SHAPES)]


def legacy(name: str, *slots: str, extra: list = ()) -> list[tuple[str, np.ndarray]]:
    """As TensorFlow 2.10 and before wrote them."""
    found = [(f"{name}/iter", np.int64(1234)), *extra]
    for number, slot in enumerate(slots):
        found += [(f"{name}/{n}/{slot}", v) for n, v in zip(NAMES, moments(number), strict=True)]
    return found


def since_2_11(name: str, *slots: str) -> list[tuple[str, np.ndarray]]:
    found = [("iteration", np.int64(1234)), ("learning_rate", np.float32(1e-4))]
    for place, weight in enumerate(NAMES):
        for number, slot in enumerate(slots):
            found.append((f"{name}/{slot}/{weight}", moments(number)[place]))
    return found


def read(tmp_path: Path, optimizer: list, name: str, config: dict | None = None):
    weights = {"one": list(zip(NAMES, VALUES, strict=True))[:2]}
    weights["two"] = list(zip(NAMES, VALUES, strict=True))[2:]
    path = write(
        tmp_path / "net.h5",
        net(),
        weights,
        optimizer=optimizer,
        optimizer_config=config or {"class_name": name, "config": {"name": name.split(">")[-1]}},
    )
    return read_optimizer(path)


@pytest.mark.parametrize(
    ("name", "file", "ours", "slots"),
    [
        ("Adam", legacy("Adam", "m", "v"), "adam", ["exp_avg", "exp_avg_sq"]),
        (
            "Adam",
            legacy("Adam", "m", "v", "vhat"),
            "adam",
            ["exp_avg", "exp_avg_sq", "max_exp_avg_sq"],
        ),
        ("Custom>Adam", since_2_11("Adam", "m", "v"), "adam", ["exp_avg", "exp_avg_sq"]),
        ("Custom>AdamW", since_2_11("AdamW", "m", "v"), "adamw", ["exp_avg", "exp_avg_sq"]),
        ("Adamax", legacy("Adamax", "m", "v"), "adamax", ["exp_avg", "exp_inf"]),
        ("Custom>Adamax", since_2_11("Adamax", "m", "u"), "adamax", ["exp_avg", "exp_inf"]),
        ("RMSprop", legacy("RMSprop", "rms"), "rms-prop", ["square_avg"]),
        ("Custom>RMSprop", since_2_11("RMSprop", "velocity"), "rms-prop", ["square_avg"]),
        ("AdaBelief", legacy("AdaBelief", "m", "v"), "adabelief", ["exp_avg", "exp_avg_var"]),
        ("Custom>Lion", since_2_11("Lion", "m"), "lion", ["exp_avg"]),
    ],
)
def test_moments_find_their_weights(
    tmp_path: Path, name: str, file: list, ours: str, slots: list[str]
) -> None:
    _, found = read(tmp_path, file, name)
    assert (found.name, found.step, found.scaler) == (ours, 1234, None)
    assert list(found.slots) == NAMES
    for place, weight in enumerate(NAMES):
        assert list(found.slots[weight]) == slots
        for number, slot in enumerate(slots):
            np.testing.assert_array_equal(found.slots[weight][slot], moments(number)[place])


def test_nadam_keeps_the_product_of_its_momenta(tmp_path: Path) -> None:
    product = ("Nadam/momentum_cache", np.float32(0.125))
    _, found = read(tmp_path, legacy("Nadam", "m", "v", extra=[product]), "Nadam")
    assert found.name == "nadam"
    assert all(float(values["mu_product"]) == 0.125 for values in found.slots.values())


def test_a_product_that_was_not_kept_is_torchs_own(tmp_path: Path) -> None:
    file = since_2_11("Nadam", "m", "v")
    file[0] = ("iteration", np.int64(3))
    config = {"class_name": "Custom>Nadam", "config": {"name": "Nadam", "beta_1": 0.8}}
    _, found = read(tmp_path, file, "Nadam", config)
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.NAdam([weight], betas=(0.8, 0.999))
    for _ in range(3):
        weight.grad = torch.ones(2)
        optimizer.step()
    wanted = float(optimizer.state[weight]["mu_product"])
    assert float(found.slots[NAMES[0]]["mu_product"]) == pytest.approx(wanted, rel=1e-6)


def test_settings_are_told_and_a_scaler_begins_where_its_program_would(tmp_path: Path) -> None:
    inner = {"name": "Adam", "learning_rate": 5e-5, "beta_1": 0.5, "decay": 0.0, "epsilon": 1e-7}
    config = {
        "class_name": "LossScaleOptimizer",
        "config": {
            "inner_optimizer": {"class_name": "Adam", "config": inner},
            "dynamic": True,
            "initial_scale": 1024.0,
            "dynamic_growth_steps": 500,
        },
    }
    file = [(f"cond_1/{name}", value) for name, value in legacy("Adam", "m", "v")]
    _, found = read(tmp_path, file, "Adam", config)
    assert found.settings == {"learning_rate": 5e-5, "beta_1": 0.5, "epsilon": 1e-7}
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=500)
    assert found.scaler == scaler.state_dict()
    np.testing.assert_array_equal(found.slots["two/kernel"]["exp_avg_sq"], moments(1)[2])


def test_a_schedule_in_place_of_a_rate_is_passed_over(tmp_path: Path) -> None:
    schedule = {"class_name": "ExponentialDecay", "config": {}}
    config = {"class_name": "Adam", "config": {"learning_rate": schedule, "beta_1": 0.5}}
    _, found = read(tmp_path, legacy("Adam", "m", "v"), "Adam", config)
    assert found.settings == {"beta_1": 0.5}


@pytest.mark.parametrize("steps", [-1, 2**40])
def test_impossible_steps_are_refused(tmp_path: Path, steps: int) -> None:
    file = [("Nadam/iter", np.int64(steps)), *legacy("Nadam", "m", "v")[1:]]
    with pytest.raises(ModelFolderError, match=f"tells of {steps} steps"):
        read(tmp_path, file, "Nadam")


@pytest.mark.parametrize(
    ("name", "file", "line"),
    [
        ("SGD", legacy("SGD", "momentum"), "there is none here"),
        ("Adam", legacy("Adam", "m", "v")[:-1], "does not fit"),
        ("Adam", [*legacy("Adam", "m")[:1], *legacy("Adam", "m")[:0:-1]], "does not fit"),
    ],
)
def test_an_optimizer_that_cannot_come_along_is_told(
    tmp_path: Path, name: str, file: list, line: str
) -> None:
    foreign, found = read(tmp_path, file, name)
    assert found is None
    assert len(foreign.weights) == 4
    assert any(line in note for note in foreign.notes)


def test_moments_that_have_no_part_here_are_told(tmp_path: Path) -> None:
    foreign, found = read(tmp_path, legacy("RMSprop", "rms", "momentum"), "RMSprop")
    assert list(found.slots["two/bias"]) == ["square_avg"]
    assert any("kept as momentum" in note for note in foreign.notes)


def test_a_model_that_was_never_trained_has_no_optimizer(tmp_path: Path) -> None:
    foreign, found = read(tmp_path, [("Adam/iter", np.int64(0))], "Adam")
    assert found is None
    assert len(foreign.notes) == 1
