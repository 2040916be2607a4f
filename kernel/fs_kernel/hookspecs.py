"""Every hook of the kernel: the contract between it and its plugins.

A plugin is a module, a class or an object named by an entry point in one of the groups
``fs_kernel.models``, ``.trainers``, ``.feeds``, ``.executors`` or ``.addons``. It implements the
hooks of its kind with functions marked `fs_kernel.hookimpl`. A hook implementation may leave out
arguments it does not need. A class is instantiated once per run, without arguments.

Only the chosen plugins of a run are registered, so at most one model, trainer, feed and executor
ever answers. Hooks raise `fs_kernel.errors` types for what the user can mend; anything else, and
any ``sys.exit``, counts as the plugin's failure and is reported with its name.

The order of calls is drawn in `fs_kernel.training.loop`.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    import keras
    import numpy as np
    import torch

    from fs_kernel.options.sources import Config
    from fs_kernel.types import (
        BadStep,
        Batch,
        Face,
        FaceIterator,
        Feed,
        FeedSpec,
        Forward,
        Group,
        Metrics,
        Network,
        NetworkSpec,
        Observer,
        Run,
        Sampler,
        Side,
        StepResult,
        Tree,
    )

PROJECT = "fs_kernel"
#: The version of this contract. A plugin declares the one it was written for.
API_VERSION = 1

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class CommonHooks:
    """Hooks of every kind of plugin."""

    @hookspec
    def config_defaults(self) -> dict[str, type]:
        """The option sections this plugin reads.

        Called first, before anything is built.

        Returns:
            ``{section: attrs class}``, the class made with `fs_kernel.option` fields that all have
            defaults. A plugin's own section is ``<kind>.<name>`` ("model.original"); two plugins
            that name one section must return the same class. Every hook's ``config`` holds these
            sections and no others.
        """

    @hookspec(firstresult=True)
    def migrate_options(
        self, section: str, values: dict[str, Any], version: str
    ) -> dict[str, Any] | None:
        """Bring options that an older version of the plugin stored up to this one.

        Called before the options are checked, for each section of `config_defaults` that a model
        folder holds, if the folder was last used with another version of the plugin.

        Args:
            section: name of the section.
            values: its options as they are stored.
            version: the version of the plugin that stored them; "" for a local file.

        Returns:
            The options as this version knows them; None for no change. What is no option of this
            version any more is dropped with a warning.
        """


class ModelHooks:
    """A network. Required: `network_spec`, `build_model`."""

    @hookspec(firstresult=True)
    def network_spec(self, config: Config) -> NetworkSpec:
        """Input shapes (pixels) per side and colour order, before anything is built.

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

        Called once per new folder, in the main thread, inside
        `fs_kernel.networks.weights.building`; a resumed folder is built from its own graph instead.

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
        """Names of the sub-models that ``--freeze-weights`` freezes. Default: none.

        Args:
            network: new, or from the checkpoint's graph; its weights may not be set yet.
            config: the plugin's sections.

        Returns:
            A fresh list; every name is that of a model nested in ``network.model``.
        """

    @hookspec(firstresult=True)
    def load_layers(self, network: Network, config: Config) -> list[str]:
        """Names of the sub-models that ``--load-weights`` fills. Default: none.

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
        """A model that turns faces of ``source`` into ``target``, sharing the network's weights.

        Args:
            network: as trained.
            source: the side whose faces go in.
            target: the side whose faces come out; may be ``source``.
            config: the plugin's sections.

        Returns:
            A model with one input, and outputs in the order of ``network.outputs_of(target)``;
            None for the kernel's own cut (see `fs_kernel.networks.inference`).
        """

    @hookspec(firstresult=True)
    def custom_objects(self) -> dict[str, type]:
        """Classes beyond plain Keras that the plugin's saved graphs may contain, by class name.

        Only these and the kernel's list of Keras classes are ever made from a file.

        Returns:
            ``{class name: class}``. Default: none.
        """


class TrainerHooks:
    """How a batch trains a network. Required: `start_trainer`, `train_batch`, `get_sampler`."""

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
    def join_group(self, device: str, config: Config) -> Group | None:
        """Meet the other processes of the run.

        Called once per session, when the plugins are loaded and before the network is built. What
        it says with `warnings.warn` is a warning of the run.

        Args:
            device: ``training.device``, as a user wrote it.
            config: the plugin's sections.

        Returns:
            The group; None if this process trains alone.

        Raises:
            ConfigError: the device cannot be shared by several processes.
        """

    @hookspec(firstresult=True)
    def fit_batch_size(self, batch_size: int, device: torch.device, config: Config) -> int:
        """The batch size that the trainer can do. Default: the one that was asked for.

        Called after `join_group`, before the feed is opened. The feed, the sampler and whoever asks
        for the run's facts get what is returned here. What it says with `warnings.warn` is a
        warning of the run.

        Args:
            batch_size: faces per side per step, over all processes: ``training.batch_size``.
            device: where this process computes.
            config: the plugin's sections.

        Returns:
            Faces per side per step, over all processes.
        """

    @hookspec(firstresult=True)
    def batch_needs(self, config: Config) -> set[str]:
        """Which masks the loss wants. Default: none.

        Args:
            config: the plugin's sections.

        Returns:
            Names out of "face", "eye", "mouth".
        """

    @hookspec(firstresult=True)
    def get_sampler(
        self,
        sizes: Mapping[Side, int],
        batch_size: int,
        seed: int,
        lag: int,
        facts: Mapping[Side, Mapping[str, np.ndarray]],
        config: Config,
    ) -> Sampler:
        """The order in which faces are seen.

        Args:
            sizes: usable faces per side; may be smaller than the batch.
            batch_size: faces per side per step.
            seed: key of all draws.
            lag: how many steps ahead the feed draws; see `fs_kernel.types.Sampler.draw`.
            facts: what the feed knows of each face; see `fs_kernel.types.FeedExtras.facts`.
            config: the plugin's sections.

        Returns:
            What the feed draws indices from.
        """

    @hookspec(firstresult=True)
    def start_trainer(self, run: Run) -> Any:
        """Make optimisers, losses and whatever else a step needs.

        Called once per session, after weights are loaded and the forward pass is ready. The trainer
        owns its optimisers, any number of them, and runs the network only through ``run.forward``.

        Args:
            run: the trainer's view of the run.

        Returns:
            The trainer's state, handed back to every other trainer hook.
        """

    @hookspec(firstresult=True)
    def train_batch(self, state: Any, batch: Batch) -> StepResult:
        """One step: forward, loss, backward, update.

        Args:
            state: from `start_trainer`.
            batch: already on the run's device.

        Returns:
            Losses as detached device scalars; reading them here would stall the device.
        """

    @hookspec(firstresult=True)
    def trainer_state(self, state: Any) -> Tree:
        """What a checkpoint must hold so that training goes on exactly. Default: nothing.

        Args:
            state: from `start_trainer`.

        Returns:
            Nested dicts and lists of tensors and JSON scalars. Key what belongs to a weight by the
            weight's name in ``run.parameters()``. Tensors are copied before training goes on,
            but for those in a `fs_kernel.types.Settled`.
        """

    @hookspec(firstresult=True)
    def restore_trainer(self, state: Any, tree: Tree) -> None:
        """Take over what `trainer_state` gave; options that changed since then win.

        Args:
            state: from `start_trainer`, in this session.
            tree: `trainer_state`'s result, with lists for tuples and its tensors on the CPU.
        """

    @hookspec(firstresult=True)
    def change_options(self, state: Any, config: Config) -> None:
        """Take over options marked ``live`` that changed. Called between steps.

        Args:
            state: from `start_trainer`.
            config: the plugin's sections as they are now.
        """

    @hookspec(firstresult=True)
    def averaged_weights(self, tree: Tree) -> dict[str, torch.Tensor] | None:
        """The running average of the weights that a checkpoint's trainer state holds.

        Called for ``fs swap --average``, without a run.

        Args:
            tree: `trainer_state`'s result, with its tensors on the CPU.

        Returns:
            Averages by the weight's stable name; None if none are kept.
        """

    @hookspec(firstresult=True)
    def whole_weights(self, state: Any) -> AbstractContextManager[None]:
        """While the network's own variables hold the whole, newest weights. Default: always.

        For a trainer that keeps the weights elsewhere, in shards say. The kernel reads, saves and
        changes weights only inside; every process enters together. On leaving, weights that were
        changed are taken over.

        Args:
            state: from `start_trainer`.

        Returns:
            What the kernel enters and leaves.
        """

    @hookspec(firstresult=True)
    def stop_trainer(self, state: Any, failed: bool) -> None:
        """Let go of what `start_trainer` made. Default: nothing.

        Called before the trainer is started anew in a session, and at the end of the session. The
        network's own variables hold the whole weights afterwards, unless the session failed.

        Args:
            state: from `start_trainer`; it is not used again.
            failed: the session ends with an error, so that other processes may be gone: nothing may
                be waited for.
        """


class FeedHooks:
    """Where faces come from. Required: `open_feed`; for ``fs swap`` also the other two."""

    @hookspec(firstresult=True)
    def open_feed(self, folders: Mapping[Side, Path], spec: FeedSpec, config: Config) -> Feed:
        """Check the folders and get ready; no worker starts before ``Feed.start``.

        Args:
            folders: of aligned faces, per side; they exist.
            spec: what the batches must hold.
            config: the plugin's sections.

        Returns:
            The feed, which knows its faces by now.

        Raises:
            FacesError: a folder is missing, empty, too small, or lacks a mask that is needed.
            ConfigError: the run needs a mask and the options choose none.
        """

    @hookspec(firstresult=True)
    def read_faces(
        self, source: Path, shape: tuple[int, int, int], color_order: str, config: Config
    ) -> FaceIterator:
        """The faces of a folder in name order, cut as the network of ``shape`` wants them.

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
            swapped: ``(h, w, 3)`` float32 0..1 in the network's colour order.
            mask: ``(h, w)`` float32 0..1 if the network learnt one.
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
        """A callable that runs the network; see `fs_kernel.types.Forward`.

        Called in the main thread, after weights are loaded and on the device. The callable must
        use the network's own weights, so that saving and freezing notice nothing.

        Args:
            network: what is trained, or the cut of one swap direction.
            device: where inputs and weights lie.
            precision: ``training.precision``.
            config: the executor's options.

        Returns:
            ``forward({side: (n, h, w, c)}, training=True)``, the outputs flat and in order.
        """


