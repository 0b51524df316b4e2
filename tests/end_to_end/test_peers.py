"""The tools side by side, those that need nothing beyond the development environment."""

import copy
import json
import os
import re
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from benchmarks.peers import machine, page, table
from benchmarks.peers.__main__ import main
from benchmarks.peers.client import Client
from benchmarks.peers.environments import PeerError
from nucleiseg import Model, images

ROOT = Path(__file__).parents[2]
SIZES = (64, 96)
OURS_BOTH = ("mask", "labels")
OUTPUTS = {"nucleiseg": OURS_BOTH, "nuclei-fast": OURS_BOTH, "onnxruntime": ("maps",)}
OURS, *_ = table.PEERS


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The command: what it printed, and the folder that it wrote into.

    StarDist is asked for where no packages are to be had.
    """
    for package in ("tensorflow", "onnx", "onnxruntime", "matplotlib"):
        pytest.importorskip(package, reason=f"{package} comes with nucleiseg[train]")
    folder = tmp_path_factory.mktemp("peers")
    command = [sys.executable, "-m", "benchmarks.peers", "--quick", "--threads", "1"]
    command += ["--sizes", "96,64", "--only", "nuclei-fast,onnxruntime,stardist"]
    command += ["--output", str(folder / "out"), "--environments", str(folder / "home")]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout, folder / "out"


@pytest.fixture(scope="module")
def document(run):
    return json.loads((run[1] / "benchmarks.json").read_text())


def test_every_tool_output_and_size_has_one_row(document):
    names = [(row["size"], row["peer"], row["output"]) for row in document["rows"]]
    assert names == [
        (size, peer, output) for size in SIZES for peer in OUTPUTS for output in OUTPUTS[peer]
    ]
    assert all(document["nuclei"][str(size)] > 0 for size in SIZES)
    assert document["machine"]["cores"] == document["settings"]["threads"] == 1


def test_ratios_are_those_of_pairs(document):
    for row in document["rows"]:
        pairs = np.array(row["seconds"]) / row["ours"]
        assert len(pairs) >= 2
        assert row["ratio"] == pytest.approx(np.median(pairs))
        assert row["lowest_ratio"] == pytest.approx(pairs.min())
        assert row["calls"] >= len(pairs)
        pixels = row["size"] ** 2 / 1e6
        assert row["mpixel_per_s"] == pytest.approx(pixels / np.median(row["seconds"]))
        if row["peer"] == "nucleiseg":
            assert row["ratio"] == 1


def test_a_tool_that_cannot_be_installed_has_its_line(run, document):
    printed, folder = run
    (entry,) = (peer for peer in document["peers"] if peer["name"] == "stardist")
    assert entry["error"].startswith("cannot be installed: ERROR: No matching distribution")
    assert f"StarDist 2D: {entry['error']}\n" in printed
    text = (folder / "benchmarks.md").read_text()
    assert f"| StarDist 2D | **does not run here:** {entry['error']} |  |  |" in text


def test_both_shipped_models_are_named(document):
    about = {peer["name"]: peer.get("about", "") for peer in document["peers"]}
    for name, model in (("nucleiseg", "nuclei"), ("nuclei-fast", "nuclei-fast")):
        assert f"model {model} {Model.load(model).version}, SHA-256" in about[name]


def test_the_page_has_every_figure(run, document):
    text = (run[1] / "benchmarks.md").read_text()
    assert page.text(document) == text
    assert document["machine"]["cpu"] in text
    ours = [f"nucleiseg{name} | {output}" for name in ("", ", nuclei-fast") for output in OURS_BOTH]
    for title in (*ours, "ONNX Runtime float32 | network alone"):
        cells = re.search(
            rf"\| (?:our model, )?{re.escape(title)} \| trained \|(.*)\|$", text, re.MULTILINE
        )
        assert cells, title
        assert all(float(cell) > 0 for cell in cells[1].split("|"))
    picture = images.read(run[1] / "pictures" / "peers.png")
    assert picture.shape[0] > 400
    assert picture.std() > 10


def test_what_was_not_measured_is_in_italics(document):
    shorter = copy.deepcopy(document)
    shorter["rows"] = [
        row for row in shorter["rows"] if (row["peer"], row["size"]) != ("onnxruntime", 96)
    ]
    lines = [line for line in page.text(shorter).splitlines() if "ONNX Runtime float32 |" in line]
    rate, ratio = (line.split(" | ")[3:] for line in lines[:2])
    assert rate[1] == f"*{rate[0]}* |"
    ours = next(row for row in document["rows"] if (row["size"], row["output"]) == (96, "mask"))
    theirs = next(row for row in document["rows"] if row["peer"] == "onnxruntime")
    guess = ours["mpixel_per_s"] / theirs["mpixel_per_s"]
    assert float(ratio[1].strip("*| ")) == pytest.approx(guess, rel=0.1)


@pytest.fixture
def client(tmp_path):
    with closing(Client(OURS, tmp_path, 1)) as client:
        yield client


@pytest.fixture
def files(tmp_path):
    image = images.read(ROOT / "tests" / "data" / "images" / "purple_on_violet.png")[:64, :96]
    names = {"image": tmp_path / "image.npy", "labels": tmp_path / "labels.npy"}
    np.save(names["image"], image)
    np.save(names["labels"], np.zeros(image.shape[:2], np.int32))
    return {kind: str(name) for kind, name in names.items()}


def state(process):
    """Return the letter of Linux for what a process does."""
    return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_tools_process_answers_and_is_stopped_in_between(client, files):
    loaded = client.ask("load", threads=1, files={})
    model = Model.load()
    assert loaded["weights"] == "trained"
    assert f"{model.name} {model.version}, SHA-256 {model.checksum[:12]}" in loaded["about"]
    assert set(loaded["versions"]) == {"nucleiseg", "numpy"}
    assert set(client.ask("take", **files)["seconds"]) == {"mask", "labels"}
    timed = client.ask("time", calls=3, seconds=60.0)
    assert [len(each) for each in timed["seconds"].values()] == [3, 3]
    assert len(client.ask("time", calls=9, seconds=0.0)["seconds"]["mask"]) == 1
    assert 20 < timed["peak_memory_mb"] < 2000
    assert state(client.process) == "T"


def test_what_a_tool_cannot_do_is_one_line(client, files):
    with pytest.raises(PeerError, match=r"^do: got 'dance'; accepted are 'load', 'take', 'time'"):
        client.ask("dance")
    client.ask("load", threads=1, files={})
    with pytest.raises(PeerError, match=r"^FileNotFoundError: .*none\.npy"):
        client.ask("take", **{**files, "image": "none.npy"})
    assert "Traceback" in client.log.read_text()


def test_a_tool_that_ends_or_hangs_is_said_to(client, tmp_path):
    client.process.send_signal(signal.SIGKILL)
    client.process.wait()
    with pytest.raises(PeerError, match=r"^ended by itself with -9; what it said is in "):
        client.ask("load", threads=1, files={})
    with (
        closing(Client(OURS, tmp_path, 1)) as other,
        pytest.raises(PeerError, match=r"^gave no answer in 0\.001 s; what it said is in "),
    ):
        other.ask("load", patience=0.001, threads=1, files={})


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["--only", "abacus"],
            "peers: only: got 'abacus'; accepted are 'nucleiseg', 'nuclei-fast',",
        ),
        (["--threads", "0"], "peers: threads: got 0; accepted are 1 to "),
        (["--sizes", "64,100"], "argument --sizes: got '64,100'; accepted are multiples of 32"),
    ],
)
def test_what_cannot_start_is_one_sentence(capsys, arguments, words):
    try:
        code = main(arguments)
    except SystemExit as stopped:  # argparse's own
        code = stopped.code
    assert code == 2
    assert words in capsys.readouterr().err.splitlines()[-1]


def test_the_machine_is_described():
    described = machine.describe(2)
    assert described["cpu"]
    assert described["cores"] == 2
    assert described["memory_gb"] is None or described["memory_gb"] > 0.1
