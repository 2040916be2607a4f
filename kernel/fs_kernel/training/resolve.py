"""Resolve what a user asked for: the model folder, the plugins and every option of a run.

No network is built here, and nothing in the model folder is changed.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from fs_kernel.errors import ConfigError, FacesError, ModelFolderError, PluginError, UsageError
from fs_kernel.options.defaults import KERNEL_SECTIONS
from fs_kernel.options.fields import options_of
from fs_kernel.options.resolution import Resolution, winning_value
from fs_kernel.options.sources import Config, OptionSource
from fs_kernel.options.store import OptionStore
from fs_kernel.plugins import discovery
from fs_kernel.plugins import record as provenance
from fs_kernel.plugins import roles as plugins
from fs_kernel.plugins.loading import Chosen, load
from fs_kernel.plugins.other_formats import refuse_foreign
from fs_kernel.storage.checkpoints import Checkpoints
from fs_kernel.storage.model_state import ModelState
from fs_kernel.training.named_plugins import add_named_plugins
from fs_kernel.training.option_sources import Sources, migrated, read_sources
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
        without: add-ons to leave out, whatever the options say.
        scratch: where to write instead of the model folder, which is then only read.
    """

    model_dir: Path
    model: Any = None
    folders: dict[Side, Path] = attrs.field(factory=dict)
    config_file: Path | None = None
    values: dict[str, dict[str, Any]] = attrs.field(factory=dict)
    objects: dict[str, Any] = attrs.field(factory=dict)
    load_weights: Path | None = None
    addons: Sequence[Any] | None = None
    without: tuple[str, ...] = ()
    scratch: Path | None = None


