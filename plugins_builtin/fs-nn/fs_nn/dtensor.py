"""Treat tensors that are sharded over processes (torch's DTensor) like those that are not.

Optimizers, averages and bounds work on either. Only where a full tensor meets a sharded one, when
a state is loaded, does it matter; that is done here, without importing torch's distributed parts.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor


def is_sharded(value: Any) -> bool:
    """Return whether a value is a tensor of which this process holds a shard only."""
    return hasattr(value, "device_mesh") and hasattr(value, "placements")


def copy_full(target: Tensor, full: Tensor) -> None:
    """Do ``target.copy_(full)``; of a sharded target each process copies its own shard.

    Args:
        target: full, or cut along one axis over all processes of a one-dimensional mesh, as
            `torch.chunk` cuts.
        full: of the same shape, and the same in all processes; or sharded just as the target is.
    """
    if not is_sharded(target):
        target.copy_(full)
        return
    sharded: Any = target
    local = sharded.to_local()
    if is_sharded(full):
        local.copy_(full.to_local())  # type: ignore[attr-defined]
        return
    axis, mesh = sharded.placements[0].dim, sharded.device_mesh
    length = full.shape[axis]
    start = min(mesh.get_local_rank() * -(-length // mesh.size()), length)
    local.copy_(full.narrow(axis, start, local.shape[axis]))


def full_tensor(tensor: Tensor) -> Tensor:
    """Return the tensor; of a sharded one the full one, for which all processes ask together."""
    sharded: Any = tensor
    return sharded.full_tensor() if is_sharded(tensor) else tensor
