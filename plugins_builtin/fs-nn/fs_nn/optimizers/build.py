"""From options to the optimiser of a run."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from fs_kernel.errors import ConfigError
from fs_kernel.types import Run

from fs_nn.clipping import build_clip
from fs_nn.ema import WeightAverage
from fs_nn.optimizers.named import NamedOptimizer
from fs_nn.options import OptimizerOptions
from fs_nn.schedule import WarmUp


def build_optimizer(run: Run, options: OptimizerOptions) -> NamedOptimizer:
    """The optimiser that the options name, over all trainable weights of a run.

    Weight decay applies to weights of rank 2 and more that are no biases; the rest is in a second
    group without it. An optimiser is given those of ``lr``, ``betas``, ``eps``, ``weight_decay``,
    ``amsgrad`` that its signature names, and ``fused`` where torch has it for the device. The loss
    is scaled under fp16.

    Raises:
        ConfigError: no weight is left to train, or the optimiser refuses a setting.
        PluginError: the optimiser is not installed.
    """
    parameters = run.parameters()
    if not parameters:
        raise ConfigError("all weights are frozen, so there is nothing to train")
    decayed = {n: p for n, p in parameters.items() if p.ndim >= 2 and not n.endswith("bias")}
    rest = [p for n, p in parameters.items() if n not in decayed]
    groups = [
        {"params": list(decayed.values())},
        {"params": rest, "weight_decay": 0.0},
    ]
    make = run.find("optimizers", options.optimizer)
    settings = _settings(options, run.device)
    accepted = inspect.signature(make).parameters
    chosen = {key: value for key, value in settings.items() if key in accepted}
    try:
        optimizer = make(groups, **chosen)
    except ValueError as error:
        raise ConfigError(f"optimizer {options.optimizer} refuses its options: {error}") from None
    decay = options.ema_decay
    return NamedOptimizer(
        optimizer,
        parameters,
        WarmUp(options.learning_rate, options.warmup_steps),
        scaler=torch.amp.GradScaler(run.device.type) if run.info.precision == "fp16" else None,
        clip=build_clip(options, run.device),
        average=WeightAverage(parameters, decay) if decay else None,
        accumulation=options.gradient_accumulation,
    )


def change_optimizer(
    optimizer: NamedOptimizer, options: OptimizerOptions, device: torch.device
) -> None:
    """Take over those options that may change while a run goes on.

    Args:
        optimizer: from `build_optimizer`.
        options: as they are now.
        device: of the weights.
    """
    settings = {"eps": 10.0**options.epsilon_exponent}
    optimizer.change(
        ({**settings, "weight_decay": options.weight_decay}, settings),
        WarmUp(options.learning_rate, options.warmup_steps),
        clip=build_clip(options, device),
        ema_decay=options.ema_decay,
        accumulation=options.gradient_accumulation,
    )


def _settings(options: OptimizerOptions, device: torch.device) -> dict[str, Any]:
    return {
        "lr": options.learning_rate,
        "betas": (options.ada_beta_1, options.ada_beta_2),
        "eps": 10.0**options.epsilon_exponent,
        "weight_decay": options.weight_decay,
        "amsgrad": options.ada_amsgrad,
        "fused": device.type in ("cpu", "cuda"),
    }
