"""Find a learning rate for a new model before it is trained.

The search is a trial: at its end the model, the order of faces and the random numbers are what they
were, and nothing in the model folder was touched.
"""

from __future__ import annotations

import math

import attrs
from fs_kernel import Config, hookimpl, option
from fs_kernel.errors import BadStepError
from fs_kernel.options import check_option
from fs_kernel.types import Run

from fs_addon_lr_finder.graph import write_graph
from fs_addon_lr_finder.search import DIVISORS, LOWEST, Sweep

SECTION = "addon.lr_finder"
GRAPH = "learning_rate_finder.png"
#: How many notes a search makes about its progress.
REPORTS = 10


@attrs.frozen
class FinderOptions:
    """Options of the section ``[addon.lr_finder]``."""

    mode: str = option(
        "set",
        "What to do with the rate: set it and train; graph_and_set also draws the search; "
        "graph_and_exit draws it, remembers the rate and stops.",
        choices=("set", "graph_and_set", "graph_and_exit"),
    )
    strength: str = option(
        "default",
        "How bold the rate is: the one with the lowest loss, divided by 10 (default), "
        "5 (aggressive) or 2.5 (extreme).",
        choices=tuple(DIVISORS),
    )
    iterations: int = option(1000, "Steps of the search.", minimum=100, maximum=10000)
    learning_rate_option: str = option(
        "optimizer.learning_rate", "The option that holds the learning rate."
    )
    #: Older model folders hold what was found here; since then it is part of the add-on's state.
    found: float = option(
        0.0,
        "Set to a rate, that one is used instead of a search; set to 0, a new model is searched "
        "again although a rate was found for it.",
        minimum=0.0,
        maximum=1.0,
    )


class LearningRateFinder:
    """The search before a run's first step; see `fs_kernel.types.AddOn`.

    Args:
        run: the run whose learning rate is searched.
    """

    def __init__(self, run: Run) -> None:
        options: FinderOptions = run.config[SECTION]
        self._run, self._options = run, options
        self._found = options.found
        origin = run.config.origins.get(f"{SECTION}.found")
        self._given = origin not in (None, str(run.info.model_dir))

    def state_dict(self) -> dict[str, float]:
        """Return the rate that was found, as ``found``; 0 for none."""
        return {"found": self._found}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Take over the rate that was found, unless the user gave one for this session."""
        if not self._given:
            self._found = float(state["found"])

    def before_training(self) -> None:
        """Search, if the model has not been trained yet and no rate was found for it."""
        run, options = self._run, self._options
        if run.step > 0:
            self._say_if_unused()
            return
        if self._found:
            run.set_option(options.learning_rate_option, self._found, bounded=False)
            how = "as it was set" if self._given else "as it was found before"
            run.note(f"learning rate: {self._found:.2e}, {how}")
            return
        sweep = _search(run, options)
        rate = sweep.result(options.strength)
        if options.mode != "set" and sweep.means:
            path = run.info.model_dir / "previews" / GRAPH
            write_graph(path, sweep, options.strength)
            run.note(f"learning rate: the search is drawn in {path}")
        stops = options.mode == "graph_and_exit"
        if rate is None:
            rest = "the run stops" if stops else "the configured one is used"
            run.warn(f"learning rate: the search found none at which the loss falls; {rest}")
        else:
            self._found = rate = float(f"{rate:.2e}")
            run.note(f"learning rate: found {rate:.2e}")
            run.set_option(options.learning_rate_option, rate, bounded=False)
        if stops:
            run.request_stop()

    def _say_if_unused(self) -> None:
        run, name = self._run, self._options.learning_rate_option
        origin = run.config.origins.get(name)
        if self._found and origin not in (None, str(run.info.model_dir)):
            run.warn(
                f"learning rate: {run.get_option(name):.2e} comes from {origin}; the model's own, "
                f"which began with the {self._found:.2e} that was found, is not used"
            )


@hookimpl
def config_defaults() -> dict[str, type]:
    """Return the section ``[addon.lr_finder]``."""
    return {SECTION: FinderOptions}


@hookimpl
def check_options(config: Config, everything: Config) -> None:
    """Refuse to search for an option that cannot be changed.

    Raises:
        ConfigError: the learning rate cannot be changed while training.
    """
    check_option(everything, config[SECTION].learning_rate_option, LOWEST, bounded=False)


@hookimpl
def create_addon(run: Run) -> LearningRateFinder:
    """Create the add-on of a run."""
    return LearningRateFinder(run)


def _search(run: Run, options: FinderOptions) -> Sweep:
    """Train with ever higher rates inside a trial, and return what that gave."""
    sweep = Sweep(options.iterations)
    run.note(f"learning rate: searching, at most {sweep.steps} steps")
    with run.trial() as trial:
        while not sweep.done:
            rate = sweep.next_rate()
            run.set_option(options.learning_rate_option, rate, bounded=False)
            try:
                metrics = trial.step()
            except BadStepError:
                sweep.add(rate, math.nan)
                continue
            # A warm-up may have lowered the rate.
            sweep.add(metrics.learning_rate or rate, sum(metrics.losses.values()))
            if len(sweep.rates) % max(1, sweep.steps // REPORTS) == 0 and not sweep.diverged:
                run.note(
                    f"learning rate: step {len(sweep.rates)} of {sweep.steps}, "
                    f"rate {sweep.rates[-1]:.1e}, mean loss {sweep.means[-1]:.4f}"
                )
    return sweep
