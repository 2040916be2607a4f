"""The kinds of plugin as typed calls: what the kernel and other plugins call instead of hooks."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fs_kernel.errors import ConfigError, PluginError
from fs_kernel.options.sources import Config
from fs_kernel.plugins.kinds import marked
from fs_kernel.plugins.objects import ActiveAddOn, ActiveObjective, ActiveTrainer, OpenFeed
from fs_kernel.plugins.plugin import Plugin
from fs_kernel.types import Network, NetworkSpec

if TYPE_CHECKING:
    import keras
    import numpy as np
    import torch

    from fs_kernel.types import (
        Coordinator,
        Face,
        FeedSpec,
        Forward,
        LossFunction,
        Run,
        Sampler,
        Side,
        StateWriter,
        Tree,
    )


class Model(Plugin):
    """A network; see `fs_kernel.hookspecs.ModelHooks`."""

    kind = "models"

    def network_spec(self) -> NetworkSpec:
        """Return input shapes and color order."""
        spec: NetworkSpec = self._call_expecting(NetworkSpec, "network_spec", config=self.config)
        return spec

    def build_model(self, inputs: dict[Side, keras.KerasTensor]) -> Network:
        """Build the network."""
        built: Network = self._call_expecting(
            Network, "build_model", inputs=inputs, config=self.config
        )
        return built

    def adapt_model(self, network: Network, before: Config) -> Network | None:
        """Return the network changed to the options of now, or None for no change."""
        adapted: Network | None = self._call(
            "adapt_model", network=network, before=before.view(self.sections), after=self.config
        )
        return adapted

    def freeze_layers(self, network: Network) -> list[str]:
        """Return the names of the sub-models to freeze."""
        return list(self._call("freeze_layers", network=network, config=self.config) or [])

    def load_layers(self, network: Network) -> list[str]:
        """Return the names of the sub-models to fill from another model."""
        return list(self._call("load_layers", network=network, config=self.config) or [])

    def build_inference(self, network: Network, source: Side, target: Side) -> keras.Model | None:
        """Return the plugin's own swap model, or None for the kernel's cut."""
        return self._call(
            "build_inference", network=network, source=source, target=target, config=self.config
        )

    def custom_objects(self) -> dict[str, type]:
        """Return the classes that saved graphs may contain."""
        return dict(self._call("custom_objects") or {})


class _Owner(Plugin):
    """What may own networks."""

    def build_networks(self, network: Network) -> dict[str, Any]:
        """Return the networks that the plugin owns, by name."""
        return dict(self._call("build_networks", network=network, config=self.config) or {})


class Trainer(_Owner):
    """How a batch trains a network; see `fs_kernel.hookspecs.TrainerHooks`."""

    kind = "trainers"

    def create(self, run: Run) -> ActiveTrainer:
        """Create the trainer of a session."""
        trainer = self._call_expecting("train_step", "create_trainer", run=run)
        return ActiveTrainer(self, trainer)

    def get_sampler(
        self,
        sizes: Mapping[Side, int],
        batch_size: int,
        seed: int,
        delay: int,
        face_attributes: Mapping[Side, Mapping[str, np.ndarray]],
    ) -> Sampler:
        """Return the order in which faces are seen."""
        sampler: Sampler = self._call_expecting(
            "draw update state_dict load_state_dict",
            "get_sampler",
            sizes=sizes,
            batch_size=batch_size,
            seed=seed,
            delay=delay,
            face_attributes=face_attributes,
            config=self.config,
        )
        return sampler

    def accepts_state(self, state: Tree, writer: StateWriter) -> bool:
        """Return whether the trainer can take over a state that ``writer`` wrote."""
        if writer.name == self.name:
            return True
        return bool(self._call("accepts_state", state=state, writer=writer))

    def averaged_weights(self, state: Tree) -> dict[str, torch.Tensor] | None:
        """Return the average of the weights in a trainer's state, or None."""
        averages: dict[str, torch.Tensor] | None = self._call("averaged_weights", state=state)
        return averages

    def launch(self, argv: list[str], devices: int) -> int | None:
        """Start several processes; return their exit code, or None if the trainer cannot."""
        code: int | None = self._call("launch", argv=argv, devices=devices)
        return code

    def connect(self, device: str) -> Coordinator | None:
        """Return how the processes of the run act together, or None for one alone."""
        group: Coordinator | None = self._call("connect", device=device, config=self.config)
        return group

    def fit_batch_size(self, batch_size: int, device: torch.device) -> int:
        """Return the batch size that the trainer can do."""
        fitted = self._call(
            "fit_batch_size", batch_size=batch_size, device=device, config=self.config
        )
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

    def open(self, folders: Mapping[Side, Path], spec: FeedSpec) -> OpenFeed:
        """Open the sources."""
        wanted = "sizes warnings fingerprint prefetch start next preview close"
        arguments = {"folders": folders, "spec": spec, "config": self.config}
        return OpenFeed(self, self._call_expecting(wanted, "open_feed", **arguments))

    def read_faces(
        self, source: Path, shape: tuple[int, int, int], color_order: str
    ) -> Iterator[Face]:
        """Return the faces of a source one by one."""
        arguments = {"source": source, "shape": shape, "color_order": color_order}
        iterator = self._call("read_faces", config=self.config, **arguments)
        if iterator is None:
            raise PluginError(f"{self} cannot read faces: it has no hook read_faces", self.name)
        with self.blaming("read_faces"):
            yield from iterator

    def write_face(
        self,
        face: Face,
        swapped: np.ndarray,
        mask: np.ndarray | None,
        color_order: str,
        target: Path,
    ) -> Path:
        """Write one result; return its file."""
        written: Path = self._call(
            "write_face",
            face=face,
            swapped=swapped,
            mask=mask,
            color_order=color_order,
            target=target,
            config=self.config,
        )
        return written


