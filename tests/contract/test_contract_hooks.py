"""Every hook is typed, called through the facade, and gets what its specification says.

That each is documented, tried and implemented by somebody is tested with the reference, in
``tests/docs/test_hook_reference.py``.
"""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import attrs
import fs_kernel
import pytest
from fs_kernel import hookimpl, hookspecs
from fs_kernel.hookspecs import HOOKS_OF_KIND, CommonHooks
from fs_kernel.options import option
from fs_kernel.plugins.roles import Plugins, _hook_names
from fs_kernel.testing import PlainExecutor, TinyModel, tiny_run

KERNEL = Path(fs_kernel.__file__).parent
SPECS = [CommonHooks, *(specs for specs, _ in HOOKS_OF_KIND.values())]
HOOKS = [(specs, name) for specs in SPECS for name in sorted(_hook_names(specs))]
IDS = [name for _, name in HOOKS]


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


class Whole(TinyModel):
    """Takes every argument of the hooks that other plugins of the tests take less of."""

    def __init__(self):
        self.seen = {}

    @hookimpl
    def load_layers(self, network, config):
        self.seen["load_layers"] = (network.model.name, config["model.tiny"].width)
        return ["encoder"]

    @hookimpl
    def build_inference(self, network, source, target, config):
        self.seen["build_inference"] = (source, target, config["model.tiny"].width)


@attrs.frozen
class ExecutorOptions:
    threads: int = option(2, "Threads.", minimum=1, maximum=8)


class WholeExecutor(PlainExecutor):
    def __init__(self):
        self.seen = []

    @hookimpl
    def config_defaults(self):
        return {"executor.whole": ExecutorOptions}

    @hookimpl
    def make_forward(self, network, device, precision, config):
        threads = config["executor.whole"].threads
        self.seen.append((network.sides, device.type, precision, threads))
        return super().make_forward(network, device)


def test_every_argument_arrives(tmp_path):
    (tmp_path / "old").mkdir()
    (tmp_path / "new").mkdir()
    with tiny_run(tmp_path / "old", set={"training.iterations": 1}) as run:
        run.train()
    model, executor = Whole(), WholeExecutor()
    with tiny_run(
        tmp_path / "new",
        model=model,
        executor=executor,
        load_weights=tmp_path / "old/model",
        set={"training.precision": "bf16", "executor.whole.threads": 3},
    ) as run:
        run.swapper("a", "b")
    assert model.seen == {"load_layers": ("tiny", 16), "build_inference": ("a", "b", 16)}
    assert executor.seen == [(sides, "cpu", "bf16", 3) for sides in (("a", "b"), ("a",))]


def test_the_version_of_the_contract_is_a_whole_number():
    assert hookspecs.API_VERSION == 1
