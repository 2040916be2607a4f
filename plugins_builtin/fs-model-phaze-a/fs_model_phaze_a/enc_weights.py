"""Load trained weights into a library encoder from a file of the user's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import keras
import numpy as np
import safetensors
from fs_kernel import networks
from fs_kernel.errors import ConfigError, ModelFolderError
from fs_kernel.types import Network

from fs_model_phaze_a import h5_weights
from fs_model_phaze_a.encoders import library_networks
from fs_model_phaze_a.h5_weights import Pair, Stored, UnfitError

#: Standard deviations of ImageNet's red, green and blue, for values 0..1.
_DEVIATIONS = (0.229, 0.224, 0.225)


def load(network: Network, path: Path) -> None:
    """Set all weights of the library network inside the encoder.

    Args:
        network: just built.
        path: a weight file of Keras Applications without the classifier ("notop"), any other that
            Keras wrote of the same network (``.h5``, ``.weights.h5``), or a ``.safetensors`` file
            with the names that weights have in a checkpoint, with or without
            ``encoder/<network>/`` in front.

    Raises:
        ConfigError: the file cannot be read or does not fit; the network must not be used then.
    """
    (name,) = library_networks(network.model)
    net = network.model.get_layer("encoder").get_layer(name)
    try:
        with _opened(path, net) as found:
            for variable, weight, stored in found:
                _require_fit(variable, weight, stored, net)
            if not _is_without_numbers(net):
                _fill(net, found)
    except (UnfitError, ModelFolderError) as error:
        reason = str(error)
    except (OSError, LookupError, TypeError, ValueError, RuntimeError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        reason = f"it cannot be read ({first})"
    except safetensors.SafetensorError as error:
        reason = f"it cannot be read ({error})"
    else:
        return
    raise ConfigError(f"model.phaze_a: enc_weights {path}: {reason}") from None


@contextmanager
def _opened(path: Path, net: keras.Model) -> Iterator[list[Pair]]:
    if not path.is_file():
        raise UnfitError("there is no such file")
    if path.suffix == ".safetensors":
        with safetensors.safe_open(path, framework="pt") as file:
            yield list(_named(file, net))
    else:
        with h5py.File(path, "r") as file:
            yield h5_weights.pairs(file, net)


def _named(file: safetensors.safe_open, net: keras.Model) -> Iterator[Pair]:
    """Yield each weight with its counterpart in a file that uses our names.

    Raises:
        UnfitError: a weight is missing.
    """
    known = set(file.keys())
    for name, variable in networks.variables(Network(net, [])).items():
        full = f"encoder/{net.name}/{name}"
        key = full if full in known else name
        if key not in known:
            raise UnfitError(f"it has no {name}")
        yield variable, name, _tensor(file, key)


def _tensor(file: safetensors.safe_open, key: str) -> Stored:
    piece = file.get_slice(key)
    floating = piece.get_dtype().startswith(("F", "BF"))
    return Stored(key, tuple(piece.get_shape()), floating, lambda: file.get_tensor(key))


def _require_fit(variable: keras.Variable, weight: str, stored: Stored, net: keras.Model) -> None:
    if stored.shape != tuple(variable.shape):
        raise UnfitError(
            f"{weight} has shape {stored.shape}, {net.name} needs {tuple(variable.shape)}; "
            "is it a file of this network, without the classifier (notop)?"
        )
    if stored.floating != variable.dtype.startswith("float"):
        raise UnfitError(f"{weight} holds no {variable.dtype} numbers; refused")


def _is_without_numbers(net: keras.Model) -> bool:
    """Return whether the network is on the meta device, built only for inspection."""
    return all(variable.value.device.type == "meta" for variable in net.weights)


def _fill(net: keras.Model, found: list[Pair]) -> None:
    for variable, _, stored in found:
        variable.assign(stored.read())
    _square_published_deviations(net)


def _square_published_deviations(net: keras.Model) -> None:
    """Replace standard deviations that stand in the place of variances by their squares.

    The weights that Keras publishes for EfficientNet hold standard deviations where Normalization
    needs variances; Keras adds one more Rescaling layer to correct this if it loads them itself.
    """
    for layer in net.layers:
        if isinstance(layer, keras.layers.Normalization) and layer.input_mean is None:
            held = keras.ops.convert_to_numpy(layer.adapt_variance)
            if np.allclose(held, _DEVIATIONS, atol=1e-4):
                layer.adapt_variance.assign(held**2)
