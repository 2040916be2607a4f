"""Write a file with every option of a run, and check existing files of options."""

from __future__ import annotations

import contextlib
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import click
import tomli_w
from fs_kernel.errors import ConfigError, FsError, UsageError
from fs_kernel.options import (
    KERNEL_SECTIONS,
    FileSource,
    ModelFolderSource,
    OptionInfo,
    OptionSource,
    TrainingOptions,
    check_value,
    options_of,
    read_toml,
    resolve,
    to_toml_value,
)
from fs_kernel.plugins import (
    Plugin,
    discovery,
    has_hooks,
    is_local,
    load,
    load_role,
    merged_sections,
    record,
)
from fs_kernel.training import Request, ResolvedRun, resolve_run

_HEAD = """\
# Every option of: fs run -t {model} -c THIS_FILE
#
# Each stands at its value without this file, unless you set it when the file was made; delete what
# you do not mean to change. Whether an option may be changed later:
#   fixed      no: it belongs to the model from the day that is made
#   at start   when a session is started
#   live       while one runs, too
# An option behind a # follows from others of its section; remove the # to set it yourself.
"""


def write_all(parts: ResolvedRun) -> str:
    """Return every option of a run with its help, as TOML.

    An option whose default follows from others is written as a comment: as a value it would no
    longer follow.
    """
    blocks = [_HEAD.format(model=parts.plugins.model.name)]
    for section, values in parts.config.items():
        blocks.append("\n" + tomli_w.dumps(nested({section: {}})))
        fields = attrs.fields_dict(type(values))
        for name, (annotation, info) in options_of(type(values)).items():
            lines = tomli_w.dumps({name: to_toml_value(getattr(values, name))}).splitlines()
            follows = getattr(fields[name].default, "takes_self", False)
            if follows and f"{section}.{name}" not in parts.config.origins:
                lines = [f"# {line}" for line in lines]
            text = info.help, "; ".join(facts(annotation, info))
            notes = [
                f"# {line}"
                for part in text
                for line in textwrap.wrap(part, 96, break_on_hyphens=False)
            ]
            blocks.append("\n".join([*notes, *lines, ""]))
    return "\n".join(blocks)


def write_new(text: str, path: Path | None) -> None:
    """Write a new file, or to stdout if ``path`` is None.

    Raises:
        UsageError: the file exists, or cannot be written.
    """
    if path is None:
        click.echo(text, nl=False)
        return
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UsageError(f"{path} is there already; name another file") from None
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from None


def facts(annotation: Any, info: OptionInfo) -> list[str]:
    """Return an option's type, range or choices, and when it may be changed, in words."""
    limits = ""
    if info.choices:
        limits = " | ".join(map(str, info.choices))
    elif info.minimum is not None and info.maximum is not None:
        limits = f"{info.minimum:.12g} .. {info.maximum:.12g}"
    elif info.plugin:
        limits = "installed: " + ", ".join(f.name for f in discovery.installed(info.plugin))
    kind = getattr(annotation, "__name__", str(annotation)).replace("| None", "or none")
    return list(filter(None, [kind, limits, info.when]))


def nested(sections: Mapping[str, Any]) -> dict[str, Any]:
    """Return sections as nested tables, as TOML reads ``[model.original]``."""
    root: dict[str, Any] = {}
    for section, values in sections.items():
        *path, last = section.split(".")
        place = root
        for part in path:
            place = place.setdefault(part, {})
        place[last] = values
    return root


def sections_of(found: discovery.InstalledPlugin) -> dict[str, type]:
    """Return the option classes of an installed plugin by section; {} for a plugin without hooks.

    Raises:
        PluginError: it cannot be used.
    """
    if not has_hooks(found.kind):
        return {}
    sections: dict[str, type] = load_role(found.kind, found.name).config_defaults()
    return sections


def installed_sections() -> dict[str, list[type]]:
    """Return the option classes of every section of the kernel and of installed plugins.

    Two plugins that are never used in one run may give a section different classes. Plugins that
    cannot be used are left out.
    """
    classes: dict[str, list[type]] = {name: [cls] for name, cls in KERNEL_SECTIONS.items()}
    for found in discovery.installed():
        try:
            given = sections_of(found)
        except FsError:
            continue
        for section, cls in given.items():
            known = classes.setdefault(section, [])
            if cls not in known:
                known.append(cls)
    return classes


