"""Let a run be one process; the only module that knows there may be several.

How several processes decide and act together is the business of the trainer that starts them (its
hook ``connect`` returns their `fs_kernel.types.Coordinator`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from fs_kernel.errors import FsError
from fs_kernel.types import Decision, ProcessGroup

if TYPE_CHECKING:
    import torch

T = TypeVar("T")


@attrs.define
class SingleGroup:
    """The `fs_kernel.types.ProcessGroup` of a run that is one process."""

    rank: int = 0
    size: int = 1
    device: torch.device | None = None
    name: str = ""

    def close(self, failed: bool) -> None:
        """Do nothing."""


def granted(decision: Decision) -> Decision:
    """Return a decision without the save that cannot start yet, or is not made before the end."""
    if decision.save is None or not (decision.save_blocked or decision.stop):
        return decision
    return attrs.evolve(decision, save=None)


class SingleProcess:
    """The `fs_kernel.types.Coordinator` of a run that is one process: all is as it seems."""

    def __init__(self) -> None:
        self.group: ProcessGroup = SingleGroup()
        self.rank, self.is_main = 0, True
        self.context: dict[str, Any] = {}

    def decide(self, wish: Decision, failure: FsError | None = None) -> Decision:
        """Return the wish, unless something failed."""
        if failure is not None:
            raise failure
        return granted(wish)

    def everywhere(self, action: Callable[[], T]) -> T:
        """Act."""
        return action()

    def on_main(self, action: Callable[[], T]) -> T:
        """Act."""
        return action()

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """Return the values."""
        return values

    def collect(self, value: T) -> list[T]:
        """Return the one value there is."""
        return [value]

    def broadcast(self, value: T) -> T:
        """Return the value."""
        return value

    def local_indices(self, batch_size: int) -> range:
        """Return all places of a batch."""
        return range(batch_size)

    def require_identical(
        self, facts: Mapping[str, Any], error: type[FsError], advice: str
    ) -> None:
        """Do nothing: there is nothing to differ from."""

    def as_group_error(self, error: Exception) -> Exception:
        """Return the error."""
        return error
