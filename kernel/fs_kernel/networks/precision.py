"""Number formats: a policy per layer, set in place after a network is built.

Weights are float32 always. Under "fp16" and "bf16" the layers that were built with Keras's default
policy compute in half precision; those a plugin made float32 on purpose (outputs, as a rule) stay.
Which layers these are is kept with the graph, so that a model can be switched either way at any
time without touching a weight. Keras's global policy is never changed.
"""

from __future__ import annotations

from fs_kernel import backend
from fs_kernel.errors import ConfigError
from fs_kernel.networks.enumeration import layers
from fs_kernel.types import Network

POLICIES = {"fp32": "float32", "fp16": "mixed_float16", "bf16": "mixed_bfloat16"}


def following_layers(network: Network) -> tuple[str, ...]:
    """Return the paths of the layers of a new network that follow ``training.precision``.

    Networks that a trainer owns are not asked: they keep the types they were built with.
    """
    keras = backend.keras()
    default = keras.config.dtype_policy()
    return tuple(
        path
        for path, layer in layers(network)
        if layer.dtype_policy is default
        and not isinstance(layer, keras.Model | keras.layers.InputLayer)
    )


def apply_precision(network: Network, precision: str, device: str) -> None:
    """Make a network compute in ``precision``.

    Raises:
        ConfigError: the device cannot train in it.
    """
    if precision == "fp16" and device == "cpu":
        raise ConfigError("training.precision=fp16 needs a GPU; on a CPU use bf16 or fp32")
    keras = backend.keras()
    following = set(network.mixed_layers)
    for path, layer in layers(network):
        if path in following:
            layer.dtype_policy = keras.DTypePolicy(POLICIES[precision])
