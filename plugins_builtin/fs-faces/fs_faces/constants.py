"""Define the numbers of the face format: mean face, head model, camera, landmark indices.

2-D points lie in the unit square of the un-padded ("legacy") face, y down. 3-D points are in head
units: x to the person's right, y up, z out of the face, y = 0 at the eyes' height. Landmarks are
numbered as in the 68-point (iBUG 300-W) scheme.
"""

from __future__ import annotations

import numpy as np


def _array(values: list[tuple[float, ...]]) -> np.ndarray:
    array = np.array(values, dtype=np.float64)
    array.setflags(write=False)
    return array


#: Share of a crop's edge that is margin around the unit square, by centering.
PADDING: dict[str, float] = {"legacy": 0.375, "face": 0.5, "head": 0.625}

#: Landmarks 17..67 of the mean face, ``(51, 2)``.
MEAN_FACE_51 = _array(
    [
        (0.010086, 0.106454),
        (0.085135, 0.038915),
        (0.191003, 0.018748),
        (0.300643, 0.034489),
        (0.40327, 0.077391),
        (0.596729, 0.077391),
        (0.699356, 0.034489),
        (0.808997, 0.018748),
        (0.914864, 0.038915),
        (0.989913, 0.106454),
        (0.5, 0.203352),
        (0.5, 0.307009),
        (0.5, 0.409805),
        (0.5, 0.515625),
        (0.376753, 0.587326),
        (0.435909, 0.609345),
        (0.5, 0.628106),
        (0.56409, 0.609345),
        (0.623246, 0.587326),
        (0.13161, 0.216423),
        (0.196995, 0.178758),
        (0.275698, 0.179852),
        (0.344479, 0.231733),
        (0.270791, 0.245099),
        (0.192616, 0.244077),
        (0.65552, 0.231733),
        (0.724301, 0.179852),
        (0.803005, 0.178758),
        (0.868389, 0.216423),
        (0.807383, 0.244077),
        (0.729208, 0.245099),
        (0.264022, 0.780233),
        (0.350858, 0.745405),
        (0.438731, 0.727388),
        (0.5, 0.742578),
        (0.561268, 0.727388),
        (0.649141, 0.745405),
        (0.735977, 0.780233),
        (0.652032, 0.864805),
        (0.566594, 0.902192),
        (0.5, 0.909281),
        (0.433405, 0.902192),
        (0.347967, 0.864805),
        (0.300252, 0.784792),
        (0.437969, 0.778746),
        (0.5, 0.785343),
        (0.56203, 0.778746),
        (0.699747, 0.784792),
        (0.563237, 0.824182),
        (0.5, 0.831803),
        (0.436763, 0.824182),
    ]
)

#: Corners of a face that is known by four points only, ``(4, 2)``.
MEAN_FACE_4 = _array(
    [
        (0.0, 0.0),
        (1.0, 0.0),
        (1.0, 1.0),
        (0.0, 1.0),
    ]
)

#: Points of a mean head, ``(26, 3)``.
HEAD_POINTS_3D = _array(
    [
        (4.056931, -11.432347, 1.636229),
        (1.833492, -12.542305, 4.061275),
        (0.0, -12.901019, 4.070434),
        (-1.833492, -12.542305, 4.061275),
        (-4.056931, -11.432347, 1.636229),
        (6.825897, 1.275284, 4.402142),
        (1.330353, 1.636816, 6.903745),
        (-1.330353, 1.636816, 6.903745),
        (-6.825897, 1.275284, 4.402142),
        (1.930245, -5.060977, 5.914376),
        (0.746313, -5.136947, 6.263227),
        (0.0, -5.485328, 6.76343),
        (-0.746313, -5.136947, 6.263227),
        (-1.930245, -5.060977, 5.914376),
        (5.311432, 0.0, 3.987654),
        (1.78993, -0.091703, 4.413414),
        (-1.78993, -0.091703, 4.413414),
        (-5.311432, 0.0, 3.987654),
        (2.774015, -7.566103, 5.048531),
        (0.509714, -7.056507, 6.566167),
        (0.0, -7.131772, 6.704956),
        (-0.509714, -7.056507, 6.566167),
        (-2.774015, -7.566103, 5.048531),
        (-0.589441, -8.443925, 6.109526),
        (0.0, -8.601736, 6.097667),
        (0.589441, -8.443925, 6.109526),
    ]
)

