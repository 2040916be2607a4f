"""Read faces to be swapped one by one, and write them back into their pictures."""

from __future__ import annotations

import itertools
import os
import warnings
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import attrs
import cv2
import numpy as np
from fs_faces.geometry import Box, resize
from fs_faces.header import find_header, write_header
from fs_faces.pictures import UnreadableError, decode, encode, read_bytes, write_atomically
from fs_faces.png import SIGNATURE, insert, inspect, text_chunk
from fs_kernel.errors import ConfigError, UsageError
from fs_kernel.types import Face

from fs_feed_faces.cache import Cache
from fs_feed_faces.crops import Cropper
from fs_feed_faces.face_file import FaceFile
from fs_feed_faces.options import FaceOptions
from fs_feed_faces.source import open_faces

#: Text of the ``tEXt`` chunk "Comment" in every written picture.
NOTICE = "Synthetic face made with fs-kernel; not a genuine picture."
#: Width of the soft edge of a swapped face, as a share of the crop's edge.
_FEATHER = 1 / 16
#: Faces that are read ahead.
_AHEAD = 32


@attrs.frozen(eq=False)
class Origin:
    """Origin of a face.

    Attributes:
        file: the source picture.
        output_name: file name of the result.
    """

    file: FaceFile
    output_name: str


def read_faces(
    source: Path,
    shape: tuple[int, int, int],
    color_order: str,
    options: FaceOptions,
    cache: Cache | None = None,
) -> Iterator[Face]:
    """Return an iterator over a folder's faces in name order, as a network of ``shape`` needs them.

    The folder is scanned at the call, unless ``cache`` remembers it; pictures are read a few ahead
    of the consumer.

    Raises:
        FacesError: the folder is missing or holds no usable face.
        ConfigError: the network does not take square color pictures.
    """
    height, width, channels = shape
    if height != width or channels != 3:
        raise ConfigError(
            f"the network wants {height} x {width} x {channels}, not a square picture"
        )
    faces = open_faces(source, options, needs_mask=False, fewest=1, cache=cache)
    lacking = sum(not file.has_mask(options.mask_type) for file in faces.files)
    lines = list(faces.warnings)
    if lacking and options.mask_type != "none":
        lines.append(
            f"{source}: {lacking} faces lack the mask '{options.mask_type}'; unless the network "
            "has learned one, their whole crop is blended in"
        )
    for line in lines:
        warnings.warn(line, stacklevel=2)
    return _faces(faces.files, Cropper(options, height, ()), color_order)


def write_face(
    face: Face,
    swapped: np.ndarray,
    mask: np.ndarray | None,
    color_order: str,
    target: Path,
    options: FaceOptions,
) -> Path:
    """Blend one swapped face into its picture and write that as PNG.

    The face is blended in with a soft edge: within the learned mask if there is one, else within
    the chosen face mask, else within the crop. The source's face header is copied unchanged.

    Args:
        face: from `read_faces`.
        swapped: ``(h, h, 3)`` float32 0..1 in the network's color order.
        mask: ``(h, h)`` float32 0..1 if the network learned one.
        color_order: "bgr" or "rgb".
        target: an existing folder.
        options: section ``[face]``.

    Returns:
        The path of the new file.

    Raises:
        UsageError: the file would overwrite its own source, or the source is missing.
        OSError: the file cannot be written; nothing is left behind.
    """
    origin: Origin = face.origin
    path = target / origin.output_name
    if path.exists() and path.samefile(origin.file.path):
        raise UsageError(f"{path} is the source picture; choose another folder for the results")
    try:
        data = read_bytes(origin.file.path)
        picture = decode(data)
    except UnreadableError as error:
        raise UsageError(f"cannot read {origin.file.path} again: {error}") from None
    box = Cropper(options, 1, ()).box(origin.file)
    weight = _weight(origin.file, mask, box, options)
    crop = np.ascontiguousarray(swapped[..., ::-1] if color_order == "rgb" else swapped)
    png = encode(paste(picture, resize(crop.astype(np.float32), box.size), weight, box))
    if data.startswith(SIGNATURE):
        header = find_header(inspect(data).texts)
        if header is not None:
            png = write_header(png, header)
    write_atomically(path, insert(png, text_chunk("Comment", NOTICE)))
    return path


def paste(picture: np.ndarray, crop: np.ndarray, weight: np.ndarray, box: Box) -> np.ndarray:
    """Return a picture with a crop blended in; parts beyond the picture are left out.

    Args:
        picture: ``(h, w, 3)`` uint8.
        crop: ``(size, size, 3)`` float32 0..1.
        weight: ``(size, size)`` float32 0..1, opacity of the crop.
        box: where the crop lies.

    Returns:
        A new picture ``(h, w, 3)`` uint8.
    """
    height, width = picture.shape[:2]
    x0, y0 = max(box.left, 0), max(box.top, 0)
    x1, y1 = min(box.left + box.size, width), min(box.top + box.size, height)
    result = picture.copy()
    if x1 <= x0 or y1 <= y0:
        return result
    inner = np.s_[y0 - box.top : y1 - box.top, x0 - box.left : x1 - box.left]
    old = picture[y0:y1, x0:x1].astype(np.float32)
    mixed = old + weight[inner][..., None] * (crop[inner] * 255 - old)
    result[y0:y1, x0:x1] = np.rint(mixed.clip(0, 255)).astype(np.uint8)
    return result


def _faces(files: Sequence[FaceFile], cropper: Cropper, color_order: str) -> Iterator[Face]:
    """Yield the faces in order, read by threads a few ahead of the consumer."""
    stems = Counter(file.path.stem.lower() for file in files)
    pool = ThreadPoolExecutor(os.cpu_count(), "fs-face-reader")
    coming: deque[tuple[FaceFile, Future[np.ndarray]]] = deque()
    waiting = iter(files)
    try:
        while True:
            for file in itertools.islice(waiting, _AHEAD - len(coming)):
                coming.append((file, pool.submit(_image, cropper, file, color_order)))
            if not coming:
                return
            file, reading = coming.popleft()
            try:
                image = reading.result()
            except UnreadableError as error:
                warnings.warn(f"skipped {file.path}: {error}", stacklevel=2)
                continue
            unique = stems[file.path.stem.lower()] == 1
            name = f"{file.path.stem if unique else file.path.name}.png"
            yield Face(file.path.name, image, Origin(file, name))
    finally:
        pool.shutdown(cancel_futures=True)


def _image(cropper: Cropper, file: FaceFile, color_order: str) -> np.ndarray:
    crop = cropper.read(file)
    return (crop[..., ::-1] if color_order == "rgb" else crop).astype(np.float32) / 255


def _weight(file: FaceFile, mask: np.ndarray | None, box: Box, options: FaceOptions) -> np.ndarray:
    """Return the opacity of the swapped face in the box, ``(size, size)`` float32."""
    size = box.size
    if mask is not None:
        weight = resize(mask.astype(np.float32), size).clip(0, 1)
    elif file.has_mask(options.mask_type):
        weight = Cropper(options, size, ()).mask(file, "face").astype(np.float32) / 255
    else:
        weight = np.ones((size, size), np.float32)
    feather = max(1.0, size * _FEATHER)
    weight = cv2.GaussianBlur(weight, (0, 0), feather / 4)
    inside = np.minimum(np.arange(size), np.arange(size)[::-1]) / feather
    edge = np.minimum.outer(inside, inside).clip(0, 1)
    return np.minimum(weight, edge.astype(np.float32))
