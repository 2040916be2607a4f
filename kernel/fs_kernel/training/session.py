"""From the parts of a run to a session that is ready to train.

Until `require_space` nothing in the model folder is touched; a session that cannot start leaves no
trace.
"""

from __future__ import annotations

import contextlib
import math
import platform
import shutil
import sys
import tempfile
import time
import warnings as python_warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from fs_kernel import backend, memory
from fs_kernel.errors import ConfigError, FacesError, ModelFolderError, UsageError
from fs_kernel.networks import weights as network
from fs_kernel.networks.serialization import to_json
from fs_kernel.options.sources import Config
from fs_kernel.plugins import record as provenance
from fs_kernel.plugins.loading import load
from fs_kernel.storage import files as store
from fs_kernel.storage.lock import FolderLock
from fs_kernel.storage.model_state import ModelState, Session
from fs_kernel.training import resolve as assembly
from fs_kernel.training.coordination import Alone, require_alike, together
from fs_kernel.types import Feed, FeedSpec, Forward, Group, Network, RunInfo, Side

if TYPE_CHECKING:
    import torch


@attrs.define(eq=False)
class Started:
    """A session with everything but its trainer and its watchers.

    ``logs`` is the folder for what goes wrong, also for a process that writes nothing else.
    """

    parts: assembly.Assembled
    group: Group
    logs: Path
    device: torch.device
    seed: int
    network: Network
    graph: dict[str, Any]
    lock: FolderLock
    feed: Feed
    forward: Forward
    state: ModelState
    info: RunInfo
    warnings: list[str]
    notes: list[str]

    def find(self, kind: str, name: str, options: Config) -> Any:
        """A loss or an optimiser by name, file or reference; the model remembers which.

        Args:
            kind: "losses" or "optimizers".
            name: as `fs_kernel.plugins.loading.load` takes it.
            options: of the plugin that asks.

        Raises:
            PluginError: there is none, or only the model folder names the local file it is in.
        """
        folder, remembered = self.info.model_dir, self.parts.remembered
        if name in self.parts.unnamed:
            named_by = (
                f"{section}.{option}"
                for section, values in options.as_dict().items()
                for option, value in values.items()
                if value == name
            )
            give = f"--set {next(named_by, kind)}={{}}"
            raise provenance.not_named(kind, name, remembered, folder, give)
        item = load(kind, name)
        self.state.plugins[provenance.key(item)] = provenance.facts_of(item)
        provenance.keep_source(item, folder)
        self.warnings += provenance.changes(remembered, [item], folder)
        return item.plugin


def start(parts: assembly.Assembled) -> Started:
    """Build the network, check the faces, make the folder.

    Raises:
        FsError: of the kind that fits.
    """
    warnings, logs = list(parts.warnings), _folder(parts) / "logs"
    memory.keep_freed()
    with _heard(warnings):
        group = parts.plugins.join_group(parts.config["training"].device) or Alone()
    with contextlib.ExitStack() as undo:
        undo.callback(group.close, failed=True)
        _require_one_run(parts, group)
        if group.rank > 0:
            # It writes nothing, and what plugins write goes away with it.
            workspace = tempfile.mkdtemp(prefix=f"fs-process-{group.rank}-")
            undo.callback(shutil.rmtree, workspace, ignore_errors=True)
            parts.request = attrs.evolve(parts.request, temporary_workspace=Path(workspace))
        seed = group.share(assembly.settle_seed(parts.config))
        with together(group):
            session = _prepare(parts, group, logs, seed, warnings, undo)
        faces = {"the fingerprint of the faces": session.feed.fingerprint}
        require_alike(group, faces, FacesError, "every machine needs the same faces")
        undo.pop_all()
    return session


def _folder(parts: assembly.Assembled) -> Path:
    return parts.request.temporary_workspace or parts.request.model_dir


@contextlib.contextmanager
def _heard(lines: list[str]) -> Iterator[None]:
    """Take down what a plugin says with `warnings.warn`."""
    with python_warnings.catch_warnings(record=True) as said:
        python_warnings.simplefilter("always", UserWarning)
        yield
    lines += [str(item.message) for item in said if item.category is UserWarning]


