"""Turn a preview into pictures for TensorBoard."""

from __future__ import annotations

import cv2
import numpy as np
from fs_kernel.types import Preview


def swap_sheets(preview: Preview, most: int) -> dict[str, np.ndarray]:
    """Return one picture per side: a row per face, what the network saw and each swap of it.

    Args:
        preview: with any number of sides and faces.
        most: faces per side.

    Returns:
        ``(h, w, 3)`` uint8 BGR by tag, ``"preview/a"``.
    """
    sheets = {}
    for side, faces in preview.faces.faces.items():
        swaps = [found for (source, _), found in preview.swaps.items() if source == side]
        rows = []
        for i in range(min(most, len(faces))):
            left, top, right, bottom = (int(edge) for edge in preview.faces.boxes[side][i])
            seen = faces[i][top:bottom, left:right]
            height, width = seen.shape[:2]
            columns = [seen, *(cv2.resize(swap[i], (width, height)) for swap in swaps)]
            rows.append(np.concatenate(columns, axis=1))
        sheets[f"preview/{side}"] = np.concatenate(rows)
    return sheets
