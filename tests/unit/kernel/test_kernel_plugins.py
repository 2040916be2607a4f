"""The facade over the chosen plugins: loading, checking, calling, blaming."""

from __future__ import annotations

import types

import attrs
import pytest
from fake_packages import empty_plugin
from fs_kernel import NetworkSpec, hookimpl, option
from fs_kernel.errors import ConfigError, FacesError, PluginError
from fs_kernel.plugins.loading import load
from fs_kernel.plugins.roles import Plugins
from fs_kernel.testing import ArrayFeed, PlainExecutor, PlainTrainer, TinyModel


def facade(*pairs):
    return Plugins([load(kind, plugin) for kind, plugin in pairs])


SHORT = NetworkSpec({"a": (2, 2, 3)})


@attrs.frozen
class Own:
    x: int = option(1, "X.")


class Model:
    """A model plugin whose hooks can be replaced one by one."""

    name = "m"

    @hookimpl
    def config_defaults(self):
        return {"model.m": Own}

    @hookimpl
    def network_spec(self, config):
        return NetworkSpec({"a": (config["model.m"].x, 1, 3)})

    @hookimpl
    def build_model(self):
        return None


class Addon:
    @hookimpl
    def make_observers(self, run):
        return [run]


def test_hooks_are_called_with_the_plugins_own_sections_only():
    plugins = facade(("models", Model()), ("trainers", PlainTrainer()), ("addons", Addon()))
    classes = plugins.config_defaults()
    assert classes == {"model.m": Own}
    from fs_kernel.options import resolve

    plugins.config = resolve({**classes, "training": Own}, [])[0]
    assert plugins.network_spec() == NetworkSpec({"a": (1, 1, 3)})
    assert list(plugins.view("models")) == ["model.m"]
    assert list(plugins.view("trainers")) == []


def test_optional_hooks_have_defaults():
    plugins = facade(("models", Model()), ("trainers", PlainTrainer()))
    plugins.config_defaults()
    plugins.config = plugins.config.__class__({"model.m": Own()})
    assert plugins.freeze_layers(None) == []
    assert plugins.load_layers(None) == []
    assert plugins.build_inference(None, "a", "b") is None
    assert plugins.custom_objects() == {}
    assert plugins.adapt_model(None, None) is None
    assert plugins.batch_needs() == frozenset()
    assert (
        plugins.trainer_state({"adam": types.SimpleNamespace(state_dict=lambda: {"state": {}})})
        == {}
    )


def test_plugins_may_leave_out_arguments():
    class Short(Model):
        @hookimpl
        def network_spec(self):
            return SHORT

    plugins = facade(("models", Short()))
    plugins.config_defaults()
    plugins.config = plugins.config.__class__({"model.m": Own()})
    assert plugins.network_spec() is SHORT


def test_each_addon_answers_for_itself():
    first, second = Addon(), Addon()
    first.name, second.name = "one", "two"
    plugins = facade(("addons", first), ("addons", second))
    one, two = plugins.chosen
    assert plugins.make_observers(one, "run 1") == ["run 1"]
    assert plugins.make_observers(two, "run 2") == ["run 2"]


def test_a_plugin_that_cannot_be_told_from_its_equals_is_refused():
    @attrs.define
    class Unhashable(Model):
        x: int = 5

    with pytest.raises(PluginError, match=r"model 'm' is not hashable.*eq=False"):
        facade(("models", Unhashable()), ("trainers", PlainTrainer()))


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
    assert facade(("models", Model()), ("trainers", same)).config_defaults() == {"model.m": Own}
    same.section = Other
    with pytest.raises(ConfigError, match=r"model 'm' and trainer 'plain' give different options"):
        facade(("models", Model()), ("trainers", same)).config_defaults()


@pytest.mark.parametrize(
    "given", [5, ["model.m"], {"model.m": 5}, {"model.m": dict}, {5: Own}, "model.m"]
)
def test_nonsense_from_config_defaults_is_blamed(given):
    class Wrong(Model):
        @hookimpl
        def config_defaults(self):
            return given

    with pytest.raises(PluginError, match=r"model 'm'.*config_defaults"):
        facade(("models", Wrong())).config_defaults()


def test_options_without_a_default_are_blamed():
    @attrs.frozen
    class Bare:
        x: int

    class Wrong(Model):
        @hookimpl
        def config_defaults(self):
            return {"model.m": Bare}

    with pytest.raises(PluginError, match=r"model 'm'.*config_defaults"):
        facade(("models", Wrong())).config_defaults()


# --- blame ---


class Failing(Model):
    error: BaseException = ValueError("broken inside")

    @hookimpl
    def network_spec(self):
        raise self.error

    @hookimpl
    def config_defaults(self):
        return {}


def call_failing(error):
    plugin = Failing()
    plugin.error = error
    plugins = facade(("models", plugin), ("trainers", PlainTrainer()))
    plugins.config_defaults()
    return plugins.network_spec()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("broken inside"), "ValueError: broken inside"),
        (ValueError("two\nlines"), "ValueError: two"),
        (ValueError(), "ValueError"),
        (SystemExit(3), "it called sys.exit(3)"),
        (SystemExit("bye"), "it called sys.exit('bye')"),
        (RecursionError("deep"), "RecursionError: deep"),
    ],
)
def test_a_raise_names_plugin_and_hook(error, reason):
    with pytest.raises(PluginError) as caught:
        call_failing(error)
    assert str(caught.value) == f"model 'm' failed in network_spec: {reason}"
    assert caught.value.plugin == "m"
    assert caught.value.__cause__ is error


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), FacesError("no faces"), ConfigError("x"), MemoryError()]
)
def test_what_is_no_fault_of_the_plugin_passes(error):
    with pytest.raises(type(error)) as caught:
        call_failing(error)
    assert caught.value is error


