"""Find the GPUs, and warn of what a user should know of them."""

from __future__ import annotations

import warnings

import torch

#: Below this share of the largest GPU's memory or cores torch speaks of an imbalance.
_ALIKE = 0.75


def visible(device: torch.device) -> list[torch.device]:
    """Return the GPUs that share a batch: all that are visible, the run's own first.

    Args:
        device: the run's.

    Returns:
        An empty list if the run's device is not a GPU.
    """
    if device.type != "cuda":
        return []
    first = device.index or 0
    numbers = [first, *(n for n in range(torch.cuda.device_count()) if n != first)]
    return [torch.device("cuda", number) for number in numbers]


def fitting_batch(batch_size: int, count: int) -> int:
    """Return a batch size of which every GPU has a part; warn if it is another or a bad one.

    Args:
        batch_size: faces per side that were asked for.
        count: GPUs.
    """
    if batch_size < count:
        warnings.warn(
            f"a batch of {batch_size} is smaller than the number of GPUs: it is {count} now, one "
            "face per side for each",
            stacklevel=2,
        )
        return count
    if batch_size % count:
        below = batch_size - batch_size % count
        warnings.warn(
            f"a batch of {batch_size} cannot be shared evenly by {count} GPUs, so some of them "
            f"wait for the others; use -b {below} or -b {below + count}",
            stacklevel=2,
        )
    return batch_size


def warn_of_unequal(gpus: list[torch.device]) -> None:
    """Warn, once, if a GPU has much less memory or far fewer cores than the best."""
    properties = {gpu.index: torch.cuda.get_device_properties(gpu) for gpu in gpus}
    for what, unit in (("total_memory", "memory"), ("multi_processor_count", "cores")):
        values = {n: getattr(p, what) for n, p in properties.items()}
        worst, best = min(values, key=values.__getitem__), max(values, key=values.__getitem__)
        if values[worst] < _ALIKE * values[best]:
            others = ",".join(str(n) for n in sorted(values) if n != worst)
            warnings.warn(
                f"GPU {worst} has {values[worst] / values[best]:.0%} of the {unit} of GPU {best}; "
                "each gets the same share of a batch, so the smaller one sets the pace. To leave "
                f"it out: CUDA_VISIBLE_DEVICES={others}",
                stacklevel=2,
            )
            return