#: Landmark number of each of `HEAD_POINTS_3D`.
HEAD_POINT_IDS = (
    6,
    7,
    8,
    9,
    10,
    17,
    21,
    22,
    26,
    31,
    32,
    33,
    34,
    35,
    36,
    39,
    42,
    45,
    48,
    50,
    51,
    52,
    54,
    56,
    57,
    58,
)

#: Point of the head that each centering looks at, in the units of `HEAD_POINTS_3D`.
CENTERS_3D: dict[str, tuple[float, float, float]] = {
    "legacy": (0.0, 0.0, 0.0),
    "head": (0.0, 0.0, -2.3),
    "face": (0.0, -1.5, 4.2),
}

#: Camera that sees the unit square: focal length 4, center (0.5, 0.5).
CAMERA = _array(
    [
        (4.0, 0.0, 0.5),
        (0.0, 4.0, 0.5),
        (0.0, 0.0, 1.0),
    ]
)

#: Masks that are drawn from landmarks.
DRAWN_MASKS = ("components", "extended")
#: Masks that are stored in face headers under these names.
STORED_MASKS = (
    "bisenet-fp_face",
    "bisenet-fp_head",
    "custom_face",
    "custom_head",
    "unet-dfl",
    "vgg-clear",
    "vgg-obstructed",
)

#: Landmark ranges ``(start, end)`` whose joint convex hull is one part of the face mask.
FACE_MASK_PARTS: tuple[tuple[tuple[int, int], ...], ...] = (
    ((0, 9), (17, 18)),
    ((8, 17), (26, 27)),
    ((17, 20), (8, 9)),
    ((24, 27), (8, 9)),
    ((19, 25), (8, 9)),
    ((17, 22), (27, 28), (31, 36), (8, 9)),
    ((22, 27), (27, 28), (31, 36), (8, 9)),
    ((27, 31), (31, 36)),
)

RIGHT_EYE, LEFT_EYE, MOUTH = ((36, 42), (42, 48), (48, 60))

#: For each of the 68 landmarks the one whose place it takes in a mirrored picture. Mirrored, a left
#: eye is a right eye, and a contour that was numbered from left to right runs from right to left:
#: points must be renumbered, so that each number still names the same part of the face.
MIRROR_68 = (
    *range(16, -1, -1),  # jaw
    *range(26, 16, -1),  # brows
    *range(27, 31),  # bridge of the nose
    *range(35, 30, -1),  # nostrils
    *(45, 44, 43, 42, 47, 46),  # right eye: upper lid from the outer corner, then lower lid
    *(39, 38, 37, 36, 41, 40),  # left eye: upper lid from the inner corner, then lower lid
    *range(54, 47, -1),  # outer lips, upper edge
    *range(59, 54, -1),  # outer lips, lower edge
    *range(64, 59, -1),  # inner lips, upper edge
    *range(67, 64, -1),  # inner lips, lower edge
)

#: For each of the 68 landmarks the one of 98 (WFLW scheme) that is used for it.
MAP_98_TO_68 = (
    0,
    2,
    4,
    6,
    8,
    10,
    12,
    14,
    16,
    18,
    20,
    22,
    24,
    26,
    28,
    30,
    32,
    33,
    34,
    35,
    36,
    37,
    42,
    43,
    44,
    45,
    46,
    51,
    52,
    53,
    54,
    55,
    56,
    57,
    58,
    59,
    60,
    61,
    63,
    64,
    65,
    67,
    68,
    69,
    71,
    72,
    73,
    75,
    76,
    77,
    78,
    79,
    80,
    81,
    82,
    83,
    84,
    85,
    86,
    87,
    88,
    89,
    90,
    91,
    92,
    93,
    94,
    95,
)
