"""Stop, or go back with a lower learning rate, when training goes wrong.

The kernel itself finds losses that are no numbers, and saves nothing of such a step; the guard adds
losses that explode, and decides what happens next.
"""

from __future__ import annotations

import attrs
from fs_kernel import Config, hookimpl, option
from fs_kernel.options import check_option
from fs_kernel.types import BadStep, Metrics, Run

from fs_addon_guard.explosion import Explosion

SECTION = "addon.guard"


@attrs.frozen
class GuardOptions:
    """Options of the section ``[addon.guard]``."""

    policy: str = option(
        "stop",
        "When a loss is no number or explodes: stop the run, or rollback to the last good "
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

    def __attrs_post_init__(self) -> None:
        if 0 < self.explosion <= 1:
            raise ValueError(
                f"explosion = {self.explosion:g} would call every usual loss bad; "
                "write 0 for off, or more than 1"
            )


class Guard:
    """The add-on; the kernel makes one per run."""

    def __init__(self) -> None:
        self._explosion: Explosion | None = None

    @hookimpl
    def config_defaults(self) -> dict[str, type]:
        """The section ``[addon.guard]``."""
        return {SECTION: GuardOptions}

    @hookimpl
    def check_options(self, config: Config, everything: Config) -> None:
        """Refuse to roll back with a rate that could not be lowered.

        Raises:
            ConfigError: the learning rate cannot be changed while training.
        """
        options: GuardOptions = config[SECTION]
        if options.policy == "rollback":
            check_option(everything, options.learning_rate_option, 1e-5, bounded=False)

    @hookimpl
    def before_training(self, run: Run) -> None:
        """Get ready."""
        options: GuardOptions = run.config[SECTION]
        if options.explosion:
            self._explosion = Explosion(options.explosion, options.patience)

    @hookimpl
    def judge_metrics(self, run: Run, metrics: Metrics) -> str | None:
        """Whether a loss has exploded."""
        if self._explosion is None:
            return None
        changed = dict(run.config.origins)
        # A rate that is too high is what makes losses explode: it must not pass for the new usual.
        changed.pop(run.config[SECTION].learning_rate_option, None)
        return self._explosion.judge(metrics, changed)

    @hookimpl
    def on_bad_step(self, run: Run, report: BadStep) -> bool:
        """Stop, or lower the learning rate and go back, by policy."""
        options: GuardOptions = run.config[SECTION]
        if options.policy == "stop":
            return False
        if report.rollbacks >= options.max_rollbacks:
            run.warn(
                f"{report.rollbacks} roll-backs did not help, which is all that "
                f"addon.guard.max_rollbacks allows; the run stops"
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
