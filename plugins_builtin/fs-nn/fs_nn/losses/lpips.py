"""Compare pictures by the features of a picture classifier."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import torch
from fs_kernel import Config, hookimpl
from fs_kernel.errors import ConfigError
from torch import Tensor, nn
from torch.nn import functional as F

from fs_nn.losses import weight_files
from fs_nn.losses.features import ALEX, SQUEEZE, VGG16, Backbone
from fs_nn.losses.filters import resize
from fs_nn.options import LossOptions

_SHIFT = (-0.030, -0.088, -0.188)
_SPREAD = (0.458, 0.448, 0.450)
_EPSILON = 1e-10
_SCALE = 0.1


class LPIPS(nn.Module):
    """Zhang et al. 2018, "The unreasonable effectiveness of deep features", times 0.1.

    A map ``(n, 1, h, w)``: per layer the squared distance of the features, normalized over their
    channels and weighted by a learned linear layer, brought to full size and added up. The borders
    of the features, where padding shows, are left out.

    Args:
        heads: the linear layers' weights, ``(1, channels, 1, 1)`` per tap of the backbone.
        features: the backbone's weights by name ("0.weight").
    """

    color_order = "rgb"
    name: ClassVar[str]
    backbone: ClassVar[Backbone]
    shift: Tensor
    spread: Tensor

    def __init__(self, heads: Sequence[Tensor], features: dict[str, Tensor]) -> None:
        super().__init__()
        with torch.device("meta"):  # no random start, so no draw from the run's generator
            self.features = self.backbone.make()
        self.features.load_state_dict(features, assign=True)
        self.heads = nn.ParameterList(heads)
        for attribute, values in (("shift", _SHIFT), ("spread", _SPREAD)):
            self.register_buffer(attribute, torch.tensor(values).view(1, 3, 1, 1))
        self.requires_grad_(False)

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the map of one batch of ``(n, 3, h, w)`` RGB pictures, 0..1.

        Raises:
            ConfigError: the pictures are too small for the deepest layer.
        """
        pair = torch.cat((prediction, target))
        features = self._features((pair * 2 - 1 - self.shift) / self.spread)
        total = torch.zeros_like(prediction[:, :1])
        for found, head, crop in zip(features, self.heads, self.backbone.crops, strict=True):
            one, other = _normalized(found).chunk(2)
            difference = (one - other).square()
            if min(difference.shape[-2:]) <= 2 * crop:
                raise ConfigError(
                    f"loss {self.name} cannot see pictures of {prediction.shape[-1]} pixels; "
                    "choose another loss for so small an output"
                )
            difference = F.pad(difference, (-crop,) * 4)
            total = total + resize(F.conv2d(difference, head), total)
        return total * _SCALE

    def _features(self, pictures: Tensor) -> Iterator[Tensor]:
        for position, layer in enumerate(self.features):
            pictures = layer(pictures)
            if position in self.backbone.taps:
                yield pictures


def _normalized(features: Tensor) -> Tensor:
    # vector_norm has the gradient 0 at 0, where the root of a sum would give not-a-number.
    length: Tensor = torch.linalg.vector_norm(features, dim=1, keepdim=True)
    return features / (length + _EPSILON)


class LPIPSAlex(LPIPS):
    """`LPIPS` with AlexNet: quick, and nearest to human judgment in the paper."""

    name = "lpips_alex"
    backbone = ALEX


class LPIPSSqueeze(LPIPS):
    """`LPIPS` with SqueezeNet 1.1: the smallest."""

    name = "lpips_squeeze"
    backbone = SQUEEZE


class LPIPSVGG16(LPIPS):
    """`LPIPS` with VGG16: the largest, nearest to a classical perceptual loss."""

    name = "lpips_vgg16"
    backbone = VGG16


class LPIPSPlugin:
    """Implement the hooks of an `LPIPS` loss, whose weights are in files that the options name.

    Args:
        loss: which of them.

    Attributes:
        loss: which of them.
        name: what it is called.
    """

    def __init__(self, loss: type[LPIPS]) -> None:
        self.loss, self.name = loss, loss.name

    @hookimpl
    def config_defaults(self) -> dict[str, type]:
        """Return ``[loss]``, which names the folder of the weights."""
        return {"loss": LossOptions}

    @hookimpl
    def create_loss(self, config: Config) -> LPIPS:
        """Return the loss with the weights from the folder that ``loss.lpips_weights`` names.

        Raises:
            ConfigError: a file is missing, damaged, or not the one expected.
        """
        options: LossOptions = config["loss"]
        backbone, digests = self.loss.backbone, options.lpips_sha256
        path = self._find(backbone.features, options)
        with torch.device("meta"):
            wanted = backbone.make().state_dict()
        features = weight_files.take(weight_files.read(path, digests), wanted, "features.", path)
        path = self._find(backbone.heads, options)
        wanted = {
            f"lin{i}.model.1.weight": torch.empty(1, width, 1, 1)
            for i, width in enumerate(backbone.widths)
        }
        heads = weight_files.take(weight_files.read(path, digests), wanted, "", path)
        return self.loss(list(heads.values()), features)

    def _find(self, stem: str, options: LossOptions) -> Path:
        folder, backbone = Path(options.lpips_weights).expanduser(), self.loss.backbone
        usable = bool(options.lpips_weights) and folder.is_dir()
        path = weight_files.find(folder, stem) if usable else None
        if path is None:
            where = f"'{folder}'" if options.lpips_weights else "not set"
            raise ConfigError(
                f"loss {self.name} needs a file {stem}*.pth, which is not there: put "
                f"torchvision's {backbone.title} weights ({backbone.features}-*.pth) and the "
                "linear layers of the Python package lpips (its weights/v0.1/"
                f"{backbone.heads}.pth) into one folder and name it with loss.lpips_weights "
                f"(now {where})"
            )
        return path


lpips_alex = LPIPSPlugin(LPIPSAlex)
lpips_squeeze = LPIPSPlugin(LPIPSSqueeze)
lpips_vgg16 = LPIPSPlugin(LPIPSVGG16)
