"""What an optimizer owes the trainers that use it."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from fs_kernel.errors import ConfigError
from fs_kernel.storage import tree
from fs_kernel.testing.suites.base import HookSuite
from fs_kernel.testing.world import nobody_leaves, unchanged

if TYPE_CHECKING:
    import torch


#: What ``[optimizer]`` says in the tests, but for the learning rate.
_SETTINGS = {
    "betas": (0.9, 0.999),
    "eps": 1e-8,
    "weight_decay": 0.0,
    "amsgrad": False,
    "fused": False,
}


class OptimizerSuite(HookSuite):
    """The tests of an optimizer.

    It may be a `torch.optim.Optimizer` class, a function that makes one, or a plugin with the hook
    ``create_optimizer``.

    Attributes:
        settings: what to create it with, in place of some of the usual ``betas``, ``eps``,
            ``weight_decay``, ``amsgrad`` and ``fused``.
        lr: learning rate of the tests.
        steps: within which it must reach the bottom of a bowl.
    """

    kind = "optimizers"
    settings: ClassVar[Mapping[str, Any]] = {}
    lr: ClassVar[float] = 0.02
    steps: ClassVar[int] = 300

    def weight(self, seed: int = 1, shape: tuple[int, ...] = (4, 3)) -> torch.nn.Parameter:
        """Return a weight of numbers around 0."""
        import torch

        chance = torch.Generator().manual_seed(seed)
        found: torch.nn.Parameter = torch.nn.Parameter(torch.randn(shape, generator=chance))
        return found

    def make(self, weights: Sequence[Any], **more: Any) -> Any:
        """Return the optimizer over a list of weights or groups, created as trainers create it."""
        groups = [weight if isinstance(weight, dict) else None for weight in weights]
        if None in groups:
            groups = [{"params": weights}]
        named = [
            {**group, "params": [(f"weight_{i}_{n}", w) for n, w in enumerate(group["params"])]}
            for i, group in enumerate(groups)
            if group is not None
        ]
        settings = {"lr": self.lr, **_SETTINGS, **self.settings, **more}
        return self.role().create(named, settings)

    @staticmethod
    def _descend(weight: Any, optimizer: Any, steps: int, target: float = 0.5) -> float:
        """Return the distance from the bottom of a bowl, squared, after some steps down."""
        for _ in range(steps):
            optimizer.zero_grad()
            loss = (weight - target).square().sum()
            loss.backward()
            optimizer.step()
        return float((weight.detach() - target).square().sum())

    def test_it_is_a_torch_optimizer(self) -> None:
        """Created from one group and from two, it has these, and touches nothing else."""
        import torch

        weights = [self.weight(), self.weight(2)]
        with nobody_leaves("the optimizer"), unchanged("the optimizer"):
            made = self.make(weights)
            grouped = self.make([{"params": [w]} for w in weights])
        for optimizer, sizes in ((made, [2]), (grouped, [1, 1])):
            assert isinstance(optimizer, torch.optim.Optimizer)
            assert all(group["lr"] == self.lr for group in optimizer.param_groups)
            found = [len(group["params"]) for group in optimizer.param_groups]
            assert found == sizes, "its groups are not those it was given"

    def test_it_reaches_the_bottom_of_a_bowl(self) -> None:
        """On a square of distances it comes within a hundredth of where it began."""
        weight = self.weight()
        begin = float((weight.detach() - 0.5).square().sum())
        end = self._descend(weight, self.make([weight]), self.steps)
        assert end < 0.01 * begin, f"from {begin:.3g} to {end:.3g}"

    def test_a_step_is_the_same_every_time(self) -> None:
        """Nothing is drawn, nothing global is changed, two optimizers agree to the bit."""
        one, two = self.weight(), self.weight()
        first, second = self.make([one]), self.make([two])
        with nobody_leaves("a step"), unchanged("a step"):
            self._descend(one, first, 5)
        self._descend(two, second, 5)
        assert one.equal(two)

    def test_it_goes_on_to_the_bit(self) -> None:
        """Its state fits in a checkpoint, and a new optimizer with it takes the same steps."""
        import torch

        one, two = self.weight(), self.weight()
        first, second = self.make([one]), self.make([two])
        self._descend(one, first, 7)
        with torch.no_grad():
            two.copy_(one)
        held = first.state_dict()
        slots = {str(number): values for number, values in held["state"].items()}
        skeleton, tensors = tree.pack(slots)
        back = tree.unpack(copy.deepcopy(skeleton), tensors, "the state")
        state = {int(number): values for number, values in back.items()}
        groups = second.state_dict()["param_groups"]
        second.load_state_dict({"state": state, "param_groups": groups})
        self._descend(one, first, 5)
        self._descend(two, second, 5)
        assert one.equal(two)

    def test_zero_gradients_are_no_fault(self) -> None:
        """From the first step on, weights stay finite, and where they are but for a decay."""
        import torch

        weight = self.weight()
        before = weight.detach().clone()
        optimizer = self.make([weight], weight_decay=0.0)
        for _ in range(3):
            weight.grad = torch.zeros_like(weight)
            optimizer.step()
        assert weight.isfinite().all()
        assert (weight - before).abs().max().item() <= 1e-6

    def test_weights_without_a_gradient_are_passed_over(self) -> None:
        """Some parts of a network may take no part in a step."""
        used, idle = self.weight(), self.weight(2)
        before = idle.detach().clone()
        self._descend(used, self.make([used, idle]), 3)
        assert idle.equal(before)

    def test_weight_decay_pulls_towards_zero(self) -> None:
        """Where the setting exists; and each group has its own."""
        if "weight_decay" not in self.make([self.weight()]).param_groups[0]:
            pytest.skip("it has no weight_decay")
        import torch

        pulled, free = self.weight(3), self.weight(3)
        groups = [{"params": [pulled]}, {"params": [free], "weight_decay": 0.0}]
        optimizer = self.make(groups, weight_decay=0.1)
        before = float(pulled.detach().norm())
        for _ in range(10):
            for weight in (pulled, free):
                weight.grad = torch.zeros_like(weight)
            optimizer.step()
        assert float(pulled.detach().norm()) < before
        assert float(free.detach().norm()) == pytest.approx(before, rel=1e-5)

    def test_the_rate_is_read_at_every_step(self) -> None:
        """Schedules set it in the groups; at 0 nothing moves."""
        weight = self.weight()
        optimizer = self.make([weight])
        self._descend(weight, optimizer, 2)
        before = weight.detach().clone()
        for group in optimizer.param_groups:
            group["lr"] = 0.0
        self._descend(weight, optimizer, 2)
        assert weight.equal(before)

    def test_its_state_lies_in_memory_as_the_weight_does(self) -> None:
        """Fused steps walk weight and moments as flat memory."""
        import torch

        laid = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(1))
        weight = torch.nn.Parameter(laid.permute(3, 0, 2, 1))
        optimizer = self.make([weight])
        self._descend(weight, optimizer, 2)
        for name, value in optimizer.state[weight].items():
            if isinstance(value, torch.Tensor) and value.shape == weight.shape:
                assert value.stride() == weight.stride(), f"{name} has other strides"
                assert value.dtype == weight.dtype, f"{name} is {value.dtype}"

    def test_a_rate_below_zero_is_refused(self) -> None:
        """By a ValueError, which users see as a wrong option."""
        with pytest.raises(ConfigError, match="refuses its options"):
            self.make([self.weight()], lr=-1.0)
