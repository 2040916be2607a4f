"""What made a model: which plugins, of which versions, from which files.

A model folder never chooses what code runs. Installed plugins are taken by the names it remembers;
a local file or reference is only run when the user names it in this session. Of every local file
that was used a copy lies in ``MODEL_DIR/plugins/``, to be read or given with ``-t``; nothing loads
it by itself.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs
import importlib_metadata

from fs_kernel.errors import ModelFolderError, PluginError
from fs_kernel.options.sources import OptionSource
from fs_kernel.plugins import discovery
from fs_kernel.plugins.loading import LoadedPlugin, LocalSource, is_local
from fs_kernel.storage import files
from fs_kernel.storage.model_state import ModelState
from fs_kernel.types import StateWriter

FOLDER = "plugins"
#: What is known of plugins by `key`, as `fs_kernel.storage.model_state.ModelState` holds it.
Facts = Mapping[str, Mapping[str, Any]]
#: How a user names a plugin of a kind; others by their option in [training].
_GIVE = {"models": "-t {}", "trainers": "--trainer {}"}


def key(item: LoadedPlugin) -> str:
    """Return where a plugin's facts stand: its kind, and its name where a run may have several."""
    single = item.kind in ("models", "trainers", "feeds", "executors")
    return item.kind if single else f"{item.kind}.{item.name}"


def facts_of(item: LoadedPlugin) -> dict[str, Any]:
    """Return what a checkpoint remembers of a plugin."""
    facts = item.identity()
    if item.found is not None and item.kind == "models":
        facts["libraries"] = _libraries(item.found.distribution)
    if item.source is not None:
        facts["copy"] = _copy_of(item.source)
    return facts


def _copy_of(source: LocalSource) -> str:
    mark = f"-{source.sha256[:8]}"
    return f"{FOLDER}/{source.path.stem.removesuffix(mark)}{mark}.py"


def _libraries(distribution: str) -> dict[str, str]:
    """Return the installed versions of what a distribution asks for."""
    found = {}
    for line in importlib_metadata.distribution(distribution).requires or ():
        if "extra ==" not in line and (match := re.match(r"[\w.-]+", line)):
            with contextlib.suppress(importlib_metadata.PackageNotFoundError):
                found[match[0]] = importlib_metadata.version(match[0])
    return found


def keep_source(item: LoadedPlugin, model_dir: Path) -> None:
    """Copy the file of a local plugin into the model folder.

    Raises:
        ModelFolderError: it cannot be written.
    """
    if item.source is not None:
        target = model_dir / _copy_of(item.source)
        try:
            target.parent.mkdir(exist_ok=True)
            files.write_atomic(target, item.source.code)
        except OSError as error:
            raise ModelFolderError(f"cannot write {target}: {error.strerror}") from error


def writer_of(before: Facts) -> StateWriter | None:
    """Return the trainer that wrote a checkpoint's trainer state; None if that is not known."""
    was = before.get("trainers")
    if not was or not isinstance(was.get("name"), str):
        return None
    name = discovery.renamed_to("trainers", was["name"])
    return StateWriter(name, was.get("distribution"), was.get("version"))


# --- what the user did not name ---


def unnamed(sources: Iterable[OptionSource], classes: Iterable[type] = ()) -> frozenset[str]:
    """Return the local references that only a model folder names.

    Args:
        sources: of the run's options.
        classes: option classes, whose defaults are their plugin's own word.
    """
    named = _references(attrs.asdict(cls()) for cls in classes)
    of_folder: set[str] = set()
    for source in sources:
        found = of_folder if source.of_model else named
        found |= _references(source.values.values())
    return frozenset(of_folder - named)


def _references(sections: Iterable[Mapping[str, Any]]) -> set[str]:
    values = (value for section in sections for value in section.values())
    flat = [item for value in values for item in (value if isinstance(value, list) else [value])]
    return {item for item in flat if isinstance(item, str) and is_local(item)}


def remembered_model(state: ModelState, model_dir: Path) -> str:
    """Return the name of the installed model plugin that a folder remembers.

    Raises:
        PluginError: it was a local one.
    """
    was = state.plugins.get("models", {})
    if "reference" in was or is_local(state.model):
        raise not_named("models", state.model, state.plugins, model_dir)
    if was.get("distribution") is None:
        raise PluginError(
            f"{model_dir} was made with a local plugin, '{state.model}'; name it with -t",
            state.model,
        )
    return state.model


