"""Objectives and networks of trainers in a run, and what becomes of another trainer's state."""

from __future__ import annotations

import pytest
import torch
from fs_kernel import hookimpl, networks
from fs_kernel.errors import ConfigError, PluginError
from fs_kernel.run import begin
from fs_kernel.testing import ArrayFeed, PlainExecutor, PlainTrainer, TinyModel
from fs_kernel.testing.plugins import PlainSteps
from fs_kernel.training.resolve import Request
from runs import SteppedTrainer, held, identical, open_tiny, train

WITH = {"training.objectives": ["test_objectives:Critic"]}
KERNEL, CRITIC = "encoder/conv/kernel", "extra:critic/weight"


class Critic:
    """Owns one layer, and counts its steps."""

    name = "critic"

    @hookimpl
    def build_networks(self):
        return {"critic": torch.nn.Linear(16, 1, bias=False)}

    @hookimpl
    def create_objective(self, run):
        return CriticSteps(run)


class CriticSteps:
    made = []

    def __init__(self, run):
        self.run, self.steps, self.closed = run, 0, []
        self.weights = run.parameters("critic")
        self.made.append(self)

    def terms(self, batch, outputs):
        critic = self.run.network.owned["critic"]
        return {"a": {"critic": critic(outputs[0].mean(dim=(1, 3))).reshape(-1) ** 2}}

    def train_step(self):
        self.steps += 1
        with torch.no_grad():
            self.weights[CRITIC].mul_(0.5)
        return {"critic": torch.tensor(float(self.steps))}

    def state_dict(self):
        return {"steps": self.steps}

    def load_state_dict(self, state):
        self.steps = state["steps"]

    def close(self, failed):
        self.closed.append(failed)


def objective_of(run):
    return next(iter(run.session.objectives.values())).made


def test_an_objective_adds_to_the_loss_trains_and_reports(tmp_path):
    for name in ("with", "without"):
        (tmp_path / name).mkdir()
    with open_tiny(tmp_path / "without", 1) as run:
        (bare,) = run
    with open_tiny(tmp_path / "with", 1, set=WITH) as run:
        before = networks.weights(run.network)[CRITIC].clone()
        (metrics,) = run
        assert torch.equal(networks.weights(run.network)[CRITIC], before * 0.5)
    assert metrics.losses["a"] > bare.losses["a"]
    assert metrics.losses["b"] == bare.losses["b"]
    assert metrics.values == {"critic": 1.0}
    assert metrics.parts["a"]["objective/critic"] == pytest.approx(
        metrics.losses["a"] - bare.losses["a"], abs=1e-6
    )


def test_a_trainer_that_adds_no_objectives_is_refused_and_all_is_closed(tmp_path):
    class Deaf(PlainTrainer):
        @hookimpl
        def create_trainer(self, run):
            made = super().create_trainer(run)
            made.adds_objectives = False
            return made

    CriticSteps.made.clear()
    line = "trainer 'plain' does not add objectives to its loss; choose another trainer, or leave"
    with pytest.raises(ConfigError, match=line):
        open_tiny(tmp_path, 1, set=WITH, trainer=Deaf())
    assert [made.closed for made in CriticSteps.made] == [[True]]
    assert train(tmp_path, 1).step == 1, "the folder is free"


def test_objectives_and_owned_networks_resume_exactly(tmp_path):
    for name in ("straight", "stopped"):
        (tmp_path / name).mkdir()
    train(tmp_path / "straight", 4, set=WITH)
    for steps in (2, 4):
        train(tmp_path / "stopped", steps, set=WITH)
    weights, training = held(tmp_path / "stopped")
    assert identical((weights, training), held(tmp_path / "straight"))
    assert list(training["objectives"].values()) == [{"steps": 4}]
    assert weights[CRITIC].shape == (1, 16)


def test_objectives_and_owned_networks_go_back_with_the_rest(tmp_path):
    bad = iter(["bad"])

    class Judge:
        name = "judge"

        @hookimpl
        def create_addon(self):
            return self

        def check_metrics(self, metrics):
            return next(bad, None) if metrics.step == 3 else None

        def on_bad_step(self, report):
            return True

    for name in ("straight", "back"):
        (tmp_path / name).mkdir()
    train(tmp_path / "straight", 4, every=2, set=WITH)
    CriticSteps.made.clear()
    train(tmp_path / "back", 4, every=2, set=WITH, addons=[Judge()])
    assert identical(held(tmp_path / "back")[0], held(tmp_path / "straight")[0])
    assert [(made.steps, made.closed) for made in CriticSteps.made] == [(3, [False]), (4, [False])]


