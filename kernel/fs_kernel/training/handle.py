"""What a plugin, or a script, may do to a run: the `fs_kernel.types.Run` of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from fs_kernel import networks
from fs_kernel.options.sources import Config
from fs_kernel.options.store import find_option
from fs_kernel.training.agenda import Action, Agenda
from fs_kernel.training.events import EventBus
from fs_kernel.training.metrics import MetricsReader
from fs_kernel.training.session import Session
from fs_kernel.types import Face, Metrics, Side

if TYPE_CHECKING:
    import torch

    from fs_kernel.networks import Swapper, SwapperCache
    from fs_kernel.plugins.objects import ActiveObjective
    from fs_kernel.plugins.plugin import Plugin
    from fs_kernel.training.step import TrainStep


@attrs.define(eq=False)
class Collaborators:
    """The objects that make up a run, each with one job.

    Attributes:
        session: what was opened: network, feed, forward pass, folder.
        agenda: what is due.
        events: what happened.
        swappers: every swap direction of the network.
        step: the training steps; set once the trainer is created.
    """

    session: Session
    agenda: Agenda
    events: EventBus
    swappers: SwapperCache
    step: TrainStep = attrs.field(init=False)

    @property
    def metrics(self) -> MetricsReader:
        """The unread losses."""
        return self.step.metrics


class Trial:
    """See `fs_kernel.types.Trial`."""

    def __init__(self, step: TrainStep) -> None:
        self._step = step

    def step(self) -> Metrics:
        """Run one step and return its metrics."""
        return self._step.trial_step()


class RunHandle:
    """A view of a run: its facts, one plugin's options, and requests.

    Args:
        parts: of the run.
        plugin: whose options are seen; None for those of all.

    Attributes:
        info: the facts of the session.
        network: what is trained.
        device: where it is trained.
        group: the processes that share the run.
    """

    def __init__(self, parts: Collaborators, plugin: Plugin | None = None) -> None:
        self._parts, self._plugin = parts, plugin
        session = parts.session
        self.info, self.network, self.device = session.info, session.network, session.device
        self.group = session.coordinator.group

    @property
    def config(self) -> Config:
        """The plugin's own sections, or all options, as they are now."""
        config = self._parts.session.options.config
        return config if self._plugin is None else config.view(self._plugin.sections)

    @property
    def step(self) -> int:
        """Steps done over the model's life."""
        return self._parts.session.state.iterations

    # --- the network ---

    def forward(
        self, inputs: Mapping[Side, torch.Tensor], training: bool = True
    ) -> list[torch.Tensor]:
        """Run the network and return its outputs."""
        return self._parts.session.forward(inputs, training=training)

    @property
    def module(self) -> torch.nn.Module | None:
        """What runs the lowered network; None if the executor lowers nothing."""
        return getattr(self._parts.session.forward, "module", None)

    @property
    def objectives(self) -> Sequence[ActiveObjective]:
        """What adds terms to the trainer's loss."""
        return list(self._parts.session.objectives.values())

    def parameters(self, of: str | None = None) -> dict[str, torch.nn.Parameter]:
        """Return trainable weights by their stable names, of the network or an owned one."""
        return networks.parameters(self.network, of)

    def swapper(self, source: Side, target: Side) -> Swapper:
        """Return what turns faces of ``source`` into ``target`` with the weights of this moment."""
        return self._parts.swappers(source, target)

    # --- other plugins ---

    def find(self, kind: str, name: str) -> Any:
        """Return another plugin by kind and name; see `fs_kernel.types.Run.find`."""
        return self._parts.session.find(kind, name, self.config)

    def read_faces(self, source: Path, side: Side) -> Iterator[Face]:
        """Return the faces of a folder one by one, cut as the network of ``side`` wants them."""
        model = self.network.model
        shape = tuple(model.inputs[self.network.sides.index(side)].shape[1:])
        feed = self._parts.session.plugins.feed
        return feed.read_faces(source, shape, self.network.color_order)

    # --- options ---

    def get_option(self, name: str) -> Any:
        """Return the value of an option of any section; see `fs_kernel.types.Run.get_option`."""
        section, _, key = name.rpartition(".")
        config = self._parts.session.options.config
        find_option(config, name)
        return getattr(config[section], key)

    def set_option(
        self, name: str, value: Any, *, at_step: int | None = None, bounded: bool = True
    ) -> None:
        """Change a live option; see `fs_kernel.types.Run.set_option`."""
        self._parts.step.live.request(name, value, at_step, bounded)

    # --- saying and asking ---

    def log(self, values: Mapping[str, float]) -> None:
        """Report numbers by name with the next metrics. Safe from any thread."""
        self._parts.metrics.log(values)

    def warn(self, line: str) -> None:
        """Warn the user, in one line. Safe from any thread."""
        self._parts.events.warn(line)

    def note(self, line: str) -> None:
        """Tell the user what happened, in one line. Safe from any thread."""
        self._parts.events.note(line)

    def request_stop(self) -> None:
        """Finish the step, save, and end."""
        self._parts.agenda.request(Action.STOP)

    def request_save(self) -> None:
        """Save after the current step."""
        self._parts.agenda.request(Action.SAVE)

    def request_snapshot(self) -> None:
        """Save after the current step, and keep that checkpoint permanently."""
        self._parts.agenda.request(Action.SNAPSHOT)

    def request_preview(self, count: int = 14) -> None:
        """Make a preview of ``count`` faces per side after the current step."""
        self._parts.agenda.request(Action.PREVIEW, count)

    @contextmanager
    def trial(self) -> Iterator[Trial]:
        """Return a context whose steps leave no trace; see `fs_kernel.types.Run.trial`."""
        with self._parts.step.trial():
            yield Trial(self._parts.step)
