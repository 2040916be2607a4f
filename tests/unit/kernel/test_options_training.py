"""What the options of ``[training]`` and ``[save]`` do that no other test shows by itself."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest
import torch
from fs_kernel.errors import UsageError
from fs_kernel.storage.checkpoints import Checkpoints
from fs_kernel.testing import tiny_run
from runs import Watching

NAMES = {"trainer": "plain", "feed": "arrays", "executor": "straight", "addons": ["counting"]}
KINDS = {
    "trainers": {"plain": "fs_kernel.testing.plugins:PlainTrainer"},
    "feeds": {"arrays": "fs_kernel.testing.plugins:ArrayFeed"},
    "executors": {"straight": "fs_kernel.testing.plugins:PlainExecutor"},
    "addons": {"counting": "counting_code"},
}
COUNTING = """
from fs_kernel import hookimpl

steps = []

class Counting:
    def on_metrics(self, metrics):
        steps.append(metrics.step)

class Both:
    def observers(self):
        return [Counting()]

@hookimpl
def create_addon():
    return Both()
"""


def run(folder, steps=1, **settings):
    folder.mkdir(exist_ok=True)
    given = {f"training.{name}": value for name, value in settings.items()}
    return tiny_run(folder, set={"training.iterations": steps, **given})


def weights(folder, **settings):
    with run(folder, **settings) as opened:
        opened.train()
    checkpoints = Checkpoints(folder / "model")
    return checkpoints.read_weights(checkpoints.latest_valid(pytest.fail))


def test_trainer_feed_executor_and_addons_are_taken_by_name(site, tmp_path):
    site.install("fs-by-name", KINDS, {"counting_code": COUNTING})
    given = {f"training.{name}": value for name, value in NAMES.items()}
    with tiny_run(
        tmp_path,
        trainer=None,
        feed=None,
        executor=None,
        addons=None,
        set={"training.iterations": 3, **given},
    ) as opened:
        opened.train()
        info = opened.info
    assert (info.trainer, info.feed, info.executor) == ("plain", "arrays", "straight")
    import counting_code

    assert counting_code.steps == [1, 2, 3]


@pytest.mark.parametrize("batch_size", [1, 5])
def test_a_batch_has_batch_size_faces_per_side(tmp_path, batch_size):
    seen = []
    observer = SimpleNamespace(on_first_batch=seen.append)
    with tiny_run(
        tmp_path,
        addons=[Watching(observer)],
        set={"training.iterations": 1, "training.batch_size": batch_size},
    ) as opened:
        opened.train()
        assert opened.info.batch_size == batch_size
    assert [len(faces) for faces in seen[0].inputs.values()] == [batch_size, batch_size]


def test_the_seed_decides_the_weights(tmp_path):
    one, same, other = (
        weights(tmp_path / name, seed=seed) for name, seed in (("a", 7), ("b", 7), ("c", 8))
    )
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_the_device_is_the_one_named_or_refused(tmp_path):
    with run(tmp_path, device="cpu") as opened:
        assert opened.info.device == "cpu"
        assert {str(p.device) for p in opened.network.model.parameters()} == {"cpu"}
    with pytest.raises(UsageError, match="device 'cuda:99' cannot be used here"):
        run(tmp_path / "other", device="cuda:99")


def test_metrics_interval_is_the_pace_of_reports(tmp_path, events):
    with run(tmp_path, steps=6, metrics_interval=3) as opened:
        opened.train()
    assert [event["step"] for event in events(tmp_path, "metrics")] == [3, 6]


@pytest.mark.parametrize(
    ("interval", "keep", "expected"),
    [(2, 9, [6, 4, 2]), (3, 9, [6, 3]), (2, 1, [6]), (2, 2, [6, 4])],
)
def test_save_interval_and_keep_decide_which_checkpoints_there_are(
    tmp_path, interval, keep, expected
):
    settings = {"training.iterations": 6, "save.interval": interval, "save.keep": keep}
    with tiny_run(tmp_path, set=settings) as opened:
        for _ in opened:
            # A save that is not done yet when the next is due puts that one off.
            for thread in threading.enumerate():
                if thread.name == "fs-checkpointer":
                    thread.join()
    assert [made.step for made in Checkpoints(tmp_path / "model").checkpoints()] == expected
