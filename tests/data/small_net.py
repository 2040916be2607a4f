"""The ``original`` network with small widths: a model plugin as a file, for tests."""

from fs_kernel import Network, NetworkSpec, hookimpl
from fs_nn.options import NetworkOptions

WIDTHS = {"convs": (8, 16, 16), "dense": 32, "bottleneck": 16, "shared": 16, "ups": (16, 16, 8)}


@hookimpl
def config_defaults() -> dict[str, type]:
    return {"network": NetworkOptions}


@hookimpl
def network_spec() -> NetworkSpec:
    return NetworkSpec({"a": (64, 64, 3), "b": (64, 64, 3)})


@hookimpl
def build_model(inputs, config) -> Network:
    from fs_model_original.network import original
    from fs_nn.blocks import Blocks

    options = config["network"]
    return original(inputs, Blocks.of(options), learn_mask=options.learn_mask, **WIDTHS)


@hookimpl
def freeze_layers() -> list[str]:
    return ["encoder"]


@hookimpl
def load_layers() -> list[str]:
    return ["encoder"]


@hookimpl
def custom_objects() -> dict[str, type]:
    from fs_nn.layers import custom_objects

    return custom_objects()
