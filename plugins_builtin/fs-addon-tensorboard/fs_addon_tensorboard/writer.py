"""Write an event file, record by record.

tensorboardX supplies the records and the protocol buffers. Its ``SummaryWriter`` is passed over: it
queues to a thread of its own, and at the end of a process waits forever for that thread if the disk
could not take an event.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from tensorboardX import summary
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary


class EventFile:
    """A new file ``events.out.tfevents.*`` in a folder.

    Args:
        folder: made if it is missing; older event files in it are left alone.

    Raises:
        OSError: it cannot be written to. The other methods raise it too.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._writer = EventsWriter(str(folder / "events"), _free_ending(folder))

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Write one point for each tag."""
        parts = [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
        self._write(Event(summary=Summary(value=parts), step=step))

    def text(self, tag: str, markdown: str, step: int) -> None:
        """Write a text in Markdown."""
        self._write(Event(summary=summary.text(tag, markdown), step=step))

    def picture(self, tag: str, picture: np.ndarray, step: int) -> None:
        """Write a picture, ``(h, w, 3)`` uint8 BGR."""
        done, png = cv2.imencode(".png", picture)
        if not done:
            raise ValueError(f"cannot make a PNG of a picture of shape {picture.shape}")
        height, width = picture.shape[:2]
        image = Summary.Image(
            height=height, width=width, colorspace=3, encoded_image_string=png.tobytes()
        )
        self._write(Event(summary=Summary(value=[Summary.Value(tag=tag, image=image)]), step=step))

    def forget_from(self, step: int) -> None:
        """Let TensorBoard drop what this folder's files have at ``step`` and after it."""
        self._write(Event(session_log=SessionLog(status=SessionLog.START), step=step))

    def flush(self) -> None:
        """Hand everything to the operating system, for a TensorBoard that reads along."""
        self._writer.flush()

    def close(self) -> None:
        """Write what is left and close the file."""
        self._writer.close()

    def _write(self, event: Event) -> None:
        event.wall_time = time.time()
        self._writer.write_event(event)


def _free_ending(folder: Path) -> str:
    """Return what makes a file's name unique: without it, it is the second of its creation."""
    return f".{sum(1 for _ in folder.glob('events.out.tfevents.*'))}"
