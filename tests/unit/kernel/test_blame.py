"""What plugins raise and return is blamed on them by name."""

from __future__ import annotations

import types

import pytest
from behind_roles import Addon, Model, role
from fake_packages import empty_plugin
from fs_kernel import hookimpl
from fs_kernel.errors import ConfigError, FacesError, PluginError
from fs_kernel.testing import ArrayFeed, PlainExecutor, PlainTrainer, TinyModel

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
    return role("models", plugin).network_spec()


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
def test_what_is_not_the_plugins_fault_passes(error):
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
    with pytest.raises(PluginError) as caught:
        role("models", "aaa").network_spec()
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

    faces = role("feeds", Feed()).read_faces(tmp_path, (4, 4, 3), "bgr")
    assert next(faces) == 1
    with pytest.raises(PluginError, match="feed 'arrays' failed in read_faces: ZeroDivisionError"):
        next(faces)


def test_what_cannot_be_done_without_a_hook_is_said(tmp_path):
    """ArrayFeed has no read_faces."""
    with pytest.raises(PluginError, match="has no hook read_faces"):
        list(role("feeds", ArrayFeed()).read_faces(tmp_path, (4, 4, 3), "bgr"))


# --- results ---


@pytest.mark.parametrize(
    ("kind", "plugin", "hook", "call"),
    [
        ("models", TinyModel, "network_spec", lambda p: p.network_spec()),
        ("models", TinyModel, "build_model", lambda p: p.build_model({})),
        ("trainers", PlainTrainer, "create_trainer", lambda p: p.create(None)),
        ("trainers", PlainTrainer, "get_sampler", lambda p: p.get_sampler({}, 1, 1, 1, {})),
        ("feeds", ArrayFeed, "open_feed", lambda p: p.open({}, None)),
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
    plugin = role(kind, Wrong())
    with pytest.raises(PluginError, match=f"returned {type(result).__name__} from {hook}, not "):
        call(plugin)


@pytest.mark.parametrize("result", [5, True])
def test_nonsense_from_observers_is_blamed(result):
    class Wrong(Addon):
        @hookimpl
        def create_addon(self):
            return types.SimpleNamespace(observers=lambda: result)

    with pytest.raises(PluginError, match="'Wrong' failed in observers: TypeError"):
        role("addons", Wrong()).create(None).observers()


@pytest.mark.parametrize("result", [5, ["a"], {"psnr": "high"}, {"psnr": None}])
def test_nonsense_from_evaluate_is_blamed(result):
    class Wrong(Addon):
        @hookimpl
        def create_addon(self):
            return types.SimpleNamespace(evaluate=lambda: result)

    with pytest.raises(PluginError, match="'Wrong' failed in evaluate: "):
        role("addons", Wrong()).create(None).evaluate()
