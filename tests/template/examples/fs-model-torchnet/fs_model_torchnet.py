"""A network that is a plain ``torch.nn.Module``.

All sides go through the encoder as one batch, which is faster than one after another. The kernel
cannot cut a single direction out of that, so the plugin does it in `build_inference`.
"""

from __future__ import annotations

import torch
from fs_kernel import Network, NetworkSpec, Output, hookimpl
from fs_nn.torch_layer import TorchLayer
from torch import nn

SIZE = 64
SIDES = ("a", "b")


class AutoEncoder(nn.Module):
    """One encoder, a decoder per side. Pictures are ``(n, 3, 64, 64)``."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            *(nn.Conv2d(3, width, 5, 2, 2), nn.BatchNorm2d(width), nn.LeakyReLU(0.1)),
            *(nn.Conv2d(width, width, 5, 2, 2), nn.LeakyReLU(0.1)),
            *(nn.Flatten(), nn.Linear(256 * width, 64), nn.Linear(64, 256 * width)),
            nn.Unflatten(1, (width, 16, 16)),
        )
        self.decoders = nn.ModuleDict({side: self.decoder(width) for side in SIDES})

    @staticmethod
    def decoder(width: int) -> nn.Module:
        up = nn.ConvTranspose2d(width, width, 4, 2, 1), nn.LeakyReLU(0.1)
        return nn.Sequential(*up, nn.ConvTranspose2d(width, 3, 4, 2, 1))

    def forward(self, faces: list[torch.Tensor], side: str | None = None) -> list[torch.Tensor]:
        """Every side's faces redrawn; or, given a side, all faces drawn as that side."""
        codes = self.encoder(torch.cat(faces)).chunk(len(faces))
        owners = [side] * len(faces) if side else SIDES
        return [self.decoders[owner](code) for owner, code in zip(owners, codes, strict=True)]


class AutoEncoderLayer(TorchLayer):
    """The module as a layer; the saved graph holds its name and its width."""

    def make(self, width: int) -> nn.Module:
        return AutoEncoder(width)


@hookimpl
def network_spec():
    return NetworkSpec(dict.fromkeys(SIDES, (SIZE, SIZE, 3)), color_order="rgb")


@hookimpl
def build_model(inputs):
    import keras

    pictures = AutoEncoderLayer(width=16, name="autoencoder")(list(inputs.values()))
    to_face = keras.layers.Activation("sigmoid", dtype="float32", name="to_face")
    model = keras.Model(list(inputs.values()), [to_face(x) for x in pictures], name="torchnet")
    return Network(model, [Output(side, "face", SIZE) for side in inputs])


@hookimpl
def build_inference(network, target):
    import keras

    face = keras.Input((SIZE, SIZE, 3))
    (picture,) = network.model.get_layer("autoencoder")([face], side=target)
    return keras.Model([face], network.model.get_layer("to_face")(picture))


@hookimpl
def custom_objects():
    return {"AutoEncoderLayer": AutoEncoderLayer}
