"""The add-on as the kernel sees it: options, hooks, observer."""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import fs_addon_preview
import pytest
from fs_addon_preview import PreviewOptions
from fs_kernel.config import Layer, resolve
from fs_kernel.errors import ConfigError
from fs_kernel.types import Metrics, Saved
from fs_kernel.values import Interval


class FakeRun:
    """Counts the previews it is asked for."""

    def __init__(self, model_dir, **options):
        self.info = SimpleNamespace(model="original", model_dir=model_dir, start_step=0)
        self.config = {"preview": PreviewOptions(**options)}
        self.asked = 0

    def request_preview(self, count):
        assert count == self.config["preview"].images
        self.asked += 1


def set_option(**values):
    layer = Layer("--set", {"preview": values})
    config, _ = resolve(fs_addon_preview.config_defaults(), [layer])
    return config["preview"]


def metrics(step):
    return Metrics(step, {"a": 0.1}, {}, None, 1.0, 1.0)


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
    style = PreviewOptions(show_mask=True).style()
    assert (style.images, style.mask_opacity, style.mask_color) == (14, 0.3, (0, 0, 255))


def test_a_hidden_mask_has_no_opacity():
    assert set_option(show_mask=False, mask_opacity=80).style().mask_opacity == 0.0


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
