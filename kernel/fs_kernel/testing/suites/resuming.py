"""What a trainer owes a model that is trained in several sessions."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from fs_kernel import networks
from fs_kernel.randomness import seed_everything
from fs_kernel.testing.fake_run import FakeRun
from fs_kernel.testing.parts import build_network
from fs_kernel.testing.plugins import TinyModel
from fs_kernel.testing.runs import tiny_run
from fs_kernel.testing.sessions import TrainerSession, leaves, through_a_file
from fs_kernel.testing.suites.samplers import SamplerTests
from fs_kernel.types import Network, StateWriter


class ResumingTests(SamplerTests):
    """The tests of a trainer's state; a part of `TrainerSuite`, whose attributes these are."""

    model: ClassVar[Any] = TinyModel
    accumulation: ClassVar[Mapping[str, Any]] = {}

    def open(
        self, folder: Path, *, model: Any = None, freeze: tuple[str, ...] = (), **options: Any
    ) -> TrainerSession:
        """Return a new trainer on a new network, always with the same weights."""
        plugin = self.role(**options)
        network = self._network(plugin, model)
        networks.freeze(network, freeze, True)
        run = FakeRun(network, plugin.config, folder)
        seed_everything(1)
        return TrainerSession(plugin, run, plugin.create(run))

    def _network(self, plugin: Any, model: Any = None) -> Network:
        """Return a new network with what the trainer owns, always with the same weights."""
        network = build_network(model or self.model)
        with networks.building(2, "cpu"):
            network.owned = networks.check_owned(plugin.build_networks(network), str(plugin))
        return network

    def test_a_state_of_another_trainer_is_judged(self) -> None:
        """What it cannot know is refused, so that the run starts without it."""
        writer = StateWriter("another", "another-package", "1.0")
        for state in ({}, {"unheard_of": [1, {"deep": 2.0}]}):
            assert not self.role().accepts_state(state, writer), f"it accepts {state}"

    def test_its_state_belongs_to_named_weights(self, tmp_path: Path) -> None:
        """It fits in a checkpoint; every tensor of more than one number is under a weight's name.

        Weights of networks that it owns count: the kernel saves them, under ``extra:<name>/...``.
        """
        session = self.open(tmp_path)
        session.totals(range(1, 3))
        state = session.trainer.state_dict()
        names = list(networks.weights(session.run.network))
        import torch

        for path, leaf in leaves(through_a_file(state)):
            if isinstance(leaf, torch.Tensor) and leaf.numel() > 1:
                assert any(f"/{name}/" in f"{path}/" for name in names), (
                    f"{path} is under no weight's name, so freezing would mix it up"
                )

    def _going_on(self, tmp_path: Path, steps: int, **options: Any) -> None:
        first = self.open(tmp_path, **options)
        first.totals(range(1, steps + 1))
        state = through_a_file(first.trainer.state_dict())
        held = first.weights()
        seeds = {n: v.clone() for n, v in networks.seed_states(first.run.network).items()}
        again = self.open(tmp_path, **options)
        used = self.open(tmp_path, **options)
        used.totals(range(50, 53))
        expected: list[list[float]] = []
        for session in (first, again, used):
            if session is not first:
                networks.assign(session.run.network, held, "the weights")
                session.trainer.load_state_dict(copy.deepcopy(state))
            for name, variable in networks.seed_states(session.run.network).items():
                variable.copy_(seeds[name])
            session.run.step = steps
            seed_everything(9)
            totals = session.totals(range(steps + 1, steps + 4))
            expected = expected or totals
            assert totals == expected, "losses differ after going on"
            for name, value in session.weights().items():
                assert value.equal(first.weights()[name]), f"{name} differs after going on"

    def test_it_goes_on_to_the_bit(self, tmp_path: Path) -> None:
        """A new trainer, and one that has trained on, both continue exactly from a state."""
        self._going_on(tmp_path, 3)

    def test_frozen_weights_do_not_disturb_the_rest(self, tmp_path: Path) -> None:
        """A state of the whole network fits a session that trains a part of it, and back."""
        whole = self.open(tmp_path)
        whole.totals(range(1, 4))
        state = through_a_file(whole.trainer.state_dict())
        part = self.open(tmp_path, freeze=("encoder",))
        part.trainer.load_state_dict(copy.deepcopy(state))
        part.totals(range(4, 6))
        state = through_a_file(part.trainer.state_dict())
        again = self.open(tmp_path)
        again.trainer.load_state_dict(state)
        assert np.isfinite(again.totals(range(6, 8))).all()

    def _accumulation(self) -> dict[str, Any]:
        option = "gradient_accumulation"
        section = self.role().config.get("optimizer")
        if self.accumulation:
            return dict(self.accumulation)
        return {f"optimizer.{option}": 2} if hasattr(section, option) else {}

    def test_it_accumulates(self, tmp_path: Path) -> None:
        """Every second batch changes the weights, and a state taken in between is exact."""
        if not (options := self._accumulation()):
            pytest.skip("it has no option optimizer.gradient_accumulation, and names no other")
        session = self.open(tmp_path, **options)
        before = session.weights()
        trained = list(session.run.parameters())
        assert not session.step(session.batch(1)).stepped
        waiting = session.weights()
        assert all(waiting[name].equal(before[name]) for name in trained), "weights changed early"
        assert session.step(session.batch(2)).stepped
        after = session.weights()
        assert any(not after[name].equal(before[name]) for name in trained)
        self._going_on(tmp_path, 3, **options)

    # --- in a run ---

    def test_a_run_with_it_resumes_exactly(self, tmp_path: Path) -> None:
        """Five steps in one go, and three then two, give the same losses."""
        histories = []
        for name, sessions in (("whole", (5,)), ("parts", (3, 5))):
            folder = tmp_path / name
            folder.mkdir()
            history = []
            for target in sessions:
                options = {**self.options, "training.iterations": target}
                with tiny_run(folder, trainer=self.given(), set=options) as run:
                    history += [metrics.losses for metrics in run]
            histories.append(history)
        assert histories[0] == histories[1]

    def test_it_trains_in_half_precision(self, tmp_path: Path) -> None:
        """With bfloat16 layers losses are finite and weights move."""
        options = {**self.options, "training.iterations": 2, "training.precision": "bf16"}
        with tiny_run(tmp_path, trainer=self.given(), set=options) as run:
            before = {n: p.detach().clone() for n, p in networks.parameters(run.network).items()}
            losses = [value for metrics in run for value in metrics.losses.values()]
            after = networks.parameters(run.network)
            assert any(not after[name].equal(value) for name, value in before.items())
        assert np.isfinite(losses).all()
