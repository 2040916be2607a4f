"""The kinds of plugin as typed calls: what the kernel and other plugins call instead of hooks.

What each call does stands in `fs_kernel.hookspecs`. A hook that takes
``config`` gets the plugin's own options.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fs_kernel import types
from fs_kernel.errors import ConfigError, PluginError
from fs_kernel.options.sources import Config
from fs_kernel.plugins.objects import ActiveAddOn, ActiveObjective, ActiveTrainer, OpenFeed
from fs_kernel.plugins.plugin import Plugin

if TYPE_CHECKING:
    import keras
    import numpy as np
    import torch

    from fs_kernel.types import Network, Run, Side, Tree


class Model(Plugin):
    """A network; see `fs_kernel.hookspecs.ModelHooks`."""

    kind = "models"

    def network_spec(self) -> types.NetworkSpec:
        """Return input shapes and color order."""
        return self._call_expecting(types.NetworkSpec, "network_spec")

    def build_model(self, inputs: dict[Side, keras.KerasTensor]) -> Network:
        """Build the network."""
        return self._call_expecting(types.Network, "build_model", inputs=inputs)

    def adapt_model(self, network: Network, before: Config) -> Network | None:
        """Return the network changed to the options of now, or None for no change."""
        options = {"before": before.view(self.sections), "after": self.config}
        return self._call("adapt_model", network=network, **options)

    def freeze_layers(self, network: Network) -> list[str]:
        """Return the names of the sub-models to freeze."""
        return list(self._call("freeze_layers", network=network) or [])

    def load_layers(self, network: Network) -> list[str]:
        """Return the names of the sub-models to fill from another model."""
        return list(self._call("load_layers", network=network) or [])

    def build_inference(self, network: Network, source: Side, target: Side) -> keras.Model | None:
        """Return the plugin's own swap model, or None for the kernel's cut."""
        return self._call("build_inference", network=network, source=source, target=target)

    def custom_objects(self) -> dict[str, type]:
        """Return the classes that saved graphs may contain."""
        return dict(self._call("custom_objects") or {})


class _Owner(Plugin):
    """What may own networks."""

    def build_networks(self, network: Network) -> dict[str, Any]:
        """Return the networks that the plugin owns, by name."""
        return dict(self._call("build_networks", network=network) or {})


class Trainer(_Owner):
    """How a batch trains a network; see `fs_kernel.hookspecs.TrainerHooks`."""

    kind = "trainers"

    def create(self, run: Run) -> ActiveTrainer:
        """Create the trainer of a session."""
        return ActiveTrainer(self, self._call_expecting("train_step", "create_trainer", run=run))

    def get_sampler(
        self,
        sizes: Mapping[Side, int],
        batch_size: int,
        seed: int,
        delay: int,
        face_attributes: Mapping[Side, Mapping[str, np.ndarray]],
    ) -> types.Sampler:
        """Return the order in which faces are seen."""
        return self._call_expecting(
            "draw update state_dict load_state_dict",
            "get_sampler",
            sizes=sizes,
            batch_size=batch_size,
            seed=seed,
            delay=delay,
            face_attributes=face_attributes,
        )

    def accepts_state(self, state: Tree, writer: types.StateWriter) -> bool:
        """Return whether the trainer can take over a state that ``writer`` wrote."""
        own = writer.name == self.name
        return own or bool(self._call("accepts_state", state=state, writer=writer))

    def averaged_weights(self, state: Tree) -> dict[str, torch.Tensor] | None:
        """Return the average of the weights in a trainer's state, or None."""
        return self._call("averaged_weights", state=state)

    def launch(self, argv: list[str], devices: int) -> int | None:
        """Start several processes; return their exit code, or None if the trainer cannot."""
        return self._call("launch", argv=argv, devices=devices)

    def connect(self, device: str) -> types.Coordinator | None:
        """Return how the processes of the run act together, or None for one alone."""
        return self._call("connect", device=device)

    def fit_batch_size(self, batch_size: int, device: torch.device) -> int:
        """Return the batch size that the trainer can do."""
        fitted = self._call("fit_batch_size", batch_size=batch_size, device=device)
        return batch_size if fitted is None else int(fitted)


