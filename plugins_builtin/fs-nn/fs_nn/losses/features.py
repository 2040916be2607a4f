"""The three picture classifiers whose features LPIPS compares.

Only their convolutional parts, laid out and numbered as in torchvision (``features.0.weight``), so
that its weight files fit.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs
import torch
from torch import Tensor, nn


@attrs.frozen
class Backbone:
    """A classifier's convolutional part.

    Attributes:
        title: what it is called in messages.
        make: builds it, with random weights.
        taps: positions whose outputs are compared.
        widths: channels of these.
        crops: pixels to cut from every border of those, where padding shows.
        features: stem of the weight file's name, as torchvision calls it.
        heads: stem of the name of the file with the linear layers, as the package lpips calls it.
    """

    title: str
    make: Callable[[], nn.Sequential]
    taps: tuple[int, ...]
    widths: tuple[int, ...]
    crops: tuple[int, ...]
    features: str
    heads: str


class Fire(nn.Module):
    """SqueezeNet's module: a 1x1 convolution, then 1x1 and 3x3 ones beside each other."""

    def __init__(self, channels: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, squeezed, 1)
        self.expand1x1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand3x3 = nn.Conv2d(squeezed, expanded, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Squeeze, then expand with both kernel sizes."""
        x = self.squeeze(x).relu()
        return torch.cat((self.expand1x1(x).relu(), self.expand3x3(x).relu()), dim=1)


def alexnet() -> nn.Sequential:
    """Build the one-column AlexNet (Krizhevsky 2014)."""
    return nn.Sequential(
        nn.Conv2d(3, 64, 11, stride=4, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(64, 192, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(192, 384, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(256, 256, 3, padding=1),
        nn.ReLU(),
    )


def squeezenet() -> nn.Sequential:
    """Build SqueezeNet 1.1 (Iandola et al. 2016)."""
    return nn.Sequential(
        nn.Conv2d(3, 64, 3, stride=2),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        Fire(64, 16, 64),
        Fire(128, 16, 64),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        Fire(128, 32, 128),
        Fire(256, 32, 128),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        Fire(256, 48, 192),
        Fire(384, 48, 192),
        Fire(384, 64, 256),
        Fire(512, 64, 256),
    )


def vgg16() -> nn.Sequential:
    """Build VGG with 16 layers (Simonyan and Zisserman 2014)."""
    layers: list[nn.Module] = []
    channels = 3
    for block, (width, convolutions) in enumerate(
        ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
    ):
        if block:
            layers.append(nn.MaxPool2d(2, 2))
        for _ in range(convolutions):
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
            channels = width
    return nn.Sequential(*layers)


ALEX = Backbone(
    title="AlexNet",
    make=alexnet,
    taps=(1, 4, 7, 9, 11),
    widths=(64, 192, 384, 256, 256),
    crops=(2, 2, 1, 1, 1),
    features="alexnet",
    heads="alex",
)
SQUEEZE = Backbone(
    title="SqueezeNet 1.1",
    make=squeezenet,
    taps=(1, 4, 7, 9, 10, 11, 12),
    widths=(64, 128, 256, 384, 384, 512, 512),
    crops=(1, 1, 1, 1, 1, 1, 1),
    features="squeezenet1_1",
    heads="squeeze",
)
VGG16 = Backbone(
    title="VGG16",
    make=vgg16,
    taps=(3, 8, 15, 22, 29),
    widths=(64, 128, 256, 512, 512),
    crops=(1, 1, 1, 1, 1),
    features="vgg16",
    heads="vgg",
)
