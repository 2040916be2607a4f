"""What a trainer owes the kernel."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
import numpy as np
import pytest

from fs_kernel import networks
from fs_kernel.randomness import seed_everything
from fs_kernel.testing.fake_run import FakeRun
from fs_kernel.testing.sessions import ManyOutputs
from fs_kernel.testing.suites.resuming import ResumingTests
from fs_kernel.testing.world import nobody_leaves, unchanged
from fs_kernel.types import Batch

if TYPE_CHECKING:
    import torch


class _Reddish:
    """An objective for trainers to add: a face should not be red."""

    def __init__(self) -> None:
        self.seen: list[float] = []
        self.trained = 0

    def terms(
        self, batch: Batch, outputs: Sequence[torch.Tensor]
    ) -> dict[str, dict[str, torch.Tensor]]:
        side = next(iter(batch.inputs))
        values = 3 * outputs[0][..., 2].mean(dim=(1, 2))
        self.seen.append(values.detach().mean().item())
        return {side: {"red": values}}

    def train_step(self) -> dict[str, torch.Tensor]:
        import torch

        self.trained += 1
        return {"reddish": torch.tensor(0.5)}


class TrainerSuite(ResumingTests):
    """The tests of a trainer. It may own networks, and it may add objectives.

    Attributes:
        model: the network it trains, a model plugin.
        steps: how many steps on one batch must lower its loss.
        accumulation: options under which every second batch changes the weights; found by itself
            if the trainer has an option ``optimizer.gradient_accumulation``.
    """

    steps: ClassVar[int] = 30

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
        """Seen again and again, one batch is learned."""
        session = self.open(tmp_path)
        batch = session.batch()
        totals = [
            sum(loss.total.item() for loss in session.step(batch).losses) for _ in range(self.steps)
        ]
        assert np.isfinite(totals).all()
        assert np.mean(totals[-3:]) < np.mean(totals[:3]), f"from {totals[0]} to {totals[-1]}"

    def test_every_weight_moves_but_the_frozen(self, tmp_path: Path) -> None:
        """All of ``run.parameters()`` are trained, and nothing that is frozen.

        Networks that the trainer owns may be trained or not.
        """
        session = self.open(tmp_path, freeze=("encoder",))
        network = session.run.network
        before, names = session.weights(), set(session.run.parameters())
        owned = {n for of in network.owned for n in networks.parameters(network, of)}
        owned |= set(networks.statistics(network))
        session.totals(range(1, 4))
        moved = {n for n, value in session.weights().items() if not value.equal(before[n])}
        frozen = sorted(moved - names - owned)
        assert not frozen, f"frozen weights moved: {frozen}"
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

    def test_it_adds_the_terms_of_objectives(self, tmp_path: Path) -> None:
        """They raise the total of their side, are reported, and change the weights."""
        plain, session = self.open(tmp_path), self.open(tmp_path)
        if not session.trainer.adds_objectives:
            pytest.skip("it does not add objectives (no attribute adds_objectives)")
        added = _Reddish()
        session.run.objectives = [added]
        session.trainer = session.plugin.create(session.run)
        seed_everything(1)
        result = session.step(session.batch())
        seed_everything(1)
        without = plain.step(plain.batch())
        (term,) = added.seen
        for loss, other in zip(result.losses, without.losses, strict=True):
            terms = [part for part in loss.parts if part.output == "objective"]
            expected = term if loss is result.losses[0] else 0.0
            assert loss.total.item() == pytest.approx(other.total.item() + expected, rel=1e-4)
            assert [part.function for part in terms] == (["red"] if expected else [])
            assert all(p.weighted.item() == pytest.approx(term, rel=1e-4) for p in terms)
        assert added.trained == 1, "train_step of an objective is called once per batch"
        assert {name: value.item() for name, value in result.values.items()}["reddish"] == 0.5
        pairs = zip(session.weights().values(), plain.weights().values(), strict=True)
        assert any(not one.equal(other) for one, other in pairs), "the terms train nothing"

    def test_the_seed_decides_the_training(self, tmp_path: Path) -> None:
        """Two trainers with one seed give the same losses and weights to the bit."""
        one, two = self.open(tmp_path), None
        first = one.totals(range(1, 4))
        two = self.open(tmp_path)
        assert two.totals(range(1, 4)) == first
        held = two.weights()
        assert all(value.equal(held[name]) for name, value in one.weights().items())
