"""Everything a session needs to go on exactly: taken for a checkpoint, and put back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tomli_w

from fs_kernel import backend, networks, randomness
from fs_kernel.errors import ModelFolderError
from fs_kernel.storage import tree
from fs_kernel.storage.checkpoints import Content
from fs_kernel.training.session import Started
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
    seeds = {name: v.cpu() for name, v in networks.seed_states(built).items()}
    own = {"random": randomness.capture(session.device), "keras_seeds": seeds}
    first, *others = session.group.gather(own)
    training: dict[str, Any] = {**first, "others": others, "sampler": sampler.state_dict()}
    if not others:
        del training["others"]
    _even_out(session)
    if with_trainer:
        training["trainer"] = facade.trainer_state(trainer)
    with facade.blaming(facade.of_kind("trainers"), "the packing of its state"):
        packed = tree.pack(training, copy)
    options = session.parts.config.as_dict()
    options["training"]["seed"] = session.seed
    return Content(
        step=session.state.iterations,
        network=session.graph,
        weights={name: copy(v) for name, v in networks.weights(built).items()},
        training=packed,
        state=session.state.to_json(),
        config=tomli_w.dumps(options),
    )


def _even_out(session: Started) -> None:
    """What layers learn without gradients (batch normalisation): every process's mean, in all."""
    torch = backend.torch()
    found = networks.statistics(session.network).values() if session.group.size > 1 else ()
    if tensors := [variable.data for variable in found]:
        flat = torch.cat([tensor.reshape(-1).to("cpu", torch.float64) for tensor in tensors])
        means = session.group.mean(flat).split([tensor.numel() for tensor in tensors])
        for tensor, mean in zip(tensors, means, strict=True):
            tensor.copy_(mean.view(tensor.shape))


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
        of_processes = [training, *training.get("others", ())]
        if session.group.rank >= len(of_processes):
            return lines  # Fewer processes wrote it; this one keeps the seed it began with.
        own = of_processes[session.group.rank]
        for name, variable in networks.seed_states(session.network).items():
            if name in own["keras_seeds"]:
                variable.data.copy_(own["keras_seeds"][name])
        randomness.restore(own["random"], session.device)
    except (LookupError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ModelFolderError(f"{source}: its training state does not fit ({reason})") from error
    return lines
