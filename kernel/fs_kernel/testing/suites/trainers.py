"""What a trainer owes the kernel."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import attrs
import numpy as np
import pytest

from fs_kernel import networks
from fs_kernel.randomness import generator, seed_everything
from fs_kernel.testing.fake_run import FakeRun
from fs_kernel.testing.parts import build_network
from fs_kernel.testing.plugins import TinyModel
from fs_kernel.testing.runs import tiny_run
from fs_kernel.testing.sessions import ManyOutputs, TrainerSession, leaves, through_a_file
from fs_kernel.testing.suites.base import HookSuite
from fs_kernel.testing.world import nobody_leaves, unchanged
from fs_kernel.types import Network


class TrainerSuite(HookSuite):
    """The tests of a trainer.

    Attributes:
        model: the network it trains, a model plugin.
        steps: how many steps on one batch must lower its loss.
        accumulation: options under which every second batch changes the weights; found by itself
            if the trainer has an option ``optimizer.gradient_accumulation``.
    """

    kind = "trainers"
    model: ClassVar[Any] = TinyModel
    steps: ClassVar[int] = 30
    accumulation: ClassVar[Mapping[str, Any]] = {}

    def open(
        self, folder: Path, *, model: Any = None, freeze: tuple[str, ...] = (), **options: Any
    ) -> TrainerSession:
        """A new trainer on a new network, always with the same weights."""
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

    # --- before the first step ---

    def test_starting_changes_nothing_around_it(self, tmp_path: Path) -> None:
        """Options, sampler and state are made without touching global settings or weights."""
        plugin = self.role()
        network = self._network(plugin)
        run = FakeRun(network, plugin.config, tmp_path)
        before = {n: v.detach().clone() for n, v in networks.weights(network).items()}
        with nobody_leaves("create_trainer"), unchanged("create_trainer", draws=True):
            plugin.create(run)
        for name, variable in networks.weights(network).items():
            assert variable.equal(before[name]), f"create_trainer changed {name}"

    def test_the_fields_it_needs_have_names(self) -> None:
        """What is asked for is called "landmarks" or has a mask's name."""
        assert all(name.isidentifier() for name in self.role().required_fields())

    # --- the order of faces ---

    def sampler(
        self, sizes: Mapping[str, int], batch: int = 4, seed: int = 1, delay: int = 2
    ) -> Any:
        """A new sampler for faces without known facts."""
        return self.role().get_sampler(sizes, batch, seed, delay, {side: {} for side in sizes})

    def test_every_draw_is_a_batch(self) -> None:
        """Indices per side, int64, within the faces, also where they are fewer than a batch."""
        sizes = {"a": 30, "b": 3}
        sampler = self.sampler(sizes, batch=8)
        for step in range(1, 8):
            drawn = sampler.draw(step)
            assert list(drawn) == list(sizes)
            for side, indices in drawn.items():
                assert indices.shape == (8,)
                assert indices.dtype == np.int64
                assert indices.min() >= 0
                assert indices.max() < sizes[side], f"side {side} has {sizes[side]} faces"

    def test_draws_follow_from_seed_and_step(self) -> None:
        """Two samplers agree, whatever was drawn before; another seed gives another order."""
        sizes = {"a": 50, "b": 40}
        one, two, other = (self.sampler(sizes, seed=seed) for seed in (5, 5, 6))
        with unchanged("draw"):
            in_order = {step: one.draw(step) for step in range(1, 7)}
        differs = False
        for step in (4, 5, 6, 1, 2, 3):
            drawn, elsewhere = two.draw(step), other.draw(step)
            for side in sizes:
                assert (drawn[side] == in_order[step][side]).all(), f"step {step}, side {side}"
                differs |= bool((elsewhere[side] != in_order[step][side]).any())
        assert differs, "the seed makes no difference"

    def test_every_face_has_its_turn(self) -> None:
        """Within many epochs no face is left out."""
        sampler = self.sampler({"a": 12, "b": 10})
        drawn = [sampler.draw(step) for step in range(1, 101)]
        for side, size in (("a", 12), ("b", 10)):
            seen = set(np.concatenate([indices[side] for indices in drawn]).tolist())
            assert seen == set(range(size)), f"side {side}: never drawn: {set(range(size)) - seen}"

    def test_losses_too_new_change_no_draw(self) -> None:
        """A draw depends on the losses of steps before ``step - delay`` and on no later ones."""
        sizes, delay = {"a": 20, "b": 20}, 2
        one, two = self.sampler(sizes, delay=delay), self.sampler(sizes, delay=delay)
        for step in range(1, 10):
            drawn, same = one.draw(step), two.draw(step)
            for side in sizes:
                assert (drawn[side] == same[side]).all(), f"step {step}, side {side}"
            if step + delay >= 9:
                continue
            losses = {s: generator(step, s).random(4).astype(np.float32) for s in sizes}
            one.update(step, drawn, losses)
            two.update(step, drawn, losses)
        last, earlier = 9, one.draw(9)
        two.update(last - 1, two.draw(last - 1), {s: np.full(4, 9, np.float32) for s in sizes})
        for side, indices in two.draw(last).items():
            assert (indices == earlier[side]).all(), "a loss within the delay changed the draw"

    def test_a_sampler_goes_on_where_it_was(self) -> None:
        """Its state fits in a checkpoint, and the next draws are the same."""
        sizes = {"a": 20, "b": 21}
        sampler, again = self.sampler(sizes), self.sampler(sizes)
        for step in range(1, 6):
            drawn = sampler.draw(step)
            losses = {s: generator(step, s).random(4).astype(np.float32) for s in sizes}
            sampler.update(step, drawn, losses)
        again.load_state_dict(through_a_file(sampler.state_dict()))
        for step in range(6, 10):
            one, other = sampler.draw(step), again.draw(step)
            assert all((one[side] == other[side]).all() for side in sizes), f"step {step}"

    # --- a step ---

    @pytest.mark.parametrize("model", [None, ManyOutputs], ids=["faces", "many outputs"])
    def test_a_step_reports_its_losses(self, tmp_path: Path, model: Any) -> None:
        """One loss per side in order, scalars, detached, finite, the sum of their parts."""
        session = self.open(tmp_path, model=model)
        with nobody_leaves("train_step"), unchanged("train_step", draws=True):
            result = session.step(session.batch())
        assert [loss.side for loss in result.losses] == list(session.run.network.sides)
        for loss in result.losses:
            for value in (loss.total, *(part.weighted for part in loss.parts)):
                assert value.shape == ()
                assert not value.requires_grad, "a loss must be detached"
                assert value.isfinite(), f"side {loss.side}: {value.item()}"
            if loss.parts:
                parts = sum(part.weighted.item() for part in loss.parts)
                assert loss.total.item() == pytest.approx(parts, rel=1e-4, abs=1e-6)
                assert all(part.function and part.output for part in loss.parts)
        assert isinstance(result.stepped, bool)
        assert result.learning_rate is None or result.learning_rate >= 0
        for losses in (result.sample_loss or {}).values():
            assert losses.shape == (4,)
            assert not losses.requires_grad

    def test_the_loss_of_one_batch_falls(self, tmp_path: Path) -> None:
        """Seen again and again, one batch is learnt."""
        session = self.open(tmp_path)
        batch = session.batch()
        totals = [
            sum(loss.total.item() for loss in session.step(batch).losses) for _ in range(self.steps)
        ]
        assert np.isfinite(totals).all()
        assert np.mean(totals[-3:]) < np.mean(totals[:3]), f"from {totals[0]} to {totals[-1]}"

    def test_every_weight_moves_but_the_frozen(self, tmp_path: Path) -> None:
        """All of ``run.parameters()`` are trained, and nothing that is frozen."""
        session = self.open(tmp_path, freeze=("encoder",))
        before, names = session.weights(), set(session.run.parameters())
        session.totals(range(1, 4))
        moved = {n for n, value in session.weights().items() if not value.equal(before[n])}
        assert not moved - names, f"frozen weights moved: {sorted(moved - names)}"
        assert not names - moved, f"weights did not move: {sorted(names - moved)}"

    def test_it_runs_the_network_through_forward_only(self, tmp_path: Path) -> None:
        """A call of the Keras model would escape DDP, compiling and precision."""
        session = self.open(tmp_path)
        session.totals([1, 2])
        assert session.run.direct_calls == 0, "the network was called past run.forward"

    def test_a_batch_is_left_as_it_was(self, tmp_path: Path) -> None:
        """Inputs, targets and masks are not written to."""
        session = self.open(tmp_path)
        batch, same = session.batch(), session.batch()
        session.step(batch)
        for side in session.run.network.sides:
            assert batch.inputs[side].equal(same.inputs[side])
            for one, other in zip(batch.targets[side], same.targets[side], strict=True):
                assert (one is None) == (other is None)
                assert one is None or other is None or one.equal(other)

    def test_a_mask_that_the_faces_lack_is_no_fault(self, tmp_path: Path) -> None:
        """Plain pictures have no eyes and no mouth marked, and train all the same."""
        session = self.open(tmp_path)
        batch = session.batch()
        masks = {
            side: {name: sizes for name, sizes in held.items() if name == "face"}
            for side, held in batch.meta.masks.items()
        }
        bare = attrs.evolve(batch, meta=attrs.evolve(batch.meta, masks=masks))
        assert all(loss.total.isfinite() for loss in session.step(bare).losses)

    def test_the_seed_decides_the_training(self, tmp_path: Path) -> None:
        """Two trainers with one seed give the same losses and weights to the bit."""
        one, two = self.open(tmp_path), None
        first = one.totals(range(1, 4))
        two = self.open(tmp_path)
        assert two.totals(range(1, 4)) == first
        held = two.weights()
        assert all(value.equal(held[name]) for name, value in one.weights().items())

    # --- going on ---

    def test_its_state_belongs_to_named_weights(self, tmp_path: Path) -> None:
        """It fits in a checkpoint, and what has a weight's shape is found under the weight."""
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
