"""Write a network that another program has trained as the first checkpoint of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import tomli_w
from fs_kernel import networks
from fs_kernel.errors import ModelFolderError
from fs_kernel.networks import to_json
from fs_kernel.plugins import record as provenance
from fs_kernel.storage import Checkpoint, CheckpointData, ModelState, SessionRecord, pack
from fs_kernel.types import Network, Tree

if TYPE_CHECKING:
    import torch
    from fs_kernel.training import ResolvedRun


def import_checkpoint(
    parts: ResolvedRun,
    built: Network,
    weights: Mapping[str, torch.Tensor],
    trainer: Tree | None,
    iterations: int,
    sessions: Sequence[SessionRecord] = (),
) -> Checkpoint:
    """Write a network that was trained elsewhere as the first checkpoint of a model folder.

    Args:
        parts: of the run that will continue, made with ``look=False``; ``request.model_dir`` is the
            folder, which holds no model yet.
        built: the network; it may be on Keras's meta device, without numbers.
        weights: every weight by its stable name, on the CPU.
        trainer: what the trainer's ``load_state_dict`` takes, or None.
        iterations: steps done.
        sessions: what is known of them.

    Raises:
        ModelFolderError: weights are missing, too many, of other shapes, or not finite.
        OSError: the folder cannot be written.
    """
    networks.assign(built, weights, "the model")
    for name, tensor in weights.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise ModelFolderError(f"the weight {name} is not finite; the model is damaged")
    item = parts.plugins.model
    state = ModelState(
        model=item.name,
        network_name=built.model.name,
        fingerprint=networks.fingerprint(built),
        parameters=networks.count(built),
        plugins={
            provenance.key(p.loaded): provenance.facts_of(p.loaded) for p in parts.plugins.all
        },
        sessions=list(sessions),
        iterations=iterations,
        target_iterations=parts.config["training"].iterations,
        stop_reason="adopted",
    )
    content = CheckpointData(
        step=iterations,
        network=to_json(built),
        weights=dict(weights),
        training=pack({} if trainer is None else {"trainer": trainer}, lambda t: t),
        state=state.to_json(),
        config=tomli_w.dumps(parts.config.as_dict(machine_local=False)),
    )
    return parts.checkpoints.write(content, keep=1)
