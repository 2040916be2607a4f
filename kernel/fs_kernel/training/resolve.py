"""Resolve what a user asked for: the model folder, the plugins and every option of a run.

No network is built here, and nothing in the model folder is changed.
"""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from fs_kernel.errors import ConfigError, FacesError, ModelFolderError, PluginError, UsageError
from fs_kernel.options import Config, OptionSource, OptionStore, Resolution, options_of
from fs_kernel.options.defaults import KERNEL_SECTIONS, TrainingOptions
from fs_kernel.options.sources import CommandLineSource, FileSource, ModelFolderSource, read_toml
from fs_kernel.plugins import discovery, record
from fs_kernel.plugins.loading import LoadedPlugin, load
from fs_kernel.plugins.other_formats import refuse_other_format
from fs_kernel.plugins.plugin import Plugin
from fs_kernel.plugins.plugin_set import RunPlugins, load_role, make_role
from fs_kernel.storage import Checkpoints, ModelState
from fs_kernel.training.option_sources import (
    Sources,
    add_named_plugins,
    installed_renames,
    migrated,
)
from fs_kernel.types import Side


@attrs.define
class Request:
    """What was asked for.

    Attributes:
        model_dir: the model folder.
        model: name, path or object of the model plugin; None for what the folder holds.
        folders: faces per side; sides left out are remembered from the last session.
        config_file: a TOML file.
        values: ``{section: {option: value}}`` from the command line or the API.
        objects: plugin objects by kind, in place of the names in ``[training]``.
        load_weights: a model folder whose weights start a new model.
        addons: add-ons by name, path or object, in place of ``training.addons``.
        objectives: the same, in place of ``training.objectives``.
        without: add-ons to leave out, whatever the options say.
        workspace: where to write instead of the model folder, which is then only read.
        reset_trainer: start the trainer without the state that the checkpoint holds.
    """

    model_dir: Path
    model: Any = None
    folders: dict[Side, Path] = attrs.field(factory=dict)
    config_file: Path | None = None
    values: dict[str, dict[str, Any]] = attrs.field(factory=dict)
    objects: dict[str, Any] = attrs.field(factory=dict)
    load_weights: Path | None = None
    addons: Sequence[Any] | None = None
    objectives: Sequence[Any] | None = None
    without: tuple[str, ...] = ()
    workspace: Path | None = None
    reset_trainer: bool = False


@attrs.define
class ResolvedRun:
    """A run before anything is built.

    Attributes:
        request: what was asked for.
        checkpoints: those of the model folder.
        checkpoint: name of the checkpoint to resume from; None for a new model.
        state: what that checkpoint says of the model; None for a new one.
        plugins: the run's plugins.
        named: losses, optimizers and other plugins that options of the plugins name.
        options: every option, as it is now.
        before: every option as the model folder alone has it.
        warnings: lines the user should read.
        remembered: what the folder knew of its plugins.
        unnamed: the local files and references that only the folder's options name.
    """

    request: Request
    checkpoints: Checkpoints
    checkpoint: str | None
    state: ModelState | None
    plugins: RunPlugins
    named: dict[tuple[str, str], Plugin]
    options: OptionStore
    before: Config
    warnings: list[str]
    remembered: record.Facts
    unnamed: frozenset[str]

    @property
    def config(self) -> Config:
        """Return every option as it is now."""
        return self.options.config

    @property
    def folder(self) -> Path:
        """The folder to write in."""
        return self.request.workspace or self.request.model_dir

    def find(self, kind: str, name: str) -> Any:
        """Return a plugin by kind and name: one of the run's, a named one, or another."""
        for plugin in (*self.plugins.all, *self.named.values()):
            if plugin.kind == kind and plugin.name == name:
                return plugin
        if (kind, name) not in self.named:
            found = load_role(kind, name, self.options)
            found.config_defaults()
            self.named[kind, name] = found
        return self.named[kind, name]

    def required_fields(self) -> frozenset[str]:
        """Return what each batch must hold for trainer, objectives and losses."""
        plugins = (*self.plugins.all, *self.named.values())
        return frozenset(field for plugin in plugins for field in plugin.required_fields())


def resolve_run(
    request: Request, kinds: tuple[str, ...] | None = None, look: bool = True
) -> ResolvedRun:
    """Find the model, load its plugins and resolve every option.

    The plugins' names come first, since only they say which options there are.

    Args:
        request: what was asked for.
        kinds: load only these kinds of plugin (``fs swap`` needs no trainer); None for all.
        look: whether to look for a model in the folder.

    Raises:
        FsError: of the kind that fits; nothing has been written.
    """
    warnings: list[str] = []
    checkpoints = Checkpoints(request.model_dir)
    checkpoint, state = None, None
    if look and checkpoints.exists():
        checkpoint = checkpoints.latest_valid(warnings.append)
        state = ModelState.from_json(checkpoints.read_state(checkpoint), f"checkpoint {checkpoint}")
    elif look:
        refuse_other_format(request.model_dir)
    sources, notes = _read_sources(request, checkpoints, checkpoint)
    warnings += notes
    chosen = _choose(request, state, sources, kinds, warnings)

    store = OptionStore()
    plugins = RunPlugins(store, [make_role(item.kind, item, store) for item in chosen])
    classes = {**KERNEL_SECTIONS, **plugins.config_defaults()}
    remembered = dict(state.plugins) if state else {}
    current = [migrated(each, plugins, remembered) for each in sources.ordered]
    sources = Sources(current, sources.renames)
    named = add_named_plugins(classes, sources, store) if kinds is None else {}
    resolution = Resolution(classes, discovery.sections(), sources.renames)
    before: Config | None = None
    for source in sources.ordered:
        resolution.add(source)
        if source.of_model:
            # It is the lowest source, so this is what the folder has without the others.
            with contextlib.suppress(ConfigError):
                before = resolution.config()
    store.replace(resolution.config())
    for addon in plugins.addons:
        addon.check_options()
    upgrades = record.upgrade_notes(remembered, chosen, request.model_dir)
    return ResolvedRun(
        request,
        checkpoints,
        checkpoint,
        state,
        plugins,
        named,
        store,
        before or store.config,
        [*warnings, *resolution.notes, *upgrades],
        remembered,
        record.unnamed(sources.ordered, classes.values()),
    )