def test_owned_weights_count_and_are_dropped_with_one_line_when_they_go(tmp_path, events):
    with open_tiny(tmp_path, 1, set=WITH) as run:
        owning = run.info.parameters
        run.train()
    with open_tiny(tmp_path, 2, set={"training.objectives": []}) as run:
        assert run.info.parameters == owning - 16
        (line,) = (line for line in run.warnings if "critic" in line)
        run.train()
    assert line in [e["message"] for e in events(tmp_path, "warning")]
    assert CRITIC not in held(tmp_path)[0]
    with open_tiny(tmp_path, 3, set=WITH) as run:
        assert [line for line in run.warnings if "critic" in line], (
            "it starts with new weights, and says so"
        )
        run.train()


def test_two_owners_of_one_name_are_refused(tmp_path):
    class Owner(PlainTrainer):
        @hookimpl
        def build_networks(self):
            return {"critic": torch.nn.Linear(1, 1)}

    with pytest.raises(PluginError, match="another plugin owns a network 'critic' too"):
        open_tiny(tmp_path, 1, trainer=Owner(), set=WITH)
    assert not (tmp_path / "model").exists()


# --- another trainer's state ---


class Other(SteppedTrainer):
    """The plain trainer under another name; takes over states, or not."""

    name = "other"

    def __init__(self, accepts):
        self.accepts, self.asked, self.loaded = accepts, [], []

    @hookimpl
    def create_trainer(self, run):
        made = super().create_trainer(run)
        made.load_state_dict = lambda state: self.load(made, state)
        return made

    def load(self, made, state):
        """Note how many steps Adam did; the tensor itself counts on."""
        self.loaded.append(int(state[KERNEL]["step"]) if state else None)
        PlainSteps.load_state_dict(made, state)

    @hookimpl
    def accepts_state(self, state, writer):
        self.asked.append((writer.name, sorted(state)[0]))
        return self.accepts


@pytest.mark.parametrize("accepts", [True, False])
def test_another_trainers_state_is_taken_over_or_dropped_with_one_line(tmp_path, accepts):
    train(tmp_path, 2)
    trainer = Other(accepts)
    with open_tiny(tmp_path, 3, trainer=trainer) as run:
        lines = [line for line in run.warnings if "cannot take over" in line]
        run.train()
    assert [name for name, _ in trainer.asked] == ["plain"]
    assert len(trainer.loaded) == accepts
    assert len(lines) == (not accepts)
    again = Other(False)
    assert train(tmp_path, 4, trainer=again).step == 4
    assert again.asked == [], "its own state needs no asking"
    assert len(again.loaded) == 1


class GoingBack:
    """Goes back once, from step 5."""

    name = "going-back"

    def __init__(self):
        self.bad = iter(["bad"])

    @hookimpl
    def create_addon(self):
        return self

    def check_metrics(self, metrics):
        return next(self.bad, None) if metrics.step == 5 else None

    def on_bad_step(self, report):
        return True


def test_going_back_to_what_this_session_saved_takes_its_own_state(tmp_path, events):
    train(tmp_path, 2)
    trainer = Other(False)
    train(tmp_path, 6, every=2, trainer=trainer, addons=[GoingBack()])
    assert [name for name, _ in trainer.asked] == ["plain"], "only at the start"
    assert trainer.loaded == [2], "of the four steps, two are its own"
    messages = [e["message"] for e in events(tmp_path, "warning")]
    assert sum("cannot take over" in message for message in messages) == 1


def resetting(folder, steps, trainer, **given):
    values = {"training": {"iterations": steps, "device": "cpu"}, "save": {"interval": 2}}
    request = Request(
        folder / "model",
        TinyModel(),
        {side: folder / side for side in "ab"},
        values=values,
        objects={"trainers": trainer, "feeds": ArrayFeed(), "executors": PlainExecutor()},
        reset_trainer=True,
        **{"addons": [], **given},
    )
    return begin(request)


def test_a_trainer_that_is_reset_starts_without_the_state_and_says_so(tmp_path):
    train(tmp_path, 2)
    trainer = Other(True)
    with resetting(tmp_path, 3, trainer) as run:
        assert [line for line in run.warnings if "was reset, as you asked" in line]
        assert run.train().step == 3
    assert (trainer.asked, trainer.loaded) == ([], [])
    assert held(tmp_path)[1]["trainer"][KERNEL]["step"] == 1


def test_a_roll_back_or_a_trial_does_not_reset_the_trainer_again(tmp_path):
    train(tmp_path, 2)
    trainer = Other(False)

    class Trying(GoingBack):
        @hookimpl
        def create_addon(self, run):
            self.run = run
            return self

        def before_training(self):
            with self.run.trial() as trial:
                trial.step()

    with resetting(tmp_path, 6, trainer, addons=[Trying()]) as run:
        assert run.train().step == 6
    assert trainer.loaded == [None, 2], "what the trial began with, and two steps of its own"
