"""Networks as the kernel sees them: built, named weight by weight, written, read and cut.

Each name is imported when it is first asked for; importing this package imports neither torch nor
keras.
"""

from fs_kernel._lazy import lazy_exports

__getattr__ = lazy_exports(__name__)
