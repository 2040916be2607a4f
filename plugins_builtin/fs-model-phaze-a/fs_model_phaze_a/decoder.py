"""Build the stages that double a picture up to the output's size, and decoders of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import attrs
import keras
from fs_nn import upscalers
from fs_nn.blocks import Blocks
from fs_nn.normalization import normalization
from keras import layers

from fs_model_phaze_a.options import PhazeAOptions
from fs_model_phaze_a.plan import Plan

Tensor: TypeAlias = keras.KerasTensor

#: Upscalers by option value: functions of blocks, picture and channels out.
UPSCALERS: dict[str, Callable[[Blocks, Tensor, int], Tensor]] = {
    "subpixel": Blocks.upscale,
    "resize_images": upscalers.resize,
    "upscale_fast": upscalers.fast,
    "upscale_hybrid": upscalers.hybrid,
    "upscale_dny": upscalers.dny,
}


@attrs.frozen
class Stages:
    """Makes the stages of a network.

    Attributes:
        blocks: makes blocks as the network options ask.
        options: of the network.
    """

    blocks: Blocks
    options: PhazeAOptions

    @property
    def count(self) -> int:
        """The number of stages."""
        return len(self._plan.stages)

    @property
    def _plan(self) -> Plan:
        return Plan.of(self.options)

    def face(self, x: Tensor, first: int, end: int) -> Tensor:
        """Return ``x`` after the stages ``first`` to ``end`` (not included) of a face."""
        (x,) = self.run(x, first, end, masks=(False,))
        return x

    def run(self, x: Tensor, first: int, end: int, masks: tuple[bool, ...]) -> list[Tensor]:
        """Return the results of several chains of stages from one picture, built stage by stage.

        Args:
            x: the picture before stage ``first``.
            first: the first stage; 0 is preceded by the reshape and the entry.
            end: the stage after the last.
            masks: for each chain, whether it makes a mask, which has no noise and no residuals.
        """
        if first == 0:
            x = self._reshaped(x)
        chains = [self._entry(x) if first == 0 else x for _ in masks]
        for index in range(first, end):
            chains = [
                self._stage(chain, index, mask) for chain, mask in zip(chains, masks, strict=True)
            ]
        return chains

    def _reshaped(self, x: Tensor) -> Tensor:
        _, height, width, channels = x.shape
        size = self._plan.start_size
        if height == size:
            return x
        return layers.Reshape((size, size, height * width * channels // size**2))(x)

    def _entry(self, x: Tensor) -> Tensor:
        if self.options.dec_upscale_method != "upscale_dny":
            return x
        for kernel in (4, 3):
            x = self.blocks.conv_block(x, self.options.dec_max_filters, kernel, 1, slope=0.2)
        return x

    def _stage(self, x: Tensor, index: int, mask: bool) -> Tensor:
        o, filters = self.options, self._plan.stages[index]
        x = UPSCALERS[o.dec_upscale_method](self.blocks, x, filters)
        if o.dec_gaussian and not mask:
            x = layers.GaussianNoise(1.0)(x)
        if o.dec_norm != "none":
            x = normalization(o.dec_norm)(x)
        skipped = o.dec_skip_last_residual and index == self.count - 1
        if o.dec_res_blocks and not skipped and not mask:
            x = layers.LeakyReLU(0.2)(x)
            for _ in range(o.dec_res_blocks):
                x = self.blocks.residual(x, filters)
            return x
        return x if o.dec_upscale_method == "upscale_dny" else layers.LeakyReLU(0.1)(x)


def decoder(
    shape: tuple[int | None, ...],
    name: str,
    blocks: Blocks,
    options: PhazeAOptions,
    learn_mask: bool,
) -> keras.Model:
    """Return a decoder with weights of its own.

    Args:
        shape: of the picture it starts from, ``(h, w, c)``.
        name: "decoder_a", "decoder_b" or "decoder_both".
        blocks: makes blocks as the network options ask.
        options: of the network.
        learn_mask: output a mask beside the face.
    """
    stages = Stages(blocks, options)
    picture = keras.Input(shape)
    masks = (False, True) if learn_mask else (False,)
    chains = stages.run(picture, options.dec_upscales_in_fc, stages.count, masks)
    outputs = [
        blocks.output(
            chain,
            1 if mask else 3,
            options.dec_output_kernel,
            name="mask_out" if mask else "face_out",
        )
        for chain, mask in zip(chains, masks, strict=True)
    ]
    return keras.Model(picture, outputs, name=name)
