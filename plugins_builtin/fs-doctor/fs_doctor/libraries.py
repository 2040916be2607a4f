"""Import torch, Keras and OpenCV, try torch's devices, and print the results.

It runs in a subprocess (``python -m fs_doctor.libraries torch keras opencv``), because a
broken library may raise, hang or end the process. Each line is a name, a tab and JSON.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Iterable
from typing import Any, TextIO

#: Number formats by their names in the options and in torch.
PRECISIONS = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}


def torch_facts(torch: Any) -> dict[str, Any]:
    """Return the version, what it was built for, and what its devices can do."""
    facts: dict[str, Any] = {
        "version": torch.__version__,
        "cuda": torch.version.cuda,
        "hip": torch.version.hip,
        "threads": torch.get_num_threads(),
        "cuda_error": None,
        "devices": [device_facts(torch, "cpu", "")],
    }
    if facts["cuda"] or facts["hip"]:
        try:
            torch.cuda.init()
        except Exception as error:
            facts["cuda_error"] = first_line(error)
        else:
            facts["devices"] += [cuda_facts(torch, i) for i in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        facts["devices"].append(device_facts(torch, "mps", "Apple GPU"))
    return facts


def cuda_facts(torch: Any, index: int) -> dict[str, Any]:
    """Return the facts of a graphics card: those of any device, and its memory."""
    properties = torch.cuda.get_device_properties(index)
    facts = device_facts(torch, f"cuda:{index}", properties.name)
    facts["capability"] = f"{properties.major}.{properties.minor}"
    facts["memory"] = properties.total_memory
    try:
        facts["free"] = torch.cuda.mem_get_info(index)[0]
        if "bf16" not in facts["failed"] and not torch.cuda.is_bf16_supported(
            including_emulation=False
        ):
            facts["failed"]["bf16"] = "emulated"
    except Exception as error:
        facts["failed"].setdefault("fp32", first_line(error))
    return facts


def device_facts(torch: Any, device: str, title: str) -> dict[str, Any]:
    """Return the result of a small known convolution in each precision."""
    failed: dict[str, str] = {}
    for name, dtype in PRECISIONS.items():
        try:
            kind = {"device": device, "dtype": getattr(torch, dtype)}
            picture, kernel = torch.ones(1, 8, 8, 8, **kind), torch.ones(8, 8, 3, 3, **kind)
            result = torch.nn.functional.conv2d(picture, kernel, padding=1)[0, 0, 4, 4].item()
            if result != 72:
                failed[name] = f"a convolution gave {result} instead of 72"
        except Exception as error:
            failed[name] = first_line(error)
    return {"name": device, "title": title, "failed": failed}


def keras_facts(keras: Any) -> dict[str, Any]:
    """Return version and backend."""
    return {"version": keras.__version__, "backend": keras.backend.backend()}


def opencv_facts(cv2: Any) -> dict[str, Any]:
    """Return the version."""
    return {"version": cv2.__version__}


LIBRARIES = {
    "torch": ("torch", torch_facts),
    "keras": ("keras", keras_facts),
    "opencv": ("cv2", opencv_facts),
}


def first_line(error: BaseException) -> str:
    """Return an error as one line."""
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__


def main(names: Iterable[str], out: TextIO) -> None:
    """Print a line for each of these libraries, in order."""
    for name in names:
        module, look = LIBRARIES[name]
        try:
            facts = look(importlib.import_module(module))
        except BaseException as error:
            facts = {"error": first_line(error)}
        print(f"{name}\t{json.dumps(facts)}", file=out, flush=True)


if __name__ == "__main__":
    # What a library prints while it is imported goes to stderr.
    report = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    main(sys.argv[1:], report)
