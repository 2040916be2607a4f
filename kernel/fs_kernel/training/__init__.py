"""Training runs: what was asked for, what follows from it, and the loop."""

from fs_kernel._lazy import lazy_exports

__getattr__ = lazy_exports(__name__)
