"""Write safetensors files in pieces straight from memory; the library reads them.

The format is eight bytes with the length of a JSON header, the header (type, shape and place of
each tensor), and the tensors' bytes; the safetensors project describes it. Writing it here lets a
save stream from its staging buffer through `fs_kernel.storage.files`, which hashes on the way; the
library would need a second copy in memory.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fs_kernel import backend
from fs_kernel.errors import ModelFolderError

_TYPES = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint8": "U8",
    "bool": "BOOL",
}


def require_kept(tensor: Any, name: str) -> Any:
    """Return the tensor itself, if files can hold its type.

    Raises:
        TypeError: they cannot.
    """
    if str(tensor.dtype).removeprefix("torch.") not in _TYPES:
        raise TypeError(f"{name}: a checkpoint cannot hold {tensor.dtype}")
    return tensor


def chunks(tensors: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the pieces of a safetensors file.

    Args:
        tensors: contiguous CPU tensors by name, of types that `require_kept` lets through.
    """
    torch = backend.torch()
    order = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    header: dict[str, Any] = {}
    start = 0
    for name in order:
        tensor = tensors[name]
        kind = _TYPES[str(tensor.dtype).removeprefix("torch.")]
        end = start + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": [start, end]}
        start = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    yield len(text).to_bytes(8, "little")
    yield text
    for name in order:
        if tensors[name].numel():
            yield memoryview(tensors[name].reshape(-1).view(torch.uint8).numpy())


def load(path: Path) -> dict[str, Any]:
    """Return the tensors of a safetensors file by name, on the CPU.

    Raises:
        ModelFolderError: it cannot be read.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ModelFolderError(f"cannot read {path}: {reason}") from None
