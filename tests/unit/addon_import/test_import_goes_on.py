"""After an import: the commands that point to it, a swap, and training that goes on."""

from __future__ import annotations

import json
import shlex
import tomllib
import zipfile
from pathlib import Path

import fs_kernel
import pytest
import torch
from addon_import import small_models
from fs_addon_import.importing import RECORD, import_model
from fs_kernel.cli import run_cli
from fs_kernel.storage.checkpoints import Checkpoints
from fs_kernel.trained_model import TrainedModel


@pytest.fixture
def old(tmp_path: Path) -> Path:
    with zipfile.ZipFile(small_models.DATA / "current.zip") as archive:
        archive.extractall(tmp_path / "its own")
    return tmp_path / "its own" / "model"


@pytest.mark.parametrize(
    "command", [["run", "-m", "OLD"], ["model", "info", "OLD"], ["swap", "OLD", "x", "y"]]
)
def test_a_foreign_folder_is_named_with_the_line_that_adopts_it(
    old: Path, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    before = sorted(old.iterdir())
    assert run_cli([str(old) if word == "OLD" else word for word in command]) == 5
    (line,) = capsys.readouterr().err.splitlines()
    words = shlex.split(line.partition("adopt it with: ")[2])
    assert words == ["fs", "import", str(old), f"{old}-fs"]
    assert sorted(old.iterdir()) == before
    assert run_cli([*words[1:], "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["folder"] == f"{old}-fs"
    assert (facts["model"], facts["iterations"], facts["optimizer"]) == ("original", 3, "adam")
    assert run_cli(["model", "info", f"{old}-fs", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["model"], found["iterations"], found["sessions"]) == ("original", 3, 2)
    assert run_cli(["model", "verify", f"{old}-fs"]) == 0
    assert run_cli(["run", "-m", str(old)]) == 5  # It is still another program's.
    assert f"{old}-fs2" in capsys.readouterr().err


def test_a_swap_works_at_once(old: Path, tmp_path: Path, people: Path) -> None:
    import_model(old / "original.keras", tmp_path / "new")
    assert run_cli(["swap", str(tmp_path / "new"), str(people / "A"), str(tmp_path / "out")]) == 0
    assert len(list((tmp_path / "out").glob("*.png"))) == len(list((people / "A").glob("*.png")))


def test_training_goes_on_from_the_same_loss(old: Path, tmp_path: Path, people: Path) -> None:
    made = import_model(old, tmp_path / "new")
    before = TrainedModel(tmp_path / "new").network.model
    moments = Checkpoints(tmp_path / "new").read_training(made.generation)["trainer"]["optimizer"]
    seen = []
    run = fs_kernel.open_run(
        tmp_path / "new",
        a=people / "A",
        b=people / "B",
        addons=[],
        set={"training.device": "cpu", "loader.workers": 0, "training.iterations": 5},
    )
    with run:
        following = run.session.feed.next

        def watched():
            seen.append(following())
            return seen[-1]

        run.session.feed.next = watched
        steps = [(m.step, m.losses) for m in run]
        rate = run.config["optimizer"].learning_rate
    assert [step for step, _ in steps] == [4, 5]
    assert rate == 2e-5
    batch = seen[0]
    assert batch.inputs["a"].shape[0] == 8
    with torch.no_grad():
        found = before([batch.inputs["a"], batch.inputs["b"]], training=True)
    for side, output in zip("ab", found, strict=True):
        expected = float(torch.mean((output - batch.targets[side][0]) ** 2))
        assert steps[0][1][side] == pytest.approx(expected, abs=1e-6)
    tree = Checkpoints(tmp_path / "new").read_training(Checkpoints(tmp_path / "new").current_name())
    now = tree["trainer"]["optimizer"]
    assert now["steps"] == moments["steps"] + 2
    first = next(iter(now["weights"]))
    assert float(now["weights"][first]["values"]["step"]) == 4.0
    again = fs_kernel.open_run(
        tmp_path / "new", addons=[], set={"training.device": "cpu", "training.iterations": 6}
    )
    with again:
        assert [m.step for m in again] == [6]


def test_where_it_came_from_is_kept(old: Path, tmp_path: Path) -> None:
    import_model(old, tmp_path / "new")
    record = json.loads((tmp_path / "new" / RECORD).read_text())
    assert record["source"].endswith("original.keras")
    assert record["state"] == json.loads((old / "original_state.json").read_text())
    assert record["options"]["loss_function"] == "mse"


def test_a_found_learning_rate_is_kept(old: Path, tmp_path: Path) -> None:
    path = old / "original_state.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "lr_finder": 7e-5}))
    made = import_model(old, tmp_path / "new")
    assert json.loads((tmp_path / "new" / RECORD).read_text())["learning_rate_found"] == 7e-5
    config = tomllib.loads(Checkpoints(tmp_path / "new").config_path(made.generation).read_text())
    assert config["addon.lr_finder"]["found"] == 7e-5
    assert run_cli(["export", str(tmp_path / "new"), str(tmp_path / "out")]) == 0
    back = json.loads((tmp_path / "out" / "original_state.json").read_text())
    assert back["lr_finder"] == 7e-5
