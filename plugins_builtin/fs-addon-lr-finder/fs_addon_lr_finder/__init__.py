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
#: How often the search tells how far it is.
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
    found: float = option(
        0.0,
        "The rate that was found, kept by the add-on; 0 searches anew.",
        minimum=0.0,
        maximum=1.0,
        live=True,
    )


@hookimpl
def config_defaults() -> dict[str, type]:
    """The section ``[addon.lr_finder]``."""
    return {SECTION: FinderOptions}


@hookimpl
def check_options(config: Config, everything: Config) -> None:
    """Refuse to search for an option that is no rate.

    Raises:
        ConfigError: the learning rate cannot be changed while training.
    """
    check_option(everything, config[SECTION].learning_rate_option, LOWEST, bounded=False)


@hookimpl
def before_training(run: Run) -> None:
    """Search, if the model has not been trained yet and no rate was found for it."""
    options: FinderOptions = run.config[SECTION]
    if run.step > 0:
        _say_if_unused(run, options)
        return
    if options.found:
        run.set_option(options.learning_rate_option, options.found, bounded=False)
        run.note(f"learning rate: {options.found:.2e}, as it was found before")
        return
    sweep = _search(run, options)
    rate = sweep.result(options.strength)
    if options.mode != "set" and sweep.means:
        path = run.info.model_dir / "previews" / GRAPH
        write_graph(path, sweep, options.strength)
        run.note(f"learning rate: the search is drawn in {path}")
    if rate is None:
        rest = "the run stops" if options.mode == "graph_and_exit" else "the configured one is used"
        run.warn(f"learning rate: the search found none at which the loss falls; {rest}")
    else:
        rate = float(f"{rate:.2e}")
        run.note(f"learning rate: found {rate:.2e}")
        run.set_option(f"{SECTION}.found", rate, bounded=False)
        run.set_option(options.learning_rate_option, rate, bounded=False)
    if options.mode == "graph_and_exit":
        run.request_stop()


def _say_if_unused(run: Run, options: FinderOptions) -> None:
    origin = run.config.origins.get(options.learning_rate_option)
    if options.found and origin not in (None, str(run.info.model_dir)):
        rate = run.get_option(options.learning_rate_option)
        run.warn(
            f"learning rate: {rate:.2e} comes from {origin}; the model's own, which began with the "
            f"{options.found:.2e} that was found, is not used"
        )


def _search(run: Run, options: FinderOptions) -> Sweep:
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