def trainer_of(request: Request) -> Any:
    """Return the trainer alone, for what it does before a run is resolved.

    Raises:
        FsError: of the kind that fits; nothing has been written.
    """
    checkpoints = Checkpoints(request.model_dir)
    checkpoint = checkpoints.current_name() if checkpoints.exists() else None
    sources, _ = _read_sources(request, checkpoints, checkpoint)
    return load_role("trainers", sources.resolution(KERNEL_SECTIONS).value("training", "trainer"))


def _read_sources(
    request: Request, checkpoints: Checkpoints, checkpoint: str | None
) -> tuple[Sources, list[str]]:
    """Return the sources of a run's options, and a line for each section that had an old name."""
    sources: list[OptionSource] = []
    if checkpoint is not None:
        values = read_toml(checkpoints.config_path(checkpoint))
        sources.append(ModelFolderSource(str(request.model_dir), values))
    if (path := request.config_file) is not None:
        sources.append(FileSource(str(path), read_toml(path)))
    sources.append(CommandLineSource("--set", request.values))
    renames = installed_renames()
    # Here, not in the resolution, because plugins migrate their sections before that.
    pairs = [renames.apply(source) for source in sources]
    lines = [line for _, found in pairs for line in found]
    return Sources([source for source, _ in pairs], renames), lines


def _choose(
    request: Request,
    state: ModelState | None,
    sources: Sources,
    kinds: tuple[str, ...] | None,
    warnings: list[str],
) -> list[LoadedPlugin]:
    """Load the model and the plugins that ``[training]`` names."""
    names = [name for name, (_, info) in options_of(TrainingOptions).items() if info.plugin]
    unnamed = record.unnamed(source.only("training", names) for source in sources.ordered)
    training = sources.resolution(KERNEL_SECTIONS)

    def take(kind: str, reference: Any) -> LoadedPlugin:
        if isinstance(reference, str) and reference in unnamed:
            before = state.plugins if state else {}
            raise record.not_named(kind, reference, before, request.model_dir)
        return load(kind, reference)

    model = request.model
    if model is None:
        model = record.remembered_model(state, request.model_dir) if state else "original"
    wanted = [("models", model)]
    for kind in ("trainers", "feeds", "executors"):
        given = request.objects.get(kind)
        wanted.append((kind, training.value("training", kind[:-1]) if given is None else given))
    chosen = [take(kind, it) for kind, it in wanted if kinds is None or kind in kinds]
    if state is not None and not record.is_model_of(chosen[0], state):
        raise ModelFolderError(
            f"{request.model_dir} is a model of '{state.model}', not of '{chosen[0].name}'; "
            "leave -t out, or choose another folder"
        )
    if kinds is not None:
        return chosen
    source = training.given.get("training.addons")
    named = request.addons is not None or not (source is None or source.of_model)
    listed = training.value("training", "addons") if request.addons is None else request.addons
    installed = [found.name for found in discovery.installed("addons")]
    for addon in (item for item in listed if item not in request.without):
        try:
            chosen.append(take("addons", addon))
        except PluginError as error:
            # A default one may be missing, but one that is installed must work.
            if named or addon in installed:
                raise
            warnings.append(f"running without it: {error}")
    listed = request.objectives
    listed = training.value("training", "objectives") if listed is None else listed
    return [*chosen, *(take("objectives", it) for it in listed)]


# --- what a run fixes when it starts ---


def resolve_seed(config: Config) -> int:
    """Return the run's seed: the one in the options, or a new one."""
    seed = config["training"].seed
    return random.SystemRandom().randrange(2**31) if seed is None else int(seed)


def resolve_folders(resolved: ResolvedRun, sides: tuple[Side, ...]) -> dict[Side, Path]:
    """Return the folder of faces of each side, given now or remembered.

    Raises:
        UsageError: a side has none, or there is no such side.
        FacesError: a folder is missing.
    """
    remembered: Mapping[str, str] = resolved.state.folders if resolved.state else {}
    given = resolved.request.folders
    if unknown := [side for side in given if side not in sides]:
        raise UsageError(f"this model has no side '{unknown[0]}' (it has {', '.join(sides)})")
    folders = {}
    for side in sides:
        path = given.get(side) or remembered.get(side)
        if path is None:
            give = f"-{side.upper()}" if side in ("a", "b") else f"--faces {side}"
            line = f"no folder of faces given for side {side.upper()}"
            raise UsageError(f"{line}: pass {give} FOLDER")
        folders[side] = Path(os.path.abspath(path))  # noqa: PTH100
        # What a feed can read is its own affair: a folder, or a packed file.
        if not folders[side].exists():
            raise FacesError(f"the folder of side {side.upper()} does not exist: {path}")
    return folders
