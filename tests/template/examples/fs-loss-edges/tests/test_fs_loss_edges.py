from fs_kernel.testing.suites import LossSuite
from fs_loss_edges import edges


class TestConformance(LossSuite):
    plugin = edges
