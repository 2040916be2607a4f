"""The values that cross the hooks: records, and the protocols of objects that plugins hand over.

Nothing here does anything. Importing this package imports neither torch nor keras.

Conventions used throughout: pictures are channels-last ``(n, h, w, c)``, float32, 0..1, in the
network's color order; a *side* is one of the identities being trained ("a", "b", ...) and sides
are always an ordered list; a *step* is one optimization step, numbered from 1 over the whole life
of a model, whatever the session.
"""

from fs_kernel.types.data import (
    Batch,
    BatchMeta,
    Face,
    FaceIterator,
    Feed,
    FeedSpec,
    Preview,
    PreviewFaces,
    Sampler,
)
from fs_kernel.types.events import (
    BadStep,
    Finished,
    Metrics,
    Observer,
    RunInfo,
    Saved,
    StopReason,
)
from fs_kernel.types.network import (
    ColorOrder,
    Forward,
    Network,
    NetworkSpec,
    Output,
    OutputKind,
    Side,
)
from fs_kernel.types.run import AddOn, ProcessGroup, Run, Trial
from fs_kernel.types.training import (
    BatchLoss,
    DeferredTensor,
    LossContext,
    LossFunction,
    LossPart,
    LossTerms,
    Objective,
    StateWriter,
    StepResult,
    Trainer,
    Tree,
)

__all__ = [
    "AddOn",
    "BadStep",
    "Batch",
    "BatchLoss",
    "BatchMeta",
    "ColorOrder",
    "DeferredTensor",
    "Face",
    "FaceIterator",
    "Feed",
    "FeedSpec",
    "Finished",
    "Forward",
    "LossContext",
    "LossFunction",
    "LossPart",
    "LossTerms",
    "Metrics",
    "Network",
    "NetworkSpec",
    "Objective",
    "Observer",
    "Output",
    "OutputKind",
    "Preview",
    "PreviewFaces",
    "ProcessGroup",
    "Run",
    "RunInfo",
    "Sampler",
    "Saved",
    "Side",
    "StateWriter",
    "StepResult",
    "StopReason",
    "Trainer",
    "Tree",
    "Trial",
]
