"""Find the model file of a folder and its format."""

from __future__ import annotations

from pathlib import Path

import attrs
from fs_kernel.errors import ModelFolderError

SUFFIXES = (".keras", ".h5")
#: Files of the first generation, which kept every sub-model in a file of its own.
_OLDEST = {"encoder", "decoder", "decoder_A", "decoder_B"}


@attrs.frozen
class ModelFile:
    """A model file and the state file beside it, which need not exist."""

    path: Path

    @property
    def state_path(self) -> Path:
        return self.path.with_name(f"{self.path.stem}_state.json")

    @property
    def is_keras_2(self) -> bool:
        return self.path.suffix.lower() == ".h5"


def find(old: Path) -> ModelFile:
    """Return the model file at a path.

    Args:
        old: a model file, or a folder with one.

    Raises:
        ModelFolderError: there is none, or more than one.
    """
    if old.is_file():
        if old.suffix.lower() not in SUFFIXES:
            raise ModelFolderError(f"{old} is none of the files that can be adopted: .keras, .h5")
        return ModelFile(old)
    if not old.is_dir():
        raise ModelFolderError(f"there is no {old}")
    files = [p for p in sorted(old.iterdir()) if p.suffix.lower() in SUFFIXES and p.is_file()]
    files = [p for p in files if not p.stem.endswith("_inference")]
    stems = {path.stem for path in files}
    if stems & _OLDEST:
        raise ModelFolderError(
            f"{old} holds a model of the first generation, in several files; these are not read"
        )
    if not files and any(old.glob("*_SAEHD_*")):
        raise ModelFolderError(
            f"{old} holds a DeepFaceLab model; its files are pickles, which can run code when they "
            "are opened, and are not read"
        )
    if not files:
        raise ModelFolderError(f"{old} holds no model file (.keras or .h5)")
    if len(stems) > 1:
        names = ", ".join(path.name for path in files)
        raise ModelFolderError(f"{old} holds several models ({names}); name the file")
    # faceswap opens the newer format where one model has both.
    return ModelFile(min(files, key=lambda path: SUFFIXES.index(path.suffix.lower())))