def check_file(
    path: Path, model: str | None = None, model_dir: Path | None = None
) -> tuple[list[str], list[str]]:
    """Check a file of options against the run it would configure.

    Args:
        path: the file.
        model: the model plugin; None for what the folder holds, or the default.
        model_dir: a model folder that would be resumed.

    Returns:
        The problems, one line each, and further lines for the user.

    Raises:
        FsError: the file is not TOML, or the model or model folder cannot be used itself.
    """
    base = resolve_run(Request(model_dir or Path(), model), ("models",), look=model_dir is not None)
    layers: list[OptionSource] = [FileSource(str(path), read_toml(path))]
    if base.checkpoint is not None:
        remembered = read_toml(base.checkpoints.config_path(base.checkpoint))
        layers.insert(0, ModelFolderSource(str(model_dir), remembered))
    chosen, problems = _choose(layers)
    role = base.plugins.model
    notes: list[str] = []
    classes = dict(KERNEL_SECTIONS)
    try:
        classes |= merged_sections([role, *chosen])
        config, notes = resolve(classes, layers, _elsewhere())
        role.store.replace(config)
        if not problems:
            role.network_spec()
    except ConfigError as error:
        problems += error.problems
    problems += _not_installed(layers[-1], classes)
    for section in layers[-1].values:
        if section in _elsewhere() and section not in classes:
            problems += _problems_of_unused(layers[-1], section)
            notes.append(f"{path}: this run does not use [{section}]")
    return problems, notes


def _elsewhere() -> dict[str, discovery.InstalledPlugin]:
    """Return the installed plugins by the section that is named after them."""
    return discovery.sections()


def _choose(layers: list[OptionSource]) -> tuple[list[Plugin], list[str]]:
    """Load every plugin that ``[training]`` names, and return them and the problems.

    Values that are not names are skipped: `resolve` reports them.
    """
    chosen: list[Plugin] = []
    problems: list[str] = []
    defaults = TrainingOptions()
    unnamed = record.unnamed(layers)
    for name, (annotation, info) in options_of(TrainingOptions).items():
        if info.plugin is None:
            continue
        default = value = getattr(defaults, name)
        origin = ""
        for layer in layers:
            given = layer.values.get("training", {})
            if name in given:
                value, origin = given[name], f"{layer.name}: training.{name}: "
        try:
            value = check_value(value, annotation, info)
        except Exception:
            continue
        for reference in value if isinstance(value, list) else [value]:
            if reference in unnamed:
                problems.append(f"{origin}{reference} is local code, only run when you name it")
                continue
            try:
                chosen.append(load_role(info.plugin, reference))
            except FsError as error:
                one = not isinstance(value, list)
                # A run warns and continues without a default add-on that is not installed.
                if origin or one:
                    problems.append(f"{origin}{error}")
                if one and reference != default:
                    with contextlib.suppress(FsError):
                        chosen.append(load_role(info.plugin, default))
    return chosen, problems


def _not_installed(layer: OptionSource, classes: dict[str, type]) -> Iterator[str]:
    """Yield a problem for each loss, optimizer or similar plugin that cannot be loaded."""
    for section, values in layer.values.items():
        known = options_of(classes[section]) if section in classes else {}
        for name, value in values.items():
            if name not in known or section == "training" or known[name][1].plugin is None:
                continue
            annotation, info = known[name]
            try:
                value = check_value(value, annotation, info)
            except Exception:
                continue
            for reference in value if isinstance(value, list) else [value]:
                if reference not in ("none", ""):
                    try:
                        if is_local(reference):
                            load(info.plugin or "", reference)
                        else:
                            discovery.find(info.plugin or "", reference)
                    except FsError as error:
                        yield f"{layer.name}: {section}.{name}: {error}"


def _problems_of_unused(layer: OptionSource, section: str) -> list[str]:
    try:
        classes = sections_of(_elsewhere()[section])
        if section in classes:
            values = {section: layer.values[section]}
            resolve({section: classes[section]}, [attrs.evolve(layer, values=values)])
    except ConfigError as error:
        return error.problems
    except FsError as error:
        return [f"{layer.name}: [{section}]: {error}"]
    return []
