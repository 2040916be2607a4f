"""Stop, or go back with a lower learning rate, when training goes wrong.

The kernel itself finds losses that are not finite, and saves nothing of such a step. The guard adds
losses that explode, and decides what happens next.
"""

from __future__ import annotations

import attrs
from fs_kernel import Config, hookimpl, option
from fs_kernel.options import check_option
from fs_kernel.types import BadStep, Metrics, Run

from fs_addon_guard.explosion import WINDOW, Explosion

SECTION = "addon.guard"


@attrs.frozen
class GuardOptions:
    """Options of the section ``[addon.guard]``."""

    policy: str = option(
        "stop",
        "When a loss is not-a-number or explodes: stop the run, or rollback to the last good "
        "checkpoint and train on with a lower learning rate.",
        choices=("stop", "rollback"),
    )
    learning_rate_factor: float = option(
        0.5, "What each roll-back multiplies the learning rate with.", minimum=0.01, maximum=1.0
    )
    max_rollbacks: int = option(
        3, "Roll-backs in one session; the next bad step stops it.", minimum=1, maximum=100
    )
    explosion: float = option(
        3.0,
        "A loss above so many times the median of the last 100 good readings of its side is bad; "
        "0 is off.",
        minimum=0.0,
        maximum=1e6,
    )
    patience: int = option(
        10, "Bad readings in a row that make an explosion.", minimum=1, maximum=1000
    )
    learning_rate_option: str = option(
        "optimizer.learning_rate", "The option that holds the learning rate."
    )
    watch: list[str] = option(
        [],
        "Names of further numbers, reported by trainer, objectives or add-ons, that must not "
        "explode either; lower is better.",
    )

    def __attrs_post_init__(self) -> None:
        if 0 < self.explosion <= 1:
            raise ValueError(
                f"explosion = {self.explosion:g} would call every usual loss bad; "
                "write 0 for off, or more than 1"
            )


class Guard:
    """The guard of one run; see `fs_kernel.types.AddOn`.

    Args:
        run: the run to guard.
    """

    def __init__(self, run: Run) -> None:
        options: GuardOptions = run.config[SECTION]
        self._run, self._options = run, options
        self._readings = 0
        #: One detector for the losses of all sides, then one for each watched number.
        self._losses: Explosion | None = None
        self._watched: dict[str, Explosion] = {}
        if options.explosion:
            self._losses = Explosion(options.explosion, options.patience)
            self._watched = {
                name: Explosion(options.explosion, options.patience) for name in options.watch
            }
        self._unseen = set(self._watched)

    def check_metrics(self, metrics: Metrics) -> str | None:
        """Return a line that names the number that has exploded, or None."""
        if self._losses is None:
            return None
        changed = dict(self._run.config.origins)
        # A new learning rate must not reset the medians: too high a rate makes losses explode.
        changed.pop(self._options.learning_rate_option, None)
        losses = {f"the loss of side {side.upper()}": loss for side, loss in metrics.losses.items()}
        line = self._losses.judge(losses, changed)
        for name, explosion in self._watched.items():
            if name in metrics.values:
                self._unseen.discard(name)
                line = explosion.judge({name: metrics.values[name]}, changed) or line
        self._say_what_is_unseen()
        return line

    def _say_what_is_unseen(self) -> None:
        self._readings += 1
        if self._readings == WINDOW and self._unseen:
            names = ", ".join(sorted(self._unseen))
            self._run.warn(
                f"{SECTION}.watch: nothing has reported {names} in {WINDOW} readings; "
                "check the spelling"
            )

    def on_bad_step(self, report: BadStep) -> bool:
        """Stop, or lower the learning rate and go back, by policy."""
        run, options = self._run, self._options
        if options.policy == "stop":
            return False
        if report.rollbacks >= options.max_rollbacks:
            run.warn(
                f"{report.rollbacks} roll-backs did not help, and {SECTION}.max_rollbacks allows "
                "no more; the run stops"
            )
            return False
        name = options.learning_rate_option
        rate = run.get_option(name) * options.learning_rate_factor
        run.set_option(name, rate, bounded=False)
        run.warn(
            f"step {report.step} went wrong; roll-back {report.rollbacks + 1} of "
            f"{options.max_rollbacks} to step {report.checkpoint_step}, with {name} = {rate:.4g}"
        )
        return True


@hookimpl
def config_defaults() -> dict[str, type]:
    """Return the section ``[addon.guard]``."""
    return {SECTION: GuardOptions}


@hookimpl
def check_options(config: Config, everything: Config) -> None:
    """Refuse to roll back with a rate that cannot be lowered.

    Raises:
        ConfigError: the learning rate cannot be changed while training.
    """
    options: GuardOptions = config[SECTION]
    if options.policy == "rollback":
        check_option(everything, options.learning_rate_option, 1e-5, bounded=False)


@hookimpl
def create_addon(run: Run) -> Guard:
    """Create the guard of a run."""
    return Guard(run)
