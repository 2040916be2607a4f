"""Measures how well a network rebuilds faces that it is not trained on."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import attrs
from fs_kernel import ConfigError, Interval, hookimpl, option

SECTION = "addon.heldout"


@attrs.frozen
class Options:
    """Section ``[addon.heldout]``."""

    faces: str = option("", "Folder of faces of one side that are kept out of training.")
    side: str = option("a", "Whose faces they are.")
    interval: Interval = option(Interval(steps=500), "How often to measure.")
    count: int = option(16, "How many faces to use.", minimum=1, maximum=1000)


class HeldOut:
    """Reports ``psnr_heldout`` in decibels; higher is better."""

    def __init__(self, run):
        self._run = run
        self._options = run.config[SECTION]
        self._faces = None
        self.evaluation_interval = self._options.interval

    def before_training(self):
        """Read the faces once, as the network wants them."""
        import numpy as np
        import torch

        found = self._run.read_faces(Path(self._options.faces), self._options.side)
        images = [face.image for face in islice(found, self._options.count)]
        self._faces = torch.from_numpy(np.stack(images))

    def evaluate(self):
        """Rebuild the faces with the weights of now."""
        import torch
        from torch.nn.functional import interpolate

        side = self._options.side
        rebuilt, _ = self._run.swapper(side, side)(self._faces)
        rebuilt = torch.from_numpy(rebuilt).movedim(-1, 1)
        wanted = self._faces[..., :3].movedim(-1, 1)
        wanted = interpolate(wanted, rebuilt.shape[2:], mode="bilinear", antialias=True)
        error = (rebuilt - wanted).square().mean((1, 2, 3)).clamp(min=1e-10)
        return {"psnr_heldout": float((-10 * error.log10()).mean())}


@hookimpl
def config_defaults():
    return {SECTION: Options}


@hookimpl
def check_options(config):
    folder = config[SECTION].faces
    if folder and not Path(folder).is_dir():
        raise ConfigError(f"{SECTION}.faces: there is no folder {folder}")


@hookimpl
def create_addon(run):
    return HeldOut(run) if run.config[SECTION].faces else None
