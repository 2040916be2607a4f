"""Cut-out faces on disk: found again, shared, bounded, and never half."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import attrs
import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from face_files import fill, make_spec, plain_picture
from feed_batches import NO_DISK, InOrder, batches, make_config, same
from fs_faces import pictures
from fs_feed_faces import cache as caching
from fs_feed_faces import crop_store, feed_factory, filesystem, scan_cache
from fs_feed_faces.cache import Cache, CacheError
from fs_feed_faces.command import faces as command
from fs_feed_faces.crop_store import CachedCrops, CutCrops
from fs_feed_faces.crops import Cropper
from fs_feed_faces.filesystem import network_kind
from fs_feed_faces.options import AugmentationOptions, CacheOptions, FaceOptions
from fs_feed_faces.source import open_faces, scan
from fs_kernel.options import Size


@pytest.fixture
def disk(tmp_path) -> CacheOptions:
    return CacheOptions(cache_dir=str(tmp_path / "cache"))


@pytest.fixture
def cuts(monkeypatch) -> Counter:
    """How often each face was cut."""
    counts = Counter()
    read = Cropper.read

    def counted(cropper, file):
        counts[file.path] += 1
        return read(cropper, file)

    monkeypatch.setattr(Cropper, "read", counted)
    return counts


def opened(folders, disk: CacheOptions, spec=None, **options):
    return feed_factory.open_feed(folders, spec or make_spec(), make_config(disk=disk, **options))


def settled(folder: Path) -> Path:
    """The folder with files that are old enough to be remembered."""
    for path in folder.iterdir():
        os.utime(path, (1e9, 1e9))
    return folder


def copied(two_sides, tmp_path) -> dict[str, Path]:
    return {
        side: settled(Path(shutil.copytree(folder, tmp_path / side)))
        for side, folder in two_sides.items()
    }


def kept(disk: CacheOptions) -> list[str]:
    return sorted(entry.name for entry in disk.open().entries() if entry.facts)


# --- found again ---


def test_faces_are_cut_once_for_all_runs(two_sides, disk, cuts):
    first = batches(two_sides, make_spec(), make_config(disk=disk), 2)
    assert set(cuts.values()) == {1}
    assert len(cuts) == 53
    again = batches(two_sides, make_spec(), make_config(disk=disk), 2)
    assert set(cuts.values()) == {1}, "the second run cut nothing"
    assert all(map(same, first, again))
    assert all(map(same, first, batches(two_sides, make_spec(), make_config(disk=NO_DISK), 2)))


@pytest.mark.parametrize(
    ("option", "anew"),
    [
        ({"centering": "head"}, True),
        ({"coverage": 87.5}, True),
        ({"vertical_offset": 5}, True),
        ({"mask_dilation": 2.0}, True),
        ({"mask_type": "components"}, True),
        ({"mask_threshold": 10}, False),
        ({"mask_type": "bisenet-fp_face"}, True),
        ({"on_missing_mask": "skip"}, False),
    ],
    ids=str,
)
def test_other_options_are_cut_anew_only_if_they_shape_the_crop(
    two_sides, disk, cuts, option, anew
):
    opened(two_sides, disk)
    feed = opened(two_sides, disk, face=FaceOptions(**option))
    assert max(cuts.values()) == (2 if anew else 1)
    options = FaceOptions(**option)
    layout = feed._sides["a"].layout
    known = Cropper(options, 32, layout.masks).read(layout.faces.files[3])
    crop = feed._sides["a"].crops.read(3)
    np.testing.assert_array_equal(np.dstack([crop.picture, *crop.masks]), known)


def test_sizes_and_masks_are_kept_apart_and_augmentation_is_not(two_sides, disk):
    opened(two_sides, disk)
    assert len(kept(disk)) == 2
    opened(two_sides, disk, augmentation=AugmentationOptions(warp=False))
    assert len(kept(disk)) == 2
    opened(two_sides, disk, make_spec(64))
    opened(two_sides, disk, make_spec(masks=("face",)))
    assert len(kept(disk)) == 6


def test_a_copy_of_the_folder_shares_its_crops(two_sides, tmp_path, disk, cuts):
    """Content is what counts, not where it lies."""
    opened(two_sides, disk)
    opened(copied(two_sides, tmp_path), disk)
    assert max(cuts.values()) == 1
    assert len(kept(disk)) == 2


def test_a_changed_a_new_and_a_lost_face_are_noticed(two_sides, tmp_path, disk):
    folders = copied(two_sides, tmp_path)
    opened(folders, disk)
    picture = folders["a"] / "0001.png"
    data = picture.read_bytes()
    picture.write_bytes((folders["a"] / "0002.png").read_bytes())
    changed = opened(folders, disk)._sides["a"].crops
    np.testing.assert_array_equal(changed.records[1], changed.records[2])
    assert len(kept(disk)) == 3
    picture.write_bytes(data)
    opened(folders, disk)
    assert len(kept(disk)) == 3, "what it was before is still there"
    (folders["a"] / "new.png").write_bytes(data)
    assert opened(folders, disk).sizes["a"] == 27
    (folders["a"] / "new.png").unlink()
    assert opened(folders, disk).sizes["a"] == 26
    assert len(kept(disk)) == 4


def test_a_run_does_not_notice_what_happens_to_the_files_meanwhile(two_sides, tmp_path, disk):
    folders = copied(two_sides, tmp_path)
    known = batches(folders, make_spec(), make_config(disk=disk), 3)
    feed = opened(folders, disk)
    shutil.rmtree(folders["a"])
    shutil.rmtree(tmp_path / "cache", ignore_errors=True)
    feed.start(InOrder(feed.sizes, 4), 1)
    assert all(same(feed.next(), batch) for batch in known)
    feed.close()


def test_a_face_that_cannot_be_decoded_is_known_from_then_on(
    two_sides, tmp_path, disk, monkeypatch
):
    """Its checksums are right, its pixels are not."""
    decode = pictures.decode

    def broken(data):
        if data == bad:
            raise pictures.UnreadableError("it is not a readable picture")
        return decode(data)

    bad = (two_sides["a"] / "0001.png").read_bytes()
    monkeypatch.setattr("fs_feed_faces.crops.decode", broken)
    for _ in range(2):
        feed = opened(two_sides, disk)
        feed.start(InOrder({"a": 4, "b": 4}, 4), 1)
        with pytest.warns(UserWarning, match=r"0001\.png: it is not a readable picture; another"):
            assert feed.next().meta.indices["a"].tolist() == [0, 2, 2, 3]
        feed.close()


# --- looking through folders ---


def test_a_folder_that_is_known_is_not_read_again(two_sides, tmp_path, disk, monkeypatch):
    folder = copied(two_sides, tmp_path)["a"]
    first = scan(folder, "bisenet-fp_face", disk.open())
    monkeypatch.setattr(Path, "read_bytes", _refuse_pictures(Path.read_bytes))
    again = scan(folder, "bisenet-fp_face", disk.open())
    assert again.fingerprint == first.fingerprint
    assert len(again.files) == 26
    for one, other in zip(first.files, again.files, strict=True):
        for name in ("path", "height", "width", "mask_names", "digest", "yaw"):
            assert getattr(one, name) == getattr(other, name)
        for name in ("landmarks", "matrix", "direction"):
            known, seen = getattr(one.alignment, name), getattr(other.alignment, name)
            np.testing.assert_array_equal(known, seen)
        for centering, offset in one.alignment.offsets.items():
            np.testing.assert_array_equal(offset, other.alignment.offsets[centering])
        np.testing.assert_array_equal(one.mask.image(), other.mask.image())
        np.testing.assert_array_equal(one.mask.affine, other.mask.affine)
        assert one.mask.centering == other.mask.centering


def _refuse_pictures(read):
    def reading(path):
        assert path.suffix not in pictures.SUFFIXES, f"{path} was read"
        return read(path)

    return reading


def test_plain_pictures_and_other_landmarks_are_remembered_too(tmp_path, disk, two_sides):
    folder = fill(tmp_path / "A", 2)
    fill(folder, 1, start=5, mask=None, points=lambda p: p[[0, 16, 26, 17]])
    cv2.imwrite(str(folder / "z.jpg"), plain_picture(1))
    settled(folder)
    first, again = (scan(folder, "bisenet-fp_face", disk.open()).files for _ in range(2))
    for one, other in zip(first, again, strict=True):
        assert one.plain == other.plain
        assert one.has_mask("bisenet-fp_face") == other.has_mask("bisenet-fp_face")
        assert np.isnan(one.yaw) == np.isnan(other.yaw)
    assert again[3].alignment is None
    assert len(again[2].alignment.landmarks) == 4


def test_only_files_that_changed_are_read_again(two_sides, tmp_path, disk, monkeypatch):
    folder = copied(two_sides, tmp_path)["a"]
    scan(folder, "none", disk.open())
    new = folder / "0003.png"
    new.write_bytes((folder / "0004.png").read_bytes())
    reads = []
    read = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda p: (reads.append(p.name), read(p))[1])
    found = scan(folder, "none", disk.open())
    assert [name for name in reads if name.endswith(".png")] == ["0003.png"]
    assert found.files[3].digest == found.files[4].digest


def test_a_file_that_was_just_written_is_not_trusted(two_sides, tmp_path, disk, monkeypatch):
    """It could be written again within the resolution of its time."""
    folder = copied(two_sides, tmp_path)["a"]
    for seconds, trusted in ((0, False), (10, True)):
        os.utime(folder / "0000.png", (time.time() - seconds,) * 2)
        scan(folder, "none", disk.open())
        known = scan_cache.ScanCache(disk.open(), folder, "none")._known
        assert ("0000.png" in known) is trusted
        assert "0001.png" in known


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 nonsense", b"\0" * 5000])
def test_a_damaged_memory_of_a_folder_is_none(two_sides, tmp_path, disk, content):
    folder = copied(two_sides, tmp_path)["a"]
    first = scan(folder, "none", disk.open())
    (path,) = (tmp_path / "cache").glob("folder-*.npz")
    path.write_bytes(content)
    assert scan(folder, "none", disk.open()).fingerprint == first.fingerprint
    assert path.stat().st_size > 5000, "it is written anew"


# --- never half ---


@pytest.mark.parametrize("fault", ["shorter", "no facts", "facts cut off", "no file"])
def test_an_entry_that_is_not_whole_is_made_anew(two_sides, disk, cuts, fault):
    known = batches(two_sides, make_spec(), make_config(disk=disk), 2)
    for name in kept(disk):
        entry = Path(disk.cache_dir) / name
        crops, facts = entry / "crops.u8", entry / "facts.json"
        if fault == "shorter":
            crops.write_bytes(crops.read_bytes()[:-1])
        elif fault == "no facts":
            facts.unlink()
        elif fault == "facts cut off":
            facts.write_bytes(facts.read_bytes()[:20])
        else:
            crops.unlink()
    assert all(map(same, known, batches(two_sides, make_spec(), make_config(disk=disk), 2)))
    assert set(cuts.values()) == {2}
    assert len(kept(disk)) == 2


PROGRAM = """
import sys, time
sys.path[:0] = {tests!r}
from pathlib import Path
from face_files import make_spec
from feed_batches import batches, make_config
from fs_feed_faces.crops import Cropper
from fs_feed_faces.filesystem import network_kind
from fs_feed_faces.options import CacheOptions

