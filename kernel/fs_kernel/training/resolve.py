"""From what a user asked for to the parts of a run: folder, plugins, options, network.

Nothing in the model folder is changed here.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from fs_kernel.errors import (
    ConfigError,
    FacesError,
    ModelFolderError,
    PluginError,
    UsageError,
)
from fs_kernel.networks import precision
from fs_kernel.networks import serialization as graph
from fs_kernel.networks import weights as network
from fs_kernel.options.defaults import KERNEL_SECTIONS, TrainingOptions
from fs_kernel.options.sources import Config, Layer, read_toml, resolve
from fs_kernel.plugins import discovery
from fs_kernel.plugins import record as provenance
from fs_kernel.plugins import roles as plugins
from fs_kernel.plugins.loading import Chosen, load
from fs_kernel.plugins.other_formats import refuse_foreign, require_model
from fs_kernel.storage.checkpoints import Checkpoints
from fs_kernel.storage.model_state import ModelState
from fs_kernel.types import Network, Side

if TYPE_CHECKING:
    import torch


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
        temporary_workspace: where to write instead of the model folder, which is then only read.
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
    temporary_workspace: Path | None = None


@attrs.define
class Assembled:
    """The parts of a run before training starts; ``state`` is None for a new model.

    ``remembered`` is what the folder knew of its plugins, ``unnamed`` the local files and
    references that only its options name.
    """

    request: Request
    checkpoints: Checkpoints
    generation: str | None
    state: ModelState | None
    plugins: plugins.Plugins
    config: Config
    before: Config
    warnings: list[str]
    remembered: provenance.Facts
    unnamed: frozenset[str]

    def change(self, section: str, option: str, value: Any, step: int) -> None:
        """Give one option another value from ``step`` on, unchecked."""
        self.reset(self.config.changed(section, option, value, f"changed at step {step}"))

    def reset(self, config: Config) -> None:
        """Put another configuration in place of this one."""
        self.config = self.plugins.config = config


def assemble(
    request: Request, kinds: tuple[str, ...] | None = None, look: bool = True
) -> Assembled:
    """Find the model, choose and load its plugins, settle every option.

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
        generation = checkpoints.choose(warnings.append)
        state = ModelState.from_json(checkpoints.read_state(generation), f"generation {generation}")
    elif look:
        refuse_foreign(request.model_dir)
    layers = _layers(request, checkpoints, generation)
    chosen = _choose(request, state, layers, kinds, warnings)
    return _resolve(request, checkpoints, generation, state, chosen, layers, warnings)


def trainer_of(request: Request) -> plugins.Plugins:
    """The trainer alone, for what it does before a run is assembled.

    Raises:
        FsError: of the kind that fits; nothing has been written.
    """
    checkpoints = Checkpoints(request.model_dir)
    generation = checkpoints.current_name() if checkpoints.exists() else None
    names = [_names_only(layer) for layer in _layers(request, checkpoints, generation)]
    config, _ = resolve({"training": TrainingOptions}, names)
    return plugins.Plugins([load("trainers", config["training"].trainer)])


def _layers(request: Request, checkpoints: Checkpoints, generation: str | None) -> list[Layer]:
    layers = []
    if generation is not None:
        values = read_toml(checkpoints.config_path(generation))
        layers.append(Layer(str(request.model_dir), values, "model"))
    if request.config_file is not None:
        layers.append(Layer(str(request.config_file), read_toml(request.config_file), "file"))
    layers.append(Layer("--set", request.values, "set"))
    return layers


def _choose(
    request: Request,
    state: ModelState | None,
    layers: list[Layer],
    kinds: tuple[str, ...] | None,
    warnings: list[str],
) -> list[Chosen]:
    names = [_names_only(layer) for layer in layers]
    config, _ = resolve({"training": TrainingOptions}, names)
    training, folder = config["training"], str(request.model_dir)
    unnamed = provenance.unnamed(names)
    model = request.model
    if model is None:
        model = provenance.remembered_model(state, request.model_dir) if state else "original"
    wanted: list[tuple[str, Any]] = [
        ("models", model),
        ("trainers", request.objects.get("trainers", training.trainer)),
        ("feeds", request.objects.get("feeds", training.feed)),
        ("executors", request.objects.get("executors", training.executor)),
    ]

    def take(kind: str, reference: Any) -> Chosen:
        if not isinstance(reference, str) or reference not in unnamed:
            return load(kind, reference)
        before = state.plugins if state else {}
        raise provenance.not_named(kind, reference, before, request.model_dir)

    chosen = [take(*item) for item in wanted if kinds is None or item[0] in kinds]
    if state is not None and not provenance.is_model_of(chosen[0], state):
        raise ModelFolderError(
            f"{request.model_dir} is a model of '{state.model}', not of '{chosen[0].name}'; "
            "leave -t out, or choose another folder"
        )
    if kinds is None:
        named = request.addons is not None
        named = named or config.origins.get("training.addons", folder) != folder
        listed = training.addons if request.addons is None else request.addons
        for addon in (item for item in listed if item not in request.without):
            try:
                chosen.append(take("addons", addon))
            except PluginError as error:
                if named or (discovery.installed("addons") and not _missing(addon)):
                    raise
                warnings.append(f"running without it: {error}")
    return chosen


def _names_only(layer: Layer) -> Layer:
    """The plugin names of a layer: what else is wrong is reported with all the rest."""
    given = layer.values.get("training", {})
    names = {key: given[key] for key in ("trainer", "feed", "executor", "addons") if key in given}
    return attrs.evolve(layer, values={"training": names})


def _missing(addon: Any) -> bool:
    return all(found.name != addon for found in discovery.installed("addons"))


