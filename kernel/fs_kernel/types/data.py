"""Records for making, drawing and writing faces: feeds, samplers and previews."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import attrs

from fs_kernel.types.network import ColorOrder, Output, Side

if TYPE_CHECKING:
    import numpy as np
    import torch

#: A pytree that a checkpoint can hold: nested dicts with text keys and lists of torch tensors,
#: numpy arrays and JSON scalars. Tuples come back as lists.
Tree: TypeAlias = Any


@attrs.frozen
class FeedSpec:
    """Describe what the run needs from a feed.

    Attributes:
        input_shapes: per side, as in `NetworkSpec`.
        color_order: channel order of every picture in a batch.
        outputs: the network's outputs; a target is needed for each "face" and "mask".
        fields: what else each batch must hold: the union of what ``required_fields`` of trainer,
            losses and objectives returned.
        batch_size: pictures per side per step, over all processes.
        seed: key of all randomness of the data path.
        local_indices: the places of the global batch that this process draws,
            ``range(batch_size)`` unless several processes share a batch.
        device: where the network is trained, "cpu" or "cuda:0"; a feed may make its batches there.
    """

    input_shapes: Mapping[Side, tuple[int, int, int]]
    color_order: ColorOrder
    outputs: tuple[Output, ...]
    fields: frozenset[str]
    batch_size: int
    seed: int
    local_indices: range
    device: str = "cpu"

    @property
    def sides(self) -> tuple[Side, ...]:
        """The sides, in order."""
        return tuple(self.input_shapes)

    @property
    def masks(self) -> frozenset[str]:
        """The names of the masks among ``fields``."""
        return self.fields - {"landmarks"}


@attrs.frozen
class BatchMeta:
    """Hold what belongs to a batch besides pictures.

    Attributes:
        indices: per side, which faces these are, ``(n,)`` int64 into the feed's list.
        masks: ``masks[side][name][size]`` is ``(n, size, size, 1)`` float32 0..1, for every mask
            that was asked for (and that the faces have) at every face output size of the side.
        landmarks: if "landmarks" was asked for, per side ``(n, 68, 2)`` float32: x and y of each
            point in the target pictures, after augmentation, as shares of their edge (0..1 inside
            the picture); a side whose faces have none is missing.
    """

    indices: Mapping[Side, np.ndarray]
    masks: Mapping[Side, Mapping[str, Mapping[int, torch.Tensor]]]
    landmarks: Mapping[Side, torch.Tensor] = attrs.field(factory=dict)


@attrs.frozen
class Batch:
    """Hold the data of one step.

    Attributes:
        step: the step this batch is for.
        inputs: per side ``(n, h, w, c)``: augmented and warped.
        targets: per side, one entry per output of that side in network order:
            ``(n, size, size, 3)`` for a face, ``(n, size, size, 1)`` for a mask, None for aux.
        meta: masks, landmarks and indices.
    """

    step: int
    inputs: Mapping[Side, torch.Tensor]
    targets: Mapping[Side, Sequence[torch.Tensor | None]]
    meta: BatchMeta


@attrs.frozen
class PreviewFaces:
    """Hold a fixed choice of faces to look at, without augmentation.

    Attributes:
        inputs: per side ``(n, h, w, c)`` float32 0..1, what the network is fed.
        faces: per side ``(n, H, W, 3)`` uint8 BGR, the same faces with their surroundings.
        boxes: per side ``(n, 4)`` int: left, top, right, bottom of the network's view, which lies
            inside ``faces``.
        masks: per side ``(n, H, W)`` uint8 (255 = face) or None where there is no mask.
    """

    inputs: Mapping[Side, torch.Tensor]
    faces: Mapping[Side, np.ndarray]
    boxes: Mapping[Side, np.ndarray]
    masks: Mapping[Side, np.ndarray | None]


@attrs.frozen
class Preview:
    """Hold what observers draw: the faces and what the network makes of them.

    Attributes:
        step: training steps done.
        faces: as the feed gave them.
        swaps: ``swaps[source, target]`` is ``(n, h, w, 3)`` uint8 BGR: faces of side ``source``
            through the decoder of side ``target``, at the largest face output.
        masks: the learned masks in the same way, ``(n, h, w)`` uint8, or empty.
    """

    step: int
    faces: PreviewFaces
    swaps: Mapping[tuple[Side, Side], np.ndarray]
    masks: Mapping[tuple[Side, Side], np.ndarray]


@attrs.define(eq=False)
class Face:
    """Hold one face to be swapped, between a feed's ``read_faces`` and ``write_face``.

    Attributes:
        name: file name, unique in its folder.
        image: ``(h, w, c)`` float32 0..1 in the network's color order, what the network is fed.
        origin: what the feed needs to put the result back; opaque to everything else.
    """

    name: str
    image: np.ndarray
    origin: Any


class Sampler(Protocol):
    """Decide which faces a step sees. Made by the trainer, drawn from by the feed."""

    def draw(self, step: int) -> Mapping[Side, np.ndarray]:
        """Return the indices of the faces for ``step``, per side ``(batch_size,)`` int64.

        Depends only on the step, the seed, and on losses of steps before ``step - delay``: feeds
        draw ahead, and losses are read late.
        """

    def update(
        self, step: int, indices: Mapping[Side, np.ndarray], losses: Mapping[Side, np.ndarray]
    ) -> None:
        """Take in the loss of each face of a finished step (only if the trainer reports them)."""

    def state_dict(self) -> Tree:
        """Return what `load_state_dict` needs to continue exactly."""

    def load_state_dict(self, state: Tree) -> None:
        """Continue from `state_dict`'s result."""


class Feed(Protocol):
    """Make batches from the faces it has opened; what the hook ``open_feed`` returns.

    Two more attributes are optional: ``face_attributes``, what is known of each face for samplers,
    per side ``{name: (faces,)}`` ("yaw" is the head's turn in degrees), and
    ``on_options_changed(config)``, called when options marked ``live`` have changed; `start`
    follows.
    """

    @property
    def sizes(self) -> Mapping[Side, int]:
        """Usable faces per side."""

    @property
    def warnings(self) -> Sequence[str]:
        """Lines the user should read once (skipped files, missing headers)."""

    @property
    def fingerprint(self) -> str:
        """A short hash of what the faces are, for ``run.json``."""

    @property
    def prefetch(self) -> int:
        """How many steps are drawn ahead."""

    def start(self, sampler: Sampler, step: int) -> None:
        """Start to prepare batches; the first `next` returns the batch of ``step``.

        May be called again: what was prepared is dropped, and batches start again at ``step``.
        """

    def next(self) -> Batch:
        """Return the next batch, on the CPU or on ``FeedSpec.device``."""

    def preview(self, count: int) -> PreviewFaces:
        """Return ``count`` faces per side (or all there are), the same at every call."""

    def close(self) -> None:
        """Stop workers and close files. Safe to call more than once."""


#: Faces one by one, as they are read; it is closed when it is no longer needed.
FaceIterator: TypeAlias = Iterator[Face]
