"""Translate arithmetic between layers, which Keras 2 saved as layers of their own.

``x * 2 - 1`` became two layers "TFOpLambda" (TensorFlow 2.4 and later) or "TensorFlowOpLayer"
(before) that name a function and hold the number. An operation with a number becomes a Rescaling
layer here, one with a second tensor a merging layer of Keras.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import keras
from fs_kernel.errors import ModelFolderError

from fs_addon_import.keras2.settings import Settings

_OPERATIONS = {
    "add": "add",
    "addv2": "add",
    "div": "divide",
    "divide": "divide",
    "mul": "multiply",
    "multiply": "multiply",
    "realdiv": "divide",
    "sub": "subtract",
    "subtract": "subtract",
    "truediv": "divide",
}
_MERGES = {
    "add": keras.layers.Add,
    "multiply": keras.layers.Multiply,
    "subtract": keras.layers.Subtract,
}
#: Scale and offset equal to the operation with a number.
_NUMBER_BEHIND: dict[str, Callable[[float], tuple[float, float]]] = {
    "add": lambda number: (1.0, number),
    "divide": lambda number: (1.0 / number, 0.0),
    "multiply": lambda number: (number, 0.0),
    "subtract": lambda number: (1.0, -number),
}
_NUMBER_IN_FRONT: dict[str, Callable[[float], tuple[float, float]]] = {
    "add": lambda number: (1.0, number),
    "multiply": lambda number: (number, 0.0),
    "subtract": lambda number: (-1.0, number),
}

#: Called with the positional tensors and numbers, and with those given by name.
Operation = Callable[[list[Any], Mapping[str, Any]], Any]


def operation(class_name: str, config: Mapping[str, Any]) -> Operation | None:
    """Return the function of an operator layer, or None for a layer of another class.

    Raises:
        ModelFolderError: it is not an addition, subtraction, multiplication or division.
    """
    if class_name == "TFOpLambda":
        settings = Settings(config)
        kind = _kind(str(settings.get("function", settings.name)), settings.name)
        return lambda args, kwargs: _apply(kind, settings, _operands(args, kwargs))
    if class_name == "TensorFlowOpLayer":
        settings = Settings(config)
        definition = settings.get("node_def", {})
        if isinstance(definition, str):
            definition = json.loads(definition)
        kind = _kind(str(definition.get("op")), settings.name)
        constants = settings.get("constants", {})
        return lambda args, _: _apply(kind, settings, _placed(args, constants))
    return None


def _kind(function: str, name: str) -> str:
    kind = _OPERATIONS.get(function.rpartition(".")[2].lower())
    if kind is None:
        raise ModelFolderError(f"layer '{name}' calls {function}: not supported")
    return kind


def _operands(args: list[Any], kwargs: Mapping[str, Any]) -> list[Any]:
    return [*args, *(kwargs[key] for key in ("x", "y") if kwargs.get(key) is not None)]


def _placed(args: list[Any], constants: Mapping[str, Any]) -> list[Any]:
    """Return the operands with the constants inserted at their positions."""
    operands = list(args)
    for place in sorted(constants, key=int):
        operands.insert(int(place), constants[place])
    return operands


def _apply(kind: str, settings: Settings, operands: list[Any]) -> Any:
    tensors = [operand for operand in operands if isinstance(operand, keras.KerasTensor)]
    if len(operands) == len(tensors) == 2 and kind in _MERGES:
        return _MERGES[kind](**settings.base)(tensors)
    if len(operands) == 2 and len(tensors) == 1:
        in_front = operands[1] is tensors[0]
        rules = _NUMBER_IN_FRONT if in_front else _NUMBER_BEHIND
        number = operands[0] if in_front else operands[1]
        if kind in rules and _is_number(number) and (number or kind != "divide"):
            scale, offset = rules[kind](float(number))
            return keras.layers.Rescaling(scale, offset, **settings.base)(tensors[0])
    raise ModelFolderError(f"layer '{settings.name}' cannot {kind} what it is given")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
