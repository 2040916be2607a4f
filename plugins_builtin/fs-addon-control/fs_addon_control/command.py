"""Implement ``fs ctl``: send a command to a running session."""

from __future__ import annotations

import json
import time
from pathlib import Path

import attrs
import click
from fs_kernel.errors import FsError, ModelFolderError, TrainingError, UsageError
from fs_kernel.storage import holder

from fs_addon_control.mailbox import ACCEPTED, ACTIONS, DONE, Answer, Command, Outbox

#: Seconds for a session to accept a command, and for one that has ended to report the outcome.
HEARD_SECONDS, ENDED_SECONDS = 15.0, 5.0
_PAUSE = 0.1
_ERRORS: dict[int, type[FsError]] = {2: UsageError, 6: TrainingError}


@click.command()
@click.argument("model_dir", type=click.Path(path_type=Path))
@click.argument("action", type=click.Choice(ACTIONS))
@click.argument("values", nargs=-1, metavar="[SECTION.OPTION=VALUE ... | on | off]")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    default=120.0,
    show_default=True,
    help="Seconds to wait until what was asked for is done.",
)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def ctl(
    model_dir: Path, action: str, values: tuple[str, ...], timeout: float, as_json: bool
) -> None:
    """Ask something of the session that trains MODEL_DIR, and wait until it is done.

    \b
    save       write a checkpoint
    snapshot   write one that is kept permanently
    preview    draw a preview sheet
    mask       show or hide the mask in previews (on, off, or the other way)
    set        change options that may change while training: section.option=value
    status     where the session is
    stop       finish the step, save and end
    """
    _check(action, values)
    for value in values or (None,):
        answer = _ask(model_dir, action, value, timeout)
        if answer.state != DONE:
            raise _ERRORS.get(answer.code, ModelFolderError)(answer.message)
        click.echo(json.dumps(attrs.asdict(answer), indent=1) if as_json else answer.message)


def _check(action: str, values: tuple[str, ...]) -> None:
    if action == "set":
        if not values:
            raise UsageError("say what to set: fs ctl MODEL_DIR set section.option=value")
        wrong = [v for v in values if "=" not in v or "." not in v.partition("=")[0]]
        if wrong:
            raise UsageError(f"'{wrong[0]}': write section.option=value")
    elif action == "mask":
        if len(values) > 1 or not set(values) <= {"on", "off"}:
            raise UsageError("the mask is on or off: fs ctl MODEL_DIR mask on")
    elif values:
        raise UsageError(f"fs ctl MODEL_DIR {action} takes nothing more, but got '{values[0]}'")


def _ask(model_dir: Path, action: str, value: str | None, timeout: float) -> Answer:
    """Send one command, wait for its end and return its answer.

    Raises:
        ModelFolderError: there is no session, or it does not answer in time.
    """
    outbox = Outbox(model_dir)
    token = _find_session(model_dir, outbox)
    try:
        command = outbox.send(token, action, value)
    except OSError as error:
        raise ModelFolderError(f"cannot write in {model_dir}: {error.strerror}") from None
    try:
        return _wait(model_dir, outbox, command, timeout)
    finally:
        outbox.clear(command)


def _find_session(model_dir: Path, outbox: Outbox) -> str:
    """Return the token that commands to the session must be addressed to."""
    if not model_dir.is_dir():
        raise ModelFolderError(f"there is no model folder {model_dir}")
    end = time.monotonic() + HEARD_SECONDS
    while True:
        owner = holder(model_dir)
        if owner is None:
            raise ModelFolderError(f"no session is running in {model_dir}")
        session = outbox.session() or {}
        ours = all(owner.get(key) in (None, session.get(key)) for key in ("host", "pid"))
        if ours and isinstance(token := session.get("token"), str):
            return token
        if time.monotonic() >= end:
            raise ModelFolderError(
                f"the session in {model_dir} takes no commands: it is still starting, or it runs "
                "without the add-on 'control'"
            )
        time.sleep(_PAUSE)


def _wait(model_dir: Path, outbox: Outbox, command: Command, timeout: float) -> Answer:
    begun, gone = time.monotonic(), None
    while True:
        answer = outbox.answer(command)
        if answer is not None and answer.state != ACCEPTED:
            return answer
        now = time.monotonic()
        if gone is None and holder(model_dir) is None:
            gone = now
        if gone is not None and now - gone > ENDED_SECONDS:
            raise ModelFolderError(f"the session in {model_dir} ended without an answer")
        if answer is None and now - begun > HEARD_SECONDS:
            raise ModelFolderError(
                f"the session in {model_dir} did not answer within {HEARD_SECONDS:g} s; "
                "the command is withdrawn"
            )
        if answer is not None and now - begun > timeout:
            raise ModelFolderError(f"{answer.message}; not done within {timeout:g} s")
        time.sleep(_PAUSE)