def _require_one_run(parts: assembly.Assembled, group: Group) -> None:
    """Hold what the processes of a group were given against each other.

    Raises:
        UsageError: it is not the same run everywhere.
    """
    if group.size == 1:
        return
    facts = {
        "the model folder's generation": parts.generation or "none",
        "the version of torch": str(backend.torch().__version__),
        "the version of keras": backend.keras().__version__,
    }
    for item in parts.plugins.chosen:
        known = (str(value) for value in item.identity().values() if value is not None)
        facts[f"the {item.kind[:-1]} '{item.name}'"] = " ".join(known)
    for section, values in parts.config.as_dict().items():
        facts |= {f"{section}.{name}": f"{value!r}" for name, value in values.items()}
    require_alike(group, facts, UsageError, "all processes of a run need the same")


def _fit_batch_size(parts: assembly.Assembled, device: torch.device, lines: list[str]) -> None:
    """The batch size that the trainer can do, for the whole run."""
    asked = parts.config["training"].batch_size
    with _heard(lines):
        fitted = parts.plugins.fit_batch_size(asked, device)
    if fitted != asked:
        trainer = parts.plugins.of_kind("trainers").name
        lines.append(f"batch size {asked} is {fitted} now: the trainer '{trainer}' needs that")
        origin = f"fitted by the trainer '{trainer}'"
        parts.reset(parts.config.changed("training", "batch_size", fitted, origin))


def _prepare(
    parts: assembly.Assembled,
    group: Group,
    logs: Path,
    seed: int,
    warnings: list[str],
    undo: contextlib.ExitStack,
) -> Started:
    notes = list[str]()
    device = group.device or backend.device(parts.config["training"].device)
    _fit_batch_size(parts, device, warnings)
    built = assembly.make_network(parts, seed, device, parts.config["training"].precision)
    _freeze_and_load(parts, built, warnings, notes)
    graph = to_json(built)
    folders = assembly.settle_folders(parts, built.sides)
    feed = parts.plugins.open_feed(folders, _feed_spec(parts, built, seed, group, device))
    undo.callback(feed.close)
    warnings += feed.warnings
    forward = parts.plugins.make_forward(built, device, parts.config["training"].precision)
    state = _begin(parts, built, folders, seed)
    info = _info(parts, built, feed, state, str(device), seed)
    if parts.request.temporary_workspace is None:
        require_space(parts, info)
    lock = FolderLock(info.model_dir, group.name)
    undo.callback(lock.release)
    parts.checkpoints.require_unchanged()
    for item in parts.plugins.chosen:
        provenance.keep_source(item, info.model_dir)
    where = (parts, group, logs, device)
    return Started(*where, seed, built, graph, lock, feed, forward, state, info, warnings, notes)


def _freeze_and_load(
    parts: assembly.Assembled, built: Network, warnings: list[str], notes: list[str]
) -> None:
    source = parts.request.load_weights
    frozen = parts.config["training"].freeze_weights
    names = parts.plugins.freeze_layers(built)
    missing = network.freeze(built, names, frozen)
    if frozen:
        warnings += [f"there is no sub-model '{name}' to freeze" for name in missing]
        done = ", ".join(name for name in names if name not in missing)
        notes.append(f"frozen: {done or 'nothing'}")
    if source is not None and parts.state is not None:
        warnings.append("--load-weights is for a new model; this one resumes")
    elif source is not None:
        line, whole = assembly.load_weights(parts, built, source, warnings.append)
        (notes if whole else warnings).append(line)


def _feed_spec(
    parts: assembly.Assembled, built: Network, seed: int, group: Group, device: torch.device
) -> FeedSpec:
    size = parts.config["training"].batch_size
    shapes = [tuple(tensor.shape[1:]) for tensor in built.model.inputs]
    return FeedSpec(
        input_shapes=dict(zip(built.sides, shapes, strict=True)),
        color_order=built.color_order,
        outputs=tuple(built.outputs),
        masks=parts.plugins.batch_needs(),
        batch_size=size,
        seed=seed,
        slots=range(group.rank, size, group.size),
        device=str(device),
    )


