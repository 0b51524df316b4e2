"""The proof of `nucleiseg doctor --gpu`, on the emulated device."""

import json

import numpy as np
import pytest
from driver_machines import host_view, missing

import nucleiseg._native as native
from nucleiseg import Model, device, gpu_proof, tensorrt
from nucleiseg.doctor import prove_gpu
from nucleiseg.engines import cuda

REASON = missing("emulated")
pytestmark = pytest.mark.skipif(bool(REASON), reason=REASON)
SMALL = {"sizes": ((90, 70),), "repeats": 1, "calls": 1}


@pytest.fixture
def gpu(monkeypatch):
    """Makes the emulated device the one that there is, with a TensorRT that does not start."""

    def fail(model, kernels, library):
        raise RuntimeError("TensorRT: cannot\nstart")

    monkeypatch.setattr(native, "cuda", native.emulated, raising=False)
    monkeypatch.setattr(device, "find", lambda: [device.Part("GPU", True, "emulated", "")])
    monkeypatch.setattr(tensorrt, "Engine", fail)
    monkeypatch.setattr(gpu_proof, "LIBRARIES", {"json": "TensorRT"})
    monkeypatch.setattr(gpu_proof.prove, "__defaults__", tuple(SMALL.values()))


def test_everything_is_compared_timed_and_written(gpu, tmp_path):
    path, lines = tmp_path / "found.json", []
    assert prove_gpu(path, lines.append)
    found = json.loads(path.read_text())
    assert found["passed"]
    assert found["GPU"]["name"] == "emulated on the host"
    assert found["model"]["sha256"] == Model.load().checksum
    names = [entry["name"] for entry in found["engines"]]
    assert names == ["own, mma", "TensorRT"]
    for entry in found["engines"][:1]:
        assert entry["known answer"] == {"mean": 0, "most": 0}
        checks = {"known answer": True, "graph, 90 x 70": True, "cells, 90 x 70": True}
        assert entry["checks"] == checks
        assert entry["milliseconds"]["90 x 70"] >= 0
    assert found["engines"][1]["error"] == "RuntimeError: TensorRT: cannot start"
    (size,) = found["sizes"]
    assert (size["image"], size["equal"], size["nuclei"] > 0) == ("90 x 70", True, True)
    steps = [
        "upload",
        "limits",
        "normalize",
        "gather",
        "network",
        "assemble",
        "mask",
        "label",
        "download",
    ]
    assert list(size["steps, milliseconds"]) == steps
    assert lines[-2:] == ["passed", f"all of it is in {path}"]


def test_another_answer_fails_it(gpu, tmp_path, monkeypatch):
    """One value of one cell."""

    class Wrong(cuda.Engine):
        def __init__(self, *given):
            super().__init__(*given)
            self._right, self.network = self.network, None

        def enqueue(self, tiles, cells, shape, stream, memory):
            self._right.enqueue(tiles, cells, shape, stream, memory)
            view = host_view(cells, (shape[0], shape[1] // 2, shape[2] // 2, 8))

            def change():
                view[0, 5, 5] = 77

            native.emulated.call(change, stream=native.emulated.Stream(stream))

    monkeypatch.setattr(gpu_proof.cuda, "Engine", Wrong)
    lines = []
    assert not prove_gpu(tmp_path / "found.json", lines.append)
    assert any("DIFFERS in known answer, cells, 90 x 70" in line for line in lines)
    assert lines[-2] == "FAILED: the GPU differs from the CPU"


def test_without_a_gpu_it_says_what_is_missing(monkeypatch, tmp_path):
    part = device.Part("GPU", False, "no NVIDIA GPU is visible", "use device='cpu'")
    monkeypatch.setattr(device, "find", lambda: [part])
    with pytest.raises(RuntimeError, match="GPU: no NVIDIA GPU is visible"):
        prove_gpu(tmp_path / "found.json", print)
    assert not list(tmp_path.iterdir())


def test_the_steps_make_the_labels():
    """What is timed is the work that images need."""
    model = Model.load()
    engine = cuda.Engine(model, native.emulated)
    pipeline = gpu_proof.backends.on_gpu(model, native.emulated, engine, 1).pipeline(2048, 1)
    image = gpu_proof.data.example("stained", (90, 70))
    found, times = pipeline.native.step_milliseconds(image, 1)
    expected = gpu_proof.Segmenter(model, device="cpu").segment(image, "labels", scale=1)
    np.testing.assert_array_equal(found, expected, strict=True)
    assert min(times.values()) >= 0
