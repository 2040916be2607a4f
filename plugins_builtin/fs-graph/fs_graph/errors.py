"""The one error of this package."""

from __future__ import annotations


class GraphError(ValueError):
    """A graph cannot be read, or a model cannot be written so that it could be.

    Args:
        problem: what is wrong, to follow the name of the file or the model: "holds a Lambda layer,
            ...; refused".
        layer: path of the layer, if one is known.
        mend: what to change about that layer, for the author of the model: "is a Lambda, ...;
            write it as a Layer class".
    """

    def __init__(self, problem: str, layer: str = "", mend: str = "") -> None:
        super().__init__(problem)
        self.layer, self.mend = layer, mend
