"""Using a trained model with plugin objects."""

from __future__ import annotations

import hashlib

import attrs
import numpy as np
import pytest
from fs_kernel import hookimpl
from fs_kernel.errors import FacesError, ModelFolderError, PluginError, UsageError
from fs_kernel.testing import ArrayFeed, PlainExecutor, TinyModel, tiny_run
from fs_kernel.trained_model import TrainedModel
from fs_kernel.types import Face
from fs_swap.command import collected_warnings
from fs_swap.folder import parse_direction


class SwapFeed(ArrayFeed):
    """Reads ``.npy`` pictures and writes ``.npy`` results."""

    @hookimpl
    def read_faces(self, source, shape, color_order):
        names = sorted(path.name for path in source.glob("*.npy"))
        if not names:
            raise FacesError(f"{source} holds no face")
        for name in names:
            yield Face(name, np.load(source / name), origin=name)

    @hookimpl
    def write_face(self, face, swapped, mask, target):
        assert mask is None
        path = target / face.origin
        np.save(path, swapped)
        return path


OBJECTS = {"feeds": SwapFeed(), "executors": PlainExecutor()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A trained model and a folder of five faces."""
    folder = tmp_path_factory.mktemp("swap")
    with tiny_run(folder, set={"training.iterations": 3}) as run:
        run.train()
    (folder / "faces").mkdir()
    rng = np.random.default_rng(1)
    for number in range(5):
        np.save(folder / f"faces/{number}.npy", rng.random((16, 16, 3), dtype=np.float32))
    return folder


def opened(folder):
    return TrainedModel(folder / "model", model=TinyModel(), objects=OBJECTS)


def hashes(folder):
    return {
        path: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def results(folder):
    return {path.name: np.load(path) for path in sorted(folder.iterdir())}


def test_f9_both_directions_from_one_model_repeatably_and_unchanged(folder, tmp_path):
    before = hashes(folder)
    trained = opened(folder)
    got = {}
    for turn, direction in enumerate(["a2b", "b2a", "a2b", "b2a", "a2a"]):
        output = tmp_path / f"{turn}"
        assert trained.swap_folder(folder / "faces", output, direction, batch_size=2) == 5
        got[turn] = results(output)
    fresh = tmp_path / "fresh"
    opened(folder).swap_folder(folder / "faces", fresh, "b2a", batch_size=5)
    assert hashes(folder) == before
    assert list(got[0]) == [f"{n}.npy" for n in range(5)]
    for name in got[0]:
        assert got[0][name].shape == (16, 16, 3)
        assert np.array_equal(got[0][name], got[2][name])
        assert np.array_equal(got[1][name], got[3][name])
        assert not np.array_equal(got[0][name], got[1][name])
        assert np.allclose(results(fresh)[name], got[1][name], atol=1e-6)
        assert np.array_equal(got[1][name], got[4][name])


def test_progress_is_told(folder, tmp_path):
    told = []
    opened(folder).swap_folder(folder / "faces", tmp_path, batch_size=2, progress=told.append)
    assert told == [2, 4, 5]


def test_filters_change_what_is_written(folder, tmp_path):
    class White:
        name = "white"

        @hookimpl
        def filter_face(self, swapped, face):
            return swapped * 0 + (face.origin == "1.npy")

    trained = opened(folder)
    assert trained.swap_folder(folder / "faces", tmp_path / "out", filters=[White()]) == 5
    pictures = results(tmp_path / "out")
    assert {name: picture.min() for name, picture in pictures.items()} == {
        f"{n}.npy": float(n == 1) for n in range(5)
    }


def test_without_the_package_a_folder_cannot_be_swapped(folder, tmp_path, monkeypatch):
    from fs_kernel.plugins import discovery

    real = discovery.installed
    monkeypatch.setattr(
        discovery, "installed", lambda kind=None: [] if kind == "tools" else real(kind)
    )
    with pytest.raises(PluginError, match=r"swapping a folder needs fs-swap: pip install fs-swap$"):
        opened(folder).swap_folder(folder / "faces", tmp_path / "out")


def test_what_cannot_be_swapped_leaves_no_folder(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(FacesError, match="holds no face"):
        opened(folder).swap_folder(tmp_path / "empty", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_output_that_is_a_file(folder, tmp_path):
    (tmp_path / "out").touch()
    with pytest.raises(ModelFolderError, match="is a file"):
        opened(folder).swap_folder(folder / "faces", tmp_path / "out")


def test_a_folder_without_a_model(tmp_path):
    with pytest.raises(ModelFolderError, match="holds no model"):
        TrainedModel(tmp_path, model=TinyModel(), objects=OBJECTS)


@pytest.mark.parametrize("direction", ["a2c", "c2a"])
def test_unknown_sides(folder, tmp_path, direction):
    with pytest.raises(UsageError, match="no side 'c'"):
        opened(folder).swap_folder(folder / "faces", tmp_path / "out", direction)


@pytest.mark.parametrize("text", ["", "ab", "a2", "2b", "2"])
def test_what_is_no_direction(text):
    with pytest.raises(UsageError, match="write a2b or b2a"):
        parse_direction(text)


def test_directions():
    assert parse_direction(" A2B ") == ("a", "b")


def test_a_model_may_build_its_own_inference(folder, tmp_path):
    class Own(TinyModel):
        @hookimpl
        def build_inference(self, network, target):
            import keras

            start = keras.Input((16, 16, 3))
            return keras.Model([start], keras.layers.Rescaling(0.0, 0.25)(start))

    trained = TrainedModel(folder / "model", model=Own(), objects=OBJECTS)
    trained.swap_folder(folder / "faces", tmp_path / "out")
    assert all((picture == 0.25).all() for picture in results(tmp_path / "out").values())


def test_a_feed_that_cannot_read_faces_is_named(folder, tmp_path):
    objects = OBJECTS | {"feeds": ArrayFeed()}
    trained = TrainedModel(folder / "model", model=TinyModel(), objects=objects)
    with pytest.raises(PluginError, match="has no hook read_faces"):
        trained.swap_folder(folder / "faces", tmp_path / "out")


def test_warnings_are_told_one_by_one():
    import warnings

    told = []

    def call():
        for number in range(3):
            warnings.warn(f"file {number}", stacklevel=1)
        return 7

    assert collected_warnings(call, told.append) == 7
    assert told == ["file 0", "file 1", "file 2"]


def test_faces_keep_whatever_the_feed_remembers():
    face = Face("x.png", np.zeros((1, 1, 3)), origin={"any": object()})
    assert attrs.asdict(face, recurse=False)["origin"] is face.origin
