"""Tools: functions in the entry-point group ``fs_kernel.tools`` that the program calls by name.

===================  ============================  ===============================================
name                 called by                     with
===================  ============================  ===============================================
``dry_run``          ``fs run --dry-run``          ``(request)``; returns a report that has
                                                   ``process``, ``facts`` and ``text()``
``find_batch_size``  ``fs run -b auto``            ``(request)``; returns ``(faces per side, line
                                                   for the user)``, or None where the model folder
                                                   knows its batch size
``swap_folder``      ``TrainedModel.swap_folder``  its arguments, the model first; returns how many
                                                   faces were written
===================  ============================  ===============================================
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fs_kernel.errors import PluginError
from fs_kernel.plugins import discovery
from fs_kernel.plugins.loading import load


def load_tool(name: str, purpose: str) -> Callable[..., Any]:
    """Import a tool.

    Args:
        name: of the entry point.
        purpose: what the user asked for ("--dry-run"), for the error.

    Raises:
        PluginError: it is not installed (with the package to install), or cannot be used.
    """
    package = discovery.published("tools", name)
    if package and all(item.name != name for item in discovery.installed("tools")):
        raise PluginError(f"{purpose} needs {package}: pip install {package}", name)
    chosen = load("tools", name)
    if not callable(chosen.plugin):
        raise PluginError(f"{chosen} is not a function", name)
    tool: Callable[..., Any] = chosen.plugin
    return tool
