"""Small models in the formats of faceswap 3, as that program writes them.

Tests make them when they run; `main` writes those of `tests/data/legacy_small`, each with the Keras
that such files were made with::

    python tests/unit/addon_import/small_models.py early      Keras 3.3.3
    python tests/unit/addon_import/small_models.py release    Keras 3.12.4
    python tests/unit/addon_import/small_models.py mixed      Keras 3.12.4
    python tests/unit/addon_import/small_models.py current    Keras 3.14.1
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import numpy as np
import torch
from keras import layers, ops

DATA = Path(__file__).parents[2] / "data" / "legacy_small"
SIZE = 16
#: Option names of faceswap -> (Keras's optimiser, torch's slots).
OPTIMIZERS = ("adam", "adamw", "adamax", "nadam", "lion", "rms-prop", "adabelief")


class PixelShuffler(layers.Layer):
    """Channels ordered (row, column, channel) to pixels."""

    def __init__(self, size: Any = (2, 2), data_format: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size, self.data_format = tuple(size), data_format or "channels_last"

    def compute_output_shape(self, shape: Any) -> Any:
        batch, height, width, channels = shape
        return (batch, height * 2, width * 2, channels // 4)

    def call(self, inputs: Any) -> Any:
        _, height, width, channels = inputs.shape
        x = ops.reshape(inputs, (-1, height, width, 2, 2, channels // 4))
        x = ops.transpose(x, (0, 1, 3, 2, 4, 5))
        return ops.reshape(x, (-1, height * 2, width * 2, channels // 4))

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        return {**config, "size": self.size, "data_format": self.data_format}


class InstanceNormalization(layers.Layer):
    """One scale and one offset for all pixels and channels of an item."""

    def __init__(self, axis: Any = None, epsilon: float = 1e-3, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axis, self.epsilon = axis, epsilon

    def build(self, shape: Any) -> None:
        self.gamma = self.add_weight(shape=(1,), initializer="ones", name="gamma")
        self.beta = self.add_weight(shape=(1,), initializer="zeros", name="beta")

    def call(self, inputs: Any) -> Any:
        x = ops.cast(inputs, "float32")
        axes = list(range(1, len(x.shape)))
        x = x - ops.mean(x, axes, keepdims=True)
        x = x / (ops.sqrt(ops.mean(ops.square(x), axes, keepdims=True)) + self.epsilon)
        x = x * ops.cast(self.gamma, "float32") + ops.cast(self.beta, "float32")
        return ops.cast(x, self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "axis": self.axis, "epsilon": self.epsilon}


class AdaBelief(keras.optimizers.Optimizer):
    """Keeps what the real one keeps; its steps are not the subject here."""

    def __init__(self, learning_rate: float = 1e-3, name: str = "AdaBeliefOptimizer") -> None:
        super().__init__(learning_rate=learning_rate, name=name)

    def build(self, variables: Any) -> None:
        if self.built:
            return
        super().build(variables)
        self._momentums, self._velocities = [], []
        for variable in variables:
            add = self.add_variable_from_reference
            self._momentums.append(add(variable, name="m"))
            self._velocities.append(add(variable, name="v"))

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        place = self._get_variable_index(variable)
        self.assign(self._momentums[place], ops.cast(gradient, variable.dtype) * 0.1)
        self.assign(self._velocities[place], ops.square(ops.cast(gradient, variable.dtype)) * 0.2)
        self.assign_sub(variable, ops.sign(gradient) * ops.cast(learning_rate, variable.dtype))


for _class in (PixelShuffler, InstanceNormalization, AdaBelief):
    _class.__module__ = {
        "PixelShuffler": "lib.model.layers",
        "InstanceNormalization": "lib.model.normalization",
        "AdaBelief": "lib.model.optimizers",
    }[_class.__name__]


@contextlib.contextmanager
def fresh(seed: int) -> Iterator[None]:
    """A Keras session of its own; the number format is as before at the end."""
    policy = keras.config.dtype_policy()
    keras.utils.clear_session()
    keras.utils.set_random_seed(seed)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(policy)


def network(dots: bool = False) -> keras.Model:
    """One encoder with arithmetic in it, a decoder per side; vectors are off their constants."""
    shape = (SIZE, SIZE, 3)
    face = x = keras.Input(shape)
    x = x * 2.0 - 1.0
    x = layers.Conv2D(2, 5, 2, "same", name="conv_4_0_conv2d")(x)
    x = InstanceNormalization(name="conv_4_0_instancenorm")(x)
    x = layers.LeakyReLU(
        negative_slope=0.1, name="conv_4.0_leakyrelu" if dots else "conv_4_0_leakyrelu"
    )(x)
    x = layers.Dense(4)(layers.Flatten()(x))
    x = layers.Reshape((4, 4, 2))(layers.Dense(32)(x))
    encoder = keras.Model(face, x, name="encoder")
    inputs = [keras.Input(shape, name=f"face_in_{side}") for side in "ab"]
    outputs = [_decoder(side)(encoder(x)) for side, x in zip("ab", inputs, strict=True)]
    model = keras.Model(inputs, outputs, name="original")
    numbers = np.random.default_rng(7)
    for variable in model.trainable_variables:
        if len(variable.shape) == 1:
            moved = np.asarray(variable) + numbers.normal(0, 0.05, tuple(variable.shape))
            variable.assign(moved.astype("float32"))
    return model


def _decoder(side: str) -> keras.Model:
    code = x = keras.Input((4, 4, 2))
    for number in range(2):
        name = f"upscale_4_{number}_{side}"
        x = layers.Conv2D(8, 3, padding="same", name=f"{name}_conv2d_conv2d")(x)
        x = layers.LeakyReLU(negative_slope=0.1, name=f"{name}_conv2d_leakyrelu")(x)
        x = PixelShuffler(name=f"{name}_pixelshuffler")(x)
    x = layers.BatchNormalization()(x)
    x = layers.Conv2D(3, 5, padding="same", name=f"face_out_{side}_0_conv2d")(x)
    x = layers.Activation("sigmoid", dtype="float32", name=f"face_out_{side}_0")(x)
    return keras.Model(code, x, name=f"decoder_{side}")


def faces() -> list[np.ndarray]:
    """A batch of two for each side, float32 0..1."""
    numbers = np.random.default_rng(3)
    shape = (2, SIZE, SIZE, 3)
    return [(numbers.integers(0, 256, shape) / 255).astype("float32") for _ in "ab"]


def answers(model: keras.Model) -> list[np.ndarray]:
    """What a model makes of `faces`."""
    with torch.no_grad():
        found = model([torch.from_numpy(face) for face in faces()], training=False)
    return [tensor.cpu().numpy() for tensor in found]


def loss_of(model: keras.Model) -> torch.Tensor:
    """Squared error against the faces themselves, in training mode."""
    inputs = [torch.from_numpy(face) for face in faces()]
    found = model(inputs, training=True)
    return sum(torch.mean((y - x) ** 2) for y, x in zip(found, inputs, strict=True))


def state(optimizer: str, **changes: Any) -> dict[str, Any]:
    """A state file of a model that did three iterations in two sessions."""
    live = {
        "mixed_precision": False,
        "loss_function": "mse",
        "loss_function_2": "none",
        "learning_rate": 3e-5,
        "eye_multiplier": 1,
        "mouth_multiplier": 1,
        "save_optimizer": "exit",
        "gradient_clipping": "none",
        "mask_blur_kernel": 5,
    }
    fixed = {
        "centering": "head",
        "coverage": 87.5,
        "optimizer": optimizer,
        "mask_type": "components",
        "learn_mask": False,
        "penalized_mask_loss": False,
        "lowmem": True,
    }
    sessions = {
        str(number): {
            "timestamp": 1.7e9 + number,
            "no_logs": False,
            "batchsize": 4 * number,
            "iterations": number,
            "config": {**live, "learning_rate": number * 1e-5},
        }
        for number in (1, 2)
    }
    made = {
        "name": "original",
        "sessions": sessions,
        "lowest_avg_loss": 0.1,
        "iterations": 3,
        "mixed_precision_layers": ["conv_4.0_leakyrelu", "dense", "reshape"],
        "lr_finder": -1.0,
        "config": {**live, **fixed},
    }
    return {**made, **changes}


# --- with an optimiser of Keras's ---


def keras_optimizer(name: str, **settings: Any) -> keras.optimizers.Optimizer:
    kinds = {
        "adam": keras.optimizers.Adam,
        "adamw": keras.optimizers.AdamW,
        "adamax": keras.optimizers.Adamax,
        "nadam": keras.optimizers.Nadam,
        "lion": keras.optimizers.Lion,
        "rms-prop": keras.optimizers.RMSprop,
        "adabelief": AdaBelief,
    }
    return kinds[name](learning_rate=1e-3, **settings)


def with_keras_optimizer(
    folder: Path, name: str, *, mixed: bool = False, dots: bool = False, **settings: Any
) -> dict[str, np.ndarray]:
    """Write a model that two steps of an optimiser of Keras's have trained.

    Returns:
        Its answers ("answer_0", ...) and moments ("<place>/<slot>", the place being that of the
        weight among those that train).
    """
    with fresh(5):
        if mixed:
            keras.config.set_dtype_policy("mixed_float16")
        model = network(dots)
        inner = optimizer = keras_optimizer(name, **settings)
        if mixed:
            optimizer = keras.optimizers.LossScaleOptimizer(inner)
        model.compile(optimizer=optimizer, loss="mse", jit_compile=False)
        for _ in range(2):
            model.zero_grad()
            loss = loss_of(model)
            (optimizer.scale_loss(loss) if mixed else loss).backward()
            gradients = [v.value.grad for v in model.trainable_variables]
            with torch.no_grad():
                optimizer.apply(gradients, model.trainable_variables)
        facts = dict(_numbered("answer", answers(model)))
        facts |= _keras_moments(inner, name)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "original.keras"
        model.save(path)
    _say_losses_have_gone(path)
    written = state(name, mixed_precision_layers=[]) if mixed else state(name)
    written["config"]["mixed_precision"] = mixed
    (folder / "original_state.json").write_text(json.dumps(written, indent=2))
    return facts


def _keras_moments(optimizer: Any, name: str) -> dict[str, np.ndarray]:
    attributes = {
        "adam": {"exp_avg": "_momentums", "exp_avg_sq": "_velocities"},
        "adamax": {"exp_avg": "_m", "exp_inf": "_u"},
        "lion": {"exp_avg": "_momentums"},
        "rms-prop": {"square_avg": "_velocities"},
        "adabelief": {"exp_avg": "_momentums", "exp_avg_var": "_velocities"},
    }
    slots = attributes.get(name, attributes["adam"])
    if getattr(optimizer, "amsgrad", False):
        slots = {**slots, "max_exp_avg_sq": "_velocity_hats"}
    return {
        f"{place}/{slot}": variable.numpy().copy()
        for slot, attribute in slots.items()
        for place, variable in enumerate(getattr(optimizer, attribute))
    }


def _say_losses_have_gone(path: Path) -> None:
    """Name a loss class that no program has any more, as files of version 3.0 do."""
    rewrite_config(
        path,
        lambda config: config["compile_config"].update(
            loss={"module": "lib.model.losses.loss", "class_name": "LossWrapper", "config": {}}
        ),
    )


# --- with an optimiser of torch's ---


def with_torch_optimizer(folder: Path, name: str, scaler: Any = None) -> dict[str, np.ndarray]:
    """Write a model that two steps of an optimiser of torch's have trained, as now.

    Returns:
        As `with_keras_optimizer`.
    """
    with fresh(6):
        model = network()
        variables = model.trainable_variables
        plain = [len(v.shape) < 2 or v.name.endswith("bias") for v in variables]
        order = sorted(range(len(variables)), key=lambda place: plain[place])
        decayed = [variables[i].value for i in order if not plain[i]]
        rest = [variables[i].value for i in order if plain[i]]
        optimizer = torch_optimizer(name, [{"params": decayed}, {"params": rest}])
        for _ in range(2):
            optimizer.zero_grad()
            loss_of(model).backward()
            optimizer.step()
        saved = optimizer.state_dict()
        if name == "adabelief":
            for entry in saved["state"].values():
                entry["step"] = torch.tensor(float(entry["step"]))
            for group in saved["param_groups"]:
                group["buffer"] = [[None, None, None], [2.0, 0.97, 9.9]] * 5
        facts = dict(_numbered("answer", answers(model)))
        for number, place in enumerate(order):
            for slot, value in saved["state"][number].items():
                facts[f"{place}/{slot}"] = torch.as_tensor(value).numpy().copy()
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "original.keras"
        model.save(path)
    tree = {"version": 1.0, "optimizer": saved, "scaler": scaler}
    add_member(path, "optimizer.pt", pickled(tree))
    (folder / "original_state.json").write_text(json.dumps(state(name), indent=2))
    return facts


def torch_optimizer(name: str, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    from fs_nn import optimizers

    make = {
        "adam": optimizers.adam,
        "adamw": optimizers.adamw,
        "adamax": optimizers.adamax,
        "nadam": optimizers.nadam,
        "lion": optimizers.Lion,
        "rms-prop": optimizers.rms_prop,
        "adabelief": optimizers.AdaBelief,
    }[name]
    return make(groups, lr=1e-3)


# --- taking files apart ---


def pickled(tree: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(tree, buffer)
    return buffer.getvalue()


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write_members(path: Path, found: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in found.items():
            archive.writestr(name, content)


def add_member(path: Path, name: str, content: bytes) -> None:
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr(name, content)


def rewrite_config(path: Path, change: Any) -> None:
    found = members(path)
    config = json.loads(found["config.json"])
    change(config)
    found["config.json"] = json.dumps(config).encode()
    write_members(path, found)


def _numbered(word: str, arrays: list[np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
    for number, array in enumerate(arrays):
        yield f"{word}_{number}", array


def main(kind: str) -> None:
    """Write one of `DATA`: a model folder, and in facts.npz what it should be read as."""
    makers = {
        "early": lambda folder: with_keras_optimizer(folder, "adam", dots=True),
        "release": lambda folder: with_keras_optimizer(folder, "nadam"),
        "mixed": lambda folder: with_keras_optimizer(folder, "adam", mixed=True),
        "current": lambda folder: with_torch_optimizer(folder, "adam"),
    }
    DATA.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as room,
        zipfile.ZipFile(DATA / f"{kind}.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as out,
    ):
        facts = makers[kind](Path(room, "model"))
        np.savez(Path(room, "facts.npz"), **facts)
        for path in sorted(Path(room).rglob("*.*")):
            out.write(path, path.relative_to(room))


if __name__ == "__main__":
    main(sys.argv[1])