def is_model_of(item: LoadedPlugin, state: ModelState) -> bool:
    """Return whether a model plugin is the one of a folder, or the package made of its local file.

    The kept copy of the file goes by the file's name, and so must the package.
    """
    was = state.plugins.get("models", {})
    if item.source is not None and item.source.sha256 == was.get("sha256"):
        item.name = state.model
    stem = state.model.partition(":")[0].rpartition(".")[2]
    packaged = "reference" in was and item.found is not None and item.name == stem
    return item.name == state.model or packaged


def not_named(
    kind: str, reference: str, before: Facts, model_dir: Path, give: str | None = None
) -> PluginError:
    """Return the error for code that only a model folder names.

    Args:
        kind: of the plugin.
        reference: as the folder has it.
        before: what the folder remembers of its plugins.
        model_dir: the folder.
        give: the option that names it, with ``{}`` for the reference; None for that of the kind.
    """
    same_kind = [facts for place, facts in before.items() if place.partition(".")[0] == kind]
    was = next((f for f in same_kind if reference in (f.get("name"), f.get("given"))), {})
    full = was.get("reference", reference)
    give = give or _GIVE.get(kind, f"--set training.{kind[:-1]}={{}}")
    copy = f" (a copy: {model_dir / str(was['copy'])})" if was.get("copy") else ""
    return PluginError(
        f"{model_dir} was trained with the local {discovery.word_for(kind)} {full}{copy}; "
        f"such code is only run when you name it: {give.format(full)}",
        reference,
    )


# --- what has changed ---


def upgraded(was: Mapping[str, Any] | None, item: LoadedPlugin) -> bool:
    """Return whether a plugin is of another distribution or version than the one remembered."""
    now = item.identity()
    return was is not None and any(was.get(f) != now[f] for f in ("distribution", "version"))


def has_changed(was: Mapping[str, Any] | None, item: LoadedPlugin) -> bool:
    """Return whether a plugin is `upgraded`, or a local file that was edited."""
    edited = was is not None and was.get("sha256") != item.identity().get("sha256")
    return edited or upgraded(was, item)


def upgrade_notes(before: Facts, chosen: Iterable[LoadedPlugin], model_dir: Path) -> list[str]:
    """Return a line on all plugins whose version has changed, and one per changed local file."""
    versions: list[str] = []
    files: dict[str, str] = {}
    for item in chosen:
        was, now = before.get(key(item), {}), item.identity()
        if was.get("name") != item.name:
            continue
        if was.get("distribution") and now["distribution"] and upgraded(was, item):
            other = "" if was["distribution"] == now["distribution"] else f"{now['distribution']} "
            versions.append(f"{was['distribution']} {was['version']} -> {other}{now['version']}")
        elif item.source is not None and was.get("sha256") not in (None, item.source.sha256):
            copy = model_dir / str(was.get("copy"))
            line = f"{item.source.path} has changed since; until now it was {copy}"
            kept = "; this folder keeps the network it has" if item.kind == "models" else ""
            files[line] = files.get(line) or kept
    told = ", ".join(dict.fromkeys(versions))
    upgrades = [f"changed since the last session: {told}"] if told else []
    return [*upgrades, *(line + kept for line, kept in files.items())]


def what_fitted(before: Facts, item: LoadedPlugin, model_dir: Path) -> str:
    """Return how to get back the model plugin that a folder was made with."""
    was = before.get(key(item), {})
    if was.get("copy"):
        return f"it was made with {model_dir / str(was['copy'])}"
    if not was.get("distribution"):
        return "it was made with another plugin object"
    wanted = {was["distribution"]: was["version"], **was.get("libraries", {})}
    now = {}
    if item.found is not None:
        now = {item.found.distribution: item.found.version, **_libraries(item.found.distribution)}
    other = [f"{name}=={version}" for name, version in wanted.items() if now.get(name) != version]
    if not other:
        return f"it was made with {was['distribution']} {was['version']} too, so that was changed"
    return f"what fits is: pip install {' '.join(other)}"
