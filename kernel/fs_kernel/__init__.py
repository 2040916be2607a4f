"""A small kernel that trains face-swap autoencoders and knows nothing about any of them.

Plugin authors need `hookimpl`, `option`, `Network`, `Output`, `NetworkSpec` and the error types;
scripts and notebooks need `open_run`. Importing this package imports neither torch nor keras.
"""

from fs_kernel._lazy import lazy_exports

__version__ = "0.1.0"
__getattr__ = lazy_exports(__name__)
