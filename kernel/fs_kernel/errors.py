"""The errors a run can end with, and the exit code each one means.

Everything raised on purpose by the kernel or by a plugin derives from `FsError`. Its text is one
line a user can act on: what is wrong, then what to do. The command line prints that line and exits
with ``exit_code``; the Python API lets the exception through.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


class FsError(Exception):
    """Base of all deliberate errors. ``str(error)`` is what the user reads.

    Attributes:
        exit_code: what the command line ends with.
        agreed: all processes of a run end with it.
        quiet: another process of the run tells the user.
        traceback: the file that holds the traceback of what caused it, once it is written.
    """

    exit_code = 1
    agreed = False
    quiet = False
    traceback: Path | None = None


class UsageError(FsError):
    """The command or the call itself is wrong (exit code 2)."""

    exit_code = 2


class ConfigError(UsageError):
    """One or more options are wrong (exit code 2).

    Args:
        problems: one line per problem; all of them are reported at once.
    """

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))


class FacesError(FsError):
    """A folder of faces cannot be used (exit code 3)."""

    exit_code = 3


class PluginError(FsError):
    """A plugin is missing, incompatible, or failed (exit code 4).

    Args:
        message: the line for the user.
        plugin: the entry-point name of the plugin to blame, if one is known.
    """

    exit_code = 4

    def __init__(self, message: str, plugin: str | None = None) -> None:
        super().__init__(message)
        self.plugin = plugin


class ModelFolderError(FsError):
    """A model folder or a checkpoint cannot be used (exit code 5)."""

    exit_code = 5


class TrainingError(FsError):
    """Training cannot go on: not-a-number, out of memory (exit code 6)."""

    exit_code = 6


class ProcessError(FsError):
    """One of several processes failed alone, or lost the others (exit code 7).

    Started again, the group continues from the last good checkpoint.
    """

    exit_code = 7


class BadStepError(TrainingError):
    """A step whose result cannot be kept; an add-on may decide to go back and on.

    Args:
        step: which one.
        message: the line for the user.
    """

    def __init__(self, step: int, message: str) -> None:
        super().__init__(message)
        self.step = step