read = Cropper.read
def slowly(cropper, file):
    time.sleep({pause})
    print("cut", flush=True)
    return read(cropper, file)
Cropper.read = slowly
config = make_config(disk=CacheOptions(cache_dir={cache!r}))
batch = batches({{"a": Path({a!r}), "b": Path({b!r})}}, make_spec(), config, 1)[0]
print("done", float(batch.inputs["a"].sum()), flush=True)
"""


def program(two_sides, disk, pause: float) -> subprocess.Popen:
    code = PROGRAM.format(
        tests=[str(folder) for folder in Path(__file__).parents[:2]],
        cache=disk.cache_dir,
        a=str(two_sides["a"]),
        b=str(two_sides["b"]),
        pause=pause,
    )
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_a_run_killed_while_it_cuts_leaves_nothing_that_counts(two_sides, disk, cuts):
    killed = program(two_sides, disk, 0.05)
    for _ in range(9):
        killed.stdout.readline()
    folder = Path(disk.cache_dir)
    assert list(folder.glob("*.part-*")), "it was killed in the middle"
    gathered = CliRunner().invoke(command, ["cache", "gc", "--dir", disk.cache_dir, "--json"])
    assert json.loads(gathered.stdout)["removed"] == 0, "what is in the making is left alone"
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert kept(disk) == []
    known = batches(two_sides, make_spec(), make_config(disk=NO_DISK), 1)
    again = batches(two_sides, make_spec(), make_config(disk=disk), 1)
    assert all(map(same, known, again))
    assert len(kept(disk)) == 2
    assert not list(folder.glob("*.part-*")), "the next run cleared it away"


def test_two_runs_at_once_cut_each_face_once(two_sides, disk):
    runs = [program(two_sides, disk, 0.01) for _ in range(2)]
    outputs = [run.communicate()[0] for run in runs]
    assert "".join(outputs).count("cut") == 53
    sums = {output.partition("done")[2].strip() for output in outputs}
    assert len(sums) == 1
    assert float(sums.pop()) > 0
    assert len(kept(disk)) == 2


def test_who_waits_says_so_once(tmp_path):
    place = Cache(tmp_path, 0)
    said, begun, go = [], threading.Event(), threading.Event()

    def write(folder):
        begun.set()
        go.wait(10)
        (folder / "x").write_bytes(b"1")
        return {}

    first = threading.Thread(target=lambda: place.make("one", 1, write, lambda: None))
    first.start()
    begun.wait(10)

    def waiting():
        said.append(1)
        go.set()

    entry = Cache(tmp_path, 0).make("one", 1, lambda folder: pytest.fail("made twice"), waiting)
    first.join()
    assert said == [1]
    assert (entry.path / "x").read_bytes() == b"1"


# --- bounded, and how it fails ---


def made(place: Cache, name: str, size: int = 1000) -> caching.Entry:
    def write(folder):
        (folder / "x").write_bytes(b"1" * size)
        return {}

    return place.make(name, size, write, lambda: None)


def test_the_least_recently_used_is_dropped_to_fit(tmp_path):
    place = Cache(tmp_path, 3500)
    for age, name in enumerate(("a", "b", "c")):
        os.utime(made(Cache(tmp_path, 3500), name).path, (1e9 + age, 1e9 + age))
    place.find("a")
    made(place, "d")
    assert sorted(entry.name for entry in place.entries()) == ["a", "c", "d"]
    with pytest.raises(CacheError, match=r"feed\.faces\.cache_size"):
        made(place, "e", 2000)
    assert len(place.entries()) == 3, "nothing was dropped in vain"


def test_what_does_not_fit_is_said_and_the_run_goes_on(two_sides, disk, cuts):
    small = attrs.evolve(disk, cache_size=Size(300_000))
    feed = opened(two_sides, small)
    (line,) = [line for line in feed.warnings if "cache" in line]
    assert "feed.faces.cache_size" in line
    assert isinstance(feed._sides["a"].crops, CutCrops)
    feed.start(InOrder(feed.sizes, 4), 1)
    known = batches(two_sides, make_spec(), make_config(disk=NO_DISK), 2)
    assert all(same(feed.next(), batch) for batch in known)
    feed.close()


def test_cache_size_bounds_the_disk(two_sides, disk):
    """Two folders fit, at one size of the network, not at two."""
    bounded = attrs.evolve(disk, cache_size=Size(53 * 32 * 32 * 6 + 200_000))
    opened(two_sides, bounded)
    before = kept(disk)
    opened(two_sides, bounded, make_spec(16))
    opened(two_sides, bounded, make_spec(24))
    assert len(kept(disk)) >= 2
    assert not set(before) & set(kept(disk))
    assert sum(entry.bytes for entry in disk.open().entries()) <= bounded.cache_size.bytes


@pytest.mark.parametrize("place", ["at once", "in the middle"])
def test_a_full_disk_is_said_and_the_run_goes_on(two_sides, disk, monkeypatch, place):
    if place == "at once":
        usage = shutil._ntuple_diskusage(10**9, 10**9 - 1000, 1000)
        monkeypatch.setattr(caching.shutil, "disk_usage", lambda folder: usage)
    else:
        fsync = os.fsync

        def full(handle):
            if os.fstat(handle).st_size > 10_000:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            fsync(handle)

        monkeypatch.setattr(os, "fsync", full)
    feed = opened(two_sides, disk)
    (line,) = [line for line in feed.warnings if "cache" in line]
    assert ("free" if place == "at once" else "No space left") in line
    assert line.endswith("they are cut as they are needed")
    assert kept(disk) == []
    assert not list(Path(disk.cache_dir).glob("*.part-*"))
    feed.start(InOrder(feed.sizes, 4), 1)
    feed.next()
    feed.close()


@pytest.mark.parametrize("kind", ["a file", "read-only"])
def test_a_cache_that_cannot_be_written_is_said(two_sides, tmp_path, monkeypatch, kind):
    place = tmp_path / "place"
    if kind == "a file":
        place.write_text("")
    else:
        monkeypatch.setattr(Path, "mkdir", _refuse(Path.mkdir, place / "cache"))
    feed = opened(two_sides, CacheOptions(cache_dir=str(place / "cache")))
    (line,) = [line for line in feed.warnings if "cache" in line]
    assert str(place / "cache") in line


def _refuse(mkdir, folder: Path):
    def making(path, *arguments, **options):
        if path == folder:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return mkdir(path, *arguments, **options)

    return making


def test_a_cache_that_became_read_only_can_still_be_used(two_sides, disk, cuts, monkeypatch):
    opened(two_sides, disk)
    monkeypatch.setattr(Path, "mkdir", _refuse(Path.mkdir, Path(disk.cache_dir)))
    monkeypatch.setattr(os, "utime", lambda *_: (_ for _ in ()).throw(PermissionError))
    feed = opened(two_sides, disk)
    assert isinstance(feed._sides["a"].crops, CachedCrops)
    assert not [line for line in feed.warnings if "cache" in line]
    assert max(cuts.values()) == 1


def test_cache_is_what_it_is_asked_to_be(two_sides, disk, tmp_path, monkeypatch):
    """Off writes nothing; the default is the user's own folder; a named one is used."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    opened(two_sides, CacheOptions(cache=False))
    assert not (tmp_path / "home").exists()
    opened(two_sides, disk)
    assert not (tmp_path / "home").exists()
    opened(two_sides, CacheOptions())
    assert (tmp_path / "home/fs-kernel/faces").is_dir()
    if os.name != "nt":
        assert (tmp_path / "home/fs-kernel/faces").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("mounts", "kind"),
    [
        ("/dev/sda / ext4 rw 0 0", None),
        ("/dev/sda / ext4 rw 0 0\nserver:/x {} nfs4 rw 0 0", "nfs4"),
        ("server:/ / nfs rw 0 0\n/dev/sdb {} ext4 rw 0 0", None),
        ("x / overlay rw 0 0\nu@h:/x {} fuse.sshfs rw 0 0\nodd line", "fuse.sshfs"),
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="drives are asked for there")
def test_a_network_file_system_is_warned_about(two_sides, tmp_path, monkeypatch, mounts, kind):
    read = Path.read_text

    def reading(path, *arguments, **options):
        if str(path) == "/proc/self/mounts":
            return mounts.format(tmp_path)
        return read(path, *arguments, **options)

    monkeypatch.setattr(Path, "read_text", reading)
    assert network_kind(tmp_path / "cache") == kind
    feed = opened(two_sides, CacheOptions(cache_dir=str(tmp_path / "cache")))
    lines = [line for line in feed.warnings if "network file system" in line]
    assert len(lines) == (kind is not None)


