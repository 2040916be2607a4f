"""Every hook is typed, called by the role of its kind, and gets what its specification says.

That each is documented, tried and implemented is tested with the page of hooks, in
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
from fs_kernel.plugins.plugin import hook_names
from fs_kernel.plugins.roles import ROLES
from fs_kernel.testing import PlainExecutor, TinyModel, tiny_run

KERNEL = Path(fs_kernel.__file__).parent
SPECS = [CommonHooks, *(each for specs, _ in HOOKS_OF_KIND.values() for each in specs)]
HOOKS = {name: getattr(specs, name) for specs in SPECS for name in hook_names(specs)}
#: Files of the kernel in which a role calls a hook by its name.
ROLE_FILES = ("plugins/roles.py", "plugins/plugin.py")


def files(*leave_out):
    """Return the files of the kernel that are not in these packages."""
    return [
        p for p in sorted(KERNEL.rglob("*.py")) if p.relative_to(KERNEL).parts[0] not in leave_out
    ]


@pytest.mark.parametrize("name", HOOKS)
def test_every_hook_says_what_it_is_for(name):
    text = inspect.getdoc(HOOKS[name])
    assert text
    assert text.splitlines()[0].endswith(".")


@pytest.mark.parametrize("name", HOOKS)
def test_every_argument_is_typed_and_so_is_the_result(name):
    signature = inspect.signature(HOOKS[name])
    assert signature.return_annotation is not inspect.Signature.empty
    for argument in list(signature.parameters.values())[1:]:
        assert argument.annotation is not inspect.Parameter.empty
        assert argument.default is inspect.Parameter.empty


@pytest.mark.parametrize("name", HOOKS)
def test_every_hook_gives_one_result(name):
    """A plugin has a manager of its own, so a list of results would have one item at most."""
    assert HOOKS[name].fs_kernel_spec["firstresult"]


def test_what_config_is_stands_where_every_author_looks():
    assert "hook's ``config`` holds these" in " ".join(
        inspect.getdoc(CommonHooks.config_defaults).split()
    )


@pytest.mark.parametrize("kind", HOOKS_OF_KIND)
def test_required_hooks_exist_and_the_class_names_them(kind):
    specs, required = HOOKS_OF_KIND[kind]
    assert set(required) <= {name for each in specs for name in hook_names(each)}
    for name in required:
        assert f"`{name}`" in specs[0].__doc__


def test_a_name_means_one_hook():
    """Hooks that kinds have in common are inherited, so that they are written once."""
    for name, hook in HOOKS.items():
        assert all(getattr(specs, name, hook) is hook for specs in SPECS), name


def test_every_kind_has_a_role():
    assert set(ROLES) == set(HOOKS_OF_KIND)


def role_calls():
    """Return names of hooks in calls of roles: ``self._call("hook", ...)``."""
    found = set()
    for file in ROLE_FILES:
        for node in ast.walk(ast.parse((KERNEL / file).read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                if node.func.attr in ("_call", "_call_expecting"):
                    found |= {a.value for a in node.args if isinstance(a, ast.Constant)}
                if ast.unparse(node.func.value).endswith("_manager.hook"):
                    found.add(node.func.attr)
    return found & set(HOOKS)


def test_every_hook_is_called_by_a_role():
    assert role_calls() == set(HOOKS)


def uses():
    """Return attributes read from anything in the kernel beside roles, hooks and the kit."""
    return {
        node.attr
        for path in files("testing", "hookspecs.py")
        if path.relative_to(KERNEL).as_posix() != "plugins/roles.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
    }


#: What `Role.create` and `Role.open` call, and what only packages call: fs-swap, and trainers by
#: ``run.find``.
ELSEWHERE = {
    *("create_trainer", "create_objective", "create_addon", "create_loss", "create_optimizer"),
    "open_feed",
    *("read_faces", "write_face", "averaged_weights"),
}


@pytest.mark.parametrize("name", set(HOOKS) - ELSEWHERE)
def test_every_hook_is_reached_by_the_kernel(name):
    assert name in uses()


def test_hooks_are_reached_through_the_roles_only():
    guilty = []
    for path in files("testing"):
        place = path.relative_to(KERNEL).as_posix()
        if place in (*ROLE_FILES, "hookspecs.py"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr in ("hook", "_manager", "_call"):
                guilty.append(f"{place}:{node.lineno}")
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if "pluggy" in names:
                guilty.append(f"{place}:{node.lineno}")
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
