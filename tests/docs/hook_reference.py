"""Write ``docs/hooks.md`` from the docstrings of the contract.

Run it with ``python tests/docs/hook_reference.py`` from anywhere.

Nothing is imported but the kernel's contract; who implements a hook is read from source.
"""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import re
import textwrap
from pathlib import Path

import attrs
from fs_kernel import hookspecs, options, types
from fs_kernel.hookspecs import API_VERSION, HOOKS_OF_KIND, CommonHooks
from fs_kernel.plugins import discovery

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/hooks.md"
SECTIONS = ("Args", "Returns", "Raises")
#: Classes of `fs_kernel.options` that hooks are given or return.
OPTION_VALUES = ("Config", "Interval", "Size", "OptionInfo")
#: Where plugins are that show how a hook is used.
HOMES = ("plugins_builtin/*", "tests/template/examples/*")
#: Those that show it best.
SHOWN_FIRST = ("fs-model-original", "fs-nn", "fs-addon-guard", "fs-objective-critic")


@attrs.frozen
class Docstring:
    """A docstring in Google's style: its text, and its sections."""

    text: str
    args: dict[str, str]
    returns: str
    raises: dict[str, str]


def parse(text: str) -> Docstring:
    """Split a docstring."""
    parts = re.split(rf"^({'|'.join(SECTIONS)}):\n", inspect.cleandoc(text), flags=re.MULTILINE)
    held = dict(zip(parts[1::2], map(textwrap.dedent, parts[2::2]), strict=True))
    return Docstring(
        parts[0].strip(),
        _entries(held.get("Args", "")),
        " ".join(held.get("Returns", "").split()),
        _entries(held.get("Raises", "")),
    )


def _entries(section: str) -> dict[str, str]:
    found = re.split(r"^(\w+): ", section, flags=re.MULTILINE)
    return {
        name: " ".join(text.split()) for name, text in zip(found[1::2], found[2::2], strict=True)
    }


def hooks_of(specs: type) -> dict[str, object]:
    """Return the hooks of a class of `fs_kernel.hookspecs`: its own, then those it inherits."""
    return {
        name: hook
        for cls in specs.__mro__[:-1]
        for name, hook in vars(cls).items()
        if not name.startswith("_")
    }


@functools.cache
def implementations(folder: Path) -> dict[str, set[str]]:
    """Return the hooks that files below a folder implement, with the arguments they take."""
    found: dict[str, set[str]] = {}
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef) and any(
                "hookimpl" in ast.unparse(mark) for mark in node.decorator_list
            ):
                found.setdefault(node.name, set()).update(a.arg for a in node.args.args)
    return found


@functools.cache
def implementers() -> dict[str, list[str]]:
    """Return per hook the folders of the packages that implement it."""
    found: dict[str, list[str]] = {}
    for home in (path for pattern in HOMES for path in sorted(ROOT.glob(pattern))):
        for name in implementations(home):
            found.setdefault(name, []).append(home.relative_to(ROOT).as_posix())
    return found


def arguments(function: object) -> list[str]:
    """Return ``name: type``, and its default, of every argument but the first."""
    shown = []
    for p in list(inspect.signature(function).parameters.values())[1:]:  # type: ignore[arg-type]
        default = "" if p.default is p.empty else f" = {p.default!r}"
        shown.append(f"{p.name}: {p.annotation}{default}")
    return shown


def signature(name: str, hook: object) -> str:
    """Return a hook as an author writes it."""
    result = inspect.signature(hook).return_annotation  # type: ignore[arg-type]
    line = f"def {name}({', '.join(arguments(hook))}) -> {result}: ..."
    if len(line) > 88:
        inner = "".join(f"    {argument},\n" for argument in arguments(hook))
        line = f"def {name}(\n{inner}) -> {result}: ..."
    return f"```python\n@hookimpl\n{line}\n```"


def code(text: str) -> str:
    """Return docstring markup as Markdown, where ```` ``x`` ```` and `` `x` `` both are code."""
    return re.sub(r"``(.+?)``", r"`\1`", text)


def write_hook(name: str, hook: object, users: list[str], required: bool) -> list[str]:
    """Return one hook's part of the page."""
    doc = parse(hook.__doc__ or "")
    lines = [f"### {name}", "", signature(name, hook), "", code(doc.text), ""]
    for title, entries in (("Arguments", doc.args), ("Raises", doc.raises)):
        if entries:
            lines += [f"{title}:", ""]
            lines += [f"- `{key}`: {code(text)}" for key, text in entries.items()]
            lines.append("")
    if doc.returns:
        lines += [f"Returns: {code(doc.returns)}", ""]
    lines.append("Required. " if required else "Optional. ")
    users = sorted(users, key=lambda home: (not home.endswith(SHOWN_FIRST), home))[:2]
    shown = ", ".join(f"[{Path(home).name}](../{home})" for home in users)
    lines[-1] += f"To read: {shown}."
    return [*lines, ""]


