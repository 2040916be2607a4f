"""The option classes that several plugins share, one per section.

A model returns `NetworkOptions` from ``config_defaults``, a trainer `LossOptions` and
`OptimizerOptions`. Names, defaults and ranges are the ones users of this field know.
"""

from __future__ import annotations

import attrs
from fs_kernel import option


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
        "artefacts at the border of the face.",
        fixed=True,
    )
    icnr_init: bool = option(
        False,
        "Start the convolutions of upscalers so that every 2x2 block begins as one colour, which "
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

    loss_function: str = option("ssim", "The main loss. Its weight is always 100 percent.")
    loss_function_2: str = option("mse", "A second loss, or none.")
    loss_weight_2: int = option(
        100, "Weight of the second loss, in percent of the main one.", minimum=0, maximum=400
    )
    loss_function_3: str = option("none", "A third loss, or none.")
    loss_weight_3: int = option(
        0, "Weight of the third loss, in percent of the main one.", minimum=0, maximum=400
    )
    loss_function_4: str = option("none", "A fourth loss, or none.")
    loss_weight_4: int = option(
        0, "Weight of the fourth loss, in percent of the main one.", minimum=0, maximum=400
    )
    mask_loss_function: str = option("mse", "The loss of a learnt mask.")
    eye_multiplier: int = option(
        3,
        "How much more the eyes count: k adds k times their loss, so they count k + 1 times. "
        "1 means no more than the rest. Needs penalized_mask_loss and faces with landmarks.",
        minimum=1,
        maximum=40,
    )
    mouth_multiplier: int = option(
        2,
        "How much more the mouth counts: k adds k times its loss, so it counts k + 1 times. "
        "1 means no more than the rest. Needs penalized_mask_loss and faces with landmarks.",
        minimum=1,
        maximum=40,
    )
    penalized_mask_loss: bool = option(
        True,
        "Count only what lies inside the face mask, so that no effort goes into the background.",
        fixed=True,
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
        """Names of the masks these options need in a batch."""
        return {"face", *self.multipliers} if self.penalized_mask_loss else set()


@attrs.frozen
class OptimizerOptions:
    """Section ``optimizer``: how a loss changes the weights."""

    optimizer: str = option("adam", "Which optimiser, by its name.", fixed=True)
    learning_rate: float = option(
        5e-5, "Size of a step. Lower it when the loss jumps.", minimum=1e-6, maximum=1e-4
    )
    epsilon_exponent: int = option(
        -7,
        "Exponent n of the optimiser's epsilon, 10^n. Raise it if the loss becomes not-a-number.",
        minimum=-20,
        maximum=0,
    )
    weight_decay: float = option(
        0.0,
        "Pull of weights towards zero. Biases and other vectors are left alone.",
        minimum=0.0,
        maximum=1.0,
    )
    ada_beta_1: float = option(
        0.9, "Decay of the running mean of gradients.", minimum=0.0, maximum=1.0, fixed=True
    )
    ada_beta_2: float = option(
        0.999,
        "Decay of the running mean of squared gradients.",
        minimum=0.0,
        maximum=1.0,
        fixed=True,
    )
    ada_amsgrad: bool = option(
        False, "Let the optimiser use the largest squared gradient seen (AMSGrad).", fixed=True
    )
