"""Find NVIDIA cards and their driver as the system reports them, independently of torch."""

from __future__ import annotations

import attrs

from fs_doctor.probes import Probes

_VENDOR = "0x10de"
#: PCI class 0x03: display controllers.
_DISPLAY = "0x03"


@attrs.frozen
class Nvidia:
    """The NVIDIA hardware of a machine.

    Attributes:
        cards: their names; "NVIDIA card" for one that only the PCI bus reports.
        driver: version of the driver, if ``nvidia-smi`` reports it.
        error: the error of ``nvidia-smi``.
    """

    cards: tuple[str, ...]
    driver: str | None = None
    error: str | None = None

    @property
    def branch(self) -> int | None:
        """The driver's branch: 550 for 550.54.15."""
        first = (self.driver or "").split(".")[0]
        return int(first) if first.isdigit() else None


def find_nvidia(probes: Probes) -> Nvidia | None:
    """Return the cards that ``nvidia-smi`` reports, or else the PCI bus.

    Returns:
        None if there is no sign of a card.
    """
    asked = probes.run("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader")
    if asked is not None and asked.code == 0:
        rows = [line.rpartition(",") for line in asked.output.splitlines() if "," in line]
        if rows:
            return Nvidia(tuple(name.strip() for name, _, _ in rows), rows[0][2].strip())
    on_bus = _on_bus(probes)
    if asked is not None and asked.code != 0 and on_bus:
        said = [*asked.output.strip().splitlines(), asked.last_line]
        return Nvidia(on_bus, error=next((line for line in said if line), "no answer"))
    return Nvidia(on_bus) if on_bus else None


def _on_bus(probes: Probes) -> tuple[str, ...]:
    folder = probes.root / "sys/bus/pci/devices"
    try:
        names = sorted(path.name for path in folder.iterdir())
    except OSError:
        return ()
    cards = []
    for name in names:
        vendor = probes.read(f"sys/bus/pci/devices/{name}/vendor")
        kind = probes.read(f"sys/bus/pci/devices/{name}/class") or ""
        if vendor == _VENDOR and kind.startswith(_DISPLAY):
            cards.append("NVIDIA card")
    return tuple(cards)
