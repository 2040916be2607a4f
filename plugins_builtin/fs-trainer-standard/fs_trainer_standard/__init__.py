"""Train both sides in one step, on one device."""

from __future__ import annotations

from fs_nn.training import TrainerPlugin


class StandardTrainer(TrainerPlugin):
    """Train with `fs_nn.training.TrainingSteps` as they are."""

    section = "trainer.standard"


plugin = StandardTrainer()
