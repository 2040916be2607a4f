"""Small face files to test with: drawn, aligned and written as the real ones are."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from fs_faces.constants import MEAN_FACE_51
from fs_faces.geometry import align, crop_matrix
from fs_faces.header import FaceHeader, StoredMask, format_header, write_header
from fs_kernel.types import FeedSpec, Output

FRAME = (240, 320)


def mean_landmarks() -> np.ndarray:
    """68 points in the unit square: the mean face and a half ellipse as its jaw."""
    angles = np.linspace(np.pi, 0, 17)
    jaw = np.stack([0.5 + 0.62 * np.cos(angles), 0.2 + 0.98 * np.sin(angles)], axis=1)
    return np.concatenate([jaw, MEAN_FACE_51])


def landmarks_in_frame(seed: int) -> np.ndarray:
    """A face in a frame of 320 x 240: turned, scaled, shifted, each point a little off."""
    random = np.random.default_rng(seed)
    angle, scale = random.uniform(-0.3, 0.3), random.uniform(55, 70)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = mean_landmarks() + random.normal(0, 0.01, (68, 2))
    return (points - 0.5) @ turn.T + (160, 120) + random.uniform(-15, 15, 2)


def draw_frame(landmarks: np.ndarray, seed: int) -> np.ndarray:
    """A picture of 320 x 240 with skin, eyes and lips where the landmarks say."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[: FRAME[0], : FRAME[1]]
    frame = np.stack([x * 0.5 + 20, y * 0.7 + 20, (x + y) * 0.3 + 30], axis=2)
    frame += random.uniform(0, 40, 3)
    frame = frame.clip(0, 255).astype(np.uint8)
    skin = tuple(int(v) for v in random.integers(90, 220, 3))
    for points, color in (
        (landmarks[:27], skin),
        (landmarks[36:42], (250, 250, 250)),
        (landmarks[42:48], (250, 250, 250)),
        (landmarks[48:60], (40, 40, 200)),
    ):
        cv2.fillConvexPoly(frame, cv2.convexHull(points.astype(np.int32)), color, cv2.LINE_AA)
    return cv2.GaussianBlur(frame, (5, 5), 0)


def make_header(
    landmarks: np.ndarray, name: str, mask: str | None = "bisenet-fp_face"
) -> FaceHeader:
    """A header with one stored mask: a white square in the middle of the face crop."""
    image = np.zeros((128, 128), np.uint8)
    image[32:96, 32:96] = 255
    masks = {}
    if mask is not None:
        affine = crop_matrix(align(landmarks), 128, "face")
        masks[mask] = StoredMask(zlib.compress(image.tobytes()), affine)
    return FaceHeader(
        landmarks=landmarks,
        box=(100, 60, 90, 110),
        masks=masks,
        original_filename=name,
        source_filename="frame.png",
        frame_size=FRAME,
    )


def face_png(
    seed: int,
    size: int = 96,
    name: str = "face.png",
    mask: str | None = "bisenet-fp_face",
    points: Callable[[np.ndarray], np.ndarray] = lambda landmarks: landmarks,
) -> bytes:
    """A face file; ``points`` makes the header's landmarks from the 68 drawn ones."""
    landmarks = landmarks_in_frame(seed)
    matrix = crop_matrix(align(landmarks), size, "head")
    head = cv2.warpAffine(draw_frame(landmarks, seed), matrix, (size, size))
    png = cv2.imencode(".png", head)[1].tobytes()
    return write_header(png, format_header(make_header(points(landmarks), name, mask)))


def fill(folder: Path, count: int, start: int = 0, **how: object) -> Path:
    """A folder with ``count`` face files ``0000.png``, ..."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(start, start + count):
        name = f"{seed:04d}.png"
        (folder / name).write_bytes(face_png(seed, name=name, **how))
    return folder


def plain_picture(seed: int, height: int = 70, width: int = 90) -> np.ndarray:
    """Soft colored noise without a face, ``(height, width, 3)`` uint8."""
    small = np.random.default_rng(seed).integers(0, 255, (7, 9, 3)).astype(np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


def make_spec(
    size: int = 32,
    batch: int = 4,
    *,
    color: str = "bgr",
    masks: tuple[str, ...] = ("face", "eye", "mouth"),
    learn: bool = False,
    sizes: tuple[int, ...] = (),
    seed: int = 7,
    local_indices: range | None = None,
) -> FeedSpec:
    """A `FeedSpec` of two sides; ``sizes`` are those of the face outputs, ``size`` the input's."""
    outputs = []
    for side in ("a", "b"):
        outputs += [Output(side, "face", edge) for edge in sizes or (size,)]
        outputs += [Output(side, "mask", max(sizes or (size,)))] if learn else []
    return FeedSpec(
        input_shapes={"a": (size, size, 3), "b": (size, size, 3)},
        color_order=color,
        outputs=tuple(outputs),
        fields=frozenset(masks),
        batch_size=batch,
        seed=seed,
        local_indices=local_indices or range(batch),
    )
