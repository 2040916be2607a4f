"""Change options at given steps, listed beforehand as phases."""

from __future__ import annotations

from typing import Any

import attrs
from fs_kernel import Config, ConfigError, hookimpl, option
from fs_kernel.options import check_option
from fs_kernel.types import Run

from fs_addon_phases.plan import outstanding, parse_plan

SECTION = "addon.phases"


@attrs.frozen
class PhasesOptions:
    """Options of the section ``[addon.phases]``."""

    phases: list[str] = option(
        [],
        "What changes when, in order: '200000: augmentation.warp=false' changes that option once "
        "the model has so many steps.",
    )
    #: File of older model folders; newer checkpoints hold the add-on's own state.
    done: list[str] = option(
        [], "The phases that an older model has reached; read from its folder, not written."
    )

    @phases.validator
    def _check_phases(self, attribute: Any, value: list[str]) -> None:
        try:
            parse_plan(value)
        except ConfigError as error:
            raise ConfigError([f"{SECTION}.phases: {line}" for line in error.problems]) from None


class Phases:
    """The phases of one run; see `fs_kernel.types.AddOn`.

    Args:
        run: the run whose options change.
    """

    def __init__(self, run: Run) -> None:
        options: PhasesOptions = run.config[SECTION]
        self._run = run
        self._plan = parse_plan(options.phases)
        self._done = list(options.done)

    def before_training(self) -> None:
        """Request every change that is still to be made."""
        run, step = self._run, self._run.step
        model = str(run.info.model_dir)
        for phase in outstanding(self._plan, step, self._done, run.config.origins, model):
            run.set_option(phase.option, phase.value, at_step=phase.step + 1)
        # Changes that are due are made before anything can be saved.
        self._done = [phase.text for phase in self._plan if phase.step <= step]
        for phase in self._plan:
            if phase.step > step:
                run.note(f"to come: {phase.text}")

    def state_dict(self) -> dict[str, list[str]]:
        """Return the texts of the phases that took effect, as ``done``."""
        # A phase changes its option just before the step after its own, so a checkpoint of its
        # own step still holds the old value.
        done = [p.text for p in self._plan if p.step < self._run.step or p.text in self._done]
        return {"done": done}

    def load_state_dict(self, state: dict[str, list[str]]) -> None:
        """Restore which phases took effect."""
        self._done = list(state["done"])


@hookimpl
def config_defaults() -> dict[str, type]:
    """Return the section ``[addon.phases]``."""
    return {SECTION: PhasesOptions}


@hookimpl
def check_options(config: Config, everything: Config) -> None:
    """Refuse changes that cannot be made.

    Raises:
        ConfigError: with a line for each.
    """
    problems: list[str] = []
    for phase in parse_plan(config[SECTION].phases):
        try:
            check_option(everything, phase.option, phase.value)
        except ConfigError as error:
            problems += [f"{SECTION}.phases: '{phase.text}': {line}" for line in error.problems]
    if problems:
        raise ConfigError(problems)


@hookimpl
def create_addon(run: Run) -> Phases:
    """Create the add-on of a run."""
    return Phases(run)
