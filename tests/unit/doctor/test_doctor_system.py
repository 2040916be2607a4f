"""Checks of the machine itself: memory, disk, processors, plugins, terminal."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from fs_doctor import system
from fs_doctor.limits import memory_limit, processor_limit


def test_python_and_system_are_told(machine):
    assert system.check_python(machine.probes()).status == "ok"
    assert "64 bit" in system.check_python(machine.probes()).found
    assert "tested on Linux" not in system.check_system(machine.probes()).found
    assert "tested on Linux" in system.check_system(machine.probes(system="Windows")).found


class TestPlugins:
    def test_one_of_each_kind_is_enough(self, machine):
        finding = system.check_plugins(machine.probes())
        assert finding.status == "ok"
        assert "5 plugins of 5 packages" in finding.found

    def test_a_kind_that_is_missing_makes_training_impossible(self, machine):
        rows = [r for r in machine.probes().plugins() if r["kind"] not in ("feed", "executor")]
        finding = system.check_plugins(machine.probes(plugins=lambda: rows))
        assert (finding.status, finding.exit_code) == ("problem", 4)
        assert finding.advice == "pip install fs-feed-faces fs-executor-torch"

    def test_one_that_is_there_but_too_new_counts_as_missing(self, machine):
        rows = [{**r, "status": "too new"} for r in machine.probes().plugins()]
        assert system.check_plugins(machine.probes(plugins=lambda: rows)).status == "problem"

    def test_a_broken_one_that_nothing_needs_is_named(self, machine):
        extra = {"name": "odd", "kind": "model", "distribution": "x", "status": "duplicate name"}
        rows = [*machine.probes().plugins(), extra]
        finding = system.check_plugins(machine.probes(plugins=lambda: rows))
        assert finding.status == "warning"
        assert "odd (duplicate name)" in finding.found


class TestControlGroups:
    def test_without_any_there_is_no_limit(self, machine):
        assert processor_limit(machine.probes()) is None
        assert memory_limit(machine.probes()) is None

    def test_new_ones_count_up_to_the_root(self, machine):
        machine.file("proc/self/cgroup", "0::/user/mine")
        machine.file("sys/fs/cgroup/user/mine/cpu.max", "max 100000")
        machine.file("sys/fs/cgroup/user/cpu.max", "250000 100000")
        machine.file("sys/fs/cgroup/user/mine/memory.max", "8000000000")
        machine.file("sys/fs/cgroup/user/memory.max", "max")
        assert processor_limit(machine.probes()) == 2.5
        assert memory_limit(machine.probes()) == 8_000_000_000

    def test_a_container_sees_its_group_at_the_root(self, machine):
        machine.file("proc/self/cgroup", "0::/../../docker/abc")
        machine.file("sys/fs/cgroup/cpu.max", "100000 100000")
        assert processor_limit(machine.probes()) == 1.0

    def test_old_ones_are_known_too(self, machine):
        machine.file("proc/self/cgroup", "9:name=systemd:/\n4:memory:/job\n1:cpu,cpuacct:/job")
        machine.file("sys/fs/cgroup/memory/job/memory.limit_in_bytes", "4000000000")
        machine.file("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712")
        machine.file("sys/fs/cgroup/cpu/job/cpu.cfs_quota_us", "150000")
        machine.file("sys/fs/cgroup/cpu/job/cpu.cfs_period_us", "100000")
        machine.file("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1")
        machine.file("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000")
        assert processor_limit(machine.probes()) == 1.5
        assert memory_limit(machine.probes()) == 4_000_000_000


class TestMemory:
    def test_enough(self, machine):
        finding = system.check_memory(machine.probes())
        assert (finding.status, finding.found) == ("ok", "24 GB of 32 GB available")

    def test_little(self, machine):
        probes = machine.probes(memory=lambda: (8 * 10**9, 10**9))
        assert system.check_memory(probes).status == "warning"

    def test_a_limit_counts_and_is_named(self, machine):
        machine.file("proc/self/cgroup", "0::/")
        machine.file("sys/fs/cgroup/memory.max", "2000000000")
        finding = system.check_memory(machine.probes())
        assert finding.status == "warning"
        assert "limited to 2 GB" in finding.found


class TestDisk:
    def test_a_folder_yet_to_be_made_counts_by_its_parent(self, machine, tmp_path):
        asked = []
        probes = machine.probes(disk_free=lambda path: asked.append(path) or 50 * 10**9)
        finding = system.check_disk(probes, tmp_path / "models" / "ab")
        assert finding.status == "ok"
        assert asked == [tmp_path]

    def test_little_room(self, machine, tmp_path):
        probes = machine.probes(disk_free=lambda path: 10**9)
        finding = system.check_disk(probes, tmp_path)
        assert finding.status == "warning"
        assert "save.max_disk" in finding.advice

    def test_a_file_in_its_place_is_a_problem(self, machine, tmp_path):
        (tmp_path / "file").write_text("")
        finding = system.check_disk(machine.probes(), tmp_path / "file" / "model")
        assert (finding.status, finding.exit_code) == ("problem", 5)

    @pytest.mark.skipif(os.name != "posix" or os.getuid() == 0, reason="root may write anywhere")
    def test_a_folder_of_somebody_else_is_a_problem(self, machine, tmp_path):
        (tmp_path / "theirs").mkdir(mode=0o500)
        assert system.check_disk(machine.probes(), tmp_path / "theirs").status == "problem"

    def test_without_a_folder_the_working_one_is_looked_at(self, machine):
        assert str(Path.cwd()) in system.check_disk(machine.probes(), None).found


class TestProcessors:
    def test_as_many_threads_as_processors(self, machine):
        finding = system.check_processors(machine.probes(), 8)
        assert finding.status == "ok"
        assert finding.found == "8 processors usable; torch uses 8 threads"

    def test_too_many_threads_for_a_control_group(self, machine):
        machine.file("proc/self/cgroup", "0::/")
        machine.file("sys/fs/cgroup/cpu.max", "150000 100000")
        finding = system.check_processors(machine.probes(), 8)
        assert finding.status == "warning"
        assert "limited to the time of 1.5" in finding.found
        assert "OMP_NUM_THREADS=2" in finding.advice

    def test_a_torch_that_cannot_be_asked(self, machine):
        assert system.check_processors(machine.probes(), None).found == "8 processors usable"


class TestSharedMemory:
    def test_enough_little_none(self, machine):
        assert system.check_shared_memory(machine.probes()).status == "warning"
        (machine.root / "dev/shm").mkdir(parents=True)
        assert system.check_shared_memory(machine.probes()).status == "ok"
        small = machine.probes(disk_free=lambda path: 6e7)
        assert "60 MB" in system.check_shared_memory(small).found
        assert "--shm-size" in system.check_shared_memory(small).advice

    def test_other_systems_have_none(self, machine):
        assert system.check_shared_memory(machine.probes(system="Darwin")).status == "ok"


@pytest.mark.parametrize(
    ("is_terminal", "term", "words"),
    [(False, "xterm", "none"), (True, "dumb", "simple"), (True, "xterm", "yes")],
)
def test_terminal(machine, is_terminal, term, words):
    probes = machine.probes({"TERM": term}, is_terminal=lambda: is_terminal)
    finding = system.check_terminal(probes)
    assert finding.status == "ok"
    assert words in finding.found
