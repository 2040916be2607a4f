"""``fs bench``: what this machine does, beside what it could do.

`timing` takes durations of things in turn; `machine`, `steps`, `swaps`, `feeding`, `saving`,
`starting` and `watching` measure one subject each; `counting` counts a network's work; `report`
shows what was found.
"""

from __future__ import annotations
