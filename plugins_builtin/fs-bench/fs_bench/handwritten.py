"""The baseline: ``original`` written by hand in plain torch, channels first.

It has the layers and the number of weights of that network, sends both sides through the
encoder in one batch, and is trained with the mean absolute error and torch's fused Adam. Its
strided convolutions pad both borders alike, which costs the same.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

#: Filters of the encoder's convolutions.
CONVS = (128, 256, 512, 1024)


def _convolution(before: int, filters: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, filters, 5, 2, 2), nn.LeakyReLU(0.1))


def _upscale(before: int, filters: int) -> nn.Sequential:
    convolution = nn.Conv2d(before, 4 * filters, 3, padding=1)
    return nn.Sequential(convolution, nn.LeakyReLU(0.1), nn.PixelShuffle(2))


class Original(nn.Module):
    """Encoder and two decoders, 64 px.

    Args:
        convs: filters of the encoder's convolutions; fewer make a smaller network.
        dense: width of the narrowest layer.
    """

    def __init__(self, convs: tuple[int, ...] = CONVS, dense: int = 1024) -> None:
        super().__init__()
        edge = 64 >> len(convs)
        self.encoder = nn.Sequential(
            *(_convolution(*pair) for pair in zip((3, *convs), convs, strict=False)),
            nn.Flatten(),
            nn.Linear(edge * edge * convs[-1], dense),
            nn.Linear(dense, 4 * 4 * 1024),
            nn.Unflatten(1, (1024, 4, 4)),
            _upscale(1024, 512),
        )
        self.decoders = nn.ModuleList(
            nn.Sequential(
                *(_upscale(*pair) for pair in ((512, 256), (256, 128), (128, 64))),
                nn.Conv2d(64, 3, 5, padding=2),
                nn.Sigmoid(),
            )
            for _ in "ab"
        )

    def forward(self, faces: torch.Tensor) -> list[torch.Tensor]:
        """Return faces ``(2 n, 3, 64, 64)``, first those of A, each through its side's decoder."""
        codes = self.encoder(faces).chunk(2)
        return [decode(code) for decode, code in zip(self.decoders, codes, strict=True)]

    def swap(self, faces: torch.Tensor) -> torch.Tensor:
        """Return faces ``(n, 3, 64, 64)`` of A through the decoder of B."""
        made: torch.Tensor = self.decoders[1](self.encoder(faces))
        return made


class HandStep:
    """Training steps of `Original` on one batch.

    Args:
        batch: faces per side.
        device: where it runs.
        precision: "fp32", "bf16" or "fp16"; the latter two by autocast.
    """

    def __init__(self, batch: int, device: torch.device, precision: str) -> None:
        self.model = Original().to(device)
        self._adam = torch.optim.Adam(self.model.parameters(), lr=1e-5, fused=True)
        self._faces = torch.rand(2 * batch, 3, 64, 64, device=device)
        self._dtype = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
        self._device = device

    def __call__(self) -> torch.Tensor:
        """Train one step.

        Returns:
            The loss, unread.
        """
        with torch.autocast(self._device.type, self._dtype, enabled=self._dtype is not None):
            made = self.model(self._faces)
            pairs = zip(made, self._faces.chunk(2), strict=True)
            loss = torch.stack([F.l1_loss(*pair) for pair in pairs]).sum()
        self._adam.zero_grad()
        loss.backward()
        self._adam.step()
        return loss.detach()
