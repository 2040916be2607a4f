"""Protocols for accompanying a run: the handle of a run, processes and add-ons."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    import torch

    from fs_kernel.errors import FsError
    from fs_kernel.options.fields import Interval
    from fs_kernel.options.sources import Config
    from fs_kernel.types.data import FaceIterator, Tree
    from fs_kernel.types.decision import Decision
    from fs_kernel.types.events import BadStep, Metrics, Observer, RunInfo
    from fs_kernel.types.network import Network, Side
    from fs_kernel.types.training import LossTerms, StepResult


T = TypeVar("T")


class ProcessGroup(Protocol):
    """The processes that share a run, each with its own places of every batch.

    A trainer may keep more in its group, such as its own collective calls; it gets the group back
    as ``run.group``.

    Attributes:
        rank: which of them this one is; process 0 decides and writes, and is the only one that
            observers watch.
        size: how many there are.
        device: where this process computes; None for what ``training.device`` says.
        name: the same in all of them, and after a restart of the group; "" if it has none.
    """

    rank: int
    size: int
    device: torch.device | None
    name: str

    def close(self, failed: bool) -> None:
        """Leave the group.

        Args:
            failed: other processes may be gone: do not wait for them.
        """


class Coordinator(Protocol):
    """Decide and act as one run, be it one process or several.

    Collective calls are made by all processes in the same order; a missing one holds up the others
    until they time out. Values travel from CPU to CPU, so that nothing waits for a GPU.

    Attributes:
        group: what plugins see as ``run.group``.
        rank: of this process.
        is_main: whether this process decides and writes.
        context: what the run's records say of this process.
    """

    group: Any
    rank: int
    is_main: bool
    context: dict[str, Any]

    def decide(self, wish: Decision, failure: FsError | None = None) -> Decision:
        """Return the same decision in every process, or raise the same error."""

    def everywhere(self, action: Callable[[], T]) -> T:
        """Act in each process and return its own result; if one fails, all fail with its error.

        The action must not be collective: a process that failed would leave the others waiting.
        """

    def on_main(self, action: Callable[[], T]) -> T:
        """Act in process 0 alone; return its result in all, or fail in all."""

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """Return the mean over the processes, element by element."""

    def collect(self, value: T) -> list[T]:
        """Return every process's value."""

    def broadcast(self, value: T) -> T:
        """Return the value of process 0."""

    def local_indices(self, batch_size: int) -> range:
        """Return the places of a batch that this process fills."""

    def require_identical(
        self, facts: Mapping[str, Any], error: type[FsError], advice: str
    ) -> None:
        """Compare what every process knows with what process 0 knows.

        Args:
            facts: what to call a fact, and what it is here.
            error: what is raised in all of them if one differs.
            advice: what to do then.
        """

    def as_group_error(self, error: Exception) -> Exception:
        """Return what an error that ends this process means for all of them."""


class Trial(Protocol):
    """Inside ``with run.trial() as trial``."""

    def step(self) -> Metrics:
        """Run one step and return its metrics.

        Raises:
            TrainingError: a loss is not finite.
        """


