"""The learning-rate finder: the search, its result, and what becomes of it."""

from __future__ import annotations

import math
import shutil

import cv2
import fs_addon_lr_finder
import pytest
from fake_session import FakeSession, metrics
from fs_addon_lr_finder import GRAPH, SECTION, FinderOptions
from fs_addon_lr_finder.graph import HEIGHT, WIDTH, draw_graph
from fs_addon_lr_finder.search import Sweep
from fs_kernel.errors import BadStepError, ConfigError

RATE = "optimizer.learning_rate"


def valley(rate):
    """A loss that is lowest around 1e-3 and runs away beyond 1e-2."""
    exponent = math.log10(rate)
    return 0.8 - 0.5 / (1 + math.exp(-3 * (exponent + 4.5))) + 10 ** (2 * (exponent + 2.2))


class Searching(FakeSession):
    """A session whose trial steps give the loss that belongs to the rate."""

    def __init__(self, folder, loss=valley, step=0, **options):
        folder.mkdir(exist_ok=True)
        super().__init__(folder, SECTION, FinderOptions(**options), step)
        self._loss = loss
        self.rates = []

    def try_step(self):
        rate = self.get_option(RATE)
        self.rates.append(rate)
        loss = self._loss(rate)
        if not math.isfinite(loss):
            raise BadStepError(self.step + 1, "the loss is not finite")
        return metrics(1, rate, a=loss / 2, b=loss / 2)


def searched(folder, **arguments):
    run = Searching(folder, **arguments)
    run.addon = fs_addon_lr_finder.create_addon(run)
    run.addon.before_training()
    return run


def test_an_option_that_is_no_rate_is_refused(tmp_path):
    for name in ("optimizer.name", "optimizer.rate", "trainer.rate"):
        config = Searching(tmp_path, learning_rate_option=name).config
        with pytest.raises(ConfigError, match=name):
            fs_addon_lr_finder.check_options(config.view([SECTION]), config)
    config = Searching(tmp_path).config
    fs_addon_lr_finder.check_options(config.view([SECTION]), config)


# --- the search ---


def test_the_sweep_is_exponential_from_1e_10_to_1e_1(tmp_path):
    run = searched(tmp_path, loss=lambda rate: 0.5, iterations=101)
    assert len(run.rates) == 101
    assert run.rates[0] == pytest.approx(1e-10)
    assert run.rates[-1] == pytest.approx(1e-1)
    steps = [b / a for a, b in zip(run.rates, run.rates[1:], strict=False)]
    assert steps == pytest.approx([1e9**0.01] * 100)


def test_the_mean_has_a_memory_of_98_per_cent_and_is_corrected_for_its_start():
    sweep = Sweep(100)
    for loss in (1.0, 2.0, 4.0):
        sweep.add(1e-9, loss)
    weights = [0.98**2, 0.98, 1.0]
    expected = sum(w * x for w, x in zip(weights, (1.0, 2.0, 4.0), strict=True)) / sum(weights)
    assert sweep.means[0] == pytest.approx(1.0)
    assert sweep.means[2] == pytest.approx(expected)


def test_it_ends_at_four_times_the_best_mean():
    sweep = Sweep(1000)
    while not sweep.diverged:
        sweep.add(sweep.next_rate(), 1.0 if len(sweep.rates) < 100 else 40.0)
    assert 3.0 < sweep.means[-1] / min(sweep.means) <= 4.0
    assert sweep.done


def test_a_loss_that_is_no_number_ends_it_without_counting():
    sweep = Sweep(1000)
    sweep.add(1e-5, 0.5)
    sweep.add(1e-4, math.nan)
    assert sweep.done
    assert sweep.rates == [1e-5]


def settled(rates, means):
    """A sweep whose first ten steps, which do not count, had the lowest losses of all."""
    before = [1e-10] * 10, [0.01] * 10
    return Sweep(100, before[0] + rates, before[1] + means, before[1] + means)


