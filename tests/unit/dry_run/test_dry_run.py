"""A dry run checks everything and leaves nothing; a batch size is found once and kept."""

from __future__ import annotations

import json

import attrs
import pytest
from fs_dry_run import dry_run
from fs_dry_run.batch_size import search
from fs_kernel import hookimpl, memory, option
from fs_kernel.errors import ConfigError, FacesError, TrainingError
from fs_kernel.run import resolve_batch_size
from fs_kernel.testing import ArrayFeed, PlainExecutor, PlainTrainer, TinyModel, tiny_run
from fs_kernel.training.resolve import Request


def request(tmp_path, **values):
    for side in "ab":
        (tmp_path / side).mkdir(exist_ok=True)
    training = {"device": "cpu", "seed": 1, "batch_size": 4, **values}
    return Request(
        tmp_path / "model",
        TinyModel(),
        {side: tmp_path / side for side in "ab"},
        values={"training": training},
        objects={
            "trainers": PlainTrainer(),
            "feeds": ArrayFeed(),
            "executors": PlainExecutor(),
        },
        addons=(),
    )


def everything_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_dry_run_says_what_will_happen_and_writes_nothing(tmp_path):
    facts = dry_run(request(tmp_path, iterations=7)).facts
    assert everything_in(tmp_path) == ["a", "b"]
    assert facts["steps"] == 7
    assert facts["run"]["model_dir"] == str(tmp_path / "model")
    assert facts["losses"].keys() == {"a", "b"}
    assert facts["step_seconds"] > 0
    assert 0 < facts["memory_bytes"] < facts["memory_total"]
    assert facts["disk_bytes"] == 3 * 3 * 4 * facts["run"]["parameters"]
    assert facts["options"]["training.iterations"] == {"value": 7, "origin": "--set"}
    assert facts["options"]["save.keep"] == {"value": 2, "origin": "default"}
    json.dumps(facts)


@attrs.frozen
class WatcherOptions:
    """A section that is not called after its add-on."""

    count: int = option(1, "How many.", minimum=1, maximum=9)


class Watcher:
    """An add-on that must not be asked to watch."""

    name = "watcher"

    @hookimpl
    def config_defaults(self):
        return {"watching": WatcherOptions}

    @hookimpl
    def check_options(self, config):
        if config["watching"].count == 7:
            raise ConfigError("watching.count: not seven")

    @hookimpl
    def create_addon(self, run):
        raise AssertionError("this is a dry run")


def test_options_of_addons_are_read_and_checked_in_a_dry_run_without_running_them(tmp_path):
    wanted = request(tmp_path, batch_size="auto")
    wanted.addons, wanted.values["watching"] = (Watcher(),), {"count": 3}
    resolve_batch_size(wanted)
    facts = dry_run(wanted).facts
    assert facts["options"]["watching.count"] == {"value": 3, "origin": "--set"}
    for count, says in ((10, r"watching\.count: 10 is above"), (7, "not seven")):
        wanted.values["watching"] = {"count": count}
        with pytest.raises(ConfigError, match=says):
            dry_run(wanted)


def test_a_dry_run_of_a_trained_model_may_go_on_beside_its_run(tmp_path):
    with tiny_run(tmp_path, set={"training.iterations": 2}) as run:
        run.train()
    before = everything_in(tmp_path)
    with tiny_run(tmp_path, set={"training.iterations": 9}) as busy:
        facts = dry_run(request(tmp_path, iterations=5)).facts
        busy.close(save=False)
    assert (facts["run"]["start_step"], facts["steps"]) == (2, 3)
    assert [n for n in everything_in(tmp_path) if "checkpoints" in n] == [
        n for n in before if "checkpoints" in n
    ]


def test_a_dry_run_fails_as_the_run_would(tmp_path):
    with pytest.raises(ConfigError, match="iterations"):
        dry_run(request(tmp_path, iterations=0))
    wanted = request(tmp_path)
    wanted.folders["a"] = tmp_path / "nowhere"
    with pytest.raises(FacesError):
        dry_run(wanted)
    assert everything_in(tmp_path) == ["a", "b"]


def test_auto_becomes_a_number_once_and_stays(tmp_path):
    wanted = request(tmp_path, batch_size="auto")
    line = resolve_batch_size(wanted)
    size = wanted.values["training"]["batch_size"]
    assert size in (1, 2, 4, 8, 16, 32, 64, 128, 256)
    assert line.startswith(f"batch size {size} per side, ")
    assert everything_in(tmp_path) == ["a", "b"]
    with tiny_run(tmp_path, set={"training.batch_size": 8, "training.iterations": 1}) as run:
        run.train()
    again = request(tmp_path, batch_size="auto")
    assert resolve_batch_size(again) is None
    assert "batch_size" not in again.values["training"]


@pytest.mark.parametrize(
    ("seconds", "found"),
    [
        (lambda size: 1.0, 256),
        (lambda size: 1.0 * size, 1),
        (lambda size: max(1.0, size / 8), 8),
        (lambda size: 20.0 + size / 100, 1),
    ],
)
def test_the_batch_grows_while_it_pays(tmp_path, seconds, found):
    with tiny_run(tmp_path) as tiny:
        assert search(tiny, seconds)[0] == found
        tiny.close(save=False)


def test_the_batch_stops_where_memory_does(tmp_path):
    def seconds(size):
        if size > limit:
            raise TrainingError("out of memory") from MemoryError()
        return 1.0

    with tiny_run(tmp_path) as tiny:
        limit = 32
        assert search(tiny, seconds)[0] == 32
        limit = 0
        with pytest.raises(TrainingError, match="not even one face"):
            search(tiny, seconds)
        tiny.close(save=False)


def test_a_failing_trainer_is_not_taken_for_a_lack_of_memory(tmp_path):
    def broken(batch):
        raise ValueError("broken")

    class Broken(PlainTrainer):
        @hookimpl
        def create_trainer(self, run):
            trainer = super().create_trainer(run)
            trainer.train_step = broken
            return trainer

    wanted = request(tmp_path, batch_size="auto")
    wanted.objects["trainers"] = Broken()
    with pytest.raises(Exception, match="broken"):
        resolve_batch_size(wanted)


def test_advice_names_what_saves_most(tmp_path, monkeypatch):
    with tiny_run(tmp_path) as tiny:
        device = tiny.device
        tiny.close(save=False)
    monkeypatch.setattr(memory, "total", lambda _: 8_000_000_000)
    few = memory.advice(1_000_000, 16, "fp32", device)
    assert few == "try -b 8, which frees about 3.99 GB"
    many = memory.advice(400_000_000, 16, "fp32", device)
    assert many.startswith("weights, gradients and moments alone take about 6.4 GB of 8 GB")
    assert "a smaller network" in memory.advice(1_000_000, 1, "fp32", device)
