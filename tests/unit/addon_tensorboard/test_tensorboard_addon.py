"""What is in the event files, read back; and runs with and without them."""

from __future__ import annotations

import json
import subprocess
import sys
from types import SimpleNamespace

import attrs
import cv2
import fs_addon_tensorboard
import numpy as np
import pytest
from fs_addon_tensorboard import TensorBoardOptions
from fs_addon_tensorboard.observer import TensorBoard
from fs_addon_tensorboard.pictures import swap_sheets
from fs_kernel import hookimpl
from fs_kernel.errors import ConfigError
from fs_kernel.options import CommandLineSource, resolve
from fs_kernel.testing import tiny_run
from fs_kernel.types import Finished, Preview, PreviewFaces, Saved


@pytest.fixture
def board(make_info):
    observer = TensorBoard(0)
    observer.on_start(make_info())
    return observer


def test_a_reading_becomes_scalars_at_its_step(board, make_metrics, scalars, tmp_path):
    board.on_metrics(make_metrics(1))
    board.on_metrics(make_metrics(7, a=0.125))
    assert scalars(tmp_path, 1) == {
        "loss/total": [(1, 0.75), (7, 0.625)],
        "loss/a": [(1, 0.25), (7, 0.125)],
        "loss/b": [(1, 0.5), (7, 0.5)],
        "loss_a/face_64/ssim": [(1, 0.1875), (7, 0.0625)],
        "loss_a/mask_64/mse": [(1, 0.0625), (7, 0.0625)],
        "learning_rate": [(1, pytest.approx(5e-5)), (7, pytest.approx(5e-5))],
        "speed/images_per_second": [(1, 31.25), (7, 31.25)],
        "speed/step_seconds": [(1, 0.5), (7, 0.5)],
    }


def test_numbers_that_others_report_have_tags_of_their_own(board, make_metrics, scalars, tmp_path):
    board.on_metrics(attrs.evolve(make_metrics(3), values={"psnr_heldout": 31.5}))
    board.on_metrics(make_metrics(4))
    assert scalars(tmp_path, 1)["values/psnr_heldout"] == [(3, 31.5)]


def test_a_trainer_that_does_not_say_its_rate_leaves_it_out(board, make_metrics, scalars, tmp_path):
    board.on_metrics(make_metrics(1, rate=None))
    assert "learning_rate" not in scalars(tmp_path, 1)


def test_everything_is_in_the_file_at_once(board, make_metrics, scalars, tmp_path):
    for step in range(1, 4):
        board.on_metrics(make_metrics(step))
        assert scalars(tmp_path, 1)["loss/a"][-1][0] == step


def test_the_facts_of_the_session_are_there_as_text(board, read, tmp_path):
    (text,) = [
        value.tensor.string_val[0].decode()
        for event in read(tmp_path, 1)
        for value in event.summary.value
        if value.HasField("tensor")
    ]
    assert "| parameters | 69,662,656 |" in text
    assert "| faces | a 150, b 1500 |" in text


def test_saves_tell_their_cost_and_the_mean_loss(board, scalars, tmp_path):
    board.on_checkpoint(Saved(10, "g", 1000, 2.0, 0.25, None))
    board.on_checkpoint(Saved(20, "g", 1000, 4.0, 0.5, 0.125))
    found = scalars(tmp_path, 1)
    assert found["save/seconds"] == [(10, 2.0), (20, 4.0)]
    assert found["save/pause_seconds"] == [(10, 0.25), (20, 0.5)]
    assert found["save/average_loss"] == [(20, 0.125)]


def test_a_resumed_session_goes_on_at_its_step_in_a_folder_of_its_own(
    board, make_info, make_metrics, scalars, tmp_path
):
    board.on_metrics(make_metrics(1))
    board.on_finish(Finished("stopped", 1, 1.0))
    resumed = TensorBoard(0)
    resumed.on_start(make_info(session=2, start_step=1))
    resumed.on_metrics(make_metrics(2))
    assert [step for step, _ in scalars(tmp_path, 1)["loss/a"]] == [1]
    assert [step for step, _ in scalars(tmp_path, 2)["loss/a"]] == [2]


def test_a_roll_back_drops_the_points_that_were_lost(board, make_metrics, scalars, tmp_path):
    for step in (1, 2, 3, 4, 5):
        board.on_metrics(make_metrics(step, a=9.0))
    board.on_metrics(make_metrics(3, a=0.5))
    board.on_metrics(make_metrics(4, a=0.5))
    assert scalars(tmp_path, 1)["loss/a"] == [(1, 9.0), (2, 9.0), (3, 0.5), (4, 0.5)]


def test_a_session_number_used_again_adds_a_file_and_drops_what_was_lost(
    make_info, make_metrics, scalars, tmp_path
):
    for value in (0.75, 0.5):
        board = TensorBoard(0)
        board.on_start(make_info())
        board.on_metrics(make_metrics(1, a=value))
        board.on_finish(Finished("stopped", 1, 1.0))
    assert len(list((tmp_path / "logs/tensorboard/session_1").iterdir())) == 2
    assert scalars(tmp_path, 1)["loss/a"] == [(1, 0.5)]


