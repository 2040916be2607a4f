"""What an objective owes the trainer that adds its terms."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
import numpy as np

from fs_kernel import networks
from fs_kernel.plugins.objects import ActiveObjective
from fs_kernel.plugins.roles import Objective
from fs_kernel.randomness import seed_everything
from fs_kernel.testing.fake_run import FakeRun
from fs_kernel.testing.parts import array_batch, build_network
from fs_kernel.testing.plugins import PlainTrainer, TinyModel
from fs_kernel.testing.runs import tiny_run
from fs_kernel.testing.sessions import through_a_file
from fs_kernel.testing.suites.base import HookSuite
from fs_kernel.testing.world import nobody_leaves, unchanged
from fs_kernel.types import Batch, Network

if TYPE_CHECKING:
    import torch


@attrs.define
class _Session:
    """An objective at work on a small network that stays as it is."""

    plugin: Objective
    run: FakeRun
    objective: ActiveObjective

    def batch(self, step: int = 1) -> Batch:
        """Return four faces per side with the fields the objective needs; each step has its own."""
        fields = self.plugin.required_fields()
        return array_batch(self.run.network, 4, step=step, fields=fields)

    def terms(
        self, batch: Batch, outputs: Sequence[torch.Tensor] | None = None
    ) -> dict[tuple[str, str], torch.Tensor]:
        """Return every term by side and name."""
        if outputs is None:
            outputs = self.run.forward(batch.inputs, training=True)
        found = self.objective.terms(batch, outputs)
        return {(side, name): x for side, terms in found.items() for name, x in terms.items()}

    def step(self, step: int) -> list[float]:
        """Do what a trainer does with a batch; return the terms' means."""
        terms = self.terms(self.batch(step))
        _total(terms).backward()
        self.objective.train_step()
        self.run.step += 1
        return [values.mean().item() for values in terms.values()]

    def weights(self) -> dict[str, torch.Tensor]:
        """Return copies of all weights, by name."""
        found = networks.weights(self.run.network)
        return {name: value.detach().clone() for name, value in found.items()}


def _total(terms: Mapping[Any, torch.Tensor]) -> torch.Tensor:
    import torch

    return torch.stack([values.mean() for values in terms.values()]).sum()


