"""Declare the kernel's own option sections: ``[training]`` and ``[save]``."""

from __future__ import annotations

import functools

import attrs

from fs_kernel.options.fields import Interval, Size, option

_live = functools.partial(option, live=True)


@attrs.frozen
class TrainingOptions:
    """Options that every run has, with any plugins."""

    batch_size: int = option(16, "Faces per side per step.", minimum=1, maximum=256)
    iterations: int = _live(
        1_000_000,
        "Steps the model shall have in all, over every session.",
        minimum=1,
        maximum=999_999_999,
    )
    seed: int | None = option(
        None,
        "Key of all randomness; 'none' draws one when the model is made.",
        minimum=0,
        maximum=2**31 - 1,
    )
    device: str = option("auto", "Where to compute: auto, cpu, cuda, cuda:N or mps.")
    precision: str = option(
        "fp32",
        "Number format of the layers; weights are float32 always. fp16 needs a GPU.",
        choices=("fp32", "fp16", "bf16"),
    )
    trainer: str = option(
        "standard", "Trainer plugin: how a batch trains the network.", plugin="trainers"
    )
    feed: str = option("faces", "Feed plugin: where faces come from.", plugin="feeds")
    executor: str = option(
        "torch", "Executor plugin: what runs the forward pass.", plugin="executors"
    )
    addons: list[str] = option(
        ["console", "preview", "guard", "control"],
        "Add-on plugins that accompany the run.",
        plugin="addons",
    )
    objectives: list[str] = option(
        [], "Terms that objective plugins add to the trainer's loss.", plugin="objectives"
    )
    freeze_weights: bool = option(False, "Freeze the sub-models that the model plugin names.")
    metrics_interval: Interval = _live(
        Interval(steps=1), "How often losses are read back and reported: steps or a time."
    )


@attrs.frozen
class SaveOptions:
    """Options of when and what to save."""

    interval: Interval = _live(
        Interval(steps=250), "How often to save: steps (250, '250it') or a time ('10min')."
    )
    keep: int = _live(2, "Checkpoints to keep in the model folder.", minimum=1, maximum=100)
    keep_best: int = _live(
        0,
        "How many more to keep: those with the lowest mean loss over their save interval, if that "
        "was ten steps at least.",
        minimum=0,
        maximum=100,
    )
    monitor: str = _live(
        "loss",
        "What keep_best ranks by: 'loss', or the name of a number that a trainer, an objective or "
        "an add-on reports.",
    )
    monitor_mode: str = _live(
        "min", "Whether a small or a large number is better.", choices=("min", "max")
    )
    snapshot_interval: int = _live(
        0,
        "Steps between checkpoints that are kept permanently; 0 for none. They hold exactly the "
        "step in their name; their disk is not in the figure told at the start.",
        minimum=0,
        maximum=10_000_000,
    )
    max_disk: Size = _live(
        Size(),
        "What all checkpoints may take on disk, the one being written included: '20GB', or 0 for "
        "no bound. Older ones are dropped to fit, snapshots never.",
    )
    optimizer: str = option(
        "always",
        "When a save holds the trainer's state; without it a resumed run is not exact.",
        choices=("always", "exit", "never"),
    )


KERNEL_SECTIONS: dict[str, type] = {"training": TrainingOptions, "save": SaveOptions}
