"""The learning-rate finder in runs of the built-in parts."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest
from addon_runs import events, losses, open_with
from small_runs import checksums

SEARCH = {"addon.lr_finder.iterations": 100, "training.iterations": 3}
BROKEN = str(Path(__file__).parents[1] / "data" / "broken_loss.py")
RATE = "optimizer.learning_rate"
GRAPH = "previews/learning_rate_finder.png"


def notes(model):
    return [e["message"] for e in events(model, "note")]


@pytest.fixture(scope="module")
def searched(tmp_path_factory, people):
    """A model that began with a search: its folder, the rate, and the losses of its steps."""
    model = tmp_path_factory.mktemp("searched") / "m"
    options = SEARCH | {"addon.lr_finder.mode": "graph_and_set"}
    run = open_with(model, people, ["lr_finder"], **options)
    return model, run.get_option(RATE), losses(run)


def test_it_finds_a_rate_that_is_worth_trying(searched):
    model, rate, _ = searched
    assert 1e-6 < rate < 1e-2
    assert f"learning rate: found {rate:.2e}" in notes(model)
    assert len(notes(model)) >= 10
    assert {"name": RATE, "value": rate}.items() <= events(model, "option")[-1].items()
    assert cv2.imread(str(model / GRAPH)).shape == (600, 960, 3)


def test_the_search_leaves_no_trace_in_the_training(tmp_path, people, searched):
    _, rate, seen = searched
    run = open_with(tmp_path / "m", people, [], **{"training.iterations": 3})
    run.set_option(RATE, rate, bounded=False)
    assert losses(run) == seen


def test_on_resume_the_rate_is_remembered_and_not_searched_again(people, searched):
    model, rate, _ = searched
    before = (model / GRAPH).stat().st_mtime_ns
    with open_with(model, people, ["lr_finder"], **{"training.iterations": 4}) as run:
        assert run.advance().learning_rate == pytest.approx(rate)
    assert (model / GRAPH).stat().st_mtime_ns == before


def test_graph_and_exit_stops_before_the_first_step_and_the_next_session_uses_the_rate(
    tmp_path, people
):
    model = tmp_path / "m"
    options = SEARCH | {"training.batch_size": 1}
    run = open_with(
        model, people, ["lr_finder"], **options | {"addon.lr_finder.mode": "graph_and_exit"}
    )
    rate = run.get_option(RATE)
    outcome = run.train()
    assert (outcome.reason, outcome.step) == ("stopped", 0)
    assert (model / GRAPH).exists()
    with open_with(model, people, ["lr_finder"], **options) as run:
        assert run.advance().learning_rate == pytest.approx(rate)
        assert sum("searching" in line for line in notes(model)) == 1


@pytest.mark.parametrize("mode", ["set", "graph_and_set", "graph_and_exit"])
def test_f13_a_failed_search_leaves_every_file_of_the_model_folder(tmp_path, people, mode):
    model = tmp_path / "m"
    (model / "snapshots").mkdir(parents=True)
    (model / "snapshots" / "weights.safetensors").write_bytes(b"months of work")
    (model / "notes.txt").write_text("mine")
    before = checksums(model)
    broken = {"loss.loss_function": "mse", "loss.loss_function_2": f"{BROKEN}:broken"}
    options = SEARCH | broken | {"addon.lr_finder.mode": mode}
    run = open_with(model, people, ["lr_finder"], **options)
    assert checksums(model).items() >= before.items()
    assert "found none" in str(events(model, "warning"))
    assert run.get_option(RATE) == 5e-5
    reason = run._parts.agenda.stop_reason(run.step)
    assert reason == ("stopped" if mode == "graph_and_exit" else None)
    run.close(save=False)
    assert checksums(model).items() >= before.items()
