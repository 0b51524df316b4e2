"""``make wheels``: what it builds runs on old systems, and installs where there is no compiler."""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
ELF_MACHINES = {"x86_64": 62, "aarch64": 183}

USED = """
import nucleiseg
from nucleiseg import data
assert nucleiseg.segment(data.example(), "labels").max() >= 10
print(nucleiseg.__file__)
"""

SIZES = """
import sysconfig
from importlib import metadata
from pathlib import Path
names = {one.name.lower() for one in metadata.distributions()} - {"nucleiseg", "pip", "setuptools"}
folder = Path(sysconfig.get_path("purelib"))
files = [file for file in folder.rglob("*") if file.is_file()]
tools = ("pip", "setuptools", "pkg_resources", "_distutils_hack")
own = [file for file in files if not file.relative_to(folder).parts[0].startswith(tools)]
print(len(names), sum(file.stat().st_size for file in own), *sorted(names))
"""
MOST_PACKAGES, MOST_BYTES = 16, 300e6


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    """The wheels of this Python, by machine."""
    folder = tmp_path_factory.mktemp("wheels")
    environment = {name: value for name, value in os.environ.items() if "MAKE" not in name}
    done = subprocess.run(
        ["make", "--no-print-directory", "wheels", f"pythons={PYTHON}", f"wheels={folder}"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    found = {one: list(folder.glob(f"*linux*_{one}.whl")) for one in ELF_MACHINES}
    assert [len(paths) for paths in found.values()] == [1, 1], done.stdout
    return {machine: paths[0] for machine, paths in found.items()}


@pytest.mark.parametrize("machine", ELF_MACHINES)
def test_a_wheel_is_small_and_for_old_systems(wheels, machine):
    tag = PYTHON.replace(".", "")
    pattern = rf"nucleiseg-[\d.]+-cp{tag}-cp{tag}-.*manylinux_2_(\d+)_{machine}"
    found = re.match(pattern, wheels[machine].name)
    assert int(found[1]) <= 28
    assert wheels[machine].stat().st_size <= 12e6


@pytest.mark.parametrize("machine", ELF_MACHINES)
def test_a_module_is_for_its_machine_and_its_old_c_library(wheels, machine):
    with zipfile.ZipFile(wheels[machine]) as wheel:
        (name,) = [one for one in wheel.namelist() if one.endswith(".so")]
        assert machine in name
        content = wheel.read(name)
    assert content[:4] == b"\x7fELF"
    assert int.from_bytes(content[18:20], "little") == ELF_MACHINES[machine]
    needed = {int(minor) for minor in re.findall(rb"\0GLIBC_2\.(\d+)", content)}
    assert 17 <= max(needed) <= 28
    assert b"\0libstdc++.so" not in content


@pytest.mark.parametrize("machine", ELF_MACHINES)
def test_a_wheel_has_the_package_and_nothing_that_is_gone(wheels, machine):
    with zipfile.ZipFile(wheels[machine]) as wheel:
        found = {name for name in wheel.namelist() if name.startswith("nucleiseg/")}
    modules = {name for name in found if name.endswith(".py")}
    package = {path.relative_to(ROOT).as_posix() for path in (ROOT / "nucleiseg").rglob("*.py")}
    training = {path.relative_to(ROOT).as_posix() for path in (ROOT / "training").rglob("*.py")}
    assert modules == package | {f"nucleiseg/{name}" for name in training}
    models = {"nucleiseg/models/nuclei.onnx", "nucleiseg/models/sizes/nuclei-sizes.onnx"}
    assert models | {"nucleiseg/data/stained.png"} <= found


def test_the_wheel_installs_and_works_without_a_compiler(wheels, tmp_path):
    folder = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["PATH"] = str(folder / "bin")
    for command in (
        [folder / "bin" / "pip", "install", "--quiet", "--only-binary", ":all:", wheels["x86_64"]],
        [folder / "bin" / "python", "-c", USED],
    ):
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert Path(done.stdout.strip()).is_relative_to(folder)
    done = subprocess.run(
        [folder / "bin" / "python", "-c", SIZES],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    packages, size, *names = done.stdout.split()
    assert int(packages) <= MOST_PACKAGES, names
    assert int(size) <= MOST_BYTES
