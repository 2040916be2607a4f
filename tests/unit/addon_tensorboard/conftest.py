"""An event file read back without the library that wrote it, up to the protocol buffers."""

from __future__ import annotations

import struct
from pathlib import Path

import attrs
import pytest
from fs_kernel.types import Metrics, RunInfo
from tensorboardX.proto.event_pb2 import Event


def _table() -> list[int]:
    """CRC-32C, reflected polynomial 0x82F63B78 (RFC 3720, appendix B.4)."""
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


TABLE = _table()


def masked_crc(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ TABLE[(crc ^ byte) & 0xFF]
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def read_events(path: Path) -> list[Event]:
    """Every record of a TFRecord file, its checksums verified."""
    data, at, found = path.read_bytes(), 0, []
    while at < len(data):
        (length,) = struct.unpack_from("<Q", data, at)
        assert struct.unpack_from("<I", data, at + 8)[0] == masked_crc(data[at : at + 8])
        body = data[at + 12 : at + 12 + length]
        assert struct.unpack_from("<I", data, at + 12 + length)[0] == masked_crc(body)
        found.append(Event.FromString(body))
        at += 16 + length
    assert found[0].file_version == "brain.Event:2"
    return found


@pytest.fixture
def read():
    """``read(model_dir, session)``: the events of a session's files, oldest first."""

    def events(model_dir: Path, session: int) -> list[Event]:
        folder = model_dir / "logs" / "tensorboard" / f"session_{session}"
        return [e for path in sorted(folder.iterdir()) for e in read_events(path)]

    return events


@pytest.fixture
def scalars(read):
    """``scalars(model_dir, session)``: ``{tag: [(step, value), ...]}``, what was lost left out."""

    def points(model_dir: Path, session: int) -> dict[str, list[tuple[int, float]]]:
        found: dict[str, list[tuple[int, float]]] = {}
        for event in read(model_dir, session):
            if event.HasField("session_log") and event.session_log.status == 1:
                found = {t: [p for p in ps if p[0] < event.step] for t, ps in found.items()}
            for value in event.summary.value:
                if value.HasField("simple_value"):
                    found.setdefault(value.tag, []).append((event.step, value.simple_value))
        return found

    return points


@pytest.fixture
def make_info(tmp_path):
    base = RunInfo(
        model_dir=tmp_path,
        model="original",
        network_name="original",
        trainer="standard",
        feed="faces",
        executor="keras",
        sides=("a", "b"),
        parameters=69_662_656,
        batch_size=16,
        device="cpu",
        precision="fp32",
        seed=7,
        session=1,
        start_step=0,
        target_steps=100,
        face_counts={"a": 150, "b": 1500},
    )
    return lambda **changes: attrs.evolve(base, **changes)


@pytest.fixture
def make_metrics():
    def make(step: int, a: float = 0.25, rate: float | None = 5e-5) -> Metrics:
        parts = {"a": {"face_64/ssim": a - 0.0625, "mask_64/mse": 0.0625}, "b": {}}
        return Metrics(step, {"a": a, "b": 0.5}, parts, rate, 31.25, 0.5)

    return make
