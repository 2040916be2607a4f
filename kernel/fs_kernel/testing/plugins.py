"""The smallest complete plugin of each kind."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from fs_kernel.hookspecs import hookimpl
from fs_kernel.options import Config, option
from fs_kernel.randomness import generator
from fs_kernel.testing.arrays import array_face, array_landmarks, array_mask
from fs_kernel.testing.steps import PlainSteps
from fs_kernel.types import (
    Batch,
    BatchMeta,
    Feed,
    FeedSpec,
    Network,
    NetworkSpec,
    Output,
    PreviewFaces,
    Run,
)

if TYPE_CHECKING:
    import keras
    import torch


@attrs.frozen
class TinyOptions:
    """Options of `TinyModel`."""

    width: int = option(16, "Filters of the encoder.", minimum=1, maximum=64, fixed=True)
    dropout: float = option(0.1, "Dropout rate in the encoder.", minimum=0.0, maximum=0.9)


class TinyModel:
    """A shared encoder and a decoder per side, 16 px, with dropout and noise."""

    name = "tiny"

    @hookimpl
    def config_defaults(self) -> dict[str, type]:
        return {"model.tiny": TinyOptions}

    @hookimpl
    def network_spec(self) -> NetworkSpec:
        return NetworkSpec({"a": (16, 16, 3), "b": (16, 16, 3)})

    @hookimpl
    def build_model(self, inputs: dict[str, keras.KerasTensor], config: Config) -> Network:
        import keras
        from keras import layers

        options = config["model.tiny"]
        start = keras.Input((16, 16, 3))
        x = layers.Conv2D(options.width, 5, 2, "same", activation="relu", name="conv")(start)
        x = layers.SpatialDropout2D(options.dropout)(x)
        x = layers.GaussianNoise(0.01)(x)
        x = layers.Dense(64)(layers.Dropout(options.dropout)(layers.Flatten()(x)))
        encoder = keras.Model(start, layers.Reshape((4, 4, 4))(x), name="encoder")

        def decoder(side: str) -> keras.Model:
            code = keras.Input((4, 4, 4))
            x = layers.Conv2DTranspose(16, 4, 4, "same", activation="relu", name="conv")(code)
            face = layers.Conv2D(3, 3, padding="same", activation="sigmoid", name="face")(x)
            return keras.Model(code, face, name=f"decoder_{side}")

        faces = [decoder(side)(encoder(tensor)) for side, tensor in inputs.items()]
        model = keras.Model(list(inputs.values()), faces, name="tiny")
        return Network(model, [Output(side, "face", 16) for side in inputs])

    @hookimpl
    def freeze_layers(self) -> list[str]:
        return ["encoder"]

    @hookimpl
    def load_layers(self) -> list[str]:
        return ["encoder"]


class PlainTrainer:
    """Mean squared error and Adam."""

    name = "plain"

    @hookimpl
    def get_sampler(self, sizes: Mapping[str, int], batch_size: int, seed: int) -> CountedSampler:
        return CountedSampler(dict(sizes), batch_size, seed)

    @hookimpl
    def create_trainer(self, run: Run) -> PlainSteps:
        return PlainSteps(run)


@attrs.define
class CountedSampler:
    """Draws with replacement, keyed by the step."""

    sizes: dict[str, int]
    batch_size: int
    seed: int

    def draw(self, step: int) -> dict[str, np.ndarray]:
        """Return indices of the faces of a step, per side ``(batch_size,)`` int64."""
        return {
            side: generator(self.seed, step, side, "draw").integers(0, size, self.batch_size)
            for side, size in self.sizes.items()
        }

    def update(self, step: int, indices: Any, losses: Any) -> None:
        """Do nothing: losses make no difference here."""

    def state_dict(self) -> dict[str, Any]:
        """Return nothing: a draw depends on seed and step alone."""
        return {}

    def load_state_dict(self, state: Any) -> None:
        """Refuse what `state_dict` cannot have returned."""
        if state:
            raise ValueError(f"unexpected sampler state {state}")


class ArrayFeed:
    """Pictures of smooth noise made in memory; the folders only have to exist."""

    name = "arrays"

    @hookimpl
    def open_feed(self, folders: Mapping[str, Path], spec: FeedSpec) -> Feed:
        return ArrayFaces(spec)


class ArrayFaces:
    """The open feed of `ArrayFeed`: 32 pictures a side, input and target alike.

    The face mask of every picture is the disc that touches its borders, those of eyes and mouth are
    bars across it.
    """

    prefetch = 2
    fingerprint = "arrays"
    warnings: tuple[str, ...] = ()

    def __init__(self, spec: FeedSpec) -> None:
        self._spec = spec
        self.sizes = dict.fromkeys(spec.sides, 32)
        self._step = 0

    def start(self, sampler: Any, step: int) -> None:
        """Give the batch of ``step`` next."""
        self._sampler, self._step = sampler, step

    def picture(self, side: str, index: int, size: int) -> np.ndarray:
        """Return one picture ``(size, size, 3)`` float32 0..1."""
        picture = array_face(self._spec.seed, side, int(index), size)
        return picture if self._spec.color_order == "bgr" else picture[..., ::-1]

    def _stack(self, side: str, indices: np.ndarray, size: int) -> torch.Tensor:
        import torch

        return torch.from_numpy(np.stack([self.picture(side, i, size) for i in indices]))

    def _mask(self, name: str, count: int, size: int) -> torch.Tensor:
        import torch

        mask = torch.from_numpy(array_mask(name, size))
        return mask.expand(count, size, size, 1).clone()

    def _target(self, side: str, output: Output, indices: np.ndarray) -> torch.Tensor | None:
        if output.kind == "face":
            return self._stack(side, indices, output.size)
        return self._mask("face", len(indices), output.size) if output.kind == "mask" else None

    def next(self) -> Batch:
        """Return the next batch."""
        spec = self._spec
        drawn = self._sampler.draw(self._step)
        indices = {side: drawn[side][list(spec.local_indices)] for side in spec.sides}
        outputs = {side: [o for o in spec.outputs if o.side == side] for side in spec.sides}
        inputs = {s: self._stack(s, i, spec.input_shapes[s][0]) for s, i in indices.items()}
        targets = {s: [self._target(s, o, i) for o in outputs[s]] for s, i in indices.items()}
        masks = {
            side: {
                name: {
                    o.size: self._mask(name, len(indices[side]), o.size)
                    for o in outputs[side]
                    if o.kind == "face"
                }
                for name in spec.masks
            }
            for side in spec.sides
        }
        self._step += 1
        meta = BatchMeta(indices, masks, self._landmarks(indices))
        return Batch(self._step - 1, inputs, targets, meta)

    def _landmarks(self, indices: Mapping[str, np.ndarray]) -> dict[str, torch.Tensor]:
        import torch

        if "landmarks" not in self._spec.fields:
            return {}
        return {s: torch.from_numpy(array_landmarks(len(i))) for s, i in indices.items()}

    def preview(self, count: int) -> PreviewFaces:
        """Return the first ``count`` faces of each side."""
        picks = np.arange(min(count, 32))
        sizes = {side: self._spec.input_shapes[side][0] for side in self._spec.sides}
        inputs = {side: self._stack(side, picks, size) for side, size in sizes.items()}
        step = 1 if self._spec.color_order == "bgr" else -1
        return PreviewFaces(
            inputs,
            {s: (x.numpy()[..., ::step] * 255).astype(np.uint8) for s, x in inputs.items()},
            {side: np.tile([0, 0, n, n], (len(picks), 1)) for side, n in sizes.items()},
            dict.fromkeys(sizes),
        )

    def close(self) -> None:
        """Forget the sampler."""
        self._sampler = None


class PlainExecutor:
    """Calls the Keras model."""

    name = "plain"

    @hookimpl
    def make_forward(self, network: Network, device: torch.device) -> Any:
        import keras

        def forward(inputs: Mapping[str, torch.Tensor], training: bool = True) -> list[Any]:
            with keras.device(str(device)):
                result = network.model([inputs[s] for s in network.sides], training=training)
            return list(result) if isinstance(result, list | tuple) else [result]

        return forward
