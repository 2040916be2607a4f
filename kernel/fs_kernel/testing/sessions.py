"""A trainer at work without a loop around it, and what its suite looks at."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs

from fs_kernel import networks
from fs_kernel.hookspecs import hookimpl
from fs_kernel.plugins.objects import ActiveTrainer
from fs_kernel.plugins.roles import Trainer
from fs_kernel.storage import tree
from fs_kernel.testing.fake_run import FakeRun
from fs_kernel.testing.parts import array_batch
from fs_kernel.testing.plugins import TinyModel
from fs_kernel.types import Batch, Network, Output, StepResult

if TYPE_CHECKING:
    import keras


class ManyOutputs(TinyModel):
    """`TinyModel` with two sizes of faces, a mask, and an output without a target, per side."""

    name = "many"

    @hookimpl
    def build_model(self, inputs: dict[str, keras.KerasTensor], config: Any) -> Network:
        """As `TinyModel`, and three more outputs per side."""
        import keras
        from keras import layers

        tiny = super().build_model(inputs, config)
        tensors, outputs = [], []
        for side, face in zip(inputs, tiny.model.outputs, strict=True):
            small = layers.AveragePooling2D(2)(face)
            mask = layers.Conv2D(1, 3, padding="same", activation="sigmoid")(face)
            tensors += [small, face, mask, layers.Flatten()(small)]
            outputs += [Output(side, "face", 8), Output(side, "face", 16)]
            outputs += [Output(side, "mask", 16), Output(side, "aux", 0)]
        return Network(keras.Model(list(inputs.values()), tensors, name="many"), outputs)


@attrs.define
class TrainerSession:
    """A trainer at work on a small network."""

    plugin: Trainer
    run: FakeRun
    trainer: ActiveTrainer

    def step(self, batch: Batch) -> StepResult:
        """Run one step."""
        result = self.trainer.train_step(batch, self.run.network.sides)
        self.run.step += 1
        return result

    def batch(self, step: int = 1) -> Batch:
        """Return four faces per side with the fields the trainer needs; each step has its own."""
        fields = self.plugin.required_fields()
        return array_batch(self.run.network, 4, step=step, fields=fields)

    def totals(self, steps: Any) -> list[list[float]]:
        """Return losses per side of the given steps, each with faces of its own."""
        return [[x.total.item() for x in self.step(self.batch(s)).losses] for s in steps]

    def weights(self) -> dict[str, Any]:
        """Return copies of all weights, by name."""
        found = networks.weights(self.run.network)
        return {name: variable.detach().clone() for name, variable in found.items()}


def through_a_file(state: Any) -> Any:
    """Return a state as a checkpoint gives it back."""
    skeleton, tensors = tree.pack(state)
    return tree.unpack(copy.deepcopy(skeleton), tensors, "the state")


def leaves(node: Any, path: str = "") -> list[tuple[str, Any]]:
    """Return every leaf of a tree with its path."""
    if isinstance(node, Mapping):
        return [leaf for key, value in node.items() for leaf in leaves(value, f"{path}/{key}")]
    if isinstance(node, list | tuple):
        return [leaf for i, value in enumerate(node) for leaf in leaves(value, f"{path}/{i}")]
    return [(path, node)]