# --- the commands ---


def fs_faces(*arguments: object):
    return CliRunner().invoke(command, ["cache", *map(str, arguments)])


def test_ls_says_what_is_kept(two_sides, tmp_path, disk):
    folders = copied(two_sides, tmp_path)
    empty = fs_faces("ls", "--dir", disk.cache_dir)
    assert empty.stdout.strip() == f"{disk.cache_dir}: 0 B of at most 20 GB"
    opened(folders, disk)
    facts = json.loads(fs_faces("ls", "--json", "--dir", disk.cache_dir).stdout)
    crops = [entry for entry in facts["entries"] if entry["kind"] == "crops"]
    known = [entry for entry in facts["entries"] if entry["kind"] == "folder"]
    assert {entry["folder"] for entry in crops} == {str(path) for path in folders.values()}
    assert {entry["folder"] for entry in known} == {str(path) for path in folders.values()}
    assert sorted(entry["faces"] for entry in crops) == [26, 27]
    assert crops[0]["options"]["size"] == 32
    on_disk = sum(p.stat().st_size for p in Path(disk.cache_dir).rglob("*") if p.is_file())
    assert facts["bytes"] == pytest.approx(on_disk, rel=0.02)
    text = fs_faces("ls", "--dir", disk.cache_dir).stdout
    assert "26 faces of 32 px, face, coverage 100.0%, masks: face, eye, mouth" in text
    assert "today" in text


