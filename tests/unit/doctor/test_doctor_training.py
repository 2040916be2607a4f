"""Checks of what computes: torch against the driver, devices, Keras, OpenCV."""

from __future__ import annotations

import pytest
from fs_doctor import training
from fs_doctor.nvidia import Nvidia, find_nvidia

CPU = {"name": "cpu", "title": "", "failed": {}}
CARD = {
    "name": "cuda:0",
    "title": "NVIDIA RTX 3090",
    "failed": {},
    "capability": "8.6",
    "memory": 24_000_000_000,
    "free": 23_000_000_000,
}


def torch(cuda="12.6", *devices, hip=None, error=None):
    return {
        "version": "2.13.0",
        "cuda": cuda,
        "hip": hip,
        "threads": 8,
        "cuda_error": error,
        "devices": [CPU, *devices],
    }


def driver(facts, nvidia, **environ):
    return training.check_driver(facts, nvidia, environ)


class TestTorch:
    def test_says_what_it_was_built_for(self):
        assert training.check_torch(torch()).found == "2.13.0, built for CUDA 12.6"
        assert training.check_torch(torch(None)).found == "2.13.0, built without CUDA"
        assert training.check_torch(torch(None, hip="6.4")).found == "2.13.0, built for ROCm 6.4"

    @pytest.mark.parametrize(
        ("error", "advice"),
        [
            ("ModuleNotFoundError: No module named 'torch'", "install torch"),
            ("ImportError: libcudnn.so.9: cannot open shared object file", "reinstall it"),
        ],
    )
    def test_one_that_cannot_be_imported_makes_training_impossible(self, error, advice):
        finding = training.check_torch({"error": error})
        assert (finding.status, finding.exit_code) == ("problem", 6)
        assert finding.advice.startswith(advice)


class TestDriver:
    def test_a_card_that_torch_reaches(self):
        finding = driver(torch("12.6", CARD), Nvidia(("RTX 3090",), "550.54.15"))
        assert (finding.status, finding.found) == ("ok", "RTX 3090, driver 550.54.15")

    def test_torch_without_cuda_beside_a_card(self):
        finding = driver(torch(None), Nvidia(("RTX 3090",), "550.54.15"))
        assert finding.status == "warning"
        assert "torch is built without CUDA" in finding.found
        assert "one for CUDA 12" in finding.advice

    @pytest.mark.parametrize(
        ("version", "cuda", "least", "instead"),
        [
            ("535.183.01", "13.0", "580", "a torch for CUDA 12"),
            ("470.256.02", "12.6", "525", "a torch for CUDA 11"),
            ("390.157", "12.6", "525", None),
        ],
    )
    def test_a_driver_too_old_for_the_build(self, version, cuda, least, instead):
        finding = driver(torch(cuda, error="RuntimeError: too old"), Nvidia(("Card",), version))
        assert finding.status == "warning"
        assert f"too old for torch built for CUDA {cuda}" in finding.found
        assert f"update the driver to {least} or newer" in finding.advice
        assert (instead in finding.advice) if instead else ("install" not in finding.advice)

    def test_a_driver_of_the_same_major_version_is_new_enough(self):
        finding = driver(torch("12.9", error="RuntimeError: x"), Nvidia(("Card",), "525.60"))
        assert "too old" not in finding.found
        assert "RuntimeError: x" in finding.found

    def test_a_card_hidden_by_the_environment(self):
        finding = driver(torch(), Nvidia(("Card",), "550.1"), CUDA_VISIBLE_DEVICES="")
        assert "hidden by CUDA_VISIBLE_DEVICES=''" in finding.found
        shown = driver(torch(), Nvidia(("Card",), "550.1"), CUDA_VISIBLE_DEVICES="0")
        assert "hidden" not in shown.found

    def test_a_card_without_a_driver(self):
        finding = driver(torch(), Nvidia(("NVIDIA card",)))
        assert (finding.status, finding.advice) == ("warning", "install NVIDIA's driver")
        assert driver(torch("12.6", CARD), Nvidia(("NVIDIA card",))).status == "ok"

    def test_a_driver_that_does_not_answer(self):
        said = "Failed to initialize NVML: Driver/library version mismatch"
        finding = driver(torch(), Nvidia(("NVIDIA card",), error=said))
        assert said in finding.found
        assert "reboot" in finding.advice

    @pytest.mark.parametrize(
        ("facts", "words"),
        [
            (torch(), "no NVIDIA card"),
            (torch(None), "no NVIDIA card"),
            (torch("12.6", CARD), "torch reaches the card"),
            (torch(None, CARD, hip="6.4"), "ROCm 6.4"),
            ({"error": "broken"}, "no NVIDIA card"),
        ],
    )
    def test_nothing_of_nvidia_is_nothing_to_worry_about(self, facts, words):
        finding = driver(facts, None)
        assert finding.status == "ok"
        assert words in finding.found

    def test_a_broken_torch_leaves_what_the_system_knows(self):
        assert driver({"error": "x"}, Nvidia(("Card",), "550.1")).found == "Card, driver 550.1"


