"""Saving beside the training: nothing is torn, nothing is lost, nothing is hidden."""

from __future__ import annotations

import itertools
import threading

import pytest
import torch
from fs_kernel.cli import run_cli
from fs_kernel.errors import BadStepError, ConfigError, ModelFolderError, TrainingError
from fs_kernel.options.defaults import SaveOptions
from fs_kernel.storage import checkpoints as checkpoint
from fs_kernel.storage import files, tree
from fs_kernel.storage.checkpoints import Checkpoints
from fs_kernel.training.checkpointer import Checkpointer, SaveFailure, saved_or_raise
from fs_kernel.training.staging import Staging
from generations import content, loaded, names
from runs import SteppedTrainer, held, identical, open_tiny, state_of, train


class Gate:
    """Holds the writing of files until it is opened."""

    def __init__(self, monkeypatch):
        self.reached, self.open, self.inside, self.most = threading.Event(), threading.Event(), 0, 0
        self._write = files.write_chunks
        monkeypatch.setattr(files, "write_chunks", self.write)

    def write(self, path, chunks):
        if path.name != "weights.safetensors":
            return self._write(path, chunks)
        self.inside += 1
        self.most = max(self.most, self.inside)
        self.reached.set()
        assert self.open.wait(30)
        try:
            return self._write(path, chunks)
        finally:
            self.inside -= 1


@pytest.fixture
def gate(monkeypatch):
    made = Gate(monkeypatch)
    yield made
    made.open.set()


# --- the staging buffer ---


def test_copies_are_contiguous_equal_and_apart():
    staging = Staging(1 << 16, pinned=False)
    sources = [
        torch.arange(12.0).reshape(3, 4).t(),
        torch.tensor(5.0),
        torch.empty(0, 3),
        torch.tensor([True, False, True]),
        torch.ones(3, dtype=torch.bfloat16),
        torch.arange(5, dtype=torch.int64),
        torch.ones(2, 3, 4, 5).to(memory_format=torch.channels_last),
        torch.ones(3, requires_grad=True) * 2,
    ]
    staging.reset()
    copies = [staging.copy(source) for source in sources]
    for source, copy in zip(sources, copies, strict=True):
        assert copy.is_contiguous()
        assert not copy.requires_grad
        assert copy.dtype == source.dtype
        assert torch.equal(copy, source)
    for copy in copies:
        copy.zero_()
    assert sources[0][0, 1] == 4.0


def test_the_buffer_is_reused_and_grows_once():
    staging = Staging(64, pinned=False)
    first = staging._buffer.data_ptr()
    staging.reset()
    small, large = staging.copy(torch.ones(4)), staging.copy(torch.ones(1000))
    assert small.data_ptr() == first
    assert torch.equal(large, torch.ones(1000))
    staging.reset()
    grown = staging._buffer.data_ptr()
    places = [staging.copy(torch.ones(4)).data_ptr(), staging.copy(torch.ones(1000)).data_ptr()]
    assert places[0] == grown
    assert grown < places[1] < grown + len(staging._buffer)
    staging.reset()
    assert staging._buffer.data_ptr() == grown
    assert [staging.copy(torch.ones(4)).data_ptr(), staging.copy(torch.ones(1000)).data_ptr()] == (
        places
    )


def test_a_session_s_buffer_is_large_enough_from_the_start(tmp_path):
    with open_tiny(tmp_path, 2) as run:
        run.advance()
        staging = run._saves.checkpointer._staging
        before = staging._buffer.data_ptr()
        run.save()
        assert staging._used <= len(staging._buffer)
        assert staging._buffer.data_ptr() == before


# --- beside the training ---


def test_training_on_does_not_change_what_is_written(tmp_path, gate, events):
    """The write of step 2 is held back until step 6; it must still be step 2 to the bit."""
    (tmp_path / "slow").mkdir()
    run = open_tiny(tmp_path / "slow", 8, every=2)
    steps = iter(run)
    for _ in range(6):
        next(steps)
    assert gate.reached.is_set()
    assert run._saves.checkpointer.busy
    gate.open.set()
    while run._saves.checkpointer.collect() is None:
        threading.Event().wait(0.01)
    slow = held(tmp_path / "slow")
    run.close(save=False)
    (tmp_path / "plain").mkdir()
    train(tmp_path / "plain", 2)
    assert state_of(tmp_path / "slow")["iterations"] == 2
    assert identical(slow, held(tmp_path / "plain"))


def test_two_saves_never_overlap(tmp_path, gate, events):
    run = open_tiny(tmp_path, 9, every=1)
    threading.Timer(0.3, gate.open.set).start()
    run.train()
    assert gate.most == 1
    steps = [e["step"] for e in events(tmp_path, "saved")]
    assert steps == sorted(set(steps))
    assert steps[-1] == 9
    assert state_of(tmp_path)["iterations"] == 9


def test_two_saves_in_a_row_do_not_share_their_tensors(tmp_path):
    """The buffer is one: the second capture may begin only when the first is on disk."""
    with open_tiny(tmp_path, 4, set={"save.keep": 5}) as run:
        for _ in run:
            run.save()
    checkpoints = Checkpoints(tmp_path / "model")
    assert [g.step for g in checkpoints.checkpoints()] == [4, 4, 3, 2, 1]
    made = [checkpoints.read_weights(g.name) for g in checkpoints.checkpoints()[1:]]
    for one, two in itertools.pairwise(made):
        if one["encoder/conv/kernel"].equal(two["encoder/conv/kernel"]):
            pytest.fail("two steps were saved with the same weights")


