"""Losses between pictures.

A loss is a callable ``(prediction, target) -> Tensor``. Both are ``(n, c, h, w)`` float32, 0..1,
and the result is a map of the same height and width, ``(n, c, h, w)`` or ``(n, 1, h, w)`` (a
*spatial* loss), or one number per picture, ``(n,)``. A third parameter called ``context`` is given
a `fs_kernel.types.LossContext`. A class is instantiated without arguments; a plugin with the hook
``create_loss`` makes its loss from options. A `torch.nn.Module` is moved to the run's device.
Optional attributes say what a loss expects:

* ``color_order = "rgb"``: channels in this order, even if the network's is another.
* ``masks_input = True``: masks must be applied to the pictures, because the pixels of its map are
  not those of the picture (a spectrum, say).
* ``required_fields = {"landmarks"}``: what each batch must hold.

Every loss here is differentiable everywhere: where a formula's slope is infinite (a root at 0), its
gradient is 0, so identical pictures never give not-a-number.
"""

from fs_nn.losses.flip import FLIP
from fs_nn.losses.gmsd import GMSD
from fs_nn.losses.gradient import pixel_gradient_diff
from fs_nn.losses.lpips import (
    LPIPSVGG16,
    LPIPSAlex,
    LPIPSSqueeze,
    lpips_alex,
    lpips_squeeze,
    lpips_vgg16,
)
from fs_nn.losses.ms_ssim import MSSSIM
from fs_nn.losses.pixel import l_inf_norm, logcosh, mae, mse, smooth_loss
from fs_nn.losses.pyramid import LapLoss
from fs_nn.losses.spectrum import FocalFrequency
from fs_nn.losses.ssim import SSIM

__all__ = [
    "FLIP",
    "GMSD",
    "LPIPSVGG16",
    "MSSSIM",
    "SSIM",
    "FocalFrequency",
    "LPIPSAlex",
    "LPIPSSqueeze",
    "LapLoss",
    "l_inf_norm",
    "logcosh",
    "lpips_alex",
    "lpips_squeeze",
    "lpips_vgg16",
    "mae",
    "mse",
    "pixel_gradient_diff",
    "smooth_loss",
]
