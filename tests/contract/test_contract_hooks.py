"""Every hook is documented, called through the facade, and implemented by somebody."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import fs_addon_console
import fs_addon_preview
import fs_executor_keras
import fs_feed_faces
import fs_kernel
import fs_model_original
import fs_trainer_original
import pytest
from fs_kernel import hookspecs
from fs_kernel.hookspecs import HOOKS_OF_KIND, CommonHooks
from fs_kernel.loading import load
from fs_kernel.plugins import Plugins, _hook_names
from fs_kernel.testing import ArrayFeed, PlainExecutor, PlainTrainer, TinyModel

KERNEL = Path(fs_kernel.__file__).parent
SPECS = [CommonHooks, *(specs for specs, _ in HOOKS_OF_KIND.values())]
HOOKS = [(specs, name) for specs in SPECS for name in sorted(_hook_names(specs))]
IDS = [name for _, name in HOOKS]
#: Explained once for all hooks in the docstring of `config_defaults`, and of `Run` and `Network`.
EXPLAINED = {"self", "config", "run", "network", "state"}
#: What somebody has to implement; the hooks left out are for models and feeds that need them.
UNUSED = {"adapt_model", "build_inference"}
BUILT_IN = {
    "models": [TinyModel, fs_model_original],
    "trainers": [PlainTrainer, fs_trainer_original],
    "feeds": [ArrayFeed, fs_feed_faces],
    "executors": [PlainExecutor, fs_executor_keras],
    "addons": [fs_addon_console, fs_addon_preview],
}


def arguments(specs, name):
    return set(inspect.signature(getattr(specs, name)).parameters)


def files(*leave_out):
    return [
        p for p in sorted(KERNEL.rglob("*.py")) if p.relative_to(KERNEL).parts[0] not in leave_out
    ]


@pytest.mark.parametrize(("specs", "name"), HOOKS, ids=IDS)
def test_every_hook_says_what_it_is_for(specs, name):
    text = inspect.getdoc(getattr(specs, name))
    assert text
    assert text.splitlines()[0].endswith(".")


@pytest.mark.parametrize(("specs", "name"), HOOKS, ids=IDS)
def test_every_argument_is_mentioned(specs, name):
    text = inspect.getdoc(getattr(specs, name))
    documented = ast.get_docstring(ast.parse(inspect.getsource(specs)).body[0]) or ""
    missing = [
        argument
        for argument in arguments(specs, name) - EXPLAINED
        if not re.search(rf"\b{argument}\b", text + documented)
    ]
    assert missing == []


@pytest.mark.parametrize(("specs", "name"), HOOKS, ids=IDS)
def test_every_argument_is_typed_and_so_is_the_result(specs, name):
    signature = inspect.signature(getattr(specs, name))
    assert signature.return_annotation is not inspect.Signature.empty
    for argument in list(signature.parameters.values())[1:]:
        assert argument.annotation is not inspect.Parameter.empty
        assert argument.default is inspect.Parameter.empty


def test_what_config_is_stands_where_every_author_looks():
    assert "Every hook's ``config`` holds these" in inspect.getdoc(CommonHooks.config_defaults)


@pytest.mark.parametrize("kind", HOOKS_OF_KIND)
def test_required_hooks_exist_and_the_class_names_them(kind):
    specs, required = HOOKS_OF_KIND[kind]
    assert set(required) <= _hook_names(specs)
    for name in required:
        assert f"`{name}`" in specs.__doc__


def test_hook_names_are_unique_over_all_kinds():
    assert len(set(IDS)) == len(IDS)


def facade_calls():
    """Names of hooks in the calls that `Plugins` makes: ``self._call(item, "hook", ...)``."""
    found = {}
    for node in ast.walk(ast.parse((KERNEL / "plugins.py").read_text())):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in ("_call", "_demand")
        ):
            for argument in node.args:
                if isinstance(argument, ast.Constant) and argument.value in IDS:
                    found[argument.value] = node
    return found


@pytest.mark.parametrize("name", IDS)
def test_every_hook_is_called_by_the_facade_under_its_own_name(name):
    assert name in facade_calls()
    assert inspect.isfunction(getattr(Plugins, name))


def facade_uses():
    """Attributes read from anything in the kernel outside the facade and the testing kit."""
    return {
        node.attr
        for path in files("testing", "plugins.py", "hookspecs.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
    }


@pytest.mark.parametrize("name", IDS)
def test_every_hook_is_reached_by_the_kernel(name):
    assert name in facade_uses()


def test_hooks_are_reached_through_the_facade_only():
    guilty = []
    for path in files("plugins.py", "testing"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr in (
                "hook",
                "_pm",
                "subset_hook_caller",
            ):
                guilty.append(f"{path.name}:{node.lineno}")
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if path.name != "hookspecs.py" and "pluggy" in names:
                guilty.append(f"{path.name}:{node.lineno}")
    assert guilty == []


def implemented():
    found = {}
    for kind, plugins in BUILT_IN.items():
        for plugin in plugins:
            chosen = load(kind, plugin)
            facade = Plugins([chosen])
            for caller in facade._pm.get_hookcallers(chosen.plugin) or []:
                found.setdefault(caller.name, []).append(plugin)
    return found


def test_every_hook_is_implemented_by_a_plugin():
    assert set(IDS) - set(implemented()) == UNUSED


def test_the_hooks_waived_are_tried_in_the_kernels_tests():
    folder = Path(__file__).parents[1] / "unit/kernel"
    text = "\n".join(path.read_text() for path in folder.glob("*.py"))
    assert [name for name in UNUSED if f"def {name}(" not in text] == []


def test_the_version_of_the_contract_is_a_whole_number():
    assert hookspecs.API_VERSION == 1