def write_value(cls: type) -> list[str]:
    """Return the part of the page of one record or protocol."""
    doc = inspect.cleandoc(cls.__doc__ or "")
    text, _, attributes = doc.partition("Attributes:\n")
    lines = [f"### {cls.__name__}", "", code(text.strip()), ""]
    entries = _entries(textwrap.dedent(attributes))
    if attrs.has(cls):
        for field in attrs.fields(cls):
            if not field.name.startswith("_"):
                said = f": {code(entries[field.name])}" if field.name in entries else ""
                lines.append(f"- `{field.name}: {field.type}`{said}")
        lines.append("")
    else:
        for name, kind in inspect.get_annotations(cls).items():
            said = f": {code(entries[name])}" if name in entries else ""
            lines.append(f"- `{name}: {kind}`{said}")
    for name, member in vars(cls).items():
        if isinstance(member, classmethod):
            member = member.__func__
        called = name == "__call__"
        if (name.startswith("_") and not called) or not (
            inspect.isfunction(member) or isinstance(member, property)
        ):
            continue
        function = member.fget if isinstance(member, property) else member
        said = parse(function.__doc__ or "")
        given = inspect.signature(function)
        inner = ", ".join(arguments(function))
        call = name if isinstance(member, property) else f"{name}({inner})"
        text = " ".join(said.text.split())
        lines.append(
            f"- `{call} -> {given.return_annotation}`" + (f": {code(text)}" if text else "")
        )
        lines += [f"  - `{key}`: {code(value)}" for key, value in said.args.items()]
        if said.returns:
            lines.append(f"  - returns: {code(said.returns)}")
        lines += [f"  - raises `{key}`: {code(value)}" for key, value in said.raises.items()]
    return [*lines, ""] if lines[-1] else lines


def write_alias(name: str, module: str) -> list[str]:
    """Return the part of the page of a type alias: its definition, and the comment above it."""
    source = Path(inspect.getsourcefile(importlib.import_module(module)) or "").read_text("utf-8")
    found = re.search(rf"((?:^#: .*\n)+)^{name}(?:: TypeAlias)? = (.*)$", source, re.MULTILINE)
    assert found is not None, f"{module}: {name} has no comment above it (#: ...)"
    said = " ".join(line.removeprefix("#: ") for line in found[1].splitlines())
    return [f"### {name}", "", f"`{name} = {found[2]}`", "", code(said), ""]


def exported(package: str) -> list[tuple[str, str]]:
    """Return the names that a package of the kernel exports, each with its module, in order."""
    stub = ROOT / "kernel" / package.replace(".", "/") / "__init__.pyi"
    lines = [n for n in ast.parse(stub.read_text("utf-8")).body if isinstance(n, ast.ImportFrom)]
    return [(alias.name, str(line.module)) for line in lines for alias in line.names]


def values() -> dict[str, list[str]]:
    """Return the names of `fs_kernel.types` per module, in the order they are written there."""
    found: dict[str, list[str]] = {}
    for name, module in exported("fs_kernel.types"):
        found.setdefault(module, []).append(name)
    for module, names in found.items():
        source = (ROOT / "kernel" / f"{module.replace('.', '/')}.py").read_text("utf-8")
        place = {n: re.search(rf"^(class )?{n}\b", source, re.MULTILINE) for n in names}
        names.sort(key=lambda n: place[n].start() if place[n] else 0)
    return found


def write_values() -> list[str]:
    """Return the part of the page about all that crosses the hooks."""
    lines = ["## The values that cross the hooks", "", code(inspect.cleandoc(types.__doc__ or ""))]
    for module, names in values().items():
        title = (importlib.import_module(module).__doc__ or "").splitlines()[0]
        lines += ["", f"**`{module.rpartition('.')[2]}`**: {title}", ""]
        for name in names:
            value = getattr(types, name)
            own = inspect.isclass(value) and value.__module__ == module
            lines += write_value(value) if own else write_alias(name, module)
        lines.pop()
    lines += ["", "**`fs_kernel.options`**: What options are made of.", ""]
    for name in OPTION_VALUES:
        lines += write_value(getattr(options, name))
    return lines


def lifecycle() -> str:
    """Return the life of a run, from the docstring of the loop."""
    source = (ROOT / "kernel/fs_kernel/training/loop.py").read_text("utf-8")
    doc = ast.get_docstring(ast.parse(source)) or ""
    drawing, _, after = doc.partition("::\n\n")[2].partition("\n\n")
    return f"```\n{textwrap.dedent(drawing)}\n```\n\n{after}"


SWAP = """What is in the third column is called at that moment, a hook of the plugin or a method of
the object that it created; what is behind an arrow is told to observers, each in a thread of its
own. `fs swap` is shorter: `config_defaults`, the network from
its own graph (`custom_objects`), `build_inference`, `make_forward`, and for every face `read_faces`
and `write_face`; with `--average` also `averaged_weights`."""


def write() -> str:
    """Return the whole page."""
    head, _, rest = (hookspecs.__doc__ or "").strip().partition("\n")
    users = implementers()
    lines = [
        "# The hooks",
        "",
        "<!-- Made from kernel/fs_kernel/hookspecs.py and kernel/fs_kernel/types by",
        "     tests/docs/hook_reference.py; change those, then run it. -->",
        "",
        code(head),
        code(rest.strip().rpartition("\n\n")[0]),
        "",
        f"This is plugin API {API_VERSION}; what may change, and how, is in "
        "[compatibility.md](compatibility.md). How to write a plugin is in "
        "[plugin-guide.md](plugin-guide.md).",
        "",
        "## The life of a run",
        "",
        lifecycle(),
        "",
        SWAP,
        "",
    ]
    lines += _kind("Every kind", CommonHooks, (), users)
    for kind, (specs, required) in HOOKS_OF_KIND.items():
        title = f"{discovery.KINDS[kind].capitalize()}: `fs_kernel.{kind}`"
        for number, each in enumerate(specs):
            lines += _kind(title if number == 0 else f"{title}, continued", each, required, users)
    lines += write_values()
    return "\n".join(lines).rstrip() + "\n"


def _kind(
    title: str, specs: type, required: tuple[str, ...], users: dict[str, list[str]]
) -> list[str]:
    lines = [f"## {title}", "", code(inspect.cleandoc(specs.__doc__ or "")), ""]
    for name, hook in hooks_of(specs).items():
        lines += write_hook(name, hook, users.get(name, []), name in required)
    return lines


if __name__ == "__main__":
    PAGE.write_text(write(), "utf-8")
    print(f"wrote {PAGE}")
