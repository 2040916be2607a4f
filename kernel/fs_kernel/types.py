"""The values that cross the hooks.

Nothing here does anything: these are records, and the protocols of the few objects that plugins
hand to the kernel. Importing this module imports neither torch nor keras.

Conventions used throughout: pictures are channels-last ``(n, h, w, c)``, float32, 0..1, in the
network's colour order; a *side* is one of the identities being trained ("a", "b", ...) and sides
are always an ordered list; a *step* is one optimisation step, numbered from 1 over the whole life
of a model, whatever the session.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

import attrs

if TYPE_CHECKING:
    import keras
    import numpy as np
    import torch

    from fs_kernel.options.sources import Config

Side: TypeAlias = str
ColorOrder = Literal["bgr", "rgb"]
OutputKind = Literal["face", "mask", "aux"]
#: Runs a network: ``forward({side: (n, h, w, c)}, training=True)`` gives its outputs, flat, in the
#: order of ``Network.outputs``. Inputs must lie on the run's device.
#: A lowered network shows in two attributes. ``module`` is a ``torch.nn.Module``, called with
#: one picture per side, in the order of the sides, and gives the same list; it trains if
#: ``module.training``. Its parameters are the network's own, read at each call, so that whoever
#: replaces them (a shard, a replica) changes the result, but for the parts in ``module.fallbacks``
#: (names; empty if there are none). ``module.sub_models`` has the sub-models by name.
Forward: TypeAlias = "Callable[..., list[torch.Tensor]]"
#: Nested dict / list of torch tensors, numpy arrays and JSON scalars: what a checkpoint can hold.
Tree: TypeAlias = Any


@attrs.frozen(eq=False)
class Settled:
    """A tensor in a tree that need not be copied before training goes on.

    Attributes:
        tensor: gives it, contiguous, on the CPU and never changed; called while training goes on,
            in the thread that writes. May raise OSError.
    """

    tensor: Callable[[], torch.Tensor]


# --- networks ------------------------------------------------------------------------------------


@attrs.frozen
class NetworkSpec:
    """What a network takes in, known before it is built.

    Attributes:
        input_shapes: ``(height, width, channels)`` per side; the order of the keys is the order of
            the sides and of the model's inputs.
        color_order: channel order the network was designed for.
    """

    input_shapes: Mapping[Side, tuple[int, int, int]]
    color_order: ColorOrder = "bgr"


@attrs.frozen
class Output:
    """One output tensor of a network.

    Attributes:
        side: the side whose decoder gives it.
        kind: "face" ``(n, size, size, 3)``, "mask" ``(n, size, size, 1)`` or "aux" (no target).
        size: edge length in pixels (0 for "aux").
    """

    side: Side
    kind: OutputKind
    size: int


def _read_only(owned: Mapping[str, Any]) -> Mapping[str, Any]:
    return MappingProxyType(dict(owned))


@attrs.define(eq=False)
class Network:
    """A built network.

    A model plugin gives ``model`` and ``outputs``; the kernel fills in the rest.

    Attributes:
        model: one input per side, in the order of the sides; its outputs, flat.
        outputs: what each of ``model.outputs`` is, in the same order.
        owned: networks that a trainer or an objective owns, by name: trained and saved, never
            swapped or exported (discriminators).
        sides: the sides in the order of ``model.inputs``.
        color_order: channel order of inputs and face outputs.
        mixed_layers: paths of the layers that follow ``training.precision``.
    """

    model: keras.Model
    outputs: Sequence[Output]
    owned: Mapping[str, keras.Model | torch.nn.Module] = attrs.field(
        factory=dict, converter=_read_only
    )
    sides: tuple[Side, ...] = ()
    color_order: ColorOrder = "bgr"
    mixed_layers: tuple[str, ...] = ()

    def outputs_of(self, side: Side) -> list[tuple[int, Output]]:
        """The outputs of one side as ``(position in model.outputs, Output)``, in order."""
        return [(i, output) for i, output in enumerate(self.outputs) if output.side == side]


# --- data ----------------------------------------------------------------------------------------


@attrs.frozen
class FeedSpec:
    """What the run needs from a feed.

    Attributes:
        input_shapes: per side, as in `NetworkSpec`.
        color_order: channel order of every picture in a batch.
        outputs: the network's outputs; a target is needed for each "face" and "mask".
        masks: names of the masks the trainer asked for, out of "face", "eye", "mouth".
        batch_size: pictures per side per step, over all processes.
        seed: key of all randomness of the data path.
        slots: the places of the global batch that this process draws, ``range(batch_size)`` unless
            several processes share a batch.
        device: where the network is trained, "cpu" or "cuda:0"; a feed may make its batches there.
    """

    input_shapes: Mapping[Side, tuple[int, int, int]]
    color_order: ColorOrder
    outputs: tuple[Output, ...]
    masks: frozenset[str]
    batch_size: int
    seed: int
    slots: range
    device: str = "cpu"

    @property
    def sides(self) -> tuple[Side, ...]:
        """The sides, in order."""
        return tuple(self.input_shapes)


@attrs.frozen
class BatchMeta:
    """What belongs to a batch besides pictures.

    Attributes:
        indices: per side, which faces these are, ``(n,)`` int64 into the feed's list.
        masks: ``masks[side][name][size]`` is ``(n, size, size, 1)`` float32 0..1, for every mask
            the trainer asked for (and the faces have) at every face output size of the side.
    """

    indices: Mapping[Side, np.ndarray]
    masks: Mapping[Side, Mapping[str, Mapping[int, torch.Tensor]]]


@attrs.frozen
class Batch:
    """The data of one step.

    Attributes:
        step: the step this batch is for.
        inputs: per side ``(n, h, w, c)``: augmented and warped.
        targets: per side, one entry per output of that side in network order:
            ``(n, size, size, 3)`` for a face, ``(n, size, size, 1)`` for a mask, None for aux.
        meta: masks and indices.
    """

    step: int
    inputs: Mapping[Side, torch.Tensor]
    targets: Mapping[Side, Sequence[torch.Tensor | None]]
    meta: BatchMeta


@attrs.frozen
class PreviewFaces:
    """A fixed choice of faces to look at, without augmentation.

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
    """What observers get to draw: the faces and what the network makes of them.

    Attributes:
        step: training steps done.
        faces: as the feed gave them.
        swaps: ``swaps[source, target]`` is ``(n, h, w, 3)`` uint8 BGR: faces of side ``source``
            through the decoder of side ``target``, at the largest face output.
        masks: the learnt masks in the same way, ``(n, h, w)`` uint8, or empty.
    """

    step: int
    faces: PreviewFaces
    swaps: Mapping[tuple[Side, Side], np.ndarray]
    masks: Mapping[tuple[Side, Side], np.ndarray]