def _resolve(
    request: Request,
    checkpoints: Checkpoints,
    generation: str | None,
    state: ModelState | None,
    chosen: list[Chosen],
    layers: list[Layer],
    warnings: list[str],
) -> Assembled:
    facade = plugins.Plugins(chosen)
    classes = {**KERNEL_SECTIONS, **facade.config_defaults()}
    ignored = {f.section for f in discovery.installed()}
    remembered = dict(state.plugins) if state else {}
    layers = [_migrated(layer, facade, remembered) for layer in layers]
    config, lines = resolve(classes, layers, ignored)
    try:
        before, _ = resolve(classes, [layer for layer in layers if layer.kind == "model"], ignored)
    except ConfigError:
        before = config
    facade.config = config
    facade.check_options()
    lines += provenance.changes(remembered, chosen, request.model_dir)
    return Assembled(
        request,
        checkpoints,
        generation,
        state,
        facade,
        config,
        before,
        [*warnings, *lines],
        remembered,
        provenance.unnamed(layers, classes.values()),
    )


def _migrated(layer: Layer, facade: plugins.Plugins, remembered: provenance.Facts) -> Layer:
    """The model folder's options as the plugins of today know them."""
    values = dict(layer.values)
    for item in facade.chosen if layer.kind == "model" else ():
        was = remembered.get(provenance.key(item))
        if was is not None and provenance.upgraded(was, item):
            for section in (name for name in item.sections if name in values):
                version = was.get("version") or ""
                values[section] = facade.migrate_options(item, section, values[section], version)
    return attrs.evolve(layer, values=values)


def settle_seed(config: Config) -> int:
    """The run's seed: the one in the options, or a new one."""
    seed = config["training"].seed
    return random.SystemRandom().randrange(2**31) if seed is None else int(seed)


def make_network(
    parts: Assembled, seed: int, device: torch.device, number_format: str = "fp32"
) -> Network:
    """The network, with its weights: a new one, or what the checkpoint holds.

    Raises:
        FsError: the plugin or the checkpoint cannot make one.
    """
    with network.building(seed, device):
        if parts.generation is None:
            built = network.build(parts.plugins)
            built.mixed_layers = precision.following_layers(built)
        else:
            built = _adapt(parts, _rebuild(parts))
    if parts.generation is not None:
        tensors = parts.checkpoints.read_weights(parts.generation)
        _require_fingerprint(parts, built, tensors)
        network.assign(built, tensors, f"generation {parts.generation}")
    precision.apply(built, number_format, device.type)
    return built


def _adapt(parts: Assembled, built: Network) -> Network:
    sections = parts.plugins.of_kind("models").sections
    adapted = parts.plugins.adapt_model(built, parts.before.view(sections))
    if adapted is None:
        return built
    return attrs.evolve(built, model=adapted.model, outputs=adapted.outputs, extra=adapted.extra)


def read_graph(parts: Assembled) -> Network:
    """The network of the checkpoint's graph, weights not yet set. Call inside ``building``."""
    assert parts.generation is not None
    path = parts.checkpoints.network_path(parts.generation)
    source = f"generation {parts.generation}: {path.name}"
    data = graph.parse(path.read_bytes(), source)
    return graph.from_json(data, parts.plugins.custom_objects(), source)


def _rebuild(parts: Assembled) -> Network:
    item = parts.plugins.of_kind("models")
    try:
        return read_graph(parts)
    except ModelFolderError as error:
        if not provenance.has_changed(parts.remembered.get(provenance.key(item)), item):
            raise
        fitted = provenance.what_fitted(parts.remembered, item, parts.request.model_dir)
        raise ModelFolderError(f"{error}; {fitted}") from error


def _require_fingerprint(
    parts: Assembled, built: Network, tensors: Mapping[str, torch.Tensor]
) -> None:
    assert parts.state is not None
    if network.fingerprint(built) == parts.state.fingerprint:
        return
    if not (lines := network.differences(built, tensors)):
        return
    item = parts.plugins.of_kind("models")
    more = f" and {len(lines) - 3} more" if len(lines) > 3 else ""
    fitted = provenance.what_fitted(parts.remembered, item, parts.request.model_dir)
    raise ModelFolderError(
        f"generation {parts.generation} does not fit {item}, which builds another network now: "
        f"{', '.join(lines[:3])}{more}; {fitted}"
    )


def load_weights(
    parts: Assembled, built: Network, source: Path, warn: Callable[[str], None]
) -> tuple[str, bool]:
    """Start a new model from another model folder's sub-models.

    Returns:
        A line that says what matched, and whether everything did.

    Raises:
        ModelFolderError: there is no model of ours in ``source``.
        UsageError: nothing matched.
    """
    other = require_model(source)

    def read() -> tuple[dict[str, torch.Tensor], ModelState]:
        name = other.choose(warn)
        state = ModelState.from_json(other.read_state(name), f"generation {name}")
        return other.read_weights(name), state

    tensors, state = other.steadily(read)
    title = f"{source} ({state.network_name}, step {state.iterations})"
    fits = network.copy_sub_models(built, tensors, parts.plugins.load_layers(built), title)
    counts = ", ".join(f"{fit.name} {len(fit.copied)} of {fit.total}" for fit in fits)
    misfit = next(filter(None, (fit.misfit for fit in fits)), None)
    more = "" if misfit is None else f"; the first that does not fit: {misfit}"
    return f"weights loaded from {title}: {counts}{more}", misfit is None


def settle_folders(parts: Assembled, sides: tuple[Side, ...]) -> dict[Side, Path]:
    """The folder of faces of each side, given now or remembered.

    Raises:
        UsageError: a side has none, or there is no such side.
        FacesError: a folder is missing.
    """
    remembered: Mapping[str, str] = parts.state.folders if parts.state else {}
    given = parts.request.folders
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
