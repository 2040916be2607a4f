"""Swap folders of faces with a trained model: ``fs swap``."""

from fs_swap.folder import swap_folder

__all__ = ["swap_folder"]
