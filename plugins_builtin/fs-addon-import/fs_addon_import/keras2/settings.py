"""The settings of one layer in a file: every one is used, or known not to matter, or refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fs_kernel.errors import ModelFolderError

_POLICIES = ("float32", "mixed_float16", "mixed_bfloat16")

#: Settings without a part in what a trained layer computes: starting values come from the file,
#: what trains is the run's to choose, and so is randomness.
_WITHOUT_EFFECT = {"trainable", "seed", "batch_input_shape"}
_STARTING_VALUES = ("_initializer", "_init")


class Settings:
    """Settings that are taken out one by one.

    Args:
        config: the layer's ``config`` in the file.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._left = {
            key: value
            for key, value in config.items()
            if value is not None
            and key not in _WITHOUT_EFFECT
            and not key.endswith(_STARTING_VALUES)
        }
        self.name = layer_name(str(self._left.pop("name", "")))
        self.policy = _policy(self._left.pop("dtype", "float32"), self.name)

    @property
    def base(self) -> dict[str, Any]:
        """What every Keras layer is given."""
        return {"name": self.name, "dtype": self.policy}

    def take(self, *keys: str) -> dict[str, Any]:
        """Those of the settings that are there."""
        return {key: self._left.pop(key) for key in keys if key in self._left}

    def get(self, key: str, default: Any) -> Any:
        """One setting."""
        return self._left.pop(key, default)

    def expect(self, **values: Any) -> None:
        """Settings that must have a certain value, or be left out.

        Raises:
            ModelFolderError: one has another.
        """
        for key, value in values.items():
            if (found := self._left.pop(key, value)) != value:
                raise ModelFolderError(f"layer '{self.name}' has {key} {found}: not supported")

    def finish(self) -> None:
        """Say that all is taken.

        Raises:
            ModelFolderError: something is left that nobody knows.
        """
        for key, value in self._left.items():
            raise ModelFolderError(f"layer '{self.name}' has {key} {value}: not supported")


def layer_name(name: str) -> str:
    """A layer's name as Keras takes it today: a slash stands for nesting."""
    return name.replace("/", "_")


def _policy(dtype: Any, name: str) -> str:
    """The name of a policy: a text, or ``{"class_name": "Policy", "config": {"name": ...}}``."""
    if isinstance(dtype, Mapping):
        dtype = (dtype.get("config") or {}).get("name")
    if dtype not in _POLICIES:
        raise ModelFolderError(f"layer '{name}' computes in {dtype}: not supported")
    policy: str = dtype
    return policy