@attrs.define(eq=False)
class Face:
    """One face to be swapped, between a feed's ``read_faces`` and ``write_face``.

    Attributes:
        name: file name, unique in its folder.
        image: ``(h, w, c)`` float32 0..1 in the network's colour order, what the network is fed.
        origin: whatever the feed needs to put the result back; nobody else looks inside.
    """

    name: str
    image: np.ndarray
    origin: Any


class Sampler(Protocol):
    """Decides which faces a step sees. Made by the trainer, drawn from by the feed."""

    def draw(self, step: int) -> Mapping[Side, np.ndarray]:
        """Indices of the faces for ``step``, per side ``(batch_size,)`` int64.

        Depends only on the step, the seed, and on losses of steps before ``step - lag``: feeds
        draw up to ``lag`` steps ahead.
        """

    def update(
        self, step: int, indices: Mapping[Side, np.ndarray], losses: Mapping[Side, np.ndarray]
    ) -> None:
        """Hear the loss of each face of a finished step (only if the trainer reports them)."""

    def state_dict(self) -> Tree:
        """What `load_state_dict` needs to go on exactly."""

    def load_state_dict(self, state: Tree) -> None:
        """Go on from `state_dict`'s result."""


class Feed(Protocol):
    """An open source of batches."""

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
    def lag(self) -> int:
        """How many steps are drawn ahead."""

    def start(self, sampler: Sampler, step: int) -> None:
        """Begin to prepare batches; the first `next` gives the batch of ``step``.

        May be called again: what was prepared is dropped, and batches begin at ``step`` anew.
        """

    def next(self) -> Batch:
        """The next batch, on the CPU or on ``FeedSpec.device``."""

    def preview(self, count: int) -> PreviewFaces:
        """``count`` faces per side (fewer if there are fewer), the same at every call."""

    def close(self) -> None:
        """Stop workers and let go of files. May be called twice."""


