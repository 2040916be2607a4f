"""What several processes agree on, with the processes played by threads."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from fs_kernel.errors import (
    BadStepError,
    FacesError,
    ModelFolderError,
    PluginError,
    ProcessError,
    UsageError,
)
from fs_kernel.randomness import capture, seed_apart, seed_everything
from fs_kernel.storage import lock as locks
from fs_kernel.storage.lock import FolderLock
from fs_kernel.training import coordination as groups
from fs_kernel.training.coordination import Alone, Plan, agree, outcome, require_alike, together
from fs_kernel.training.step import _interleaved


class Thread:
    """A `fs_kernel.types.Group` among threads."""

    def __init__(self, rank, size, table, barrier):
        self.rank, self.size, self.device, self.name = rank, size, None, ""
        self._table, self._barrier = table, barrier

    def gather(self, value):
        self._table[self.rank] = value
        self._barrier.wait(10)
        found = [self._table[rank] for rank in range(self.size)]
        self._barrier.wait(10)
        return found

    def share(self, value):
        return self.gather(value)[0]

    def largest(self, values):
        return torch.stack(self.gather(values)).max(dim=0).values

    def mean(self, values):
        return torch.stack(self.gather(values)).mean(dim=0)


def in_step(size, does):
    """What ``does(group)`` gives or raises in each of ``size`` processes."""
    table, barrier = {}, threading.Barrier(size)

    def one(rank):
        try:
            return does(Thread(rank, size, table, barrier))
        except Exception as error:
            return error

    with ThreadPoolExecutor(size) as pool:
        return list(pool.map(one, range(size)))


def test_the_largest_wish_wins():
    plans = in_step(3, lambda g: Plan(stop=g.rank == 2, preview=[4, 14, 0][g.rank]).agreed(g, None))
    assert {(plan.stop, plan.preview, plan.save) for plan in plans} == {(1, 14, 0)}


def test_a_failure_of_one_is_the_failure_of_all():
    def does(group):
        with together(group):
            if group.rank == 1:
                raise FacesError("face 3 is broken")

    first, second, third = in_step(3, does)
    assert {type(e) for e in (first, second, third)} == {FacesError}
    assert str(first) == str(third) == "process 1 of 3: face 3 is broken"
    assert [e.quiet for e in (first, second, third)] == [False, True, True]
    assert all(e.agreed for e in (first, second, third))


def test_what_an_error_knows_goes_with_it():
    def does(group):
        agree(group, BadStepError(7, "step 7 is bad") if group.rank == 0 else None, ())

    assert [(e.step, str(e)) for e in in_step(2, does)] == [(7, "step 7 is bad")] * 2


def test_what_one_process_meets_alone_may_be_tried_again():
    def does(group):
        return [
            outcome(group, e)
            for e in (PluginError("broke"), RuntimeError("gone"), BadStepError(1, "bad"))
        ]

    for rank, (plugin, fault, bad) in enumerate(in_step(2, does)):
        assert isinstance(plugin, ProcessError)
        assert str(plugin) == f"process {rank} of 2: broke"
        assert str(fault) == f"process {rank} of 2: RuntimeError: gone"
        assert isinstance(bad, BadStepError), "all read the same losses"
    error = PluginError("broke")
    assert outcome(Alone(), error) is error


def test_facts_that_differ_name_both_processes():
    def does(group):
        facts = {"torch": "2.13" if group.rank < 2 else "2.12", "keras": "3"}
        require_alike(group, facts, UsageError, "install the same")

    for error in in_step(3, does):
        assert isinstance(error, UsageError)
        assert str(error).startswith("torch is 2.13 in process 0 (")
        assert "but 2.12 in process 2 (" in str(error)
    assert in_step(2, lambda g: require_alike(g, {"x": 1}, UsageError, "")) == [None, None]


def test_shares_of_a_batch_in_the_order_of_its_slots():
    import numpy as np

    batch = np.arange(7)
    parts = [{"a": batch[rank::3]} for rank in range(3)]
    assert (_interleaved(parts)["a"] == batch).all()


def test_processes_draw_apart():
    seed_everything(4)
    first = capture(torch.device("cpu"))["torch"]
    seed_apart(4, 0, 0, [])
    assert capture(torch.device("cpu"))["torch"].equal(first)
    states = [torch.tensor([9, 3])]
    seed_apart(4, 0, 1, states)
    assert not capture(torch.device("cpu"))["torch"].equal(first)
    assert states[0][0] != 9
    assert states[0][1] == 3


def test_a_group_takes_over_the_lock_it_left_on_another_machine(tmp_path, monkeypatch):
    """Process 0 may be on another machine after a restart."""
    note = {"host": "elsewhere", "pid": 1, "since": time.time(), "group": "job7"}
    (tmp_path / locks.NAME).write_text(json.dumps(note))
    for group in ("", "job8"):
        with pytest.raises(ModelFolderError, match="in use by process 1 on elsewhere"):
            FolderLock(tmp_path, group)
    FolderLock(tmp_path, "job7").release()


def test_alone_is_a_group_of_one():
    alone = Alone()
    values = torch.tensor([1.0, float("nan")])
    assert alone.mean(values) is alone.largest(values) is values
    assert alone.gather(3) == [3]
    assert alone.share(3) == 3
    assert groups.agree(alone, None, (1, 2)) == [1, 2]
