"""The steps of the kit's trainer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fs_kernel.types import Batch, BatchLoss, LossPart, Run, StepResult

if TYPE_CHECKING:
    import torch


class PlainSteps:
    """The `fs_kernel.types.Trainer` of `PlainTrainer`.

    Args:
        run: the run.
    """

    adds_objectives = True

    def __init__(self, run: Run) -> None:
        import torch

        self._run = run
        parameters = run.parameters()
        self._names = list(parameters)
        self._adam = torch.optim.Adam(list(parameters.values()), lr=1e-3)

    def train_step(self, batch: Batch) -> StepResult:
        """Run one step."""
        import torch

        run, adam = self._run, self._adam
        outputs = run.forward(batch.inputs, training=True)
        losses: dict[str, list[tuple[str, str, torch.Tensor]]] = {}
        for side in run.network.sides:
            pairs = zip(run.network.outputs_of(side), batch.targets[side], strict=True)
            losses[side] = [
                ("mse", f"{output.kind}_{output.size}", ((outputs[i] - target) ** 2).mean())
                for (i, output), target in pairs
                if target is not None
            ]
        for objective in run.objectives:
            for side, terms in objective.terms(batch, outputs).items():
                losses[side] += [(name, "objective", term.mean()) for name, term in terms.items()]
        adam.zero_grad()
        torch.stack(
            [value for of_side in losses.values() for *_, value in of_side]
        ).sum().backward()
        adam.step()
        said: dict[str, Any] = {}
        for objective in run.objectives:
            said |= objective.train_step()
        reports = [_report(*item) for item in losses.items()]
        return StepResult(reports, learning_rate=1e-3, values=said)

    def state_dict(self) -> dict[str, Any]:
        """Return Adam's moments by the weights' names."""
        moments = self._adam.state_dict()["state"]
        return {self._names[index]: dict(slots) for index, slots in moments.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over Adam's moments."""
        full = self._adam.state_dict()
        places = {name: i for i, name in enumerate(self._names)}
        full["state"] = {places[name]: slots for name, slots in state.items() if name in places}
        self._adam.load_state_dict(full)


def _report(side: str, values: list[tuple[str, str, torch.Tensor]]) -> BatchLoss:
    import torch

    parts = [LossPart(name, output, v.detach(), v.detach()) for name, output, v in values]
    total = torch.stack([part.weighted for part in parts]).sum()
    return BatchLoss(side, total, tuple(parts))
