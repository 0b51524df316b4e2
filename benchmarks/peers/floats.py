"""Our model before its weights were rounded: ``python -m benchmarks.peers.floats FILE.onnx``."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

from benchmarks.peers.client import ROOT
from benchmarks.peers.environments import PeerError
from nucleiseg.model import DEFAULT

WEIGHTS = ROOT / "training" / "weights" / f"{DEFAULT}.npz"


def graph(home: Path) -> Path:
    """Return the ONNX file in float32, which is written where it is missing.

    It is written by another process, for TensorFlow's memory and threads end with that.

    Raises
    ------
    PeerError
        It cannot be written.
    """
    mark = hashlib.sha256(WEIGHTS.read_bytes()).hexdigest()[:12]
    path = home / f"nuclei_float32_{mark}.onnx"
    if not path.is_file():
        home.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "benchmarks.peers.floats", str(path.absolute())]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            raise PeerError(f"its graph cannot be written: {lines[-1]}")
    return path


def write(path: Path) -> None:
    """Write the ONNX file; needs TensorFlow (``pip install nucleiseg[train]``)."""
    from nucleiseg import images
    from training import export, integers, weights

    network = integers.IntegerNetwork(weights.load(WEIGHTS))
    images.write(path, export.to_onnx(network, rounding=False).SerializeToString())


if __name__ == "__main__":
    write(Path(sys.argv[1]))
