"""What a loss owes the trainers that use it."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from fs_kernel.testing.contexts import array_context, takes_context
from fs_kernel.testing.suites.base import HookSuite
from fs_kernel.testing.world import nobody_leaves, unchanged

if TYPE_CHECKING:
    import torch


class LossSuite(HookSuite):
    """The tests of a loss: a callable ``(prediction, target)`` on ``(n, c, h, w)``, 0..1.

    It may be a plain function, a class, or a plugin with the hook ``create_loss``. One with a
    parameter ``context`` is given a `fs_kernel.types.LossContext` with what it asks for.

    Attributes:
        size: edge of the test pictures in pixels.
        gradient_size: the same where the gradient is compared with finite differences.
        channels: of the test pictures.
        at_identity: its value for two equal pictures; None if that depends on the pictures.
    """

    kind = "losses"
    size: ClassVar[int] = 64
    gradient_size: ClassVar[int] = 8
    channels: ClassVar[int] = 3
    at_identity: ClassVar[float | None] = 0.0

    def make(self) -> Any:
        """Return the loss, created as trainers create it."""
        return self.role().create()

    def value(
        self,
        loss: Any,
        prediction: torch.Tensor,
        target: torch.Tensor,
        fields: Collection[str] | None = None,
    ) -> torch.Tensor:
        """Return what the loss gives, called as trainers call it.

        Args:
            loss: from `make`.
            prediction: ``(n, c, h, w)``.
            target: of the same shape.
            fields: what the batch holds; None for what the loss asks for.
        """
        more = {}
        if takes_context(loss):
            held = self.role().required_fields() if fields is None else fields
            more["context"] = array_context(prediction, target, held)
        given: torch.Tensor = loss(prediction, target, **more)
        return given

    def pictures(self, seed: int, count: int = 2, size: int | None = None) -> torch.Tensor:
        """Return noise, ``(count, channels, size, size)``, 0..1."""
        import torch

        chance = torch.Generator().manual_seed(seed)
        edge = size or self.size
        found: torch.Tensor = torch.rand((count, self.channels, edge, edge), generator=chance)
        return found

    def test_making_and_calling_it_changes_nothing(self) -> None:
        """No global setting changes, nothing is drawn, and the pictures stay as they were."""
        one, two = self.pictures(1), self.pictures(2)
        kept = one.clone(), two.clone()
        with nobody_leaves("the loss"), unchanged("the loss"):
            self.value(self.make(), one, two)
        assert one.equal(kept[0])
        assert two.equal(kept[1])

    def test_the_result_has_one_of_the_forms(self) -> None:
        """A map of the pictures' height and width, or a number per picture, float32, finite."""
        one, two = self.pictures(1, 3), self.pictures(2, 3)
        value = self.value(self.make(), one, two)
        n, c, h, w = one.shape
        assert tuple(value.shape) in ((n, c, h, w), (n, 1, h, w), (n,))
        assert str(value.dtype) == "torch.float32"
        assert value.isfinite().all()

    def test_equal_pictures_lose_what_they_should(self) -> None:
        """Nothing, as a rule; and their gradient is finite."""
        one = self.pictures(3).requires_grad_()
        value = self.value(self.make(), one, self.pictures(3))
        value.mean().backward()
        assert one.grad is not None
        assert one.grad.isfinite().all(), "the gradient of equal pictures is not finite"
        if self.at_identity is not None:
            assert value.mean().item() == pytest.approx(self.at_identity, abs=1e-5)

    def test_worse_pictures_lose_more(self) -> None:
        """The further a picture is from its target, the larger the loss."""
        target, noise = self.pictures(4), self.pictures(5)
        loss = self.make()
        near, far = (
            self.value(loss, target.lerp(noise, share), target).mean().item()
            for share in (0.1, 0.9)
        )
        assert far > near

    def test_flat_pictures_have_finite_gradients(self) -> None:
        """All black against all white, where roots and quotients go wrong."""
        import torch

        one = torch.zeros_like(self.pictures(1)).requires_grad_()
        value = self.value(self.make(), one, torch.ones_like(one))
        assert value.isfinite().all()
        value.mean().backward()
        assert one.grad is not None
        assert one.grad.isfinite().all()

    def test_gradients_agree_with_finite_differences(self) -> None:
        """In float64, along a random direction."""
        import torch

        loss = self.make()
        if isinstance(loss, torch.nn.Module):
            loss = loss.double()
        target = self.pictures(7, 1, self.gradient_size).double()
        other = self.pictures(6, 1, self.gradient_size).double()
        prediction = (0.7 * target + 0.3 * other).requires_grad_()
        value = self.value(loss, prediction, target)
        assert value.dtype == torch.float64, "it does not compute in the pictures' own type"
        assert torch.autograd.gradcheck(
            lambda x: self.value(loss, x, target).mean() * 100, (prediction,), fast_mode=True
        )

    def test_a_picture_does_not_depend_on_its_neighbors(self) -> None:
        """What one picture loses is the same alone and in a batch."""
        one, two = self.pictures(8, 3), self.pictures(9, 3)
        loss = self.make()
        together = self.value(loss, one, two)
        for i in range(3):
            alone = self.value(loss, one[i : i + 1], two[i : i + 1])
            assert (together[i : i + 1] - alone).abs().max().item() <= 1e-5

    def test_it_computes_where_the_pictures_are(self) -> None:
        """Nothing is left on the CPU, and no value is read back, which would stall a GPU."""
        import torch

        loss = self.make()
        if isinstance(loss, torch.nn.Module):
            loss = loss.to("meta")
        value = self.value(loss, self.pictures(1).to("meta"), self.pictures(2).to("meta"))
        assert value.device.type == "meta"

    def test_it_trains_no_weights(self) -> None:
        """Weights of a loss would be neither trained nor saved."""
        import torch

        loss = self.make()
        if isinstance(loss, torch.nn.Module):
            assert not [name for name, p in loss.named_parameters() if p.requires_grad]

    def test_what_it_asks_for_is_known(self) -> None:
        """Its ``color_order``, ``masks_input`` and ``required_fields`` are what they may be."""
        loss = self.make()
        assert all(name.isidentifier() for name in self.role().required_fields())
        assert getattr(loss, "color_order", "bgr") in ("bgr", "rgb")
        assert isinstance(getattr(loss, "masks_input", False), bool)

    def test_fields_that_the_faces_lack_are_no_fault(self) -> None:
        """Plain pictures have neither eyes nor landmarks, and train all the same."""
        loss = self.make()
        value = self.value(loss, self.pictures(1), self.pictures(2), fields={"face"})
        assert value.isfinite().all()
