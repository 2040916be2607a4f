"""Model folders and their files: checkpoints, state, lock, history of losses, atomic writes.

The names below are public. Each is imported when it is first asked for, so that a command which
only writes a file does not load torch.
"""

from fs_kernel._lazy import lazy_exports

__getattr__ = lazy_exports(__name__)
