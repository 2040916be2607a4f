"""Read phases: after how many steps which option changes, and its value from then on."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs
from fs_kernel.errors import ConfigError
from fs_kernel.options import parse_assignment

_PHASE = re.compile(r"\s*(\d[\d_]*)\s*([kM]?)\s*:(.+)", re.DOTALL)
_TIMES = {"": 1, "k": 1000, "M": 1_000_000}


@attrs.frozen
class Phase:
    """One option that changes after one step.

    Attributes:
        text: as the user wrote it.
        step: the last step with the previous value.
        option: "section.option".
        value: as TOML gives it.
    """

    text: str
    step: int
    option: str
    value: Any

    @classmethod
    def parse(cls, text: str) -> Phase:
        """Read ``"200000: augmentation.warp=false"``; ``200k`` and ``2M`` are steps too.

        Raises:
            ConfigError: it does not have this form.
        """
        match = _PHASE.fullmatch(text)
        if match is None:
            raise ConfigError(f"'{text}': write STEP: section.option=value")
        step = int(match[1]) * _TIMES[match[2]]
        try:
            section, key, value = parse_assignment(match[3].strip())
        except ConfigError:
            raise ConfigError(f"'{text}': after the step write section.option=value") from None
        if step < 1:
            raise ConfigError(
                f"'{text}': a phase begins after step 1 at the earliest; "
                "set the option itself for a value that holds from the start"
            )
        return cls(text, step, f"{section}.{key}", value)


def parse_plan(texts: Iterable[str]) -> list[Phase]:
    """Read phases in the order of their steps.

    Raises:
        ConfigError: with a line for each that cannot be read, comes too early or repeats
            another one.
    """
    problems: list[str] = []
    plan: list[Phase] = []
    for text in texts:
        try:
            phase = Phase.parse(text)
        except ConfigError as error:
            problems += error.problems
            continue
        if plan and phase.step < plan[-1].step:
            problems.append(
                f"'{text}': it is listed after step {plan[-1].step}; "
                "put the phases in the order of their steps"
            )
        elif any((p.step, p.option) == (phase.step, phase.option) for p in plan):
            problems.append(f"'{text}': step {phase.step} changes {phase.option} twice")
        plan.append(phase)
    if problems:
        raise ConfigError(problems)
    return plan


def outstanding(
    plan: Sequence[Phase], step: int, done: Sequence[str], origins: Mapping[str, str], model: str
) -> list[Phase]:
    """Return the phases whose changes this session must ask for.

    Those to come, and of each option the last one whose step has passed. The latter is left out if
    an earlier session made its change and nothing but the model folder set the option in this one:
    the folder then holds that value, or one that a user chose later.

    Args:
        plan: all phases in order.
        step: steps done.
        done: the texts of the phases that took effect in earlier sessions.
        origins: where the run's options came from, by name.
        model: what ``origins`` calls the model folder.
    """
    passed = {phase.option: phase for phase in plan if phase.step <= step}
    late = [p for p in passed.values() if p.text not in done or origins.get(p.option) != model]
    return late + [phase for phase in plan if phase.step > step]
