"""Change options after so many steps, known beforehand: an ordered list of phases."""

from __future__ import annotations

from typing import Any

import attrs
from fs_kernel import Config, ConfigError, hookimpl, option
from fs_kernel.options import check_option
from fs_kernel.types import Run

from fs_addon_phases.plan import Phase, outstanding, parse_plan

SECTION = "addon.phases"


@attrs.frozen
class PhasesOptions:
    """Options of the section ``[addon.phases]``."""

    phases: list[str] = option(
        [],
        "What changes when, in order: '200000: augmentation.warp=false' changes that option once "
        "the model has so many steps.",
    )
    done: list[str] = option(
        [], "The phases the model has reached; kept up to date by the add-on.", live=True
    )

    @phases.validator
    def _check_phases(self, attribute: Any, value: list[str]) -> None:
        try:
            parse_plan(value)
        except ConfigError as error:
            raise ConfigError([f"{SECTION}.phases: {line}" for line in error.problems]) from None


@hookimpl
def config_defaults() -> dict[str, type]:
    """The section ``[addon.phases]``."""
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
def before_training(run: Run) -> None:
    """Ask for every change that is still to be made."""
    options: PhasesOptions = run.config[SECTION]
    plan = parse_plan(options.phases)
    model = str(run.info.model_dir)
    for phase in outstanding(plan, run.step, options.done, run.config.origins, model):
        run.set_option(phase.option, phase.value, at_step=phase.step + 1)
    _keep_count(run, plan, options.done)
    for phase in plan:
        if phase.step > run.step:
            run.note(f"to come: {phase.text}")


def _keep_count(run: Run, plan: list[Phase], done: list[str]) -> None:
    """Let ``done`` follow the steps, so that a checkpoint knows which phases it has reached."""
    reached = [phase.text for phase in plan if phase.step <= run.step]
    if reached != done:
        run.set_option(f"{SECTION}.done", reached)
    for phase in plan:
        if phase.step > run.step:
            reached = [*reached, phase.text]
            run.set_option(f"{SECTION}.done", reached, at_step=phase.step + 1)
