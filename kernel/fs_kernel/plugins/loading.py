"""From what a run named to a plugin object, with its failures blamed on it by name."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs

from fs_kernel import backend
from fs_kernel.errors import FsError, PluginError
from fs_kernel.hookspecs import API_VERSION
from fs_kernel.plugins import discovery
from fs_kernel.plugins.kinds import PLAIN_KINDS, has_hooks, marked

#: A path of a Python file, and what in it.
_FILE = re.compile(r"(.+\.py)(?::([\w.]+))?$")


@attrs.frozen
class LocalSource:
    """A plugin that is no installed one: how to name it, and the file its code is in.

    Attributes:
        given: as the user wrote it.
        reference: what `load` takes from any working directory.
        path: of the file, absolute.
        code: the file's content when it was loaded.
    """

    given: str
    reference: str
    path: Path
    code: bytes

    @property
    def sha256(self) -> str:
        """Of the code."""
        return hashlib.sha256(self.code).hexdigest()


@attrs.define
class LoadedPlugin:
    """A plugin in use: its kind, the name it goes by, its object, and where it came from."""

    kind: str
    name: str
    plugin: Any
    found: discovery.InstalledPlugin | None = None
    sections: tuple[str, ...] = ()
    source: LocalSource | None = None

    def __str__(self) -> str:
        return str(self.found) if self.found else f"{discovery.word_for(self.kind)} '{self.name}'"

    def identity(self) -> dict[str, Any]:
        """Name, distribution and version, for checkpoints and ``run.json``.

        A plugin by file or reference also has how it was and can be named, and its file's SHA-256.
        """
        facts = {
            "name": self.name,
            "distribution": self.found.distribution if self.found else None,
            "version": self.found.version if self.found else None,
            "api": self.found.api if self.found else API_VERSION,
        }
        if self.source is not None:
            given, reference = self.source.given, self.source.reference
            facts |= {"given": given, "reference": reference, "sha256": self.source.sha256}
        return facts


def blame(chosen: LoadedPlugin, what: str, error: BaseException) -> PluginError:
    """The error for a plugin that raised ``error`` in ``what``."""
    if isinstance(error, SystemExit):
        reason = f"it called sys.exit({error.code!r})"
    else:
        reason = f"{type(error).__name__}: {error}".strip().rstrip(":").splitlines()[0]
    url = chosen.found.issues_url if chosen.found else None
    where = f"; report it at {url}" if url else ""
    return PluginError(f"{chosen} failed in {what}: {reason}{where}", chosen.name)


def is_local(reference: Any) -> bool:
    """Whether `load` would take this for code to import, not for the name of a plugin."""
    return isinstance(reference, str | Path) and any(mark in str(reference) for mark in ".:")


def _import(value: str) -> tuple[ModuleType, Any]:
    module, _, attribute = value.partition(":")
    found = importlib.import_module(module.strip())
    return found, _attribute(found, attribute)


def _attribute(target: Any, path: str) -> Any:
    for part in filter(None, path.strip().split(".")):
        target = getattr(target, part)
    return target


def _import_file(path: Path, code: bytes) -> ModuleType:
    """A file as a module; loaded again only if its content has changed since."""
    name = f"fs_local_{path.stem}"
    before = sys.modules.get(name)
    if before is not None and before.__dict__.get("_fs_loaded") == (path, code):
        return before
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        exec(compile(code, path, "exec"), module.__dict__)
    except BaseException:
        del sys.modules[name]
        raise
    module.__dict__["_fs_loaded"] = (path, code)
    return module


def _load_file(kind: str, given: str, path: Path, attribute: str) -> LoadedPlugin:
    try:
        code, whole = path.read_bytes(), path.resolve()
    except OSError:
        raise PluginError(f"there is no file {path}") from None
    colon = f":{attribute}" if attribute else ""
    source = LocalSource(given, f"{whole}{colon}", whole, code)
    chosen = LoadedPlugin(kind, path.stem + colon, None, source=source)
    chosen.plugin = _guarded(chosen, lambda: _attribute(_import_file(whole, code), attribute))
    return chosen


def _load_reference(kind: str, reference: str) -> LoadedPlugin:
    chosen = LoadedPlugin(kind, reference, None)
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    module, chosen.plugin = _guarded(chosen, lambda: _import(reference))
    path = Path(getattr(module, "__file__", None) or "")
    if path.suffix == ".py" and path.is_file():
        chosen.source = LocalSource(reference, reference, path, path.read_bytes())
    return chosen


def load(kind: str, reference: Any) -> LoadedPlugin:
    """Import the plugin a run named.

    Args:
        kind: "models", "trainers", ...
        reference: the name of an installed plugin; a path to a ``.py`` file, or
            ``path.py:Object``; ``package.module`` or ``package.module:Object``, installed or in
            the working directory; or the plugin object itself.

    Raises:
        PluginError: it is not installed, too new or too old, or its import failed.
    """
    if kind != "commands":
        backend.select_torch_backend()
    if not isinstance(reference, str | Path):
        name = getattr(reference, "name", None) or getattr(reference, "__name__", None)
        chosen = LoadedPlugin(kind, str(name or type(reference).__name__), reference)
    elif match := _FILE.fullmatch(str(reference)):
        chosen = _load_file(kind, match[0], Path(match[1]), match[2] or "")
    elif is_local(reference):
        chosen = _load_reference(kind, str(reference))
    else:
        found = discovery.find(kind, str(reference))
        chosen = LoadedPlugin(kind, found.name, None, found)
        _check_api(chosen, found.api)
        chosen.plugin = _guarded(chosen, lambda: _import(found.value)[1])
    with_hooks = has_hooks(kind) and (kind not in PLAIN_KINDS or marked(chosen.plugin))
    if chosen.source and inspect.ismodule(chosen.plugin) and not with_hooks:
        raise PluginError(f"{reference} is a whole module; say what in it: {reference}:NAME")
    if inspect.isclass(chosen.plugin) and with_hooks:
        chosen.plugin = _guarded(chosen, chosen.plugin)
    _check_api(chosen, getattr(chosen.plugin, "API_VERSION", None))
    return chosen


def _guarded(chosen: LoadedPlugin, call: Any) -> Any:
    try:
        return call()
    except (KeyboardInterrupt, FsError):
        raise
    except BaseException as error:
        raise blame(chosen, "its import", error) from error


def _check_api(chosen: LoadedPlugin, version: Any) -> None:
    if version is not None and version != API_VERSION:
        newer = isinstance(version, int | float) and version > API_VERSION
        action = "upgrade fs-kernel" if newer else "upgrade the plugin"
        raise PluginError(
            f"{chosen} was written for plugin API {version}, this kernel speaks {API_VERSION}: "
            f"{action}",
            chosen.name,
        )