class Run(Protocol):
    """What trainers, objectives and add-ons hold of a run. The loop itself stays out of reach."""

    info: RunInfo
    network: Network
    device: torch.device
    group: ProcessGroup

    @property
    def config(self) -> Config:
        """The sections this plugin declared in ``config_defaults``, as they are now."""

    @property
    def step(self) -> int:
        """Steps done so far."""

    def forward(
        self, inputs: Mapping[Side, torch.Tensor], training: bool = True
    ) -> list[torch.Tensor]:
        """Run the network and return its outputs; the only way a trainer may, except `module`."""

    @property
    def module(self) -> torch.nn.Module | None:
        """What runs the lowered network, see `Forward`; None if the executor lowers nothing."""

    @property
    def objectives(self) -> Sequence[LossTerms]:
        """What adds terms to the trainer's loss; see `Trainer.adds_objectives`."""

    def parameters(self, of: str | None = None) -> dict[str, torch.nn.Parameter]:
        """Return trainable weights by their stable names.

        Args:
            of: the name of an owned network; None for the network that is swapped.
        """

    def find(self, kind: str, name: str) -> Any:
        """Return another plugin by kind and name, behind the kernel's typed calls.

        The model remembers which losses and optimizers were used.

        Args:
            kind: "losses", "optimizers", "executors", ...
            name: of an installed plugin, or a file or reference that the user named.

        Returns:
            The role of the kind (`fs_kernel.plugins`): for "losses" one with ``create()``, for
            "optimizers" one with ``create(groups, settings)``, for "executors" one with
            ``make_forward(...)``.

        Raises:
            PluginError: there is none, or only the model folder names the local file it is in.
        """

    def log(self, values: Mapping[str, float]) -> None:
        """Report numbers by name with the next metrics. Safe from any thread."""

    def swapper(self, source: Side, target: Side) -> Any:
        """Return what turns faces of ``source`` into ``target`` with the weights of this moment.

        Main thread only. The result is called with ``(n, h, w, c)`` float32 0..1 and returns faces
        ``(n, H, W, 3)`` and masks ``(n, H, W)`` or None, as float32 arrays 0..1.
        """

    def read_faces(self, source: Path, side: Side) -> FaceIterator:
        """Return the faces of a folder one by one, cut as the network of ``side`` wants them."""

    def get_option(self, name: str) -> Any:
        """Return the value of an option of any section of the run, as it is now.

        Args:
            name: "section.option".

        Raises:
            ConfigError: there is no such option.
        """

    def set_option(
        self, name: str, value: Any, *, at_step: int | None = None, bounded: bool = True
    ) -> None:
        """Change an option marked ``live`` during the run. Safe from any thread.

        Args:
            name: "section.option", of any section of the run.
            value: as a user would write it.
            at_step: the first step done with it; None for the next one.
            bounded: whether the option's range holds, which binds users but not programs.

        Raises:
            ConfigError: there is no such option, it is not live, or the value does not fit.
        """

    def trial(self) -> AbstractContextManager[Trial]:
        """Return a context whose steps leave no trace. Only in ``AddOn.before_training``.

        At its end weights, trainer, sampler, feed, options and randomness are what they were.
        """

    def warn(self, line: str) -> None:
        """Warn the user, in one line. Safe from any thread."""

    def note(self, line: str) -> None:
        """Tell the user what happened, in one line. Safe from any thread."""

    def request_stop(self) -> None:
        """Finish the step, save, and end. Safe from any thread."""

    def request_save(self) -> None:
        """Save after the current step. Safe from any thread."""

    def request_snapshot(self) -> None:
        """Save after the current step, and keep that checkpoint permanently. Any thread."""

    def request_preview(self, count: int = 14) -> None:
        """Make a preview of ``count`` faces per side after the current step. Any thread."""


class AddOn(Protocol):
    """Accompany a run; what the hook ``create_addon`` returns. Every member is optional.

    Methods are called in the main thread, between steps, in every process of a run. What only
    watches belongs into `observers`.

    Attributes:
        evaluation_interval: how often `evaluate` is called; never without it.
    """

    evaluation_interval: Interval

    def observers(self) -> Sequence[Observer]:
        """Return what watches, in threads of its own; called once, in process 0 alone."""

    def before_training(self) -> None:
        """Act before the first step of the session. ``run.trial`` may be used here."""

    def after_step(self, result: StepResult) -> None:
        """Act after a step. Its tensors are on the device; reading them would stall it."""

    def evaluate(self) -> Mapping[str, float]:
        """Return numbers about the network as it is now; they are reported with the metrics."""

    def check_metrics(self, metrics: Metrics) -> str | None:
        """Return one line that says what is bad, although every number is finite; or None.

        Called with each reading, before anything is saved.
        """

    def on_bad_step(self, report: BadStep) -> bool:
        """Decide what follows a step that went wrong: not-a-number, or a line of `check_metrics`.

        Nothing of the bad steps has been saved. Options set here with ``run.set_option`` hold from
        the step after the roll-back.

        Returns:
            True to go back to the last good checkpoint and train on; otherwise the run stops.
        """

    def state_dict(self) -> Tree:
        """Return what a checkpoint must hold so that the add-on continues exactly."""

    def load_state_dict(self, state: Tree) -> None:
        """Take over what `state_dict` returned; called before `before_training`."""

    def close(self, failed: bool) -> None:
        """Release what the add-on holds, at the end of the session."""
