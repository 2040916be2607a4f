"""Plugins with one fault each, and the test of the suites that must find it (`breaks`).

Run by ``test_suites_find_faults.py``; not collected by itself.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import ClassVar

import attrs
import keras
import numpy as np
import pytest
import torch
from fs_kernel import Network, NetworkSpec, hookimpl, networks, option
from fs_kernel.testing import ArrayFeed, PlainTrainer, TinyModel
from fs_kernel.testing.plugins import ArrayFaces, CountedSampler
from fs_kernel.testing.suites import (
    AddonSuite,
    FeedSuite,
    LossSuite,
    ModelSuite,
    OptimizerSuite,
    TrainerSuite,
)


@pytest.fixture(autouse=True)
def _tidy():
    """What one fault changes must not be found again in the next."""
    where = Path.cwd()
    yield
    os.chdir(where)
    os.environ.pop("FS_SPOILT", None)
    torch.set_default_dtype(torch.float32)
    keras.config.set_dtype_policy("float32")


def suite(base, breaks, plugin, **attributes):
    """A test class of a faulty plugin, put into this module."""
    name = f"Test_{len([n for n in globals() if n.startswith('Test_')]):02d}_{breaks}"
    attributes |= {"plugin": staticmethod(plugin), "breaks": breaks, "__module__": __name__}
    globals()[name] = type(name, (base,), attributes)


# --- networks ---


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
    """A network that does something it should not while it is built."""

    class Doing(TinyModel):
        @hookimpl
        def build_model(self, inputs, config):
            call()
            return super().build_model(inputs, config)

    return Doing


def over_faces(change, **hooks):
    """A network whose faces are passed through ``change`` at the end."""

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


# --- trainers ---


def training(change):
    """`PlainTrainer` whose step is followed by ``change(state, batch, result)``."""

    class Changed(PlainTrainer):
        @hookimpl
        def train_batch(self, state, batch):
            result = super().train_batch(state, batch)
            return change(state, batch, result) or result

    return Changed


def call_directly(state, batch, result):
    state["run"].network.model(list(batch.inputs.values()))


def with_graph(state, batch, result):
    losses = [attrs.evolve(x, total=x.total.requires_grad_()) for x in result.losses]
    return attrs.evolve(result, losses=losses)


def wrong_sum(state, batch, result):
    losses = [attrs.evolve(x, total=x.total * 2) for x in result.losses]
    return attrs.evolve(result, losses=losses)


@torch.no_grad()
def drift(state, batch, result):
    for weight in networks.weights(state["run"].network).values():
        weight.add_(0.001)


@torch.no_grad()
def blacken(state, batch, result):
    batch.inputs["a"].zero_()


def set_dtype(state, batch, result):
    torch.set_default_dtype(torch.float64)


class Stuck(PlainTrainer):
    @hookimpl
    def start_trainer(self, run):
        state = super().start_trainer(run)
        state["adam"].param_groups[0]["params"] = state["adam"].param_groups[0]["params"][:2]
        return state


class Upwards(PlainTrainer):
    @hookimpl
    def start_trainer(self, run):
        state = super().start_trainer(run)
        state["adam"].param_groups[0]["maximize"] = True
        return state


class Rash(PlainTrainer):
    @hookimpl
    def start_trainer(self, run):
        with torch.no_grad():
            next(iter(run.parameters().values())).zero_()
        return super().start_trainer(run)


class WithoutMemory(PlainTrainer):
    @hookimpl
    def trainer_state(self, state):
        return {}

    @hookimpl
    def restore_trainer(self, state, tree):
        return None


class ByNumber(PlainTrainer):
    @hookimpl
    def trainer_state(self, state):
        return {str(i): dict(s) for i, s in state["adam"].state_dict()["state"].items()}

    @hookimpl
    def restore_trainer(self, state, tree):
        full = state["adam"].state_dict()
        full["state"] = {int(number): slots for number, slots in tree.items()}
        state["adam"].load_state_dict(full)


class Fussy(PlainTrainer):
    @hookimpl
    def batch_needs(self):
        return {"face", "eye"}

    @hookimpl
    def train_batch(self, state, batch):
        assert batch.meta.masks["a"]["eye"]
        return super().train_batch(state, batch)


class Greedy(PlainTrainer):
    @hookimpl
    def batch_needs(self):
        return {"nose"}


def sampling(draw):
    """`PlainTrainer` whose sampler draws by ``draw(self, step)``."""

    class Sampler(CountedSampler):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            self.chance = np.random.default_rng(self.seed)
            self.heard = 0.0

        def update(self, step, indices, losses):
            self.heard += float(losses["a"].sum())

    Sampler.draw = draw

    class Sampling(PlainTrainer):
        @hookimpl
        def get_sampler(self, sizes, batch_size, seed):
            return Sampler(dict(sizes), batch_size, seed)

    return Sampling


def everything(self, size):
    return self.chance.integers(0, size, self.batch_size)


suite(TrainerSuite, "test_starting_changes_nothing_around_it", Rash)
suite(TrainerSuite, "test_the_masks_it_needs_exist", Greedy)
suite(
    TrainerSuite,
    "test_every_draw_is_a_batch",
    sampling(lambda self, step: {s: np.arange(self.batch_size) for s in self.sizes}),
)
suite(
    TrainerSuite,
    "test_draws_follow_from_seed_and_step",
    sampling(lambda self, step: {s: everything(self, n) for s, n in self.sizes.items()}),
)
suite(
    TrainerSuite,
    "test_every_face_has_its_turn",
    sampling(lambda self, step: dict.fromkeys(self.sizes, np.full(self.batch_size, step % 5))),
)
suite(
    TrainerSuite,
    "test_losses_too_new_change_no_draw",
    sampling(
        lambda self, step: dict.fromkeys(
            self.sizes, np.full(self.batch_size, int(self.heard * 1000) % 7)
        )
    ),
)
suite(
    TrainerSuite,
    "test_a_sampler_goes_on_where_it_was",
    sampling(lambda self, step: {s: everything(self, n) for s, n in self.sizes.items()}),
)
suite(TrainerSuite, "test_a_step_reports_its_losses", training(with_graph))
suite(TrainerSuite, "test_a_step_reports_its_losses", training(wrong_sum))
suite(TrainerSuite, "test_a_step_reports_its_losses", training(set_dtype))
suite(TrainerSuite, "test_the_loss_of_one_batch_falls", Upwards)
suite(TrainerSuite, "test_every_weight_moves_but_the_frozen", Stuck)
suite(TrainerSuite, "test_every_weight_moves_but_the_frozen", training(drift))
suite(TrainerSuite, "test_it_runs_the_network_through_forward_only", training(call_directly))
suite(TrainerSuite, "test_a_batch_is_left_as_it_was", training(blacken))
suite(TrainerSuite, "test_a_mask_that_the_faces_lack_is_no_fault", Fussy)
suite(TrainerSuite, "test_it_goes_on_to_the_bit", WithoutMemory)
suite(TrainerSuite, "test_a_run_with_it_resumes_exactly", WithoutMemory)
suite(TrainerSuite, "test_its_state_belongs_to_named_weights", ByNumber)
suite(TrainerSuite, "test_frozen_weights_do_not_disturb_the_rest", ByNumber)


# --- feeds ---


def feeding(**methods):
    """`ArrayFeed` whose open feed has other methods."""

    class Faces(ArrayFaces):
        pass

    for name, method in methods.items():
        setattr(Faces, name, method)

    class Feeding(ArrayFeed):
        @hookimpl
        def open_feed(self, folders, spec):
            return Faces(spec)

    return Feeding


def bytes_of(self, side, index, size):
    return ArrayFaces.picture(self, side, index, size) * 255


def streamed(self, side, index, size):
    return np.random.rand(size, size, 3).astype(np.float32)


def colour_blind(self, side, index, size):
    return ArrayFaces.picture(self, side, index, size)[..., :: (-1) ** size]


def always_bgr(self, side, index, size):
    picture = ArrayFaces.picture(self, side, index, size)
    return picture if self._spec.color_order == "bgr" else picture[..., ::-1]


def eager(self, sampler, step):
    ArrayFaces.start(self, sampler, step)
    sampler.draw(step + 10)


def whole_batch(self):
    spec, self._spec = self._spec, attrs.evolve(self._spec, slots=range(4))
    try:
        return ArrayFaces.next(self)
    finally:
        self._spec = spec


def restless(self, count):
    self._step += 1
    return ArrayFaces.preview(self, count)


suite(FeedSuite, "test_batches_hold_what_was_asked_for", feeding(picture=bytes_of))
suite(FeedSuite, "test_a_batch_follows_from_seed_and_step", feeding(picture=streamed))
suite(FeedSuite, "test_preparing_draws_from_no_global_generator", feeding(picture=streamed))
suite(FeedSuite, "test_the_colour_order_is_the_networks", feeding(picture=always_bgr))
suite(FeedSuite, "test_it_draws_no_further_ahead_than_it_says", feeding(start=eager))
suite(FeedSuite, "test_processes_share_a_batch", feeding(next=whole_batch))
suite(FeedSuite, "test_a_preview_is_always_the_same", feeding(preview=restless))
suite(FeedSuite, "test_folders_without_faces_are_refused", feeding())


# --- add-ons ---


def watching(**methods):
    """An add-on with one observer."""
    observer = type("Observer", (), methods)

    class Addon:
        name = "watching"

        @hookimpl
        def make_observers(self, run):
            made = observer()
            made.run = run
            return [made]

    return Addon


@torch.no_grad()
def spoil_weights(self, metrics):
    next(iter(self.run.parameters().values())).add_(1.0)


def spoil_preview(self, preview):
    for picture in preview.swaps.values():
        picture[:] = 0


def needs_start(self, metrics):
    return self.started


suite(AddonSuite, "test_observers_listen_to_events_that_exist", watching(on_metric=print))
suite(AddonSuite, "test_events_in_any_order", watching(on_metrics=needs_start))
suite(
    AddonSuite,
    "test_events_in_any_order",
    watching(on_preview=lambda self, preview: time.sleep(0.3)),
    seconds=0.1,
)
suite(AddonSuite, "test_watching_touches_nothing_that_trains", watching(on_metrics=spoil_weights))
suite(AddonSuite, "test_watching_touches_nothing_that_trains", watching(on_preview=spoil_preview))
suite(AddonSuite, "test_a_run_with_it_is_the_run_without", watching(on_metrics=needs_start))


# --- losses ---


def root(prediction, target):
    return (prediction - target).square().sum(dim=(1, 2, 3)).sqrt()


def mean(prediction, target):
    return (prediction - target).abs().mean()


def of_the_batch(prediction, target):
    return (prediction - target).abs() / (prediction - target).abs().amax()


def in_place(prediction, target):
    return prediction.sub_(target).abs()


def half_the_slope(prediction, target):
    difference = prediction - target
    return difference * difference.detach()


def read_back(prediction, target):
    return (prediction - target).abs() * max(1.0, prediction.max().item())


def noisy(prediction, target):
    return (prediction - target + torch.rand(1)).abs()


def negative(prediction, target):
    return -(prediction - target).abs()


def shifted(prediction, target):
    return (prediction - target).abs() + 1


def single(prediction, target):
    return (prediction.float() - target.float()).abs()


class Trained(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(1))

    def forward(self, prediction, target):
        return (prediction - target).abs() * self.scale


class Tinted:
    color_order: ClassVar[str] = "gbr"

    def __call__(self, prediction, target):
        return (prediction - target).abs()


suite(LossSuite, "test_equal_pictures_lose_what_they_should", root)
suite(LossSuite, "test_equal_pictures_lose_what_they_should", shifted)
suite(LossSuite, "test_the_result_has_one_of_the_forms", mean)
suite(LossSuite, "test_a_picture_does_not_depend_on_its_neighbours", of_the_batch)
suite(LossSuite, "test_making_and_calling_it_changes_nothing", in_place)
suite(LossSuite, "test_making_and_calling_it_changes_nothing", noisy)
suite(LossSuite, "test_gradients_agree_with_finite_differences", half_the_slope)
suite(LossSuite, "test_gradients_agree_with_finite_differences", single)
suite(LossSuite, "test_it_computes_where_the_pictures_are", read_back)
suite(LossSuite, "test_worse_pictures_lose_more", negative)
suite(LossSuite, "test_it_trains_no_weights", Trained)
suite(LossSuite, "test_what_it_asks_for_is_known", Tinted)


# --- optimisers ---


class Descent(torch.optim.Optimizer):
    """Steps along ``direction(gradient, weight, state, group)``."""

    def __init__(self, params, lr=0.1, weight_decay=0.0):
        if lr < 0:
            raise ValueError("lr must not be negative")
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    gradient = weight.grad + group["weight_decay"] * weight
                    state = self.state[weight]
                    weight.sub_(group["lr"] * self.direction(gradient, weight, state))

    def direction(self, gradient, weight, state):
        return gradient


def stepping(direction=None, **attributes):
    if direction is not None:
        attributes["direction"] = lambda self, *given: direction(*given)
    return type("Stepping", (Descent,), attributes)


def normed(gradient, weight, state):
    return gradient / gradient.norm()


def hidden(gradient, weight, state):
    weight.memory = 0.5 * getattr(weight, "memory", 0) + gradient
    return weight.memory * 0.5


def jittery(gradient, weight, state):
    return gradient * (0.9 + 0.2 * torch.rand(()))


def packed(gradient, weight, state):
    state.setdefault("mean", torch.zeros(weight.shape)).lerp_(gradient, 0.5)
    return state["mean"]


class OwnRate(Descent):
    def __init__(self, params, lr=0.1):
        super().__init__(params, lr)
        self.rate = lr

    def direction(self, gradient, weight, state):
        return gradient

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for weight in group["params"]:
                weight.sub_(self.rate * weight.grad)


class NoDecay(Descent):
    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            group["weight_decay"] = 0.0
        super().step()


class AnyRate(Descent):
    def __init__(self, params, lr=0.1):
        super().__init__(params, abs(lr))


def not_torch(params, lr):
    return object()


suite(OptimizerSuite, "test_it_is_a_torch_optimizer", not_torch)
suite(OptimizerSuite, "test_it_reaches_the_bottom_of_a_bowl", stepping(lambda g, w, s: -g))
suite(OptimizerSuite, "test_zero_gradients_are_no_fault", stepping(normed))
suite(OptimizerSuite, "test_it_goes_on_to_the_bit", stepping(hidden))
suite(OptimizerSuite, "test_a_step_is_the_same_every_time", stepping(jittery))
suite(OptimizerSuite, "test_its_state_lies_in_memory_as_the_weight_does", stepping(packed))
suite(OptimizerSuite, "test_the_rate_is_read_at_every_step", OwnRate)
suite(OptimizerSuite, "test_weights_without_a_gradient_are_passed_over", OwnRate)
suite(OptimizerSuite, "test_weight_decay_pulls_towards_zero", NoDecay)
suite(OptimizerSuite, "test_a_rate_below_zero_is_refused", AnyRate)
