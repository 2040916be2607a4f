"""List every encoder of the option ``enc_architecture`` as data, without importing any."""

from __future__ import annotations

from typing import Literal

import attrs
from fs_kernel.types import ColorOrder

#: Range of values that a network expects: 0..1, -1..1 or 0..255.
ValueRange = Literal["unit", "signed", "bytes"]


@attrs.frozen
class Encoder:
    """One encoder.

    Attributes:
        family: "original" (built here), "vit" (`fs_nn.vit`) or "keras" (`keras.applications`).
        net: name in its family.
        size: pixels at ``enc_scaling`` 100.
        smallest: pixels below which it cannot be built.
        values: the range it expects; faces are 0..1.
        color_order: of its faces.
    """

    family: Literal["original", "vit", "keras"]
    net: str
    size: int
    smallest: int = 32
    values: ValueRange = "unit"
    color_order: ColorOrder = "rgb"

    def input_size(self, scaling: int) -> int:
        """Return the edge in pixels at ``scaling`` percent: a multiple of 16, or the smallest."""
        return max(self.smallest, self.size * scaling // 1600 * 16)


def _keras(values: ValueRange, nets: dict[str, str], size: int = 224) -> dict[str, Encoder]:
    return {name: Encoder("keras", net, size, values=values) for name, net in nets.items()}


def _table() -> dict[str, Encoder]:
    table = {"fs_original": Encoder("original", "fs_original", 1024, color_order="bgr")}
    for name in ("farl-b-16-16", "farl-b-16-64", "vit-b-16", "vit-b-32", "vit-l-14"):
        table[f"clipv_{name}"] = Encoder("vit", name, 224)
    table["clipv_vit-l-14-336px"] = Encoder("vit", "vit-l-14-336px", 336)

    words = {"tiny": "Tiny", "small": "Small", "base": "Base", "large": "Large"}
    words["extra_large"] = "XLarge"
    table |= _keras("bytes", {f"convnext_{n}": f"ConvNeXt{w}" for n, w in words.items()})
    table |= _keras("unit", {f"densenet{n}": f"DenseNet{n}" for n in (121, 169, 201)})
    for n, size in enumerate((224, 240, 260, 300, 380, 456, 528, 600)):
        table |= _keras("bytes", {f"efficientnet_b{n}": f"EfficientNetB{n}"}, size)
    v2 = {"b0": 224, "b1": 240, "b2": 260, "b3": 300, "s": 384, "m": 480, "l": 480}
    for name, size in v2.items():
        net = {f"efficientnet_v2_{name}": f"EfficientNetV2{name.upper()}"}
        table |= _keras("signed", net, size)
    inception = {"inception_resnet_v2": "InceptionResNetV2", "inception_v3": "InceptionV3"}
    for name, network in inception.items():
        table[name] = Encoder("keras", network, 299, smallest=75, values="signed")
    mobile = {
        "mobilenet": "MobileNet",
        "mobilenet_v2": "MobileNetV2",
        "mobilenet_v3_large": "MobileNetV3Large",
        "mobilenet_v3_small": "MobileNetV3Small",
    }
    table |= _keras("signed", mobile)
    table |= _keras("signed", {"nasnet_large": "NASNetLarge"}, 331)
    table |= _keras("signed", {"nasnet_mobile": "NASNetMobile"})
    for depth in (50, 101, 152):
        resnets = {f"resnet{depth}": f"ResNet{depth}", f"resnet{depth}_v2": f"ResNet{depth}V2"}
        table |= _keras("signed", resnets)
    for depth in (16, 19):
        network = f"VGG{depth}"
        table[f"vgg{depth}"] = Encoder("keras", network, 224, values="bytes", color_order="bgr")
    table["xception"] = Encoder("keras", "Xception", 299, smallest=71, values="signed")
    return table


#: Encoders by option value.
ENCODERS = _table()
