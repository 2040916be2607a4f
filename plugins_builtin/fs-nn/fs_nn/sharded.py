"""Tensors that are spread over processes (torch's DTensor), beside those that are not.

Optimisers, averages and bounds work on either. Only where a whole tensor meets a spread one, at a
restore, does it matter; that is done here, without importing torch's distributed parts.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor


def is_spread(value: Any) -> bool:
    """Whether a value is a tensor of which this process holds a share only."""
    return hasattr(value, "device_mesh") and hasattr(value, "placements")


def copy_whole(target: Tensor, whole: Tensor) -> None:
    """``target.copy_(whole)``; of a spread target each process copies its own share.

    Args:
        target: whole, or cut along one axis over all processes of a one-dimensional mesh, as
            `torch.chunk` cuts.
        whole: of the same shape, and the same in all processes; or spread just as the target is.
    """
    if not is_spread(target):
        target.copy_(whole)
        return
    spread: Any = target
    local = spread.to_local()
    if is_spread(whole):
        local.copy_(whole.to_local())  # type: ignore[attr-defined]
        return
    axis, mesh = spread.placements[0].dim, spread.device_mesh
    length = whole.shape[axis]
    start = min(mesh.get_local_rank() * -(-length // mesh.size()), length)
    local.copy_(whole.narrow(axis, start, local.shape[axis]))


def whole_of(tensor: Tensor) -> Tensor:
    """The tensor itself; of a spread one the whole, for which all processes must ask together."""
    spread: Any = tensor
    return spread.full_tensor() if is_spread(tensor) else tensor
