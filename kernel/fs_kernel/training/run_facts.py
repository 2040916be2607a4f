"""The facts that ``run.json`` keeps of a session."""

from __future__ import annotations

import platform
import sys
import time
from typing import Any

import attrs

from fs_kernel import backend
from fs_kernel.training.session import Session


def run_facts(session: Session) -> dict[str, Any]:
    """Return what ``run.json`` says of a session."""
    config = session.options.config
    return {
        "format": 1,
        "started": time.time(),
        "command": sys.argv,
        **attrs.asdict(session.info),
        "model_dir": str(session.info.model_dir),
        "processes": session.coordinator.group.size,
        "faces_fingerprint": session.feed.fingerprint,
        "options": config.as_dict(),
        "origins": config.origins,
        "plugins": [{"kind": p.kind, **p.loaded.identity()} for p in session.plugins.all],
        "libraries": {
            "python": platform.python_version(),
            "torch": backend.torch().__version__,
            "keras": backend.keras().__version__,
        },
        "platform": platform.platform(),
    }
