"""Virtual environments for the tools whose packages are not ours, built once and reused."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from benchmarks.peers.table import ENVIRONMENTS

MARKER = "requirements.txt"
"""The file in a finished environment that lists what it was made of."""


class PeerError(Exception):
    """A tool cannot be installed, loaded or run; the message is one line."""


def python(name: str | None, home: Path) -> Path:
    """Return the Python of an environment, which is built where it is missing or out of date.

    Parameters
    ----------
    name : str or None
        Key of `ENVIRONMENTS`; None is the Python that runs this.
    home : Path
        Folder of the environments.

    Raises
    ------
    PeerError
        Packages cannot be installed.
    """
    if name is None:
        return Path(sys.executable)
    folder = home / name
    program = folder / "bin" / "python"
    wanted = "\n".join(ENVIRONMENTS[name]) + "\n"
    marker = folder / MARKER
    if not marker.is_file() or marker.read_text() != wanted:
        print(f"installing into {folder}: {', '.join(ENVIRONMENTS[name])}", flush=True)
        home.mkdir(parents=True, exist_ok=True)
        log = home / f"{name}.log"
        _call([sys.executable, "-m", "venv", str(folder)], log)
        _call([str(program), "-m", "pip", "install", *ENVIRONMENTS[name]], log)
        marker.write_text(wanted)
    return program


def variables(name: str | None, threads: int) -> dict[str, str]:
    """Return the environment variables of a tool's process: its threads, no GPU, its packages."""
    values = {
        **os.environ,
        "CUDA_VISIBLE_DEVICES": "",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "PYTHONNOUSERSITE": "1",
    }
    for library in ("OMP", "MKL", "OPENBLAS", "NUMBA"):
        values[f"{library}_NUM_THREADS"] = str(threads)
    if name is not None:
        values.pop("PYTHONPATH", None)
    return values


def _call(command: list[str], log: Path) -> None:
    with log.open("w") as file:
        done = subprocess.run(command, stdout=file, stderr=file, check=False)
    if done.returncode:
        said = [line for line in log.read_text().splitlines() if line.startswith("ERROR")]
        reason = said[-1] if said else f"exit code {done.returncode}"
        raise PeerError(f"cannot be installed: {reason}; all of it is in {log}")
