"""Keep what a model remembers between sessions.

Steps done, its sessions, the folders of faces, and which plugins of which version made it.
`fs_kernel.storage.checkpoints` stores ``to_json()`` in a file.
"""

from __future__ import annotations

from typing import Any

import attrs
import cattrs

from fs_kernel.errors import ModelFolderError

FORMAT = 1


@attrs.define
class SessionRecord:
    """Describe one run of the program on this model.

    Attributes:
        started: Unix time in seconds.
        first_step: steps done before it.
        steps: steps done in it.
        batch_size: faces per side per step.
        seed: the key of its randomness.
    """

    started: float
    first_step: int
    batch_size: int
    seed: int
    steps: int = 0


@attrs.define
class ModelState:
    """Hold everything a model folder remembers.

    Attributes:
        model: name of the model plugin.
        network_name: name of the network it built.
        fingerprint: of the network's weights' names and shapes.
        parameters: how many numbers the network holds.
        plugins: per kind, name, distribution, version and API of what was in use at the last save.
        folders: the faces of each side, as absolute paths.
        iterations: steps done over all sessions.
        target_iterations: the total asked for.
        average_loss: mean of the summed loss over the last save interval.
        stop_reason: why the last session ended; "running" while it has not.
    """

    model: str
    network_name: str
    fingerprint: str
    parameters: int
    plugins: dict[str, dict[str, Any]] = attrs.field(factory=dict)
    folders: dict[str, str] = attrs.field(factory=dict)
    sessions: list[SessionRecord] = attrs.field(factory=list)
    iterations: int = 0
    target_iterations: int = 0
    average_loss: float | None = None
    stop_reason: str = "running"
    format: int = FORMAT

    def begin(self, session: SessionRecord) -> None:
        """Open a session."""
        self.sessions.append(session)
        self.stop_reason = "running"

    def count_step(self) -> None:
        """Add one step to the total and to the session."""
        self.iterations += 1
        self.sessions[-1].steps += 1

    def go_back(self, step: int) -> None:
        """Forget the steps after ``step``."""
        session = self.sessions[-1]
        session.steps = max(0, step - session.first_step)
        self.iterations = step

    @property
    def complete(self) -> bool:
        """Return whether the target is reached."""
        return self.iterations >= self.target_iterations

    def to_json(self) -> dict[str, Any]:
        """Return what ``state.json`` holds; sessions without a step are left out."""
        data = attrs.asdict(self)
        data["sessions"] = [s for s in data["sessions"] if s["steps"] > 0]
        return data

    @classmethod
    def from_json(cls, data: Any, source: str) -> ModelState:
        """Return the state that `to_json` gave.

        Raises:
            ModelFolderError: fields are missing, of the wrong type, or of another format.
        """
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            raise ModelFolderError(f"{source} is not a model state of format {FORMAT}")
        try:
            return cattrs.structure(data, cls)
        except Exception as error:
            problems = cattrs.transform_error(error)
            raise ModelFolderError(f"{source} is damaged: {problems[0]}") from None
