"""Implement ``fs bench``: measure this machine and compare it with its limits.

`timing` measures durations in turn; `machine`, `steps`, `swaps`, `feeding`, `saving`,
`starting` and `watching` measure one subject each; `counting` counts a network's work; `report`
writes the results.
"""

from __future__ import annotations
