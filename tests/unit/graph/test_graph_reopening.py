"""A model that could not be opened again is refused at once."""

from __future__ import annotations

import fs_graph
import keras
import pytest
import torch
from fs_graph import GraphError
from keras import layers
from small_models import with_sub_models


@pytest.fixture(autouse=True)
def new_names():
    keras.utils.clear_session(free_memory=False)


def model_with(call):
    """A model of one convolution and what ``call`` makes of it, in a sub-model."""
    inside = keras.Input((8, 8, 3))
    x = layers.Conv2D(3, 3, padding="same", name="conv")(inside)
    decoder = keras.Model(inside, call(x), name="decoder")
    start = keras.Input((8, 8, 3), name="face_in_a")
    return keras.Model(start, decoder(start), name="net")


def twice(x):
    return x * 2


class Custom(layers.Layer):
    def call(self, x):
        return x * 2


@keras.saving.register_keras_serializable("here")
class Registered(Custom):
    pass


class Forgets(layers.Layer):
    """Writes fewer arguments than it takes."""

    def __init__(self, width=3, **options):
        super().__init__(**options)
        self.width = width
        self.dense = layers.Dense(width)
        self.out = layers.Dense(3)

    def call(self, x):
        return self.out(self.dense(x))

    def get_config(self):
        return {"name": self.name}


class Demands(layers.Layer):
    def __init__(self, width, **options):
        super().__init__(**options)

    def call(self, x):
        return x

    def get_config(self):
        return super(layers.Layer, self).get_config()


class Object(layers.Layer):
    def __init__(self, thing=None, **options):
        super().__init__(**options)
        self.thing = thing

    def call(self, x):
        return x


class NeedsNumbers(layers.Layer):
    """Looks at its weight while it is built: no device without memory can do that."""

    def build(self, shape):
        self.scale = self.add_weight(shape=(), initializer="ones", name="scale")
        assert float(self.scale.value.detach()) == 1.0

    def call(self, x):
        return x * self.scale


class Shrinks(layers.Layer):
    """Has no weights, and another shape when it is read back."""

    def __init__(self, width=3, **options):
        super().__init__(**options)
        self.width = width

    def call(self, x):
        return x[..., : self.width]

    def get_config(self):
        return {"name": self.name}