class ObjectiveSuite(HookSuite):
    """The tests of an objective: what adds terms to the loss of any trainer.

    Attributes:
        model: the network it is used with, a model plugin.
        trainers: trainers it is run with; each must add objectives.
    """

    kind = "objectives"
    model: ClassVar[Any] = TinyModel
    trainers: ClassVar[Sequence[Any]] = (PlainTrainer,)

    def open(self, folder: Path, **options: Any) -> _Session:
        """Return a new objective on a new network, always with the same weights."""
        plugin = self.role(**options)
        run = FakeRun(self._network(plugin), plugin.config, folder)
        seed_everything(1)
        return _Session(plugin, run, plugin.create(run))

    def _network(self, plugin: Objective) -> Network:
        network = build_network(self.model)
        with networks.building(2, "cpu"):
            network.owned = networks.check_owned(plugin.build_networks(network), str(plugin))
        return network

    def test_creating_changes_nothing_around_it(self, tmp_path: Path) -> None:
        """No global setting and no weight is touched."""
        plugin = self.role()
        run = FakeRun(self._network(plugin), plugin.config, tmp_path)
        before = {n: v.detach().clone() for n, v in networks.weights(run.network).items()}
        with nobody_leaves("create_objective"), unchanged("create_objective", draws=True):
            plugin.create(run)
        for name, value in networks.weights(run.network).items():
            assert value.equal(before[name]), f"create_objective changed {name}"

    def test_the_fields_it_needs_have_names(self) -> None:
        """What is asked for is called "landmarks" or has a mask's name."""
        assert all(name.isidentifier() for name in self.role().required_fields())

    def test_terms_are_numbers_per_picture(self, tmp_path: Path) -> None:
        """Per side and name ``(n,)``, finite and with their graph."""
        session = self.open(tmp_path)
        with nobody_leaves("terms"), unchanged("terms", draws=True):
            terms = session.terms(session.batch())
        assert terms, "it adds no term to a batch of faces"
        for (side, name), values in terms.items():
            assert side in session.run.network.sides, f"there is no side {side!r}"
            assert isinstance(name, str)
            assert name.strip(), "a term has no name"
            assert tuple(values.shape) == (4,), f"{name}: {tuple(values.shape)}, not (4,)"
            assert values.isfinite().all(), f"{name} is not finite"
            assert values.requires_grad, f"{name} has no graph, so it trains nothing"

    def test_terms_train_the_network(self, tmp_path: Path) -> None:
        """Their gradients reach weights of the swapped network, and are finite."""
        session = self.open(tmp_path)
        _total(session.terms(session.batch())).backward()
        found = {n: p.grad for n, p in session.run.parameters().items() if p.grad is not None}
        assert any(gradient.any() for gradient in found.values()), "no weight gets a gradient"
        for name, gradient in found.items():
            assert gradient.isfinite().all(), f"the gradient of {name} is not finite"

    def test_batch_and_outputs_are_left_as_they_were(self, tmp_path: Path) -> None:
        """The trainer and other objectives use them too."""
        session = self.open(tmp_path)
        batch, same = session.batch(), session.batch()
        outputs = session.run.forward(batch.inputs, training=True)
        before = [output.detach().clone() for output in outputs]
        session.terms(batch, outputs)
        assert all(one.equal(other) for one, other in zip(outputs, before, strict=True))
        for side in session.run.network.sides:
            assert batch.inputs[side].equal(same.inputs[side])
            for one, other in zip(batch.targets[side], same.targets[side], strict=True):
                assert one is None or other is None or one.equal(other)

    def test_fields_that_the_faces_lack_are_no_fault(self, tmp_path: Path) -> None:
        """Plain pictures have neither eyes nor landmarks, and train all the same."""
        session = self.open(tmp_path)
        bare = array_batch(session.run.network, 4, fields={"face"})
        assert all(values.isfinite().all() for values in session.terms(bare).values())

    def test_it_trains_what_it_owns_and_nothing_else(self, tmp_path: Path) -> None:
        """`train_step` leaves the swapped network alone; its numbers are detached scalars."""
        session = self.open(tmp_path)
        before = session.weights()
        owned = tuple(f"extra:{name}/" for name in session.run.network.owned)
        for step in (1, 2):
            _total(session.terms(session.batch(step))).backward()
            with nobody_leaves("train_step"), unchanged("train_step", draws=True):
                values = session.objective.train_step()
            for name, value in values.items():
                assert value.shape == (), f"{name} is not a scalar"
                assert not value.requires_grad, f"{name} must be detached"
        after = session.weights()
        moved = [n for n, value in after.items() if not value.equal(before[n])]
        foreign = [name for name in moved if not name.startswith(owned)] if owned else moved
        assert not foreign, f"weights of the swapped network moved: {foreign}"

    def test_it_runs_the_network_through_forward_only(self, tmp_path: Path) -> None:
        """A call of the Keras model would escape DDP, compiling and precision."""
        session = self.open(tmp_path)
        session.step(1)
        assert session.run.direct_calls == 0, "the network was called past run.forward"

    def test_it_goes_on_to_the_bit(self, tmp_path: Path) -> None:
        """Its state fits in a checkpoint; with it and the weights it owns it continues exactly."""
        first = self.open(tmp_path)
        for step in (1, 2, 3):
            first.step(step)
        state, held = through_a_file(first.objective.state_dict()), first.weights()
        seeds = {n: v.clone() for n, v in networks.seed_states(first.run.network).items()}
        again = self.open(tmp_path)
        expected: list[list[float]] = []
        for session in (first, again):
            if session is again:
                networks.assign(session.run.network, held, "the weights")
                if state is not None:
                    session.objective.load_state_dict(copy.deepcopy(state))
            for name, value in networks.seed_states(session.run.network).items():
                value.copy_(seeds[name])
            session.run.step = 3
            seed_everything(9)
            found = [session.step(step) for step in (4, 5, 6)]
            expected = expected or found
            assert found == expected, "terms differ after going on"
        for name, value in again.weights().items():
            assert value.equal(first.weights()[name]), f"{name} differs after going on"

    # --- in a run ---

    def _run(self, folder: Path, trainer: Any, targets: Sequence[int], **more: Any) -> list[Any]:
        """Return the metrics of each step of sessions with these targets."""
        folder.mkdir(parents=True)
        found = []
        for target in targets:
            options = {**self.options, "training.iterations": target, **more}
            parts = {"model": self.model, "trainer": trainer, "objectives": [self.given()]}
            with tiny_run(folder, set=options, **parts) as run:
                found += list(run)
        return found

    def test_a_run_with_it_resumes_exactly(self, tmp_path: Path) -> None:
        """With each trainer, five steps in one go are three and then two; its terms are shown."""
        for number, trainer in enumerate(self.trainers):
            whole = self._run(tmp_path / f"{number}/whole", trainer, [5])
            parts = self._run(tmp_path / f"{number}/parts", trainer, [3, 5])
            assert [m.losses for m in whole] == [m.losses for m in parts], f"with {trainer}"
            shown = [name for of_side in whole[0].parts.values() for name in of_side]
            assert any(name.startswith("objective/") for name in shown), f"{trainer} adds no term"

    def test_it_trains_in_half_precision(self, tmp_path: Path) -> None:
        """With bfloat16 layers losses are finite."""
        precision = {"training.precision": "bf16"}
        found = self._run(tmp_path / "run", self.trainers[0], [2], **precision)
        assert np.isfinite([value for m in found for value in m.losses.values()]).all()
