"""Which generations stay: the newest, the best, and snapshots."""

from __future__ import annotations

import json

import attrs
import pytest
from fs_kernel.cli import run_cli
from fs_kernel.storage.checkpoints import Checkpoints
from generations import content
from runs import open_tiny, train


def write(folder, step, loss=None, snapshot=False, loss_steps=10, **bounds):
    made = attrs.evolve(content(step), loss=loss, loss_steps=loss_steps, snapshot=snapshot)
    return Checkpoints(folder).write(made, **{"keep": 2, **bounds})


def names(folder):
    return sorted(int(g.name[:9]) for g in Checkpoints(folder).checkpoints())


def test_the_best_stay_besides_the_newest(tmp_path):
    for step, loss in enumerate([0.9, 0.3, 0.8, 0.2, 0.7, 0.6, None], 1):
        write(tmp_path, step, loss, keep_best=2)
    assert names(tmp_path) == [2, 4, 6, 7]


def test_F20_a_few_lucky_steps_make_no_best_generation(tmp_path):
    write(tmp_path, 1, 0.5, keep_best=1)
    write(tmp_path, 2, 0.1, keep_best=1, loss_steps=9)
    for step in (3, 4, 5):
        write(tmp_path, step, 0.9, keep_best=1)
    assert names(tmp_path) == [1, 4, 5]


def test_snapshots_stay_and_do_not_count(tmp_path):
    for step in range(1, 8):
        write(tmp_path, step, snapshot=step in (2, 5))
    assert names(tmp_path) == [2, 5, 6, 7]
    assert [g.snapshot for g in Checkpoints(tmp_path).checkpoints()] == [False, False, True, True]


def test_snapshots_stay_when_room_is_short_and_take_it_from_the_others(tmp_path):
    size = write(tmp_path, 1, snapshot=True).bytes
    for step in (2, 3, 4):
        write(tmp_path, step, keep=5, max_bytes=int(size * 3.5))
    assert names(tmp_path) == [1, 4]


def test_a_snapshot_holds_exactly_the_step_in_its_name_F21_F14(tmp_path):
    train(tmp_path, 9, every=1, set={"save.snapshot_interval": 3})
    held = Checkpoints(tmp_path / "model")
    marked = [g for g in held.checkpoints() if g.snapshot]
    assert [g.step for g in marked] == [9, 6, 3]
    assert [held.read_state(g.name)["iterations"] for g in marked] == [9, 6, 3]
    straight = tmp_path / "straight"
    straight.mkdir()
    train(straight, 3)
    other = Checkpoints(straight / "model")
    a, b = held.read_weights("000000003"), other.read_weights("000000003")
    assert all((a[name] == b[name]).all() for name in a)


def test_no_snapshot_unless_asked_for_F14(tmp_path):
    train(tmp_path, 4, every=1)
    assert not any(g.snapshot for g in Checkpoints(tmp_path / "model").checkpoints())


def test_a_snapshot_on_request(tmp_path):
    with open_tiny(tmp_path, 5) as run:
        for metrics in run:
            if metrics.step == 2:
                run.request_snapshot()
    steps = [g.step for g in Checkpoints(tmp_path / "model").checkpoints() if g.snapshot]
    assert steps == [2] or steps == [3]


def test_F20_the_loss_of_a_generation_is_that_of_the_steps_before_it(tmp_path):
    with open_tiny(tmp_path, 4, every=0) as run:
        losses = [sum(metrics.losses.values()) for metrics in run]
    (made,) = Checkpoints(tmp_path / "model").checkpoints()
    assert made.loss == pytest.approx(sum(losses) / 4)
    assert made.loss_steps == 4


# --- commands ---


@pytest.fixture
def five(tmp_path):
    for step in range(1, 6):
        write(tmp_path, step, loss=step / 10, keep=9)
    return tmp_path


def test_checkpoints_are_listed_with_size_loss_and_kind(five, capsys):
    assert run_cli(["model", "snapshot", str(five), "000000002"]) == 0
    assert run_cli(["model", "checkpoints", str(five), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["step"] for row in rows] == [5, 4, 3, 2, 1]
    assert [row["snapshot"] for row in rows] == [False, False, False, True, False]
    assert rows[0]["loss"] == 0.5
    assert run_cli(["model", "checkpoints", str(five)]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[3].split()[-1] == "snapshot"
    assert out[-1].startswith("5 checkpoints, ")
    assert Checkpoints(five).validation_error("000000002") is None


def test_gc_keeps_the_current_the_newest_and_snapshots(five, capsys):
    assert run_cli(["model", "restore", str(five), "000000003"]) == 0
    assert run_cli(["model", "snapshot", str(five), "000000001"]) == 0
    assert run_cli(["model", "gc", str(five), "--keep", "2"]) == 0
    assert names(five) == [1, 3, 5]
    assert run_cli(["model", "gc", str(five), "--snapshots"]) == 0
    assert names(five) == [3]
    assert "2 checkpoints deleted" in capsys.readouterr().err


def test_a_damaged_generation_becomes_no_snapshot(five, capsys):
    (five / "checkpoints/000000002/weights.safetensors").write_bytes(b"x")
    assert run_cli(["model", "snapshot", str(five), "000000002"]) == 5
    assert run_cli(["model", "snapshot", str(five), "000000009"]) == 5
    err = capsys.readouterr().err
    assert "000000002: weights.safetensors has the wrong size" in err
    assert "there is no checkpoint 000000009" in err
