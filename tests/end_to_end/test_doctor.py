import os
import subprocess
import sys

import pytest

from nucleiseg import Model, __version__, device
from nucleiseg._native import cpu
from nucleiseg.engines import native
from nucleiseg.model import DEFAULT, shipped


def doctor(**environment):
    return subprocess.run(
        [sys.executable, "-m", "nucleiseg", "doctor"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


@pytest.fixture(scope="module")
def subjects():
    done = doctor()
    assert (done.returncode, done.stderr) == (0, "")
    return dict(line.split(": ", 1) for line in done.stdout.splitlines())


def test_every_subject_has_one_line(subjects):
    assert list(subjects) == [
        "nucleiseg",
        "CPU",
        "kernels",
        "network on the CPU",
        *(f"model {name}" for name in shipped()),
        "GPU",
        "NVIDIA driver",
        "CUDA kernels",
        "TensorRT",
        "pycuda",
    ]


def test_the_versions_are_those_in_use(subjects):
    python = ".".join(map(str, sys.version_info[:3]))
    assert subjects["nucleiseg"].startswith(f"{__version__}, Python {python}, ")


@pytest.mark.parametrize("name", shipped())
def test_each_shipped_model_is_verified(subjects, name):
    model = Model.load(name)
    default = ", the default" if name == DEFAULT else ""
    expected = f"{model.version}{default}, SHA-256 {model.checksum} verified"
    assert subjects[f"model {name}"] == expected


def test_what_runs_the_network_is_said(subjects):
    engine = native.Engine(Model.load(), 1)
    levels = ", ".join(cpu.convolution_levels())
    assert subjects["network on the CPU"] == f"{engine.name}; this CPU can run {levels}"


def test_the_environment_chooses_what_runs():
    done = doctor(NUCLEISEG_SIMD="portable")
    assert "network on the CPU: its own int8 kernels (portable); this CPU can run portable\n" in (
        done.stdout
    )


def test_the_kernels_in_use_are_among_those_that_the_cpu_can_run(subjects):
    used, able = subjects["kernels"].split("; this CPU can run ")
    assert used in able.split(", ")


def test_no_gpu_is_said_with_its_consequence():
    # An empty CUDA_VISIBLE_DEVICES hides every GPU from the driver, where there is one.
    done = doctor(CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 0
    (gpu,) = [line for line in done.stdout.splitlines() if line.startswith("GPU: ")]
    assert gpu.endswith("runs on the CPU.")


def test_the_proof_needs_a_gpu(tmp_path):
    if not device.lacking(device.find()):
        pytest.skip("this machine has a GPU")
    path = tmp_path / "found.json"
    done = subprocess.run(
        [sys.executable, "-m", "nucleiseg", "doctor", "--gpu", "-o", str(path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("nucleiseg: GPU: no NVIDIA GPU is visible")
    assert len(done.stderr.splitlines()) == 1
    assert not path.exists()