class TestNvidia:
    def test_nvidia_smi_is_asked(self, machine):
        machine.program(
            "nvidia-smi",
            "import sys; assert '--format=csv,noheader' in sys.argv\n"
            "print('NVIDIA RTX A6000, 550.54.15\\nTesla T4, 550.54.15')",
        )
        found = find_nvidia(machine.probes())
        assert found == Nvidia(("NVIDIA RTX A6000", "Tesla T4"), "550.54.15")
        assert found.branch == 550

    def test_without_it_the_bus_is(self, machine):
        assert find_nvidia(machine.probes()) is None
        devices = "sys/bus/pci/devices"
        for name, vendor, kind in (
            ("0000:00:02.0", "0x8086", "0x030000"),
            ("0000:01:00.0", "0x10de", "0x030200"),
            ("0000:01:00.1", "0x10de", "0x040300"),
        ):
            machine.file(f"{devices}/{name}/vendor", vendor)
            machine.file(f"{devices}/{name}/class", kind)
        assert find_nvidia(machine.probes()) == Nvidia(("NVIDIA card",))
        machine.program("nvidia-smi", "print('NVIDIA-SMI has failed'); raise SystemExit(9)")
        assert find_nvidia(machine.probes()).error == "NVIDIA-SMI has failed"

    def test_one_that_finds_no_card_is_as_none(self, machine):
        machine.program("nvidia-smi", "print('No devices were found'); raise SystemExit(6)")
        assert find_nvidia(machine.probes()) is None
        machine.program("nvidia-smi", "pass")
        assert find_nvidia(machine.probes()) is None

    @pytest.mark.parametrize("driver", [None, "", "[N/A]", "unknown"])
    def test_a_driver_without_a_number_has_no_branch(self, driver):
        assert Nvidia(("Card",), driver).branch is None


class TestDevices:
    def test_each_says_what_it_can(self):
        cpu, card = training.check_devices(torch("12.6", CARD))
        assert cpu.found == "computes fp32, bf16"
        assert card.status == cpu.status == "ok"
        assert card.found == (
            "NVIDIA RTX 3090, 23 GB of 24 GB free, compute capability 8.6, "
            "computes fp32, fp16, bf16"
        )

    def test_only_a_cpu_is_slow(self):
        (cpu,) = training.check_devices(torch(None))
        assert cpu.status == "warning"

    def test_bf16_that_is_emulated_is_said(self):
        old = {**CARD, "failed": {"bf16": "emulated"}}
        finding = list(training.check_devices(torch("12.6", old)))[1]
        assert finding.found.endswith("computes fp32, fp16 (bf16 is only emulated)")

    def test_a_card_that_cannot_compute_stops_training(self):
        bad = {**CARD, "failed": {"fp32": "no kernel image is available for execution"}}
        finding = list(training.check_devices(torch("12.6", bad)))[1]
        assert (finding.status, finding.exit_code) == ("problem", 6)
        assert "training.device=cpu" in finding.advice

    def test_a_card_that_others_use(self):
        busy = {**CARD, "free": 2_000_000_000}
        assert list(training.check_devices(torch("12.6", busy)))[1].status == "warning"

    def test_an_apple_gpu_has_no_memory_of_its_own(self):
        facts = torch(None, {"name": "mps", "title": "Apple GPU", "failed": {"fp16": "x"}})
        finding = list(training.check_devices(facts))[1]
        assert finding.found == "Apple GPU, computes fp32, bf16"

    def test_no_torch_no_devices(self):
        assert list(training.check_devices({"error": "x"})) == []


KERAS = {"version": "3.15.1", "backend": "torch"}


class TestKeras:
    def test_torch_is_what_it_runs_on(self):
        assert training.check_keras(KERAS, torch(), {}).status == "ok"
        assert training.check_keras(KERAS, torch(), {"KERAS_BACKEND": "torch"}).status == "ok"

    def test_another_backend_is_named(self):
        finding = training.check_keras(KERAS, torch(), {"KERAS_BACKEND": "jax"})
        assert finding.status == "warning"
        assert "KERAS_BACKEND=jax" in finding.found

    def test_none_makes_training_impossible(self):
        finding = training.check_keras({"error": "x"}, torch(), {})
        assert (finding.status, finding.advice) == ("problem", "pip install --upgrade keras")
        behind = training.check_keras({"error": "x"}, {"error": "y"}, {})
        assert behind.advice == "put torch right first"


class TestOpenCV:
    def test_version(self):
        assert training.check_opencv({"version": "5.0.0"}).found == "5.0.0"

    def test_a_missing_system_library_is_named(self):
        finding = training.check_opencv({"error": "ImportError: libGL.so.1: cannot open"})
        assert finding.status == "problem"
        assert "libgl1" in finding.advice
        assert "libgl1" not in training.check_opencv({"error": "no cv2"}).advice
