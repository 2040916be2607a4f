"""The state machine of saves: nothing is torn, nothing is lost, nothing is hidden."""

from __future__ import annotations

import pytest
import torch
from fs_kernel.errors import BadStepError, ModelFolderError, TrainingError
from fs_kernel.options.defaults import SaveOptions
from fs_kernel.storage import checkpoints as checkpoint
from fs_kernel.storage import files
from fs_kernel.storage.checkpoints import Checkpoints
from fs_kernel.training.checkpointer import Checkpointer, SaveFailure, saved_or_raise
from fs_kernel.training.staging import Staging
from gates import gate
from generations import content, loaded, names
from runs import SteppedTrainer, held, identical, open_tiny, state_of, train

__all__ = ["gate"]


# --- failures in the thread ---


class Made:
    """A checkpointer whose checkpoints hold what is given."""

    def __init__(self, folder, **options):
        self.content = None
        self.asked = []
        self.options = SaveOptions(**options)
        self.checkpointer = Checkpointer(
            Checkpoints(folder),
            self._capture,
            lambda: self.options,
            Staging(64, pinned=False),
            0,
        )

    def _capture(self, with_trainer, copy):
        self.asked.append(with_trainer)
        return self.content

    def start(self, step, trained=None, **facts):
        self.content = content(step)
        if trained is not None:
            self.content.weights["a/kernel"] = trained
        self.checkpointer.start(**facts)

    def save(self, *arguments, **facts):
        self.start(*arguments, **facts)
        return self.checkpointer.collect(wait=True)


def test_a_failure_is_handed_over_and_the_next_save_works(tmp_path, monkeypatch):
    made = Made(tmp_path)
    assert made.save(1).step == 1
    with monkeypatch.context() as patch:
        patch.setattr(
            files, "write_chunks", lambda *_: (_ for _ in ()).throw(OSError(28, "No space"))
        )
        failed = made.save(2)
    assert isinstance(failed, SaveFailure)
    assert failed.step == 2
    assert failed.message.endswith("No space; the checkpoint of step 1 is intact")
    with pytest.raises(ModelFolderError, match=r"could not save step 2 in .*: No space"):
        saved_or_raise(failed)
    assert not made.checkpointer.busy
    assert made.checkpointer.last_step == 1
    assert loaded(tmp_path) == 1
    assert made.save(3).step == 3
    assert loaded(tmp_path) == 3


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_numbers_are_never_written(tmp_path, value):
    made = Made(tmp_path)
    made.save(1)
    with pytest.raises(BadStepError, match="step 2: the weight a/kernel is not finite"):
        made.save(2, torch.tensor([1.0, value]))
    assert not made.checkpointer.busy
    assert names(tmp_path) == ["000000001"]
    assert loaded(tmp_path) == 1


class Poison(SteppedTrainer):
    """One weight becomes not-a-number at a step; the losses of that step are still finite."""

    def __init__(self, at):
        self.at = at

    def after(self, batch, result):
        if batch.step == self.at:
            parameter = self.run.parameters()["decoder_a/face/bias"]
            with torch.no_grad():
                parameter.fill_(float("nan"))
        return result


def test_weights_that_are_not_numbers_end_the_run_with_the_last_checkpoint_intact(tmp_path):
    train(tmp_path, 2)
    before = held(tmp_path)
    with pytest.raises(TrainingError, match=r"step 4: the weight decoder_a/face/bias") as caught:
        train(tmp_path, 4, trainer=Poison(4))
    assert caught.value.exit_code == 6
    assert identical(held(tmp_path), before)
    assert train(tmp_path, 4).step == 4


def test_a_background_save_of_such_weights_ends_the_run(tmp_path):
    train(tmp_path, 2)
    values = {"training.metrics_interval": 1000}
    with pytest.raises(TrainingError, match="not finite"):
        train(tmp_path, 400, every=2, trainer=Poison(4), set=values)
    assert state_of(tmp_path)["iterations"] == 2


def test_memory_that_runs_out_in_the_thread_is_a_failed_save(tmp_path, monkeypatch, events):
    train(tmp_path, 1)
    with monkeypatch.context() as patch:
        run = open_tiny(tmp_path, 40, every=1)

        def exhausted(*_):
            raise MemoryError

        patch.setattr(checkpoint.tensors, "chunks", exhausted)
        steps = iter(run)
        while not events(tmp_path, "save_failed"):
            next(steps)
    run.request_stop()
    run.train()
    assert "Cannot allocate memory" in events(tmp_path, "save_failed")[0]["message"]
    assert state_of(tmp_path)["iterations"] == run.step


def test_memory_that_runs_out_while_copying_is_one_line(tmp_path, monkeypatch):
    train(tmp_path, 1)

    def exhausted(self, tensor):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9")

    with monkeypatch.context() as patch:
        patch.setattr(Staging, "copy", exhausted)
        with pytest.raises(TrainingError, match="out of memory at batch size 4"):
            train(tmp_path, 3)
    assert train(tmp_path, 3).step == 3


# --- the state machine ---


def test_one_save_is_in_flight_until_it_is_collected(tmp_path, gate):
    made = Made(tmp_path)
    assert made.checkpointer.collect() is None
    made.start(1)
    assert gate.reached.wait(30)
    assert made.checkpointer.busy
    assert made.checkpointer.collect() is None, "it is being written"
    assert made.checkpointer.unsaved(1)
    gate.open.set()
    saved = made.checkpointer.collect(wait=True)
    assert (saved.step, saved.generation) == (1, "000000001")
    assert not made.checkpointer.busy
    assert made.checkpointer.collect(wait=True) is None, "reported once"
    assert made.checkpointer.last_step == 1


def test_a_session_ends_with_a_save_that_knew_it_would_be_the_last(tmp_path):
    made = Made(tmp_path)
    assert not made.checkpointer.unsaved(0)
    assert made.checkpointer.unsaved(1)
    made.save(1)
    assert made.checkpointer.unsaved(1)
    made.save(1, final=True)
    assert not made.checkpointer.unsaved(1)
    assert made.checkpointer.unsaved(2)


@pytest.mark.parametrize(
    ("policy", "asked"), [("always", [True] * 2), ("exit", [False, True]), ("never", [False] * 2)]
)
def test_the_trainer_is_asked_for_its_state_as_the_option_says(tmp_path, policy, asked):
    made = Made(tmp_path, optimizer=policy)
    made.save(1)
    made.save(2, final=True)
    assert made.asked == asked


def test_going_back_again_without_a_save_goes_one_checkpoint_further(tmp_path):
    made = Made(tmp_path, keep=9)
    for step in (1, 2, 3):
        made.save(step)
    back = made.checkpointer
    for step in (3, 2, 1, 1):
        name = back.roll_back(pytest.fail)
        assert name == f"{step:09d}"
        back.returned(name, step)
        assert back.last_step == step
        assert not back.unsaved(step)
    made.save(2)
    assert back.roll_back(pytest.fail) == "000000002-002"


def test_a_process_that_writes_nothing_takes_part_in_the_copy(tmp_path):
    asked = []
    checkpoints = Checkpoints(tmp_path)

    def capture(with_trainer, copy):
        asked.append(copy("a tensor"))

    other = Checkpointer(checkpoints, capture, SaveOptions, None, 0)
    other.start()
    assert asked == ["a tensor"]
    assert not other.busy
    assert other.collect(wait=True) is None
    assert list(tmp_path.iterdir()) == []
