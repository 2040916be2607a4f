import torch
from fs_kernel.testing.suites import LossSuite
from fs_loss_landmarks import INNER, Landmarks


class TestConformance(LossSuite):
    plugin = Landmarks

    def test_differences_near_a_landmark_count_more(self):
        """Pixels weigh twice at a point, once far from all, and half-way between in between."""
        ones, size = torch.ones(1, 3, 100, 100), 100
        weights = self.value(self.make(), ones, 0 * ones)[0, 0]
        (points,) = self.landmarks(ones)
        columns, rows = (points[INNER:] * size).long().clamp(max=size - 1).T
        assert weights[rows, columns].min() > 1.8
        assert weights[0, 0] < 1.1
        assert weights.max() <= 2
        assert weights.min() >= 1

    def landmarks(self, pictures):
        """Return what the loss is given with these pictures."""
        seen = []

        class Spy(Landmarks):
            def __call__(self, prediction, target, context):
                seen.append(context.landmarks)
                return super().__call__(prediction, target, context)

        self.value(Spy(), pictures, pictures)
        return seen[0]
