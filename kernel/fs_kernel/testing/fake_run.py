"""A run made of parts: what trainers, objectives and add-ons can be tested with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from fs_kernel import networks
from fs_kernel.options.sources import Config
from fs_kernel.testing.plugins import PlainExecutor
from fs_kernel.training.coordination import SingleGroup
from fs_kernel.types import FaceIterator, LossTerms, Network, ProcessGroup, RunInfo, Side, Trial

if TYPE_CHECKING:
    import torch


class FakeRun:
    """A `fs_kernel.types.Run` of parts: no loop, no feed, no folder but the one it is given.

    Attributes:
        info: plausible facts.
        network: what is trained.
        config: the plugin's options.
        device: the CPU.
        group: one process.
        module: none.
        objectives: none; add some as you like.
        step: steps done; set it as you like.
        requests: what was asked for, in order ("stop", "save", "snapshot", "preview", or "warn: "
            and "note: " with the line).
        logged: what was logged, by name.
        direct_calls: how often the network, or a sub-model of it, was run otherwise than by
            `forward`.
    """

    def __init__(self, network: Network, config: Config, model_dir: Path) -> None:
        import torch

        self.network = network
        self.config = config
        self.device = torch.device("cpu")
        self.step = 0
        self.requests: list[str] = []
        self.logged: dict[str, float] = {}
        self.direct_calls = 0
        self.group: ProcessGroup = SingleGroup()
        self.module: torch.nn.Module | None = None
        self.objectives: Sequence[LossTerms] = ()
        self._inside = False
        self._forward = PlainExecutor().make_forward(network, self.device)
        self.info = RunInfo(
            model_dir=model_dir,
            model="fake",
            network_name=network.model.name,
            trainer="fake",
            feed="arrays",
            executor="plain",
            sides=network.sides,
            parameters=networks.count(network),
            batch_size=4,
            device="cpu",
            precision="fp32",
            seed=1,
            session=1,
            start_step=0,
            target_steps=100,
            face_counts=dict.fromkeys(network.sides, 32),
        )
        for model in (network.model, *networks.sub_models(network.model).values()):
            self._watch(model)

    def _watch(self, model: Any) -> None:
        call = model.call

        def counted(*arguments: Any, **named: Any) -> Any:
            self.direct_calls += not self._inside
            return call(*arguments, **named)

        model.call = counted

    def forward(
        self, inputs: Mapping[Side, torch.Tensor], training: bool = True
    ) -> list[torch.Tensor]:
        """Run the network and return its outputs."""
        self._inside = True
        try:
            outputs: list[torch.Tensor] = self._forward(inputs, training=training)
            return outputs
        finally:
            self._inside = False

    def parameters(self, of: str | None = None) -> dict[str, torch.nn.Parameter]:
        """Return trainable weights by their stable names."""
        return networks.parameters(self.network, of)

    def find(self, kind: str, name: str) -> Any:
        """Return an installed plugin behind its typed calls, with default options."""
        from fs_kernel.testing.parts import make_plugin

        return make_plugin(kind, name)

    def get_option(self, name: str) -> Any:
        """Return the value of one of the plugin's own options."""
        section, _, key = name.rpartition(".")
        return getattr(self.config[section], key)

    def set_option(
        self, name: str, value: Any, *, at_step: int | None = None, bounded: bool = True
    ) -> None:
        """Change one option; ``at_step`` and ``bounded`` make no difference here."""
        section, _, key = name.rpartition(".")
        sections = {known: self.config[known] for known in self.config}
        sections[section] = attrs.evolve(sections[section], **{key: value})
        self.config = Config(sections)

    def swapper(self, source: Side, target: Side) -> Any:
        """Not available without a loop."""
        raise NotImplementedError("a fake run has no executor; use tiny_run")

    def read_faces(self, source: Path, side: Side) -> FaceIterator:
        """Not available without a loop."""
        raise NotImplementedError("a fake run has no feed; use tiny_run")

    def trial(self) -> AbstractContextManager[Trial]:
        """Not available without a loop."""
        raise NotImplementedError("a fake run has no loop; use tiny_run")

    def log(self, values: Mapping[str, float]) -> None:
        """Note the numbers in `logged`."""
        self.logged |= values

    def warn(self, line: str) -> None:
        """Note the line in `requests`."""
        self.requests.append(f"warn: {line}")

    def note(self, line: str) -> None:
        """Note the line in `requests`."""
        self.requests.append(f"note: {line}")

    def request_stop(self) -> None:
        """Note the request in `requests`."""
        self.requests.append("stop")

    def request_save(self) -> None:
        """Note the request in `requests`."""
        self.requests.append("save")

    def request_snapshot(self) -> None:
        """Note the request in `requests`."""
        self.requests.append("snapshot")

    def request_preview(self, count: int = 14) -> None:
        """Note the request in `requests`."""
        self.requests.append("preview")
