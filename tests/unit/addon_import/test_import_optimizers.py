"""All seven optimisers, of Keras and of torch: moments, and the step that follows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import torch
from addon_import import small_models
from addon_import.small_models import OPTIMIZERS
from fake_run import FakeRun
from fs_addon_import.importing import import_model
from fs_kernel import networks
from fs_kernel.storage.checkpoints import Checkpoints
from fs_kernel.trained_model import TrainedModel
from fs_nn import optimizers
from fs_nn.optimizers import build_optimizer
from fs_nn.options import OptimizerOptions

# Keras hands torch tensors to numpy in a way that numpy warns about.
pytestmark = pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")
FOUND = {
    "optimizers": {
        "adam": optimizers.adam,
        "adamw": optimizers.adamw,
        "adamax": optimizers.adamax,
        "nadam": optimizers.nadam,
        "lion": optimizers.Lion,
        "rms-prop": optimizers.rms_prop,
        "adabelief": optimizers.AdaBelief,
    }
}


def read(folder: Path, generation: str) -> dict[str, Any]:
    return Checkpoints(folder).read_training(generation)["trainer"]["optimizer"]


def assert_moments(facts: dict[str, np.ndarray], tree: dict[str, Any], names: list[str]) -> None:
    kept = {key: value for key, value in facts.items() if not key.startswith("answer")}
    assert kept
    for key, value in kept.items():
        place, slot = key.split("/")
        found = np.asarray(tree["weights"][names[int(place)]]["values"][slot])
        assert np.array_equal(found, value), key


def restored(trained: TrainedModel, tree: dict[str, Any], name: str, **options: Any) -> Any:
    """The optimiser of a run that goes on from ``tree``."""
    run = FakeRun(
        network=trained.network,
        weights=lambda: networks.parameters(trained.network),
        found=FOUND,
    )
    made = build_optimizer(run, OptimizerOptions(optimizer=name, **options))
    made.load_state_dict(tree)
    return made


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimiser_of_keras(name: str, tmp_path: Path) -> None:
    facts = small_models.with_keras_optimizer(tmp_path / "old", name)
    made = import_model(tmp_path / "old", tmp_path / "new")
    assert (made.optimizer, made.optimizer_step) == (name, 2)
    trained = TrainedModel(tmp_path / "new")
    names = list(networks.parameters(trained.network))
    tree = read(tmp_path / "new", made.generation)
    assert_moments(facts, tree, names)
    if name == "nadam":
        product = np.prod([0.9 * (1 - 0.5 * 0.96**t) for t in (1, 2)])
        assert float(tree["weights"][names[0]]["values"]["mu_product"]) == pytest.approx(product)
    optimizer = restored(trained, tree, name)
    small_models.loss_of(trained.network.model).backward()
    assert optimizer.step()
    assert optimizer.steps == 3


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimiser_of_torch_goes_on_as_it_would_have(name: str, tmp_path: Path) -> None:
    facts = small_models.with_torch_optimizer(tmp_path / "old", name)
    made = import_model(tmp_path / "old", tmp_path / "new")
    assert made.optimizer == name
    assert made.optimizer_step == (3 if name == "lion" else 2)  # Lion counts none.
    trained = TrainedModel(tmp_path / "new")
    tree = read(tmp_path / "new", made.generation)
    parameters = networks.parameters(trained.network)
    assert_moments(facts, tree, list(parameters))
    optimizer = restored(trained, tree, name, learning_rate=5e-5)

    # The same step by the optimiser itself, on copies.
    found = {key: parameter.detach().clone() for key, parameter in parameters.items()}
    decayed = [key for key, p in found.items() if p.ndim >= 2 and not key.endswith("bias")]
    order = [*decayed, *(key for key in found if key not in decayed)]
    groups = [{"params": [found[k] for k in order]}]
    own = small_models.torch_optimizer(name, groups)
    state = {i: _copied(tree["weights"][key]["values"]) for i, key in enumerate(order)}
    own.load_state_dict({"state": state, "param_groups": own.state_dict()["param_groups"]})
    own.param_groups[0].update(lr=5e-5, betas=(0.9, 0.999), eps=1e-7, weight_decay=0.0)
    small_models.loss_of(trained.network.model).backward()
    for key in order:
        found[key].grad = parameters[key].grad.clone()
    own.step()
    optimizer.step()
    for key, parameter in parameters.items():
        assert torch.allclose(parameter, found[key], rtol=0, atol=1e-9), key


def _copied(values: dict[str, Any]) -> dict[str, Any]:
    return {k: v.clone() if isinstance(v, torch.Tensor) else v for k, v in values.items()}


def test_largest_moments_of_keras(tmp_path: Path) -> None:
    facts = small_models.with_keras_optimizer(tmp_path / "old", "adam", amsgrad=True)
    made = import_model(tmp_path / "old", tmp_path / "new")
    names = list(networks.parameters(TrainedModel(tmp_path / "new").network))
    assert any(key.endswith("max_exp_avg_sq") for key in facts)
    assert_moments(facts, read(tmp_path / "new", made.generation), names)


def test_gathered_gradients_and_averages_of_keras_are_passed_over(tmp_path: Path) -> None:
    settings = {"gradient_accumulation_steps": 2, "use_ema": True}
    facts = small_models.with_keras_optimizer(tmp_path / "old", "adam", **settings)
    made = import_model(tmp_path / "old", tmp_path / "new")
    assert made.optimizer_step == 1
    names = list(networks.parameters(TrainedModel(tmp_path / "new").network))
    assert_moments(facts, read(tmp_path / "new", made.generation), names)


def test_a_scaler_of_torch(tmp_path: Path) -> None:
    scaler = {
        "scale": 1024.0,
        "growth_factor": 2.0,
        "backoff_factor": 0.5,
        "growth_interval": 2000,
        "_growth_tracker": 7,
    }
    small_models.with_torch_optimizer(tmp_path / "old", "adam", scaler)
    made = import_model(tmp_path / "old", tmp_path / "new")
    assert read(tmp_path / "new", made.generation)["scaler"] == scaler


def test_moments_of_frozen_weights_are_not_mixed_up(tmp_path: Path) -> None:
    """An optimiser that was made while the encoder was frozen holds fewer moments."""
    with small_models.fresh(9):
        model = small_models.network()
        model.get_layer("encoder").trainable = False
        optimizer = keras.optimizers.Adam(1e-3)
        model.compile(optimizer=optimizer, loss="mse", jit_compile=False)
        small_models.loss_of(model).backward()
        with torch.no_grad():
            gradients = [v.value.grad for v in model.trainable_variables]
            optimizer.apply(gradients, model.trainable_variables)
        moments = [v.numpy().copy() for v in optimizer._momentums]
        (tmp_path / "old").mkdir()
        model.save(tmp_path / "old" / "original.keras")
    state = json.dumps(small_models.state("adam"))
    (tmp_path / "old" / "original_state.json").write_text(state)
    made = import_model(tmp_path / "old", tmp_path / "new")
    tree = read(tmp_path / "new", made.generation)
    assert tree["weights"]
    assert all(name.startswith("decoder_") for name in tree["weights"])
    found = [entry["values"]["exp_avg"].numpy() for entry in tree["weights"].values()]
    assert all(np.array_equal(a, b) for a, b in zip(found, moments, strict=True))
    trained = TrainedModel(tmp_path / "new").network
    assert len(networks.parameters(trained)) > len(tree["weights"])  # Nothing stays frozen.


def test_the_file_wins_over_the_option(tmp_path: Path) -> None:
    small_models.with_keras_optimizer(tmp_path / "old", "lion")
    path = tmp_path / "old" / "original_state.json"
    path.write_text(json.dumps(small_models.state("rms-prop")))
    made = import_model(tmp_path / "old", tmp_path / "new")
    assert made.optimizer == "lion"
    assert any("optimizer is lion" in note for note in made.notes)


def test_an_optimiser_that_is_not_known_is_left_out(tmp_path: Path) -> None:
    with small_models.fresh(9):
        model = small_models.network()
        optimizer = keras.optimizers.Ftrl()
        model.compile(optimizer=optimizer, loss="mse", jit_compile=False)
        optimizer.build(model.trainable_variables)
        (tmp_path / "old").mkdir()
        model.save(tmp_path / "old" / "original.keras")
    made = import_model(tmp_path / "old", tmp_path / "new")
    assert made.optimizer is None
    assert any("Ftrl" in note for note in made.notes)
    assert any("no state file" in note for note in made.notes)
