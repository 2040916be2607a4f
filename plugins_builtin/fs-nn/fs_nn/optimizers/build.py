"""Build the optimizer of a network from options."""

from __future__ import annotations

from typing import Any

import torch
from fs_kernel.errors import ConfigError
from fs_kernel.types import Run
from torch.nn import Parameter

from fs_nn.clipping import build_clip
from fs_nn.ema import WeightAverage
from fs_nn.optimizers.managed import ManagedOptimizer
from fs_nn.options import OptimizerOptions
from fs_nn.schedule import WarmUp


def build_optimizer(run: Run, options: OptimizerOptions, of: str | None = None) -> ManagedOptimizer:
    """Return the optimizer that the options name, over the trainable weights of a network.

    Weight decay applies to weights of rank 2 and more that are not biases; the rest is in a second
    group without it. The loss is scaled under fp16.

    Args:
        run: the run.
        options: as they are now.
        of: the name of an owned network; None for the network that is swapped.

    Raises:
        ConfigError: no weight is left to train, or the optimizer refuses a setting.
        PluginError: the optimizer is not installed.
    """
    parameters = run.parameters() if of is None else run.parameters(of=of)
    if not parameters:
        whose = "all weights" if of is None else f"all weights of '{of}'"
        raise ConfigError(f"{whose} are frozen, so there is nothing to train")
    decayed = [(name, weight) for name, weight in parameters.items() if _decays(name, weight)]
    rest = [(name, weight) for name, weight in parameters.items() if not _decays(name, weight)]
    groups: list[dict[str, Any]] = [{"params": decayed}, {"params": rest, "weight_decay": 0.0}]
    # Torch refuses a group without weights beside one whose weights have names.
    groups = [group for group in groups if group["params"]]
    role = run.find("optimizers", options.optimizer)
    decay = options.ema_decay
    return ManagedOptimizer(
        role.create(groups, optimizer_settings(options, run.device)),
        parameters,
        WarmUp(options.learning_rate, options.warmup_steps),
        scaler=torch.amp.GradScaler(run.device.type) if run.info.precision == "fp16" else None,
        clip=build_clip(options, run.device),
        average=WeightAverage(parameters, decay) if decay else None,
        accumulation=options.gradient_accumulation,
    )


def _decays(name: str, weight: Parameter) -> bool:
    return weight.ndim >= 2 and not name.endswith("bias")


def change_optimizer(
    optimizer: ManagedOptimizer, options: OptimizerOptions, device: torch.device
) -> None:
    """Take over those options that may change during a run.

    Args:
        optimizer: from `build_optimizer`.
        options: as they are now.
        device: of the weights.
    """
    common = {"eps": 10.0**options.epsilon_exponent}
    decaying = {**common, "weight_decay": options.weight_decay}
    settings = [
        decaying if any(_decays(name, weight) for name, weight in group.items()) else common
        for group in optimizer.groups
    ]
    optimizer.change(
        settings,
        WarmUp(options.learning_rate, options.warmup_steps),
        clip=build_clip(options, device),
        ema_decay=options.ema_decay,
        accumulation=options.gradient_accumulation,
    )


def optimizer_settings(options: OptimizerOptions, device: torch.device) -> dict[str, Any]:
    """Return what an optimizer is created with; see the hook ``create_optimizer``."""
    return {
        "lr": options.learning_rate,
        "betas": (options.ada_beta_1, options.ada_beta_2),
        "eps": 10.0**options.epsilon_exponent,
        "weight_decay": options.weight_decay,
        "amsgrad": options.ada_amsgrad,
        "fused": device.type in ("cpu", "cuda"),
    }