def test_gc_removes_leftovers_and_what_is_beyond_the_bound(two_sides, tmp_path, disk):
    opened(two_sides, disk)
    folder = Path(disk.cache_dir)
    (folder / "crops-0.part-1").mkdir()
    (folder / "crops-0.part-1/crops.u8").write_bytes(b"1" * 500)
    (folder / "crops-0.lock").touch()
    (folder / "crops-1.trash-1").mkdir()
    (folder / "crops-1.lock").touch()
    (folder / "crops-2.part-1").mkdir()
    first = json.loads(fs_faces("gc", "--json", "--dir", folder).stdout)
    assert first == {"removed": 2, "bytes": 500}
    assert not (folder / "crops-0.lock").exists()
    assert (folder / "crops-2.part-1").exists(), "no lock tells whether somebody is at work"
    os.utime(folder / "crops-2.part-1", (1e9, 1e9))
    assert json.loads(fs_faces("gc", "--json", "--dir", folder).stdout)["removed"] == 1
    assert len(kept(disk)) == 2
    before = disk.open().entries()
    assert "kB" in fs_faces("gc", "--max-size", "200kB", "--dir", folder).stdout
    left = disk.open().entries()
    assert left == before[-len(left) :], "the least recently used went first"
    assert 0 < sum(entry.bytes for entry in left) <= 200_000
    fs_faces("gc", "--all", "--dir", folder)
    assert disk.open().entries() == []
    result = fs_faces("gc", "--max-size", "lots", "--dir", folder)
    assert "write a size" in str(result.exception)


