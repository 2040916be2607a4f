"""The hook reference is what the code says, and leaves nothing out."""

from __future__ import annotations

import inspect
import re

import hook_reference
import pytest
from fs_kernel.hookspecs import HOOKS_OF_KIND, CommonHooks
from fs_kernel.types import Observer

SPECS = [CommonHooks, *(each for specs, _ in HOOKS_OF_KIND.values() for each in specs)]
HOOKS = {name: hook for specs in SPECS for name, hook in hook_reference.hooks_of(specs).items()}


def test_the_page_is_up_to_date():
    page = hook_reference.PAGE.read_text("utf-8")
    assert page == hook_reference.write(), "run: python tests/docs/hook_reference.py"


def types_exported():
    """Return the names of what crosses the hooks."""
    return [name for name, _ in hook_reference.exported("fs_kernel.types")]


@pytest.mark.parametrize("name", HOOKS)
def test_every_argument_and_result_is_documented(name):
    given = inspect.signature(HOOKS[name])
    doc = hook_reference.parse(HOOKS[name].__doc__)
    assert list(doc.args) == list(given.parameters)[1:]
    assert all(text[-1] in ".)" for text in [*doc.args.values(), *doc.raises.values()])
    # One line that says what is returned is enough.
    text = doc.text.splitlines()[0]
    said = doc.returns or text.startswith(("Return ", "Create ", "Decide "))
    assert bool(said) == (given.return_annotation != "None")
    assert doc.text[-1] in ".)"


@pytest.mark.parametrize("name", HOOKS)
def test_every_hook_is_used_by_a_built_in_or_an_example(name):
    assert hook_reference.implementers().get(name)


@pytest.mark.parametrize("name", HOOKS)
def test_every_hook_and_argument_is_tried_by_a_test(name):
    """A test implements it, or runs a plugin of the testing kit or an example that does."""
    tried: set[str] = set()
    named = False
    for folder in ("tests", "kernel/fs_kernel/testing", "plugins_builtin"):
        found = hook_reference.implementations(hook_reference.ROOT / folder)
        tried |= found.get(name, set())
    for path in sorted((hook_reference.ROOT / "tests").rglob("*.py")):
        named |= re.search(rf"\b{name}\(", path.read_text("utf-8")) is not None
    assert named, "no test implements or calls it"
    assert set(inspect.signature(HOOKS[name]).parameters) - {"self"} <= tried


@pytest.mark.parametrize("name", HOOKS)
def test_every_hook_has_its_place_in_the_life_of_a_run(name):
    text = hook_reference.lifecycle() + hook_reference.SWAP
    assert name in text


@pytest.mark.parametrize("name", [n for n in vars(Observer) if n.startswith("on_")])
def test_every_event_is_on_the_page(name):
    assert f"`{name}(" in hook_reference.PAGE.read_text("utf-8")


@pytest.mark.parametrize("name", [*types_exported(), *hook_reference.OPTION_VALUES])
def test_every_value_is_on_the_page(name):
    assert f"\n### {name}\n" in hook_reference.PAGE.read_text("utf-8")


def test_a_docstring_is_split_as_written():
    doc = hook_reference.parse(
        """First line.

        More of it.

        Args:
            one: of two
                lines.
            two: short.

        Returns:
            A thing
            of two lines.

        Raises:
            ValueError: never.
        """
    )
    assert doc.text == "First line.\n\nMore of it."
    assert doc.args == {"one": "of two lines.", "two": "short."}
    assert doc.returns == "A thing of two lines."
    assert doc.raises == {"ValueError": "never."}
