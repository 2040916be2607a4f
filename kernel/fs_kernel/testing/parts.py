"""Plugins behind their facade, networks and batches, without a run around them."""

from __future__ import annotations

import functools
import gc
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import attrs
import numpy as np

from fs_kernel import backend, networks
from fs_kernel.options import CommandLineSource, Config, resolve
from fs_kernel.plugins.loading import load
from fs_kernel.plugins.roles import Plugins
from fs_kernel.testing.arrays import array_faces, array_mask
from fs_kernel.testing.plugins import PlainExecutor
from fs_kernel.training.coordination import Alone
from fs_kernel.types import Batch, BatchMeta, Group, Network, Output, RunInfo, Side, Trial

if TYPE_CHECKING:
    import torch


def by_section(options: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """``{"section.option": value}`` as ``{section: {option: value}}``."""
    sections: dict[str, dict[str, Any]] = {}
    for name, value in options.items():
        section, _, key = name.rpartition(".")
        sections.setdefault(section, {})[key] = value
    return sections


def make_plugins(kind: str, plugin: Any, options: Mapping[str, Any] = {}) -> Plugins:
    """The kernel's facade over one plugin, with its options settled.

    Args:
        kind: "models", "trainers", ...
        plugin: name, path or object of the plugin.
        options: ``{"model.mine.width": 8}``.

    Raises:
        FsError: the plugin does not fit its hooks, or an option does not fit the plugin.
    """
    facade = Plugins([load(kind, plugin)])
    given = CommandLineSource("options", by_section(options))
    facade.config, _ = resolve(facade.config_defaults(), [given])
    return facade


def build_network(
    plugin: Any, options: Mapping[str, Any] = {}, *, seed: int = 1, device: str = "cpu"
) -> Network:
    """A new network of a model plugin, as the kernel makes it for a new model folder."""
    _pass_over_what_is_imported()
    facade = make_plugins("models", plugin, options)
    with networks.building(seed, device):
        built = networks.build(facade)
        built.mixed_layers = networks.following_layers(built)
    return built


@functools.cache
def _pass_over_what_is_imported() -> None:
    # Keras collects garbage for every network; looking through all modules each time takes longer
    # than building a small one.
    backend.keras()
    gc.collect()
    gc.freeze()


def array_batch(network: Network, count: int, *, step: int = 1, masks: set[str]) -> Batch:
    """A batch of array faces for a network, in its colour order.

    Args:
        network: whose inputs and outputs it is for.
        count: faces per side.
        step: the step it is for; other steps have other faces.
        masks: names of the masks it holds.
    """
    import torch

    def pictures(side: Side, size: int) -> torch.Tensor:
        return torch.from_numpy(array_faces(count, size, side=side, seed=step))

    def mask(name: str, size: int) -> torch.Tensor:
        return torch.from_numpy(np.stack([array_mask(name, size)] * count))

    def target(side: Side, output: Output) -> torch.Tensor | None:
        if output.kind == "aux":
            return None
        return pictures(side, output.size) if output.kind == "face" else mask("face", output.size)

    shapes = dict(zip(network.sides, (t.shape for t in network.model.inputs), strict=True))
    targets: dict[Side, list[torch.Tensor | None]] = {}
    held: dict[Side, dict[str, dict[int, torch.Tensor]]] = {}
    for side in network.sides:
        outputs = [output for _, output in network.outputs_of(side)]
        targets[side] = [target(side, output) for output in outputs]
        sizes = [o.size for o in outputs if o.kind == "face"]
        held[side] = {name: {size: mask(name, size) for size in sizes} for name in sorted(masks)}
    indices = {side: np.arange(count) for side in network.sides}
    inputs = {side: pictures(side, shape[1]) for side, shape in shapes.items()}
    return Batch(step, inputs, targets, BatchMeta(indices, held))


class HarnessRun:
    """A `fs_kernel.types.Run` of parts: no engine, no feed, no folder but the one it is given.

    Attributes:
        info: plausible facts.
        network: what is trained.
        config: the plugin's options.
        device: the CPU.
        group: none.
        module: none.
        step: steps done; set it as you like.
        requests: what was asked for, in order ("stop", "save", "snapshot", "preview", or "warn: "
            and "note: " with the line).
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
        self.direct_calls = 0
        self.group: Group = Alone()
        self.module: torch.nn.Module | None = None
        self._inside = False
        self._forward = PlainExecutor().make_forward(network, self.device)
        self.info = RunInfo(
            model_dir=model_dir,
            model="harness",
            network_name=network.model.name,
            trainer="harness",
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
        """Run the network."""
        self._inside = True
        try:
            outputs: list[torch.Tensor] = self._forward(inputs, training=training)
            return outputs
        finally:
            self._inside = False

    def parameters(self) -> dict[str, torch.nn.Parameter]:
        """Trainable weights by their stable name."""
        return networks.parameters(self.network)

    def find(self, kind: Literal["losses", "optimizers"], name: str) -> Any:
        """The object installed with this name."""
        return load(kind, name).plugin

    def get_option(self, name: str) -> Any:
        """The value of one of the plugin's own options."""
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

    def trial(self) -> AbstractContextManager[Trial]:
        """Not to be had without an engine."""
        raise NotImplementedError("a harness has no engine; use tiny_run")

    def warn(self, line: str) -> None:
        """Noted in `requests`."""
        self.requests.append(f"warn: {line}")

    def note(self, line: str) -> None:
        """Noted in `requests`."""
        self.requests.append(f"note: {line}")

    def request_stop(self) -> None:
        """Noted in `requests`."""
        self.requests.append("stop")

    def request_save(self) -> None:
        """Noted in `requests`."""
        self.requests.append("save")

    def request_snapshot(self) -> None:
        """Noted in `requests`."""
        self.requests.append("snapshot")

    def request_preview(self, count: int = 14) -> None:
        """Noted in `requests`."""
        self.requests.append("preview")
