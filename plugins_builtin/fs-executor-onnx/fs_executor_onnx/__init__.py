"""Run a swap direction with ONNX Runtime; see `fs_executor_onnx.session`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fs_kernel import Network, UsageError, hookimpl
from fs_kernel.types import Forward

if TYPE_CHECKING:
    import torch

#: Error for users who try to train with it.
CANNOT_TRAIN = (
    "the executor 'onnx' can swap, but not train; train with another one, "
    "for example --set training.executor=keras"
)


@hookimpl
def make_forward(network: Network, device: torch.device) -> Forward:
    if len(network.sides) > 1:
        raise UsageError(CANNOT_TRAIN)
    from fs_executor_onnx.session import OnnxForward

    return OnnxForward(network, device)