class FeedExtras(Protocol):
    """What a `Feed` may have besides; the kernel looks for each."""

    @property
    def facts(self) -> Mapping[Side, Mapping[str, np.ndarray]]:
        """What is known of each face, for samplers: per side ``{name: (faces,)}``.

        "yaw" is the head's turn in degrees.
        """

    def change_options(self, config: Config) -> None:
        """Take over options marked ``live`` that changed; ``Feed.start`` follows."""


# --- training ------------------------------------------------------------------------------------


@attrs.frozen
class LossPart:
    """One loss function on one output.

    Attributes:
        function: name of the loss ("ssim").
        output: which output, e.g. "face_64" or "mask_64".
        weighted: scalar tensor, as it enters the total.
        unweighted: scalar tensor, without its weight.
    """

    function: str
    output: str
    weighted: torch.Tensor
    unweighted: torch.Tensor


@attrs.frozen
class BatchLoss:
    """The loss of one side on one batch: scalars on the device, detached, not yet read.

    Attributes:
        side: which side.
        total: sum of the weighted parts.
        parts: what it is made of.
    """

    side: Side
    total: torch.Tensor
    parts: tuple[LossPart, ...] = ()


@attrs.frozen
class StepResult:
    """What a trainer returns from a step.

    Attributes:
        losses: one per side, in the order of the sides.
        stepped: False while gradients are being accumulated or a step was skipped.
        sample_loss: per side ``(n,)``, for samplers that want it.
        learning_rate: the rate that was used, for those who watch.
    """

    losses: Sequence[BatchLoss]
    stepped: bool = True
    sample_loss: Mapping[Side, torch.Tensor] | None = None
    learning_rate: float | None = None


# --- runs ----------------------------------------------------------------------------------------


@attrs.frozen
class RunInfo:
    """The facts of a session, fixed once training starts.

    ``disk_bytes`` is about what its checkpoints will take on disk, at most.
    """

    model_dir: Path
    model: str
    network_name: str
    trainer: str
    feed: str
    executor: str
    sides: tuple[Side, ...]
    parameters: int
    batch_size: int
    device: str
    precision: str
    seed: int
    session: int
    start_step: int
    target_steps: int
    face_counts: Mapping[Side, int]
    disk_bytes: int = 0


@attrs.frozen
class Metrics:
    """What one or more steps gave, read back from the device.

    Attributes:
        step: the last step covered.
        losses: per side, the total of that step.
        parts: per side, ``{"face_64/ssim": weighted value}`` of that step.
        unweighted: the same without the losses' weights.
        learning_rate: the rate in use, if the trainer says.
        images_per_second: over the steps since the last report, all sides together.
        step_seconds: median duration of those steps.
    """

    step: int
    losses: Mapping[Side, float]
    parts: Mapping[Side, Mapping[str, float]]
    learning_rate: float | None
    images_per_second: float
    step_seconds: float
    unweighted: Mapping[Side, Mapping[str, float]] = attrs.field(factory=dict)


@attrs.frozen
class Saved:
    """A finished save.

    Attributes:
        step: the step it holds.
        generation: its name.
        bytes: its size on disk.
        seconds: from its beginning until it counts.
        pause_seconds: how long training stood still for it.
        average_loss: mean summed loss since the save before, if steps were done.
        snapshot: whether it is kept for good.
    """

    step: int
    generation: str
    bytes: int
    seconds: float
    pause_seconds: float
    average_loss: float | None
    snapshot: bool = False


@attrs.frozen
class BadStep:
    """A step that cannot be kept.

    Attributes:
        step: the bad step.
        reason: one line that names the loss and the first bad weight.
        checkpoint_step: the step of the last good checkpoint; None if there is none.
        rollbacks: how often this session went back already.
    """

    step: int
    reason: str
    checkpoint_step: int | None
    rollbacks: int


@attrs.frozen
class Finished:
    """How a session ended: "target", "stopped", "time", or "failed" with the error's line."""

    reason: str
    step: int
    seconds: float
    error: str | None = None


