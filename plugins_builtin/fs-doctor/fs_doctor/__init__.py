"""Implement ``fs doctor``: check a machine before it trains.

Nothing here imports torch, Keras or OpenCV: a subprocess does, so that the command works where they
are broken.
"""

from __future__ import annotations
