"""The add-on in real runs of the tiny network."""

from __future__ import annotations

import cv2
import fs_addon_preview
import pytest
from fs_kernel import hookimpl
from fs_kernel.testing import tiny_run


def train(folder, steps, *addons, **options):
    values = {f"preview.{name}": value for name, value in options.items()}
    values |= {"training.iterations": steps, "save.interval": 0}
    with tiny_run(folder, set=values, addons=[fs_addon_preview, *addons]) as run:
        return run.train()


def picture(folder, name):
    return cv2.imread(str(folder / "model/previews" / name))


class Heard:
    """Collects warnings, and switches the mask on at the first metrics."""

    def __init__(self):
        self.warnings = []

    @hookimpl
    def create_addon(self, run):
        self.run = run
        return self

    def observers(self):
        return [self]

    def on_metrics(self, metrics):
        if metrics.step == 1:
            self.run.set_option("preview.mask", True)

    def on_warning(self, line):
        self.warnings.append(line)


def test_every_session_begins_with_the_picture_of_its_first_batch(tmp_path):
    train(tmp_path, 2)
    first = picture(tmp_path, "batch_0.png")
    train(tmp_path, 4)
    second = picture(tmp_path, "batch_0.png")
    assert first.shape == second.shape
    assert (first != second).any()


def test_f27_a_run_without_masks_is_previewed_with_the_tint_switched_on_on_the_way(tmp_path):
    heard = Heard()
    train(tmp_path, 6, heard)
    assert picture(tmp_path, "latest.png") is not None
    assert not [line for line in heard.warnings if "preview" in line]


@pytest.mark.parametrize("images", [2, 14])
def test_f28_the_timelapse_of_a_run_has_frames_of_its_start_and_its_end(tmp_path, images):
    train(tmp_path, 5, timelapse=True, images=images)
    names = sorted(p.name for p in (tmp_path / "model/previews/timelapse").iterdir())
    assert names == ["00000001.jpg", "00000005.jpg"]


def test_the_losses_of_the_first_session_are_on_the_sheets_of_the_second(tmp_path):
    train(tmp_path, 1)
    alone = picture(tmp_path, "latest.png")
    train(tmp_path, 2)
    assert picture(tmp_path, "latest.png").shape[0] > alone.shape[0] + 100
