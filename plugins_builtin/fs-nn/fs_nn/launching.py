"""Start the processes with torch's elastic launcher, and restart those that failed alone."""

from __future__ import annotations

import contextlib
import io
import logging
import multiprocessing
import os
import signal
import sys
import uuid
from collections.abc import Iterator
from typing import Any

from fs_kernel.errors import ProcessError, UsageError

#: Exit codes after which the group is started again: a process that failed alone, or a fault.
_AGAIN = (1, ProcessError.exit_code)
_STOPPING = "FS_LAUNCHER_STOPPING"
_RESTARTS = 3


def launch(argv: list[str], devices: int) -> int:
    """Run ``fs`` in several processes, and again as often as one is lost.

    What ``torchrun`` takes from the environment (``PET_NNODES``, ``PET_RDZV_ENDPOINT``,
    ``PET_MAX_RESTARTS``, ...) holds here, too, so that several machines can share a run.

    Args:
        argv: arguments of ``fs``.
        devices: processes on this machine.

    Returns:
        The largest exit code of this machine's processes.

    Raises:
        UsageError: the launcher refuses what the environment says.
        ProcessError: processes were lost more often than they may be started again.
    """
    # What the launcher would log at length is said in one line by those it concerns.
    os.environ.setdefault("LOGLEVEL", "CRITICAL")
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    # A store that the launcher keeps would hold addresses of processes that are gone.
    os.environ.setdefault("TORCH_DISABLE_SHARE_RDZV_TCP_STORE", "1")
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // devices)))
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.elastic.rendezvous.api import RendezvousError
    from torch.distributed.launcher.api import elastic_launch

    logging.getLogger("torch").setLevel(logging.CRITICAL)
    with _signals_passed_on():
        try:
            codes: dict[int, int] = elastic_launch(_settings(devices), work)(argv)
        except ChildFailedError as error:
            if os.environ.get(_STOPPING):
                return 0
            rank, failure = error.get_first_failure()
            raise ProcessError(
                f"process {rank} was lost or failed (exit code {failure.exitcode}) more often "
                "than it may be started again; the last checkpoint is intact"
            ) from None
        except (RendezvousError, ValueError, AssertionError) as error:
            raise UsageError(f"the processes cannot be started: {error}") from error
    return max(codes.values())


def _settings(devices: int) -> Any:
    from torch.distributed.run import config_from_args, get_args_parser

    args = get_args_parser().parse_args([f"--nproc-per-node={devices}", "fs"])
    if "PET_MAX_RESTARTS" not in os.environ:
        args.max_restarts = _RESTARTS
    if "PET_RDZV_BACKEND" not in os.environ:
        args.rdzv_backend = "c10d"
    if not args.rdzv_endpoint:
        args.rdzv_endpoint, args.rdzv_id = "localhost:0", str(uuid.uuid4())
    # Signals are passed on below: the launcher's way would leave no time to save.
    args.signals_to_handle = "SIGQUIT"
    return config_from_args(args)[0]


@contextlib.contextmanager
def _signals_passed_on() -> Iterator[None]:
    """Let the processes finish their step, save and end, as one process would."""

    def tell(number: int) -> None:
        for process in multiprocessing.active_children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid or 0, number)

    def stop(number: int, _: Any) -> None:
        os.environ[_STOPPING] = "1"
        # A terminal signals them itself, and a second signal would end them at once.
        tell(signal.SIGTERM)

    handlers: dict[str, Any] = dict.fromkeys(("SIGINT", "SIGTERM", "SIGHUP"), stop)
    handlers["SIGUSR1"] = lambda number, _: tell(number)
    before = {
        number: signal.signal(number, handler)
        for name, handler in handlers.items()
        if (number := getattr(signal, name, None)) is not None
    }
    try:
        yield
    finally:
        os.environ.pop(_STOPPING, None)
        for number, handler in before.items():
            signal.signal(number, handler)


def work(argv: list[str]) -> int:
    """Run ``fs`` with its arguments, in one process of several.

    Returns:
        The exit code, if starting again would not change it.

    Raises:
        SystemExit: it would.
    """
    from fs_kernel.cli import run_cli

    if os.environ.get(_STOPPING):
        return 0
    parent = os.getppid()
    said = sys.stderr if os.environ["RANK"] == "0" else io.StringIO()
    with contextlib.redirect_stderr(said):
        code = run_cli(argv)
    if code in _AGAIN and isinstance(said, io.StringIO):
        sys.stderr.write(said.getvalue())
    if code in _AGAIN or os.getppid() != parent:
        raise SystemExit(code)  # Nobody would take a result.
    return code
