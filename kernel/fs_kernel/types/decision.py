"""Records of what the processes of a run do before the next step."""

from __future__ import annotations

import enum
from typing import Any, Literal

import attrs

from fs_kernel.types.events import StopReason

#: What a line for the user is.
MessageKind = Literal["warning", "note"]


@attrs.frozen
class Message:
    """One line for the user.

    Attributes:
        kind: "warning" or "note".
        text: the line.
        source: who says so; "" for the kernel and for what a plugin says of the run itself.
        rank: of the process that says so.
    """

    kind: MessageKind
    text: str
    source: str = ""
    rank: int = 0

    def origin(self) -> dict[str, Any]:
        """Return who said it, as far as it is not the kernel in process 0."""
        known = {"source": self.source, "rank": self.rank}
        return {name: value for name, value in known.items() if value}

    def __str__(self) -> str:
        line = f"{self.source}: {self.text}" if self.source else self.text
        return f"process {self.rank}: {line}" if self.rank else line


@attrs.define
class OptionChange:
    """A change of one option that was asked for.

    Attributes:
        name: "section.option".
        value: the new value, checked.
        at_step: the first step done with it; 0 for the next one.
    """

    name: str
    value: Any
    at_step: int = 0


class SaveReason(enum.IntEnum):
    """Why a save is due; of two reasons the larger one counts."""

    SCHEDULED = 1
    REQUESTED = 2
    SNAPSHOT = 3


@attrs.frozen
class Decision:
    """What all processes of a run do before the next step.

    Attributes:
        stop: why the session ends now; None to train on.
        read_metrics: read the losses back after the next step.
        save: why to save now; None for no save.
        save_blocked: an earlier save is still being written, so none can start.
        preview_faces: make a preview of this many faces per side; 0 for none.
        evaluate: ask add-ons whose interval has passed for their numbers, after the next step.
        options: changes of options that process 0 was asked for.
        messages: what the other processes have to say.
    """

    stop: StopReason | None = None
    read_metrics: bool = False
    save: SaveReason | None = None
    save_blocked: bool = False
    preview_faces: int = 0
    evaluate: bool = False
    options: tuple[OptionChange, ...] = ()
    messages: tuple[Message, ...] = ()
