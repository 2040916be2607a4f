"""Check the libraries that compute: torch, its devices and driver, Keras, OpenCV."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fs_kernel.storage import format_bytes

from fs_doctor.finding import Finding, ok, problem, warning
from fs_doctor.libraries import PRECISIONS
from fs_doctor.nvidia import Nvidia

Facts = Mapping[str, Any]
#: Oldest driver branch for programs built with each CUDA. Source: NVIDIA, "CUDA Compatibility",
#: minor version compatibility, table 1.
OLDEST_DRIVER = {13: 580, 12: 525, 11: 450}
CHOOSE = "pick one at pytorch.org/get-started"


def check_torch(facts: Facts) -> Finding:
    """Check that torch can be imported, and report what it was built for.

    Args:
        facts: of `fs_doctor.libraries.torch_facts`, or "error".
    """
    if "error" in facts:
        advice = f"reinstall it: {CHOOSE}"
        if "No module named 'torch'" in facts["error"]:
            advice = f"install torch: {CHOOSE}"
        return problem("torch", facts["error"], advice)
    return ok("torch", f"{facts['version']}, {_build(facts)}")


def check_driver(facts: Facts, nvidia: Nvidia | None, environ: Mapping[str, str]) -> Finding:
    """Check that torch was built for the card and the driver of this machine.

    Args:
        facts: see `check_torch`.
        nvidia: as the system reports it; None without a card.
        environ: environment variables.
    """
    devices = [device["name"] for device in facts.get("devices", [])]
    on_cuda = any(name.startswith("cuda") for name in devices)
    if nvidia is None:
        if facts.get("hip") and on_cuda:
            return ok("driver", f"ROCm {facts['hip']}")
        if on_cuda:
            return ok("driver", "torch reaches the card")
        return ok("driver", "no NVIDIA card, so no driver is needed")
    card = nvidia.cards[0]
    if nvidia.error:
        advice = "reboot if the driver was just updated, else reinstall it"
        return warning("driver", f"{card}: {nvidia.error}", advice)
    if nvidia.driver is None and not on_cuda:
        return warning("driver", f"{card} without a driver", "install NVIDIA's driver")
    found = f"{card}, driver {nvidia.driver or 'unknown'}"
    if "error" in facts or on_cuda:
        return ok("driver", found)
    branch = nvidia.branch or 0
    newest = max((cuda for cuda, least in OLDEST_DRIVER.items() if branch >= least), default=0)
    fitting = f"one for CUDA {newest}" if newest else "one for CUDA"
    if not facts["cuda"]:
        found += f", but torch is {_build(facts)}"
        return warning("driver", found, f"install {fitting} to train on the card: {CHOOSE}")
    hidden = environ.get("CUDA_VISIBLE_DEVICES")
    if hidden is not None and hidden.strip() in ("", "-1", "none", "NoDevFiles"):
        found += f", hidden by CUDA_VISIBLE_DEVICES={hidden!r}"
        return warning("driver", found, "unset it to train on the card")
    least = OLDEST_DRIVER.get(int(facts["cuda"].split(".")[0]))
    if least and 0 < branch < least:
        found += f", too old for torch {_build(facts)}"
        advice = f"update the driver to {least} or newer"
        if newest:
            advice += f", or install a torch for CUDA {newest}: {CHOOSE}"
        return warning("driver", found, advice)
    found += f", but torch cannot use it: {facts['cuda_error'] or 'it sees no card'}"
    return warning("driver", found, "reboot; in a container pass the card in (docker: --gpus all)")


def check_devices(facts: Facts) -> Iterator[Finding]:
    """Yield what each device can compute.

    Args:
        facts: see `check_torch`.
    """
    if "error" in facts:
        return
    for device in facts["devices"]:
        yield _check_device(device, alone=len(facts["devices"]) == 1)


def _check_device(device: Facts, alone: bool) -> Finding:
    name, failed = device["name"], dict(device["failed"])
    if name == "cpu":
        # The kernel does not train in fp16 on a CPU, even where torch could.
        failed.setdefault("fp16", "not on a CPU")
    found = f"{device['title']}, " if device["title"] else ""
    if "memory" in device:
        free = f"{format_bytes(device['free'])} of " if "free" in device else ""
        found += f"{free}{format_bytes(device['memory'])} free, "
        found += f"compute capability {device['capability']}, "
    if "fp32" in failed:
        return problem(
            name,
            f"{found}but a convolution failed: {failed['fp32']}",
            f"set training.device=cpu, or install a torch built for this device: {CHOOSE}",
        )
    found += "computes " + ", ".join(p for p in PRECISIONS if p not in failed)
    if slow := [p for p, reason in failed.items() if reason == "emulated"]:
        found += f" ({', '.join(slow)} is only emulated)"
    if alone:
        return warning(name, f"{found}; no other device", "slow; take a small network: fs models")
    if device.get("free", 1) < device.get("memory", 0) / 2:
        return warning(name, found, "close the other programs that use it, or take a smaller batch")
    return ok(name, found)


def check_keras(facts: Facts, torch: Facts, environ: Mapping[str, str]) -> Finding:
    """Check Keras, and whether another backend is requested.

    Args:
        facts: of `fs_doctor.libraries.keras_facts`, or "error".
        torch: see `check_torch`.
        environ: environment variables.
    """
    if "error" in facts:
        advice = "put torch right first" if "error" in torch else "pip install --upgrade keras"
        return problem("keras", facts["error"], advice)
    found = f"{facts['version']} on {facts['backend']}"
    chosen = environ.get("KERAS_BACKEND", "torch")
    if chosen != "torch":
        return warning(
            "keras",
            f"{found}, though KERAS_BACKEND={chosen} is set",
            "fs uses torch all the same; unset it to be rid of this line",
        )
    return ok("keras", found)


def check_opencv(facts: Facts) -> Finding:
    """Check OpenCV, which reads and draws pictures.

    Args:
        facts: of `fs_doctor.libraries.opencv_facts`, or "error".
    """
    if "error" in facts:
        advice = "pip install --upgrade opencv-python"
        if "libGL" in facts["error"]:
            advice += ", or install the system's libGL (Debian, Ubuntu: libgl1)"
        return problem("opencv", facts["error"], advice)
    return ok("opencv", facts["version"])


def _build(facts: Facts) -> str:
    if facts["cuda"]:
        return f"built for CUDA {facts['cuda']}"
    return f"built for ROCm {facts['hip']}" if facts["hip"] else "built without CUDA"
