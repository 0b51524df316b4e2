"""Nothing here speaks to the network: in these processes the use of any socket is an error."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GREY = ROOT / "tests" / "data" / "images" / "fluorescence_small.png"

WATCH = """
import os, sys

def watch(event, arguments):
    if event.startswith("socket."):
        with open(os.environ["NETWORK_LOG"], "a") as log:
            print(event, arguments, file=log)
        raise RuntimeError(f"the network was used: {event}")

sys.addaudithook(watch)
"""

SEGMENTED = """
import sys
import nucleiseg
segmenter = nucleiseg.Segmenter(device="cpu", threads=1)
assert segmenter.segment(sys.argv[1], "labels").max() > 0
"""

PROCESSES = {
    "import": ["-c", "import nucleiseg"],
    "segment": ["-c", SEGMENTED, str(GREY)],
    "benchmark": ["-m", "nucleiseg", "benchmark", "--size", "64", "--seconds", "0.01"],
    "doctor": ["-m", "nucleiseg", "doctor"],
    "command": ["-m", "nucleiseg", "segment", str(GREY), "-o", "{tmp}/out", "--report"],
}


@pytest.fixture
def watched(tmp_path):
    """Run Python with an empty home folder, and with sockets that raise and are noted."""
    (tmp_path / "watch").mkdir()
    (tmp_path / "watch" / "sitecustomize.py").write_text(WATCH)
    (tmp_path / "home").mkdir()
    log = tmp_path / "network.log"

    def run(*arguments):
        path = [str(tmp_path / "watch"), str(ROOT), os.environ.get("PYTHONPATH", "")]
        environment = {name: value for name, value in os.environ.items() if "XDG" not in name}
        environment |= {
            "PYTHONPATH": os.pathsep.join(path),
            "HOME": str(tmp_path / "home"),
            "NETWORK_LOG": str(log),
        }
        command = [sys.executable, *(each.replace("{tmp}", str(tmp_path)) for each in arguments)]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env=environment, cwd=tmp_path
        )
        return done, log.read_text() if log.exists() else ""

    return run


@pytest.mark.parametrize("name", PROCESSES)
def test_no_process_uses_a_socket_or_leaves_a_file_in_the_home_folder(watched, tmp_path, name):
    done, network = watched(*PROCESSES[name])
    assert (done.returncode, network) == (0, ""), done.stderr
    assert [path.name for path in (tmp_path / "home").rglob("*")] == []


def test_the_use_of_a_socket_would_be_noticed(watched):
    done, network = watched("-c", "import socket; socket.socket()")
    assert done.returncode == 1
    assert network.startswith("socket.__new__")
