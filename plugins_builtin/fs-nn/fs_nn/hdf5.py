"""Read HDF5 files of unknown origin safely.

Only hard links are followed, only plain data sets are taken, and no number is read before its shape
and type are known to fit. Needs h5py: ``pip install fs-nn[hdf5]``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
from fs_kernel.errors import ModelFolderError

if TYPE_CHECKING:
    import h5py

#: Longest text taken from an attribute, bytes.
MAX_TEXT = 64 * 2**20


@attrs.frozen
class Stored:
    """Refer to a tensor in a file that is not read yet.

    Attributes:
        name: where it is in the file.
        data: the data set.
    """

    name: str
    data: h5py.Dataset

    @property
    def shape(self) -> tuple[int, ...]:
        """Return its shape."""
        return tuple(self.data.shape)

    def require(self, dtype: str) -> None:
        """Check that the numbers are of a type and stored in full, before any is read.

        Args:
            dtype: "float32", or an integer type, which any integers are taken for.

        Raises:
            ModelFolderError: they are not.
        """
        kind, size = self.data.dtype.kind, self.data.dtype.itemsize
        if not ((kind, size) == ("f", 4) if dtype == "float32" else kind in "iu"):
            raise ModelFolderError(f"'{self.name}' holds {self.data.dtype} numbers, not {dtype}")
        # Keras stores numbers as they are. What occupies less is compressed or missing, and
        # could be far larger than the file.
        if self.data.id.get_storage_size() < self.data.nbytes:
            raise ModelFolderError(f"'{self.name}' is not stored in full; refused")

    def read(self, shape: Sequence[int], dtype: str) -> np.ndarray:
        """Return the numbers, in a shape of as many and as a type; call `require` first."""
        return np.asarray(self.data[()], dtype=dtype).reshape(shape)


def member(group: h5py.Group, path: str) -> Any:
    """Return what ``path`` leads to, by hard links alone.

    Raises:
        ModelFolderError: there is nothing, or a link of another kind.
    """
    import h5py

    for part in filter(None, path.split("/")):
        link = group.get(part, getlink=True) if isinstance(group, h5py.Group) else None
        if link is None:
            raise ModelFolderError(f"there is no '{path}' in it")
        if not isinstance(link, h5py.HardLink):
            raise ModelFolderError(f"'{path}' in it is a link to somewhere else; refused")
        group = group[part]
    return group


def stored(group: h5py.Group, path: str) -> Stored:
    """Return the plain data set at ``path``.

    Raises:
        ModelFolderError: there is none, or its numbers lie in another file.
    """
    import h5py

    data = member(group, path)
    if not isinstance(data, h5py.Dataset) or data.is_virtual or data.external is not None:
        raise ModelFolderError(f"'{path}' in it is not a plain data set; refused")
    return Stored(path, data)


def text(group: h5py.Group, key: str) -> str | None:
    """Return the text of an attribute, or None if there is none.

    Raises:
        ModelFolderError: it is not text, or too long.
    """
    if key not in group.attrs:
        return None
    value = group.attrs[key]
    if not isinstance(value, str | bytes) or len(value) > MAX_TEXT:
        raise ModelFolderError(f"its attribute '{key}' is not a text of reasonable length")
    return value.decode() if isinstance(value, bytes) else value


def names(group: h5py.Group, key: str) -> list[str]:
    """Return the names in the attribute ``key``, or, if it is long, in ``key0``, ``key1``, ...

    Raises:
        ModelFolderError: they are not names.
    """
    parts = [key] if key in group.attrs else []
    while parts[:1] != [key] and f"{key}{len(parts)}" in group.attrs:
        parts.append(f"{key}{len(parts)}")
    found = [name for part in parts for name in np.asarray(group.attrs[part]).ravel().tolist()]
    if not all(isinstance(name, str | bytes) for name in found):
        raise ModelFolderError(f"its attribute '{key}' is not a list of names")
    return [name.decode() if isinstance(name, bytes) else name for name in found]


def squeezed(shape: Sequence[int]) -> tuple[int, ...]:
    """Return a shape without its ones, which programs add and leave out freely."""
    return tuple(size for size in shape if size != 1)
