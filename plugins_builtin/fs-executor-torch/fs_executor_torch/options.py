"""Section ``executor.torch``."""

from __future__ import annotations

import attrs
from fs_kernel.options import option

SECTION = "executor.torch"


@attrs.frozen
class FastOptions:
    """Options of the section ``[executor.torch]``."""

    compile: str = option(
        "off",
        "Have torch compile the network in one of its modes. It takes minutes at the start; "
        "reduce-overhead and max-autotune record CUDA graphs. On CPUs it was slower than off.",
        choices=("off", "default", "reduce-overhead", "max-autotune"),
    )
    layout: str = option(
        "channels_last",
        "Order of pictures in memory inside of the network.",
        choices=("channels_last", "channels_first"),
    )
    merge_sides: bool = option(
        True,
        "Run a shared sub-model once for the faces of all sides, where that gives the same: it "
        "has no batch norm and draws no random numbers.",
    )
    checkpointing: bool = option(
        False,
        "Keep no activations of sub-models for the way back, and compute them again: less memory, "
        "a third more work. Sub-models with batch norm or noise keep theirs.",
    )
