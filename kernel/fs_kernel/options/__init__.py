"""Options: how they are declared, where their values come from, and how they are checked.

Plugins declare them with `option`; `resolve` makes a run's `Config` from its sources.
"""

from fs_kernel._lazy import lazy_exports

__getattr__ = lazy_exports(__name__)