TRAPS = {
    "lambda": (
        lambda x: layers.Lambda(twice, name="lam")(x),
        {},
        "layer 'decoder/lam' is a Lambda, which cannot be read back from a checkpoint; write it "
        "as a Layer class and name that in custom_objects",
    ),
    "named lambda": (
        lambda x: layers.Lambda(twice, name="lam")(x),
        {"Lambda": layers.Lambda},
        "layer 'decoder/lam' is a Lambda, which cannot be read back",
    ),
    "torch module": (
        lambda x: layers.TorchModuleWrapper(
            torch.nn.Identity(), output_shape=(None, 8, 8, 3), name="tor"
        )(x),
        {},
        "layer 'decoder/tor' is a TorchModuleWrapper, which cannot be read back",
    ),
    "unnamed class": (
        lambda x: Custom(name="own")(x),
        {},
        f"layer 'decoder/own' is of class {__name__}.Custom, which could not be read back from a "
        'checkpoint; name it in custom_objects: {"Custom": Custom}',
    ),
    "another class of that name": (
        lambda x: Registered(name="own")(x),
        {"Registered": layers.Dense},
        "custom_objects names another class 'Registered'",
    ),
    "function as activation": (
        lambda x: layers.Dense(3, activation=twice, name="dense")(x),
        {},
        "layer 'decoder/dense' has the function 'twice' as its activation, which cannot be read",
    ),
    "lambda as activation": (
        lambda x: layers.Activation(lambda y: y * 2, name="act")(x),
        {},
        "layer 'decoder/act' has a lambda as its activation, which cannot be read",
    ),
    "unlisted Keras class": (
        lambda x: layers.Reshape((8, 8, 3))(layers.Conv3D(1, 1, name="deep")(x[..., None])),
        {},
        "layer 'decoder/deep' is of class keras.layers.Conv3D, which could not be read back from "
        'a checkpoint; name it in custom_objects: {"Conv3D": Conv3D}',
    ),
    "constant": (
        lambda x: x + keras.ops.ones((1, 1, 1, 3)),
        {},
        "layer 'decoder/add' is given a constant array, which cannot be read back",
    ),
    "map": (
        lambda x: keras.ops.vectorized_map(twice, x),
        {},
        "is the operation VectorizedMap, which takes a function",
    ),
    "forgotten width": (
        lambda x: Forgets(5, name="own")(x),
        {"Forgets": Forgets},
        r"weight 'decoder/own/dense.*/kernel' is \(3, 5\) float32, but \(3, 3\) float32 when",
    ),
    "lost argument": (
        lambda x: Demands(5, name="own")(x),
        {"Demands": Demands},
        r"layer 'decoder/own' \(Demands\) cannot be ",
    ),
    "object as argument": (
        lambda x: Object(object(), name="own")(x),
        {"Object": Object},
        r"layer 'decoder/own' \(Object\) cannot be written to a checkpoint .*get_config",
    ),
    "number that JSON lacks": (
        lambda x: layers.ReLU(max_value=float("inf"), name="rel")(x),
        {},
        r"layer 'decoder/rel' \(ReLU\) cannot be written to a checkpoint",
    ),
    "forgotten shape": (
        lambda x: Shrinks(2, name="own")(x),
        {"Shrinks": Shrinks},
        r"output '0' is \(None, 8, 8, 2\) float32, but \(None, 8, 8, 3\) float32 when",
    ),
}


@pytest.mark.parametrize("trap", TRAPS)
def test_traps_are_named_with_what_to_do(trap):
    call, custom, says = TRAPS[trap]
    says = says.replace("{", r"\{") if "custom_objects: {" in says else says
    with pytest.raises(GraphError, match=says) as caught:
        fs_graph.require_reopenable(model_with(call), custom, "cpu")
    assert "\n" not in str(caught.value)


GOOD = {
    "named class": (lambda x: Custom()(x), {"Custom": Custom}),
    "registered class": (lambda x: Registered()(x), {"Registered": Registered}),
    "named Keras class": (
        lambda x: layers.Reshape((8, 8, 3))(layers.Conv3D(1, 1)(x[..., None])),
        {"Conv3D": layers.Conv3D},
    ),
    "Keras's own function": (lambda x: layers.Dense(3, activation=keras.ops.tanh)(x), {}),
    "a layer as activation": (lambda x: layers.Dense(3, activation=layers.ReLU())(x), {}),
    "a layer that needs numbers": (lambda x: NeedsNumbers()(x), {"NeedsNumbers": NeedsNumbers}),
}


@pytest.mark.parametrize("case", GOOD)
def test_what_can_be_opened_again_passes(case):
    call, custom = GOOD[case]
    fs_graph.require_reopenable(model_with(call), custom, "cpu")


def test_nothing_of_the_model_is_moved_by_looking():
    model = with_sub_models()
    weights = {n: v.value.detach().clone() for n, v in fs_graph.variables(model).items()}
    generators = fs_graph.seed_generators(fs_graph.layers(model))
    seeds = {n: g.state.value.clone() for n, g in generators.items()}
    next_name = layers.Dense(1).name
    fs_graph.require_reopenable(model, {}, "cpu")
    number = int(next_name.partition("_")[2] or 0)
    assert layers.Dense(1).name == f"dense_{number + 1}"
    assert all(torch.equal(v.value, weights[n]) for n, v in fs_graph.variables(model).items())
    assert all(torch.equal(g.state.value, seeds[n]) for n, g in generators.items())
    assert len(weights) == 12
    assert list(seeds) == ["first/drop/seed", "second/drop/seed"]