def _begin(
    parts: assembly.Assembled, built: Network, folders: dict[Side, Path], seed: int
) -> ModelState:
    training = parts.config["training"]
    state = parts.state or ModelState(
        model=parts.plugins.of_kind("models").name,
        network_name=built.model.name,
        fingerprint=network.fingerprint(built),
        parameters=network.count(built),
    )
    state.target_iterations = training.iterations
    state.folders = {side: str(path) for side, path in folders.items()}
    state.model = parts.plugins.of_kind("models").name
    state.fingerprint = network.fingerprint(built)
    state.plugins = {provenance.key(i): provenance.facts_of(i) for i in parts.plugins.chosen}
    state.begin(Session(time.time(), state.iterations, training.batch_size, seed))
    return state


def _info(
    parts: assembly.Assembled,
    built: Network,
    feed: Feed,
    state: ModelState,
    device: str,
    seed: int,
) -> RunInfo:
    training = parts.config["training"]
    return RunInfo(
        model_dir=parts.request.temporary_workspace or parts.request.model_dir,
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
        face_counts={side: int(size) for side, size in feed.sizes.items()},
        disk_bytes=_disk_bytes(parts, state.parameters),
    )


def _disk_bytes(parts: assembly.Assembled, parameters: int) -> int:
    """What checkpoints will take: the kept ones, and one more while it is written.

    A generation's size is that of the last one, or for a new model the weights and two moments of
    four bytes each.
    """
    save = parts.config["save"]
    size = max((g.bytes for g in parts.checkpoints.generations()), default=parameters * 4 * 3)
    limit = save.max_disk.bytes or math.inf
    if 2 * size > limit:
        raise ConfigError(
            f"save.max_disk is {limit / 1e9:.3g} GB, too small for a checkpoint of about "
            f"{size / 1e9:.3g} GB and another one while it is written; "
            f"it takes {2 * size / 1e9:.3g} GB"
        )
    return int(min((save.keep + save.keep_best + 1) * size, limit))


def require_space(parts: assembly.Assembled, info: RunInfo) -> None:
    """Make the model folder, prove it is writable and that its generations will fit.

    Raises:
        ModelFolderError: it is read-only, or the disk is too small.
    """
    store.require_writable(info.model_dir)
    require_room(parts, info.disk_bytes)


def require_room(parts: assembly.Assembled, disk_bytes: int) -> int:
    """Bytes that are free where the model folder is, or will be. Nothing is written.

    Args:
        parts: of the run.
        disk_bytes: what its generations will take in all.

    Raises:
        ModelFolderError: the disk is too small.
    """
    folder = parts.checkpoints.model_dir
    there = next(path for path in (folder, *folder.absolute().parents) if path.is_dir())
    needed = disk_bytes - sum(g.bytes for g in parts.checkpoints.generations())
    free = shutil.disk_usage(there).free
    if free < needed:
        raise ModelFolderError(
            f"{folder}: saving needs about {needed / 1e9:.3g} GB more, "
            f"the disk has {free / 1e9:.3g} GB free"
        )
    return free


def run_facts(session: Started) -> dict[str, Any]:
    """What ``run.json`` says of a session."""
    return {
        "format": 1,
        "started": time.time(),
        "command": sys.argv,
        **attrs.asdict(session.info),
        "model_dir": str(session.info.model_dir),
        "processes": session.group.size,
        "faces_fingerprint": session.feed.fingerprint,
        "options": session.parts.config.as_dict(),
        "origins": session.parts.config.origins,
        "plugins": [{"kind": i.kind, **i.identity()} for i in session.parts.plugins.chosen],
        "libraries": {
            "python": platform.python_version(),
            "torch": backend.torch().__version__,
            "keras": backend.keras().__version__,
        },
        "platform": platform.platform(),
    }