class Executor(Plugin):
    """What runs the forward pass; see `fs_kernel.hookspecs.ExecutorHooks`."""

    kind = "executors"

    def make_forward(self, network: Network, device: torch.device, precision: str) -> Forward:
        """Return a callable that runs the network."""
        arguments = {"network": network, "device": device, "precision": precision}
        forward: Forward = self._call_expecting(
            "__call__", "make_forward", config=self.config, **arguments
        )
        return forward


class AddOn(Plugin):
    """What accompanies a run; see `fs_kernel.hookspecs.AddOnHooks`."""

    kind = "addons"

    def check_options(self) -> None:
        """Let the plugin refuse options of the run."""
        self._call("check_options", config=self.config, everything=self.store.config)

    def create(self, run: Run) -> ActiveAddOn:
        """Create the add-on's part of a run."""
        return ActiveAddOn(self, self._call("create_addon", run=run))


class Loss(Plugin):
    """A loss between pictures; see `fs_kernel.hookspecs.LossHooks`. May be a plain callable."""

    kind = "losses"

    def _register(self) -> Any:
        return super()._register() if marked(self.loaded.plugin) else None

    def config_defaults(self) -> dict[str, type]:
        """Return its option sections; a plain callable has none."""
        return super().config_defaults() if self._manager else {}

    def required_fields(self) -> frozenset[str]:
        """Return what each batch must hold; of a plain callable its ``required_fields``."""
        if self._manager:
            return super().required_fields()
        return frozenset(getattr(self.loaded.plugin, "required_fields", ()))

    def _callable(self, made: Any) -> LossFunction:
        checked: LossFunction = self.expect(made, "__call__", "its creation")
        return checked

    def create(self) -> LossFunction:
        """Create the loss; a class without hooks is instantiated without arguments."""
        if self._manager:
            made: LossFunction = self._call_expecting("__call__", "create_loss", config=self.config)
            return made
        plugin = self.loaded.plugin
        with self.blaming("its creation"):
            plain: Any = plugin() if inspect.isclass(plugin) else plugin
            return self._callable(plain)


class Optimizer(Plugin):
    """An optimizer; see `fs_kernel.hookspecs.OptimizerHooks`. May be a plain class or function."""

    kind = "optimizers"

    def _register(self) -> Any:
        return super()._register() if marked(self.loaded.plugin) else None

    def config_defaults(self) -> dict[str, type]:
        """Return its option sections; a plain class has none."""
        return super().config_defaults() if self._manager else {}

    def create(
        self, groups: Sequence[dict[str, Any]], settings: Mapping[str, Any]
    ) -> torch.optim.Optimizer:
        """Create the optimizer; a plain class gets the settings that its signature names.

        Raises:
            ConfigError: it refuses a setting.
        """
        with self.blaming("create_optimizer"):
            try:
                return self._make(groups, settings)
            except ValueError as error:
                line = f"optimizer {self.name} refuses its options: {error}"
                raise ConfigError(line) from None

    def _make(
        self, groups: Sequence[dict[str, Any]], settings: Mapping[str, Any]
    ) -> torch.optim.Optimizer:
        made: torch.optim.Optimizer
        if self._manager:
            made = self._manager.hook.create_optimizer(
                groups=groups, settings=settings, config=self.config
            )
        else:
            accepted = inspect.signature(self.loaded.plugin).parameters
            chosen = {key: value for key, value in settings.items() if key in accepted}
            made = self.loaded.plugin(groups, **chosen)
        return made