def test_the_end_waits_for_the_last_save(tmp_path, gate):
    run = open_tiny(tmp_path, 3, every=2)
    for _ in range(2):
        run.advance()
    run._decide()
    assert gate.reached.wait(30)
    threading.Timer(0.3, gate.open.set).start()
    run.close(save=False)
    assert not [t for t in threading.enumerate() if t.name == "fs-checkpointer"]
    assert state_of(tmp_path)["iterations"] == 2


def test_the_pause_is_told_apart_from_the_writing(tmp_path, gate, events):
    run = open_tiny(tmp_path, 100_000, every=2)
    steps = iter(run)
    while not gate.reached.is_set():
        next(steps)
    threading.Timer(0.3, gate.open.set).start()
    while not events(tmp_path, "saved"):
        next(steps)
    run.close()
    first = events(tmp_path, "saved")[0]
    assert 0 < first["pause_seconds"] < first["seconds"]
    assert first["seconds"] > 0.2


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


# --- bounds on the disk ---


def test_as_many_checkpoints_are_kept_as_fit(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    size = checkpoints.write(content(1), keep=9).bytes
    for step in range(2, 8):
        checkpoints.write(content(step), keep=9, max_bytes=size * 4 + 100)
        total = sum(g.bytes for g in checkpoints.checkpoints())
        assert total + size <= size * 4 + 100
    assert names(tmp_path) == ["000000007", "000000006", "000000005"]
    checkpoints.write(content(8), keep=9, max_bytes=1)
    assert names(tmp_path) == ["000000008"]
    assert loaded(tmp_path) == 8


def test_max_disk_is_honoured_at_every_moment_of_a_run(tmp_path, monkeypatch):
    train(tmp_path, 1)
    size = Checkpoints(tmp_path / "model").checkpoints()[0].bytes
    limit = int(size * 3.5)
    seen = []
    pointed = Checkpoints.set_current

    def look(self, name):
        pointed(self, name)
        seen.append(sum(p.stat().st_size for p in self._folder.rglob("*") if p.is_file()))

    monkeypatch.setattr(Checkpoints, "set_current", look)
    with open_tiny(tmp_path, 6, set={"save.keep": 50, "save.max_disk": str(limit)}) as run:
        assert run.info.disk_bytes == limit
        for _ in run:
            run.save()
    assert len(seen) >= 5
    assert max(seen) <= limit
    assert len(Checkpoints(tmp_path / "model").checkpoints()) == 2


def test_a_bound_that_cannot_hold_two_is_refused_at_the_start(tmp_path):
    with pytest.raises(ConfigError, match=r"save\.max_disk") as caught:
        open_tiny(tmp_path, 1, set={"save.max_disk": "10kB"})
    assert caught.value.exit_code == 2
    assert "too small for a checkpoint of about" in str(caught.value)
    assert not (tmp_path / "model").exists()


def test_the_start_says_how_much_disk_the_checkpoints_take(tmp_path):
    train(tmp_path, 1, set={"save.keep": 3})
    size = Checkpoints(tmp_path / "model").checkpoints()[0].bytes
    with open_tiny(tmp_path, 2) as run:
        assert run.info.disk_bytes == 4 * size
    facts = files.read_json(tmp_path / "model/logs/run.json")
    assert facts["disk_bytes"] == 4 * size


def test_a_pointer_that_cannot_be_replaced_does_not_pile_up_checkpoints(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.write(content(1), keep=2)

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(files, "write_atomic", full)
        for step in (2, 3, 4):
            with pytest.raises(OSError, match="No space"):
                checkpoints.write(content(step), keep=2)
    assert names(tmp_path) == ["000000001"]
    assert loaded(tmp_path) == 1


def test_a_clock_that_jumps_back_does_not_change_the_order(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path)
    for step, now in enumerate((1e9, 2e9, 5e8, 1.0), 1):
        monkeypatch.setattr(checkpoint.time, "time", lambda now=now: now)
        checkpoints.write(content(step), keep=3)
    assert names(tmp_path) == ["000000004", "000000003", "000000002"]
    (tmp_path / "checkpoint.json").unlink()
    assert loaded(tmp_path) == 4


# --- readers beside a writer ---


def test_reading_continues_while_a_run_saves(tmp_path, capsys):
    """With one checkpoint kept, what a reader has chosen is gone a moment later."""
    train(tmp_path, 1)
    run = open_tiny(tmp_path, 10**6, set={"save.keep": 1})
    done = threading.Event()
    failures = []

    def read():
        while not done.is_set():
            code = run_cli(["model", "info", str(tmp_path / "model")])
            checkpoints = Checkpoints(tmp_path / "model")

            def whole(checkpoints=checkpoints):
                return checkpoints.read_weights(checkpoints.latest_valid(failures.append))

            failures.extend([] if checkpoints.read_consistently(whole) else ["nothing"])
            failures.extend([code] if code else [])

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(12):
        run.advance()
        run.save()
    done.set()
    reader.join()
    run.close()
    assert failures == []
    assert "using checkpoint" not in capsys.readouterr().err


def test_a_checkpoint_is_never_listed_half_removed(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.write(content(1), keep=1)
    seen = []
    monkeypatch.setattr(
        checkpoint.shutil, "rmtree", lambda path, **_: seen.append((names(tmp_path), path.name))
    )
    checkpoints.write(content(2), keep=1)
    assert seen == [(["000000002"], ".writing-000000001")]


def test_packed_states_use_the_given_copy():
    copied = []
    tree.pack({"x": torch.ones(2)}, lambda tensor: copied.append(tensor) or tensor.clone())
    assert len(copied) == 1