def test_the_size_is_told_before_faces_are_cut(two_sides, disk):
    import click

    @click.command()
    def run():
        opened(two_sides, disk)

    lines = CliRunner().invoke(run).stderr.splitlines()
    assert lines[0] == f"{two_sides['a']}: cutting out 26 faces once, 160 kB in {disk.cache_dir}"
    assert len(lines) == 2
    assert CliRunner().invoke(run).stderr == ""


def test_crops_of_a_format_to_come_are_other_crops(two_sides, disk, monkeypatch, cuts):
    opened(two_sides, disk)
    monkeypatch.setattr(crop_store, "_FORMAT", crop_store._FORMAT + 1)
    opened(two_sides, disk)
    assert set(cuts.values()) == {2}


def test_faces_that_are_not_needed_are_no_obstacle(two_sides, disk):
    """The cache of a side holds the faces that were usable then."""
    faces = open_faces(two_sides["a"], FaceOptions(), True, 25, disk.open())
    cropper = Cropper(FaceOptions(), 16, ("face",))
    crops = crop_store.open_crops(faces, cropper, disk.open())
    assert crops.records.shape == (26, 16 * 16 * 4)
    crops.records[0] = 0
    assert crop_store.open_crops(faces, cropper, disk.open()).records[0].any(), "no file changed"


def test_without_locks_the_first_to_finish_wins(tmp_path, monkeypatch):
    class NoLock:
        def __init__(self, path):
            pass

        def acquire(self, **_):
            raise NotImplementedError

    monkeypatch.setattr(filesystem, "FileLock", NoLock)

    def write(folder):
        (folder / "x").write_bytes(b"mine")
        # Somebody else is done in the meantime.
        other = tmp_path / "one"
        other.mkdir()
        (other / "x").write_bytes(b"other")
        (other / "facts.json").write_text(json.dumps({"files": {"x": 5}}))
        return {}

    entry = Cache(tmp_path, 0).make("one", 4, write, lambda: None)
    assert (entry.path / "x").read_bytes() == b"other"
    assert [path.name for path in tmp_path.iterdir()] == ["one"]
