"""The tables of docs/gpu.md are those that `benchmarks.steps roofline` prints."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def printed() -> str:
    command = [sys.executable, "-m", "benchmarks.steps", "roofline"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_the_page_holds_what_the_script_prints(printed):
    page = (ROOT / "docs" / "gpu.md").read_text()
    parts = printed.strip().split("\n\n")
    assert len(parts) == 4
    for part in parts:
        assert part in page


def test_every_pass_of_the_labels_is_counted(printed):
    files = [ROOT / "csrc" / "cuda" / name for name in ("label.cu", "label_merge.cu")]
    source = "".join(file.read_text() for file in files)
    kernels = re.findall(r"__global__ void (\w+)\(", source)
    assert len(kernels) == 16
    for kernel in kernels:
        assert re.search(rf"^\| {kernel} \|", printed, re.MULTILINE), kernel


def test_a_gpu_never_beats_its_memory(printed):
    labels = next(line for line in printed.splitlines() if line.startswith("| label |"))
    _, _, megabytes, _, _, agx_orin, *_ = (cell.strip() for cell in labels.strip("|").split("|"))
    bandwidth = float(megabytes) * 1e6 / (float(agx_orin) * 1e-6)
    assert bandwidth == pytest.approx(204.8e9, rel=0.01)
