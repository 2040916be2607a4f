"""Networks with one fault each, run by ``test_suites_find_faults.py`` and not by themselves."""

from __future__ import annotations

import os
import sys

import attrs
import keras
import torch
from faults import suite, tidy  # noqa: F401
from fs_kernel import Network, NetworkSpec, hookimpl, networks, option
from fs_kernel.testing import TinyModel
from fs_kernel.testing.suites import ModelSuite


class Typo(TinyModel):
    @hookimpl
    def freeze_layer(self):
        return []


class Unmarked(TinyModel):
    def adapt_model(self, network, before, after):
        return None


@attrs.frozen
class Unhelpful:
    width: int = option(3, " ", minimum=1, maximum=4)


@attrs.frozen
class Unbounded:
    width: int = option(3, "A width.")


@attrs.frozen
class OutOfRange:
    width: int = option(7, "A width.", minimum=1, maximum=4)


def with_section(section, cls):
    class Optioned(TinyModel):
        @hookimpl
        def config_defaults(self):
            return {**super().config_defaults(), section: cls}

    return Optioned


class Grey(TinyModel):
    @hookimpl
    def network_spec(self):
        return NetworkSpec({"a": (16, 16, 1), "b": (16, 16, 1)})


def doing(call):
    """Return a network that does something it should not while it is built."""

    class Doing(TinyModel):
        @hookimpl
        def build_model(self, inputs, config):
            call()
            return super().build_model(inputs, config)

    return Doing


def over_faces(change, **hooks):
    """Return a network whose faces are passed through ``change`` at the end."""

    class Changed(TinyModel):
        @hookimpl
        def build_model(self, inputs, config):
            tiny = super().build_model(inputs, config)
            faces = [change(face) for face in tiny.model.outputs]
            return Network(keras.Model(list(inputs.values()), faces), tiny.outputs)

    for name, hook in hooks.items():
        setattr(Changed, name, hook)
    return Changed


class Foreign(keras.layers.Layer):
    """Not named in custom_objects."""

    def call(self, x):
        return x


class Forgetful(keras.layers.Layer):
    """Its config lacks its factor."""

    def __init__(self, factor=1.0, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, x):
        return x * self.factor

    def get_config(self):
        return {"name": self.name}


class Noisy(keras.layers.Layer):
    """Noise at all times."""

    def call(self, x):
        return x + 0.1 * torch.rand_like(x)


class Neighbourly(keras.layers.Layer):
    """A picture gets something of its neighbours."""

    def call(self, x):
        return x + 0.1 * x.mean(dim=0, keepdim=True)


@hookimpl
def names_forgetful(self):
    return {"Forgetful": Forgetful, "Neighbourly": Neighbourly}


@hookimpl
def names_nothing_there(self):
    return ["encodr"]


def dead_branch(face):
    return keras.layers.Add()([face, keras.layers.Dense(3)(face) * 0.0])


class OtherWay(TinyModel):
    @hookimpl
    def build_inference(self, network, source, target):
        wrong = "b" if target == "a" else "a"
        ((position, _),) = network.outputs_of(wrong)
        start = network.sides.index(wrong)
        return keras.Model(network.model.inputs[start], network.model.outputs[position])


class Copied(TinyModel):
    @hookimpl
    def build_inference(self, network, source, target):
        ((position, _),) = network.outputs_of(target)
        start = network.sides.index(target)
        cut = keras.Model(network.model.inputs[start], network.model.outputs[position])
        copy = keras.models.clone_model(
            cut, clone_function=lambda x: type(x).from_config(x.get_config())
        )
        copy.set_weights(cut.get_weights())
        return copy


class Unseeded(TinyModel):
    @hookimpl
    def build_model(self, inputs, config):
        torch.manual_seed(0)
        built = super().build_model(inputs, config)
        with torch.no_grad():
            for weight in networks.parameters(built).values():
                weight.copy_(torch.rand(weight.shape))
        return built


class Widened(TinyModel):
    @hookimpl
    def adapt_model(self, network, before, after):
        wider = {"model.tiny": attrs.evolve(after["model.tiny"], width=5)}
        inputs = {f: keras.Input((16, 16, 3), name=f"face_in_{f}") for f in "ab"}
        return super().build_model(inputs, wider)


