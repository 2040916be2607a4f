"""What a sampler owes the feed that draws from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fs_kernel.randomness import generator
from fs_kernel.testing.sessions import through_a_file
from fs_kernel.testing.suites.base import HookSuite
from fs_kernel.testing.world import unchanged


class SamplerTests(HookSuite):
    """The tests of the order in which a trainer shows faces; a part of `TrainerSuite`."""

    kind = "trainers"

    def sampler(
        self, sizes: Mapping[str, int], batch: int = 4, seed: int = 1, delay: int = 2
    ) -> Any:
        """Return a new sampler for faces of which nothing is known."""
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
