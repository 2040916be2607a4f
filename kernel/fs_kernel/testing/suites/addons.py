"""What an add-on owes the run it watches."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from fs_kernel import networks
from fs_kernel.plugins.objects import ActiveAddOn
from fs_kernel.testing.arrays import array_faces
from fs_kernel.testing.fake_run import FakeRun
from fs_kernel.testing.parts import array_batch, build_network
from fs_kernel.testing.plugins import TinyModel
from fs_kernel.testing.runs import tiny_run
from fs_kernel.testing.sessions import leaves, through_a_file
from fs_kernel.testing.suites.base import HookSuite
from fs_kernel.testing.world import nobody_leaves, unchanged
from fs_kernel.types import (
    AddOn,
    Finished,
    Metrics,
    Observer,
    Preview,
    PreviewFaces,
    Saved,
    StopReason,
)

EVENTS = tuple(sorted(name for name in vars(Observer) if name.startswith("on_")))
#: What the kernel calls of an add-on's part of a run.
METHODS = tuple(sorted(name for name in vars(AddOn) if not name.startswith("_")))


def sample_events(run: FakeRun) -> dict[str, Any]:
    """Return one argument for each event of `fs_kernel.types.Observer`, as a run would give."""
    sides = run.network.sides
    seen = {side: array_faces(2, 16, side=side) for side in sides}
    bytes_seen = {side: (pictures * 255).astype(np.uint8) for side, pictures in seen.items()}
    pairs = [(source, target) for source in sides for target in sides]
    faces = PreviewFaces(
        array_batch(run.network, 2).inputs,
        bytes_seen,
        {side: np.tile([0, 0, 16, 16], (2, 1)) for side in sides},
        {side: np.full((2, 16, 16), 255, np.uint8) for side in sides},
    )
    losses = dict.fromkeys(sides, 0.5)
    return {
        "on_start": run.info,
        "on_first_batch": array_batch(run.network, 2, fields={"face"}),
        "on_metrics": Metrics(3, losses, {s: {"face_16/mse": 0.5} for s in sides}, 1e-4, 9.0, 0.1),
        "on_preview": Preview(3, faces, {p: bytes_seen[p[0]] for p in pairs}, {}),
        "on_checkpoint": Saved(3, "000000003", 1000, 0.5, 0.01, 0.5),
        "on_warning": "something to know",
        "on_note": "something to read",
        "on_finish": Finished(StopReason.TARGET_REACHED, 3, 1.0),
    }


def orders() -> list[tuple[str, ...]]:
    """Return every event on its own, and all of them from each beginning, both ways round."""
    events = ("on_start", *[e for e in EVENTS if e not in ("on_start", "on_finish")], "on_finish")
    turned = [events[i:] + events[:i] for i in range(len(events))]
    return [*[(event,) for event in events], *turned, events[::-1], events * 2]


class AddonSuite(HookSuite):
    """The tests of an add-on.

    Attributes:
        seconds: the longest an event may take.
    """

    kind = "addons"
    seconds: ClassVar[float] = 5.0

    @pytest.fixture(scope="class")
    @classmethod
    def network(cls) -> Any:
        """Return a tiny network to watch."""
        return build_network(TinyModel)

    def create(self, network: Any, folder: Path) -> tuple[FakeRun, ActiveAddOn]:
        """Return the add-on's part of a run that stands still."""
        plugin = self.role()
        folder.mkdir(exist_ok=True)
        run = FakeRun(network, plugin.config, folder)
        return run, plugin.create(run)

    def observe(self, network: Any, folder: Path) -> tuple[FakeRun, Sequence[Any]]:
        """Return the add-on's observers of a run that stands still."""
        run, addon = self.create(network, folder)
        return run, addon.observers()

    def test_its_methods_are_ones_the_kernel_calls(self, network: Any, tmp_path: Path) -> None:
        """A method called ``before_train`` would never be called."""
        _, addon = self.create(network, tmp_path / "model")
        begins = ("on_", "before_", "after_")
        known = {*METHODS, *EVENTS}
        deaf = [n for n in dir(addon.made) if n.startswith(begins) and n not in known]
        assert not deaf, f"{type(addon.made).__name__} has {deaf}; the kernel calls {METHODS}"

    def test_its_state_comes_back(self, network: Any, tmp_path: Path) -> None:
        """It fits in a checkpoint, and a new part of the run that took it over has the same."""
        run, addon = self.create(network, tmp_path / "model")
        events = sample_events(run)
        for observer in addon.observers():
            for event in ("on_start", "on_first_batch", "on_metrics"):
                getattr(observer, event, lambda _: None)(events[event])
        addon.check_metrics(events["on_metrics"])
        state = addon.state_dict()
        if state is None:
            pytest.skip("it has no state")
        _, again = self.create(network, tmp_path / "again")
        again.load_state_dict(through_a_file(state))
        one, other = (leaves(through_a_file(x.state_dict())) for x in (addon, again))
        assert [path for path, _ in one] == [path for path, _ in other]
        for (path, value), (_, back) in zip(one, other, strict=True):
            assert np.array_equal(value, back), f"{path} is {back!r}, was {value!r}"

    def test_observers_listen_to_events_that_exist(self, network: Any, tmp_path: Path) -> None:
        """A method called ``on_metric`` would never be called."""
        with nobody_leaves("create_addon"), unchanged("create_addon", imports=True):
            self.observe(network, tmp_path / "first")
        with nobody_leaves("create_addon"), unchanged("create_addon"):
            _, observers = self.observe(network, tmp_path / "second")
        for observer in observers:
            deaf = [n for n in dir(observer) if n.startswith("on_") and n not in EVENTS]
            deaf = [name for name in deaf if name != "on_bad_step"]
            assert not deaf, f"{type(observer).__name__} has {deaf}; events are {EVENTS}"

    @pytest.mark.parametrize("order", orders(), ids=" ".join)
    def test_events_in_any_order(
        self, network: Any, tmp_path: Path, order: tuple[str, ...]
    ) -> None:
        """It raises at none, is soon done with each, and leaves the process as it was."""
        run, observers = self.observe(network, tmp_path / "model")
        events = sample_events(run)
        with nobody_leaves("an observer"), unchanged("an observer"):
            for event in order:
                for observer in observers:
                    if (method := getattr(observer, event, None)) is not None:
                        begin = time.monotonic()
                        method(events[event])
                        spent = time.monotonic() - begin
                        assert spent <= self.seconds, f"{event} took {spent:.1f} s"

    def test_watching_touches_nothing_that_trains(self, network: Any, tmp_path: Path) -> None:
        """Weights and pictures are as they were after all events, and no thread is left."""
        threads = set(threading.enumerate())
        run, observers = self.observe(network, tmp_path / "model")
        before = {n: v.clone() for n, v in networks.weights(network).items()}
        events, same = sample_events(run), sample_events(run)
        for event in ("on_start", *EVENTS, "on_finish"):
            for observer in observers:
                getattr(observer, event, lambda _: None)(events[event])
        for name, variable in networks.weights(network).items():
            assert variable.equal(before[name]), f"{name} was changed"
        for pair, pictures in same["on_preview"].swaps.items():
            assert (events["on_preview"].swaps[pair] == pictures).all(), "a preview was changed"
        assert run.direct_calls == 0, "the network was called by an observer"
        left = [t.name for t in threading.enumerate() if t not in threads and not t.daemon]
        assert not left, f"threads left behind: {left}"

    def test_a_run_with_it_is_the_run_without(self, tmp_path: Path) -> None:
        """Three steps with saves and previews give the same losses; it is never switched off."""
        histories = []
        both: dict[str, list[Any]] = {"without": [], "with": [self.given()]}
        for name, addons in both.items():
            folder = tmp_path / name
            folder.mkdir()
            options = {"training.iterations": 3, "save.interval": 2}
            options |= self.options if addons else {}
            with tiny_run(folder, addons=addons, set=options) as run:
                history = []
                for metrics in run:
                    history.append(metrics.losses)
                    run.request_preview(2)
            histories.append(history)
        assert histories[0] == histories[1]
        log = (tmp_path / "with/model/logs/events.jsonl").read_text("utf-8")
        told = [json.loads(line) for line in log.splitlines()]
        bad = [e["message"] for e in told if e["event"] == "warning" and "switched" in e["message"]]
        assert not bad, bad
