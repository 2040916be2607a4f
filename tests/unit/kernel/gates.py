"""A gate that holds the writing of checkpoints until it is opened."""

from __future__ import annotations

import threading

import pytest
from fs_kernel.storage import files


class Gate:
    """Holds the writing of files until it is opened."""

    def __init__(self, monkeypatch):
        self.reached, self.open, self.inside, self.most = threading.Event(), threading.Event(), 0, 0
        self._write = files.write_chunks
        monkeypatch.setattr(files, "write_chunks", self.write)

    def write(self, path, chunks):
        if path.name != "weights.safetensors":
            return self._write(path, chunks)
        self.inside += 1
        self.most = max(self.most, self.inside)
        self.reached.set()
        assert self.open.wait(30)
        try:
            return self._write(path, chunks)
        finally:
            self.inside -= 1


@pytest.fixture
def gate(monkeypatch):
    made = Gate(monkeypatch)
    yield made
    made.open.set()
