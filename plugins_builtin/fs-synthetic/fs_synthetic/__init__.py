"""Draw two synthetic people: folders of aligned faces, with the true picture of every swap."""

from __future__ import annotations

import functools
import multiprocessing
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import TYPE_CHECKING

from fs_kernel.errors import FsError, UsageError

if TYPE_CHECKING:
    from fs_synthetic.render import Actor

__all__ = ["draw_people"]

SIDES = ("A", "B")


def draw_people(
    directory: Path,
    count: int = 300,
    size: int = 256,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
    processes: int = 1,
) -> None:
    """Write face files of two people who do not exist, and the true result of swapping them.

    ``directory/A`` and ``directory/B`` are the two people, each in different scenes.
    ``directory/B_true`` holds, for every face of A and under its name, person B in the same pose,
    expression, light and place; ``directory/A_true`` the same for the faces of B.

    A true picture is aligned by its *own* landmarks, not by those of the face it replaces. A
    swap shows person B's features where the network puts them in its view of A, and the network
    has only ever seen B aligned by B's own landmarks, so that is where it puts them. (Measured on
    300 faces of A at 256 pixels: landmarks of B lie 1.8 px from where B's own faces of that pose
    and expression have them, and 3.9 px with the matrix of A.)

    On one machine the same seed gives the same files, however many processes draw them.

    Args:
        directory: made if it is missing; files of the same names are replaced.
        count: of faces per person, at least 1.
        size: edge of the pictures in pixels, 32 to 1024.
        seed: of everything that varies between pictures.
        progress: called with (pictures done, pictures in total) repeatedly, in this thread.
        processes: number of drawing processes. More than one are spawned, so the calling script
            then needs an ``if __name__ == "__main__":`` block.

    Raises:
        UsageError: count or size is out of range, or the folder cannot be written.
        FsError: a drawing process died.
    """
    if count < 1 or not 32 <= size <= 1024:
        raise UsageError(
            f"Cannot draw {count} faces of {size} pixels: draw at least 1, of 32 to 1024 pixels."
        )
    scenes = [(side, index) for index in range(count) for side in SIDES]
    draw = functools.partial(_draw_scene, directory, size, seed)
    try:
        for side in SIDES:
            (directory / side).mkdir(parents=True, exist_ok=True)
            (directory / f"{side}_true").mkdir(exist_ok=True)
        if processes == 1:
            _report(map(draw, scenes), len(scenes), progress)
            return
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(processes, mp_context=spawn, initializer=_use_one_thread) as pool:
            _report(pool.map(draw, scenes, chunksize=4), len(scenes), progress)
    except BrokenProcessPool:
        raise FsError(
            "A process that draws faces ended early: call draw_people from a script's "
            'if __name__ == "__main__": block, and with enough free memory.'
        ) from None
    except OSError as error:
        raise UsageError(f"Cannot write faces into {directory}: {error.strerror}.") from None


def _report(
    scenes_done: Iterable[None], count: int, progress: Callable[[int, int], None] | None
) -> None:
    for done, _ in enumerate(scenes_done, start=1):
        if progress:
            progress(2 * done, 2 * count)


def _use_one_thread() -> None:
    """Restrict a drawing process to one thread: there is one process per processor."""
    import cv2

    cv2.setNumThreads(1)


@functools.cache
def _actors() -> dict[str, Actor]:
    from fs_synthetic.persons import CLARA, MARTIN
    from fs_synthetic.render import make_actor

    return {"A": make_actor(MARTIN), "B": make_actor(CLARA)}


def _draw_scene(directory: Path, size: int, seed: int, scene_key: tuple[str, int]) -> None:
    """Write both people in one scene: the face of a side, and the other's true picture."""
    from fs_kernel.randomness import generator

    from fs_synthetic.face_file import face_file
    from fs_synthetic.scene import sample_scene

    side, index = scene_key
    other = SIDES[1 - SIDES.index(side)]
    name = f"{side.lower()}_{index:05d}_0.png"
    scene = sample_scene(generator(seed, "people", side, index))
    for who, folder in ((side, side), (other, f"{other}_true")):
        sensor = generator(seed, "people", side, index, "sensor")
        png = face_file(_actors()[who], scene, size, name, sensor)
        (directory / folder / name).write_bytes(png)
