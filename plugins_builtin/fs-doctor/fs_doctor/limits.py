"""Read the limits of a container or a scheduler from Linux control groups, versions 1 and 2."""

from __future__ import annotations

from collections.abc import Iterator

from fs_doctor.probes import Probes

#: Above this, version 1 means "no limit".
_NONE = 2**60


def processor_limit(probes: Probes) -> float | None:
    """Return the allowed processor time per second, in processors; None for no limit."""
    limits = []
    for folder in _folders(probes, "cpu"):
        quota, _, period = (probes.read(f"{folder}/cpu.max") or "").partition(" ")
        if not period:
            quota = probes.read(f"{folder}/cpu.cfs_quota_us") or ""
            period = probes.read(f"{folder}/cpu.cfs_period_us") or ""
        if quota.isdigit() and period.isdigit() and int(period):
            limits.append(int(quota) / int(period))
    return min(limits, default=None)


def memory_limit(probes: Probes) -> int | None:
    """Return the allowed bytes of main memory; None for no limit."""
    limits = []
    for folder in _folders(probes, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            text = probes.read(f"{folder}/{name}") or ""
            if text.isdigit() and int(text) < _NONE:
                limits.append(int(text))
    return min(limits, default=None)


def _folders(probes: Probes, controller: str) -> Iterator[str]:
    """Yield the folders of this process's groups and of all groups around them.

    In a container the path in ``/proc/self/cgroup`` may be the host's; the mounted root is then
    the process's own group, so it is always among them.
    """
    for line in (probes.read("proc/self/cgroup") or "").splitlines():
        number, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if number == "0" and not names:
            mount = "sys/fs/cgroup"
        elif controller in names.split(","):
            mount = f"sys/fs/cgroup/{controller}"
        else:
            continue
        parts = [part for part in path.split("/") if part and part != ".."]
        for depth in range(len(parts), -1, -1):
            yield "/".join([mount, *parts[:depth]])