class AllFrozen(TinyModel):
    @hookimpl
    def freeze_layers(self):
        return ["encoder", "decoder_a", "decoder_b"]


class Half(TinyModel):
    @hookimpl
    def build_model(self, inputs, config):
        tiny = super().build_model(inputs, config)
        half = [keras.layers.Activation("linear", dtype="float16")(x) for x in tiny.model.outputs]
        return Network(keras.Model(list(inputs.values()), half), tiny.outputs)


class OneSided(TinyModel):
    """Its second output needs a target that no feed gives."""

    @hookimpl
    def build_model(self, inputs, config):
        tiny = super().build_model(inputs, config)
        a, b = tiny.model.outputs
        return Network(keras.Model(list(inputs.values()), [a, b * float("nan")]), tiny.outputs)


suite(ModelSuite, "test_hooks_fit", Typo)
suite(ModelSuite, "test_hooks_fit", Unmarked)
suite(ModelSuite, "test_options_explain_themselves", with_section("model.x", Unhelpful))
suite(ModelSuite, "test_options_explain_themselves", with_section("model.x", Unbounded))
suite(
    ModelSuite, "test_defaults_are_values_a_user_could_write", with_section("model.x", OutOfRange)
)
suite(ModelSuite, "test_sections_are_the_plugins_own", with_section("trainer.x", Unhelpful))
suite(ModelSuite, "test_the_specification_is_whole", Grey)
suite(
    ModelSuite,
    "test_building_changes_nothing_around_it",
    doing(lambda: keras.config.set_dtype_policy("mixed_bfloat16")),
)
suite(
    ModelSuite,
    "test_building_changes_nothing_around_it",
    doing(lambda: torch.set_default_dtype(torch.float64)),
)
suite(
    ModelSuite,
    "test_building_changes_nothing_around_it",
    doing(lambda: os.environ.update(FS_SPOILT="1")),
)
suite(ModelSuite, "test_building_changes_nothing_around_it", doing(lambda: os.chdir("/")))
suite(ModelSuite, "test_building_changes_nothing_around_it", doing(lambda: sys.exit(0)))
suite(ModelSuite, "test_building_changes_nothing_around_it", doing(lambda: os._exit(0)))
suite(ModelSuite, "test_outputs_are_what_they_are_said_to_be", Half)
suite(ModelSuite, "test_outputs_are_what_they_are_said_to_be", OneSided)
suite(
    ModelSuite,
    "test_swapping_draws_no_chance",
    over_faces(lambda face: Noisy()(face)),
)
suite(
    ModelSuite,
    "test_swapping_draws_no_chance",
    over_faces(lambda face: Neighbourly()(face), custom_objects=names_forgetful),
)
suite(ModelSuite, "test_every_weight_gets_a_gradient", over_faces(dead_branch))
suite(
    ModelSuite,
    "test_freeze_and_load_names_exist",
    over_faces(lambda face: face, freeze_layers=names_nothing_there),
)
suite(ModelSuite, "test_freezing_leaves_something_to_train", AllFrozen)
suite(
    ModelSuite,
    "test_it_is_read_back_from_its_own_graph",
    over_faces(lambda face: Foreign()(face)),
)
suite(
    ModelSuite,
    "test_it_is_read_back_from_its_own_graph",
    over_faces(lambda face: Forgetful(0.5)(face), custom_objects=names_forgetful),
)
suite(ModelSuite, "test_a_swap_is_the_targets_own_path", OtherWay)
suite(ModelSuite, "test_a_swap_is_the_targets_own_path", Copied)
suite(ModelSuite, "test_the_seed_decides_the_weights", Unseeded)
suite(ModelSuite, "test_unchanged_options_keep_the_weights", Widened)
suite(ModelSuite, "test_it_trains_resumes_and_swaps_in_a_run", OneSided)
suite(ModelSuite, "test_waivers_have_a_reason", TinyModel, waived={"test_hooks_fit": " "})
suite(ModelSuite, "test_waivers_have_a_reason", TinyModel, waived={"test_nothing": "why not"})
