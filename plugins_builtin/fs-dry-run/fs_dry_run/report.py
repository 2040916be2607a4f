"""Implement ``fs run --dry-run``: build everything, check everything, train one step in memory."""

from __future__ import annotations

import json
import time
from typing import Any

import attrs
from fs_kernel import memory
from fs_kernel.storage import format_bytes
from fs_kernel.training import Request, require_room

from fs_dry_run.trial import trial_run


@attrs.frozen
class DryRunReport:
    """The result of a dry run.

    Attributes:
        process: the rank of this process; process 0 prints the report.
        facts: as JSON can hold them: ``process``, ``run`` (facts of the session), ``steps``,
            ``losses`` by side, ``step_seconds``, ``memory_bytes``, ``memory_total``,
            ``disk_bytes``, ``disk_free``, ``warnings``, and ``options``, by name a value and an
            origin. Sizes are in bytes, None where they are unknown.
    """

    process: int
    facts: dict[str, Any]

    def text(self) -> str:
        """Return the report as lines for people."""
        facts = self.facts
        run, used, there = facts["run"], facts["memory_bytes"], facts["memory_total"]
        faces = ", ".join(f"{side} {count}" for side, count in run["face_counts"].items())
        losses = ", ".join(f"{side} {loss:.4f}" for side, loss in facts["losses"].items())
        memory = "" if used is None else f"{format_bytes(used)} at most in this dry run"
        memory += "" if there is None else f" of {format_bytes(there)}"
        disk, free = format_bytes(facts["disk_bytes"]), format_bytes(facts["disk_free"])
        rows = {
            "model": f"{run['model']}, {run['parameters']:,} parameters",
            "device": f"{run['device']} ({run['precision']})",
            "faces": f"{faces}; batch {run['batch_size']} per side",
            "steps": f"{facts['steps']} to do, from {run['start_step']} to {run['target_steps']}",
            "first step": f"{facts['step_seconds']:.2f} s, loss {losses}",
            "memory": memory,
            "disk": f"about {disk}, {free} free",
        }
        lines = [f"note: {line}" for line in facts["warnings"]]
        lines += [f"{key:11} {text}" for key, text in rows.items()]
        for name, option in facts["options"].items():
            origin = "" if option["origin"] == "default" else f"   ({option['origin']})"
            lines.append(f"{name} = {json.dumps(option['value'])}{origin}")
        return "\n".join([*lines, "nothing was written"])


def dry_run(request: Request) -> DryRunReport:
    """Build everything, check everything, train one step in memory; the model folder is only read.

    Raises:
        FsError: what the run itself would raise.
    """
    with trial_run(request) as run:
        config = run.config
        start = time.perf_counter()
        metrics = run.steps.trial_step()
        seconds = time.perf_counter() - start
        info, device = run.info, run.device
        free = require_room(run.session.resolved, info.disk_bytes)
        facts = {
            "process": run.group.rank,
            "run": {**attrs.asdict(info), "model_dir": str(request.model_dir)},
            "steps": max(0, info.target_steps - info.start_step),
            "losses": dict(metrics.losses),
            "step_seconds": seconds,
            "memory_bytes": memory.peak(device),
            "memory_total": memory.total(device),
            "disk_bytes": info.disk_bytes,
            "disk_free": free,
            "warnings": [*run.warnings, *run.session.notes],
            "options": {
                f"{section}.{name}": {
                    "value": value,
                    "origin": config.origins.get(f"{section}.{name}", "default"),
                }
                for section, values in config.as_dict().items()
                for name, value in values.items()
            },
        }
        return DryRunReport(run.group.rank, facts)
