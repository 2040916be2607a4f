"""Plugins behind the typed calls of their kinds: checked and called."""

from __future__ import annotations

import types

import attrs
import pytest
from behind_roles import SHORT, Addon, Model, Own, role, run_of
from fs_kernel import Config, NetworkSpec, hookimpl, option
from fs_kernel.errors import ConfigError, PluginError
from fs_kernel.options.fields import Interval
from fs_kernel.testing import PlainExecutor, PlainTrainer
from fs_kernel.types import StateWriter


def test_hooks_are_called_with_the_plugins_own_sections_only():
    plugins = run_of(("models", Model()), ("trainers", PlainTrainer()), ("addons", Addon()))
    assert plugins.config_defaults() == {"model.m": Own}
    assert plugins.model.network_spec() == NetworkSpec({"a": (1, 1, 3)})
    assert list(plugins.model.config) == ["model.m"]
    assert list(plugins.trainer.config) == []
    plugins.store.set("model.m", "x", 7, "a test")
    assert plugins.model.network_spec() == NetworkSpec({"a": (7, 1, 3)})


def test_optional_hooks_have_defaults():
    model = role("models", Model())
    assert model.freeze_layers(None) == []
    assert model.load_layers(None) == []
    assert model.build_inference(None, "a", "b") is None
    assert model.custom_objects() == {}
    assert model.adapt_model(None, Config({"model.m": Own()})) is None
    assert model.required_fields() == frozenset()
    assert model.migrate_options("model.m", {"x": 3}, "1") == {"x": 3}
    trainer = role("trainers", PlainTrainer())
    assert trainer.required_fields() == frozenset()
    assert trainer.build_networks(None) == {}
    assert trainer.averaged_weights({}) is None
    assert trainer.launch([], 2) is None
    assert trainer.connect("cpu") is None
    assert trainer.fit_batch_size(7, None) == 7
    assert trainer.accepts_state({}, StateWriter("plain", None, None)), "its own state"
    assert not trainer.accepts_state({}, StateWriter("other", None, None))


def test_optional_methods_of_objects_have_defaults():
    class Bare(PlainTrainer):
        @hookimpl
        def create_trainer(self):
            return types.SimpleNamespace(train_step=lambda batch: None)

    trainer = role("trainers", Bare()).create(None)
    assert trainer.state_dict() is None
    trainer.load_state_dict({})
    trainer.on_options_changed()
    with trainer.full_weights():
        trainer.close(failed=False)
    assert not trainer.adds_objectives
    addon = role("addons", types.ModuleType("empty")).create(None)
    assert (addon.observers(), addon.evaluate(), addon.check_metrics(None)) == ([], {}, None)
    assert addon.evaluation_interval == Interval()
    assert addon.on_bad_step(None) is False


def test_an_interval_may_be_written_as_users_write_it():
    made = types.SimpleNamespace(evaluation_interval="3it", evaluate=dict)
    plugin = types.SimpleNamespace(create_addon=None, name="timed")
    plugin = type("Timed", (), {"create_addon": hookimpl(lambda self: made)})
    addon = role("addons", plugin()).create(None)
    assert addon.evaluation_interval == Interval(steps=3)
    made.evaluation_interval = "soon"
    with pytest.raises(PluginError, match="'Timed' failed in evaluation_interval"):
        _ = addon.evaluation_interval


def test_plugins_may_leave_out_arguments():
    class Short(Model):
        @hookimpl
        def network_spec(self):
            return SHORT

    assert role("models", Short()).network_spec() is SHORT


def test_each_addon_answers_for_itself():
    first, second = Addon(), Addon()
    first.name, second.name = "one", "two"
    one, two = run_of(("addons", first), ("addons", second)).addons
    assert one.create("run 1").observers() == ["run 1"]
    assert two.create("run 2").observers() == ["run 2"]


def test_a_plugin_that_cannot_be_told_from_its_equals_is_refused():
    @attrs.define
    class Unhashable(Model):
        x: int = 5

    with pytest.raises(PluginError, match=r"model 'm' is not hashable.*eq=False"):
        role("models", Unhashable())


def test_two_sections_of_one_class_are_shared_and_of_two_classes_refused():
    @attrs.frozen
    class Other:
        x: int = option(2, "X.")

    class Trainer(PlainTrainer):
        section = Own

        @hookimpl
        def config_defaults(self):
            return {"model.m": self.section}

    same = Trainer()
    assert run_of(("models", Model()), ("trainers", same)).config_defaults() == {"model.m": Own}
    same.section = Other
    with pytest.raises(ConfigError, match=r"model 'm' and trainer 'plain' give different options"):
        run_of(("models", Model()), ("trainers", same))


@pytest.mark.parametrize(
    "given", [5, ["model.m"], {"model.m": 5}, {"model.m": dict}, {5: Own}, "model.m"]
)
def test_nonsense_from_config_defaults_is_blamed(given):
    class Wrong(Model):
        @hookimpl
        def config_defaults(self):
            return given

    with pytest.raises(PluginError, match=r"model 'm'.*config_defaults"):
        role("models", Wrong())


def test_options_without_a_default_are_blamed():
    @attrs.frozen
    class Bare:
        x: int

    class Wrong(Model):
        @hookimpl
        def config_defaults(self):
            return {"model.m": Bare}

    with pytest.raises(PluginError, match=r"model 'm'.*config_defaults"):
        role("models", Wrong())


# --- what fits ---


def test_an_addon_with_a_models_hook_is_refused():
    class Wrong(Addon):
        @hookimpl
        def build_model(self):
            return None

    with pytest.raises(PluginError, match="'build_model' is not a hook of an add-on"):
        role("addons", Wrong())


def test_a_misspelled_hook_names_the_nearest():
    class Wrong(Model):
        @hookimpl
        def build_modl(self):
            return None

    with pytest.raises(
        PluginError, match=r"'build_modl' is not a hook of a model; did you mean 'build_model'"
    ):
        role("models", Wrong())


def test_a_hook_with_an_unknown_argument_is_refused():
    class Wrong(Model):
        @hookimpl
        def build_model(self, inputz):
            return None

    with pytest.raises(PluginError, match="has no argument 'inputz'; it may take inputs, config"):
        role("models", Wrong())


@pytest.mark.parametrize(
    ("kind", "hooks"),
    [
        ("models", "network_spec, build_model"),
        ("trainers", "create_trainer, get_sampler"),
        ("feeds", "open_feed"),
        ("executors", "make_forward"),
    ],
)
def test_missing_required_hooks_are_named(kind, hooks):
    with pytest.raises(PluginError, match=f"lacks the hooks? {hooks} "):
        role(kind, types.ModuleType("empty"))


def test_an_addon_may_be_empty():
    role("addons", types.ModuleType("empty"))


def test_an_unmarked_hook_is_not_a_hook():
    class Wrong(PlainExecutor):
        def make_forward(self, network, device, precision):
            return None

    with pytest.raises(PluginError, match=r"lacks the hook make_forward .is each marked"):
        role("executors", Wrong())


def test_a_plugin_whose_attributes_raise_is_blamed():
    class Wrong(Model):
        @property
        def build_model(self):
            raise RuntimeError("attribute")

    with pytest.raises(PluginError, match="model 'm'"):
        role("models", Wrong())


def test_the_same_addon_twice_is_one_clear_line():
    first, second = Addon(), Addon()
    first.name = second.name = "one"
    with pytest.raises(PluginError, match=r"add-on 'one'.*twice") as caught:
        run_of(("addons", first), ("addons", second))
    assert "<" not in str(caught.value)
