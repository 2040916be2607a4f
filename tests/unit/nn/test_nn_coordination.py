"""What several processes agree on, with the processes played by threads."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import attrs
import numpy as np
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
from fs_kernel.training import SingleProcess, granted
from fs_kernel.training.sampler_feedback import SamplerFeedback
from fs_kernel.types import Decision, Message, OptionChange, SaveReason, StepResult, StopReason
from fs_nn.coordination import ManyProcesses


class Thread:
    """Processes (`fs_nn.processes`) played by threads."""

    def __init__(self, rank, size, table, barrier):
        self.rank, self.size, self.device, self.name = rank, size, None, ""
        self._table, self._barrier = table, barrier

    def all_gather(self, value):
        self._table[self.rank] = value
        self._barrier.wait(10)
        found = [self._table[rank] for rank in range(self.size)]
        self._barrier.wait(10)
        return found

    def broadcast(self, value):
        return self.all_gather(value)[0]

    def all_reduce_max(self, values):
        return torch.stack(self.all_gather(values)).max(dim=0).values

    def all_reduce_mean(self, values):
        return torch.stack(self.all_gather(values)).mean(dim=0)


def in_step(size, does):
    """What ``does(coordinator)`` gives or raises in each of ``size`` processes."""
    table, barrier = {}, threading.Barrier(size)

    def one(rank):
        try:
            return does(ManyProcesses(Thread(rank, size, table, barrier)))
        except Exception as error:
            return error

    with ThreadPoolExecutor(size) as pool:
        return list(pool.map(one, range(size)))


def test_the_strongest_wish_of_all_counts():
    def does(processes):
        wish = Decision(
            stop=[None, StopReason.TIME_UP, StopReason.STOPPED][processes.rank],
            preview_faces=[4, 14, 0][processes.rank],
            read_metrics=processes.is_main,
        )
        return processes.decide(wish)

    decisions = in_step(3, does)
    assert decisions == [Decision(StopReason.STOPPED, read_metrics=True, preview_faces=14)] * 3


def test_the_larger_reason_to_save_counts_unless_a_save_is_in_flight():
    def does(processes, busy=False):
        reason = SaveReason.SNAPSHOT if processes.rank else SaveReason.SCHEDULED
        return processes.decide(Decision(save=reason, save_blocked=busy and processes.is_main))

    assert [made.save for made in in_step(2, does)] == [SaveReason.SNAPSHOT] * 2
    blocked = in_step(2, lambda processes: does(processes, busy=True))
    assert [(made.save, made.save_blocked) for made in blocked] == [(None, True)] * 2


def test_options_are_those_of_process_0_and_messages_those_of_all():
    change = OptionChange("save.keep", 3)

    def does(processes):
        options = (change,) if processes.is_main else (OptionChange("save.keep", 99),)
        said = (Message("note", f"from {processes.rank}"),) if processes.rank else ()
        return processes.decide(Decision(options=options, messages=said))

    for made in in_step(3, does):
        assert made.options == (change,)
        assert [str(message) for message in made.messages] == [
            "process 1: from 1",
            "process 2: from 2",
        ]


def test_a_quiet_decision_is_one_reduction():
    """Options and messages are rare; without them nothing is pickled between two steps."""

    def does(processes):
        processes.group.all_gather = None
        processes.group.all_reduce_max = lambda values: values
        return processes.decide(Decision(read_metrics=True))

    assert in_step(1, does) == [Decision(read_metrics=True)]


def test_a_failure_of_one_is_the_failure_of_all():
    def does(processes):
        def act():
            if processes.rank == 1:
                raise FacesError("face 3 is broken")

        processes.everywhere(act)

    first, second, third = in_step(3, does)
    assert {type(e) for e in (first, second, third)} == {FacesError}
    assert str(first) == str(third) == "process 1 of 3: face 3 is broken"
    assert [e.quiet for e in (first, second, third)] == [False, True, True]
    assert all(e.agreed for e in (first, second, third))


def test_a_failure_before_a_step_ends_the_decision_of_all():
    def does(processes):
        return processes.decide(Decision(), FacesError("gone") if processes.rank else None)

    errors = in_step(2, does)
    assert [str(error) for error in errors] == ["process 1 of 2: gone", "gone"]
    assert [error.quiet for error in errors] == [False, True]


def test_what_an_error_knows_goes_with_it():
    def does(processes):
        def act():
            if processes.is_main:
                raise BadStepError(7, "step 7 is bad")

        processes.everywhere(act)

    assert [(e.step, str(e)) for e in in_step(2, does)] == [(7, "step 7 is bad")] * 2


def test_each_process_has_its_own_result_or_that_of_process_0():
    assert in_step(3, lambda p: p.everywhere(lambda: p.rank)) == [0, 1, 2]
    acted = []
    assert in_step(3, lambda p: p.on_main(lambda: acted.append(p.rank) or "made")) == ["made"] * 3
    assert acted == [0]

    def fail():
        raise ModelFolderError("full")

    errors = in_step(2, lambda p: p.on_main(fail))
    assert [(type(e), str(e), e.quiet) for e in errors] == [
        (ModelFolderError, "full", False),
        (ModelFolderError, "full", True),
    ]


def test_what_one_process_meets_alone_may_be_tried_again():
    def does(processes):
        return [
            processes.as_group_error(e)
            for e in (PluginError("broke"), RuntimeError("gone"), BadStepError(1, "bad"))
        ]

    for rank, (plugin, fault, bad) in enumerate(in_step(2, does)):
        assert isinstance(plugin, ProcessError)
        assert str(plugin) == f"process {rank} of 2: broke"
        assert str(fault) == f"process {rank} of 2: RuntimeError: gone"
        assert isinstance(bad, BadStepError), "all read the same losses"
    error = PluginError("broke")
    assert SingleProcess().as_group_error(error) is error


def test_facts_that_differ_name_both_processes():
    def does(processes):
        facts = {"torch": "2.13" if processes.rank < 2 else "2.12", "keras": "3"}
        processes.require_identical(facts, UsageError, "install the same")

    for error in in_step(3, does):
        assert isinstance(error, UsageError)
        assert str(error).startswith("torch is 2.13 in process 0 (")
        assert "but 2.12 in process 2 (" in str(error)
    assert in_step(2, lambda p: p.require_identical({"x": 1}, UsageError, "")) == [None, None]


def test_losses_of_faces_come_together_in_the_order_of_their_places():
    batch = np.arange(7)

    class Sampler:
        def update(self, step, indices, losses):
            self.told = step, indices["a"].tolist(), losses["a"].tolist()

    def does(processes):
        sampler = Sampler()
        mine = batch[list(processes.local_indices(7))]
        feedback = SamplerFeedback(sampler, processes.collect)
        losses = torch.as_tensor(mine, dtype=torch.float64)
        feedback.add(3, {"a": mine}, StepResult([], sample_loss={"a": losses}))
        assert not hasattr(sampler, "told"), "so early, reading would wait for the device"
        feedback.tell()
        return sampler.told

    assert in_step(3, does) == [(3, batch.tolist(), batch.tolist())] * 3


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


def test_a_single_process_is_a_group_of_one():
    alone = SingleProcess()
    assert (alone.group.rank, alone.group.size, alone.group.name) == (0, 1, "")
    values = torch.tensor([1.0, float("nan")])
    assert alone.mean(values) is values
    assert alone.collect(3) == [3]
    assert alone.broadcast(3) == 3
    assert alone.local_indices(4) == range(4)
    assert alone.everywhere(lambda: 5) == alone.on_main(lambda: 5) == 5
    with pytest.raises(FacesError):
        alone.decide(Decision(), FacesError("gone"))


@pytest.mark.parametrize("wish", [Decision(save_blocked=True), Decision(stop=StopReason.STOPPED)])
def test_a_save_waits_for_the_one_in_flight_and_for_the_end(wish):
    asked = attrs.evolve(wish, save=SaveReason.REQUESTED)
    assert granted(asked) == wish
    assert SingleProcess().decide(asked) == wish
    assert granted(Decision(save=SaveReason.REQUESTED)).save is SaveReason.REQUESTED
