"""Objectives: terms in a trainer's loss, and what an objective owns, through checkpoints."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest
import torch
from fs_kernel import networks
from fs_kernel.errors import PluginError
from fs_kernel.storage.checkpoints import Checkpoints
from fs_kernel.testing import tiny_run
from fs_kernel.types import Batch, BatchLoss, BatchMeta, LossPart
from fs_nn.objectives import add_terms, average_gradients

EXAMPLE = Path(__file__).parents[2] / "template/examples/fs-objective-critic"
CRITIC = f"{EXAMPLE / 'fs_objective_critic.py'}:CriticObjective"
WEIGHT = "objective.critic.weight"


class Constant:
    """Adds what it is given."""

    def __init__(self, terms):
        self.given = terms

    def terms(self, batch, outputs):
        return self.given


def measured():
    totals = torch.tensor([1.0, 3.0], requires_grad=True)
    part = LossPart("mae", "face_8", torch.tensor(2.0), torch.tensor(2.0))
    return [(totals, BatchLoss(side, totals.detach().mean(), (part,))) for side in "ab"]


BATCH = Batch(1, {}, {}, BatchMeta({}, {}))


def test_terms_are_added_per_picture_and_reported():
    term = torch.tensor([0.5, 1.5], requires_grad=True)
    objectives = [Constant({"b": {"odd": term}}), Constant({"b": {"even": term * 2}})]
    (a, of_a), (b, of_b) = add_terms(objectives, measured(), BATCH, [])
    assert a.tolist() == [1.0, 3.0]
    assert [part.function for part in of_a.parts] == ["mae"]
    assert b.tolist() == [2.5, 7.5]
    assert of_b.total.item() == 5.0
    parts = [(p.output, p.function, p.weighted.item()) for p in of_b.parts[1:]]
    assert parts == [("objective", "odd", 1.0), ("objective", "even", 2.0)]
    assert not of_b.total.requires_grad
    assert not any(part.weighted.requires_grad for part in of_b.parts)
    b.mean().backward()
    assert term.grad.tolist() == [1.5, 1.5]


def test_a_term_that_is_not_per_picture_is_refused():
    objective = Constant({"a": {"odd": torch.ones(())}})
    with pytest.raises(PluginError, match=r"term 'odd' of an objective has the shape \(\)"):
        add_terms([objective], measured(), BATCH, [])


def test_gradients_of_one_process_stay_as_they_are(tmp_path):
    with tiny_run(tmp_path, trainer="standard") as run:
        weight = torch.nn.Parameter(torch.ones(3))
        weight.grad = torch.arange(3.0)
        average_gradients(run, [weight])
        assert weight.grad.tolist() == [0, 1, 2]


# --- a whole objective, in runs ---


def train(folder, steps, objectives=(CRITIC,), **options):
    """Losses, parts and values of a session, and its weights."""
    folder.mkdir(exist_ok=True)
    values = {"training.iterations": steps, "training.objectives": list(objectives)}
    values |= {name.replace("__", "."): value for name, value in options.items()}
    with tiny_run(folder, trainer="standard", set=values) as run:
        seen = [(m.losses, m.parts, dict(m.values)) for m in run]
        held = {n: w.detach().clone() for n, w in networks.weights(run.network).items()}
    return seen, held, run


EVERYTHING = {
    "optimizer__gradient_accumulation": 2,
    "optimizer__ema_decay": 0.9,
    "optimizer__gradient_clipping": "autoclip",
}


@pytest.mark.parametrize("options", [{}, EVERYTHING], ids=["plain", "everything"])
def test_a_resumed_run_continues_to_the_bit(tmp_path, options):
    whole, weights, _ = train(tmp_path / "whole", 7, **options)
    first, _, _ = train(tmp_path / "parts", 3, **options)
    rest, same, _ = train(tmp_path / "parts", 7, **options)
    assert first + rest == whole
    assert all(weight.equal(same[name]) for name, weight in weights.items())


def test_what_it_adds_and_reports(tmp_path):
    seen, weights, run = train(tmp_path / "with", 3)
    for losses, parts, values in seen:
        for side in "ab":
            assert parts[side]["objective/critic"] > 0
            assert losses[side] == pytest.approx(sum(parts[side].values()), rel=1e-5)
        assert values["critic"] > 0
    without, _, plain = train(tmp_path / "without", 3, ())
    own = sum(w.numel() for name, w in weights.items() if name.startswith("extra:critic/"))
    assert own > 5000
    assert run.info.parameters == plain.info.parameters + own
    assert seen[0][0]["a"] > without[0][0]["a"]


def test_both_networks_learn(tmp_path):
    _, after_1, _ = train(tmp_path / "one", 1)
    _, after_4, _ = train(tmp_path / "four", 4)
    moved = {name.partition("/")[0] for name, w in after_1.items() if not w.equal(after_4[name])}
    assert {"extra:critic", "encoder", "decoder_a", "decoder_b"} <= moved


def test_without_optimizer_state_the_critics_weights_survive(tmp_path):
    _, weights, _ = train(tmp_path, 3, save__optimizer="never")
    checkpoints = Checkpoints(tmp_path / "model")
    name = checkpoints.current_name()
    assert "trainer" not in checkpoints.read_training(name)
    saved = checkpoints.read_weights(name)
    critic = [n for n in weights if n.startswith("extra:critic/")]
    assert critic
    assert all(saved[n].equal(weights[n]) for n in critic)
    values = {"training.objectives": [CRITIC], "training.iterations": 4}
    with tiny_run(tmp_path, trainer="standard", set=values) as run:
        resumed = networks.weights(run.network)
        assert all(resumed[n].equal(weights[n]) for n in critic)


def test_a_weight_that_changes_during_the_run_is_taken_over(tmp_path):
    values = {"training.iterations": 4, "training.objectives": [CRITIC]}
    with tiny_run(tmp_path, trainer="standard", set=values) as run:
        seen = []
        for metrics in run:
            seen.append(metrics.parts["a"]["objective/critic"])
            if metrics.step == 2:
                run.set_option(WEIGHT, 0.2)
    assert seen[2] / seen[1] == pytest.approx(10, rel=0.2)


def test_the_generators_backward_pass_leaves_nothing_in_the_critic(tmp_path):
    values = {"training.objectives": [CRITIC], "optimizer.gradient_accumulation": 3}
    with tiny_run(tmp_path, trainer="standard", set=values) as run:
        (objective,) = run.objectives
        run.advance()
        waiting = objective.made.optimizer.accumulated_gradients()
        grads = {name: grad.clone() for name, grad in waiting.items()}
        assert grads
        trainer = run._parts.step.actors.trainer.made
        batch = run.session.feed.next()
        totals, _ = trainer.measure(attrs.evolve(batch))
        sum(total.mean() for total in totals).backward()
        now = objective.made.optimizer.accumulated_gradients()
        assert all(grad.equal(now[name]) for name, grad in grads.items())