class Group(Protocol):
    """The processes that share a run, each with its own slots of every batch.

    What several processes do together is done by all of them, in the same order; whoever is missing
    holds up the others until they give up. Values travel from CPU to CPU, so that nobody waits for
    a GPU. A trainer may keep more in its group; it gets it back as ``run.group``.

    Attributes:
        rank: which of them this one is; process 0 decides and writes, and is the only one that
            anybody watches.
        size: how many there are.
        device: where this process computes; None for what ``training.device`` says.
        name: the same in all of them, and after a restart of the group; "" if there is no such.
    """

    rank: int
    size: int
    device: torch.device | None
    name: str

    def largest(self, values: torch.Tensor) -> torch.Tensor:
        """The largest of all processes' values, element by element.

        Args:
            values: on the CPU, of the same shape and type everywhere; it is left as it is.
        """

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """The mean of all processes' values, element by element.

        Args:
            values: floating, on the CPU, of the same shape and type everywhere; it is left as it
                is. One that is no number makes the mean none.
        """

    def gather(self, value: Any) -> list[Any]:
        """Every process's value, in the order of ranks. Any object that can be pickled."""

    def share(self, value: Any) -> Any:
        """The value of process 0; what the others give does not matter."""

    def close(self, failed: bool) -> None:
        """Part.

        Args:
            failed: others may be gone: nothing may be waited for.
        """


class Trial(Protocol):
    """Inside ``with run.trial() as trial``."""

    def step(self) -> Metrics:
        """One step, read back.

        Raises:
            TrainingError: a loss is no finite number.
        """


class Run(Protocol):
    """What trainers and add-ons hold of a run. The engine itself stays out of their reach."""

    info: RunInfo
    network: Network
    device: torch.device
    group: Group

    @property
    def config(self) -> Config:
        """The sections this plugin declared in ``config_defaults``, as they are now."""

    @property
    def step(self) -> int:
        """Steps done so far."""

    def forward(
        self, inputs: Mapping[Side, torch.Tensor], training: bool = True
    ) -> list[torch.Tensor]:
        """Run the network. The only way a trainer may call it, but for `module`."""

    @property
    def module(self) -> torch.nn.Module | None:
        """What runs the lowered network, see `Forward`; None if the executor lowers nothing."""

    def parameters(self) -> dict[str, torch.nn.Parameter]:
        """Trainable weights by their stable name, without those of owned networks."""

    def find(self, kind: Literal["losses", "optimizers"], name: str) -> Any:
        """The object installed under ``fs_kernel.<kind>`` with this name."""

    def get_option(self, name: str) -> Any:
        """The value of an option of any section of the run, as it is now.

        Args:
            name: "section.option".

        Raises:
            ConfigError: there is no such option.
        """

    def set_option(
        self, name: str, value: Any, *, at_step: int | None = None, bounded: bool = True
    ) -> None:
        """Change an option marked ``live`` while the run goes on. Safe from any thread.

        Args:
            name: "section.option", of any section of the run.
            value: as a user would write it.
            at_step: the first step done with it; None for the next one.
            bounded: whether the option's range holds, which binds users but no program.

        Raises:
            ConfigError: there is no such option, it is not live, or the value does not fit.
        """

    def trial(self) -> AbstractContextManager[Trial]:
        """Steps that leave no trace. Only in ``before_training``.

        At the end weights, trainer, sampler, feed, options and randomness are what they were.
        """

    def warn(self, line: str) -> None:
        """Tell everybody who watches what is wrong. Safe from any thread."""

    def note(self, line: str) -> None:
        """Tell everybody who watches what happened. Safe from any thread."""

    def request_stop(self) -> None:
        """Finish the step, save, end. Safe from any thread."""

    def request_save(self) -> None:
        """Save after the current step. Safe from any thread."""

    def request_snapshot(self) -> None:
        """Save after the current step, and keep that generation for good. Any thread."""

    def request_preview(self, count: int = 14) -> None:
        """Make a preview of ``count`` faces per side after the current step. Any thread."""


class Observer(Protocol):
    """Somebody who watches. Every method is optional; each observer has a thread of its own.

    An observer that raises is switched off with one warning, and the run goes on.
    """

    def on_start(self, info: RunInfo) -> None:
        """The run begins."""

    def on_first_batch(self, batch: Batch) -> None:
        """The first batch of the session, on the CPU."""

    def on_metrics(self, metrics: Metrics) -> None:
        """Losses were read back."""

    def on_preview(self, preview: Preview) -> None:
        """A preview was made."""

    def on_checkpoint(self, saved: Saved) -> None:
        """A save is finished and counts."""

    def on_warning(self, message: str) -> None:
        """Something a user should know."""

    def on_note(self, message: str) -> None:
        """Something that happened."""

    def on_finish(self, outcome: Finished) -> None:
        """The run is over; the last event."""


FaceIterator: TypeAlias = Iterator[Face]
