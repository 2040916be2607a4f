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
from typing import TYPE_CHECKING, Any

import attrs

from fs_kernel import backend, networks
from fs_kernel.errors import FacesError, FsError, UsageError
from fs_kernel.options.sources import Config
from fs_kernel.plugins import record
from fs_kernel.plugins.objects import ActiveObjective, OpenFeed
from fs_kernel.storage.lock import FolderLock
from fs_kernel.storage.model_state import ModelState, SessionRecord
from fs_kernel.training import network_of, resolve
from fs_kernel.training.coordination import SingleProcess
from fs_kernel.training.events import EventBus
from fs_kernel.training.messages import captured_messages
from fs_kernel.training.resolve import ResolvedRun
from fs_kernel.training.space import disk_bytes, require_space
from fs_kernel.types import Coordinator, FeedSpec, RunInfo

if TYPE_CHECKING:
    import torch


class Session:
    """Everything of a run but its trainer and its add-ons, opened when it is made.

    Args:
        resolved: what was asked for, and the plugins and options that follow from it.

    Attributes:
        resolved: the same.
        options: the run's options, the one place where they are.
        plugins: the run's plugins.
        events: where messages go.
        coordinator: how processes that share the run act together.
        logs: the folder for what goes wrong, also for a process that writes nothing else.
        device: where to compute.
        seed: key of all randomness.
        network: what is trained.
        graph: the network as ``network.json`` has it.
        feed: makes batches.
        forward: runs the network.
        state: what the model remembers.
        info: the facts of the session.
        objectives: what adds terms to the trainer's loss, by name.
        addon_states: what the checkpoint holds of add-ons, by name.
        warnings: lines worth reading from the start.
        notes: lines about what was done at the start.
        failed: whether the session ends with an error; true until it is open.

    Raises:
        FsError: of the kind that fits; what was opened is closed.
    """

    def __init__(self, resolved: ResolvedRun) -> None:
        self.resolved, self.options, self.plugins = resolved, resolved.options, resolved.plugins
        self.warnings, self.notes = list(resolved.warnings), list[str]()
        self.objectives: dict[str, ActiveObjective] = {}
        self.addon_states: Mapping[str, Any] = {}
        self.failed, self._closing = True, contextlib.ExitStack()
        self.logs = resolved.folder / "logs"
        self.state: ModelState | Any = resolved.state
        self.events = EventBus(lambda: self.state.iterations if self.state else 0)
        with self._closing as stack:
            self._connect()
            self.seed = self.coordinator.broadcast(resolve.resolve_seed(self.options.config))
            self.coordinator.everywhere(self._open)
            faces = {"the fingerprint of the faces": self.feed.fingerprint}
            self.coordinator.require_identical(
                faces, FacesError, "every machine needs the same faces"
            )
            self.failed, self._closing = False, stack.pop_all()

    def on_close(self, callback: Callable[..., object], *arguments: Any) -> None:
        """Have something called when the session closes, before what was opened earlier.

        What fails then is a warning, since all that counts is saved.
        """

        def close() -> None:
            try:
                callback(*arguments)
            except FsError as problem:
                self.events.warn(str(problem))

        self._closing.callback(close)

    def close(self, failed: bool) -> None:
        """Close everything, the last opened first. Safe to call more than once."""
        self.failed = self.failed or failed
        self._closing.close()

    # --- opening, in this order ---

    def _connect(self) -> None:
        """Catch messages, and connect to the processes that share the run.

        Raises:
            UsageError: it is not the same run everywhere.
        """
        resolved = self.resolved
        self._closing.enter_context(captured_messages(self.events.say))
        self._closing.callback(self.events.close)
        connected = self.plugins.trainer.connect(self._training.device)
        self.coordinator: Coordinator = connected or SingleProcess()
        self._closing.callback(lambda: self.coordinator.group.close(self.failed))
        self.events.relays = not self.coordinator.is_main
        self.events.context = self.coordinator.context
        facts = {
            "the model folder's checkpoint": resolved.checkpoint or "none",
            "the version of torch": str(backend.torch().__version__),
            "the version of keras": backend.keras().__version__,
        }
        for plugin in self.plugins.all:
            known = (str(v) for v in plugin.loaded.identity().values() if v is not None)
            facts[f"the {plugin.kind[:-1]} '{plugin.name}'"] = " ".join(known)
        for section, values in self.options.config.as_dict().items():
            facts |= {f"{section}.{name}": f"{value!r}" for name, value in values.items()}
        self.coordinator.require_identical(
            facts, UsageError, "all processes of a run need the same"
        )
        if not self.coordinator.is_main:
            # It writes nothing, and what plugins write goes away with it.
            workspace = tempfile.mkdtemp(prefix=f"fs-process-{self.coordinator.rank}-")
            self._closing.callback(shutil.rmtree, workspace, ignore_errors=True)
            resolved.request = attrs.evolve(resolved.request, workspace=Path(workspace))

    @property
    def _training(self) -> Any:
        return self.options.config["training"]

    def _open(self) -> None:
        """Build the network, check the faces, make the folder and lock it."""
        resolved, plugins, group = self.resolved, self.plugins, self.coordinator.group
        self.device: torch.device = group.device or backend.device(self._training.device)
        self._fit_batch_size()
        training = self._training
        self.network, lines = network_of.make_network(
            resolved, self.seed, self.device, training.precision
        )
        self.warnings += lines
        self._freeze_and_load()
        folders = resolve.resolve_folders(resolved, self.network.sides)
        self.feed: OpenFeed = plugins.feed.open(folders, self._feed_spec())
        self.on_close(self.feed.close)
        self.warnings += self.feed.warnings
        self.forward = plugins.executor.make_forward(self.network, self.device, training.precision)
        self._start_state()
        self.state.folders = {side: str(path) for side, path in folders.items()}
        self.info = self._describe()
        if resolved.request.workspace is None:
            require_space(resolved, self.info.disk_bytes)
        self._closing.callback(FolderLock(self.info.model_dir, group.name).release)
        resolved.checkpoints.require_unchanged()
        for plugin in plugins.all:
            record.keep_source(plugin.loaded, self.info.model_dir)
        self.graph = networks.to_json(self.network)

    def _fit_batch_size(self) -> None:
        """Take the batch size that the trainer can do, for the whole run."""
        asked, trainer = self._training.batch_size, self.plugins.trainer
        fitted = trainer.fit_batch_size(asked, self.device)
        if fitted != asked:
            who = f"the trainer '{trainer.name}'"
            self.warnings.append(f"batch size {asked} is {fitted} now: {who} needs that")
            self.options.set("training", "batch_size", fitted, f"fitted by {who}")

    def _freeze_and_load(self) -> None:
        frozen, source = self._training.freeze_weights, self.resolved.request.load_weights
        names = self.plugins.model.freeze_layers(self.network)
        missing = networks.freeze(self.network, names, frozen)
        if frozen:
            self.warnings += [f"there is no sub-model '{name}' to freeze" for name in missing]
            done = ", ".join(name for name in names if name not in missing)
            self.notes.append(f"frozen: {done or 'nothing'}")
        if source is not None and self.resolved.state is not None:
            self.warnings.append("--load-weights is for a new model; this one resumes")
        elif source is not None:
            line, whole = network_of.load_weights(
                self.resolved, self.network, source, self.warnings.append
            )
            (self.notes if whole else self.warnings).append(line)

    def _feed_spec(self) -> FeedSpec:
        network, size = self.network, self._training.batch_size
        shapes = [tuple(tensor.shape[1:]) for tensor in network.model.inputs]
        return FeedSpec(
            input_shapes=dict(zip(network.sides, shapes, strict=True)),
            color_order=network.color_order,
            outputs=tuple(network.outputs),
            fields=self.resolved.required_fields(),
            batch_size=size,
            seed=self.seed,
            local_indices=self.coordinator.local_indices(size),
            device=str(self.device),
        )

    def _start_state(self) -> None:
        """Open a session in what the model remembers."""
        training, model, network = self._training, self.plugins.model.name, self.network
        facts = {
            "model": model,
            "fingerprint": networks.fingerprint(network),
            "parameters": networks.count(network),
            "target_iterations": training.iterations,
            "plugins": {record.key(p.loaded): record.facts_of(p.loaded) for p in self.plugins.all},
        }
        if self.state is None:
            self.state = ModelState(network_name=network.model.name, **facts)
        for name, value in facts.items():
            setattr(self.state, name, value)
        steps = self.state.iterations
        self.state.begin(SessionRecord(time.time(), steps, training.batch_size, self.seed))

    def _describe(self) -> RunInfo:
        training, state, plugins = self._training, self.state, self.plugins
        return RunInfo(
            model_dir=self.resolved.folder,
            model=state.model,
            network_name=state.network_name,
            trainer=plugins.trainer.name,
            feed=plugins.feed.name,
            executor=plugins.executor.name,
            sides=self.network.sides,
            parameters=state.parameters,
            batch_size=training.batch_size,
            device=str(self.device),
            precision=training.precision,
            seed=self.seed,
            session=len(state.sessions),
            start_step=state.iterations,
            target_steps=training.iterations,
            face_counts=self.feed.sizes,
            disk_bytes=disk_bytes(self.resolved, state.parameters),
        )

    # --- while it is open ---

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
