"""What several processes do together, many scenes in one start; each rank writes what it saw.

``python scenes.py FOLDER SCENE...`` with the environment of a launcher.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from pathlib import Path

import fs_kernel
from fs_kernel import hookimpl, networks
from fs_kernel.testing.plugins import ArrayFeed

DATA = Path(__file__).parents[2] / "data"
PLAIN, SMALL, FEED = (str(DATA / f"{n}.py") for n in ("plain_net", "small_net", "moody_feed"))
OPTIONS = {
    "training.device": "cpu",
    "training.seed": 5,
    "training.batch_size": 8,
    "loss.loss_function": "mae",
    "loss.loss_function_2": "none",
    "save.interval": 1000,
}
RATE = "optimizer.learning_rate"
EXAMPLES = Path(__file__).parents[2] / "template/examples"
CRITIC = {
    "training__objectives": [
        f"{EXAMPLES / 'fs-objective-critic/fs_objective_critic.py'}:CriticObjective"
    ],
    "training__batch_size": 7,
}


class Speaker:
    """An add-on that says who it is, tries two steps, and asks for what only process 0 may ask."""

    @hookimpl
    def create_addon(self, run):
        return Speaking(run)


class Speaking:
    """What `Speaker` does in a run."""

    def __init__(self, run):
        self.run = run

    def before_training(self):
        run = self.run
        run.note(f"here is {run.group.rank}")
        run.note("the same everywhere")
        with run.trial() as trial:
            for _ in range(2):
                run.set_option(RATE, 1e-2, bounded=False)
                trial.step()
        rate = 2e-4 if run.group.rank == 0 else 9e-1
        run.set_option(RATE, rate, at_step=3, bounded=False)


def open_run(folder, net=PLAIN, trainer="ddp", addons=(), feed=None, **options):
    for side in "ab":
        (folder / side).mkdir(parents=True, exist_ok=True)
    given = OPTIONS | {name.replace("__", "."): value for name, value in options.items()}
    return fs_kernel.open_run(
        folder / "model",
        net,
        a=folder / "a",
        b=folder / "b",
        trainer=trainer,
        feed=feed or ArrayFeed(),
        addons=list(addons),
        set=given,
    )


def warnings_of(folder):
    """What the user was warned of in all runs of a folder; nothing where none was recorded."""
    log = folder / "model/logs/events.jsonl"
    events = map(json.loads, log.read_text().splitlines() if log.exists() else ())
    return [event["message"] for event in events if event["event"] == "warning"]


def train(folder, steps, **options):
    """One session; what this process saw of it."""
    with open_run(folder, training__iterations=steps, **options) as run:
        read = list(run)
        owned = networks.weights(run.network).items()
        critic = [float(w.double().sum()) for name, w in owned if name.startswith("extra:")]
    seen = [metrics.losses for metrics in read]
    return {
        "critic": critic,
        "values": [dict(metrics.values) for metrics in read],
        "losses": seen,
        "warnings": warnings_of(folder),
        "batch_size": run.info.batch_size,
        "folder_left": run.info.model_dir.exists(),
    }


def sessions(*steps, **options):
    """Scene of one model trained in several sessions."""
    return lambda folder: [train(folder, s, **options) for s in steps][-1]


def failing(folder, **options):
    """How a session that cannot go on ends here."""
    try:
        train(folder, 8, **options)
    except fs_kernel.FsError as error:
        kind = type(error).__name__
        return {"kind": kind, "line": str(error), "agreed": error.agreed, "quiet": error.quiet}
    return None


def unlike(folder):
    return failing(folder, optimizer__learning_rate=7e-5 if os.environ.get("RANK") == "1" else 6e-5)


ACCUMULATION = {"optimizer__gradient_accumulation": 3, "save__interval": 10}
F32 = {"net": SMALL, "training__batch_size": 4, "loss__loss_function": "ssim"}
NOISY = {"model__plain_net__noisy": True, "save__interval": 3}
SCENES = {
    "fifty": sessions(50),
    "uneven": sessions(10, training__batch_size=7),
    "accumulation": sessions(12, **ACCUMULATION),
    "accumulation_resumed": sessions(10, 12, **ACCUMULATION),
    "clipping": sessions(
        10, optimizer__gradient_clipping="global_norm", optimizer__clipping_value=0.01
    ),
    "like_losses": sessions(12, trainer__ddp__sampler="loss"),
    "listening": sessions(8, trainer__ddp__sampler="loss", training__batch_size=6),
    "single": sessions(50, **F32),
    "half": sessions(5, training__precision="bf16", **F32),
    "compressed": sessions(10, trainer__ddp__compression="bf16", **F32),
    "compiled": sessions(5, executor__torch__compile="default", **F32),
    "noisy": sessions(6, **NOISY),
    "noisy_resumed": sessions(3, 6, **NOISY),
    "adopted": sessions(10),
    "few": sessions(2, training__batch_size=1),
    "spoken": sessions(6, addons=[Speaker()]),
    "critic": sessions(6, **CRITIC),
    "critic_resumed": sessions(3, 6, **CRITIC),
    "unlike": unlike,
    "broken": lambda f: failing(f, feed=FEED, feed__moody_feed__breaks_at=5),
    "poisoned": lambda f: failing(f, feed=FEED, feed__moody_feed__poison_at=5),
}


def main(folder, *names):
    for name in names:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            seen = SCENES[name](Path(folder) / name)
        path = Path(folder) / name / f"rank{os.environ['RANK']}.json"
        path.write_text(json.dumps(seen))


if __name__ == "__main__":
    main(*sys.argv[1:])
