"""Report what is usable and what is wrong in a folder, for ``fs faces check``."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from fs_feed_faces.source import FEWEST, Scan, scan


@attrs.frozen
class FolderReport:
    """The state of a folder of faces.

    Attributes:
        folder: its path.
        mask_type: the mask the faces were checked for.
        problems: ``(file name, what is wrong)``, by name.
        usable: faces that can be trained on.
        plain: how many of the usable ones have no face header.
        sizes: how many usable pictures there are of each size, "256x256".
        masks: how many usable faces have each mask.
        yaw: smallest, median and largest yaw in degrees; None without any header.
        pitch: the same of the pitch.
    """

    folder: str
    mask_type: str
    problems: tuple[tuple[str, str], ...]
    usable: int
    plain: int
    sizes: dict[str, int]
    masks: dict[str, int]
    yaw: tuple[float, float, float] | None
    pitch: tuple[float, float, float] | None

    @property
    def trainable(self) -> bool:
        """Return whether there are enough usable faces."""
        return self.usable >= FEWEST

    def as_dict(self) -> dict[str, Any]:
        """Return the report in JSON types."""
        problems = [{"file": name, "problem": problem} for name, problem in self.problems]
        return {**attrs.asdict(self), "problems": problems, "trainable": self.trainable}


def check_folder(folder: Path, mask_type: str) -> FolderReport:
    """Examine every picture of a folder and return the report.

    Raises:
        FacesError: the folder is missing, not readable, or holds no picture.
    """
    found = scan(folder, mask_type)
    wanted = mask_type != "none"
    usable = [file for file in found.files if not wanted or file.has_mask(mask_type)]
    masks = Counter(name for file in usable for name in file.mask_names)
    aligned = [file.alignment for file in usable if file.alignment is not None]
    return FolderReport(
        folder=str(folder),
        mask_type=mask_type,
        problems=tuple(sorted([*found.broken, *_shortcomings(found, mask_type)])),
        usable=len(usable),
        plain=sum(file.plain for file in usable),
        sizes=dict(Counter(f"{file.width}x{file.height}" for file in usable).most_common()),
        masks=dict(sorted(masks.items())),
        yaw=_spread([alignment.yaw for alignment in aligned]),
        pitch=_spread([alignment.pitch for alignment in aligned]),
    )


def _shortcomings(found: Scan, mask_type: str) -> list[tuple[str, str]]:
    lines = []
    for file in found.files:
        if file.plain:
            lines.append((file.path.name, "no face header; its center square is used as it is"))
        elif mask_type != "none" and not file.has_mask(mask_type):
            there = ", ".join(sorted(file.mask_names)) or "none"
            lines.append((file.path.name, f"no mask '{mask_type}' (there: {there})"))
    return lines


def _spread(values: list[float]) -> tuple[float, float, float] | None:
    if not values:
        return None
    low, middle, high = np.percentile(values, [0, 50, 100]).round(1).tolist()
    return low, middle, high
