"""Read the settings of one layer: each is used, known not to matter, or refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fs_kernel.errors import ModelFolderError

_POLICIES = ("float32", "mixed_float16", "mixed_bfloat16")

#: Settings that do not affect what a trained layer computes: weights come from the file, and the
#: run chooses what trains and the random seeds.
_WITHOUT_EFFECT = {"trainable", "seed", "batch_input_shape"}
_STARTING_VALUES = ("_initializer", "_init")


class Settings:
    """Settings that are removed as they are used, so that the unused ones are known.

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
        """The arguments that every Keras layer takes."""
        return {"name": self.name, "dtype": self.policy}

    def take(self, *keys: str) -> dict[str, Any]:
        """Remove and return those of the settings that are present."""
        return {key: self._left.pop(key) for key in keys if key in self._left}

    def get(self, key: str, default: Any) -> Any:
        """Remove and return one setting, or the default."""
        return self._left.pop(key, default)

    def expect(self, **values: Any) -> None:
        """Require that settings are absent or have these values.

        Raises:
            ModelFolderError: one has another value.
        """
        for key, value in values.items():
            if (found := self._left.pop(key, value)) != value:
                raise ModelFolderError(f"layer '{self.name}' has {key} {found}: not supported")

    def finish(self) -> None:
        """Require that every setting was used.

        Raises:
            ModelFolderError: an unknown setting is left.
        """
        for key, value in self._left.items():
            raise ModelFolderError(f"layer '{self.name}' has {key} {value}: not supported")


def layer_name(name: str) -> str:
    """Return a layer's name without slashes, which stand for nesting in the current Keras."""
    return name.replace("/", "_")


def _policy(dtype: Any, name: str) -> str:
    """Return the name of a dtype policy, given as text or as a serialized ``Policy`` object."""
    if isinstance(dtype, Mapping):
        dtype = (dtype.get("config") or {}).get("name")
    if dtype not in _POLICIES:
        raise ModelFolderError(f"layer '{name}' computes in {dtype}: not supported")
    policy: str = dtype
    return policy