class Objective(_Owner):
    """Terms added to a trainer's loss; see `fs_kernel.hookspecs.ObjectiveHooks`."""

    kind = "objectives"

    def create(self, run: Run) -> ActiveObjective:
        """Create the objective of a session."""
        return ActiveObjective(self, self._call_expecting("terms", "create_objective", run=run))


class Feed(Plugin):
    """Where faces come from; see `fs_kernel.hookspecs.FeedHooks`."""

    kind = "feeds"

    def open(self, folders: Mapping[Side, Path], spec: types.FeedSpec) -> OpenFeed:
        """Open the sources."""
        wanted = "sizes warnings fingerprint prefetch start next preview close"
        return OpenFeed(self, self._call_expecting(wanted, "open_feed", folders=folders, spec=spec))

    def read_faces(
        self, source: Path, shape: tuple[int, int, int], color_order: str
    ) -> Iterator[types.Face]:
        """Return the faces of a source one by one."""
        faces = self._call("read_faces", source=source, shape=shape, color_order=color_order)
        if faces is None:
            raise PluginError(f"{self} cannot read faces: it has no hook read_faces", self.name)
        with self.blaming("read_faces"):
            yield from faces

    def write_face(
        self,
        face: types.Face,
        swapped: np.ndarray,
        mask: np.ndarray | None,
        color_order: str,
        target: Path,
    ) -> Path:
        """Write one result; return its file."""
        picture = {"swapped": swapped, "mask": mask, "color_order": color_order}
        return self._call("write_face", face=face, target=target, **picture)


class Executor(Plugin):
    """What runs the forward pass; see `fs_kernel.hookspecs.ExecutorHooks`."""

    kind = "executors"

    def make_forward(self, network: Network, device: torch.device, precision: str) -> types.Forward:
        """Return a callable that runs the network."""
        arguments = {"network": network, "device": device, "precision": precision}
        return self._call_expecting("__call__", "make_forward", **arguments)


class AddOn(Plugin):
    """What accompanies a run; see `fs_kernel.hookspecs.AddOnHooks`."""

    kind = "addons"

    def check_options(self) -> None:
        """Let the plugin refuse options of the run."""
        self._call("check_options", everything=self.store.config)

    def create(self, run: Run) -> ActiveAddOn:
        """Create the add-on's part of a run."""
        return ActiveAddOn(self, self._call("create_addon", run=run))


class Loss(Plugin):
    """A loss between pictures; see `fs_kernel.hookspecs.LossHooks`. May be a plain callable."""

    kind = "losses"

    def required_fields(self) -> frozenset[str]:
        """Return what each batch must hold; of a plain callable its ``required_fields``."""
        if self._manager:
            return super().required_fields()
        return frozenset(getattr(self.loaded.plugin, "required_fields", ()))

    def create(self) -> types.LossFunction:
        """Create the loss; a class without hooks is instantiated without arguments."""
        if self._manager:
            return self._call_expecting("__call__", "create_loss")
        made = self.loaded.plugin
        with self.blaming("its creation"):
            made = made() if inspect.isclass(made) else made
        return self.expect(made, "__call__", "its creation")


class Optimizer(Plugin):
    """An optimizer; see `fs_kernel.hookspecs.OptimizerHooks`. May be a plain class or function."""

    kind = "optimizers"

    def create(
        self, groups: Sequence[dict[str, Any]], settings: Mapping[str, Any]
    ) -> torch.optim.Optimizer:
        """Create the optimizer; a plain class gets the settings that its signature names.

        Raises:
            ConfigError: it refuses a setting.
        """
        with self.blaming("create_optimizer"):
            try:
                if self._manager:
                    arguments = {"groups": groups, "settings": settings, "config": self.config}
                    return self._manager.hook.create_optimizer(**arguments)
                accepted = inspect.signature(self.loaded.plugin).parameters
                chosen = {key: value for key, value in settings.items() if key in accepted}
                return self.loaded.plugin(groups, **chosen)
            except ValueError as error:
                line = f"optimizer {self.name} refuses its options: {error}"
                raise ConfigError(line) from None


ROLES: dict[str, type[Plugin]] = {
    role.kind: role for role in (Model, Trainer, Objective, Feed, Executor, AddOn, Loss, Optimizer)
}
