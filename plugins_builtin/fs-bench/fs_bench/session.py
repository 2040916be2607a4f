"""Run all parts in order and collect their results."""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
from fs_kernel import backend
from fs_kernel.errors import FsError, UsageError
from fs_kernel.plugins import discovery

from fs_bench.counting import Work
from fs_bench.plan import Plan, Variant, available, title_of
from fs_bench.timing import Figure

#: Networks and batch sizes of a full benchmark.
NETWORKS = (("original", 16), ("original", 64), ("dfaker", 16))
QUICK = (("original", 4),)
#: Values of ``executor.torch.compile`` that are tried on a GPU; "reduce-overhead" is CUDA graphs.
COMPILES = ("default", "reduce-overhead")


@attrs.define
class Found:
    """The results of a benchmark.

    Attributes:
        machine: names and versions of hardware and libraries.
        figures: in order.
        works: counted work by network.
        batch: faces per side that rooflines are for.
        skipped: a line for each subject that was left out.
    """

    machine: dict[str, Any] = attrs.field(factory=dict)
    figures: list[Figure] = attrs.field(factory=list)
    works: dict[str, Work] = attrs.field(factory=dict)
    batch: int = 16
    skipped: list[str] = attrs.field(factory=list)

    def median(self, key: str) -> float | None:
        """Return the median of a figure, or None if it was not measured."""
        return next((f.median for f in self.figures if f.key == key), None)

    def as_json(self) -> dict[str, Any]:
        """Return ``format``, ``time``, ``machine``, ``figures``, ``rooflines`` and ``skipped``."""
        return {
            "format": 1,
            "time": time.time(),
            "machine": self.machine,
            "figures": [figure.as_json() for figure in self.figures],
            "rooflines": {name: work.facts(self.batch) for name, work in self.works.items()},
            "skipped": self.skipped,
        }

    def tables(self) -> list[tuple[str, Any, Any]]:
        """Return title, head and rows of each table."""
        from fs_bench import report

        facts = self.machine
        title = (
            f"{facts['device_name']}, {facts['processors']} processors, "
            f"torch {facts['torch']}, keras {facts['keras']}"
        )
        tables: list[tuple[str, Any, Any]] = []
        if self.figures:
            tables.append((title, report.FIGURES, report.figure_rows(self.figures)))
        if self.works:
            conv, copy = self.median("rate.conv.fp32"), self.median("rate.copy")
            rows = report.roofline_rows(self.works, self.batch, conv, copy)
            tables.append(("One training step, counted", report.ROOFLINES, rows))
        return tables


