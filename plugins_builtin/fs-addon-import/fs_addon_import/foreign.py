"""The results of reading a foreign model file: the network and its optimizer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import numpy as np


@attrs.frozen
class ForeignNetwork:
    """A network as its file holds it, rewritten as a graph of the current Keras.

    Attributes:
        config: the serialized root Functional, as ``keras.saving.serialize_keras_object`` writes
            one: only classes that the kernel's graph check allows (plain Keras, fs-nn's, and those
            the model plugin names in ``custom_objects``).
        weights: every variable by its stable name (see `fs_kernel.networks.weights`), float32, of
            the shape the graph gives it.
        notes: lines for the user about what was rewritten.
    """

    config: Mapping[str, Any]
    weights: Mapping[str, np.ndarray]
    notes: tuple[str, ...] = ()


@attrs.frozen
class ForeignOptimizer:
    """Moments and counters of the optimizer that trained a foreign network.

    Attributes:
        name: as this project's entry points name it ("adam", "rms-prop", ...).
        step: updates done.
        slots: ``{weight name: {slot: array}}``, slots by torch's names ("exp_avg", "exp_avg_sq").
        scaler: state of the loss scaler, as torch's ``GradScaler.state_dict`` returns it, or None.
        settings: hyper-parameters the file gives (learning rate, betas, epsilon).
    """

    name: str
    step: int
    slots: Mapping[str, Mapping[str, np.ndarray]]
    scaler: Mapping[str, Any] | None = None
    settings: Mapping[str, Any] = attrs.field(factory=dict)
