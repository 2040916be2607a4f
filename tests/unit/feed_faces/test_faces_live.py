"""Options that change while a run goes on, what samplers get to know, what is said meanwhile."""

from __future__ import annotations

import io
import sys

import click
import numpy as np
import pytest
from click.testing import CliRunner
from face_files import face_png, fill, make_spec
from feed_batches import PLAIN, InOrder, batches, make_config, same
from fs_feed_faces import open_feed, progress_bar
from fs_feed_faces.command import faces as command
from fs_feed_faces.options import (
    AugmentationOptions,
    FaceOptions,
    LoaderOptions,
)
from fs_kernel.options import options_of
from fs_nn.sampling import LossSampler

CHANGES = {
    "warp off": AugmentationOptions(warp=False),
    "to landmarks": AugmentationOptions(warp_to_landmarks=True),
    "color off": AugmentationOptions(color=False),
    "flip off": AugmentationOptions(flip=False),
    "still": PLAIN,
}


@pytest.mark.parametrize("workers", [0, 3])
@pytest.mark.parametrize("name", CHANGES)
def test_a_change_while_training_is_a_stop_and_a_resume_with_it(two_sides, name, workers):
    before, after = make_config(workers), make_config(workers, augmentation=CHANGES[name])
    feed = open_feed(two_sides, make_spec(), before)
    sampler = InOrder(feed.sizes, 4)
    feed.start(sampler, 1)
    seen = [feed.next() for _ in range(3)]
    feed.on_options_changed(after)
    feed.start(sampler, 4)
    seen += [feed.next() for _ in range(3)]
    feed.on_options_changed(before)
    feed.start(sampler, 7)
    seen += [feed.next() for _ in range(2)]
    feed.close()
    assert all(map(same, seen[:3], batches(two_sides, make_spec(), before, 3)))
    assert all(map(same, seen[3:6], batches(two_sides, make_spec(), after, 3, first=4)))
    assert all(map(same, seen[6:], batches(two_sides, make_spec(), before, 2, first=7)))
    assert not same(seen[3], batches(two_sides, make_spec(), before, 1, first=4)[0])


def test_all_of_augmentation_may_change_and_nothing_else():
    def live(cls):
        return {name for name, (_, info) in options_of(cls).items() if info.live}

    assert live(AugmentationOptions) == set(options_of(AugmentationOptions))
    assert live(FaceOptions) == live(LoaderOptions) == set()


@pytest.mark.parametrize("pre_fetch", [1, 2, 7])
def test_a_sampler_that_hears_losses_sees_the_same_faces_whatever_is_restarted(
    two_sides, pre_fetch
):
    """Prefetch, restarts in between and a resume change no batch."""

    def run(first, last, sampler, restarts=(), pre_fetch=pre_fetch):
        feed = open_feed(two_sides, make_spec(), make_config(2, pre_fetch=pre_fetch))
        feed.start(sampler, first)
        done = []
        for step in range(first, last + 1):
            if step in restarts:
                feed.start(sampler, step)
            batch = feed.next()
            done.append(batch)
            indices = batch.meta.indices
            losses = {s: 1.0 + np.sin(i * 7 + step) for s, i in indices.items()}
            sampler.update(batch.step, indices, losses)
        feed.close()
        return done

    def fresh():
        return LossSampler({"a": 26, "b": 27}, 4, 7, pre_fetch)

    known = run(1, 24, fresh(), pre_fetch=3)
    assert all(map(same, known, run(1, 24, fresh(), restarts=(2, 15, 16))))
    stopped = fresh()
    run(1, 17, stopped)
    resumed = fresh()
    resumed.load_state_dict(stopped.state_dict())
    assert all(map(same, known[17:], run(18, 24, resumed)))


def test_the_yaw_of_each_face_is_told(tmp_path, two_sides):
    """In degrees, in the order of the faces; not-a-number where there is no pose."""
    folder = fill(tmp_path / "A", 26)
    (folder / "zz4.png").write_bytes(face_png(3, points=lambda p: p[[0, 16, 26, 17]]))
    turned = face_png(
        3, points=lambda p: p + [6, 0] * np.isin(np.arange(68), range(27, 36))[:, None]
    )
    (folder / "zz5.png").write_bytes(turned)
    face = FaceOptions(mask_type="none")
    feed = open_feed({**two_sides, "a": folder}, make_spec(masks=()), make_config(face=face))
    yaw = feed.face_attributes["a"]["yaw"]
    assert yaw.shape == (28,)
    assert feed.face_attributes["b"]["yaw"].shape == (27,)
    assert np.isnan(yaw).tolist() == [False] * 26 + [True, False]
    assert np.abs(yaw[:26]).max() < 20
    assert yaw[27] > yaw[3] + 2
    feed.close()


# --- what is said ---


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(progress_bar, "_FIRST", 0.0)
    monkeypatch.setattr(progress_bar, "_NEXT", 0.0)


def test_a_command_that_takes_long_says_how_far_it_is(impatient, two_sides):
    result = CliRunner().invoke(command, ["check", str(two_sides["a"]), "--json"])
    lines = result.stderr.splitlines()
    assert lines[0] == f"{two_sides['a']}: looked at 1 of 26 pictures"
    assert len(lines) == 25
    assert result.stdout.startswith("{")


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_on_a_terminal_a_bar_grows_and_goes_away(impatient, monkeypatch):
    monkeypatch.setattr(progress_bar, "_MOVES", 0.0)
    monkeypatch.setattr(sys, "stderr", Terminal())
    with click.Context(click.Command("fs")):
        assert list(progress_bar.track(range(4), 4, "cut out {} of {}")) == [0, 1, 2, 3]
    *bars, end = sys.stderr.getvalue().split("\r")[1:]
    assert bars == [f"[{'#' * 6 * i:-<24}] cut out {i} of 4" for i in (1, 2, 3)]
    assert end == "\x1b[K"


def test_a_command_that_is_quick_says_nothing(two_sides):
    assert CliRunner().invoke(command, ["check", str(two_sides["a"])]).stderr == ""


def test_a_program_is_not_talked_to(impatient, two_sides, capsys):
    open_feed(two_sides, make_spec(), make_config()).close()
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def test_comparing_landmarks_is_told_too(impatient, two_sides):
    @click.command()
    def run():
        config = make_config(augmentation=AugmentationOptions(warp_to_landmarks=True))
        open_feed(two_sides, make_spec(), config).close()

    assert "landmarks: compared 25 of 26 faces" in CliRunner().invoke(run).stderr
