"""Which checkpoints stay: the newest, the best, and snapshots, as far as the disk may be used."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fs_kernel.storage.manifest import Checkpoint

#: Steps that a mean loss must cover before a checkpoint can be one of the best.
MIN_RATED = 10


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
