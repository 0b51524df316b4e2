"""Wrong calls of the native module, built with checks of addresses and undefined behaviour."""

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pybind11
import pytest
from run import ROOT, Options, fuzz

FOLDER = ROOT / "build" / "sanitized"
CALLS = 15_000  # about a minute on two processors
LIBRARIES = ("libasan.so", "libubsan.so")


def made(*command: str) -> str:
    """Run a program, and give what it prints; the test fails with that if the program does."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def module():
    """Build the module, in which other Python code is not checked."""
    cmake = shutil.which("cmake", path=sysconfig.get_path("scripts")) or shutil.which("cmake")
    if cmake is None:
        pytest.skip("there is no cmake (Debian and Ubuntu: apt install cmake)")
    options = {
        "NUCLEISEG_CUDA": "off",
        "NUCLEISEG_SANITIZE": "ON",
        "NUCLEISEG_TEST_BINDINGS": "ON",
        "Python_EXECUTABLE": sys.executable,
        "pybind11_DIR": pybind11.get_cmake_dir(),
    }
    given = [f"-D{name}={value}" for name, value in options.items()]
    made(cmake, "-S", str(ROOT), "-B", str(FOLDER), *given)
    made(cmake, "--build", str(FOLDER), "--target", "_native", "--parallel", "2")
    (path,) = FOLDER.glob("_native*.so")
    return path


@pytest.fixture(scope="module")
def libraries(module):
    """Find the sanitizers' libraries, which have to be loaded before Python is."""
    needed = made("ldd", str(module))
    places = [
        line.split("=>")[1].split()[0]
        for name in LIBRARIES
        for line in needed.splitlines()
        if name in line and "=>" in line
    ]
    if len(places) < len(LIBRARIES) or not all(Path(place).exists() for place in places):
        pytest.skip(f"the compiler has no shared {' and '.join(LIBRARIES)}: {needed}")
    return ":".join(places)


def test_wrong_calls_do_nothing_forbidden(module, libraries):
    environment = {
        "LD_PRELOAD": libraries,
        "PYTHONMALLOC": "malloc",
        "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1:max_allocation_size_mb=1024",
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }
    report = fuzz("native", CALLS, options=Options((str(module),), environment))
    assert report.counts["read"] > CALLS / 20
    # How long calls take is asked in `test_fuzz`, of code that the checks do not slow down.
    offenders = {i: what for i, what in report.offenders.items() if not what.startswith("slow:")}
    assert not offenders, offenders
