"""Weights that a loss needs, from files the user has; nothing is ever downloaded."""

from __future__ import annotations

import hashlib
import pickle
import re
from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from fs_kernel.errors import ConfigError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

_SUFFIXES = (".safetensors", ".pth", ".pt")


def find(folder: Path, stem: str) -> Path | None:
    """Return the weight file in ``folder`` called ``stem`` or ``stem-<anything>``, or None.

    Raises:
        ConfigError: there are several.
    """
    found = sorted(
        path
        for path in folder.iterdir()
        if path.suffix in _SUFFIXES and (path.stem == stem or path.stem.startswith(f"{stem}-"))
    )
    if len(found) > 1:
        names = " and ".join(path.name for path in found)
        raise ConfigError(f"{folder} holds both {names}; keep the one you want")
    return found[0] if found else None


def read(path: Path, digests: Collection[str]) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file or of a torch state dict, on the CPU.

    Args:
        path: the file.
        digests: SHA-256 of the files that may be read. If there are none, a file whose name ends in
            the first eight digits of its own ("alexnet-owt-7be5be79.pth") must still keep to that.

    Raises:
        ConfigError: the file has another digest, or holds no tensors by name.
    """
    try:
        _check_digest(path, {digest.strip().lower() for digest in digests})
        if path.suffix == ".safetensors":
            return load_file(path)
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError, RuntimeError, pickle.UnpicklingError, EOFError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ConfigError(f"{path} cannot be read as weights: {reason}") from None
    if not isinstance(tensors, Mapping) or not all(
        isinstance(value, Tensor) for value in tensors.values()
    ):
        raise ConfigError(f"{path} holds no weights by name; save a model's state dict")
    return dict(tensors)


def take(
    tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor], prefix: str, path: Path
) -> dict[str, Tensor]:
    """Return ``wanted``'s entries of ``tensors``, whose names begin with ``prefix``, in float32.

    Raises:
        ConfigError: one is missing or of another shape; the message names it and ``path``.
    """
    for name, like in wanted.items():
        found = tensors.get(prefix + name)
        if found is None:
            raise ConfigError(f"{path} holds no '{prefix}{name}'; it belongs to another network")
        if found.shape != like.shape:
            raise ConfigError(
                f"{path}: '{prefix}{name}' has shape {list(found.shape)}, "
                f"{list(like.shape)} is needed; it belongs to another network"
            )
    return {name: tensors[prefix + name].float() for name in wanted}


def _check_digest(path: Path, digests: set[str]) -> None:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digests:
        if digest not in digests:
            raise ConfigError(f"{path} has the SHA-256 {digest}, which is not expected")
        return
    named = re.search(r"-([0-9a-f]{8})$", path.stem)
    if named and not digest.startswith(named[1]):
        raise ConfigError(
            f"{path} is damaged: its SHA-256 begins with {digest[:8]}, not with {named[1]}"
        )
