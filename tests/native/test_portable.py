"""The CPU's sources compile for systems that nothing here runs."""

from pathlib import Path

import pytest
from programs import ROOT, need, run

OTHERS = {"bindings", "cuda", "emulation", "module.cpp"}
"""Of csrc: what needs Python or a GPU."""

TESTS = {"network_digests.cpp", "reference.cpp", "selftest.cpp"}

SOURCES = {
    path.name
    for folder in (ROOT / "csrc").iterdir()
    if folder.name not in OTHERS
    for path in folder.rglob("*.cpp")
    if not path.name.startswith("cuda_")
} - TESTS

TARGETS = {
    "x86_64-windows-gnu": {"convolve_neon.cpp"},
    "aarch64-macos": {
        "convolve_256.cpp",
        "convolve_512.cpp",
        "convolve_amx.cpp",
        "lookup_vbmi.cpp",
        "winograd.cpp",
    },
}
"""Systems, and the sources that are for another processor."""


@pytest.mark.parametrize("target", TARGETS)
def test_the_cpus_sources_compile_elsewhere(target):
    ziglang = pytest.importorskip("ziglang", reason="there is no zig (pip install ziglang)")
    need("cmake", "cmake")
    zig = Path(ziglang.__file__).with_name("zig")
    build = ROOT / "build" / f"portable-{target}"
    settings = {
        "CMAKE_TOOLCHAIN_FILE": "cmake/zig.cmake",
        "CMAKE_BUILD_TYPE": "Debug",  # not optimised, which takes a third of the time
        "NUCLEISEG_ZIG": zig,
        "NUCLEISEG_TARGET": target,
        "NUCLEISEG_CUDA": "off",
        "NUCLEISEG_PYTHON": "OFF",
    }
    options = [f"-D{name}={value}" for name, value in settings.items()]
    for command in (
        ["cmake", "-S", ".", "-B", build, *options],
        ["cmake", "--build", build, "--target", "nucleiseg"],
    ):
        done = run(*command)
        assert done.returncode == 0, done.stdout
    compiled = {f"{path.stem.split(chr(46))[0]}.cpp" for path in build.rglob("*.cpp.o*")}
    assert compiled == SOURCES - TARGETS[target]
