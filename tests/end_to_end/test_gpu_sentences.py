"""What is said where a GPU cannot be used: one sentence a missing part, with what mends it."""

import importlib.util
import logging
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import nucleiseg
import nucleiseg._native as native
from nucleiseg import Model, ModelError, Segmenter, backends, device
from nucleiseg.engines.native import Engine

IMAGE = Path(__file__).parents[1] / "data" / "images" / "fluorescence_small.png"
DRIVER = "NVIDIA driver: libcuda.so.1 is not installed (Ubuntu: sudo ubuntu-drivers install"
TENSORRT = "TensorRT: not installed (pip install tensorrt, or pip install tensorrt-rtx-cu12"
REASON = "" if not device.find()[1].there else "this machine has an NVIDIA driver"
without_driver = pytest.mark.skipif(bool(REASON), reason=REASON)


def run(*arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "nucleiseg", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def missing(monkeypatch):
    """Hides packages from whoever looks whether they are installed."""

    def hide(*names: str) -> None:
        real = importlib.util.find_spec
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda name: None if name in names else real(name)
        )

    return hide


@pytest.fixture(scope="module")
def cpu():
    return Segmenter(device="cpu")


class OnAGpu:
    """An array that says that it is in a GPU's memory."""

    __cuda_array_interface__ = {  # noqa: RUF012 (as other libraries have it)
        "shape": (4, 4),
        "typestr": "|u1",
        "data": (4096, False),
        "version": 3,
    }


class OnDevice:
    def __init__(self, kind: int) -> None:
        self._kind = kind

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._kind, 0


class TestAsking:
    @without_driver
    def test_for_cuda_without_a_driver(self, missing):
        missing("tensorrt", "tensorrt_rtx")
        with pytest.raises(RuntimeError) as found:
            Segmenter(device="cuda")
        message = str(found.value)
        assert message.startswith("device: 'cuda' was asked for, but GPU: no NVIDIA GPU is visible")
        assert f"; {DRIVER}" in message
        assert "TensorRT" not in message
        assert "\n" not in message

    @without_driver
    def test_on_the_command_line(self, tmp_path):
        done = run("segment", IMAGE, "-o", tmp_path / "out", "--device", "cuda")
        assert done.returncode == 2
        assert done.stdout == ""
        assert done.stderr.startswith("nucleiseg: device: 'cuda' was asked for, but GPU: no NVIDIA")
        assert DRIVER in done.stderr
        assert done.stderr.count("\n") == 1

    @without_driver
    def test_the_doctor_says_the_same(self):
        lines = run("doctor").stdout.splitlines()
        found = device.find()
        assert f"{found[0].name}: {found[0].words}; runs on the CPU." in lines
        for part in found[1:]:
            assert (f"{part.name}: {part.words}." if part.there else f"{part.sentence}.") in lines
        assert any(line.startswith(DRIVER) for line in lines)

    @pytest.mark.skipif(not hasattr(native, "cuda"), reason="this build has no CUDA kernels")
    @without_driver
    def test_the_native_module_without_a_driver(self):
        assert native.cuda.device_count() == 0
        assert native.cuda.devices() == []
        for ask in (native.cuda.Stream, native.cuda.memory, lambda: native.cuda.Buffer([4])):
            with pytest.raises(RuntimeError, match="CUDA: there is no NVIDIA driver, or one too"):
                ask()


class TestMissingParts:
    def sentence(self, name: str) -> str:
        (part,) = [part for part in device.find() if part.name == name]
        assert not part.there
        return part.sentence

    def test_kernels(self, monkeypatch):
        monkeypatch.delattr(native, "cuda", raising=False)
        assert self.sentence("CUDA kernels") == (
            "CUDA kernels: this build has none "
            "(put nvcc on the path and run: pip install --force-reinstall .)"
        )

    @pytest.mark.skipif(not hasattr(native, "emulated"), reason="this build has no emulation")
    def test_kernels_that_the_gpu_does_not_run(self, monkeypatch):
        """One is asked, as what was compiled may be for other GPUs."""
        driver = device.Part("NVIDIA driver", True, "for CUDA 13.0", "")
        monkeypatch.setattr(device, "_driver", lambda: (driver, ["a card"], 0))
        monkeypatch.setattr(native, "cuda", native.emulated, raising=False)
        assert not device.lacking(device.find())

        def fail(*arguments: object, **options: object) -> None:
            raise RuntimeError("CUDA: no kernel image is available")

        monkeypatch.setattr(native.emulated, "try_kernel", fail)
        assert ", but none runs here: CUDA: no kernel image is" in self.sentence("CUDA kernels")

    @pytest.mark.parametrize("name", ["pycuda"])
    def test_packages(self, missing, name):
        missing(name)
        assert self.sentence(name).startswith(f"{name}: not installed (")
        assert self.sentence(name).endswith(f": pip install {name})")

    def test_tensorrt(self, missing):
        missing("tensorrt", "tensorrt_rtx")
        assert self.sentence("TensorRT").startswith(TENSORRT)

    def test_all_of_them_are_said_at_once_but_not_what_is_optional(self):
        found = [device.Part(name, False, "gone", f"get {name}") for name in ("a", "b")]
        found.append(device.Part("c", False, "gone", "get c", needed=False))
        found.append(device.Part("d", True, "fine", "get d"))
        assert device.lacking(found) == "a: gone (get a); b: gone (get b)"


def engine_name() -> str:
    return Engine(Model.load(), 2).name