@attrs.define
class ResolvedRun:
    """A run before anything is built.

    Attributes:
        request: what was asked for.
        checkpoints: those of the model folder.
        generation: the checkpoint to resume from; None for a new model.
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
    generation: str | None
    state: ModelState | None
    plugins: plugins.Plugins
    named: list[Chosen]
    options: OptionStore
    before: Config
    warnings: list[str]
    remembered: provenance.Facts
    unnamed: frozenset[str]

    @property
    def config(self) -> Config:
        """Return every option as it is now."""
        return self.options.config

    def set_option(self, section: str, option: str, value: Any, step: int) -> None:
        """Give one option another value from ``step`` on, unchecked."""
        self.options.set(section, option, value, f"changed at step {step}")
        _show_options(self.plugins, self.options)

    def replace_config(self, config: Config) -> None:
        """Put another configuration in place of this one."""
        self.options.replace(config)
        _show_options(self.plugins, self.options)


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
    generation, state = None, None
    if look and checkpoints.exists():
        generation = checkpoints.latest_valid(warnings.append)
        state = ModelState.from_json(checkpoints.read_state(generation), f"generation {generation}")
    elif look:
        refuse_foreign(request.model_dir)
    sources = _sources(request, checkpoints, generation)
    warnings += sources.notes
    chosen = _choose(request, state, sources, kinds, warnings)

    facade = plugins.Plugins(chosen)
    classes = {**KERNEL_SECTIONS, **facade.config_defaults()}
    remembered = dict(state.plugins) if state else {}
    sources = migrated(sources, facade, remembered)
    named = add_named_plugins(classes, sources) if kinds is None else []
    resolution = Resolution(classes, discovery.sections(), sources.renames)
    before: Config | None = None
    for source in sources.ordered:
        resolution.add(source)
        if source.of_model:
            # It is the lowest source, so this is what the folder has without the others.
            before = _config_or_none(resolution)
    options = OptionStore(resolution.config())
    _show_options(facade, options)
    facade.check_options()
    upgrades = provenance.changes(remembered, chosen, request.model_dir)
    return ResolvedRun(
        request,
        checkpoints,
        generation,
        state,
        facade,
        named,
        options,
        before or options.config,
        [*warnings, *resolution.notes, *upgrades],
        remembered,
        provenance.unnamed(sources.ordered, classes.values()),
    )


def trainer_of(request: Request) -> plugins.Plugins:
    """Return the trainer alone, for what it does before a run is resolved.

    Raises:
        FsError: of the kind that fits; nothing has been written.
    """
    checkpoints = Checkpoints(request.model_dir)
    generation = checkpoints.current_name() if checkpoints.exists() else None
    sources = _sources(request, checkpoints, generation)
    name, _ = _name_of("trainer", sources)
    return plugins.Plugins([load("trainers", name)])


def _sources(request: Request, checkpoints: Checkpoints, generation: str | None) -> Sources:
    remembered = None if generation is None else checkpoints.config_path(generation)
    return read_sources(request.model_dir, remembered, request.config_file, request.values)


def _config_or_none(resolution: Resolution) -> Config | None:
    try:
        return resolution.config()
    except ConfigError:
        return None


# --- plugins ---


def _choose(
    request: Request,
    state: ModelState | None,
    sources: Sources,
    kinds: tuple[str, ...] | None,
    warnings: list[str],
) -> list[Chosen]:
    """Load the model and the plugins that ``[training]`` names."""
    unnamed = provenance.unnamed(_names_only(sources.ordered))

    def take(kind: str, reference: Any) -> Chosen:
        if not isinstance(reference, str) or reference not in unnamed:
            return load(kind, reference)
        before = state.plugins if state else {}
        raise provenance.not_named(kind, reference, before, request.model_dir)

    model = request.model
    if model is None:
        model = provenance.remembered_model(state, request.model_dir) if state else "original"
    wanted = [("models", model)]
    for kind, option in (("trainers", "trainer"), ("feeds", "feed"), ("executors", "executor")):
        given = request.objects.get(kind)
        wanted.append((kind, _name_of(option, sources)[0] if given is None else given))
    chosen = [take(kind, it) for kind, it in wanted if kinds is None or kind in kinds]
    if state is not None and not provenance.is_model_of(chosen[0], state):
        raise ModelFolderError(
            f"{request.model_dir} is a model of '{state.model}', not of '{chosen[0].name}'; "
            "leave -t out, or choose another folder"
        )
    if kinds is not None:
        return chosen
    listed, source = _name_of("addons", sources)
    named = request.addons is not None or not (source is None or source.of_model)
    listed = listed if request.addons is None else request.addons
    for addon in (item for item in listed if item not in request.without):
        try:
            chosen.append(take("addons", addon))
        except PluginError as error:
            # A default one may be missing, but one that is installed must work.
            if named or (discovery.installed("addons") and not _missing(addon)):
                raise
            warnings.append(f"running without it: {error}")
    return [*chosen, *(take("objectives", item) for item in _name_of("objectives", sources)[0])]


def _name_of(option: str, sources: Sources) -> tuple[Any, OptionSource | None]:
    """Return what an option of ``[training]`` names, and the source that does."""
    name = f"training.{option}"
    return winning_value(KERNEL_SECTIONS, sources.ordered, name, sources.renames)


def _names_only(sources: Iterable[OptionSource]) -> list[OptionSource]:
    training = options_of(KERNEL_SECTIONS["training"])
    names = [name for name, (_, info) in training.items() if info.plugin]
    return [source.only("training", names) for source in sources]


def _missing(addon: Any) -> bool:
    return all(found.name != addon for found in discovery.installed("addons"))


def _show_options(facade: plugins.Plugins, options: OptionStore) -> None:
    facade.config = options.config


# --- what is settled when a run starts ---


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
            raise UsageError(f"say where the faces of {side.upper()} are: -{side.upper()} FOLDER")
        folders[side] = Path(os.path.abspath(path))  # noqa: PTH100
        if not folders[side].is_dir():
            raise FacesError(f"the folder of side {side.upper()} does not exist: {path}")
    return folders
