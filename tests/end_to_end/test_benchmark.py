"""``nucleiseg benchmark``: what it measures, prints, writes and refuses."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import tifffile

import nucleiseg
from nucleiseg import benchmark, data
from nucleiseg.benchmark import make_calls, prepared
from nucleiseg.cli import app

EXAMPLES = Path(__file__).parents[1] / "data" / "images"
TINY = ["--threads", "1", "--seconds", "0.05"]
SIZES = {"64x64": 64 * 64, "96x96": 96 * 96}


def command(*arguments):
    return [sys.executable, "-m", "nucleiseg", "benchmark", *TINY, *map(str, arguments)]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """The command with both sizes and two batches: what it printed, and what it wrote."""
    file = tmp_path_factory.mktemp("benchmark") / "run.json"
    options = ["--size", 64, "--size", 96, "--batch", 1, "--batch", 3, "--json", file]
    done = subprocess.run(command(*options), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout, file


@pytest.fixture(scope="module")
def document(tiny):
    return json.loads(tiny[1].read_text())


def test_every_combination_has_one_row(document):
    names = [(row["input"], row["batch"], row["output"]) for row in document["rows"]]
    assert names == list(product(SIZES, (1, 3), ("mask", "labels")))
    assert {(row["device"], row["threads"]) for row in document["rows"]} == {("cpu", 1)}


def test_throughput_is_one_figure_in_two_units(document):
    for row in document["rows"]:
        assert row["pixels_per_image"] == SIZES[row["input"]]
        assert row["images"] == row["batch"] * row["calls"]
        assert row["mpixel_per_s"] == pytest.approx(
            row["images_per_s"] * row["pixels_per_image"] / 1e6
        )
        fastest_mean = 1e3 * row["batch"] / row["latency_ms"]["max"]
        assert row["images_per_s"] >= fastest_mean * 0.999


def test_latencies_are_in_order_and_steadiness_is_said(document):
    for row in document["rows"]:
        values = list(row["latency_ms"].values())
        assert list(row["latency_ms"]) == ["p50", "p90", "p99", "max"]
        assert 0 < values[0] <= values[1] <= values[2] <= values[3]
        assert row["steady"] == (row["variation"] < 0.025)


def test_the_parts_of_a_call_add_up_to_it(document):
    for row in document["rows"]:
        shares = row["split"]
        assert list(shares) == ["prepare", "infer", "assemble", "decode", "other"]
        assert sum(shares.values()) == pytest.approx(1)
        assert all(share > 0 for share in shares.values())
        assert row["infer_mpixel_per_s"] > 0


def test_machine_versions_and_model_are_those_in_use(document):
    model = nucleiseg.Model.load()
    assert document["model"]["sha256"] == model.checksum
    assert document["versions"]["nucleiseg"] == nucleiseg.__version__
    assert document["versions"]["numpy"] == np.__version__
    assert "threads" in document["machine"]["cpu"]
    assert document["settings"] == {"images": "stained", "scale": 1.0, "seconds": 0.05}


def test_every_entry_of_the_file_is_documented(document):
    def entries(value):
        if isinstance(value, list):
            return entries(value[0])
        if not isinstance(value, dict):
            return set()
        return set(value).union(*map(entries, value.values()))

    undocumented = {name for name in entries(document) if f"``{name}``" not in benchmark.__doc__}
    assert undocumented == set()


def test_what_is_piped_is_plain_text_of_80_columns(tiny, document):
    text, _ = tiny
    assert text.startswith(f"nucleiseg {nucleiseg.__version__}, python ")
    assert document["model"]["sha256"][:12] in text
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 80
    unsteady = sum(not row["steady"] for row in document["rows"])
    assert (f"* {unsteady} of 8 rows did not get below a CV of 2.5 %" in text) == (unsteady > 0)
    for heading in ("Throughput", "Split", "Batch:"):
        assert f"\n{heading}" in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--device", "tpu"], "device: got 'tpu'; accepted are 'auto', 'cpu', 'cuda'"),
        (["--scale", "big"], "scale: got 'big'; accepted are 'auto' and numbers above 0"),
        (["--seconds", "0"], "seconds: got 0.0; accepted are numbers above 0"),
        (["--model", "{tmp}/none.onnx"], "model: cannot read {tmp}/none.onnx"),
        (["--model", "nuclei-slow"], "model: got 'nuclei-slow'; accepted are 'nuclei"),
        (["--json", "{tmp}"], "json: cannot write {tmp}; accepted is a file in a writable"),
        (["--json", "{tmp}/none/a.json"], "json: cannot write {tmp}/none/a.json; accepted is"),
        (["--images", "{tmp}/none"], "{tmp}/none: no such file or folder"),
        (["--images", "{tmp}/nan"], "{tmp}/nan/a.tif: image: "),
        (["--images", "{tmp}/broken"], "{tmp}/broken/a.png: is not an image of a known format"),
    ],
)
def test_what_cannot_start_is_one_sentence(tmp_path, capsys, arguments, words):
    (tmp_path / "nan").mkdir()
    tifffile.imwrite(tmp_path / "nan" / "a.tif", np.full((64, 64), np.nan, np.float32))
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.png").write_text("no image")
    with pytest.raises(SystemExit) as stopped:
        app(["benchmark", *TINY, *(argument.format(tmp=tmp_path) for argument in arguments)])
    shown = capsys.readouterr()
    assert stopped.value.code == 2
    assert shown.out == ""
    assert shown.err.startswith(f"nucleiseg: {words.format(tmp=tmp_path)}")
    assert shown.err.count("\n") == 1


@pytest.mark.parametrize("option", ["--size", "--batch"])
def test_a_size_and_a_batch_are_at_least_one(capsys, option):
    with pytest.raises(SystemExit) as stopped:
        app(["benchmark", option, "0"])
    assert stopped.value.code == 2
    assert option in capsys.readouterr().err


def test_an_interruption_ends_it_in_order(tmp_path):
    file = tmp_path / "run.json"
    arguments = command("--json", file)
    with subprocess.Popen(arguments, stdout=-1, stderr=-1, text=True) as process:
        assert process.stdout.readline().startswith("nucleiseg")
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert re.fullmatch(r"nucleiseg: interrupted after \d rows; no file was written\n", stderr)
    assert os.listdir(tmp_path) == []  # noqa: PTH208 (hidden files too)


@pytest.fixture(scope="module")
def segmenter():
    return nucleiseg.Segmenter(device="cpu", threads=1)


def test_the_counters_are_of_what_was_done(segmenter):
    def spent(work):
        before, begin = segmenter.times(), time.perf_counter()
        result = work()
        whole, after = time.perf_counter() - begin, segmenter.times()
        found = {name: after[name] - before[name] for name in after}
        pixels = found.pop("pixels")
        assert sum(found.values()) <= whole
        return result, pixels, {name for name, value in found.items() if value > 0}

    image = data.example("stained", (96, 64))
    maps, pixels, parts = spent(lambda: segmenter.segment(image, "maps", scale=1))
    assert (pixels, parts) == (96 * 64, {"prepare", "infer", "assemble"})
    _, pixels, parts = spent(lambda: segmenter.decode(maps, "labels"))
    assert (pixels, parts) == (0, {"decode"})


def measured(segmenter, folder, batch, scale=1.0):
    """The rows of a run in this process."""
    report, steps = prepared(segmenter, [], [batch], folder, scale, 0.01)
    for step in steps:
        step()
    return report["rows"]


def test_ones_own_images_are_taken_in_turn(segmenter, tmp_path):
    for name in ("fluorescence_small", "hematoxylin_eosin", "purple_on_white"):
        shutil.copy(EXAMPLES / f"{name}.png", tmp_path)
    rows = measured(segmenter, tmp_path, 2)
    assert [(row["input"], row["batch"], row["output"]) for row in rows] == [
        ("3 images", 2, "mask"),
        ("3 images", 2, "labels"),
    ]
    # A pass of two calls takes the first image twice.
    assert rows[0]["pixels_per_image"] == (2 * 256 * 256 + 2 * 256 * 320) / 4
    assert rows[0]["calls"] % 2 == 0


def test_blank_images_have_no_network_to_speak_of(segmenter, tmp_path):
    tifffile.imwrite(tmp_path / "blank.tif", np.zeros((48, 48), np.uint8))
    row, _ = measured(segmenter, tmp_path, 1)
    assert row["infer_mpixel_per_s"] is None
    assert row["images_per_s"] > 0


@pytest.mark.parametrize("batch", [1, 2])
def test_the_network_sees_an_image_once_at_scale_1_and_again_where_auto_resizes(segmenter, batch):
    small_nuclei = np.ascontiguousarray(data.example("stained", (480, 480))[::3, ::3])
    seen = {}
    for scale in (1.0, "auto"):
        before = segmenter.times()["pixels"]
        for call in make_calls(segmenter, [small_nuclei], batch, "mask", scale):
            call()
        seen[scale] = segmenter.times()["pixels"] - before
    assert seen[1.0] == batch * 160 * 160
    assert seen["auto"] > 2 * seen[1.0]


class Clock:
    """Time that passes only in calls, by the steps given, the last one again and again."""

    def __init__(self, steps):
        self.now, self.steps = 0.0, list(steps)

    def __call__(self):
        return self.now

    def call(self):
        self.now += self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]


@pytest.mark.parametrize(
    ("steps", "rounds", "steady"),
    [
        ([0.25], 10, True),  # steady from the start: the fewest rounds
        ([0.25, 0.25, 0.28, 0.25], 23, True),  # an outlier, and the rounds that make up for it
        (np.arange(1, 99) / 4, 7, False),  # ever slower: until the limit
        ([40.0], 3, True),  # one call takes longer than the limit: three
    ],
)
def test_rounds_are_added_until_they_are_steady_or_it_is_late(steps, rounds, steady):
    clock = Clock(steps)
    seconds, variation = benchmark.repeat([clock.call], limit=9.0, clock=clock)
    assert len(seconds) == rounds
    assert (variation < benchmark.STEADY) == steady


@pytest.mark.parametrize("name", data.EXAMPLES)
def test_the_example_images_have_nuclei(segmenter, name):
    labels = segmenter.segment(data.example(name), "labels")
    assert labels.max() >= 10


def test_an_example_of_any_size_is_made_of_mirror_images():
    image, large = data.example("stained"), data.example("stained", (600, 1000))
    height, width = image.shape[:2]
    assert large.shape == (600, 1000, 3)
    np.testing.assert_array_equal(large[:height, :width], image)
    np.testing.assert_array_equal(large[height : 2 * height, :width], image[::-1])
    np.testing.assert_array_equal(large[:height, width : 2 * width], image[:, ::-1])
    with pytest.raises(ValueError, match="name: got 'x-ray'; accepted are 'stained', 'fluoresc"):
        data.example("x-ray")
