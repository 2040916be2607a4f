"""Read and write the face header of an aligned face PNG.

The header is the text of one ``iTXt`` chunk with the keyword ``faceswap``, a Python literal. Face
files are untrusted: `fs_faces.literal` checks the text before it is parsed, and every field is
checked on its way into typed records.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import attrs
import numpy as np

from fs_faces.constants import PADDING
from fs_faces.literal import (
    HeaderError,
    as_floats,
    as_integer,
    as_mapping,
    as_text,
    parse_literal,
    require_keys,
)
from fs_faces.png import insert, inspect, make_chunk, remove

__all__ = [
    "KEYWORD",
    "LANDMARK_COUNTS",
    "MAX_MASK_EDGE",
    "FaceHeader",
    "HeaderError",
    "StoredMask",
    "find_header",
    "format_header",
    "parse_header",
    "read_header",
    "write_header",
]

KEYWORD = b"faceswap"
#: Keyword and the five zero bytes that mean "plain text, no language, no translation".
_PREFIX = KEYWORD + b"\0" * 5
#: Landmark counts a face may have.
LANDMARK_COUNTS = (4, 51, 68, 98)
#: Largest edge of a stored mask in pixels.
MAX_MASK_EDGE = 2048


@attrs.frozen(eq=False)
class StoredMask:
    """A mask as the header stores it.

    Attributes:
        data: zlib stream of ``size * size`` bytes, 0..255.
        affine: ``(2, 3)`` frame pixels to mask pixels.
        size: edge in pixels.
        centering: the crop it covers (coverage 100 %): "face", "head" or "legacy".
        interpolator: OpenCV interpolation flag that suits the matrix.
    """

    data: bytes
    affine: np.ndarray
    size: int = 128
    centering: str = "face"
    interpolator: int = 3

    def image(self) -> np.ndarray:
        """Return the mask, ``(size, size)`` uint8.

        Raises:
            HeaderError: the stream is damaged or holds another number of bytes.
        """
        stream = zlib.decompressobj()
        try:
            pixels = stream.decompress(self.data, self.size**2 + 1)
        except zlib.error:
            raise HeaderError("a stored mask is damaged") from None
        if len(pixels) != self.size**2:
            raise HeaderError(f"a stored mask does not hold {self.size} x {self.size} pixels")
        return np.frombuffer(pixels, np.uint8).reshape(self.size, self.size)


@attrs.frozen(eq=False)
class FaceHeader:
    """The face of a PNG and the frame it was cut from.

    Attributes:
        landmarks: ``(n, 2)`` float64 in frame pixels, n of `LANDMARK_COUNTS`.
        box: ``(x, y, w, h)`` of the detector in frame pixels.
        masks: stored masks by name.
        identity: embeddings by name.
        original_filename: name the face was extracted under.
        face_index: number of the face in its frame.
        source_filename: the frame's or the video's name.
        source_is_video: whether the frame is one of a video.
        frame_size: ``(height, width)`` of the frame in pixels.
        version: of the alignments format.
    """

    landmarks: np.ndarray
    box: tuple[int, int, int, int]
    masks: Mapping[str, StoredMask]
    original_filename: str
    source_filename: str
    frame_size: tuple[int, int]
    identity: Mapping[str, list[float]] = attrs.field(factory=dict)
    face_index: int = 0
    source_is_video: bool = False
    version: float = 2.4


def find_header(texts: tuple[bytes, ...]) -> bytes | None:
    """Return the face header among a PNG's ``iTXt`` contents as bytes, or None.

    Raises:
        HeaderError: the header is compressed or names a language, which the format does not.
    """
    for content in texts:
        if content.startswith(_PREFIX):
            return content[len(_PREFIX) :]
        if content.startswith(KEYWORD + b"\0"):
            raise HeaderError("its face header is compressed or carries a language")
    return None


def parse_header(text: bytes) -> FaceHeader:
    """Return the records of a face header's text.

    Raises:
        HeaderError: a field is missing, unknown, or of a wrong type or value.
    """
    data = parse_literal(text)
    require_keys(data, "header", required={"alignments", "source"})
    face, source = data["alignments"], data["source"]
    require_keys(face, "alignments", {"x", "y", "w", "h", "landmarks_xy"}, {"mask", "identity"})
    require_keys(
        source,
        "source",
        {
            "alignments_version",
            "original_filename",
            "face_index",
            "source_filename",
            "source_is_video",
            "source_frame_dims",
        },
    )
    masks = as_mapping(face.get("mask") or {}, "mask")
    identity = as_mapping(face.get("identity") or {}, "identity")
    return FaceHeader(
        landmarks=_landmarks(face["landmarks_xy"]),
        box=tuple(as_integer(face[k], k) for k in "xywh"),  # type: ignore[arg-type]
        masks={name: _mask(name, value) for name, value in masks.items()},
        identity={k: as_floats(v, "identity").ravel().tolist() for k, v in identity.items()},
        original_filename=as_text(source["original_filename"], "original_filename"),
        face_index=as_integer(source["face_index"], "face_index"),
        source_filename=as_text(source["source_filename"], "source_filename"),
        source_is_video=bool(source["source_is_video"]),
        frame_size=_frame_size(source["source_frame_dims"]),
        version=float(as_floats([source["alignments_version"]], "alignments_version")[0]),
    )


def format_header(header: FaceHeader) -> bytes:
    """Return a header as the text that `parse_header` reads."""
    x, y, w, h = header.box
    data = {
        "alignments": {
            "x": x,
            "y": y,
            "w": w,
            "h": h,
            "landmarks_xy": np.asarray(header.landmarks, float).tolist(),
            "mask": {
                name: {
                    "mask": mask.data,
                    "affine_matrix": np.asarray(mask.affine, float).tolist(),
                    "interpolator": mask.interpolator,
                    "stored_size": mask.size,
                    "stored_centering": mask.centering,
                }
                for name, mask in header.masks.items()
            },
            "identity": {name: list(values) for name, values in header.identity.items()},
        },
        "source": {
            "alignments_version": header.version,
            "original_filename": header.original_filename,
            "face_index": header.face_index,
            "source_filename": header.source_filename,
            "source_is_video": header.source_is_video,
            "source_frame_dims": tuple(header.frame_size),
        },
    }
    return repr(data).encode()


def read_header(png: bytes) -> FaceHeader | None:
    """Return the face header of a PNG, or None.

    Raises:
        PngError: the bytes are not an intact PNG.
        HeaderError: the header is malformed.
    """
    text = find_header(inspect(png).texts)
    return None if text is None else parse_header(text)


def write_header(png: bytes, text: bytes) -> bytes:
    """Return the PNG with ``text`` (from `format_header` or `find_header`) as its only face header.

    Raises:
        PngError: the bytes are not an intact PNG.
    """
    bare = remove(png, b"iTXt", KEYWORD + b"\0")
    return insert(bare, make_chunk(b"iTXt", _PREFIX + text))


def _landmarks(value: Any) -> np.ndarray:
    points = as_floats(value, "landmarks_xy")
    if points.ndim != 2 or points.shape[1] != 2 or len(points) not in LANDMARK_COUNTS:
        counts = ", ".join(map(str, LANDMARK_COUNTS))
        raise HeaderError(f"its face header does not hold {counts} landmarks of x and y")
    if np.abs(points).max() > 1e6 or min(np.ptp(points, axis=0)) < 1e-3:
        raise HeaderError("its landmarks are not a face")
    return points


def _frame_size(value: Any) -> tuple[int, int]:
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise HeaderError("its face header has no (height, width) as 'source_frame_dims'")
    height, width = (as_integer(edge, "source_frame_dims") for edge in value)
    return height, width


def _mask(name: str, value: Any) -> StoredMask:
    require_keys(
        value,
        f"mask {name[:40]}",
        {"mask", "affine_matrix", "interpolator", "stored_size", "stored_centering"},
    )
    size = as_integer(value["stored_size"], "stored_size")
    affine = as_floats(value["affine_matrix"], "affine_matrix")
    centering = as_text(value["stored_centering"], "stored_centering")
    if not isinstance(value["mask"], bytes) or not 0 < size <= MAX_MASK_EDGE:
        raise HeaderError(f"its mask '{name[:40]}' is malformed")
    if affine.shape not in ((2, 3), (3, 3)) or centering not in PADDING:
        raise HeaderError(f"its mask '{name[:40]}' is malformed")
    return StoredMask(
        data=value["mask"],
        affine=affine[:2],
        size=size,
        centering=centering,
        interpolator=as_integer(value["interpolator"], "interpolator"),
    )
