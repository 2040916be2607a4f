"""Take everything that a session needs to continue exactly, and put it back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import attrs
import tomli_w

from fs_kernel import backend, networks, randomness
from fs_kernel.errors import ModelFolderError
from fs_kernel.plugins.objects import ActiveAddOn, ActiveObjective, ActiveTrainer
from fs_kernel.plugins.record import writer_of
from fs_kernel.storage import tree
from fs_kernel.storage.checkpoints import CheckpointData
from fs_kernel.types import Sampler

if TYPE_CHECKING:
    from fs_kernel.training.session import Session


@attrs.define
class Actors:
    """Whatever in a session has a state besides the weights.

    Attributes:
        trainer: the trainer.
        sampler: the order of faces.
        objectives: by name, what adds terms to the loss.
        addons: by name, what accompanies the run; filled when the add-ons are created.
    """

    trainer: ActiveTrainer
    sampler: Sampler = attrs.field(init=False)
    objectives: dict[str, ActiveObjective] = attrs.field(factory=dict)
    addons: dict[str, ActiveAddOn] = attrs.field(factory=dict)


def capture(
    session: Session, actors: Actors, with_trainer: bool, copy: Callable[[Any], Any]
) -> CheckpointData:
    """Return copies of a session's state at this moment; training may continue while it is written.

    Args:
        session: the session.
        actors: what has a state.
        with_trainer: whether to ask the trainer for its state.
        copy: returns a contiguous CPU copy of a tensor.
    """
    coordinator = session.coordinator
    seeds = {name: state.cpu() for name, state in networks.seed_states(session.network).items()}
    own = {"random": randomness.capture(session.device), "keras_seeds": seeds}
    first, *others = coordinator.collect(own)
    training: dict[str, Any] = {**first, "others": others, "sampler": actors.sampler.state_dict()}
    if not others:
        del training["others"]
    _even_out(session)
    if with_trainer:
        training["trainer"] = actors.trainer.state_dict()
    for kind, objects in (("objectives", actors.objectives), ("addons", actors.addons)):
        states = {name: item.state_dict() for name, item in objects.items()}
        if found := {name: state for name, state in states.items() if state is not None}:
            training[kind] = found
    with actors.trainer.plugin.blaming("the packing of its state"):
        packed = tree.pack(training, copy)
    options = session.options.config.as_dict(machine_local=False)
    options["training"]["seed"] = session.seed
    return CheckpointData(
        step=session.state.iterations,
        network=session.graph,
        weights={name: copy(weight) for name, weight in networks.weights(session.network).items()},
        training=packed,
        state=session.state.to_json(),
        config=tomli_w.dumps(options),
    )


def _even_out(session: Session) -> None:
    """Give all processes the mean of what layers learn without gradients (batch normalization)."""
    if session.coordinator.group.size == 1:
        return
    torch = backend.torch()
    if tensors := [tensor.data for tensor in networks.statistics(session.network).values()]:
        flat = torch.cat([tensor.reshape(-1).to("cpu", torch.float64) for tensor in tensors])
        means = session.coordinator.mean(flat).split([tensor.numel() for tensor in tensors])
        for tensor, mean in zip(tensors, means, strict=True):
            tensor.copy_(mean.view(tensor.shape))


def restore(
    session: Session, actors: Actors, training: Mapping[str, Any], checkpoint: str | None
) -> list[str]:
    """Put back what `capture` took, except the weights and what add-ons hold.

    Args:
        session: the session.
        actors: what has a state.
        training: the tree that was captured.
        checkpoint: the name of the one that holds it; None if the session captured it just now.

    Returns:
        Lines for the user.
    """
    source = "the trial" if checkpoint is None else f"checkpoint {checkpoint}"
    lines = []
    try:
        lines += _restore_trainer(session, actors, training.get("trainer"), checkpoint)
        for name, state in training.get("objectives", {}).items():
            if name in actors.objectives:
                actors.objectives[name].load_state_dict(state)
        if "random" not in training:
            return lines  # No run has written this checkpoint: it was imported.
        actors.sampler.load_state_dict(training["sampler"])
        of_processes = [training, *training.get("others", ())]
        if session.coordinator.rank >= len(of_processes):
            return lines  # Fewer processes wrote it; this one keeps the seed it started with.
        own = of_processes[session.coordinator.rank]
        for name, state in networks.seed_states(session.network).items():
            if name in own["keras_seeds"]:
                state.data.copy_(own["keras_seeds"][name])
        # Last of all: what was restored before may have drawn random numbers.
        randomness.restore(own["random"], session.device)
    except (LookupError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ModelFolderError(f"{source}: its training state does not fit ({reason})") from error
    return lines


def _restore_trainer(
    session: Session, actors: Actors, state: Any, checkpoint: str | None
) -> list[str]:
    resolved, trainer = session.resolved, session.plugins.trainer
    # Not for what this session has saved: a roll-back must not reset the trainer again.
    if resolved.request.reset_trainer and checkpoint and checkpoint == resolved.checkpoint:
        return ["the trainer's state was reset, as you asked"]
    if state is None:
        return ["the checkpoint holds no trainer state: the optimizer state is reset"]
    writer = None
    if checkpoint is not None:
        writer = writer_of(resolved.checkpoints.read_state(checkpoint).get("plugins", {}))
    if writer is not None and not trainer.accepts_state(state, writer):
        return [
            f"the checkpoint's trainer state was written by trainer '{writer.name}', which "
            f"trainer '{trainer.name}' cannot take over: the trainer starts without it"
        ]
    actors.trainer.load_state_dict(state)
    return []