def test_a_lucky_first_batch_is_not_the_best_rate():
    sweep = Sweep(100)
    while not sweep.done:
        rate = sweep.next_rate()
        sweep.add(rate, 0.1 if not sweep.rates else valley(rate))
    assert not sweep.diverged or sweep.rates[-1] > 1e-3
    assert 1e-5 < sweep.result("default") < 1e-3


def test_the_divisors_are_ten_five_and_two_and_a_half():
    sweep = settled([1e-5, 1e-3, 1e-2], [1.0, 0.5, 0.9])
    assert sweep.result("default") == pytest.approx(1e-4)
    assert sweep.result("aggressive") == pytest.approx(2e-4)
    assert sweep.result("extreme") == pytest.approx(4e-4)


@pytest.mark.parametrize("best", [1e-10, 9e-9])
def test_a_rate_below_1e_9_is_none(best):
    assert settled([best, 1e-3], [0.1, 0.5]).result("default") is None


def test_a_search_without_a_single_loss_finds_none():
    assert Sweep(10).result("default") is None


# --- what becomes of it ---


def test_the_rate_is_set_beyond_the_users_range_and_remembered(tmp_path):
    run = searched(tmp_path, strength="extreme")
    rate = run.get_option(RATE)
    assert 1e-4 < rate < 1e-3
    assert run.addon.state_dict() == {"found": rate}
    assert run.notes[-1] == f"learning rate: found {rate:.2e}"
    assert run.warnings == run.asked == []
    assert list(tmp_path.iterdir()) == []


def test_its_progress_is_told_in_a_few_lines(tmp_path):
    run = searched(tmp_path, iterations=1000)
    assert run.notes[0] == "learning rate: searching, at most 1000 steps"
    assert run.notes[1].startswith("learning rate: step 100 of 1000, rate 7.8e-10, mean loss 0.8")
    assert 8 <= len(run.notes) <= 12


def test_graph_and_set_draws_too(tmp_path):
    run = searched(tmp_path, mode="graph_and_set")
    picture = cv2.imread(str(tmp_path / "previews" / GRAPH))
    assert picture.shape == (HEIGHT, WIDTH, 3)
    assert run.get_option(RATE) > 5e-5
    assert run.asked == []


def test_graph_and_exit_draws_remembers_and_stops(tmp_path):
    run = searched(tmp_path, mode="graph_and_exit")
    assert (tmp_path / "previews" / GRAPH).exists()
    assert run.asked == ["stop"]
    assert run.addon.state_dict()["found"] > 0


def resumed(run, rate):
    """The add-on of a run in whose checkpoint a rate was found."""
    addon = fs_addon_lr_finder.create_addon(run)
    addon.load_state_dict({"found": rate})
    addon.before_training()
    return addon


def test_a_found_rate_is_used_again_without_a_search(tmp_path):
    run = Searching(tmp_path, mode="graph_and_exit")
    addon = resumed(run, 2.5e-4)
    assert run.rates == run.asked == []
    assert run.get_option(RATE) == 2.5e-4
    assert addon.state_dict() == {"found": 2.5e-4}


def test_the_folder_of_an_older_model_holds_it_as_an_option(tmp_path):
    run = Searching(tmp_path, found=2.5e-4)
    run.config.origins["addon.lr_finder.found"] = str(tmp_path)
    addon = fs_addon_lr_finder.create_addon(run)
    addon.before_training()
    assert run.rates == []
    assert run.get_option(RATE) == 2.5e-4
    assert addon.state_dict() == {"found": 2.5e-4}


def test_the_state_wins_over_what_an_older_version_wrote(tmp_path):
    run = Searching(tmp_path, found=2.5e-4)
    run.config.origins["addon.lr_finder.found"] = str(tmp_path)
    resumed(run, 1e-4)
    assert run.get_option(RATE) == 1e-4