def measure_all(given: Mapping[str, Any], tell: Callable[[str], None]) -> Found:
    """Return the results of the parts that were asked for.

    Args:
        given: the command's options.
        tell: called with the subject that is being measured.

    Raises:
        FsError: the device cannot be used, or there is nothing to measure.
    """
    from fs_bench import machine

    found = Found()
    device = backend.device("cuda:0" if given["device"] == "cuda" else given["device"])
    found.machine = machine.facts(device)
    with (
        tempfile.TemporaryDirectory(prefix="fs-bench-") as folder,
        _own_cache(folder),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        plan = _plan(given, device, Path(folder), found.skipped.append, tell)
        parts = given["parts"] or _all_parts()
        found.batch = plan.networks[0][1]
        _measure(plan, parts, found)
    return found


@contextlib.contextmanager
def _own_cache(folder: str) -> Iterator[None]:
    """Let the feed cut its faces into the bench's folder, not into the user's cache."""
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = folder
    try:
        yield
    finally:
        del os.environ["XDG_CACHE_HOME"]
        if before is not None:
            os.environ["XDG_CACHE_HOME"] = before


def _all_parts() -> tuple[str, ...]:
    from fs_bench.command import PARTS

    return PARTS


def _plan(
    given: Mapping[str, Any],
    device: Any,
    folder: Path,
    skip: Callable[[str], None],
    tell: Callable[[str], None],
) -> Plan:
    quick, on_gpu = given["quick"], device.type == "cuda"
    networks: tuple[tuple[str, int], ...] = QUICK if quick else NETWORKS
    if given["models"]:
        batches = given["batches"] or (networks[0][1],)
        networks = tuple((name, batch) for name in given["models"] for batch in batches)
    elif given["batches"]:
        networks = tuple(("original", batch) for batch in given["batches"])
    precisions = list(given["precisions"] or (("fp32", "bf16", "fp16") if on_gpu else ("fp32",)))
    if not on_gpu and "fp16" in precisions:
        raise UsageError("fp16 needs a GPU; measure bf16 or fp32 on this device")
    names = available("executors", given["executors"] or ("keras", "torch"), skip)
    variants = [Variant(name) for name in names]
    if on_gpu and "torch" in names and not quick:
        variants += [Variant("torch", how) for how in COMPILES]
    if not variants:
        raise UsageError("there is no executor to measure; name one that is installed")
    rounds = given["rounds"] or (3 if quick else 7)
    return Plan(device, networks, precisions, variants, rounds, quick, folder, skip, tell)


def _measure(plan: Plan, parts: Any, found: Found) -> None:
    """Measure every part in order into ``found``; skip one that fails with a line."""
    from fs_bench import feeding, machine, saving, starting, steps, swaps, watching

    precisions, model = list(plan.precisions), plan.folder / "model"
    drawn = _people(plan) if {"feed", "start", "swap"} & set(parts) else None
    people = drawn or {}

    def machine_rates() -> Iterator[Figure]:
        plan.tell("the machine's own rates")
        yield from machine.measure(plan.device, precisions, plan.rounds, plan.quick)

    def conv() -> dict[str, float]:
        rates = {precision: found.median(f"rate.conv.{precision}") for precision in precisions}
        return {precision: rate for precision, rate in rates.items() if rate}

    def step() -> float | None:
        name, batch = plan.networks[0]
        return found.median(
            f"step.{title_of(name)}.b{batch}.{precisions[0]}.{plan.variants[0].name}"
        )

    work = {
        "machine": [machine_rates],
        # Before anything large is saved, as a busy disk would slow the start of programs.
        "start": [lambda: starting.measure(plan, people)],
        "steps": [lambda: steps.measure(plan, conv())],
        "swap": [lambda: swaps.measure(plan)],
        "feed": [lambda: feeding.measure(plan, people), lambda: feeding.waiting(plan, people)],
        "save": [lambda: saving.measure(plan, model)],
        "files": [lambda: swaps.from_files(plan, model, people["a"])],
        "watch": [lambda: watching.measure(plan, step()), lambda: watching.previews(plan, step())],
    }
    if "networks" in parts:
        found.works.update(_count(plan))
    chosen = set(parts) | ({"files"} if {"save", "swap"} <= set(parts) else set())
    for part in work:
        if part not in chosen or (not people and part in ("feed", "files", "start")):
            continue
        for subject in work[part]:
            try:
                for figure in subject():
                    found.figures.append(figure)
            except FsError as error:
                plan.skip(f"{part}: {error}")


def _count(plan: Plan) -> dict[str, Work]:
    from fs_bench.networks import work_of

    plan.tell("counting the work of every network")
    works = {}
    wanted = {name for name, _ in plan.networks}
    for name in sorted({item.name for item in discovery.installed("models")} | wanted):
        try:
            works[title_of(name)] = work_of(name)
        except FsError as error:
            plan.skip(f"{name}: {error}")
    return works


def _people(plan: Plan) -> dict[str, Path]:
    """Return folders of two synthetic people by side; none if they cannot be drawn."""
    from fs_kernel.cli import run_cli

    folder, count, size = plan.folder / "people", *((32, 128) if plan.quick else (64, 512))
    plan.tell("drawing faces")
    drawn = ["faces", "demo", str(folder), f"--count={count}", f"--size={size}", "--seed=1"]
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        code = run_cli(drawn)
    if code:
        plan.skip(f"feed, start and files: no faces can be drawn: {said.getvalue().strip()}")
        return {}
    return {"a": folder / "A", "b": folder / "B"}
