"""Swapping beside reading and writing: order, bounds, and what goes wrong on the way."""

from __future__ import annotations

import errno
import threading
import time

import numpy as np
import pytest
from fs_kernel import hookimpl
from fs_kernel.errors import FacesError, ModelFolderError, UsageError
from fs_kernel.testing import ArrayFeed, PlainExecutor, TinyModel, tiny_run
from fs_kernel.trained_model import TrainedModel
from fs_kernel.types import Face

COUNT = 13


class Recorder(ArrayFeed):
    """Gives numbered faces, and takes down who wrote what when."""

    name = "recorder"

    def __init__(self, count=COUNT, fail=None, slow=0.0):
        self.count, self.fail, self.slow = count, fail or {}, slow
        self.taken, self.written, self.ahead = 0, [], []
        self.threads = set()
        self.lock = threading.Lock()

    @hookimpl
    def read_faces(self):
        for number in range(self.count):
            self.taken += 1
            self.ahead.append(self.taken - len(self.written))
            picture = np.full((16, 16, 3), number / self.count, np.float32)
            yield Face(f"{number:03}", picture, origin=number)

    @hookimpl
    def write_face(self, face, swapped, target):
        time.sleep(self.slow)
        if face.origin in self.fail:
            raise self.fail[face.origin]
        path = target / f"{face.name}.npy"
        np.save(path, swapped)
        with self.lock:
            self.written.append(face.origin)
            self.threads.add(threading.current_thread().name)
        return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A trained model."""
    folder = tmp_path_factory.mktemp("pipeline")
    with tiny_run(folder, set={"training.iterations": 1}) as run:
        run.train()
    return folder


def swap(folder, output, feed, **more):
    objects = {"feeds": feed, "executors": PlainExecutor()}
    trained = TrainedModel(folder / "model", model=TinyModel(), objects=objects)
    return trained.swap_folder(folder, output, batch_size=4, **more)


def test_every_face_goes_to_its_own_file_whatever_the_order_of_writing(folder, tmp_path):
    one, many = tmp_path / "one", tmp_path / "many"
    feed = Recorder(slow=0.01)
    told = []
    assert swap(folder, many, feed, progress=told.append) == COUNT
    assert told == [4, 8, 12, 13]
    assert sorted(feed.written) == list(range(COUNT))
    single = {"feeds": Recorder(), "executors": PlainExecutor()}
    trained = TrainedModel(folder / "model", model=TinyModel(), objects=single)
    trained.swap_folder(folder, one, batch_size=1)
    for path in sorted(many.iterdir()):
        assert np.allclose(np.load(path), np.load(one / path.name), atol=1e-5), path.name


def test_writing_is_done_by_threads_that_are_gone_afterwards(folder, tmp_path):
    feed = Recorder()
    swap(folder, tmp_path / "out", feed)
    assert feed.threads
    assert all(name.startswith("fs-swap-writer") for name in feed.threads)
    assert not [t for t in threading.enumerate() if t.name.startswith("fs-swap-writer")]


def test_no_more_than_two_batches_are_held(folder, tmp_path):
    feed = Recorder(count=40, slow=0.02)
    swap(folder, tmp_path / "out", feed)
    assert max(feed.ahead) <= 2 * 4, "one that is written, one that is read"


@pytest.mark.parametrize("number", [0, 6, COUNT - 1])
def test_a_full_disk_is_one_line_and_what_was_written_stays(folder, tmp_path, number):
    full = OSError(errno.ENOSPC, "No space left on device")
    feed = Recorder(fail={number: full})
    with pytest.raises(ModelFolderError, match=r"cannot write in .*out: No space left") as caught:
        swap(folder, tmp_path / "out", feed)
    assert "\n" not in str(caught.value)
    before = set(range(number // 4 * 4))
    assert before <= set(feed.written)
    assert {int(path.stem) for path in (tmp_path / "out").iterdir()} == set(feed.written)
    assert feed.taken <= number + 2 * 4, "the rest is not even read"
    assert not [t for t in threading.enumerate() if t.name.startswith("fs-swap-writer")]


def test_the_feed_s_own_errors_pass_through(folder, tmp_path):
    feed = Recorder(fail={5: UsageError("5 is the source picture")})
    with pytest.raises(UsageError, match="5 is the source picture"):
        swap(folder, tmp_path / "out", feed)


def test_nothing_to_swap_leaves_no_folder(folder, tmp_path):
    assert swap(folder, tmp_path / "out", Recorder(count=0)) == 0
    assert not (tmp_path / "out").exists()


def test_reading_that_fails_half_way_still_writes_what_was_read(folder, tmp_path):
    class Ends(Recorder):
        @hookimpl
        def read_faces(self):
            for number in range(6):
                yield Face(f"{number:03}", np.zeros((16, 16, 3), np.float32), origin=number)
            raise FacesError("the folder is gone")

    with pytest.raises(FacesError, match="gone"):
        swap(folder, tmp_path / "out", Ends())
    assert not [t for t in threading.enumerate() if t.name.startswith("fs-swap-writer")]
