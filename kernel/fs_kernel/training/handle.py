"""What a trainer or an add-on gets to hold of a run, and nothing more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from fs_kernel import networks
from fs_kernel.types import Metrics, Side

if TYPE_CHECKING:
    import torch

    from fs_kernel.options.sources import Config
    from fs_kernel.training.loop import TrainingRun


class Trial:
    """See `fs_kernel.types.Trial`."""

    def __init__(self, owner: TrainingRun) -> None:
        self._owner = owner

    def step(self) -> Metrics:
        """One step, read back."""
        return self._owner.try_step()


class RunView:
    """One plugin's `fs_kernel.types.Run`: its own options, the run's facts, a few requests."""

    def __init__(self, owner: TrainingRun, config: Config) -> None:
        self._owner = owner
        self._sections = tuple(config)
        self.info = owner.info
        self.network = owner.network
        self.device = owner.device
        self.group = owner.group
        self.request_stop = owner.request_stop
        self.request_save = owner.request_save
        self.request_snapshot = owner.request_snapshot
        self.get_option = owner.get_option
        self.set_option = owner.set_option
        self.warn = owner.warn
        self.note = owner.note
        self.trial = owner.trial
        self.request_preview = owner.request_preview

    @property
    def config(self) -> Config:
        """The plugin's own sections, as they are now."""
        return self._owner.config.view(self._sections)

    @property
    def step(self) -> int:
        """Steps done so far."""
        return self._owner.step

    def forward(self, inputs: Mapping[Side, torch.Tensor], training: bool = True) -> list[Any]:
        """Run the network."""
        return self._owner.session.forward(inputs, training=training)

    @property
    def module(self) -> torch.nn.Module | None:
        """What runs the lowered network."""
        return getattr(self._owner.session.forward, "module", None)

    def parameters(self) -> dict[str, torch.nn.Parameter]:
        """Trainable weights by their stable name."""
        return networks.parameters(self.network)

    def find(self, kind: Literal["losses", "optimizers"], name: str) -> Any:
        """The object installed under a name."""
        return self._owner.session.find(kind, name, self.config)
