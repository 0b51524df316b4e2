"""What nvcc's assembler says of the kernels, by tools/cuda_report.py."""

import re
import sys

import pytest
from programs import need, run


# The oldest and the newest real GPU; `make spills` asks for all nine.
@pytest.mark.parametrize("architecture", ["75", "120"])
def test_no_kernel_spills_registers(architecture):
    need("nvcc", "nvidia-cuda-toolkit")
    known = run("nvcc", "--list-gpu-arch").stdout
    if f"compute_{architecture}" not in known.split():
        pytest.skip(f"this nvcc does not know compute_{architecture}: {known.split()}")
    done = run(sys.executable, "tools/cuda_report.py", "--architectures", architecture)
    assert done.returncode == 0, done.stdout
    last = re.search(r"^(\d+) kernels, 0 of them spill registers$", done.stdout, re.MULTILINE)
    assert last is not None, done.stdout
    assert int(last[1]) > 20
