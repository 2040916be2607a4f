"""The network::

    face - encoder - fc_a / fc_b / fc_both - [g_block] - decoder_both / _a / _b - face_out
                   \\ [fc_shared] /      \\ [mask_out]
                   \\ fc_gblock (style) -/

The options decide which parts exist, and which of them exist once per side.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import keras
from fs_kernel.types import Network, Output, OutputKind, Side
from fs_nn.blocks import Blocks
from keras import layers

from fs_model_phaze_a.decoder import decoder
from fs_model_phaze_a.encoders import encoder
from fs_model_phaze_a.fully_connected import picture_fc, style_fc
from fs_model_phaze_a.g_block import g_block
from fs_model_phaze_a.options import PhazeAOptions

Tensors = dict[Side, keras.KerasTensor]


def phaze_a(
    inputs: Mapping[Side, keras.KerasTensor],
    blocks: Blocks,
    options: PhazeAOptions,
    *,
    learn_mask: bool = False,
) -> Network:
    """Build the network over ``inputs``.

    Args:
        inputs: per side ``(n, h, w, 3)``, all of one shape.
        blocks: makes blocks as the network options ask.
        options: all others; `fs_model_phaze_a.plan.check` checks whether they can be built.
        learn_mask: give each side a second output, the mask.

    Raises:
        ConfigError: the options do not fit the built encoder.
    """
    sides = list(inputs)
    encode = encoder(next(iter(inputs.values())).shape[1:], blocks, options)
    codes = {side: encode(face) for side, face in inputs.items()}
    pictures = _pictures(codes, blocks, options)
    if options.enable_gblock:
        pictures = _styled(codes, pictures, blocks, options)

    shape = pictures[sides[0]].shape[1:]
    decoders = _per_side(
        sides,
        "decoder",
        options.split_decoders,
        lambda name: decoder(shape, name, blocks, options, learn_mask),
    )
    kinds: tuple[OutputKind, ...] = ("face", "mask") if learn_mask else ("face",)
    results, outputs = [], []
    for side in sides:
        tensors = decoders[side](pictures[side])
        results += tensors
        outputs += [Output(side, k, t.shape[1]) for k, t in zip(kinds, tensors, strict=True)]
    return Network(keras.Model(list(inputs.values()), results, name="phaze_a"), outputs)


def _pictures(codes: Tensors, blocks: Blocks, options: PhazeAOptions) -> Tensors:
    """Return the picture that the fully connected layers make for each side."""
    sides = list(codes)
    shape = codes[sides[0]].shape[1:]

    def make(name: str) -> keras.Model:
        return picture_fc(shape, name, blocks, options)

    own = _per_side(sides, "fc", options.split_fc, make)
    if options.shared_fc == "none":
        return {side: own[side](code) for side, code in codes.items()}
    shared = own[sides[0]] if options.shared_fc == "half" else make("fc_shared")
    return {
        side: layers.Concatenate(name=f"inter_{side}")([own[side](code), shared(code)])
        for side, code in codes.items()
    }


def _styled(codes: Tensors, pictures: Tensors, blocks: Blocks, options: PhazeAOptions) -> Tensors:
    """Return each side's picture after its G-block."""
    sides = list(codes)
    style = style_fc(codes[sides[0]].shape[1:], options)
    styles = {side: style(code) for side, code in codes.items()}
    shapes = pictures[sides[0]].shape[1:], styles[sides[0]].shape[1:]
    made = _per_side(
        sides, "g_block", options.split_gblock, lambda name: g_block(*shapes, name, blocks)
    )
    return {side: made[side]([pictures[side], styles[side]]) for side in sides}


def _per_side(
    sides: list[Side], name: str, split: bool, make: Callable[[str], keras.Model]
) -> dict[Side, keras.Model]:
    """Return the model of each side: ``name_a`` and ``name_b``, or ``name_both`` for all."""
    if split:
        return {side: make(f"{name}_{side}") for side in sides}
    return dict.fromkeys(sides, make(f"{name}_both"))
