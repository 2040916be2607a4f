"""Which checkpoints stay: the newest, the best, and snapshots, as far as the disk may be used."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs

from fs_kernel.storage import manifest

#: Steps that a mean loss must cover before a checkpoint can be one of the best.
MIN_RATED = 10


@attrs.frozen
class Checkpoint:
    """A checkpoint on disk.

    Attributes:
        name: of its folder; begins with the step.
        path: of its folder.
        step: steps that the model had done.
        bytes: what it takes on disk.
        current: whether it is the one to resume from.
        loss: mean summed loss of the ``loss_steps`` steps before it, if known.
        loss_steps: how many steps ``loss`` covers.
        monitored: what the best ones are ranked by, smaller being better, if known.
        snapshot: whether it is kept permanently.
    """

    name: str
    path: Path
    step: int
    bytes: int
    current: bool
    loss: float | None = None
    loss_steps: int = 0
    snapshot: bool = False
    monitored: float | None = None


def step_of(name: str) -> int:
    """Return the step that a checkpoint of this name holds."""
    return int(name[:9])


def describe(folder: Path, current: bool) -> Checkpoint:
    """Return the record of the checkpoint in ``folder``; nothing is verified."""
    size = 0
    try:
        for entry in os.scandir(folder):
            size += entry.stat().st_size
    except OSError:
        pass  # A training run may be removing it at this moment.
    facts = manifest.read(folder)
    loss, monitored = manifest.finite(facts.get("loss")), manifest.finite(facts.get("monitored"))
    return Checkpoint(
        folder.name,
        folder,
        step_of(folder.name),
        size,
        current,
        loss,
        int(manifest.finite(facts.get("loss_steps")) or 0),
        facts.get("snapshot") is True,
        loss if monitored is None else monitored,
    )


def surplus(
    found: Sequence[Checkpoint],
    keep: int,
    keep_best: int,
    room: float,
    damaged: Callable[[Checkpoint], bool],
) -> list[Checkpoint]:
    """Return the checkpoints to delete.

    Args:
        found: all of them, newest first.
        keep: how many to keep, the current one included. Snapshots stay and do not count.
        keep_best: how many more to keep, of those that rank best.
        room: bytes that all but the current one may take; snapshots come first.
        damaged: whether a checkpoint fails its validation; asked only where it matters.
    """
    others = [made for made in found if not made.current]
    if len(others) >= keep:
        # A damaged checkpoint is not a backup, however new it is.
        others.sort(key=damaged)
    kept = {made.name for made in others[: keep - 1]}
    rated = [m for m in others if m.monitored is not None and m.loss_steps >= MIN_RATED]
    rated.sort(key=lambda made: made.monitored or 0.0)
    kept |= {made.name for made in rated[:keep_best]}
    dropped = []
    for made in sorted(others, key=lambda made: not made.snapshot):
        if made.snapshot or (made.name in kept and made.bytes <= room):
            room -= made.bytes
        else:
            dropped.append(made)
    return dropped
