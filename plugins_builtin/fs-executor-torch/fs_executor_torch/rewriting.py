"""Rewrite the list of calls of a graph to save time and memory, without changing the result."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import attrs
import keras
from torch import nn

from fs_executor_torch.layers import Lowered
from fs_executor_torch.layers.shapes import Shuffle


@attrs.frozen
class Slot:
    """A placeholder for a value of the run of a graph, by its number."""

    number: int


@attrs.frozen
class Call:
    """One call of a part.

    Attributes:
        part: name of the module to call.
        args, kwargs: of each call that is merged into this one (usually one), with a `Slot` in the
            place of each tensor.
        results: per merged call the numbers of the values it returns.
        drops: numbers of the values that no later call needs.
    """

    part: str
    args: tuple[tuple[Any, ...], ...]
    kwargs: tuple[dict[str, Any], ...]
    results: tuple[tuple[int, ...], ...]
    drops: tuple[int, ...] = ()

    @property
    def needs(self) -> list[int]:
        """Numbers of the values that it takes, repeated as often as each is used."""
        return [slot.number for slot in slots((self.args, self.kwargs))]


def slots(structure: Any) -> Iterator[Slot]:
    """Yield the slots in nested arguments."""
    return (leaf for leaf in keras.tree.flatten(structure) if isinstance(leaf, Slot))


def merge_sides(calls: Sequence[Call], mergeable: Callable[[str], bool]) -> list[Call]:
    """Return the calls with those of one part that do not depend on each other merged into one.

    Args:
        calls: in an order in which they can be made.
        mergeable: returns whether calls of a part may be merged.
    """
    waiting, done = list(calls), list[Call]()
    made = {number for call in calls for results in call.results for number in results}
    ready = {number for call in calls for number in call.needs} - made
    while waiting:
        able = [call for call in waiting if ready.issuperset(call.needs)]
        single = [call for call in able if not mergeable(call.part)]
        whole = [c for c in able if all(o in able for o in waiting if o.part == c.part)]
        call = (single or whole or able)[0]
        together = [c for c in able if c.part == call.part] if mergeable(call.part) else [call]
        waiting = [c for c in waiting if c not in together]
        fields = ("args", "kwargs", "results")
        done.append(Call(call.part, *(tuple(getattr(c, f)[0] for c in together) for f in fields)))
        ready |= {number for c in together for number in c.results[0]}
    return done


def activate_late(
    calls: Sequence[Call], part_of: Callable[[str], nn.Module], outputs: Sequence[int]
) -> list[Call]:
    """Return the calls with pixels shuffled before a pixelwise activation instead of after it.

    The activation then works in place on the shuffled picture, and the picture before it need not
    be kept for the backward pass.
    """
    calls, uses = list(calls), _uses(calls, outputs)
    maker = {call.results[0][0]: index for index, call in enumerate(calls)}
    for index, shuffle in enumerate(calls):
        part = part_of(shuffle.part)
        if not isinstance(part, Shuffle) or shuffle.needs[0] not in maker:
            continue
        before = maker[shuffle.needs[0]]
        activation = calls[before]
        acts = part_of(activation.part)
        if not isinstance(acts, Lowered) or not acts.pixelwise or acts.dtype is not part.dtype:
            continue
        if uses[shuffle.needs[0]] > 1:
            continue
        calls[before] = attrs.evolve(shuffle, args=activation.args, results=activation.results)
        calls[index] = attrs.evolve(activation, args=shuffle.args, results=shuffle.results)
    return calls


def write_over(
    calls: Sequence[Call], part_of: Callable[[str], nn.Module], outputs: Sequence[int]
) -> list[Call]:
    """Return the calls with layers working in place where nothing else needs their input."""
    uses, maker = _uses(calls, outputs), {c.results[0][0]: c for c in calls if len(c.results) == 1}
    written = []
    for call in calls:
        part = part_of(call.part)
        if isinstance(part, Lowered) and part.inplace:
            first = call.needs[0]
            made_by = part_of(maker[first].part) if first in maker else None
            if isinstance(made_by, Lowered) and made_by.writable and uses[first] == 1:
                call = attrs.evolve(call, kwargs=({"inplace": True},))
        written.append(call)
    return written


def note_drops(calls: Sequence[Call], outputs: Sequence[int]) -> list[Call]:
    """Return the calls with the values that are not needed after each in ``drops``."""
    needed, noted = set(outputs), list[Call]()
    for call in reversed(calls):
        made = {number for results in call.results for number in results}
        drops = sorted((made | set(call.needs)) - needed)
        noted.append(attrs.evolve(call, drops=tuple(drops)))
        needed.update(call.needs)
    return noted[::-1]


def _uses(calls: Sequence[Call], outputs: Sequence[int]) -> Counter[int]:
    return Counter([number for call in calls for number in call.needs] + list(outputs))
