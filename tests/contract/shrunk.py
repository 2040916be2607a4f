"""The built-in networks with few weights, as plugins: everything but the widths is their own."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest import mock

from fs_kernel import NetworkSpec, hookimpl

sys.path.insert(0, str(Path(__file__).parents[1] / "unit/models"))
sys.path.insert(0, str(Path(__file__).parents[1] / "unit/model_phaze_a"))

from built_in import SMALL
from phaze_a_small import SMALL as PHAZE_A

__all__ = ["PHAZE_A", "SMALL", "Shrunk"]


class Shrunk:
    """A built-in model plugin whose network function gets other widths.

    Args:
        module: of the plugin.
        function: in its ``network`` room.
        size: edge of the faces it sees, in pixels.
        widths: keyword arguments, in place of those the plugin gives.
    """

    def __init__(self, module: str, function: str, size: int, widths: Mapping[str, Any]) -> None:
        self._plugin = importlib.import_module(module)
        self._function, self._size, self._widths = f"{module}.network.{function}", size, widths
        self.name = module.removeprefix("fs_model_")
        self.__module__ = module
        for name, value in vars(self._plugin).items():
            if hasattr(value, "fs_kernel_impl") and not hasattr(type(self), name):
                setattr(self, name, value)

    @hookimpl
    def network_spec(self, config):
        hook = self._plugin.network_spec
        spec = hook(config) if inspect.signature(hook).parameters else hook()
        shape = (self._size, self._size, 3)
        return NetworkSpec(dict.fromkeys(spec.input_shapes, shape), spec.color_order)

    @hookimpl
    def build_model(self, inputs, config):
        room, _, name = self._function.rpartition(".")
        whole = getattr(importlib.import_module(room), name)

        def small(*arguments, **given):
            return whole(*arguments, **{**given, **self._widths})

        with mock.patch(self._function, small):
            return self._plugin.build_model(inputs, config)
