"""The feed of arrays, which can be slow, break down, or give pictures that are no numbers."""

import time

import attrs
from fs_kernel import FacesError, hookimpl, option
from fs_kernel.testing.plugins import ArrayFaces


@attrs.frozen
class MoodyOptions:
    pause: float = option(0.0, "Seconds before each batch.")
    breaks_at: int = option(0, "The step whose second face cannot be used.")
    poison_at: int = option(0, "The step whose second face is no number.")


class MoodyFaces(ArrayFaces):
    def __init__(self, spec, options):
        super().__init__(spec)
        self._options = options

    def next(self):
        time.sleep(self._options.pause)
        holds = 1 in self._spec.local_indices
        batch = super().next()
        if holds and batch.step == self._options.breaks_at:
            raise FacesError("face 1 of side A cannot be used")
        if holds and batch.step == self._options.poison_at:
            batch.inputs["a"].fill_(float("nan"))
        return batch


@hookimpl
def config_defaults():
    return {"feed.moody_feed": MoodyOptions}


@hookimpl
def open_feed(folders, spec, config):
    return MoodyFaces(spec, config["feed.moody_feed"])
