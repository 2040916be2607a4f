"""The standard trainer: both sides in one step, on one device."""

from __future__ import annotations

from fs_nn.training import TrainerPlugin


class OriginalTrainer(TrainerPlugin):
    """`fs_nn.training.Steps` as they are."""

    section = "trainer.standard"


plugin = OriginalTrainer()
