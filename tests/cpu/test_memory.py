"""How much memory there is, and images for which it is not enough."""

from pathlib import Path

import numpy as np
import pytest

from nucleiseg import Segmenter, memory

GIB = 1 << 30


@pytest.fixture
def machine(tmp_path):
    """Makes a root folder with the files of /proc and /sys that are given."""

    def make(**files: str) -> Path:
        for name, text in files.items():
            file = tmp_path / name.replace("__", "/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return tmp_path

    return make


def meminfo(available: int) -> str:
    return f"MemTotal:       {64 * GIB // 1024} kB\nMemAvailable:   {available // 1024} kB\n"


def write(root: Path, **files: object) -> None:
    root.mkdir(parents=True, exist_ok=True)
    for name, value in files.items():
        (root / name.replace("__", ".")).write_text(f"{value}\n")


class TestFree:
    def test_what_linux_says_is_available(self, machine):
        assert memory.free(machine(proc__meminfo=meminfo(5 * GIB))) == 5 * GIB

    def test_unknown_elsewhere(self, tmp_path):
        assert memory.free(tmp_path) is None

    def test_this_machine(self):
        found = memory.free()
        assert found is None or found > 0

    def test_what_a_control_group_leaves(self, machine):
        root = machine(proc__meminfo=meminfo(50 * GIB), proc__self__cgroup="0::/a/job\n")
        job = root / "sys/fs/cgroup/a/job"
        write(job, memory__max=8 * GIB, memory__current=6 * GIB)
        assert memory.free(root) == 2 * GIB
        # Files that were read are forgotten when there is need.
        write(job, memory__stat=f"anon 3\ninactive_file {GIB}\nactive_file 7")
        assert memory.free(root) == 3 * GIB
        write(job, memory__max="max")
        assert memory.free(root) == 50 * GIB

    def test_the_groups_that_hold_it_count_too(self, machine):
        root = machine(proc__meminfo=meminfo(50 * GIB), proc__self__cgroup="0::/a/job\n")
        write(root / "sys/fs/cgroup/a/job", memory__max="max", memory__current=1 * GIB)
        write(root / "sys/fs/cgroup/a", memory__max=4 * GIB, memory__current=3 * GIB)
        assert memory.free(root) == 1 * GIB

    def test_a_container_whose_group_is_at_the_top(self, machine):
        root = machine(proc__meminfo=meminfo(50 * GIB), proc__self__cgroup="0::/docker/12ab\n")
        write(root / "sys/fs/cgroup", memory__max=2 * GIB, memory__current=GIB // 2)
        assert memory.free(root) == 2 * GIB - GIB // 2

    def test_groups_of_the_first_version(self, machine):
        groups = "9:cpu,cpuacct:/x\n4:memory:/slurm/7\n0::/\n"
        root = machine(proc__meminfo=meminfo(50 * GIB), proc__self__cgroup=groups)
        job = root / "sys/fs/cgroup/memory/slurm/7"
        write(job, memory__limit_in_bytes=4 * GIB, memory__usage_in_bytes=3 * GIB)
        write(job, memory__stat=f"inactive_file 5\ntotal_inactive_file {GIB // 2}")
        assert memory.free(root) == GIB + GIB // 2

    def test_more_taken_than_allowed(self, machine):
        root = machine(proc__meminfo=meminfo(GIB), proc__self__cgroup="0::/a\n")
        write(root / "sys/fs/cgroup/a", memory__max=GIB, memory__current=2 * GIB)
        assert memory.free(root) == 0


class TestRefusal:
    @pytest.fixture
    def segmenter(self, monkeypatch):
        """One for which there is 1 GB, and which cannot do any work."""
        segmenter = Segmenter(device="cpu")
        monkeypatch.setattr(memory, "free", lambda: 10**9)
        monkeypatch.setattr(segmenter._pipeline, "run", None)
        return segmenter

    @staticmethod
    def large(height: int, width: int) -> np.ndarray:
        """Return an image of which hardly any page has been written."""
        image = np.zeros((height, width), np.uint8)
        image[::64] = np.arange(width) % 256
        return image

    @pytest.mark.parametrize(
        ("output", "size", "words"),
        [
            ("labels", {"scale": 1}, "about 2.4 GB of memory are needed at scale 1"),
            ("labels", {"scale": 0.5}, "about 3.9 GB of memory are needed at scale 0.5"),
            ("maps", {"mpp": 0.499}, "about 1.5 GB of memory are needed at scale 0.601"),
            ("mask", {"scale": 2}, "about 1.1 GB of memory are needed at scale 2"),
        ],
    )
    def test_it_names_the_size_and_what_is_needed_and_free(self, segmenter, output, size, words):
        image = self.large(10_000, 30_000)
        with pytest.raises(MemoryError) as found:
            segmenter.segment(image, output, **size)
        message = str(found.value)
        assert message.startswith(f"image: got 10000 x 30000 pixels, for which {words}, and 1.0 GB")

    def test_a_mask_at_its_own_scale_needs_little(self, segmenter):
        with pytest.raises(TypeError, match="NoneType"):  # it has begun
            segmenter.segment(self.large(10_000, 30_000), scale=1)

    def test_where_it_is_not_known_nothing_is_refused(self, segmenter, monkeypatch):
        monkeypatch.setattr(memory, "free", lambda: None)
        with pytest.raises(TypeError, match="NoneType"):
            segmenter.segment(self.large(10_000, 30_000), "labels", scale=1)

    def test_small_images_are_not_checked(self, segmenter, monkeypatch):
        monkeypatch.setattr(memory, "free", None)
        memory.check((4000, 4000), ("mask", "labels"), 0.25)

    @pytest.mark.parametrize(
        ("shape", "scale", "seen"),
        [
            ((12_000, 12_000), 0.25, "48000 x 48000 at scale 0.25"),
            ((50_000, 50_000), 1, "50000 x 50000 at scale 1"),
            ((50_000, 50_000), 2, "25000 x 25000 at scale 2"),
            ((2, 700_000), 0.5, "4 x 1400000 at scale 0.5"),
        ],
    )
    def test_what_is_too_large_to_be_counted(self, segmenter, shape, scale, seen):
        message = (
            f"image: got {shape[0]} x {shape[1]} pixels, which the network would see as {seen};"
        )
        with pytest.raises(ValueError, match=message):
            segmenter.segment(self.large(*shape), "labels", scale=scale)
