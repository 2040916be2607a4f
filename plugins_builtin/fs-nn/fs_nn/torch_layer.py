"""A plain `torch.nn.Module` as a layer of a network.

The saved graph of a network is JSON and never holds code, so a module cannot be stored in it. What
is stored is the layer's class and the arguments the module is made from::

    class Decoder(TorchLayer):
        def make(self, width: int) -> torch.nn.Module:
            return nn.Sequential(nn.Conv2d(width, 3, 3, padding=1), nn.Sigmoid())

    faces = Decoder(width=64, name="decoder_a")(codes)

Name the class in the plugin's ``custom_objects``. Everything else a Keras layer can do works:
weights and buffers are saved under the module's own names ("decoder_a/0:weight"), frozen with the
sub-model they are in, and trained by any trainer.
"""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager
from typing import Any

import keras
import torch


class TorchLayer(keras.layers.Layer):
    """Base of layers that are a torch module.

    Pictures are channels-last outside and channels-first inside: tensors of rank 4 are turned on
    the way in and on the way out. Under half precision the module runs in `torch.autocast`; its
    results leave in the layer's compute type.

    Args:
        name: of the layer.
        dtype: the layer's type or policy; None for the default.
        trainable: whether its weights train.
        arguments: of `make`; what JSON can hold.
    """

    def __init__(
        self,
        *,
        name: str | None = None,
        dtype: Any = None,
        trainable: bool = True,
        **arguments: Any,
    ) -> None:
        super().__init__(name=name, dtype=dtype, trainable=trainable)
        self._arguments = dict(arguments)
        module = self.make(**arguments)
        self._held = {
            path: self._hold(path, tensor)
            for named in (module.named_parameters(), module.named_buffers())
            for path, tensor in named
        }
        # The module is code only from here on. Keras would wrap it in a layer of its own if it were
        # set as an attribute.
        object.__setattr__(self, "module", module.to("meta"))
        self.built = True

    def make(self, **arguments: Any) -> torch.nn.Module:
        """Return the module, with the weights it starts from.

        Args:
            arguments: those the layer was made with.
        """
        raise NotImplementedError

    def _hold(self, path: str, tensor: torch.Tensor) -> keras.Variable:
        variable = self.add_weight(
            # Torch lets no parameter of its own have a dot in its name.
            name=path.replace(".", ":"),
            shape=tuple(tensor.shape),
            dtype=keras.backend.standardize_dtype(tensor.dtype),
            initializer="zeros",
            trainable=isinstance(tensor, torch.nn.Parameter) and tensor.requires_grad,
            autocast=False,
        )
        variable.assign(tensor.detach())
        return variable

    def call(self, *inputs: Any, training: bool | None = None, **options: Any) -> Any:
        """Run the module's ``forward``.

        Args:
            inputs: tensors, or lists of them, as ``forward`` takes them.
            training: sets the module to training or evaluation.
            options: further arguments of ``forward``; what JSON can hold.

        Returns:
            What ``forward`` gives.
        """
        self.module.train(bool(training))
        values = {path: variable.value for path, variable in self._held.items()}
        turned = keras.tree.map_structure(_channels_first, inputs)
        with self._half(keras.tree.flatten(turned)[0].device.type, values):
            result = torch.func.functional_call(self.module, values, turned, options)
        return keras.tree.map_structure(_channels_last, result)

    def _half(self, device: str, values: dict[str, torch.Tensor]) -> AbstractContextManager[Any]:
        if self.compute_dtype == "float32":
            return contextlib.nullcontext()
        number = getattr(torch, self.compute_dtype)
        if device != "meta":
            return torch.autocast(device, dtype=number)
        # While shapes are worked out there is nothing to cast automatically.
        values.update({n: t.to(number) for n, t in values.items() if t.is_floating_point()})
        return contextlib.nullcontext()

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the module, and what every layer has."""
        common = super().get_config()
        return {key: common[key] for key in ("name", "trainable", "dtype")} | self._arguments


def _channels_first(tensor: Any) -> Any:
    return tensor.permute(0, 3, 1, 2) if getattr(tensor, "ndim", 0) == 4 else tensor


def _channels_last(tensor: Any) -> Any:
    return tensor.permute(0, 2, 3, 1) if getattr(tensor, "ndim", 0) == 4 else tensor