def test_blame_names_distribution_version_and_where_to_report(site):
    site.install(
        "fs-model-aaa",
        {"models": {"aaa": "aaa_blame"}},
        {"aaa_blame": empty_plugin("models").replace("pass", "raise OSError('disk')")},
        version="3.1",
        metadata="Project-URL: Bug Tracker, https://example.org/bugs\n",
    )
    plugins = Plugins([load("models", "aaa")])
    with pytest.raises(PluginError) as caught:
        plugins.network_spec()
    assert str(caught.value) == (
        "model 'aaa' (fs-model-aaa 3.1) failed in network_spec: OSError: disk; "
        "report it at https://example.org/bugs"
    )


def test_a_generator_of_faces_is_blamed_for_what_it_raises_later(tmp_path):
    class Feed(ArrayFeed):
        @hookimpl
        def read_faces(self):
            yield 1
            raise ZeroDivisionError("later")

    faces = facade(("feeds", Feed())).read_faces(tmp_path, (4, 4, 3), "bgr")
    assert next(faces) == 1
    with pytest.raises(PluginError, match="feed 'arrays' failed in read_faces: ZeroDivisionError"):
        next(faces)


def test_what_cannot_be_done_without_a_hook_is_said(tmp_path):
    """ArrayFeed has no read_faces."""
    with pytest.raises(PluginError, match="has no hook read_faces"):
        list(facade(("feeds", ArrayFeed())).read_faces(tmp_path, (4, 4, 3), "bgr"))


# --- results ---


@pytest.mark.parametrize(
    ("kind", "plugin", "hook", "call"),
    [
        ("models", TinyModel, "network_spec", lambda p: p.network_spec()),
        ("models", TinyModel, "build_model", lambda p: p.build_model({})),
        ("trainers", PlainTrainer, "train_batch", lambda p: p.train_batch(None, None, "ab")),
        ("trainers", PlainTrainer, "get_sampler", lambda p: p.get_sampler({}, 1, 1, 1, {})),
        ("feeds", ArrayFeed, "open_feed", lambda p: p.open_feed({}, None)),
        ("executors", PlainExecutor, "make_forward", lambda p: p.make_forward(0, 0, "fp32")),
    ],
)
@pytest.mark.parametrize("result", [None, 5, "x", (), [None]])
def test_nonsense_from_a_required_hook_is_blamed(kind, plugin, hook, call, result):
    class Wrong(plugin):
        @hookimpl
        def config_defaults(self):
            return {}

    setattr(Wrong, hook, hookimpl(lambda self: result))
    plugins = facade((kind, Wrong()))
    plugins.config_defaults()
    with pytest.raises(PluginError, match=f"returned {type(result).__name__} from {hook}, not "):
        call(plugins)


@pytest.mark.parametrize("result", [5, True])
def test_nonsense_from_make_observers_is_blamed(result):
    class Wrong(Addon):
        make_observers = hookimpl(lambda self: result)

    plugins = facade(("addons", Wrong()))
    with pytest.raises(PluginError, match="'Wrong' failed in make_observers: TypeError"):
        plugins.make_observers(plugins.chosen[0], None)


# --- what fits ---


def test_an_addon_with_a_models_hook_is_refused():
    class Wrong(Addon):
        @hookimpl
        def build_model(self):
            return None

    with pytest.raises(PluginError, match="'build_model' is no hook of an add-on"):
        facade(("addons", Wrong()))


def test_a_misspelt_hook_names_the_nearest():
    class Wrong(Model):
        @hookimpl
        def build_modl(self):
            return None

    with pytest.raises(
        PluginError, match=r"'build_modl' is no hook of a model; did you mean 'build_model'"
    ):
        facade(("models", Wrong()))


def test_a_hook_with_an_argument_nobody_gives_is_refused():
    class Wrong(Model):
        @hookimpl
        def build_model(self, inputz):
            return None

    with pytest.raises(PluginError, match="has no argument 'inputz'; it may take inputs, config"):
        facade(("models", Wrong()))


@pytest.mark.parametrize(
    ("kind", "hooks"),
    [
        ("models", "network_spec, build_model"),
        ("trainers", "start_trainer, train_batch, get_sampler"),
        ("feeds", "open_feed"),
        ("executors", "make_forward"),
    ],
)
def test_missing_required_hooks_are_named(kind, hooks):
    with pytest.raises(PluginError, match=f"lacks the hooks? {hooks} "):
        facade((kind, types.ModuleType("empty")))


def test_an_addon_may_be_empty():
    facade(("addons", types.ModuleType("empty")))


def test_an_unmarked_hook_is_no_hook():
    class Wrong(PlainExecutor):
        def make_forward(self, network, device, precision):
            return None

    with pytest.raises(PluginError, match=r"lacks the hook make_forward .is each marked"):
        facade(("executors", Wrong()))


def test_a_plugin_whose_attributes_raise_is_blamed():
    class Wrong(Model):
        @property
        def build_model(self):
            raise RuntimeError("attribute")

    with pytest.raises(PluginError, match="model 'm'"):
        facade(("models", Wrong()))


def test_the_same_addon_twice_is_one_clear_line():
    first, second = Addon(), Addon()
    first.name = second.name = "one"
    with pytest.raises(PluginError, match=r"add-on 'one'.*twice") as caught:
        facade(("addons", first), ("addons", second))
    assert "<" not in str(caught.value)
