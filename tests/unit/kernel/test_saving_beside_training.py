"""Saving beside the training: nothing is torn, nothing is lost, nothing is hidden."""

from __future__ import annotations

import itertools
import threading

import pytest
import torch
from fs_kernel.storage.checkpoints import Checkpoints
from fs_kernel.training.staging import Staging
from gates import gate
from runs import held, identical, open_tiny, state_of, train

__all__ = ["gate"]


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
