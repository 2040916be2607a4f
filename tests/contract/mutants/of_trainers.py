"""Trainers with one fault each, run by ``test_suites_find_faults.py`` and not by themselves."""

from __future__ import annotations

import attrs
import keras
import numpy as np
import torch
from faults import suite, tidy  # noqa: F401
from fs_kernel import hookimpl, networks
from fs_kernel.testing import PlainTrainer
from fs_kernel.testing.plugins import CountedSampler
from fs_kernel.testing.steps import PlainSteps
from fs_kernel.testing.suites import TrainerSuite


def trainer(steps):
    """Return `PlainTrainer` with other steps."""

    class Changed(PlainTrainer):
        @hookimpl
        def create_trainer(self, run):
            return steps(run)

    return Changed


def training(change):
    """Return `PlainTrainer` whose step is followed by ``change(run, batch, result)``."""

    class Steps(PlainSteps):
        def train_step(self, batch):
            result = super().train_step(batch)
            return change(self._run, batch, result) or result

    return trainer(Steps)


def call_directly(run, batch, result):
    run.network.model(list(batch.inputs.values()))


def with_graph(run, batch, result):
    losses = [attrs.evolve(x, total=x.total.requires_grad_()) for x in result.losses]
    return attrs.evolve(result, losses=losses)


def wrong_sum(run, batch, result):
    losses = [attrs.evolve(x, total=x.total * 2) for x in result.losses]
    return attrs.evolve(result, losses=losses)


@torch.no_grad()
def drift(run, batch, result):
    for weight in networks.weights(run.network).values():
        weight.add_(0.001)


@torch.no_grad()
def blacken(run, batch, result):
    batch.inputs["a"].zero_()


def set_dtype(run, batch, result):
    torch.set_default_dtype(torch.float64)


class Stuck(PlainSteps):
    def __init__(self, run):
        super().__init__(run)
        self._adam.param_groups[0]["params"] = self._adam.param_groups[0]["params"][:2]


class Upwards(PlainSteps):
    def __init__(self, run):
        super().__init__(run)
        self._adam.param_groups[0]["maximize"] = True


class Rash(PlainSteps):
    def __init__(self, run):
        super().__init__(run)
        with torch.no_grad():
            next(iter(run.parameters().values())).zero_()


class WithoutMemory(PlainSteps):
    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        return None


class ByNumber(PlainSteps):
    def state_dict(self):
        return {str(i): dict(s) for i, s in self._adam.state_dict()["state"].items()}

    def load_state_dict(self, state):
        full = self._adam.state_dict()
        full["state"] = {int(number): slots for number, slots in state.items()}
        self._adam.load_state_dict(full)


class Fussy(PlainTrainer):
    @hookimpl
    def required_fields(self):
        return {"face", "eye"}

    @hookimpl
    def create_trainer(self, run):
        class Steps(PlainSteps):
            def train_step(self, batch):
                assert batch.meta.masks["a"]["eye"]
                return super().train_step(batch)

        return Steps(run)


class Greedy(PlainTrainer):
    @hookimpl
    def required_fields(self):
        return {"the nose"}


class Credulous(PlainTrainer):
    @hookimpl
    def accepts_state(self, state, writer):
        return True


class Deaf(PlainSteps):
    """It says that it adds objectives, and does not."""

    def train_step(self, batch):
        objectives, self._run.objectives = self._run.objectives, ()
        try:
            return super().train_step(batch)
        finally:
            self._run.objectives = objectives


class Owner(PlainTrainer):
    """Its critic is trained, and the optimizer's moments are forgotten."""

    @hookimpl
    def build_networks(self):
        critic = keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Conv2D(1, 4)])
        return {"critic": critic}

    @hookimpl
    def create_trainer(self, run):
        class Steps(PlainSteps):
            def __init__(self, run):
                super().__init__(run)
                self._critic = torch.optim.Adam(run.parameters(of="critic").values(), lr=1e-2)

            def train_step(self, batch):
                self._critic.zero_grad()
                judged = run.network.owned["critic"](batch.targets["a"][0])
                judged.square().mean().backward()
                self._critic.step()
                return super().train_step(batch)

        return Steps(run)


def sampling(draw):
    """Return `PlainTrainer` whose sampler draws by ``draw(self, step)``."""

    class Sampler(CountedSampler):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            self.chance = np.random.default_rng(self.seed)
            self.heard = 0.0

        def update(self, step, indices, losses):
            self.heard += float(losses["a"].sum())

    Sampler.draw = draw

    class Sampling(PlainTrainer):
        @hookimpl
        def get_sampler(self, sizes, batch_size, seed):
            return Sampler(dict(sizes), batch_size, seed)

    return Sampling


def everything(self, size):
    return self.chance.integers(0, size, self.batch_size)


suite(TrainerSuite, "test_starting_changes_nothing_around_it", trainer(Rash))
suite(TrainerSuite, "test_the_fields_it_needs_have_names", Greedy)
suite(
    TrainerSuite,
    "test_every_draw_is_a_batch",
    sampling(lambda self, step: {s: np.arange(self.batch_size) for s in self.sizes}),
)
suite(
    TrainerSuite,
    "test_draws_follow_from_seed_and_step",
    sampling(lambda self, step: {s: everything(self, n) for s, n in self.sizes.items()}),
)
suite(
    TrainerSuite,
    "test_every_face_has_its_turn",
    sampling(lambda self, step: dict.fromkeys(self.sizes, np.full(self.batch_size, step % 5))),
)
suite(
    TrainerSuite,
    "test_losses_too_new_change_no_draw",
    sampling(
        lambda self, step: dict.fromkeys(
            self.sizes, np.full(self.batch_size, int(self.heard * 1000) % 7)
        )
    ),
)
suite(
    TrainerSuite,
    "test_a_sampler_goes_on_where_it_was",
    sampling(lambda self, step: {s: everything(self, n) for s, n in self.sizes.items()}),
)
suite(TrainerSuite, "test_a_step_reports_its_losses", training(with_graph))
suite(TrainerSuite, "test_a_step_reports_its_losses", training(wrong_sum))
suite(TrainerSuite, "test_a_step_reports_its_losses", training(set_dtype))
suite(TrainerSuite, "test_the_loss_of_one_batch_falls", trainer(Upwards))
suite(TrainerSuite, "test_every_weight_moves_but_the_frozen", trainer(Stuck))
suite(TrainerSuite, "test_every_weight_moves_but_the_frozen", training(drift))
suite(TrainerSuite, "test_it_runs_the_network_through_forward_only", training(call_directly))
suite(TrainerSuite, "test_a_batch_is_left_as_it_was", training(blacken))
suite(TrainerSuite, "test_a_mask_that_the_faces_lack_is_no_fault", Fussy)
suite(TrainerSuite, "test_it_goes_on_to_the_bit", trainer(WithoutMemory))
suite(TrainerSuite, "test_a_run_with_it_resumes_exactly", trainer(WithoutMemory))
suite(TrainerSuite, "test_its_state_belongs_to_named_weights", trainer(ByNumber))
suite(TrainerSuite, "test_frozen_weights_do_not_disturb_the_rest", trainer(ByNumber))
suite(TrainerSuite, "test_a_state_of_another_trainer_is_judged", Credulous)
suite(TrainerSuite, "test_it_adds_the_terms_of_objectives", trainer(Deaf))
suite(TrainerSuite, "test_it_goes_on_to_the_bit", Owner)
