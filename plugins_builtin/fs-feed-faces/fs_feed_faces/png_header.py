"""The face header: what an aligned face PNG knows of itself.

It is the text of one ``iTXt`` chunk with the keyword ``faceswap``, a Python literal. It comes from
files of strangers, so it is checked before it is parsed (size, nesting, alphabet), never evaluated,
and taken over field by field into typed records.
"""

from __future__ import annotations

import ast
import re
import threading
import zlib
from collections.abc import Mapping
from typing import Any

import attrs
import numpy as np

from fs_feed_faces import png_chunks
from fs_feed_faces.constants import PADDING

KEYWORD = b"faceswap"
#: Keyword and the five zero bytes that stand for "plain text, no language, no translation".
_PREFIX = KEYWORD + b"\0" * 5
#: Landmark counts a face may have.
LANDMARK_COUNTS = (4, 51, 68, 98)
#: Longest header, in bytes, that is read.
MAX_HEADER = 4 * 2**20
#: Largest edge of a stored mask in pixels.
MAX_MASK_EDGE = 2048
_MAX_NESTING = 12
# CPython before 3.11.8 counts the depth of every tree being built in one place (gh-106905): two
# threads that parse at once can fail with SystemError.
_PARSING = threading.Lock()

_STRINGS = re.compile(r"""b?(?:'(?:\\.|[^'\\])*+(?:'|$)|"(?:\\.|[^"\\])*+(?:"|$))""", re.DOTALL)
#: What no literal of numbers, brackets, True, False and None contains outside its strings.
_FOREIGN = re.compile(r"[^\[\](){},:\s\d.+\-eETrueFalsNon]|[-+]\s*[-+]|[\d.\])}]\s*[-+]")


class HeaderError(ValueError):
    """The face header is malformed; the text says how."""


