import fs_model_unet
import pytest
from fs_kernel.testing.parts import build_network
from fs_kernel.testing.suites import ModelSuite


class TestConformance(ModelSuite):
    plugin = fs_model_unet
    options = {"model.unet.width": 4, "model.unet.skips": 2}


@pytest.mark.parametrize("skips", [0, 3])
def test_it_joins_as_many_sizes_as_asked(skips):
    network = build_network(fs_model_unet, {"model.unet.width": 4, "model.unet.skips": skips})
    layers = network.model.get_layer("decoder_a").layers
    assert sum(type(layer).__name__ == "Concatenate" for layer in layers) == skips
