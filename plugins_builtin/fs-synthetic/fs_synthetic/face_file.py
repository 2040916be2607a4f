"""Make the file of one drawn face: developed, cropped, with its header."""

from __future__ import annotations

import zlib

import cv2
import numpy as np
from fs_faces.geometry import align, crop_matrix
from fs_faces.header import FaceHeader, StoredMask, format_header, write_header
from fs_faces.pictures import encode

from fs_synthetic.render import Actor, Picture, draw, frame_landmarks
from fs_synthetic.scene import FRAME_HEIGHT, FRAME_WIDTH, Scene

_MASK_SIZE = 128


def face_file(
    actor: Actor, scene: Scene, size: int, name: str, sensor: np.random.Generator
) -> bytes:
    """Return one face as the bytes of a PNG with its face header.

    The picture is the head crop of a frame by the matrix of the landmarks; two exact masks are
    stored: ``bisenet-fp_face`` (skin, eyes and lips that are not under hair) and
    ``bisenet-fp_head`` (with hair and ears).

    Args:
        actor: the person.
        scene: pose, expression, light and background.
        size: edge in pixels.
        name: file name, for the header.
        sensor: random generator of the sensor's noise.
    """
    landmarks = frame_landmarks(actor, scene)
    alignment = align(landmarks)
    matrix = crop_matrix(alignment, size, "head")
    picture = draw(actor, scene, matrix, size)
    left, top = np.floor(landmarks.min(axis=0)).astype(int).tolist()
    right, bottom = np.ceil(landmarks.max(axis=0)).astype(int).tolist()
    masks = {"face": picture.face, "head": picture.head}
    header = FaceHeader(
        landmarks=landmarks,
        box=(left, top, right - left, bottom - top),
        masks={
            f"bisenet-fp_{centering}": _stored_mask(
                mask, matrix, crop_matrix(alignment, _MASK_SIZE, centering), centering
            )
            for centering, mask in masks.items()
        },
        original_filename=name,
        source_filename=name.replace("_0.png", ".png"),
        frame_size=(FRAME_HEIGHT, FRAME_WIDTH),
    )
    return write_header(encode(develop(picture, scene, sensor)), format_header(header))


def develop(picture: Picture, scene: Scene, sensor: np.random.Generator) -> np.ndarray:
    """Return linear light as a camera records it: ``(size, size, 3)`` uint8 BGR, sRGB."""
    image = cv2.GaussianBlur(picture.image, (0, 0), scene.blur * len(picture.image) / 256)
    image = np.where(image > 0.7, 0.7 + 0.3 * np.tanh((image - 0.7) / 0.3), image)
    image = np.clip(image, 0, 1)
    bright = 1.055 * image ** (1 / 2.4) - 0.055
    coded: np.ndarray = np.where(image <= 0.0031308, image * 12.92, bright)
    coded += scene.noise * sensor.standard_normal(coded.shape, np.float32)
    rounded: np.ndarray = np.rint(np.clip(coded[..., ::-1], 0, 1) * 255)
    return rounded.astype(np.uint8)


def _stored_mask(
    mask: np.ndarray, head_matrix: np.ndarray, mask_matrix: np.ndarray, centering: str
) -> StoredMask:
    """Return a mask drawn in the head crop as a header stores it."""
    corner = [[0, 0, 1]]
    to_head = np.vstack([head_matrix, corner]) @ np.linalg.inv(np.vstack([mask_matrix, corner]))
    stored = cv2.warpAffine(
        mask,
        to_head[:2],
        (_MASK_SIZE, _MASK_SIZE),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
    )
    pixels = np.rint(np.clip(stored, 0, 1) * 255).astype(np.uint8)
    return StoredMask(zlib.compress(pixels.tobytes()), mask_matrix, _MASK_SIZE, centering)
