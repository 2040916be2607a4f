"""Small runs that several processes share, and what is to be seen of them.

``python fsdp_worker.py FOLDER RANK SIZE PORT [killed]``, once for each rank.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

import fs_trainer_fsdp
import sharded_facts
from fs_kernel import networks
from fs_kernel.options import Config
from fs_kernel.testing import tiny_run
from fs_nn.process_trainer import ProcessOptions
from small_model import SmallModel
from torch.distributed.checkpoint import HuggingFaceStorageWriter


def open_small(folder, trainer, *, executor="torch", **options):
    """A run over `SmallModel`."""
    folder.mkdir(parents=True, exist_ok=True)
    given = {
        "loss.loss_function": "mae",
        "loss.loss_function_2": "mse",
        "optimizer.learning_rate": 1e-4,
        "optimizer.ema_decay": 0.9,
        "save.interval": "1000it",
        **options,
    }
    return tiny_run(folder, model=SmallModel(), trainer=trainer, executor=executor, set=given)


def advance(folder, trainer, steps, **options):
    """Train some steps, save, and end. Returns the summed losses."""
    with open_small(folder, trainer, **options) as run:
        return [sum(run.advance().losses.values()) for _ in range(steps)]


#: What a checkpoint holds besides weights and moments: an average, a clipping history, and, as
#: every save comes after an odd number of batches, gradients that wait.
EVERYTHING = {
    "optimizer.gradient_accumulation": 2,
    "optimizer.gradient_clipping": "autoclip",
    "optimizer.clipping_value": 5.0,
}


def inside(folder) -> dict:
    """A run with a trial and two previews in between; one after it shows no trace of the trial."""
    seen = {}
    with open_small(folder, "fsdp", **EVERYTHING) as run:
        with run.trial() as trial:
            for _ in range(3):
                trial.step()
        run._parts.step.start_feed()
        faces = run.session.feed.preview(3).inputs["a"]
        for step in (1, 2):
            run.advance()
            with run._parts.step.full_weights():
                seen[f"swap_{step}"] = run.swapper("a", "b")(faces)[0]
        run.advance()
    seen["weights"] = {n: v.detach() for n, v in networks.weights(run.network).items()}
    return seen


def full_disk(folder, rank) -> None:
    """A run whose second process once cannot write its shards."""
    with open_small(folder, "fsdp", **EVERYTHING) as run:
        steps = iter(run)
        next(steps)
        run.request_save()
        with sharded_facts.no_space(rank):
            next(steps)
        next(steps)


def everything(root: Path, rank: int) -> dict:
    """What the tests look at."""
    seen = {"inside": inside(root / "inside")}
    full_disk(root / "full", rank)
    seen["start"] = advance(root / "fsdp", "fsdp", 5, **EVERYTHING)
    seen["resumed"] = advance(root / "fsdp", "fsdp", 4, **EVERYTHING)
    seen["straight"] = advance(root / "straight", "fsdp", 9, **EVERYTHING)
    seen["from_standard"] = advance(root / "original", "fsdp", 4, **EVERYTHING)
    options = Config({"trainer.fsdp": ProcessOptions()})
    group = fs_trainer_fsdp.plugin.connect("cpu", options).group
    seen |= sharded_facts.facts(root, group)
    group.close(failed=False)
    return seen


def killed(root: Path, rank: int) -> None:
    """Process 0 is lost when every shard of a save is written, while they are put together."""
    if rank == 0:
        HuggingFaceStorageWriter.finish = lambda *_, **__: os._exit(9)
    advance(root / "fsdp", "fsdp", 1, **EVERYTHING)


def main(folder: str, rank: str, size: str, port: str, mode: str = "everything") -> None:
    """One process."""
    os.environ |= {"RANK": rank, "WORLD_SIZE": size, "LOCAL_RANK": rank}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    torch.set_num_threads(1)
    if mode == "killed":
        killed(Path(folder), int(rank))
    else:
        torch.save(everything(Path(folder), int(rank)), Path(folder) / f"seen-{rank}.pt")


if __name__ == "__main__":
    main(*sys.argv[1:])
