"""The option classes that several plugins share, one per section.

A model returns `NetworkOptions` from ``config_defaults``, a trainer `LossOptions`,
`OptimizerOptions` and, as its own section, `SamplerOptions`. Names, defaults and ranges are the
ones users of this field know.
"""

from __future__ import annotations

import attrs
from fs_kernel import option
from fs_kernel.errors import ConfigError


@attrs.frozen
class NetworkOptions:
    """Section ``network``: what every built-in network obeys."""

    learn_mask: bool = option(
        False,
        "Let each decoder also learn the mask of its faces, as an extra output. Needs a mask kind.",
        fixed=True,
    )
    reflect_padding: bool = option(
        False,
        "Pad before convolutions by mirroring the picture instead of with zeros. Can lessen "
        "artifacts at the border of the face.",
        fixed=True,
    )
    icnr_init: bool = option(
        False,
        "Start the convolutions of upscalers so that every 2x2 block begins as one color, which "
        "avoids a checkerboard in the first thousands of steps.",
        fixed=True,
    )
    conv_aware_init: bool = option(
        False,
        "Start convolutions from filters that are orthogonal in the Fourier domain. Can speed up "
        "early learning; building a new model takes some seconds longer.",
        fixed=True,
    )


@attrs.frozen
class LossOptions:
    """Section ``loss``: what is measured, and where in the picture it counts.

    Any installed loss can stand in a slot, by its name.
    """

    loss_function: str = option(
        "ssim", "The main loss. Its weight is always 100 percent.", plugin="losses"
    )
    loss_function_2: str = option("mse", "A second loss, or none.", plugin="losses")
    loss_weight_2: int = option(
        100,
        "Weight of the second loss, in percent of the main one.",
        minimum=0,
        maximum=400,
        live=True,
    )
    loss_function_3: str = option("none", "A third loss, or none.", plugin="losses")
    loss_weight_3: int = option(
        0,
        "Weight of the third loss, in percent of the main one.",
        minimum=0,
        maximum=400,
        live=True,
    )
    loss_function_4: str = option("none", "A fourth loss, or none.", plugin="losses")
    loss_weight_4: int = option(
        0,
        "Weight of the fourth loss, in percent of the main one.",
        minimum=0,
        maximum=400,
        live=True,
    )
    mask_loss_function: str = option("mse", "The loss of a learned mask.", plugin="losses")
    eye_multiplier: int = option(
        3,
        "How much more the eyes count: k adds k times their loss, so they count k + 1 times. "
        "1 means no more than the rest. Needs penalized_mask_loss and faces with landmarks.",
        minimum=1,
        maximum=40,
        live=True,
    )
    mouth_multiplier: int = option(
        2,
        "How much more the mouth counts: k adds k times its loss, so it counts k + 1 times. "
        "1 means no more than the rest. Needs penalized_mask_loss and faces with landmarks.",
        minimum=1,
        maximum=40,
        live=True,
    )
    penalized_mask_loss: bool = option(
        True,
        "Count only what lies inside the face mask, so that no effort goes into the background.",
        fixed=True,
    )
    normalize_masks: bool = option(
        False,
        "Divide the loss of each picture by the share of it that the face mask covers, so that "
        "small faces count as much as large ones. Losses grow by that. Needs penalized_mask_loss; "
        "losses that give one number per picture, and ffl, stay as they are.",
        live=True,
    )
    lpips_weights: str = option(
        "",
        "Folder with the weight files of the lpips losses: torchvision's (alexnet-*.pth, "
        "squeezenet1_1-*.pth, vgg16-*.pth) and the linear layers of the Python package lpips "
        "(alex.pth, squeeze.pth, vgg.pth). Nothing is ever downloaded.",
    )
    lpips_sha256: list[str] = option(
        [],
        "SHA-256 of the weight files that may be used. Empty: those of torchvision are held "
        "against the digits in their names, others are taken as they are.",
    )

    @property
    def functions(self) -> list[tuple[str, float]]:
        """The losses in use as ``(name, weight)``, 1.0 being the main loss's weight.

        Slots that hold "none" or weigh nothing are left out; one loss may appear twice.
        """
        slots = [
            (self.loss_function, 100),
            (self.loss_function_2, self.loss_weight_2),
            (self.loss_function_3, self.loss_weight_3),
            (self.loss_function_4, self.loss_weight_4),
        ]
        main, *others = slots
        return [
            (name, percent / 100)
            for name, percent in [main, *(s for s in others if s[0] != "none")]
            if percent > 0
        ]

    @property
    def multipliers(self) -> dict[str, int]:
        """The areas that count more, by mask name, with their multiplier."""
        areas = {"eye": self.eye_multiplier, "mouth": self.mouth_multiplier}
        if not self.penalized_mask_loss:
            return {}
        return {name: factor for name, factor in areas.items() if factor > 1}

    @property
    def masks(self) -> set[str]:
        """Names of the masks these options need in a batch.

        Eyes and mouth are among them even while their multipliers are 1, because those may be
        raised during a run.
        """
        return {"face", "eye", "mouth"} if self.penalized_mask_loss else set()


