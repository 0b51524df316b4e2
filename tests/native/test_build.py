"""The build where there is no CUDA compiler, and where there is no compiler."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pybind11
import pytest
from programs import environment, need, run

PACKAGE = Path(__file__).parents[2]
NO_NVCC = "-DCMAKE_CUDA_COMPILER=NOTFOUND"
"""What CMake finds where there is none."""

SEGMENT = """
import ast
import sys
from pathlib import Path
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_file_location
loader = ExtensionFileLoader("nucleiseg._native", sys.argv[1])
native = module_from_spec(spec_from_file_location("nucleiseg._native", sys.argv[1], loader=loader))
loader.exec_module(native)
sys.modules["nucleiseg._native"] = native
import nucleiseg
from nucleiseg import _native
assert _native is native and not hasattr(_native, "cuda")
stub = ast.parse(Path(nucleiseg.__file__).with_name("_native").joinpath("cpu.pyi").read_text())
named = {node.name for node in stub.body if isinstance(node, (ast.ClassDef, ast.FunctionDef))}
bound = {name for name in dir(_native.cpu) if not name.startswith("_")}
assert bound == {name for name in named if not name.startswith("_")}, bound ^ named
assert nucleiseg.segment(sys.argv[2], "labels").max() > 10
try:
    nucleiseg.Segmenter(device="cuda")
except RuntimeError as error:
    print(error)
"""


def configure(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    need("cmake", "cmake")
    python = [f"-DPython_EXECUTABLE={sys.executable}", f"-Dpybind11_DIR={pybind11.get_cmake_dir()}"]
    return run("cmake", "-S", PACKAGE, "-B", folder, *python, NO_NVCC, *options)


def test_the_package_is_built_for_the_cpu_and_works(tmp_path):
    configured = configure(tmp_path, "-DNUCLEISEG_CUDA=auto", "-DNUCLEISEG_WERROR=ON")
    assert configured.returncode == 0, configured.stdout
    said = [line for line in configured.stdout.splitlines() if "nucleiseg:" in line]
    assert said == [
        "-- nucleiseg: no CUDA compiler was found; building without CUDA kernels",
    ]
    built = run("cmake", "--build", tmp_path)
    assert built.returncode == 0, built.stdout
    (module,) = tmp_path.glob("_native*.so")
    image = PACKAGE / "tests" / "data" / "images" / "fluorescence_small.png"
    used = run(sys.executable, "-c", SEGMENT, module, image)
    assert used.returncode == 0, used.stdout
    assert "CUDA kernels: this build has none" in used.stdout


def test_cuda_that_was_asked_for_is_not_left_out(tmp_path):
    configured = configure(tmp_path, "-DNUCLEISEG_CUDA=on")
    assert configured.returncode != 0
    assert "NUCLEISEG_CUDA=on: no CUDA compiler was found; put nvcc on the path." in " ".join(
        configured.stdout.split()
    )


def test_the_environment_asks_for_cuda_too(tmp_path, monkeypatch):
    monkeypatch.setenv("NUCLEISEG_CUDA", "on")
    configured = configure(tmp_path / "on")
    assert configured.returncode != 0
    assert "NUCLEISEG_CUDA=on: no CUDA compiler was found" in " ".join(configured.stdout.split())
    monkeypatch.setenv("NUCLEISEG_CUDA", "off")
    configured = configure(tmp_path / "off")
    assert "nucleiseg: building without CUDA kernels" in configured.stdout


def test_without_a_compiler_it_says_so(tmp_path, monkeypatch):
    need("make", "make")
    need("cmake", "cmake")
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("make", "cmake"):
        (programs / name).symlink_to(shutil.which(name, path=environment()["PATH"]))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(programs))
    with monkeypatch.context() as only:
        only.setattr("programs.environment", lambda: dict(os.environ))
        configured = configure(tmp_path / "build", "-G", "Unix Makefiles")
    assert configured.returncode != 0
    said = " ".join(configured.stdout.split())
    assert "nucleiseg: building needs a C++17 compiler, and none was found; install one" in said


@pytest.mark.parametrize("value", ["yes", "1"])
def test_a_wrong_setting_is_refused(tmp_path, value):
    configured = configure(tmp_path, f"-DNUCLEISEG_CUDA={value}")
    assert configured.returncode != 0
    assert f"NUCLEISEG_CUDA={value}: accepted are auto, on and off." in configured.stdout
