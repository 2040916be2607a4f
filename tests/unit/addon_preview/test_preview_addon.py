"""The add-on as the kernel sees it: options, hooks, observer."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from types import SimpleNamespace

import attrs
import cv2
import fs_addon_preview
import numpy as np
import pytest
import torch
from fs_addon_preview import PreviewOptions
from fs_kernel.errors import ConfigError
from fs_kernel.options import CommandLineSource, Interval, options_of, resolve
from fs_kernel.storage import LossHistory
from fs_kernel.training.observers import Observers
from fs_kernel.types import Batch, BatchMeta, Metrics, Network, Output, Saved


class FakeRun:
    """Counts the previews it is asked for; its options may be replaced."""

    def __init__(self, model_dir, **options):
        self.info = SimpleNamespace(
            model="original",
            model_dir=model_dir,
            start_step=0,
            target_steps=100,
            session=3,
            sides=("a", "b"),
        )
        self.network = Network(None, [Output(s, "face", 8) for s in "ab"], sides=("a", "b"))
        self.config = {"preview": PreviewOptions(**options)}
        self.asked = 0

    def set(self, **options):
        self.config = {"preview": attrs.evolve(self.config["preview"], **options)}

    def request_preview(self, count):
        assert count == self.config["preview"].images
        self.asked += 1


def set_option(**values):
    layer = CommandLineSource("--set", {"preview": values})
    config, _ = resolve(fs_addon_preview.config_defaults(), [layer])
    return config["preview"]


def metrics(step):
    return Metrics(step, {"a": 0.1 / step, "b": 0.2 / step}, {}, None, 1.0, 1.0)


def test_the_first_step_is_asked_for_before_training(tmp_path):
    run = FakeRun(tmp_path)
    fs_addon_preview.before_training(run)
    assert run.asked == 1


def test_the_observer_asks_when_the_schedule_says_so(tmp_path):
    run = FakeRun(tmp_path, interval=Interval(steps=10))
    (observer,) = fs_addon_preview.make_observers(run)
    for step in range(1, 26):
        observer.on_metrics(metrics(step))
    assert run.asked == 2


def test_early_saves_ask_for_nothing(tmp_path):
    run = FakeRun(tmp_path)
    (observer,) = fs_addon_preview.make_observers(run)
    observer.on_metrics(metrics(1))
    observer.on_checkpoint(Saved(1, "g1", 10, 0.1, 0.01, None))
    assert run.asked == 0


def test_late_saves_ask(tmp_path, monkeypatch):
    monkeypatch.setattr("fs_addon_preview.schedule.Schedule.MINUTES", 0)
    run = FakeRun(tmp_path)
    (observer,) = fs_addon_preview.make_observers(run)
    observer.on_checkpoint(Saved(1, "g1", 10, 0.1, 0.01, None))
    assert run.asked == 1


def test_a_preview_becomes_files(tmp_path, make_preview):
    run = FakeRun(tmp_path, images=2, mask_color="#00ff00", keep=3)
    (observer,) = fs_addon_preview.make_observers(run)
    observer.on_preview(make_preview("ab", 4, box=(8, 8, 56, 56), step=77))
    latest = cv2.imread(str(tmp_path / "previews" / "latest.png"))
    history = (tmp_path / "previews" / "step_00000077.png").read_bytes()
    assert latest is not None
    assert b"Synthetic: made by the network original at step 77" in history
    assert ((latest == (0, 255, 0)).all(axis=2)).any()
    assert not ((latest == (0, 0, 255)).all(axis=2)).any()


def test_defaults_are_those_of_the_spec():
    style = PreviewOptions(mask=True).style()
    assert (style.images, style.mask_opacity, style.mask_color) == (14, 0.3, (0, 0, 255))


def test_a_hidden_mask_has_no_opacity():
    assert set_option(mask=False, mask_opacity=80).style().mask_opacity == 0.0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("images", 3),
        ("images", 18),
        ("mask_opacity", 101),
        ("mask_color", "red"),
        ("mask_color", "#ff00"),
        ("mask_color", "#gg0000"),
        ("keep", -1),
        ("interval", "often"),
    ],
)
def test_bad_values_are_refused_by_name(name, value):
    with pytest.raises(ConfigError, match=rf"preview\.{name}"):
        set_option(**{name: value})


def test_colours_are_taken_in_either_case():
    assert set_option(mask_color="#0A0bFf").style().mask_color == (255, 11, 10)


def saved(step):
    return Saved(step, f"g{step}", 10, 0.1, 0.01, None)


def frames(folder):
    return sorted(p.name for p in (folder / "previews" / "timelapse").glob("*"))


def test_every_option_can_change_while_a_run_goes_on():
    assert all(info.live for _, info in options_of(PreviewOptions).values())


def test_the_first_batch_becomes_a_picture_that_says_which_session(tmp_path):
    run = FakeRun(tmp_path)
    (observer,) = fs_addon_preview.make_observers(run)
    pictures = {side: torch.full((2, 8, 8, 3), 0.5) for side in "ab"}
    targets = {side: [tensor] for side, tensor in pictures.items()}
    observer.on_first_batch(Batch(41, pictures, targets, BatchMeta({}, {})))
    path = tmp_path / "previews" / "batch_0.png"
    assert b"Training data at step 41" in path.read_bytes()
    assert (cv2.imread(str(path)) == 128).all(axis=2).any()
    assert run.asked == 0


def test_a_mask_switched_on_shows_at_the_next_metrics_without_another_preview(
    tmp_path, make_preview
):
    run = FakeRun(tmp_path)
    (observer,) = fs_addon_preview.make_observers(run)
    nothing = np.zeros((64, 64), np.uint8)
    observer.on_preview(make_preview("ab", 2, mask=nothing, step=5))

    def is_red(name="latest.png"):
        sheet = cv2.imread(str(tmp_path / "previews" / name))
        return bool((sheet == (0, 0, 255)).all(axis=2).any())

    observer.on_metrics(metrics(6))
    assert not is_red()
    run.set(mask=True, mask_opacity=100)
    observer.on_metrics(metrics(7))
    assert is_red()
    assert is_red("step_00000005.png")
    run.set(mask=False)
    observer.on_metrics(metrics(8))
    assert not is_red()
    assert run.asked == 0


def test_losses_of_this_session_and_of_earlier_ones_are_on_the_sheet(tmp_path, make_preview):
    run = FakeRun(tmp_path)
    (observer,) = fs_addon_preview.make_observers(run)
    observer.on_preview(make_preview("ab", 2))
    without = cv2.imread(str(tmp_path / "previews" / "latest.png"))
    history = LossHistory(tmp_path / "logs")
    for step in range(1, 20):
        history.add(step, {"a": 0.1 / step, "b": 0.2 / step})
    observer.on_preview(make_preview("ab", 2))
    with_plot = cv2.imread(str(tmp_path / "previews" / "latest.png"))
    assert with_plot.shape[0] > without.shape[0] + 100
    assert with_plot.shape[1] == without.shape[1]

    run.info.start_step = 19
    (resumed,) = fs_addon_preview.make_observers(run)
    resumed.on_preview(make_preview("ab", 2))
    again = cv2.imread(str(tmp_path / "previews" / "latest.png"))
    np.testing.assert_array_equal(again, with_plot)


def test_the_timelapse_has_a_frame_at_the_start_and_one_per_save(tmp_path, make_preview):
    run = FakeRun(tmp_path, timelapse=True)
    (observer,) = fs_addon_preview.make_observers(run)
    observer.on_preview(make_preview("ab", 3, step=1))
    observer.on_preview(make_preview("ab", 3, step=4))
    observer.on_checkpoint(saved(10))
    assert run.asked == 1
    observer.on_metrics(metrics(11))
    observer.on_preview(make_preview("ab", 3, step=11))
    observer.on_preview(make_preview("ab", 3, step=12))
    assert frames(tmp_path) == ["00000001.jpg", "00000011.jpg"]
    first, second = (
        cv2.imread(str(tmp_path / "previews" / "timelapse" / name)) for name in frames(tmp_path)
    )
    assert first.shape == second.shape
    assert first.shape[0] % 2 == first.shape[1] % 2 == 0


def test_a_preview_that_is_newer_than_the_save_is_its_frame(tmp_path, make_preview):
    run = FakeRun(tmp_path, timelapse=True)
    (observer,) = fs_addon_preview.make_observers(run)
    for step in (1, 9, 12):
        observer.on_preview(make_preview("ab", 3, step=step))
    observer.on_checkpoint(saved(12))
    assert frames(tmp_path) == ["00000001.jpg", "00000012.jpg"]
    assert run.asked == 0


def test_without_the_option_there_is_no_timelapse(tmp_path, make_preview):
    run = FakeRun(tmp_path)
    (observer,) = fs_addon_preview.make_observers(run)
    observer.on_checkpoint(saved(1))
    observer.on_preview(make_preview("ab", 3, step=2))
    assert frames(tmp_path) == []
    assert run.asked == 0
    run.set(timelapse=True)
    observer.on_checkpoint(saved(3))
    observer.on_preview(make_preview("ab", 3, step=4))
    assert frames(tmp_path) == ["00000004.jpg"]


def test_f27_a_preview_without_masks_is_drawn_with_the_tint_switched_on(tmp_path, make_preview):
    (observer,) = fs_addon_preview.make_observers(FakeRun(tmp_path, mask=True, mask_opacity=100))
    observer.on_preview(make_preview("ab", 14, mask=None, learnt=None))
    assert cv2.imread(str(tmp_path / "previews" / "latest.png")) is not None


@pytest.mark.parametrize("count", [1, {"a": 1, "b": 5}, 14])
def test_f28_a_timelapse_takes_as_few_faces_as_there_are(tmp_path, make_preview, count):
    (observer,) = fs_addon_preview.make_observers(FakeRun(tmp_path, timelapse=True))
    observer.on_preview(make_preview("ab", count, step=2))
    assert frames(tmp_path) == ["00000002.jpg"]


def test_handing_over_does_not_wait_for_the_drawing(tmp_path, make_preview, monkeypatch):
    drawn, go_on = threading.Event(), threading.Event()

    def slow(*arguments):
        assert go_on.wait(10)
        drawn.set()
        return np.zeros((2, 2, 3), np.uint8)

    monkeypatch.setattr("fs_addon_preview.observer.compose", slow)
    (observer,) = fs_addon_preview.make_observers(FakeRun(tmp_path))
    watchers = Observers(pytest.fail)
    watchers.add("preview", observer)
    watchers.tell("on_preview", make_preview("ab", 2))
    assert not drawn.is_set()
    go_on.set()
    watchers.close()
    assert drawn.is_set()


def test_no_display_is_needed(tmp_path):
    # A window would end a process without a display, so none is ever opened.
    sources = Path(fs_addon_preview.__file__).parent.glob("*.py")
    assert not [p.name for p in sources if re.search(r"imshow|namedWindow|tkinter", p.read_text())]
