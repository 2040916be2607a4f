import fs_model_torchnet
from fs_kernel.testing.suites import ModelSuite


class TestConformance(ModelSuite):
    plugin = fs_model_torchnet
