"""The callable that the kernel receives from this executor."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from fs_kernel.types import Side
from torch import Tensor

from fs_executor_torch.executable import Executable


class Runner:
    """Runs a network; see `fs_kernel.types.Forward`.

    Args:
        module: the network.
        sides: names of its inputs, in order.
        mode: of `torch.compile`, or "off".

    Attributes:
        module: as given; `fs_executor_torch.executable.Executable` says how to call it. A direct
            call is not compiled.
    """

    def __init__(self, module: Executable, sides: Sequence[Side], mode: str = "off") -> None:
        self.module = module
        self._sides = tuple(sides)
        self._compiled: Callable[..., Any] | None = None
        if mode != "off":
            self._compiled = torch.compile(module, mode=mode)

    def __call__(self, inputs: Mapping[Side, Tensor], training: bool = True) -> list[Tensor]:
        if self.module.training != training:
            self.module.train(training)
        pictures = [inputs[side] for side in self._sides]
        if self._compiled is not None:
            try:
                # From here on CUDA graphs may overwrite the outputs of the last call.
                torch.compiler.cudagraph_mark_step_begin()
                return list(self._compiled(*pictures))
            except Exception as error:
                self._compiled = None
                reason = str(error).strip().splitlines()[:1] or [type(error).__name__]
                line = f"the network could not be compiled and runs without: {reason[0]}"
                warnings.warn(line, stacklevel=2)
        outputs: list[Tensor] = self.module(*pictures)
        return outputs
