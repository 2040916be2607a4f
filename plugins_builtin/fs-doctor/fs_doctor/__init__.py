"""``fs doctor``: look a machine over before it trains.

Nothing here imports torch, Keras or OpenCV: a process of its own does, so that the command works
where they are broken.
"""

from __future__ import annotations