class TestLog:
    def chosen(self, caplog, monkeypatch, *found: device.Part) -> str:
        monkeypatch.setattr(device, "find", lambda: list(found))
        with caplog.at_level(logging.INFO, "nucleiseg"):
            assert Segmenter(threads=2).backend_name == "cpu"
        (record,) = caplog.records
        return record.getMessage()

    def test_without_a_gpu(self, caplog, monkeypatch):
        line = self.chosen(caplog, monkeypatch, device.Part("GPU", False, "none", "buy one"))
        assert line == f"runs on the CPU with {engine_name()}, 2 threads"

    def test_with_a_gpu_that_is_not_used(self, caplog, monkeypatch):
        gpu = device.Part("GPU", True, "RTX", "")
        tensorrt = device.Part("TensorRT", False, "not installed", "pip install tensorrt")
        assert self.chosen(caplog, monkeypatch, gpu, tensorrt) == (
            f"runs on the CPU with {engine_name()}, 2 threads; the GPU is not used: "
            "TensorRT: not installed (pip install tensorrt)"
        )

    @pytest.mark.parametrize(
        ("error", "words"),
        [
            (RuntimeError("CUDA: out of memory"), "CUDA: out of memory"),
            (
                ImportError("libnvinfer.so.10: cannot open\nshared object"),
                "cannot open shared object",
            ),
            (ModelError("model: TensorRT cannot take it: a warning"), "cannot take it: a warning"),
            (ValueError("compute capability: got 6.1; accepted are"), "capability: got 6.1"),
            (PermissionError(13, "Permission denied", "/cache"), "Permission denied"),
            (AttributeError("module 'tensorrt' has no attribute 'Logger'"), "no attribute"),
            (AssertionError(), "AssertionError"),
        ],
        ids=lambda value: type(value).__name__,
    )
    def test_with_an_engine_that_fails(self, caplog, monkeypatch, error, words):
        """Whatever keeps the GPU from being used, the CPU is, and the log says why in one line."""

        def fail(model, threads):
            raise error

        monkeypatch.setattr(backends, "_on_the_gpu", fail)
        line = self.chosen(caplog, monkeypatch, device.Part("GPU", True, "RTX", ""))
        assert "; the GPU is not used: " in line
        assert words in line
        assert "\n" not in line
        with pytest.raises(RuntimeError, match=f"^device: 'cuda' was asked for, but .*{words}"):
            Segmenter(device="cuda")

    def test_with_parts_that_cannot_be_looked_for(self, caplog, monkeypatch):
        def fail():
            raise ValueError("tensorrt.__spec__ is None")

        monkeypatch.setattr(device, "find", fail)
        with caplog.at_level(logging.INFO, "nucleiseg"):
            assert Segmenter(threads=2).backend_name == "cpu"
        assert caplog.records[0].getMessage().endswith("not used: tensorrt.__spec__ is None")

    def test_with_an_engine_for_smaller_tiles(self, caplog, monkeypatch):
        """Which "auto" passes over, as the CPU takes the tile; "cuda" names what it accepts."""

        class Small:
            name, tile, batch = "cuda", 2048, 4
            engine = SimpleNamespace(largest_tile=2048, largest_batch=4)

            def pipeline(self, tile, batch):
                """Nothing runs here: the choice is all that is tested."""

        monkeypatch.setattr(device, "find", lambda: [device.Part("GPU", True, "RTX", "")])
        monkeypatch.setattr(backends, "_on_the_gpu", lambda model, threads: Small())
        accepted = "tile: got 3072; accepted is 1 to 2048, which the engine was built for"
        with caplog.at_level(logging.INFO, "nucleiseg"):
            assert Segmenter(tile=3072).backend_name == "cpu"
        assert caplog.records[0].getMessage().endswith(f"; the GPU is not used: {accepted}")
        with pytest.raises(ValueError, match=accepted):
            Segmenter(device="cuda", tile=3072)
        assert Segmenter(tile=1024).backend_name == "cuda"


class TestOnTheCpu:
    def test_results_cannot_stay_on_a_gpu(self, cpu):
        image = np.zeros((8, 8), np.uint8)
        for ask in (
            lambda: cpu.segment(image, to_host=False),
            lambda: next(cpu.map([image], to_host=False)),
            lambda: cpu.decode(np.zeros((4, 4, 2), np.uint8), to_host=False),
        ):
            with pytest.raises(ValueError, match="to_host: got False, but this Segmenter runs on"):
                ask()

    @without_driver
    def test_nor_for_the_shipped_one(self):
        with pytest.raises(ValueError, match="to_host: got False"):
            nucleiseg.segment(np.zeros((8, 8), np.uint8), to_host=False)

    @pytest.mark.parametrize("array", [OnAGpu(), OnDevice(2), OnDevice(13)])
    def test_arrays_on_a_gpu_are_refused(self, cpu, array):
        words = f"got {type(array).__name__} in a GPU's memory; accepted is an array on the host"
        for ask in (cpu.segment, cpu.analyze, cpu.find_scale):
            with pytest.raises(TypeError, match=f"^image: {words}.*use device='cuda'"):
                ask(array)
        with pytest.raises(TypeError, match=f"^maps: {words}"):
            cpu.decode(array)

    def test_arrays_on_other_devices_are_refused(self, cpu):
        with pytest.raises(TypeError, match=r"image: got an array on a device of DLPack's type 8;"):
            cpu.segment(OnDevice(8))
