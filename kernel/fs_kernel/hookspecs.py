"""Every hook of the kernel: the contract between it and its plugins.

A plugin is a module, a class or an object named by an entry point in one of the groups
``fs_kernel.models``, ``.trainers``, ``.feeds``, ``.executors``, ``.addons``, ``.objectives``,
``.losses`` or ``.optimizers``. It implements the hooks of its kind with functions marked
`fs_kernel.hookimpl`. A hook implementation may leave out arguments it does not need. A class is
instantiated once per run, without arguments. A loss may also be a plain function and an optimizer a
plain `torch.optim.Optimizer` class, without any hook.

Each plugin of a run has a `pluggy.PluginManager` of its own, which knows the hooks of its kind
alone. Hooks create things; what they return is an object with methods (`fs_kernel.types`), which
the kernel then calls directly. Hooks raise `fs_kernel.errors` types for what the user can fix;
anything else, and any ``sys.exit``, counts as the plugin's failure and is reported with its name.

The order of calls is drawn in `fs_kernel.training.loop`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    import keras
    import numpy as np
    import torch

    from fs_kernel.options.sources import Config
    from fs_kernel.types import (
        AddOn,
        Coordinator,
        Face,
        FaceIterator,
        Feed,
        FeedSpec,
        Forward,
        LossFunction,
        Network,
        NetworkSpec,
        Objective,
        Run,
        Sampler,
        Side,
        StateWriter,
        Trainer,
        Tree,
    )

PROJECT = "fs_kernel"
#: The version of this contract. A plugin declares the one it was written for.
API_VERSION = 1

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class CommonHooks:
    """Hooks of every kind of plugin."""

    @hookspec(firstresult=True)
    def config_defaults(self) -> dict[str, type]:
        """Return the option sections this plugin reads.

        Called first, before anything is built.

        Returns:
            ``{section: attrs class}``, the class made with `fs_kernel.option` fields that all have
            defaults. A plugin's own section is ``<kind>.<name>`` ("model.original",
            "loss.identity"); two plugins that name one section must return the same class. Every
            hook's ``config`` holds these sections and no others.
        """

    @hookspec(firstresult=True)
    def migrate_options(
        self, section: str, values: dict[str, Any], version: str
    ) -> dict[str, Any] | None:
        """Bring options that an older version of the plugin stored up to this one.

        Called before the options are checked, for each section of `config_defaults` that a model
        folder holds, if the folder was last used with another version of the plugin. A mere
        renaming needs no code: see ``formerly`` of `fs_kernel.option`.

        Args:
            section: name of the section.
            values: its options as they are stored.
            version: the version of the plugin that stored them; "" for a local file.

        Returns:
            The options as this version knows them; None for no change. An option that no longer
            exists in this version is dropped with a warning.
        """


class ModelHooks:
    """A network. Required: `network_spec`, `build_model`."""

    @hookspec(firstresult=True)
    def network_spec(self, config: Config) -> NetworkSpec:
        """Return input shapes (pixels) per side and color order, before anything is built.

        Args:
            config: the plugin's sections.

        Returns:
            Shapes in the order of the sides, which is that of the model's inputs.

        Raises:
            ConfigError: the options cannot make a network; say which ones clash.
        """

    @hookspec(firstresult=True)
    def build_model(self, inputs: dict[Side, keras.KerasTensor], config: Config) -> Network:
        """Build the network for a new model folder.

        Called once per new folder, in the main thread, inside `fs_kernel.networks.building`; a
        resumed folder is built from its own graph instead. What could not be read back from a
        checkpoint (a ``Lambda``, a class that `custom_objects` does not name) is refused before
        the first step.

        Args:
            inputs: one symbolic ``(None, h, w, c)`` tensor per side, named ``face_in_<side>``.
            config: the plugin's sections.

        Returns:
            The model over exactly these inputs, and what each of its outputs is.
        """

    @hookspec(firstresult=True)
    def adapt_model(self, network: Network, before: Config, after: Config) -> Network | None:
        """Change a resumed network whose options changed (a dropout rate, say).

        Args:
            network: from the checkpoint's graph; its weights are not yet set.
            before: the plugin's sections as the checkpoint holds them.
            after: the plugin's sections as they are now.

        Returns:
            A new network whose weights have the same names and shapes, or None for no change.
        """

    @hookspec(firstresult=True)
    def freeze_layers(self, network: Network, config: Config) -> list[str]:
        """Return the names of the sub-models that ``--freeze-weights`` freezes. Default: none.

        Args:
            network: new, or from the checkpoint's graph; its weights may not be set yet.
            config: the plugin's sections.

        Returns:
            A fresh list; every name is that of a model nested in ``network.model``.
        """

    @hookspec(firstresult=True)
    def load_layers(self, network: Network, config: Config) -> list[str]:
        """Return the names of the sub-models that ``--load-weights`` fills. Default: none.

        Args:
            network: the new network.
            config: the plugin's sections.

        Returns:
            A fresh list; every name is that of a model nested in ``network.model``.
        """

    @hookspec(firstresult=True)
    def build_inference(
        self, network: Network, source: Side, target: Side, config: Config
    ) -> keras.Model | None:
        """Build a model that turns faces of ``source`` into ``target``, sharing the weights.

        Args:
            network: as trained.
            source: the side whose faces go in.
            target: the side whose faces come out; may be ``source``.
            config: the plugin's sections.

        Returns:
            A model with one input, and outputs in the order of ``network.outputs_of(target)``;
            None for the kernel's own cut (see `fs_kernel.networks.cut`).
        """

    @hookspec(firstresult=True)
    def custom_objects(self) -> dict[str, type]:
        """Return the classes beyond plain Keras that saved graphs may contain, by class name.

        Only these and the kernel's list of Keras classes are ever made from a file. A ``Lambda``
        is never read back, even if this names it.

        Returns:
            ``{class name: class}``. Default: none.
        """


class _StepHooks:
    """Hooks that trainers, objectives and losses have in common."""

    @hookspec(firstresult=True)
    def required_fields(self, config: Config) -> set[str]:
        """Return what each batch must hold besides pictures. Default: nothing.

        Args:
            config: the plugin's sections.

        Returns:
            Names of masks ("face", "eye", "mouth", or what else the feed offers) and "landmarks".
        """


class _OwnerHooks(_StepHooks):
    """Hooks of what may own networks: trainers and objectives."""

    @hookspec(firstresult=True)
    def build_networks(
        self, network: Network, config: Config
    ) -> dict[str, keras.Model | torch.nn.Module]:
        """Build the networks that the plugin owns (a discriminator, say). Default: none.

        Called in every session after the swapped network is built and before weights are loaded,
        in the main thread, inside `fs_kernel.networks.building`. The kernel saves their weights,
        loads them, counts them, and gives them to `fs_kernel.types.Run.parameters` by name. One
        whose weights a checkpoint lacks or has in other shapes starts with its new weights, and the
        user is told.

        Args:
            network: what is trained; its weights may not be set yet.
            config: the plugin's sections.

        Returns:
            Networks by a name that is unique in the run. Their weights are called
            ``extra:<name>/...``.
        """


class TrainerHooks(_OwnerHooks):
    """How a batch trains a network. Required: `create_trainer`, `get_sampler`."""

    @hookspec(firstresult=True)
    def create_trainer(self, run: Run) -> Trainer:
        """Create the trainer: optimizers, losses and what else a step needs.

        Called once per session, after weights are loaded and the forward pass is ready, and again
        after a roll-back. The trainer owns its optimizers, any number of them, and runs the network
        only through ``run.forward``.

        Args:
            run: the trainer's view of the run.
        """

    @hookspec(firstresult=True)
    def get_sampler(
        self,
        sizes: Mapping[Side, int],
        batch_size: int,
        seed: int,
        delay: int,
        face_attributes: Mapping[Side, Mapping[str, np.ndarray]],
        config: Config,
    ) -> Sampler:
        """Return the order in which faces are seen.

        Args:
            sizes: usable faces per side; may be smaller than the batch.
            batch_size: faces per side per step.
            seed: key of all draws.
            delay: after how many steps losses are known at a draw, at the latest; see
                `fs_kernel.types.Sampler.draw`.
            face_attributes: what the feed knows of each face; see `fs_kernel.types.Feed`.
            config: the plugin's sections.

        Returns:
            What the feed draws indices from.
        """

    @hookspec(firstresult=True)
    def accepts_state(self, state: Tree, writer: StateWriter) -> bool:
        """Decide whether `Trainer.load_state_dict` can take over another trainer's state.

        Called when a checkpoint's trainer state was written by a trainer of another name. If it is
        refused, the trainer starts without it and the user is told.

        Args:
            state: what the other trainer's ``state_dict`` returned, with its tensors on the CPU.
            writer: who wrote it.

        Returns:
            Default: False.
        """

    @hookspec(firstresult=True)
    def averaged_weights(self, state: Tree) -> dict[str, torch.Tensor] | None:
        """Return the running average of the weights that a checkpoint's trainer state holds.

        Called for ``fs swap --average``, without a run.

        Args:
            state: what ``state_dict`` returned, with its tensors on the CPU.

        Returns:
            Averages by the weight's stable name; None if none are kept.
        """


class ProcessHooks:
    """What a trainer has besides `TrainerHooks` if several processes can share its runs."""

    @hookspec(firstresult=True)
    def launch(self, argv: list[str], devices: int) -> int:
        """Start several processes of one command, and wait for them: ``fs run --devices N``.

        Called before anything of the run is built, and only if ``devices`` is more than 1.

        Args:
            argv: the arguments of ``fs`` as they were typed, for every process; they do not lead
                here again.
            devices: how many processes to start on this machine.

        Returns:
            The exit code: that of the processes, see `fs_kernel.errors`.
        """

    @hookspec(firstresult=True)
    def connect(self, device: str, config: Config) -> Coordinator | None:
        """Connect to the other processes of the run.

        Called once per session, when the plugins are loaded and before the network is built.

        Args:
            device: ``training.device``, as a user wrote it.
            config: the plugin's sections.

        Returns:
            How they act together; None if this process trains alone.

        Raises:
            ConfigError: the device cannot be shared by several processes.
        """

    @hookspec(firstresult=True)
    def fit_batch_size(self, batch_size: int, device: torch.device, config: Config) -> int:
        """Return the batch size that the trainer can do. Default: the one that was asked for.

        Called after `connect`, before the feed is opened. The feed, the sampler and the run's
        facts get what is returned here.

        Args:
            batch_size: faces per side per step, over all processes: ``training.batch_size``.
            device: where this process computes.
            config: the plugin's sections.

        Returns:
            Faces per side per step, over all processes.
        """


class ObjectiveHooks(_OwnerHooks):
    """Terms added to the loss of any trainer. Required: `create_objective`."""

    @hookspec(firstresult=True)
    def create_objective(self, run: Run) -> Objective:
        """Create the objective. Called just before `TrainerHooks.create_trainer`, as often.

        Args:
            run: the objective's view of the run.
        """


class LossHooks(_StepHooks):
    """A loss between pictures that has options. Required: `create_loss`."""

    @hookspec(firstresult=True)
    def create_loss(self, config: Config) -> LossFunction:
        """Create the loss.

        Args:
            config: the plugin's sections.

        Returns:
            A callable; a `torch.nn.Module` is moved to the run's device.

        Raises:
            ConfigError: an option names something that is not there.
        """


class OptimizerHooks:
    """An optimizer that has options of its own. Required: `create_optimizer`."""

    @hookspec(firstresult=True)
    def create_optimizer(
        self, groups: Sequence[dict[str, Any]], settings: Mapping[str, Any], config: Config
    ) -> torch.optim.Optimizer:
        """Create the optimizer.

        Args:
            groups: parameter groups; each one's ``params`` is a list of ``(name, parameter)``, as
                `torch.optim.Optimizer` takes them.
            settings: what ``[optimizer]`` says: ``lr``, ``betas``, ``eps``, ``weight_decay``,
                ``amsgrad``, ``fused``.
            config: the plugin's sections.

        Raises:
            ValueError: a setting does not fit.
        """


class FeedHooks:
    """Where faces come from. Required: `open_feed`; for swaps also the other two."""

    @hookspec(firstresult=True)
    def open_feed(self, folders: Mapping[Side, Path], spec: FeedSpec, config: Config) -> Feed:
        """Check the sources and get ready; no worker starts before ``Feed.start``.

        Args:
            folders: of aligned faces, per side; they exist, but may be files (a packed data set).
            spec: what the batches must hold.
            config: the plugin's sections.

        Returns:
            The feed, which knows its faces by now.

        Raises:
            FacesError: a source is empty, too small, or lacks a field that is needed.
            ConfigError: the run needs a mask and the options choose none.
        """

    @hookspec(firstresult=True)
    def read_faces(
        self, source: Path, shape: tuple[int, int, int], color_order: str, config: Config
    ) -> FaceIterator:
        """Return the faces of a source in name order, cut as the network of ``shape`` wants them.

        An unreadable file is warned about with `warnings.warn` and skipped.

        Args:
            source: the folder of faces.
            shape: ``(height, width, channels)`` of the network's input.
            color_order: "bgr" or "rgb", of the pictures wanted.
            config: the plugin's sections.

        Returns:
            Faces one by one, so that a folder of any size fits in memory.

        Raises:
            FacesError: the folder is missing or holds no face.
        """

    @hookspec(firstresult=True)
    def write_face(
        self,
        face: Face,
        swapped: np.ndarray,
        mask: np.ndarray | None,
        color_order: str,
        target: Path,
        config: Config,
    ) -> Path:
        """Put one result back into its picture and write it.

        Called from several threads at once, for different faces.

        Args:
            face: from `read_faces`.
            swapped: ``(h, w, 3)`` float32 0..1 in the network's color order.
            mask: ``(h, w)`` float32 0..1 if the network learned one.
            color_order: "bgr" or "rgb".
            target: an existing folder.
            config: the plugin's sections.

        Returns:
            The file written.
        """


class ExecutorHooks:
    """What runs the forward pass. Required: `make_forward`."""

    @hookspec(firstresult=True)
    def make_forward(
        self, network: Network, device: torch.device, precision: str, config: Config
    ) -> Forward:
        """Return a callable that runs the network.

        Called in the main thread, after weights are loaded and on the device. The callable must
        use the network's own weights, so that saving and freezing notice nothing.

        Args:
            network: what is trained, or the cut of one swap direction.
            device: where inputs and weights lie.
            precision: ``training.precision``.
            config: the executor's options.
        """


class AddOnHooks:
    """What accompanies a run. Nothing is required."""

    @hookspec(firstresult=True)
    def check_options(self, config: Config, everything: Config) -> None:
        """Refuse options that cannot work with those of the rest of the run.

        Called before anything is built, also for ``fs run --dry-run``.

        Args:
            config: the plugin's sections.
            everything: every section of the run, for those whose own options name others.

        Raises:
            ConfigError: with a line per problem.
        """

    @hookspec(firstresult=True)
    def create_addon(self, run: Run) -> AddOn:
        """Create the add-on's part of this run, before training starts.

        Args:
            run: the add-on's view of the run.

        Returns:
            An object with any of the members of `fs_kernel.types.AddOn`.
        """


#: Kind of plugin -> (its hooks, the ones it must have).
HOOKS_OF_KIND: dict[str, tuple[tuple[type, ...], tuple[str, ...]]] = {
    "models": ((ModelHooks,), ("network_spec", "build_model")),
    "trainers": ((TrainerHooks, ProcessHooks), ("create_trainer", "get_sampler")),
    "feeds": ((FeedHooks,), ("open_feed",)),
    "executors": ((ExecutorHooks,), ("make_forward",)),
    "addons": ((AddOnHooks,), ()),
    "objectives": ((ObjectiveHooks,), ("create_objective",)),
    "losses": ((LossHooks,), ("create_loss",)),
    "optimizers": ((OptimizerHooks,), ("create_optimizer",)),
}