@pytest.mark.parametrize("given", [0.0, 3e-4])
def test_what_the_user_sets_wins_over_the_state(tmp_path, given):
    run = Searching(tmp_path, found=given)
    run.config.origins["addon.lr_finder.found"] = "--set"
    addon = resumed(run, 1e-4)
    assert bool(run.rates) is (given == 0), "0 searches again"
    assert addon.state_dict() == {"found": run.get_option(RATE)}
    assert run.get_option(RATE) != 1e-4


def test_a_model_that_was_trained_is_left_alone(tmp_path):
    run = searched(tmp_path, step=1)
    assert run.rates == run.changes == run.notes == run.warnings == []


def test_a_rate_from_elsewhere_on_resume_is_told(tmp_path):
    run = Searching(tmp_path, step=10)
    run.config.origins[RATE] = "my.toml"
    resumed(run, 2e-5)
    assert run.changes == []
    assert "5.00e-05 comes from my.toml" in run.warnings[0]
    run.config.origins[RATE] = str(tmp_path)
    run.warnings.clear()
    resumed(run, 2e-5)
    assert run.warnings == []


@pytest.mark.parametrize("loss", [lambda r: math.nan, lambda r: 1 + math.log10(r) + 10])
@pytest.mark.parametrize("mode", ["set", "graph_and_set", "graph_and_exit"])
def test_f13_a_failed_search_deletes_nothing_and_says_so(tmp_path, mode, loss):
    precious = tmp_path / "model" / "checkpoints" / "weights.safetensors"
    precious.parent.mkdir(parents=True)
    precious.write_bytes(b"months of work")
    run = searched(tmp_path / "model", mode=mode, loss=loss)
    assert precious.read_bytes() == b"months of work"
    assert run.get_option(RATE) == 5e-5
    assert run.addon.state_dict() == {"found": 0.0}
    assert run.asked == (["stop"] if mode == "graph_and_exit" else [])
    last = "the run stops" if mode == "graph_and_exit" else "the configured one is used"
    assert run.warnings == [f"learning rate: the search found none at which the loss falls; {last}"]


def test_f13_nothing_that_removes_files_is_ever_called(tmp_path, monkeypatch):
    def refuse(*arguments, **words):
        raise AssertionError("something is removed")

    for name in ("remove", "unlink", "rmdir", "removedirs"):
        monkeypatch.setattr(f"os.{name}", refuse)
    monkeypatch.setattr(shutil, "rmtree", refuse)
    for mode in ("set", "graph_and_set", "graph_and_exit"):
        searched(tmp_path, mode=mode)
        searched(tmp_path, mode=mode, loss=lambda rate: math.nan)


# --- the graph ---


def sweep_of(loss, steps=300):
    sweep = Sweep(steps)
    while not sweep.done:
        sweep.add(rate := sweep.next_rate(), loss(rate))
    return sweep


def test_the_dots_stand_at_their_rates():
    sweep = sweep_of(valley)
    picture = draw_graph(sweep, "default").astype(int)
    columns = []
    for color in ((60, 150, 40), (0, 175, 230), (40, 40, 210)):
        near = (abs(picture - color).sum(axis=2) < 12).nonzero()
        # The dots in the list of names are above the frame.
        on_curve = near[0] > 70
        assert on_curve.sum() > 20
        columns.append(near[1][on_curve].mean())
    first, last = math.log10(sweep.rates[sweep.settling]), math.log10(sweep.rates[-1])
    for column, name in zip(columns, ("default", "aggressive", "extreme"), strict=True):
        expected = 90 + (math.log10(sweep.result(name)) - first) / (last - first) * 840
        assert column == pytest.approx(expected, abs=2)


@pytest.mark.parametrize(
    "sweep",
    [
        Sweep(100, [1e-10], [0.5], [0.5]),
        Sweep(100, [1e-10, 1e-9], [0.5, 0.5], [0.5, 0.5]),
        sweep_of(lambda rate: 0.0, 100),
        sweep_of(lambda rate: 1 + rate, 100),
    ],
)
def test_odd_searches_can_be_drawn(sweep):
    assert draw_graph(sweep, "default").shape == (HEIGHT, WIDTH, 3)
