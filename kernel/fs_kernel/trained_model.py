"""Using a trained model: open it once, swap any number of batches in any direction."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fs_kernel import backend, networks
from fs_kernel.errors import ModelFolderError
from fs_kernel.plugins.other_formats import require_model
from fs_kernel.plugins.tools import load_tool
from fs_kernel.training.network_of import make_network
from fs_kernel.training.resolve import Request, ResolvedRun, resolve_run
from fs_kernel.types import Network

if TYPE_CHECKING:
    from fs_kernel.plugins.roles import Feed


class TrainedModel:
    """A trained model, opened for use. Its folder is only read.

    Args:
        model_dir: the model folder.
        values: changed options, ``{section: {option: value}}``.
        model: the model plugin, if it is not the installed one the folder names.
        objects: plugin objects by kind, as in `fs_kernel.training.resolve.Request`.
        average: use the running average of the weights that the trainer kept.

    Attributes:
        device: where the network is.
        network: the network, with its weights.
        swapper: ``swapper(source, target)`` returns what turns batches of faces of one side into
            the other; see `fs_kernel.networks.Swapper`.
        feed: reads faces from files and writes them (``read_faces``, ``write_face``).
        warnings: lines for the user about options and plugins.

    Raises:
        FsError: of the kind that fits what is wrong.
    """

    def __init__(
        self,
        model_dir: str | Path,
        values: Mapping[str, Mapping[str, Any]] | None = None,
        model: Any = None,
        objects: Mapping[str, Any] | None = None,
        average: bool = False,
    ) -> None:
        chosen = {section: dict(options) for section, options in (values or {}).items()}
        folder = Path(model_dir)
        request = Request(folder, model, values=chosen, objects=dict(objects or {}))

        kinds = ("models", "feeds", "executors", *(("trainers",) if average else ()))

        def read() -> tuple[ResolvedRun, Any, Network]:
            parts = resolve_run(request, kinds)
            device = backend.device(parts.config["training"].device)
            built, _ = make_network(parts, 0, device)
            if average:
                _assign_average(parts, built)
            return parts, device, built

        # A session may rotate the checkpoint away while it is read; then the next one is read.
        parts, self.device, self.network = require_model(folder).read_consistently(read)
        self.warnings = parts.warnings
        self.feed: Feed = parts.plugins.feed
        self.swapper = networks.SwapperCache(parts.plugins, self.network, self.device, "fp32")

    def swap_folder(self, faces: Path, output: Path, *arguments: Any, **named: Any) -> int:
        """Swap every face of a folder and write the results, with the package ``fs-swap``.

        Args:
            faces: a folder of aligned faces.
            output: where results go; made if missing.
            arguments: further arguments of ``fs_swap.swap_folder``: ``direction`` ("a2b" or
                "b2a"), ``batch_size``, ``progress`` (called with how many are done), ``filters``.
            named: the same by name.

        Returns:
            How many faces were written.

        Raises:
            PluginError: ``fs-swap`` is not installed, or a plugin fails.
            FacesError: there is no face to swap.
            ModelFolderError: the output cannot be written.
        """
        swap = load_tool("swap_folder", "swapping a folder")
        return int(swap(self, faces, output, *arguments, **named))


def _assign_average(parts: ResolvedRun, built: Network) -> None:
    assert parts.checkpoint is not None
    training = parts.checkpoints.read_training(parts.checkpoint)
    found = None
    if (state := training.get("trainer")) is not None:
        found = parts.plugins.trainer.averaged_weights(state)
    if found is None:
        raise ModelFolderError(
            f"{parts.request.model_dir}: checkpoint {parts.checkpoint} holds no average of the "
            "weights; train with one (see: fs config show), or leave --average out"
        )
    held = parts.checkpoints.read_weights(parts.checkpoint)
    networks.assign(built, {**held, **found}, f"the average in checkpoint {parts.checkpoint}")
