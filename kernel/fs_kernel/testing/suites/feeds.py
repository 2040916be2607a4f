"""What a feed owes the kernel."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
import numpy as np
import pytest

from fs_kernel.errors import FacesError
from fs_kernel.testing.plugins import CountedSampler
from fs_kernel.testing.suites.base import HookSuite
from fs_kernel.testing.world import nobody_leaves, unchanged
from fs_kernel.types import Batch, FeedSpec, Output

if TYPE_CHECKING:
    from fs_kernel.types import Feed

_OUTPUTS = tuple(
    output
    for side in "ab"
    for output in (
        Output(side, "face", 16),
        Output(side, "face", 32),
        Output(side, "mask", 32),
        Output(side, "aux", 0),
    )
)


@attrs.define
class _Counted(CountedSampler):
    """Remembers the furthest step that was drawn."""

    seed: int = 3
    furthest: int = 0

    def draw(self, step: int) -> dict[str, np.ndarray]:
        self.furthest = max(self.furthest, step)
        return super().draw(step)


def _same(one: Batch, other: Batch, rows: slice = slice(None)) -> bool:
    """Return whether ``one`` is the rows of ``other``."""
    pairs: list[tuple[Any, Any]] = [(one.inputs[s], other.inputs[s]) for s in one.inputs]
    for side in one.inputs:
        pairs += list(zip(one.targets[side], other.targets[side], strict=True))
        for name, sizes in one.meta.masks[side].items():
            pairs += [(mask, other.meta.masks[side][name][size]) for size, mask in sizes.items()]
    points = other.meta.landmarks
    pairs += [(found, points[side]) for side, found in one.meta.landmarks.items()]
    return all(x is None if y is None else bool(x.equal(y[rows])) for x, y in pairs)


class FeedSuite(HookSuite):
    """The tests of a feed.

    Attributes:
        variants: options that change who prepares batches but no batch
            (``{"loader.workers": 0}``).
        masks: masks that the faces of `make_folders` have.
        landmarks: whether these faces have landmarks, and the feed gives them.
    """

    kind = "feeds"
    variants: ClassVar[tuple[Mapping[str, Any], ...]] = ()
    masks: ClassVar[tuple[str, ...]] = ("face", "eye", "mouth")
    landmarks: ClassVar[bool] = False

    @classmethod
    def make_folders(cls, root: Path) -> dict[str, Path]:
        """Make folders with usable faces of sides "a" and "b" below ``root``; empty by default."""
        folders = {side: root / side for side in "ab"}
        for folder in folders.values():
            folder.mkdir()
        return folders

    @pytest.fixture(scope="class")
    @classmethod
    def folders(cls, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
        """Return what `make_folders` makes, once for all tests; not to be changed."""
        return cls.make_folders(tmp_path_factory.mktemp("faces"))

    @pytest.fixture
    def open(self, folders: dict[str, Path]) -> Iterator[Any]:
        """Return ``open(options={}, folders=..., **changes of the spec)``; closed at the end."""
        opened: list[Feed] = []

        def make(options: Mapping[str, Any] = {}, folders: Any = folders, **changes: Any) -> Feed:
            spec = FeedSpec(
                input_shapes={"a": (16, 16, 3), "b": (16, 16, 3)},
                color_order="bgr",
                outputs=_OUTPUTS,
                fields=frozenset((*self.masks, *(["landmarks"] if self.landmarks else []))),
                batch_size=4,
                seed=11,
                local_indices=range(4),
            )
            plugin = self.role(**options)
            feed: Feed = plugin.open(folders, attrs.evolve(spec, **changes))
            opened.append(feed)
            return feed

        yield make
        for feed in opened:
            feed.close()

    @staticmethod
    def _batches(feed: Feed, count: int, step: int = 1, batch_size: int = 4) -> list[Batch]:
        feed.start(_Counted(dict(feed.sizes), batch_size), step)
        return [feed.next() for _ in range(count)]

    def test_an_open_feed_says_what_it_has(self, open: Any) -> None:
        """Sizes, warnings, fingerprint and prefetch are there before any worker starts."""
        threads = threading.active_count()
        with nobody_leaves("open_feed"), unchanged("open_feed"):
            feed, again = open(), open()
        assert threading.active_count() == threads, "open_feed started threads"
        assert list(feed.sizes) == ["a", "b"]
        assert all(isinstance(n, int) and n > 0 for n in feed.sizes.values())
        assert all(isinstance(line, str) for line in feed.warnings)
        assert isinstance(feed.prefetch, int)
        assert feed.prefetch >= 0
        assert isinstance(feed.fingerprint, str)
        assert feed.fingerprint == again.fingerprint
        for side, known in getattr(feed.made, "face_attributes", {}).items():
            for name, values in known.items():
                assert values.shape == (feed.sizes[side],), f"fact {name} of side {side}"

    def test_batches_hold_what_was_asked_for(self, open: Any) -> None:
        """Shapes, float32 0..1 on the CPU, a target per output, every mask at every size."""
        feed = open()
        for step, batch in enumerate(self._batches(feed, 3, step=5), 5):
            assert batch.step == step
            drawn = _Counted(dict(feed.sizes), 4).draw(step)
            for side in "ab":
                assert batch.inputs[side].shape == (4, 16, 16, 3)
                self._check_picture(batch.inputs[side])
                shapes = [None if t is None else tuple(t.shape) for t in batch.targets[side]]
                assert shapes == [(4, 16, 16, 3), (4, 32, 32, 3), (4, 32, 32, 1), None]
                for target in batch.targets[side][:3]:
                    self._check_picture(target)
                assert (batch.meta.indices[side] == drawn[side]).all()
                assert batch.meta.indices[side].dtype == np.int64
                if self.landmarks:
                    points = batch.meta.landmarks[side]
                    assert (tuple(points.shape), str(points.dtype)) == ((4, 68, 2), "torch.float32")
                    assert points.isfinite().all()
                for name in self.masks:
                    held = batch.meta.masks[side][name]
                    assert set(held) == {16, 32}, f"mask {name} of side {side}"
                    for size, mask in held.items():
                        assert mask.shape == (4, size, size, 1)
                        self._check_picture(mask)

    @staticmethod
    def _check_picture(picture: Any) -> None:
        assert str(picture.dtype) == "torch.float32"
        assert picture.device.type == "cpu"
        assert picture.isfinite().all()
        assert 0 <= picture.min() <= picture.max() <= 1

    def test_a_batch_follows_from_seed_and_step(self, open: Any) -> None:
        """The same wherever it was started and whatever came before; another seed, another."""
        in_order = self._batches(open(), 4)
        later = self._batches(open(), 2, step=3)
        assert _same(later[0], in_order[2])
        assert _same(later[1], in_order[3])
        again = open()
        self._batches(again, 2, step=30)
        assert _same(self._batches(again, 1, step=4)[0], in_order[3]), "after a second start"
        other = self._batches(open(seed=12), 1)[0]
        assert not _same(other, in_order[0]), "the seed changes nothing"

    def test_variants_change_no_batch(self, open: Any) -> None:
        """How many workers prepare a batch, or how far ahead, makes no difference."""
        expected = self._batches(open(), 2)
        for options in self.variants:
            found = self._batches(open(options), 2)
            assert all(map(_same, found, expected)), f"{dict(options)} changes a batch"

    def test_processes_share_a_batch(self, open: Any) -> None:
        """Places 0 to 1 and 2 to 3, drawn apart, are the whole batch."""
        whole = self._batches(open(), 2)
        for slots in (range(2), range(2, 4)):
            part = self._batches(open(local_indices=slots), 2)
            rows = slice(slots.start, slots.stop)
            assert all(_same(p, w, rows) for p, w in zip(part, whole, strict=True))

    def test_it_draws_no_further_ahead_than_it_says(self, open: Any) -> None:
        """Until a step is taken, only the ``prefetch`` steps after it are drawn."""
        feed = open()
        sampler = _Counted(dict(feed.sizes), 4)
        feed.start(sampler, 1)
        assert sampler.furthest <= 1 + feed.prefetch
        for step in range(1, 5):
            assert feed.next().step == step
            assert sampler.furthest <= step + feed.prefetch

    def test_batches_larger_than_the_folder(self, open: Any) -> None:
        """Faces come up again within a batch."""
        count = max(open().sizes.values()) + 3
        (batch,) = self._batches(
            open(batch_size=count, local_indices=range(count)), 1, batch_size=count
        )
        assert all(batch.inputs[side].shape[0] == count for side in "ab")

    def test_the_color_order_is_the_networks(self, open: Any) -> None:
        """RGB is BGR the other way round, in inputs and targets alike."""
        bgr, rgb = (self._batches(open(color_order=order), 1)[0] for order in ("bgr", "rgb"))
        for side in "ab":
            assert bgr.inputs[side].flip(-1).equal(rgb.inputs[side])
            found: list[Any] = list(bgr.targets[side])
            other: list[Any] = list(rgb.targets[side])
            assert found[1].flip(-1).equal(other[1]), "a face"
            assert found[2].equal(other[2]), "a mask"

    def test_a_preview_is_always_the_same(self, open: Any) -> None:
        """As many faces as asked for, or as there are, and no batch is changed by looking."""
        feed, expected = open(), self._batches(open(), 2)
        feed.start(_Counted(dict(feed.sizes), 4), 1)
        first = feed.next()
        one, two = feed.preview(3), feed.preview(3)
        assert _same(first, expected[0])
        assert _same(feed.next(), expected[1])
        for side in "ab":
            assert one.inputs[side].shape == (3, 16, 16, 3)
            self._check_picture(one.inputs[side])
            assert one.inputs[side].equal(two.inputs[side])
            faces, boxes, mask = one.faces[side], one.boxes[side], one.masks[side]
            assert faces.dtype == np.uint8
            assert faces.ndim == 4
            assert (faces.shape[0], faces.shape[3]) == (3, 3)
            assert (faces == two.faces[side]).all()
            assert boxes.shape == (3, 4)
            height, width = faces.shape[1:3]
            assert (boxes >= 0).all()
            assert (boxes[:, 2] <= width).all()
            assert (boxes[:, 3] <= height).all()
            assert (boxes[:, :2] < boxes[:, 2:]).all()
            assert mask is None or (mask.dtype, mask.shape) == (np.uint8, faces.shape[:3])
        many = feed.preview(10**6)
        assert {side: len(x) for side, x in many.inputs.items()} == dict(feed.sizes)

    def test_closing_lets_go_of_everything(self, open: Any) -> None:
        """Before a start, in the middle, and twice; no thread stays behind."""
        threads = set(threading.enumerate())
        idle = open()
        idle.close()
        feed = open()
        self._batches(feed, 1)
        feed.close()
        feed.close()
        left = [t.name for t in threading.enumerate() if t not in threads and t.is_alive()]
        assert not left, f"threads left behind: {left}"

    def test_preparing_draws_from_no_global_generator(self, open: Any) -> None:
        """Randomness of data is counted: the run's own stream stays where it was."""
        feed = open()
        with unchanged("the feed"):
            self._batches(feed, 3)

    def test_folders_without_faces_are_refused(self, open: Any, tmp_path: Path) -> None:
        """By a FacesError, which users see as one line."""
        (tmp_path / "a").mkdir()
        (tmp_path / "b").mkdir()
        with pytest.raises(FacesError) as caught:
            open(folders={side: tmp_path / side for side in "ab"})
        assert str(caught.value).strip()

    def test_faces_go_out_and_come_back(self, folders: dict[str, Path], tmp_path: Path) -> None:
        """``read_faces`` in order of names, ``write_face`` to a file of its own for each."""
        plugin = self.role()
        try:
            faces = list(plugin.read_faces(folders["a"], (16, 16, 3), "bgr"))
        except Exception as error:
            if "has no hook read_faces" in str(error):
                pytest.skip("it has no hook read_faces")
            raise
        names = [face.name for face in faces]
        assert names == sorted(set(names))
        written = set()
        for face in faces[:3]:
            assert face.image.shape == (16, 16, 3)
            assert face.image.dtype == np.float32
            assert 0 <= face.image.min() <= face.image.max() <= 1
            path = plugin.write_face(face, 1 - face.image, None, "bgr", tmp_path)
            assert path.is_file()
            assert path.parent == tmp_path
            written.add(path)
        assert len(written) == min(3, len(faces))