@attrs.frozen
class SamplerOptions:
    """Section of a trainer that offers the samplers of `fs_nn.sampling`."""

    sampler: str = option(
        "uniform",
        "How often each face is seen. uniform: all alike. yaw: every direction the head turns to "
        "as often as any other; needs faces with landmarks. loss: the larger a face's loss, the "
        "more often.",
        choices=("uniform", "yaw", "loss"),
    )


@attrs.frozen
class OptimizerOptions:
    """Section ``optimizer``: how a loss changes the weights."""

    optimizer: str = option(
        "adam", "Which optimizer, by its name.", fixed=True, plugin="optimizers"
    )
    learning_rate: float = option(
        5e-5, "Size of a step. Lower it when the loss jumps.", minimum=1e-6, maximum=1e-4, live=True
    )
    epsilon_exponent: int = option(
        -7,
        "Exponent n of the optimizer's epsilon, 10^n. Raise it if the loss becomes not-a-number.",
        minimum=-20,
        maximum=0,
        live=True,
    )
    weight_decay: float = option(
        0.0,
        "Pull of weights towards zero. Biases and other vectors are left alone.",
        minimum=0.0,
        maximum=1.0,
        live=True,
    )
    gradient_clipping: str = option(
        "none",
        "How large gradients are cut. value: each number to +-clipping_value. norm: each weight's "
        "gradient to a norm of clipping_value. global_norm: all gradients together to that norm. "
        "autoclip: all together to a percentile of the norms seen so far.",
        choices=("none", "value", "norm", "global_norm", "autoclip"),
        live=True,
    )
    clipping_value: float = option(
        1.0,
        "The limit of gradient_clipping. For autoclip a tenth of the percentile: 1.0 cuts to the "
        "10th, 10.0 not at all.",
        minimum=0.0,
        maximum=10.0,
        live=True,
    )
    autoclip_history: int = option(
        10000,
        "How many steps autoclip looks back; 0 is all of them.",
        minimum=0,
        maximum=100000,
        live=True,
    )
    gradient_accumulation: int = option(
        1,
        "Batches whose gradients are averaged for one step of the optimizer: as if the batch were "
        "that many times larger, without its memory.",
        minimum=1,
        maximum=100,
        live=True,
    )
    warmup_steps: int = option(
        0,
        "Steps of the optimizer, from the model's first, over which the learning rate rises "
        "linearly to its full value; 0 is off.",
        minimum=0,
        maximum=100000,
        live=True,
    )
    ema_decay: float = option(
        0.0,
        "Keep a running average of the weights beside them; this is the share of the old average "
        "kept per step (0.999 averages about 1,000 steps). 0 is off. Needs memory for one more "
        "copy of the weights.",
        minimum=0.0,
        maximum=0.99999,
        live=True,
    )
    ada_beta_1: float = option(
        0.9, "Decay of the running mean of gradients.", minimum=0.0, maximum=1.0, fixed=True
    )
    ada_beta_2: float = option(
        0.999,
        "Decay of the running mean of squared gradients. lion takes it for its mean of gradients; "
        "its paper has 0.99. rms-prop has a decay of its own, 0.99.",
        minimum=0.0,
        maximum=1.0,
        fixed=True,
    )
    ada_amsgrad: bool = option(
        False,
        "Let adam, adamw or adabelief use the largest squared gradient seen (AMSGrad).",
        fixed=True,
    )

    def __attrs_post_init__(self) -> None:
        if self.clipping_value == 0 and self.gradient_clipping not in ("none", "autoclip"):
            raise ConfigError(
                f"clipping_value = 0 with gradient_clipping = {self.gradient_clipping} would leave "
                "no gradient; raise it, or set gradient_clipping = none"
            )
