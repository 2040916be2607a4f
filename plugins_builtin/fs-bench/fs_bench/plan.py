"""Define what is measured, and how thoroughly."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import torch
from fs_kernel import open_run
from fs_kernel.errors import FsError
from fs_kernel.plugins import discovery

from fs_bench.networks import StillFeed


@attrs.frozen
class Variant:
    """One way to execute a network: an executor, and a value of its ``compile`` option.

    Attributes:
        executor: name of the plugin.
        compile: value of ``executor.<name>.compile``; None for the default.
    """

    executor: str
    compile: str | None = None

    @property
    def name(self) -> str:
        """The name in keys and titles."""
        return self.executor if self.compile is None else f"{self.executor}+{self.compile}"

    @property
    def options(self) -> dict[str, Any]:
        """The options that select it, by name."""
        return {} if self.compile is None else {f"executor.{self.executor}.compile": self.compile}


@attrs.frozen
class Plan:
    """The subjects and settings of a benchmark.

    Attributes:
        device: where networks run.
        networks: names and batch sizes to take steps with.
        precisions: out of "fp32", "bf16", "fp16".
        variants: the ways to execute a network, the baseline first.
        rounds: repetitions of each measurement.
        quick: smaller sizes everywhere.
        folder: for files; empty at first.
        skip: called with a line for each subject that is left out, with the reason.
        tell: called with the subject that is being measured.
    """

    device: torch.device
    networks: Sequence[tuple[str, int]]
    precisions: Sequence[str]
    variants: Sequence[Variant]
    rounds: int
    quick: bool
    folder: Path
    skip: Callable[[str], None]
    tell: Callable[[str], None]

    @contextlib.contextmanager
    def run(self, model: Any, batch: int, precision: str, variant: Variant, **more: Any) -> Any:
        """Return an open run of a network at its defaults that repeats one batch.

        Args:
            model: name, path or object of the model plugin.
            batch: faces per side.
            precision: number format.
            variant: executor.
            more: further arguments of `fs_kernel.open_run`, ``set`` among them.
        """
        values = {
            "training.batch_size": batch,
            "training.device": str(self.device),
            "training.precision": precision,
            "training.executor": variant.executor,
            "training.seed": 1,
            **variant.options,
            **more.pop("set", {"save.optimizer": "never"}),
        }
        folder = self.folder / "runs" / f"{len(list(self.folder.glob('runs/*')))}"
        folder.mkdir(parents=True)
        arguments = {"feed": StillFeed(), "addons": [], "a": folder, "b": folder, **more}
        run = open_run(folder / "model", model, set=values, **arguments)
        try:
            yield run
        finally:
            run.close(save=False)
            gc.collect()

    @contextlib.contextmanager
    def every_variant(self, name: str, batch: int, precision: str) -> Iterator[dict[str, Any]]:
        """Yield ``{variant name: open run}`` for every variant that works here."""
        with contextlib.ExitStack() as stack:
            runs = {}
            for variant in self.variants:
                try:
                    run = self.run(name, batch, precision, variant)
                    runs[variant.name] = stack.enter_context(run)
                except FsError as error:
                    self.skip(f"{name} {precision} with {variant.name}: {error}")
            yield runs


def title_of(name: str) -> str:
    """Return a network's name in keys and titles; of a file, its stem."""
    return Path(name).stem


def available(kind: str, names: Sequence[str], skip: Callable[[str], None]) -> list[str]:
    """Return those of the named plugins that are installed; skip the others with a line."""
    there = {found.name for found in discovery.installed(kind)}
    for name in names:
        if name not in there:
            skip(f"the {discovery.KINDS[kind]} '{name}' is not installed")
    return [name for name in names if name in there]
