"""Read models of Keras 2, as faceswap 2 wrote them: one ``.h5`` file with the whole model.

The graph is rewritten for the current Keras so that the network computes what it did under
TensorFlow; see `fs_addon_import.keras2.graph`, `layers`, `custom` and `operations`. Nothing in the
file is deserialized, imported or run.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
from fs_kernel import networks
from fs_kernel.errors import ModelFolderError
from fs_kernel.types import Network
from fs_nn import hdf5

from fs_addon_import.foreign import ForeignNetwork, ForeignOptimizer


def read_keras2(
    path: Path, state: Mapping[str, Any] | None
) -> tuple[ForeignNetwork, ForeignOptimizer | None]:
    """Read a Keras-2 model file.

    Args:
        path: the ``.h5`` file.
        state: the ``<plugin>_state.json`` beside it, if there is one. The file alone defines
            the network; of the state only ``config.enc_architecture`` is read, to recognize one
            network of Keras whose layers held code.

    Returns:
        The network and its weights; the optimizer, or None if the file has none
        that is known here.

    Raises:
        ModelFolderError: the file cannot be read, is not a Keras-2 model, holds something
            unknown, or contradicts itself.
    """
    try:
        with _opened(path) as file:
            return _read(file, state or {})
    except ModelFolderError as error:
        raise ModelFolderError(f"{path}: {error}") from None


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    """Yield the open file; turn any error in it into a one-line ModelFolderError."""
    try:
        with h5py.File(path, "r") as file:
            yield file
    except ModelFolderError:
        raise
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0]
        raise ModelFolderError(
            f"it cannot be read; it may be damaged ({type(error).__name__}: {reason})"
        ) from error


def _read(
    file: h5py.File, state: Mapping[str, Any]
) -> tuple[ForeignNetwork, ForeignOptimizer | None]:
    _require_keras_2(file)
    written = hdf5.text(file, "model_config")
    if written is None:
        raise ModelFolderError("it holds no graph (model_config): not a model, or weights alone")
    # On the meta device: the weights come from the file, so none need to be drawn.
    with networks.building(0, "meta"):
        import keras

        from fs_addon_import.keras2 import graph, optimizer, vision, weights

        reader = graph.Reader(
            lambda layer, shape: vision.build(
                (shape[0], shape[1], shape[2]), weights.stored(file, layer)
            ),
            (state.get("config") or {}).get("enc_architecture") == "inception_resnet_v2",
        )
        model, root = reader.network(json.loads(written))
        config = keras.saving.serialize_keras_object(model)
        names = {id(v): n for n, v in networks.variables(Network(model, [])).items()}
        matches = weights.match(file, root)
        values = weights.read(matches, names)
        trained = [item.variable for item in matches if item.trained]
        found, problem = optimizer.read(file, trained, names)
    notes = [f"rewritten from Keras {hdf5.text(file, 'keras_version')}"]
    return ForeignNetwork(config, values, (*notes, *filter(None, [problem]))), found


def _require_keras_2(file: h5py.File) -> None:
    version = hdf5.text(file, "keras_version")
    if version is None:
        raise ModelFolderError("it is not a Keras model (keras_version is missing)")
    if not version.startswith("2."):
        raise ModelFolderError(
            f"it was written by Keras {version}; only Keras 2 files are .h5 here"
        )
