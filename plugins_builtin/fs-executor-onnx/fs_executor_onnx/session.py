"""Export a network as an ONNX graph and run it in a session of ONNX Runtime."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Mapping
from typing import Any

import keras
import onnxruntime
import torch
from fs_kernel import Network, PluginError, UsageError
from fs_kernel.types import Side

from fs_executor_onnx import CANNOT_TRAIN

#: Execution provider of each kind of device.
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
#: Newest set of operators that every supported ONNX Runtime knows.
_OPERATORS = 17


class OnnxForward:
    """Runs a network of one side; see `fs_kernel.types.Forward`.

    The graph holds the weights of the moment: later training has no effect on it.

    Args:
        network: with one input.
        device: the device of inputs and results.

    Raises:
        UsageError: this ONNX Runtime cannot use the device.
        PluginError: the network holds operations that ONNX lacks.
    """

    def __init__(self, network: Network, device: torch.device) -> None:
        provider = PROVIDERS.get(device.type)
        if provider not in onnxruntime.get_available_providers():
            more = "; install onnxruntime-gpu" if device.type == "cuda" else ""
            raise UsageError(
                f"this ONNX Runtime cannot use the device '{device}'{more}, "
                "or swap with --set training.device=cpu"
            )
        (self._side,) = network.sides
        self._device = device
        graph = export(network, device)
        index = {"device_id": str(device.index or 0)} if device.type == "cuda" else {}
        self._session = onnxruntime.InferenceSession(graph, providers=[(provider, index)])

    def __call__(
        self, inputs: Mapping[Side, torch.Tensor], training: bool = True
    ) -> list[torch.Tensor]:
        """Return the outputs as a flat list, in order.

        Raises:
            UsageError: ``training`` is asked for.
        """
        if training:
            raise UsageError(CANNOT_TRAIN)
        pictures = inputs[self._side].detach().contiguous().cpu().numpy()
        found = self._session.run(None, {"faces": pictures})
        return [torch.from_numpy(array).to(self._device) for array in found]


def export(network: Network, device: torch.device) -> bytes:
    """Return a network of one input as a serialized ONNX model, for batches of any size.

    Raises:
        PluginError: it holds operations that ONNX lacks.
    """
    (start,) = network.model.inputs
    names = [f"output_{i}" for i in range(len(network.outputs))]
    file = io.BytesIO()
    # The tracing exporter writes to file objects too, though its types do not say so.
    target: Any = file
    logger, level = logging.getLogger("torch.onnx"), logging.getLogger("torch.onnx").level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.no_grad(), keras.device(str(device)):
            warnings.simplefilter("ignore")
            # The tracing exporter. The other one needs onnxscript, and cannot trace the lookups
            # that Keras's layers make while they run.
            torch.onnx.export(
                _Whole(network.model).eval(),
                (torch.zeros(2, *start.shape[1:], device=device),),
                target,
                dynamo=False,
                opset_version=_OPERATORS,
                input_names=["faces"],
                output_names=names,
                dynamic_axes={name: {0: "count"} for name in ("faces", *names)},
            )
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise PluginError(
            f"the network cannot be exported to ONNX: {reason}; "
            "swap with --set training.executor=keras",
            "onnx",
        ) from error
    finally:
        logger.setLevel(level)
    return file.getvalue()


class _Whole(torch.nn.Module):
    """A Keras model with the signature that the exporter expects."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self._model = model

    def forward(self, faces: torch.Tensor) -> list[torch.Tensor]:
        flat: list[torch.Tensor] = keras.tree.flatten(self._model(faces, training=False))
        return flat
