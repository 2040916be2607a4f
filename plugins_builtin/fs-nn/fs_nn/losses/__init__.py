"""Losses between pictures.

A loss is a callable ``(prediction, target) -> Tensor``. Both are ``(n, c, h, w)`` float32, 0..1,
and the result is a map of the same height and width, ``(n, c, h, w)`` or ``(n, 1, h, w)`` (a
*spatial* loss), or one number per picture, ``(n,)``. Classes are instantiated without arguments; a
`torch.nn.Module` is moved to the run's device. Two optional attributes say what a loss expects:

* ``color_order = "rgb"``: channels in this order, whatever the network's own is.
* ``masks_input = True``: masks must be applied to the pictures, because the pixels of its map are
  not those of the picture (a spectrum, say).
"""

from fs_nn.losses.pixel import mae, mse
from fs_nn.losses.ssim import SSIM

__all__ = ["SSIM", "mae", "mse"]
