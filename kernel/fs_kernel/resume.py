"""Everything a session needs to go on exactly: taken for a checkpoint, and put back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tomli_w

from fs_kernel import network, randomness, tree
from fs_kernel.checkpoint import Content
from fs_kernel.errors import ModelFolderError
from fs_kernel.startup import Started
from fs_kernel.types import Sampler


def capture(
    session: Started,
    trainer: Any,
    sampler: Sampler,
    with_trainer: bool,
    copy: Callable[[Any], Any],
) -> Content:
    """Copies of a session's state at this moment; training may go on while they are written.

    Args:
        session: the session.
        trainer: the trainer's state.
        sampler: the order of faces.
        with_trainer: whether to ask the trainer for its state.
        copy: makes a contiguous CPU copy of a tensor.
    """
    facade, built = session.parts.plugins, session.network
    training: dict[str, Any] = {
        "random": randomness.capture(session.device),
        "keras_seeds": {name: v._value for name, v in network.seed_states(built).items()},
        "sampler": sampler.state_dict(),
    }
    if with_trainer:
        training["trainer"] = facade.trainer_state(trainer)
    with facade.blaming(facade.of_kind("trainers"), "the packing of its state"):
        packed = tree.pack(training, copy)
    options = session.parts.config.as_dict()
    options["training"]["seed"] = session.seed
    return Content(
        step=session.state.iterations,
        network=session.graph,
        weights={name: copy(v._value) for name, v in network.weights(built).items()},
        training=packed,
        state=session.state.to_json(),
        config=tomli_w.dumps(options),
    )


def restore(
    session: Started, trainer: Any, sampler: Sampler, training: Any, source: str
) -> list[str]:
    """Put back what `capture` took, but for the weights.

    Args:
        session: the session.
        trainer: the trainer's state.
        sampler: the order of faces.
        training: the tree that was captured.
        source: what to call it in errors.

    Returns:
        Lines for the user.
    """
    lines = []
    try:
        if (state := training.get("trainer")) is not None:
            session.parts.plugins.restore_trainer(trainer, state)
        else:
            lines.append("the checkpoint holds no trainer state: the optimiser starts afresh")
        if "random" not in training:
            return lines  # No run has written this generation: it was adopted.
        sampler.load_state_dict(training["sampler"])
        for name, variable in network.seed_states(session.network).items():
            if name in training["keras_seeds"]:
                variable._value.data.copy_(training["keras_seeds"][name])
        randomness.restore(training["random"], session.device)
    except (LookupError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ModelFolderError(f"{source}: its training state does not fit ({reason})") from error
    return lines
