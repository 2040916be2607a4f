"""Open everything a session needs, in order, and close it in reverse.

Until `require_space` nothing in the model folder is touched; a session that cannot start leaves no
trace.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from fs_kernel import backend, networks
from fs_kernel.errors import FacesError, FsError, UsageError
from fs_kernel.options.sources import Config
from fs_kernel.options.store import OptionStore
from fs_kernel.plugins import record
from fs_kernel.plugins.objects import ActiveObjective, OpenFeed
from fs_kernel.plugins.plugin_set import RunPlugins
from fs_kernel.storage.lock import FolderLock
from fs_kernel.storage.model_state import ModelState, SessionRecord
from fs_kernel.training import network_of, resolve
from fs_kernel.training.coordination import SingleProcess
from fs_kernel.training.events import EventBus
from fs_kernel.training.messages import captured_messages
from fs_kernel.training.resolve import ResolvedRun
from fs_kernel.training.space import disk_bytes, require_space
from fs_kernel.types import Coordinator, FeedSpec, Forward, Network, RunInfo, Side

if TYPE_CHECKING:
    import torch

T = TypeVar("T")


@attrs.define(eq=False)
class Session:
    """A session with everything but its trainer and its add-ons.

    Attributes:
        resolved: what was asked for, and the plugins and options that follow from it.
        options: the run's options, the one place where they are.
        plugins: the run's plugins.
        coordinator: how processes that share the run act together.
        events: where messages go.
        logs: the folder for what goes wrong, also for a process that writes nothing else.
        objectives: what adds terms to the trainer's loss, by name.
        addon_states: what the checkpoint holds of add-ons, by name.
        warnings: lines worth reading from the start.
        notes: lines about what was done at the start.
    """

    resolved: ResolvedRun
    options: OptionStore
    plugins: RunPlugins
    coordinator: Coordinator
    events: EventBus
    logs: Path
    device: torch.device
    seed: int
    network: Network
    graph: dict[str, Any]
    feed: OpenFeed
    forward: Forward
    state: ModelState
    info: RunInfo
    warnings: list[str]
    notes: list[str]
    _closing: contextlib.ExitStack
    objectives: dict[str, ActiveObjective] = attrs.field(factory=dict)
    addon_states: Mapping[str, Any] = attrs.field(factory=dict)
    failed: bool = False

    def find(self, kind: str, name: str, options: Config) -> Any:
        """Return a plugin by kind and name; the model remembers which losses and optimizers.

        Args:
            kind: "losses", "optimizers", "executors", ...
            name: as `fs_kernel.plugins.load` takes it.
            options: of the plugin that asks.

        Raises:
            PluginError: there is none, or only the model folder names the local file it is in.
        """
        folder, resolved = self.info.model_dir, self.resolved
        if name in resolved.unnamed:
            named_by = (
                f"{section}.{option}"
                for section, values in options.as_dict().items()
                for option, value in values.items()
                if value == name
            )
            give = f"--set {next(named_by, kind)}={{}}"
            raise record.not_named(kind, name, resolved.remembered, folder, give)
        role = resolved.find(kind, name)
        if kind in ("losses", "optimizers"):
            self.state.plugins[record.key(role.loaded)] = record.facts_of(role.loaded)
            record.keep_source(role.loaded, folder)
            self.warnings += record.upgrade_notes(resolved.remembered, [role.loaded], folder)
        return role

    def on_close(self, callback: Callable[[], object]) -> None:
        """Have something done when the session closes, before what was opened earlier."""
        self._closing.callback(_close, callback, self.events)

    def close(self, failed: bool) -> None:
        """Close everything, the last opened first. Safe to call more than once."""
        self.failed = self.failed or failed
        self._closing.close()


class _Opening:
    """A session on its way: what is known so far, and how to undo it."""

    def __init__(self, resolved: ResolvedRun, stack: contextlib.ExitStack) -> None:
        self.resolved, self.options, self.plugins = resolved, resolved.options, resolved.plugins
        self.stack, self.state = stack, resolved.state
        self.session: Session | None = None
        self.warnings, self.notes = list(resolved.warnings), list[str]()
        self.logs = resolved.folder / "logs"

    @property
    def step(self) -> int:
        """Steps done."""
        return 0 if self.state is None else self.state.iterations

    @property
    def failed(self) -> bool:
        """Whether the session ends with an error; one that was never opened does."""
        return self.session is None or self.session.failed

    @property
    def training(self) -> Any:
        """``[training]`` as it is now."""
        return self.options.config["training"]


def open_session(resolved: ResolvedRun) -> Session:
    """Connect processes, build the network, check the faces, make the folder.

    Raises:
        FsError: of the kind that fits.
    """
    with contextlib.ExitStack() as stack:
        opening = _Opening(resolved, stack)
        events = EventBus(lambda: opening.step)
        stack.enter_context(captured_messages(events.say))
        stack.callback(events.close)
        connected = opening.plugins.trainer.connect(opening.training.device)
        coordinator: Coordinator = connected or SingleProcess()
        stack.callback(lambda: coordinator.group.close(opening.failed))
        events.relays, events.context = not coordinator.is_main, coordinator.context
        _require_one_run(resolved, coordinator)
        if not coordinator.is_main:
            # It writes nothing, and what plugins write goes away with it.
            workspace = tempfile.mkdtemp(prefix=f"fs-process-{coordinator.rank}-")
            stack.callback(shutil.rmtree, workspace, ignore_errors=True)
            resolved.request = attrs.evolve(resolved.request, workspace=Path(workspace))
        seed = coordinator.broadcast(resolve.resolve_seed(opening.options.config))
        session = coordinator.everywhere(lambda: _prepare(opening, coordinator, events, seed))
        faces = {"the fingerprint of the faces": session.feed.fingerprint}
        coordinator.require_identical(faces, FacesError, "every machine needs the same faces")
        opening.session = session
        session._closing = stack.pop_all()
    return session


def _close(callback: Callable[[], object], events: EventBus) -> None:
    """Close one thing; what fails then is a warning, since all that counts is saved."""
    try:
        callback()
    except FsError as problem:
        events.warn(str(problem))


def _require_one_run(resolved: ResolvedRun, coordinator: Coordinator) -> None:
    """Compare what the processes of a group were given.

    Raises:
        UsageError: it is not the same run everywhere.
    """
    facts = {
        "the model folder's checkpoint": resolved.checkpoint or "none",
        "the version of torch": str(backend.torch().__version__),
        "the version of keras": backend.keras().__version__,
    }
    for plugin in resolved.plugins.all:
        known = (str(v) for v in plugin.loaded.identity().values() if v is not None)
        facts[f"the {plugin.kind[:-1]} '{plugin.name}'"] = " ".join(known)
    for section, values in resolved.options.config.as_dict().items():
        facts |= {f"{section}.{name}": f"{value!r}" for name, value in values.items()}
    coordinator.require_identical(facts, UsageError, "all processes of a run need the same")


def _prepare(opening: _Opening, coordinator: Coordinator, events: EventBus, seed: int) -> Session:
    resolved, plugins = opening.resolved, opening.plugins
    device = coordinator.group.device or backend.device(opening.training.device)
    _fit_batch_size(opening, device)
    built, lines = network_of.make_network(resolved, seed, device, opening.training.precision)
    opening.warnings += lines
    _freeze_and_load(opening, built)
    folders = resolve.resolve_folders(resolved, built.sides)
    feed = plugins.feed.open(folders, _feed_spec(opening, built, seed, coordinator, device))
    opening.stack.callback(_close, feed.close, events)
    opening.warnings += feed.warnings
    forward = plugins.executor.make_forward(built, device, opening.training.precision)
    state = _start_state(opening, built, folders, seed)
    info = _info(opening, built, feed, state, str(device), seed)
    if resolved.request.workspace is None:
        require_space(resolved, info.disk_bytes)
    lock = FolderLock(info.model_dir, coordinator.group.name)
    opening.stack.callback(lock.release)
    resolved.checkpoints.require_unchanged()
    for plugin in plugins.all:
        record.keep_source(plugin.loaded, info.model_dir)
    return Session(
        resolved=resolved,
        options=opening.options,
        plugins=plugins,
        coordinator=coordinator,
        events=events,
        logs=opening.logs,
        device=device,
        seed=seed,
        network=built,
        graph=networks.to_json(built),
        feed=feed,
        forward=forward,
        state=state,
        info=info,
        warnings=opening.warnings,
        notes=opening.notes,
        closing=opening.stack,
    )


def _fit_batch_size(opening: _Opening, device: torch.device) -> None:
    """Take the batch size that the trainer can do, for the whole run."""
    asked, trainer = opening.training.batch_size, opening.plugins.trainer
    fitted = trainer.fit_batch_size(asked, device)
    if fitted != asked:
        opening.warnings.append(
            f"batch size {asked} is {fitted} now: the trainer '{trainer.name}' needs that"
        )
        origin = f"fitted by the trainer '{trainer.name}'"
        opening.options.set("training", "batch_size", fitted, origin)


def _freeze_and_load(opening: _Opening, built: Network) -> None:
    resolved, frozen = opening.resolved, opening.training.freeze_weights
    source = resolved.request.load_weights
    names = opening.plugins.model.freeze_layers(built)
    missing = networks.freeze(built, names, frozen)
    if frozen:
        opening.warnings += [f"there is no sub-model '{name}' to freeze" for name in missing]
        done = ", ".join(name for name in names if name not in missing)
        opening.notes.append(f"frozen: {done or 'nothing'}")
    if source is not None and resolved.state is not None:
        opening.warnings.append("--load-weights is for a new model; this one resumes")
    elif source is not None:
        line, whole = network_of.load_weights(resolved, built, source, opening.warnings.append)
        (opening.notes if whole else opening.warnings).append(line)


def _feed_spec(
    opening: _Opening, built: Network, seed: int, coordinator: Coordinator, device: torch.device
) -> FeedSpec:
    size = opening.training.batch_size
    shapes = [tuple(tensor.shape[1:]) for tensor in built.model.inputs]
    return FeedSpec(
        input_shapes=dict(zip(built.sides, shapes, strict=True)),
        color_order=built.color_order,
        outputs=tuple(built.outputs),
        fields=opening.resolved.required_fields(),
        batch_size=size,
        seed=seed,
        local_indices=coordinator.local_indices(size),
        device=str(device),
    )


def _start_state(
    opening: _Opening, built: Network, folders: dict[Side, Path], seed: int
) -> ModelState:
    training, plugins = opening.training, opening.plugins
    state = opening.state = opening.state or ModelState(
        model=plugins.model.name,
        network_name=built.model.name,
        fingerprint=networks.fingerprint(built),
        parameters=networks.count(built),
    )
    state.target_iterations = training.iterations
    state.folders = {side: str(path) for side, path in folders.items()}
    state.model = plugins.model.name
    state.fingerprint = networks.fingerprint(built)
    state.parameters = networks.count(built)
    state.plugins = {record.key(p.loaded): record.facts_of(p.loaded) for p in plugins.all}
    state.begin(SessionRecord(time.time(), state.iterations, training.batch_size, seed))
    return state


def _info(
    opening: _Opening, built: Network, feed: OpenFeed, state: ModelState, device: str, seed: int
) -> RunInfo:
    training = opening.training
    return RunInfo(
        model_dir=opening.resolved.folder,
        model=state.model,
        network_name=state.network_name,
        trainer=state.plugins["trainers"]["name"],
        feed=state.plugins["feeds"]["name"],
        executor=state.plugins["executors"]["name"],
        sides=built.sides,
        parameters=state.parameters,
        batch_size=training.batch_size,
        device=device,
        precision=training.precision,
        seed=seed,
        session=len(state.sessions),
        start_step=state.iterations,
        target_steps=training.iterations,
        face_counts=feed.sizes,
        disk_bytes=disk_bytes(opening.resolved, state.parameters),
    )
