"""Run the commands of the documents, in this process where that is possible."""

from __future__ import annotations

import importlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from document_blocks import ROOT
from pip._vendor import tomli
from stand_ins import small_training
from typer.testing import CliRunner

from nucleiseg import cli

STARTED: list[subprocess.Popen[bytes]] = []
"""Programs that go on until they are ended: a scheduler and its workers."""


def run(command: str) -> None:
    """Run a command in the working directory; it has to succeed.

    Variables before it are left aside: they choose a compiler or a backend that may be missing.
    """
    words = [word for each in shlex.split(command) for word in _expanded(each)]
    while re.match(r"[A-Z_]+=", words[0]):
        del words[0]
    name = "built" if words[0].startswith("build/") else words[0]
    assert name in PROGRAMS, f"{name}: run_commands has no such program"
    PROGRAMS[name](words)


def end_all() -> None:
    """End the programs that were started last first."""
    while STARTED:
        process = STARTED.pop()
        process.terminate()
        process.wait(60)


def _expanded(word: str) -> list[str]:
    return (sorted(map(str, Path().glob(word))) if "*" in word else []) or [word]


def _environment() -> dict[str, str]:
    """Return the environment, with this package and its programs, and without that of `make`."""
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    kept = {name: value for name, value in os.environ.items() if "MAKE" not in name}
    return {**kept, "PYTHONPATH": str(ROOT), "PATH": programs}


def _other(words: list[str], folder: Path | None = None) -> str:
    """Run a program of the system, and return what it printed."""
    if words[0] == "cmake" and not shutil.which("c++"):
        pytest.skip("needs a C++ compiler")
    done = subprocess.run(
        words,
        cwd=folder,
        env=_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def _nucleiseg(words: list[str]) -> None:
    with small_training("nucleiseg.train" if words[1] == "train" else ""):
        result = CliRunner().invoke(cli.app, words[1:], catch_exceptions=False)
    assert result.exit_code == 0, result.output


def _python(words: list[str]) -> None:
    if words[1] == "-m" and words[2].startswith("training."):
        goes_on = words[2] == "training.quantize" and "--start" in words
        shipped = goes_on or words[2] in ("training.average", "training.sizes")
        with small_training(words[2], shipped):
            importlib.import_module(words[2]).main(words[3:])
    else:
        _other([sys.executable, *words[1:]])


def _pip(words: list[str]) -> None:
    """Have pip resolve the command against a wheel that has the extras, and no requirements.

    pip only warns of an extra that does not exist. Real wheels are installed by tests/wheels.
    """
    wheel = _wheel(Path.cwd())
    assert words[1] == "install"
    named = [name for word in words[2:] for name in _expanded(word)]
    asked = [re.sub(r"^\.(?=\[|$)", f"./{wheel.name}", name) for name in named]
    printed = _other(
        [
            *(sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed"),
            *("--no-index", "--find-links", ".", "--disable-pip-version-check"),
            *(word for word in asked if word != "-e"),
        ]
    )
    assert "Would install nucleiseg-" in printed
    assert "does not provide the extra" not in printed, printed


def _wheel(folder: Path) -> Path:
    project = tomli.loads((ROOT / "pyproject.toml").read_text())["project"]
    name = f"nucleiseg-{project['version']}"
    extras = [f"Provides-Extra: {extra}" for extra in project["optional-dependencies"]]
    about = ["Metadata-Version: 2.1", "Name: nucleiseg", f"Version: {project['version']}", *extras]
    path = folder / f"{name}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"{name}.dist-info/METADATA", "\n".join(about))
        wheel.writestr(f"{name}.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{name}.dist-info/RECORD", "")
    return path


def _make(words: list[str]) -> None:
    """Run the demo with this environment; of the others, have `make` print what it would run.

    They run these tests, change the sources, or are run by tests of their own, as wheels are.
    """
    if words == ["make", "demo"]:
        installed = [f"venv={sys.prefix}", "--old-file", f"{sys.prefix}/.package"]
        _other(["make", "--file", str(ROOT / "Makefile"), *installed, "demo"])
        assert list(Path("out").glob("*_overlay.png"))
    else:
        assert _other(["make", "--dry-run", *words[1:]], ROOT)


def _dask(words: list[str]) -> None:
    command = [sys.executable, "-m", *words]
    STARTED.append(subprocess.Popen(command, env=_environment(), stdin=subprocess.DEVNULL))


PROGRAMS = {
    "nucleiseg": _nucleiseg,
    "python": _python,
    "pip": _pip,
    "make": _make,
    "dask": _dask,
    "cmake": _other,
    "built": _other,
    "mv": _other,
}
