"""A number that an add-on measures on faces kept out of training, on its way to the user."""

from __future__ import annotations

from pathlib import Path

from addon_runs import events, open_with
from fs_kernel.storage import Checkpoints

HELDOUT = Path(__file__).parents[1] / "template/examples/fs-addon-heldout/fs_addon_heldout.py"


def test_it_is_recorded_shown_stored_and_keeps_the_best_checkpoint(tmp_path, people, capsys):
    model = tmp_path / "m"
    options = {
        "addon.heldout.faces": str(people / "B"),
        "addon.heldout.side": "b",
        "addon.heldout.count": 4,
        "addon.heldout.interval": 10,
        "addon.console.interval": 1,
        "save.interval": 10,
        "save.keep": 1,
        "save.keep_best": 1,
        "save.monitor": "psnr_heldout",
        "save.monitor_mode": "max",
        "training.iterations": 32,
    }
    run = open_with(model, people, [str(HELDOUT), "console", "tensorboard"], **options)
    run.train()
    measured = {e["step"]: e["values"] for e in events(model, "metrics") if e["values"]}
    assert list(measured) == [10, 20, 30]
    best = max(measured, key=lambda step: measured[step]["psnr_heldout"])
    assert [made.step for made in Checkpoints(model).checkpoints()] == [32, best]
    shown = [line for line in capsys.readouterr().err.splitlines() if line.startswith("step ")]
    for step, values in measured.items():
        (line,) = [line for line in shown if line.startswith(f"step {step}/")]
        assert f"psnr_heldout {values['psnr_heldout']:.4f}" in line
    (file,) = (model / "logs/tensorboard/session_1").iterdir()
    assert b"values/psnr_heldout" in file.read_bytes()
