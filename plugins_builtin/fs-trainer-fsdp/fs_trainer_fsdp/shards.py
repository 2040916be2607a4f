"""Shard a network's weights over the processes of a group, and gather them again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import attrs
import torch
from fs_kernel import networks
from fs_kernel.errors import ConfigError
from fs_kernel.types import Network, Run
from fs_nn.dtensor import copy_full
from fs_nn.optimizers import optimizer_settings
from fs_nn.options import OptimizerOptions
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, Shard
from torch.nn import Parameter


@attrs.frozen(eq=False)
class Weight:
    """A weight that is sharded.

    Attributes:
        variable: Keras's.
        full: the network's own parameter; it is empty while the weights are sharded.
        shard: what this process keeps of it, a DTensor.
    """

    variable: Any
    full: Parameter
    shard: Any


class Shards:
    """Hold the trainable weights of a network, sharded over a group or gathered.

    While they are sharded, each variable of the network holds a DTensor, so that a request for the
    network's weights gives this process's shard of each; while they are gathered it holds what it
    held before. Weights that do not train stay full in every process.

    Args:
        module: what runs the network, a module over the network's own parameters; its property
            ``sub_models`` names the blocks that are gathered one at a time for a step.
        network: whose weights they are.
        device: where this process computes.
        size: of the group.

    Attributes:
        weights: those that are sharded.
    """

    def __init__(
        self, module: nn.Module, network: Network, device: torch.device, size: int
    ) -> None:
        self._module = module
        variables = {id(v._value): v for v in networks.variables(network).values()}
        trained = {id(p): p for p in networks.parameters(network).values()}
        places = {
            id(p): (owner, name)
            for owner in module.modules()
            for name, p in owner.named_parameters(recurse=False)
        }
        for parameter in trained.values():
            # FSDP takes contiguous parameters only; a kernel may be stored transposed.
            parameter.data = parameter.data.contiguous()
        mesh = init_device_mesh(device.type, (size,))
        rest = {p for p in module.parameters() if id(p) not in trained}
        sub_models: Any = module.sub_models
        for block in (*sub_models.values(), module):
            fully_shard(
                block,
                mesh=mesh,
                shard_placement_fn=placement(size),
                ignored_params=rest,
            )
        self.weights = [
            Weight(variables[key], trained[key], getattr(owner, name))
            for key, (owner, name) in places.items()
            if key in trained
        ]
        self._sharded = False
        self._empty()

    def _empty(self) -> None:
        """Free the full weights, and show the shards in their place."""
        for weight in self.weights:
            weight.full.data = weight.full.data.new_empty(0)
            weight.variable._value = weight.shard
        self._sharded = True

    @torch.no_grad()
    def gather(self) -> None:
        """Let the network's own variables hold the full weights, in every process of the group."""
        if not self._sharded:
            return
        for block in self._blocks():
            block.reshard()
        for weight in self.weights:
            weight.full.data = weight.shard.full_tensor()
            weight.variable._value = weight.full
        self._sharded = False

    @torch.no_grad()
    def shard(self) -> None:
        """Take over what the network's own variables hold, this process its shard of it."""
        if self._sharded:
            return
        for weight in self.weights:
            copy_full(weight.shard, weight.full)
        self._empty()

    def _blocks(self) -> Iterator[FSDPModule]:
        return (block for block in self._module.modules() if isinstance(block, FSDPModule))


#: Where a module keeps its shards: FSDP cannot be taken off a module, so a trainer that is created
#: again in a session must find them.
_SHARDS = "fs_shards"


def shard(module: nn.Module, network: Network, device: torch.device, size: int) -> Shards:
    """Return the shards of a module, sharded; made at the first call. See `Shards`."""
    made: Shards | None = getattr(module, _SHARDS, None)
    if made is None:
        made = Shards(module, network, device, size)
        setattr(module, _SHARDS, made)
    made.shard()
    return made


def placement(size: int) -> Callable[[Parameter], Shard]:
    """Return a function that names a weight's axis: the longest that divides evenly, or the first.

    Keras's kernels begin with rows and columns, three of each, too few for many processes.
    """

    def place(parameter: Parameter) -> Shard:
        even = [axis for axis, length in enumerate(parameter.shape) if length % size == 0]
        return Shard(max(even, key=lambda axis: parameter.shape[axis], default=0))

    return place


def require_shardable(run: Run, module: nn.Module) -> None:
    """Refuse weights that train and cannot be sharded, or are not in the module that computes.

    Raises:
        ConfigError: naming the first of them.
    """
    made: Shards | None = getattr(module, _SHARDS, None)
    known = {id(parameter) for parameter in module.parameters()}
    known |= {id(weight.full) for weight in made.weights} if made is not None else set()
    for name, parameter in run.parameters().items():
        if not parameter.ndim or id(parameter) not in known:
            reason = "is a single number" if not parameter.ndim else "is not in the main network"
            raise ConfigError(
                f"trainer 'fsdp' cannot shard the weight '{name}', which {reason}; "
                "choose trainer 'ddp'"
            )


def require_optimizer(run: Run, options: OptimizerOptions) -> None:
    """Let the optimizer do a step of a sharded weight that nothing needs.

    Raises:
        ConfigError: it cannot.
        PluginError: it is not installed.
    """
    mesh = init_device_mesh(run.device.type, (run.group.size,))
    zeros = torch.zeros(2, 2, device=run.device)
    weight = Parameter(DTensor.from_local(zeros, mesh, [Shard(0)]))
    weight.grad = torch.ones_like(weight)
    role = run.find("optimizers", options.optimizer)
    groups = [{"params": [("weight", weight)]}]
    optimizer = role.create(groups, optimizer_settings(options, run.device))
    try:
        optimizer.step()
    except Exception as error:
        line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(
            f"optimizer '{options.optimizer}' cannot change weights that are sharded over "
            f"processes ({line}); choose another one, or trainer 'ddp'"
        ) from error