@attrs.frozen(eq=False)
class StoredMask:
    """A mask as it lies in the header.

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
        """The mask ``(size, size)`` uint8.

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
    """What a face PNG says of its face and of the frame it was cut from.

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
    """The face header among a PNG's ``iTXt`` contents, as text bytes; None if there is none.

    Raises:
        HeaderError: there is one, but written in a way this format does not know.
    """
    for content in texts:
        if content.startswith(_PREFIX):
            return content[len(_PREFIX) :]
        if content.startswith(KEYWORD + b"\0"):
            raise HeaderError("its face header is compressed or carries a language")
    return None


def parse_header(text: bytes) -> FaceHeader:
    """Read a face header.

    Raises:
        HeaderError: anything in it is not as the format says.
    """
    data = _literal(text)
    _keys(data, "header", required={"alignments", "source"})
    face, source = data["alignments"], data["source"]
    _keys(face, "alignments", {"x", "y", "w", "h", "landmarks_xy"}, {"mask", "identity"})
    _keys(
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
    masks = _mapping(face.get("mask") or {}, "mask")
    identity = _mapping(face.get("identity") or {}, "identity")
    return FaceHeader(
        landmarks=_landmarks(face["landmarks_xy"]),
        box=tuple(_integer(face[k], k) for k in "xywh"),  # type: ignore[arg-type]
        masks={name: _mask(name, value) for name, value in masks.items()},
        identity={k: _floats(v, "identity").ravel().tolist() for k, v in identity.items()},
        original_filename=_text(source["original_filename"], "original_filename"),
        face_index=_integer(source["face_index"], "face_index"),
        source_filename=_text(source["source_filename"], "source_filename"),
        source_is_video=bool(source["source_is_video"]),
        frame_size=_frame_size(source["source_frame_dims"]),
        version=float(_floats([source["alignments_version"]], "alignments_version")[0]),
    )


def format_header(header: FaceHeader) -> bytes:
    """A header as the text that `parse_header` reads."""
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
    """The face header of a PNG, None if it has none.

    Raises:
        PngError: the bytes are no intact PNG.
        HeaderError: the header is malformed.
    """
    text = find_header(png_chunks.inspect(png).texts)
    return None if text is None else parse_header(text)


def write_header(png: bytes, text: bytes) -> bytes:
    """The PNG with ``text`` (from `format_header` or `find_header`) as its only face header.

    Raises:
        PngError: the bytes are no intact PNG.
    """
    bare = png_chunks.remove(png, b"iTXt", KEYWORD + b"\0")
    return png_chunks.insert(bare, png_chunks.make_chunk(b"iTXt", _PREFIX + text))


# --- checks --------------------------------------------------------------------------------------


def _literal(text: bytes) -> Any:
    if len(text) > MAX_HEADER:
        raise HeaderError(f"its face header is longer than {MAX_HEADER // 2**20} MiB")
    try:
        source = text.decode("utf-8")
        bare = _STRINGS.sub("", source)
        if _FOREIGN.search(bare) or _nesting(bare) > _MAX_NESTING:
            raise HeaderError("its face header is no plain literal")
        with _PARSING:
            return ast.literal_eval(source)
    except HeaderError:
        raise
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise HeaderError("its face header is no plain literal") from None


def _nesting(text: str) -> int:
    deepest = depth = 0
    for bracket in re.findall(r"[\[\](){}]", text):
        depth += 1 if bracket in "[({" else -1
        deepest = max(deepest, depth)
    return deepest


def _mapping(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise HeaderError(f"its face header has no proper '{name}'")
    return value


def _keys(
    value: Any, name: str, required: set[str], optional: set[str] | frozenset[str] = frozenset()
) -> None:
    keys = set(_mapping(value, name))
    if missing := required - keys:
        raise HeaderError(f"its face header lacks '{min(missing)}'")
    if unknown := keys - required - optional:
        raise HeaderError(f"its face header has an unknown '{min(unknown)[:40]}'")


def _integer(value: Any, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) >= 2**31:
        raise HeaderError(f"its face header has no whole number as '{name}'")
    return value


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise HeaderError(f"its face header has no text as '{name}'")
    return value


def _floats(value: Any, name: str) -> np.ndarray:
    try:
        array = np.asarray(value)
    except (ValueError, TypeError, OverflowError):
        raise HeaderError(f"its face header has no numbers as '{name}'") from None
    if array.dtype.kind not in "if":
        raise HeaderError(f"its face header has no numbers as '{name}'")
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        raise HeaderError(f"its face header has no finite numbers as '{name}'")
    return array


def _landmarks(value: Any) -> np.ndarray:
    points = _floats(value, "landmarks_xy")
    if points.ndim != 2 or points.shape[1] != 2 or len(points) not in LANDMARK_COUNTS:
        counts = ", ".join(map(str, LANDMARK_COUNTS))
        raise HeaderError(f"its face header does not hold {counts} landmarks of x and y")
    if np.abs(points).max() > 1e6 or min(np.ptp(points, axis=0)) < 1e-3:
        raise HeaderError("its landmarks are no face")
    return points


def _frame_size(value: Any) -> tuple[int, int]:
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise HeaderError("its face header has no (height, width) as 'source_frame_dims'")
    height, width = (_integer(edge, "source_frame_dims") for edge in value)
    return height, width


def _mask(name: str, value: Any) -> StoredMask:
    _keys(
        value,
        f"mask {name[:40]}",
        {"mask", "affine_matrix", "interpolator", "stored_size", "stored_centering"},
    )
    size = _integer(value["stored_size"], "stored_size")
    affine = _floats(value["affine_matrix"], "affine_matrix")
    centering = _text(value["stored_centering"], "stored_centering")
    if not isinstance(value["mask"], bytes) or not 0 < size <= MAX_MASK_EDGE:
        raise HeaderError(f"its mask '{name[:40]}' is malformed")
    if affine.shape not in ((2, 3), (3, 3)) or centering not in PADDING:
        raise HeaderError(f"its mask '{name[:40]}' is malformed")
    return StoredMask(
        data=value["mask"],
        affine=affine[:2],
        size=size,
        centering=centering,
        interpolator=_integer(value["interpolator"], "interpolator"),
    )