def make_preview(count=3):
    faces = {side: np.zeros((count, 32, 32, 3), np.uint8) for side in "ab"}
    for side in "ab":
        faces[side][:, 8:24, 8:24] = 60 if side == "a" else 120
    boxes = {side: np.tile([8, 8, 24, 24], (count, 1)) for side in "ab"}
    swaps = {
        (s, t): np.full((count, 8, 8, 3), 200 if s == t else 250, np.uint8)
        for s in "ab"
        for t in "ab"
    }
    return Preview(5, PreviewFaces({}, faces, boxes, dict.fromkeys("ab")), swaps, {})


def test_previews_are_stored_if_they_are_wanted(make_info, read, tmp_path):
    for images, expected in ((0, []), (2, ["preview/a", "preview/b"])):
        board = TensorBoard(images)
        board.on_start(make_info(session=images))
        board.on_preview(make_preview())
        found = {
            value.tag: value.image
            for event in read(tmp_path, images)
            for value in event.summary.value
            if value.HasField("image")
        }
        assert list(found) == expected
    image = found["preview/a"]
    sheet = cv2.imdecode(np.frombuffer(image.encoded_image_string, np.uint8), cv2.IMREAD_COLOR)
    assert (image.height, image.width) == sheet.shape[:2] == (2 * 16, 3 * 16)
    assert [int(sheet[4, x, 0]) for x in (4, 20, 36)] == [60, 200, 250]


@pytest.mark.parametrize(("count", "most", "rows"), [(1, 16, 1), (3, 2, 2), (3, 3, 3)])
def test_as_many_faces_as_there_are(count, most, rows):
    sheets = swap_sheets(make_preview(count), most)
    assert sheets["preview/b"].shape == (rows * 16, 3 * 16, 3)


def test_the_option_is_checked_by_name():
    classes = fs_addon_tensorboard.config_defaults()
    config, _ = resolve(classes, [])
    assert config["addon.tensorboard"] == TensorBoardOptions(images=0)
    with pytest.raises(ConfigError, match=r"addon\.tensorboard\.images"):
        resolve(classes, [CommandLineSource("--set", {"addon.tensorboard": {"images": 17}})])


def test_the_hook_hands_the_option_on():
    run = SimpleNamespace(config={"addon.tensorboard": TensorBoardOptions(images=4)})
    (observer,) = fs_addon_tensorboard.create_addon(run).observers()
    assert observer._images == 4


def train(folder, steps, addons):
    values = {"training.iterations": steps, "save.interval": 0}
    with tiny_run(folder, set=values, addons=addons) as run:
        return run.train()


def test_a_real_run_and_its_resumption_hold_the_losses_of_the_events(tmp_path, scalars):
    train(tmp_path, 3, [fs_addon_tensorboard])
    train(tmp_path, 5, [fs_addon_tensorboard])
    lines = (tmp_path / "model/logs/events.jsonl").read_text(encoding="utf-8").splitlines()
    events = [json.loads(line) for line in lines]
    for session, steps in ((1, [1, 2, 3]), (2, [4, 5])):
        expected = [
            (e["step"], pytest.approx(e["losses"]["a"], rel=1e-6))
            for e in events
            if e["event"] == "metrics" and e["step"] in steps
        ]
        assert scalars(tmp_path / "model", session)["loss/a"] == expected
        assert "loss_a/face_16/mse" in scalars(tmp_path / "model", session)


class Warnings:
    """Collects what a user would be warned of."""

    def __init__(self):
        self.lines = []

    @hookimpl
    def create_addon(self, run):
        return self

    def observers(self):
        return [self]

    def on_warning(self, line):
        self.lines.append(line)


def test_f2_without_logs_a_run_trains_and_saves(tmp_path):
    assert train(tmp_path, 2, []).reason == "target"
    assert not (tmp_path / "model/logs/tensorboard").exists()
    assert (tmp_path / "model/checkpoint.json").is_file()


def test_f2_logs_that_cannot_be_written_cost_one_warning_and_nothing_else(tmp_path):
    (tmp_path / "model/logs").mkdir(parents=True)
    (tmp_path / "model/logs/tensorboard").write_text("a file in the way")
    warnings = Warnings()
    assert train(tmp_path, 4, [fs_addon_tensorboard, warnings]).reason == "target"
    (line,) = [line for line in warnings.lines if "tensorboard" in line]
    assert "failed in on_start and is switched off" in line
    assert (tmp_path / "model/checkpoint.json").is_file()


def test_nothing_waits_at_the_end_of_a_process(tmp_path):
    # The usual writer of tensorboardX would, for a thread that never ends.
    code = (
        "import sys; from pathlib import Path; from fs_addon_tensorboard.writer import EventFile;"
        "EventFile(Path(sys.argv[1])).scalars({'x': 1.0}, 1)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, timeout=60)
    (file,) = tmp_path.iterdir()
    assert file.stat().st_size > 40
