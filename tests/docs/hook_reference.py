"""Writes ``docs/hooks.md`` from the docstrings of the contract.

Run it with ``python tests/docs/hook_reference.py`` from anywhere.

Nothing is imported but the kernel's contract; who implements a hook is read from source.
"""

from __future__ import annotations

import ast
import functools
import inspect
import re
import textwrap
from pathlib import Path

import attrs
from fs_kernel import hookspecs, types
from fs_kernel.hookspecs import API_VERSION, HOOKS_OF_KIND, CommonHooks
from fs_kernel.plugins import discovery

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/hooks.md"
SECTIONS = ("Args", "Returns", "Raises")
#: Where plugins are that show how a hook is used.
HOMES = ("plugins_builtin/*", "tests/template/examples/*")


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
    """The hooks of one class of `fs_kernel.hookspecs`, in the order they are written."""
    return {name: f for name, f in vars(specs).items() if not name.startswith("_")}


@functools.cache
def implementations(folder: Path) -> dict[str, set[str]]:
    """The hooks that Python files below a folder implement, with the arguments they take."""
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
    """Per hook, the folders of the packages that implement it."""
    found: dict[str, list[str]] = {}
    for home in (path for pattern in HOMES for path in sorted(ROOT.glob(pattern))):
        for name in implementations(home):
            found.setdefault(name, []).append(home.relative_to(ROOT).as_posix())
    return found


def arguments(function: object) -> list[str]:
    """``name: type`` and, where there is one, the default of every argument but the first."""
    shown = []
    for p in list(inspect.signature(function).parameters.values())[1:]:  # type: ignore[arg-type]
        default = "" if p.default is p.empty else f" = {p.default!r}"
        shown.append(f"{p.name}: {p.annotation}{default}")
    return shown


def signature(name: str, hook: object) -> str:
    """A hook as an author writes it."""
    result = inspect.signature(hook).return_annotation  # type: ignore[arg-type]
    line = f"def {name}({', '.join(arguments(hook))}) -> {result}: ..."
    if len(line) > 88:
        inner = "".join(f"    {argument},\n" for argument in arguments(hook))
        line = f"def {name}(\n{inner}) -> {result}: ..."
    return f"```python\n@hookimpl\n{line}\n```"


def code(text: str) -> str:
    """Docstring markup as Markdown: ```` ``x`` ```` and `` `x` `` both are code."""
    return re.sub(r"``(.+?)``", r"`\1`", text)


def write_hook(name: str, hook: object, users: list[str], required: bool) -> list[str]:
    """One hook's part of the page."""
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
    users = sorted(users, key=lambda home: (not home.endswith("original"), home))[:2]
    shown = ", ".join(f"[{Path(home).name}](../{home})" for home in users)
    lines[-1] += f"To read: {shown}."
    return [*lines, ""]


def write_value(cls: type) -> list[str]:
    """One value's or protocol's part of the page."""
    doc = inspect.cleandoc(cls.__doc__ or "")
    text, _, attributes = doc.partition("Attributes:\n")
    lines = [f"### {cls.__name__}", "", code(text.strip()), ""]
    entries = _entries(textwrap.dedent(attributes))
    if attrs.has(cls):
        for field in attrs.fields(cls):
            said = f": {code(entries[field.name])}" if field.name in entries else ""
            lines.append(f"- `{field.name}: {field.type}`{said}")
        lines.append("")
    else:
        lines += [f"- `{name}: {kind}`" for name, kind in inspect.get_annotations(cls).items()]
    for name, member in vars(cls).items():
        if name.startswith("_") or not (inspect.isfunction(member) or isinstance(member, property)):
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
        lines += [f"  - raises `{key}`: {code(value)}" for key, value in said.raises.items()]
    return [*lines, ""] if lines[-1] else lines


def values() -> list[type]:
    """The classes of `fs_kernel.types`, in the order they are written."""
    return [
        value
        for value in vars(types).values()
        if inspect.isclass(value) and value.__module__ == types.__name__
    ]


def lifecycle() -> str:
    """The life of a run, from the engine's docstring."""
    source = (ROOT / "kernel/fs_kernel/training/loop.py").read_text("utf-8")
    doc = ast.get_docstring(ast.parse(source)) or ""
    drawing, _, after = doc.partition("::\n\n")[2].partition("\n\n")
    return f"```\n{textwrap.dedent(drawing)}\n```\n\n{after}"


SWAP = """A hook in the third column is called at that moment; what stands behind an arrow is told
to observers, each in a thread of its own. `fs swap` is shorter: `config_defaults`, the network from
its own graph (`custom_objects`), `build_inference`, `make_forward`, and for every face `read_faces`
and `write_face`; with `--average` also `averaged_weights`."""


def write() -> str:
    """The whole page."""
    head, _, rest = (hookspecs.__doc__ or "").strip().partition("\n")
    users = implementers()
    lines = [
        "# The hooks",
        "",
        "<!-- Made from kernel/fs_kernel/hookspecs.py and types.py by",
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
    kinds = [("Every kind", CommonHooks, ())]
    for kind, (specs, required) in HOOKS_OF_KIND.items():
        word = discovery.KINDS[kind].capitalize()
        kinds.append((f"{word}: `fs_kernel.{kind}`", specs, required))
    for title, specs, required in kinds:
        lines += [f"## {title}", "", code(inspect.cleandoc(specs.__doc__ or "")), ""]
        for name, hook in hooks_of(specs).items():
            lines += write_hook(name, hook, users.get(name, []), name in required)
    lines += ["## The values that cross the hooks", ""]
    lines += [code(inspect.cleandoc(types.__doc__ or "")), ""]
    for cls in values():
        lines += write_value(cls)
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    PAGE.write_text(write(), "utf-8")
    print(f"wrote {PAGE}")
