from fs_kernel.testing import tiny_run
from fs_kernel.testing.suites import TrainerSuite
from fs_trainer_duel import DuelTrainer


class TestConformance(TrainerSuite):
    plugin = DuelTrainer


def test_both_sides_of_the_duel_are_reported(tmp_path):
    options = {"training.iterations": 2}
    with tiny_run(tmp_path, trainer=DuelTrainer(), set=options) as run:
        parts = [metrics.parts["a"] for metrics in run]
    assert set(parts[0]) == {"face_16/mae", "face_16/critic"}
