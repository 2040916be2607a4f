"""From what a run named to a plugin object, with its failures blamed on it by name."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import inspect
import operator
import re
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs
import importlib_metadata

from fs_kernel import backend
from fs_kernel.errors import FsError, PluginError
from fs_kernel.hookspecs import API_VERSION, HOOKS_OF_KIND, PROJECT
from fs_kernel.plugins import discovery

#: The plugin whose code runs in this thread, for messages that say who speaks.
speaking: ContextVar[object] = ContextVar("speaking", default=None)
#: A path of a Python file, and what in it.
_FILE = re.compile(r"(.+\.py)(?::([\w.]+))?$")


@attrs.frozen
class LocalSource:
    """A plugin that is not an installed one: how to name it, and the file its code is in.

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
    plugin: Any = None
    found: discovery.InstalledPlugin | None = None
    source: LocalSource | None = None

    def __str__(self) -> str:
        return str(self.found) if self.found else f"{discovery.word_for(self.kind)} '{self.name}'"

    def identity(self) -> dict[str, Any]:
        """Return name, distribution and version, for checkpoints and ``run.json``.

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

    @contextlib.contextmanager
    def blaming(self, what: str) -> Iterator[None]:
        """Attribute exceptions raised in the block to the plugin, except what is not its fault."""
        token = speaking.set(self)  # Its name is made only if it says something.
        try:
            yield
        except (KeyboardInterrupt, GeneratorExit, FsError):
            raise
        except BaseException as error:
            if backend.is_out_of_memory(error):
                raise
            raise blame(self, what, error) from error
        finally:
            # A generator may be closed in another context than the one it was started in.
            with contextlib.suppress(ValueError):
                speaking.reset(token)


def blame(chosen: LoadedPlugin, what: str, error: BaseException) -> PluginError:
    """Return the error for a plugin that raised ``error`` in ``what``."""
    if isinstance(error, SystemExit):
        reason = f"it called sys.exit({error.code!r})"
    else:
        reason = f"{type(error).__name__}: {error}".strip().rstrip(":").splitlines()[0]
    url = chosen.found.issues_url if chosen.found else None
    where = f"; report it at {url}" if url else ""
    return PluginError(f"{chosen} failed in {what}: {reason}{where}", chosen.name)


# --- kinds ---


@attrs.frozen
class Kind:
    """A kind of plugin. A package declares one by an entry point in ``fs_kernel.kinds``.

    Attributes:
        name: plural, as in the entry-point group ``fs_kernel.<name>``; the entry point has it too.
        hooks: classes whose methods, marked with `fs_kernel.hookspecs.hookspec`, are the hooks of
            the kind; those of every kind (``config_defaults``, ``migrate_options``) are added to
            them. Empty for plugins that are plain objects, such as commands.
        required: the hooks that a plugin must implement.
        example: source code of a small plugin that works, for ``fs new``.
    """

    name: str
    hooks: tuple[type, ...] = ()
    required: tuple[str, ...] = ()
    example: str = ""

    @property
    def word(self) -> str:
        """The word for one plugin of this kind, as messages use it."""
        return discovery.word_for(self.name)


def kind_of(name: str) -> Kind:
    """Return the kind of a name: the kernel's, or what an installed package declares.

    Raises:
        PluginError: no package declares it, two do, or what it declares cannot be used.
    """
    if name in discovery.KINDS:
        return Kind(name, *HOOKS_OF_KIND.get(name, ()))
    chosen = load("kinds", name)
    kind = chosen.plugin
    if not isinstance(kind, Kind) or kind.name != name:
        raise PluginError(f"{chosen} is not an fs_kernel.plugins.Kind named '{name}'", name)
    return kind


def has_hooks(kind: str) -> bool:
    """Return whether plugins of a kind implement hooks; imports what declares the kind."""
    return bool(kind_of(kind).hooks)


def implements_hooks(kind: str, plugin: Any) -> bool:
    """Return whether a plugin implements hooks; a loss or optimizer may be a plain callable."""
    if kind not in ("losses", "optimizers"):
        return has_hooks(kind)
    members = (inspect.getattr_static(plugin, name, None) for name in dir(plugin))
    return any(hasattr(member, f"{PROJECT}_impl") for member in members)


# --- importing ---


def is_local(reference: Any) -> bool:
    """Return whether `load` takes this for code to import, not for the name of a plugin."""
    return isinstance(reference, str | Path) and any(mark in str(reference) for mark in ".:")


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
        chosen = LoadedPlugin(kind, found.name, found=found)
        _require_api(chosen, found.api)
        chosen.plugin = _import(chosen, found.value)
    with_hooks = implements_hooks(kind, chosen.plugin)
    if chosen.source and inspect.ismodule(chosen.plugin) and not with_hooks:
        raise PluginError(f"{reference} is a whole module; say what in it: {reference}:NAME")
    if inspect.isclass(chosen.plugin) and with_hooks:
        with chosen.blaming("its import"):
            chosen.plugin = chosen.plugin()
    _require_api(chosen, getattr(chosen.plugin, "API_VERSION", None))
    return chosen


def _import(chosen: LoadedPlugin, value: str) -> Any:
    with chosen.blaming("its import"):
        return importlib_metadata.EntryPoint(chosen.name, value, discovery.GROUP).load()


def _load_reference(kind: str, reference: str) -> LoadedPlugin:
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)
    chosen = LoadedPlugin(kind, reference)
    chosen.plugin = _import(chosen, reference)
    module = sys.modules[reference.partition(":")[0].strip()]
    path = Path(getattr(module, "__file__", None) or "")
    if path.suffix == ".py" and path.is_file():
        chosen.source = LocalSource(reference, reference, path, path.read_bytes())
    return chosen


def _load_file(kind: str, given: str, path: Path, attribute: str) -> LoadedPlugin:
    try:
        code, path = path.read_bytes(), path.resolve()
    except OSError:
        raise PluginError(f"there is no file {path}") from None
    colon = f":{attribute}" if attribute else ""
    source = LocalSource(given, f"{path}{colon}", path, code)
    chosen = LoadedPlugin(kind, path.stem + colon, source=source)
    with chosen.blaming("its import"):
        module = _run_file(path, code)
        chosen.plugin = operator.attrgetter(attribute)(module) if attribute else module
    return chosen


def _run_file(path: Path, code: bytes) -> ModuleType:
    """Return a file as a module; it runs again only if its content has changed since."""
    name = f"fs_local_{path.stem}"
    before = sys.modules.get(name)
    if before is not None and vars(before).get("_fs_loaded") == (path, code):
        return before
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        exec(compile(code, path, "exec"), module.__dict__)
    except BaseException:
        del sys.modules[name]
        raise
    vars(module)["_fs_loaded"] = (path, code)
    return module


def _require_api(chosen: LoadedPlugin, version: Any) -> None:
    if version is not None and version != API_VERSION:
        newer = isinstance(version, int | float) and version > API_VERSION
        action = "upgrade fs-kernel" if newer else "upgrade the plugin"
        raise PluginError(
            f"{chosen} was written for plugin API {version}, this kernel speaks {API_VERSION}: "
            f"{action}",
            chosen.name,
        )
