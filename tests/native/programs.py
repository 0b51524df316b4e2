"""The kernels' self-tests, which are programs without Python: built and run by the Makefile."""

import os
import re
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SANE = re.compile(r"^\d+ rounds, 0 failures$", re.MULTILINE)


def environment() -> dict[str, str]:
    """Return the environment, with the programs that pip installed, for a `make` of its own."""
    found = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    found.pop("MFLAGS", None)
    found["PATH"] = os.pathsep.join([sysconfig.get_path("scripts"), found["PATH"]])
    found["CMAKE_BUILD_PARALLEL_LEVEL"] = str(len(os.sched_getaffinity(0)))
    return found


def need(program: str, package: str) -> None:
    if shutil.which(program, path=environment()["PATH"]) is None:
        pytest.skip(f"there is no {program} (Debian and Ubuntu: apt install {package})")


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a program; its output and its errors are what it printed, in their order."""
    return subprocess.run(
        command,
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def compiler() -> str:
    """Return the C++ compiler."""
    names = [os.environ.get("CXX", ""), "c++", "g++", "clang++"]
    found = next((name for name in names if name and shutil.which(name)), None)
    assert found is not None, "there is no C++ compiler"
    return found


def make(*arguments: str) -> str:
    """Run the Makefile and give what it printed, all of which is shown if it fails."""
    need("cmake", "cmake")
    done = run("make", "--no-print-directory", *arguments)
    assert done.returncode == 0, done.stdout
    return done.stdout


def digests(printed: str) -> dict[str, list[str]]:
    """Find what each instruction set's results came to: ``{"neon": ["label=...", ...]}``."""
    lines = (line.split() for line in printed.splitlines() if " label=" in line)
    return {level: results for level, *results in lines}
