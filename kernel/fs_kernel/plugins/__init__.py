"""Plugins: found by metadata, loaded by name, and called through the typed roles of their kinds."""

from fs_kernel._lazy import lazy_exports

__getattr__ = lazy_exports(__name__)
