"""Installed packages for tests: a ``.dist-info`` folder and, where wanted, code to import."""

from __future__ import annotations

import gc
import importlib
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs
import importlib_metadata
import pytest
from fs_kernel.plugins import discovery

#: Every required hook of a kind, doing nothing; bodies of fake plugins.
HOOKS = {
    "models": "network_spec build_model",
    "trainers": "create_trainer get_sampler",
    "feeds": "open_feed",
    "executors": "make_forward",
    "addons": "",
}


@pytest.fixture(scope="session", autouse=True)
def quick_collections() -> Iterator[None]:
    """Keras collects garbage for every network; what is imported by now need not be looked at."""
    import keras

    assert keras.backend.backend() == "torch"
    gc.freeze()
    yield
    gc.unfreeze()


def look_again() -> None:
    """Let the next discovery see what has changed on disk."""
    importlib.invalidate_caches()
    importlib_metadata.MetadataPathFinder.invalidate_caches()
    discovery.refresh()


def forget(folder: Path) -> None:
    """Drop every module that was imported from ``folder``, and what discovery knows."""
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(str(folder)):
            del sys.modules[name]
    look_again()


def empty_plugin(kind: str) -> str:
    """Source of a module that has the required hooks of a kind, without arguments."""
    hooks = [f"@hookimpl\ndef {hook}(): pass\n" for hook in HOOKS[kind].split()]
    return "\n".join(["from fs_kernel import hookimpl", *hooks])


@attrs.frozen
class Site:
    """A folder of installed packages."""

    folder: Path

    def install(
        self,
        name: str,
        entries: Mapping[str, Mapping[str, str]],
        code: Mapping[str, str] | None = None,
        *,
        version: str = "1.0",
        api: int | None = 1,
        metadata: str = "",
    ) -> Path:
        """Write one distribution.

        Args:
            name: of the distribution.
            entries: ``{kind: {entry name: value}}``.
            code: source by module name.
            version: of the distribution.
            api: the kernel API it declares; None for no declaration.
            metadata: further METADATA lines.

        Returns:
            Its ``.dist-info`` folder.
        """
        folder = self.folder / f"{name.replace('-', '_')}-{version}.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{metadata}", "utf-8"
        )
        groups = {f"fs_kernel.{kind}": found for kind, found in entries.items()}
        if api is not None:
            groups["fs_kernel.api"] = {str(api): name.replace("-", "_")}
        lines = [
            line
            for group, found in groups.items()
            for line in (f"[{group}]", *(f"{key} = {value}" for key, value in found.items()), "")
        ]
        (folder / "entry_points.txt").write_text("\n".join(lines), "utf-8")
        for module, source in (code or {}).items():
            (self.folder / f"{module}.py").write_text(textwrap.dedent(source), "utf-8")
        look_again()
        return folder

    def crowd(self, count: int = 200, broken: int = 20) -> None:
        """Write many packages, the first ones each broken in one of six ways.

        Plugins are called ``crowd0``, ``crowd1``, ...; of every three broken packages two can be
        listed all the same, because only their code is at fault.
        """
        spoilt = [
            "raise RuntimeError('no')",
            "import sys; sys.exit(1)",
            "import not_there",
            "def (:",
        ]
        for number in range(count):
            kind = ("models", "trainers", "feeds", "addons", "commands")[number % 5]
            module = f"crowd_{number:03d}"
            code = spoilt[number % 6 % 4] if number < broken else "x = 1"
            folder = self.folder / f"fs_{module}-1.0.dist-info"
            folder.mkdir(parents=True)
            (folder / "METADATA").write_text(
                f"Metadata-Version: 2.1\nName: fs-crowd-{number:03d}\nVersion: 1.0\n", "utf-8"
            )
            entries = (
                f"[fs_kernel.{kind}]\ncrowd{number} = {module}\n\n[fs_kernel.api]\n1 = {module}\n"
            )
            if number < broken and number % 6 >= 4:
                entries = ("[fs_kernel.models\nx=y", "fs_kernel.\0= = =")[number % 2]
            (folder / "entry_points.txt").write_text(entries, "utf-8")
            (self.folder / f"{module}.py").write_text(code, "utf-8")
        look_again()