class AddonHooks:
    """Whatever watches or accompanies a run. Nothing is required."""

    @hookspec
    def check_options(self, config: Config, everything: Config) -> None:
        """Refuse options that cannot work with those of the rest of the run.

        Called before anything is built, also for ``fs run --dry-run``.

        Args:
            config: the plugin's sections.
            everything: every section of the run, for those whose own options name others.

        Raises:
            ConfigError: with a line per problem.
        """

    @hookspec
    def make_observers(self, run: Run) -> list[Observer]:
        """Observers for this run, called once before training starts.

        Args:
            run: the add-on's view of the run.

        Returns:
            Objects with any of the methods of `fs_kernel.types.Observer`.
        """

    @hookspec
    def before_training(self, run: Run) -> None:
        """Last call before the first step, in the main thread. ``run.trial`` may be used here.

        Args:
            run: the add-on's view of the run.
        """

    @hookspec
    def judge_metrics(self, run: Run, metrics: Metrics) -> str | None:
        """Whether what was just read back is bad, although every number is finite.

        Called in the main thread with each reading, and before anything is saved.

        Args:
            run: the add-on's view of the run.
            metrics: what was read back.

        Returns:
            One line that says what is bad, or None.
        """

    @hookspec
    def on_bad_step(self, run: Run, report: BadStep) -> bool | None:
        """Training went wrong: not-a-number, or a line from `judge_metrics`.

        Nothing of the bad steps has been saved. Options set here with ``run.set_option`` hold from
        the step after the roll-back on.

        Args:
            run: the add-on's view of the run.
            report: which step, why, and what there is to go back to.

        Returns:
            True to go back to the last good checkpoint and train on; otherwise the run stops.
        """


#: Kind of plugin -> (its hooks, the ones it must have).
HOOKS_OF_KIND: dict[str, tuple[type, tuple[str, ...]]] = {
    "models": (ModelHooks, ("network_spec", "build_model")),
    "trainers": (TrainerHooks, ("start_trainer", "train_batch", "get_sampler")),
    "feeds": (FeedHooks, ("open_feed",)),
    "executors": (ExecutorHooks, ("make_forward",)),
    "addons": (AddonHooks, ()),
}
