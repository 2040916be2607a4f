"""Plugins that break while training: blamed by name, and the last checkpoint is intact."""

from __future__ import annotations

import json

import pytest

TRAINER = """
import attrs
from fs_kernel import hookimpl
from fs_kernel.testing import PlainTrainer
from fs_kernel.testing.plugins import PlainSteps

class Steps(PlainSteps):
    def train_step(self, batch):
        result = super().train_step(batch)
        if batch.step == 4:
            {statement}
        return result

class Plugin(PlainTrainer):
    name = "bad"

    @hookimpl
    def create_trainer(self, run):
        return Steps(run)
"""


def events(folder, kind):
    lines = (folder / "model/logs/events.jsonl").read_text().splitlines()
    return [e for e in map(json.loads, lines) if e["event"] == kind]


def install_trainer(site, statement):
    code = TRAINER.replace("{statement}", statement)
    site.install("fs-bad", {"trainers": {"bad": "bad_trainer:Plugin"}}, {"bad_trainer": code})


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("raise ValueError('broken at four')", "ValueError: broken at four"),
        ("raise SystemExit(0)", "it called sys.exit(0)"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("raise BaseException('two\\nlines')", "BaseException: two"),
    ],
)
def test_a_trainer_that_raises_at_step_four(fs, site, tmp_path, steps_held, statement, reason):
    install_trainer(site, statement)
    code, err = fs(6, trainer="bad")
    assert code == 4
    path = tmp_path / "model/logs/errors.log"
    line = f"fs: trainer 'bad' (fs-bad 1.0) failed in train_step: {reason} (traceback: {path})\n"
    assert err == line
    assert steps_held() == 2
    log = path.read_text()
    assert "Traceback" in log
    assert "bad_trainer.py" in log
    (finished,) = events(tmp_path, "finished")
    assert (finished["reason"], finished["step"]) == ("failed", 3)
    assert "failed in train_step" in finished["error"]


def test_another_trainer_continues_from_the_last_checkpoint(fs, site, steps_held):
    install_trainer(site, "raise ValueError('x')")
    assert fs(6, trainer="bad")[0] == 4
    assert fs(6, trainer="tiny")[0] == 0
    assert steps_held() == 6


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("return None", "returned NoneType from train_step"),
        ("return result.losses", "returned list from train_step"),
        ("return attrs.evolve(result, losses=[])", "returned losses of []"),
        ("return attrs.evolve(result, losses=result.losses[:1])", "returned losses of ['a']"),
        ("return attrs.evolve(result, losses=None)", "train_step"),
    ],
)
def test_a_trainer_that_returns_nonsense_at_step_four(fs, site, steps_held, statement, says):
    install_trainer(site, statement)
    code, err = fs(6, trainer="bad")
    assert code == 4
    assert "trainer 'bad' (fs-bad 1.0)" in err
    assert says in err
    assert err.count("\n") == 1
    assert steps_held() == 2


def test_a_loss_that_is_not_a_number_exits_6(fs, site, steps_held):
    bad = "[attrs.evolve(x, total=x.total * float('nan')) for x in result.losses]"
    install_trainer(site, f"return attrs.evolve(result, losses={bad})")
    code, err = fs(6, trainer="bad")
    assert code == 6
    assert err.startswith("fs: step 4: the loss is not finite")
    assert steps_held() == 2


def test_out_of_memory_exits_6(fs, site, steps_held):
    install_trainer(site, "raise MemoryError")
    code, err = fs(6, trainer="bad")
    assert code == 6
    assert err.startswith("fs: step 4: out of memory at batch size 2; try -b 1")
    assert err.count("\n") == 1
    assert steps_held() == 2


FEED = """
from fs_kernel import hookimpl
from fs_kernel.testing import ArrayFeed

class Plugin(ArrayFeed):
    name = "bad"

    @hookimpl
    def open_feed(self, folders, spec):
        feed = super().open_feed(folders, spec)
        right = feed.next

        def next_():
            batch = right()
            if batch.step == 4:
                {statement}
            return batch

        feed.next = next_
        return feed
"""


@pytest.mark.parametrize(
    ("statement", "code", "says"),
    [
        ("raise OSError('disk gone')", 4, "feed 'bad' (fs-bad 1.0) failed in next: OSError"),
        ("raise SystemExit(0)", 4, "feed 'bad' (fs-bad 1.0) failed in next: it called sys.exit"),
        ("from fs_kernel import FacesError; raise FacesError('faces vanished')", 3, "vanished"),
    ],
)
def test_a_feed_that_breaks_at_step_four(fs, site, steps_held, statement, code, says):
    source = FEED.replace("{statement}", statement)
    site.install("fs-bad", {"feeds": {"bad": "bad_feed:Plugin"}}, {"bad_feed": source})
    exit_code, err = fs(6, feed="bad")
    assert exit_code == code
    assert says in err
    assert err.count("\n") == 1
    assert steps_held() == 2


