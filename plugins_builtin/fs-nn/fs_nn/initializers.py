"""Initializers of convolution kernels, laid out ``(rows, columns, channels in, channels out)``."""

from __future__ import annotations

from typing import Any

import keras
import torch
from keras import ops

Shape = tuple[int, ...]


class ICNR(keras.initializers.Initializer):
    """Start a sub-pixel convolution so that the pixels of a block are equal.

    Without it the ``scale * scale`` pixels that a `fs_nn.layers.PixelShuffler` makes of one input
    pixel start out unrelated, which shows as a checkerboard. Here one kernel with ``out / scale^2``
    filters is drawn and repeated for every pixel of the block (Aitken et al. 2017,
    arXiv:1707.02937).

    Args:
        initializer: draws the kernel that is repeated: an initializer, its name or its config.
        scale: edge of the block, the factor of the upscaling.
    """

    def __init__(self, initializer: Any = "he_uniform", scale: int = 2) -> None:
        self.initializer = keras.initializers.get(initializer)
        self.scale = int(scale)

    def __call__(self, shape: Shape, dtype: Any = None) -> Any:
        copies = self.scale**2
        if shape[-1] % copies:
            raise ValueError(f"{shape[-1]} filters cannot make blocks of {self.scale} pixels")
        one = self.initializer((*shape[:-1], shape[-1] // copies), dtype=dtype)
        return ops.concatenate([one] * copies, axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {
            "initializer": keras.saving.serialize_keras_object(self.initializer),
            "scale": self.scale,
        }


class ConvolutionAware(keras.initializers.Initializer):
    """Draw filters that are orthogonal to one another in the Fourier domain.

    For each output channel the input channels get the vectors of random orthogonal bases (left
    singular vectors of symmetric Gaussian matrices), read as half spectra and transformed back to
    ``(rows, columns)``; a little noise is added and the whole scaled to He's variance
    ``2 / fan_in`` (Aghajanyan 2017, arXiv:1702.06295). Weights of other ranks get an orthogonal
    start. All bases are computed in one batch: seconds for the largest kernels of the built-in
    networks.

    An initializer that was used says so in its config and draws He-uniform numbers when it is made
    from that config again, so that reading a graph whose weights follow from a file stays quick.

    Args:
        eps_std: standard deviation of the noise.
        initialized: draw plain He-uniform numbers.
        seed: as of any Keras initializer; None draws one.
    """

    def __init__(
        self, eps_std: float = 0.05, initialized: bool = False, seed: int | None = None
    ) -> None:
        self.eps_std = float(eps_std)
        self.initialized = bool(initialized)
        self.seed = seed
        self._used = self.initialized
        self._normal = keras.initializers.RandomNormal(0.0, 1.0, seed=seed)

    def __call__(self, shape: Shape, dtype: Any = None) -> Any:
        if self.initialized:
            return keras.initializers.HeUniform(seed=self.seed)(shape, dtype=dtype)
        self._used = True
        if len(shape) != 4:
            return keras.initializers.Orthogonal(seed=self.seed)(shape, dtype=dtype)
        return self._filters(shape, dtype)

    def _filters(self, shape: Shape, dtype: Any) -> torch.Tensor:
        rows, columns, channels, filters = shape
        half = columns // 2 + 1
        size = rows * half
        bases = -(-channels // size)
        counts = (filters * bases * size * size, rows * columns * channels * filters)
        numbers, noise = self._normal((sum(counts),), dtype=dtype).split(counts)

        lower = numbers.reshape(filters * bases, size, size).tril()
        symmetric = lower + lower.tril(-1).mT
        vectors = torch.linalg.svd(symmetric)[0].mT.reshape(filters, bases * size, rows, half)
        kernels = torch.fft.irfft2(vectors[:, :channels], s=(rows, columns))
        kernels = kernels.permute(2, 3, 1, 0) + self.eps_std * noise.reshape(shape)
        target = 2.0 / (rows * columns * channels)
        scaled: torch.Tensor = kernels * (target / kernels.var(correction=0)).sqrt()
        return scaled.contiguous()

    def get_config(self) -> dict[str, Any]:
        return {"eps_std": self.eps_std, "initialized": self._used, "seed": self.seed}
