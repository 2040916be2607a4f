"""Run without leaving a trace: ``fs run --dry-run``, and the search for a batch size."""

from fs_dry_run.batch_size import find_batch_size
from fs_dry_run.report import DryRunReport, dry_run

__all__ = ["DryRunReport", "dry_run", "find_batch_size"]
