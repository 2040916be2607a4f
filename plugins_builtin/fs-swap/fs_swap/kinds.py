"""The kind of plugin that this package hosts: filters of swapped faces."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fs_kernel.hookspecs import hookspec
from fs_kernel.plugins import Kind

if TYPE_CHECKING:
    import numpy as np
    from fs_kernel.options import Config
    from fs_kernel.types import Face

_EXAMPLE = '''"""A filter for swapped faces: makes them darker or brighter."""

from __future__ import annotations

from typing import Any

import attrs
from fs_kernel import hookimpl, option


@attrs.frozen
class Options:
    """Options of this filter."""

    factor: float = option(0.9, "Brightness is multiplied by this.", minimum=0.0, maximum=2.0)


@hookimpl
def config_defaults() -> dict[str, type]:
    """Give the filter its section of options."""
    return {"swap_filter.{name}": Options}


@hookimpl
def filter_face(swapped: Any, config: Any) -> Any:
    """Return the picture, darker or brighter."""
    return swapped * config["swap_filter.{name}"].factor
'''


class SwapFilterHooks:
    """Hooks of filters."""

    @hookspec(firstresult=True)
    def filter_face(
        self, swapped: np.ndarray, mask: np.ndarray | None, face: Face, config: Config
    ) -> np.ndarray:
        """Change a swapped face before it is written. Called in several threads.

        Args:
            swapped: the picture, ``(h, w, 3)``, float32, 0..1, in the network's color order.
            mask: the learned mask, ``(h, w)``, float32, 0..1; None if the network learns none.
            face: the face that was swapped, as the feed read it.
            config: the filter's own options.

        Returns:
            The picture to write, of the same shape; values outside 0..1 are clipped.
        """
        raise NotImplementedError


SWAP_FILTERS = Kind("swap_filters", (SwapFilterHooks,), ("filter_face",), _EXAMPLE)