OBSERVER = """
from fs_kernel import hookimpl

class Observer:
    def on_metrics(self, metrics):
        if metrics.step == 3:
            {statement}

class AddOn:
    def observers(self):
        return [Observer()]

@hookimpl
def create_addon():
    return AddOn()
"""


@pytest.mark.parametrize(
    "statement", ["raise ValueError('tired')", "raise SystemExit(3)", "raise KeyboardInterrupt"]
)
def test_an_observer_that_raises_does_not_stop_the_run(fs, site, tmp_path, steps_held, statement):
    source = OBSERVER.replace("{statement}", statement)
    site.install("fs-bad", {"addons": {"bad": "bad_addon"}}, {"bad_addon": source})
    code, _ = fs(6, addons="'bad'")
    assert code == 0
    assert steps_held() == 6
    (warning,) = events(tmp_path, "warning")
    assert "add-on 'bad' failed in on_metrics and is switched off" in warning["message"]
    assert events(tmp_path, "finished")[0]["reason"] == "target"


@pytest.mark.parametrize("hook", ["create_addon", "observers", "before_training"])
def test_an_addon_that_raises_at_the_start(fs, site, steps_held, hook):
    source = (
        "from fs_kernel import hookimpl\n"
        "class AddOn:\n"
        "    @hookimpl\n    def create_addon(self): return self\n"
        f"    {'@hookimpl' if hook == 'create_addon' else ''}\n"
        f"    def {hook}(self): raise SystemExit(0)\n"
    )
    site.install("fs-bad", {"addons": {"bad": "bad_addon:AddOn"}}, {"bad_addon": source})
    code, err = fs(6, addons="'bad'")
    assert code == 4
    assert f"add-on 'bad' (fs-bad 1.0) failed in {hook}: it called sys.exit(0)" in err
    assert steps_held() == 0


def test_an_addon_that_was_uninstalled_is_missed_once_and_training_continues(fs, site, steps_held):
    """The folder remembers add-ons; that does not make them required."""
    source = OBSERVER.replace("{statement}", "pass")
    folder = site.install("fs-bad", {"addons": {"gone": "gone_addon"}}, {"gone_addon": source})
    assert fs(2, addons="'gone'")[0] == 0
    for file in folder.iterdir():
        file.unlink()
    from fake_packages import look_again
    from fs_kernel.cli import run_cli

    look_again()
    model = site.folder.parent / "model"
    assert run_cli(["run", "-m", str(model), "-i", "3"]) == 0
    assert steps_held() == 3


HEAD = """
from fs_kernel import hookimpl
from fs_kernel.testing import PlainTrainer
from fs_kernel.testing.plugins import PlainSteps
"""
STATEFUL = f"""{HEAD}
class Steps(PlainSteps):
    {{wrong}}

class Plugin(PlainTrainer):
    @hookimpl
    def create_trainer(self, run): return Steps(run)

    @hookimpl
    def accepts_state(self): return True
"""


@pytest.mark.parametrize("hook", ["create_trainer", "get_sampler", "load_state_dict"])
def test_a_trainer_that_cannot_resume_touches_nothing(fs, site, tmp_path, steps_held, hook):
    assert fs(2)[0] == 0
    before = {p: p.read_bytes() for p in (tmp_path / "model").rglob("*") if p.is_file()}
    wrong = f"def {hook}(self, *_): raise RuntimeError('cannot')"
    source = STATEFUL.replace("{wrong}", wrong)
    if hook != "load_state_dict":
        wrong = f"@hookimpl\n    def {hook}(self): raise RuntimeError('cannot')"
        source = f"{HEAD}\nclass Plugin(PlainTrainer):\n    {wrong}\n"
    site.install("fs-bad", {"trainers": {"bad": "bad_trainer:Plugin"}}, {"bad_trainer": source})
    code, err = fs(4, trainer="bad")
    assert code == 4
    assert f"trainer 'bad' (fs-bad 1.0) failed in {hook}: RuntimeError: cannot" in err
    assert {p: p.read_bytes() for p in (tmp_path / "model").rglob("*") if p.is_file()} == before
    assert steps_held() == 2


@pytest.mark.parametrize("state", ["{5: 1}", "{'x': object()}", "{'x': {1, 2}}"])
def test_a_trainer_whose_state_cannot_be_kept(fs, site, steps_held, state):
    assert fs(2)[0] == 0
    source = STATEFUL.replace("{wrong}", f"def state_dict(self): return {state}")
    site.install("fs-bad", {"trainers": {"bad": "bad_trainer:Plugin"}}, {"bad_trainer": source})
    code, err = fs(4, trainer="bad")
    assert code == 4
    assert "trainer 'bad' (fs-bad 1.0) failed in " in err
    assert err.count("\n") == 1
    assert steps_held() == 2
