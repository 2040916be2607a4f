"""From what a run named to a plugin object, with its failures blamed on it by name."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from pathlib import Path
from typing import Any

import attrs

from fs_kernel import discovery
from fs_kernel.errors import FsError, PluginError
from fs_kernel.hookspecs import API_VERSION, HOOKS_OF_KIND


@attrs.define
class Chosen:
    """A plugin in use: its kind, the name it goes by, its object, and where it came from."""

    kind: str
    name: str
    plugin: Any
    found: discovery.Found | None = None
    sections: tuple[str, ...] = ()

    def __str__(self) -> str:
        return str(self.found) if self.found else f"{discovery.KINDS[self.kind]} '{self.name}'"

    def identity(self) -> dict[str, Any]:
        """Name, distribution and version, for checkpoints and ``run.json``."""
        return {
            "name": self.name,
            "distribution": self.found.distribution if self.found else None,
            "version": self.found.version if self.found else None,
            "api": self.found.api if self.found else API_VERSION,
        }


def blame(chosen: Chosen, what: str, error: BaseException) -> PluginError:
    """The error for a plugin that raised ``error`` in ``what``."""
    if isinstance(error, SystemExit):
        reason = f"it called sys.exit({error.code!r})"
    else:
        reason = f"{type(error).__name__}: {error}".strip().rstrip(":").splitlines()[0]
    url = chosen.found.issues_url if chosen.found else None
    where = f"; report it at {url}" if url else ""
    return PluginError(f"{chosen} failed in {what}: {reason}{where}", chosen.name)


def _import(value: str) -> Any:
    module, _, attribute = value.partition(":")
    target: Any = importlib.import_module(module.strip())
    for part in filter(None, attribute.strip().split(".")):
        target = getattr(target, part)
    return target


def _import_file(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"fs_local_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise PluginError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def load(kind: str, reference: Any) -> Chosen:
    """Import the plugin a run named.

    Args:
        kind: "models", "trainers", ...
        reference: the name of an installed plugin, a path to a ``.py`` file, ``package.module`` or
            ``package.module:Object``, or the plugin object itself.

    Raises:
        PluginError: it is not installed, too new or too old, or its import failed.
    """
    if not isinstance(reference, str | Path):
        name = getattr(reference, "name", None) or getattr(reference, "__name__", None)
        chosen = Chosen(kind, str(name or type(reference).__name__), reference)
    elif str(reference).endswith(".py"):
        path = Path(reference)
        if not path.is_file():
            raise PluginError(f"there is no file {path}")
        chosen = Chosen(kind, path.stem, None)
        chosen.plugin = _guarded(chosen, lambda: _import_file(path))
    elif "." in str(reference) or ":" in str(reference):
        chosen = Chosen(kind, str(reference), None)
        chosen.plugin = _guarded(chosen, lambda: _import(str(reference)))
    else:
        found = discovery.find(kind, str(reference))
        chosen = Chosen(kind, found.name, None, found)
        _check_api(chosen, found.api)
        chosen.plugin = _guarded(chosen, lambda: _import(found.value))
    if inspect.isclass(chosen.plugin) and kind in HOOKS_OF_KIND:
        chosen.plugin = _guarded(chosen, chosen.plugin)
    _check_api(chosen, getattr(chosen.plugin, "API_VERSION", None))
    return chosen


def _guarded(chosen: Chosen, call: Any) -> Any:
    try:
        return call()
    except (KeyboardInterrupt, FsError):
        raise
    except BaseException as error:
        raise blame(chosen, "its import", error) from error


def _check_api(chosen: Chosen, version: Any) -> None:
    if version is not None and version != API_VERSION:
        newer = isinstance(version, int | float) and version > API_VERSION
        action = "upgrade fs-kernel" if newer else "upgrade the plugin"
        raise PluginError(
            f"{chosen} was written for plugin API {version}, this kernel speaks {API_VERSION}: "
            f"{action}",
            chosen.name,
        )
