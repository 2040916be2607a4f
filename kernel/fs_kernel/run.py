"""The Python API: open a run, or a trained model, from a script or a notebook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fs_kernel.plugins.tools import load_tool
from fs_kernel.trained_model import TrainedModel
from fs_kernel.training.loop import TrainingRun
from fs_kernel.training.resolve import Request, resolve_run

__all__ = ["TrainedModel", "TrainingRun", "open_model", "open_run"]


def open_run(
    model_dir: str | Path,
    model: Any = None,
    *,
    a: str | Path | None = None,
    b: str | Path | None = None,
    folders: Mapping[str, str | Path] | None = None,
    trainer: Any = None,
    feed: Any = None,
    executor: Any = None,
    addons: Sequence[Any] | None = None,
    objectives: Sequence[Any] | None = None,
    config: str | Path | None = None,
    set: Mapping[str, Any] | None = None,
    load_weights: str | Path | None = None,
) -> TrainingRun:
    """Open a new or existing model for training.

    Args:
        model_dir: the model folder; made at the first save if it does not exist.
        model: name, path or object of the model plugin; None for what the folder holds, or
            "original" for a new one.
        a: folder with the faces of side A; on resume the remembered one by default.
        b: the same for side B.
        folders: faces by side, for networks with other sides.
        trainer: name, path or object of the trainer plugin.
        feed: name, path or object of the feed plugin.
        executor: name, path or object of the executor plugin.
        addons: add-ons by name, path or object; None for what the options say, without console.
        objectives: what adds terms to the loss, by name, path or object; None for what the options
            say.
        config: a TOML file of options.
        set: option values: ``{"training.iterations": 1000}``.
        load_weights: a model folder whose weights start a new model.

    Returns:
        The run, ready to train. Iterate it, or call ``train()``; close it, or use ``with``.

    Raises:
        FsError: of the kind that fits what is wrong; SystemExit never.
    """
    values = _by_section(set or {})
    objects: dict[str, Any] = {}
    training = values.setdefault("training", {})
    for kind, given in (("trainers", trainer), ("feeds", feed), ("executors", executor)):
        if isinstance(given, str | Path):
            training[kind[:-1]] = str(given)
        elif given is not None:
            objects[kind] = given
    sides = {side: Path(path) for side, path in (("a", a), ("b", b)) if path is not None}
    sides |= {side: Path(path) for side, path in (folders or {}).items()}
    return begin(
        Request(
            model_dir=Path(model_dir),
            model=model,
            folders=sides,
            config_file=None if config is None else Path(config),
            values=values,
            objects=objects,
            load_weights=None if load_weights is None else Path(load_weights),
            addons=addons,
            objectives=objectives,
            without=("console",) if addons is None else (),
        )
    )


def begin(request: Request) -> TrainingRun:
    """Return the run that was asked for, ready to train.

    Raises:
        FsError: of the kind that fits what is wrong.
    """
    found = resolve_batch_size(request)
    run = TrainingRun(resolve_run(request))
    if found is not None:
        run.note(found)
    return run


def resolve_batch_size(request: Request) -> str | None:
    """Put a number in place of the batch size "auto": what the model has, or what a search finds.

    Returns:
        A line about what was found, if it was searched for.

    Raises:
        FsError: the search is not installed, or no batch size will do.
    """
    training = request.values.get("training", {})
    if training.get("batch_size") != "auto":
        return None
    find = load_tool("find_batch_size", "a batch size of 'auto'")
    del training["batch_size"]
    found: tuple[int, str] | None = find(request)
    if found is None:
        return None
    training["batch_size"], line = found
    return line


def open_model(
    model_dir: str | Path,
    model: Any = None,
    *,
    set: Mapping[str, Any] | None = None,
    average: bool = False,
) -> TrainedModel:
    """Open a trained model for use. Its folder is only read.

    Args:
        model_dir: the model folder.
        model: path or object of the model plugin, if it is not an installed one.
        set: option values, as in `open_run`.
        average: use the running average of the weights that the trainer kept.

    Raises:
        FsError: of the kind that fits what is wrong.
    """
    return TrainedModel(model_dir, _by_section(set or {}), model, average=average)


def _by_section(values: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    sections: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        section, _, key = name.rpartition(".")
        sections.setdefault(section, {})[key] = value
    return sections
