"""Objectives with one fault each, run by ``test_suites_find_faults.py``."""

from __future__ import annotations

import keras
import torch
from faults import suite, tidy  # noqa: F401
from fs_kernel import hookimpl
from fs_kernel.testing.suites import ObjectiveSuite


class Reddish:
    """Faces should not be red; without a fault."""

    def __init__(self, run):
        self.run = run

    def terms(self, batch, outputs):
        return {"a": {"red": outputs[0][..., 2].mean(dim=(1, 2))}}


def objective(part, **hooks):
    """Return an objective whose part of a run is ``part(run)``."""

    class Faulty:
        name = "faulty"

        @hookimpl
        def create_objective(self, run):
            return part(run)

    for name, hook in hooks.items():
        setattr(Faulty, name, hookimpl(hook))
    return Faulty


def terms(give):
    """Return an objective whose terms are ``give(run, batch, outputs)``."""

    class Part(Reddish):
        def terms(self, batch, outputs):
            return give(self.run, batch, outputs)

    return objective(Part)


def red(outputs):
    return outputs[0][..., 2].mean(dim=(1, 2))


def called_directly(run, batch, outputs):
    drawn = run.network.model(list(batch.inputs.values()))
    return {"a": {"red": red(drawn)}}


def in_place(run, batch, outputs):
    with torch.no_grad():
        outputs[0].mul_(0.5)
    return {"a": {"red": red(outputs)}}


def needs_eyes(run, batch, outputs):
    assert batch.meta.masks["a"]["eye"]
    return {"a": {"red": red(outputs)}}


class Rash(Reddish):
    def __init__(self, run):
        super().__init__(run)
        with torch.no_grad():
            next(iter(run.parameters().values())).zero_()


class Meddling(Reddish):
    """It trains what is not its own."""

    @torch.no_grad()
    def train_step(self):
        next(iter(self.run.parameters().values())).add_(0.01)
        return {}


class Forgetful(Reddish):
    """Its own network is trained with moments that no checkpoint holds."""

    def __init__(self, run):
        super().__init__(run)
        self.adam = torch.optim.Adam(run.parameters(of="critic").values(), lr=1e-2)

    def terms(self, batch, outputs):
        self.real = batch.targets["a"][0]
        judged = self.run.network.owned["critic"](outputs[0])
        return {"a": {"critic": -judged.mean(dim=(1, 2, 3))}}

    def train_step(self):
        self.adam.zero_grad()
        loss = self.run.network.owned["critic"](self.real).square().mean()
        loss.backward()
        self.adam.step()
        return {"critic": loss.detach()}


def critic(self, network, config):
    assert network.sides
    assert not config
    return {"critic": keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Conv2D(1, 4)])}


class Drifting(Reddish):
    """Its weight grows with the session, not with the model."""

    def __init__(self, run):
        super().__init__(run)
        self.seen = 0

    def terms(self, batch, outputs):
        self.seen += 1
        return {"a": {"red": self.seen * red(outputs)}}


def not_a_name(self):
    return {"the nose"}


suite(ObjectiveSuite, "test_creating_changes_nothing_around_it", objective(Rash))
suite(
    ObjectiveSuite,
    "test_the_fields_it_needs_have_names",
    objective(Reddish, required_fields=not_a_name),
)
suite(
    ObjectiveSuite,
    "test_terms_are_numbers_per_picture",
    terms(lambda run, batch, outputs: {"a": {"red": red(outputs).mean()}}),
)
suite(
    ObjectiveSuite,
    "test_terms_are_numbers_per_picture",
    terms(lambda run, batch, outputs: {"left": {"red": red(outputs)}}),
)
suite(
    ObjectiveSuite,
    "test_terms_are_numbers_per_picture",
    terms(lambda run, batch, outputs: {"a": {"red": red(outputs).detach()}}),
)
suite(
    ObjectiveSuite,
    "test_terms_train_the_network",
    terms(lambda run, batch, outputs: {"a": {"red": red(outputs) * float("nan")}}),
)
suite(
    ObjectiveSuite,
    "test_terms_train_the_network",
    terms(lambda run, batch, outputs: {"a": {"red": 0 * red(outputs)}}),
)
suite(ObjectiveSuite, "test_batch_and_outputs_are_left_as_they_were", terms(in_place))
suite(ObjectiveSuite, "test_fields_that_the_faces_lack_are_no_fault", terms(needs_eyes))
suite(ObjectiveSuite, "test_it_trains_what_it_owns_and_nothing_else", objective(Meddling))
suite(ObjectiveSuite, "test_it_runs_the_network_through_forward_only", terms(called_directly))
suite(
    ObjectiveSuite,
    "test_it_goes_on_to_the_bit",
    objective(Forgetful, build_networks=critic),
)
suite(ObjectiveSuite, "test_it_goes_on_to_the_bit", objective(Drifting))
suite(ObjectiveSuite, "test_a_run_with_it_resumes_exactly", objective(Drifting))
