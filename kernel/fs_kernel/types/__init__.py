"""The values that cross the hooks: records, and the protocols of objects that plugins hand over.

Nothing here does anything. Importing this package imports neither torch nor keras.

Conventions used throughout: pictures are channels-last ``(n, h, w, c)``, float32, 0..1, in the
network's color order; a *side* is one of the identities being trained ("a", "b", ...) and sides
are always an ordered list; a *step* is one optimization step, numbered from 1 over the whole life
of a model, in every session.
"""

from fs_kernel._lazy import lazy_exports

__getattr__ = lazy_exports(__name__)
