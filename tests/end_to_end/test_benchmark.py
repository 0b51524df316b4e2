import copy
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import tifffile

import nucleiseg
from nucleiseg import benchmark
from nucleiseg._native import cpu
from nucleiseg.benchmark import ceilings, compare, memory, pictures, split, timing
from nucleiseg.benchmark.run import Run, Settings, make_calls
from nucleiseg.cli import app

EXAMPLES = Path(__file__).parents[1] / "data" / "images"
TINY = ["--quick", "--threads", "1", "--seconds", "0.05"]
SIZES = {"64x64": 64 * 64, "40x96": 40 * 96}


def command(*arguments):
    return [sys.executable, "-m", "nucleiseg", "benchmark", *TINY, *map(str, arguments)]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """The command with both sizes and two batches: what it printed, and what it wrote."""
    file = tmp_path_factory.mktemp("benchmark") / "run.json"
    arguments = command("--size", "64,40x96", "--batch", "1,3", "--json", file)
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout, file


@pytest.fixture(scope="module")
def document(tiny):
    return json.loads(tiny[1].read_text())


def test_every_combination_has_one_row(document):
    names = [(row["input"], row["batch"], row["output"]) for row in document["rows"]]
    assert names == list(product(SIZES, (1, 3), ("mask", "labels")))
    assert {(row["device"], row["threads"]) for row in document["rows"]} == {("cpu", 1)}


def test_throughput_is_one_figure_in_four_units(document):
    for row in document["rows"]:
        assert row["pixels_per_image"] == SIZES[row["input"]]
        assert row["images"] == row["batch"] * row["calls"]
        assert row["mpixel_per_s"] == pytest.approx(
            row["images_per_s"] * row["pixels_per_image"] / 1e6
        )
        assert row["mm2_per_s"] == pytest.approx(0.5e-3**2 * 1e6 * row["mpixel_per_s"])
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
        assert sum(shares.values()) == pytest.approx(1)
        assert all(shares[part] > 0 for part in ("prepare", "infer", "assemble", "decode", "other"))
        assert shares["upload"] == shares["download"] == 0
        assert shares["infer"] > 0.1


def test_the_engine_is_held_against_the_ceiling_of_its_threads(document):
    (ceiling,) = document["ceilings"]
    assert ceiling["threads"] == 1
    assert ceiling["copy_gb_per_s"] > 0
    for row in document["rows"]:
        expected = row["infer_gmac_per_s"] / ceiling["int8_gmac_per_s"]
        assert row["of_int8_peak"] == pytest.approx(expected)


def test_kernels_move_the_bytes_of_their_arrays(document):
    found = {row["name"]: row for row in document["kernels"]}
    per_pixel = {
        "limits uint8": 3,
        "normalize uint8": 6,
        "limits grey uint16": 2,
        "normalize grey uint16": 5,
        "limits float32": 12,
        "normalize float32": 15,
        "assemble": 4,
        "mask": 3,
        "label": 6,
    }
    assert set(found) == {*per_pixel, "gather"}
    for name, row in found.items():
        assert row["bytes"] == row["size"] ** 2 * per_pixel[name] if name in per_pixel else True
        assert row["gb_per_s"] == pytest.approx(row["bytes"] / row["ms"] / 1e6)
        copying = document["ceilings"][0]["copy_gb_per_s"]
        assert row["of_copy"] == pytest.approx(row["gb_per_s"] / copying)


def test_machine_versions_and_model_are_those_in_use(document):
    model = nucleiseg.Model.load()
    assert document["model"]["sha256"] == model.checksum
    assert document["versions"]["nucleiseg"] == nucleiseg.__version__
    assert document["versions"]["numpy"] == np.__version__
    assert "threads" in document["machine"]["cpu"]
    assert document["settings"] == {
        "images": "stained",
        "scale": 1.0,
        "seconds": 0.05,
        "quick": True,
    }


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
    assert text.startswith(f"nucleiseg {nucleiseg.__version__}, Python ")
    assert document["model"]["sha256"][:12] in text
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 80
    unsteady = sum(not row["steady"] for row in document["rows"])
    assert (f"* {unsteady} of 8 rows did not get below a CV of 2.5 %" in text) == (unsteady > 0)
    for heading in ("Throughput", "Latency", "Split", "Native kernels", "Ceilings", "Batch:"):
        assert f"\n{heading}" in text


def test_an_earlier_run_gives_ratios_row_by_row(document):
    earlier = copy.deepcopy(document)
    for index, row in enumerate(earlier["rows"], 1):
        row["mpixel_per_s"] /= index
        row["latency_ms"]["p50"] *= index
        row["peak_memory_mb"] = None if index == 1 else 10.0
    found = compare.ratios(document, earlier)
    assert [ratio.speed for ratio in found] == pytest.approx(range(1, 9))
    assert [ratio.latency for ratio in found] == pytest.approx([1 / n for n in range(1, 9)])
    assert found[0].memory is None
    assert found[1].memory == pytest.approx(document["rows"][1]["peak_memory_mb"] / 10)
    assert compare.differences(document, earlier) == []


def test_what_makes_ratios_say_less_is_said(document):
    earlier = copy.deepcopy(document)
    earlier["machine"]["cpu"] = "an abacus"
    earlier["model"]["sha256"] = "0" * 64
    earlier["settings"]["scale"] = "auto"
    earlier["rows"][0]["input_sha256"] = "0" * 64
    del earlier["rows"][1]
    assert compare.differences(document, earlier) == [
        f"machine: cpu was 'an abacus', is {document['machine']['cpu']!r}",
        f"model: sha256 was '{'0' * 64}', is '{document['model']['sha256']}'",
        "settings: scale was 'auto', is 1.0",
        "images: those of 1 rows have other pixels",
        "rows: 7 are in both runs, 1 only in this one, 0 only in the earlier one",
    ]


def test_the_command_compares(tiny, capsys):
    options = [*TINY, "--size", "64", "--batch", "1", "--compare", str(tiny[1])]
    with pytest.raises(SystemExit) as stopped:
        app(["benchmark", *options])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    assert "This run over the earlier one" in text
    assert text.count("64x64     1") == 2 * 4
    warning = "Warning, not the same rows: 2 are in both runs, 0 only in this one, 6 only in the"
    assert warning in " ".join(text.split())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--size", "0"], "size: got '0'; accepted are pixels of a square's side (512) or rows x"),
        (["--size", "64,big"], "size: got '64,big'; accepted are "),
        (["--batch", "1,0"], "batch: got '1,0'; accepted are whole numbers from 1 up"),
        (["--threads", "two"], "threads: got 'two'; accepted are whole numbers from 1 up"),
        (["--device", "tpu"], "device: got 'tpu'; accepted are 'auto', 'cpu', 'cuda'"),
        (["--kind", "x-ray"], "kind: got 'x-ray'; accepted are 'stained', 'fluorescence'"),
        (["--scale", "big"], "scale: got 'big'; accepted are 'auto' and numbers above 0"),
        (["--seconds", "0"], "seconds: got 0.0; accepted are numbers above 0"),
        (["--model", "{tmp}/none.onnx"], "model: cannot read {tmp}/none.onnx"),
        (["--model", "nuclei-slow"], "model: got 'nuclei-slow'; accepted are 'nuclei"),
        (["--json", "{tmp}"], "json: {tmp} is a folder; accepted is the name of a file"),
        (["--json", "{tmp}/none/a.json"], "json: {tmp}/none is no folder that can be written to"),
        (["--compare", "{tmp}/none.json"], "compare: cannot read {tmp}/none.json"),
        (["--compare", "{tmp}/text"], "compare: {tmp}/text is not valid JSON"),
        (["--compare", "{tmp}/other"], "compare: {tmp}/other is something else; accepted is what"),
        (["--compare", "{tmp}/part"], "compare: {tmp}/part lacks or misstates an entry"),
        (["--images", "{tmp}/none"], "{tmp}/none: no such file or folder"),
        (["--images", "{tmp}", "--size", "9"], "images: got a folder and --size or --kind"),
        (["--images", "{tmp}/nan"], "{tmp}/nan/a.tif: image: "),
        (["--images", "{tmp}/broken"], "{tmp}/broken/a.png: is not an image of a known format"),
    ],
)
def test_what_cannot_start_is_one_sentence(tmp_path, capsys, arguments, words):
    (tmp_path / "text").write_text("not JSON")
    (tmp_path / "other").write_text('{"schema": 0}')
    (tmp_path / "part").write_text('{"schema": 1, "rows": [{}]}')
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


def test_an_interruption_ends_it_in_order(tmp_path):
    file = tmp_path / "run.json"
    arguments = command("--json", file)
    with subprocess.Popen(arguments, stdout=-1, stderr=-1, text=True) as process:
        assert process.stdout.readline().startswith("nucleiseg")
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert stderr == "nucleiseg: interrupted after 0 rows; no file was written\n"
    assert os.listdir(tmp_path) == []  # noqa: PTH208 (hidden files too)


def measured(**settings):
    """The rows of a run in this process, without the ceilings of others."""
    chosen = {
        "threads": (1,),
        "seconds": 0.01,
        "pace": timing.Pace(0.01, 0.001, 3),
        "kernel_size": 64,
        "ceiling_seconds": 0.01,
        **settings,
    }
    run = Run(Settings(**chosen))
    for _, step in run.steps():
        step()
    return run.report.rows


def test_ones_own_images_are_taken_in_turn(tmp_path):
    for name in ("fluorescence_small", "hematoxylin_eosin", "purple_on_white"):
        shutil.copy(EXAMPLES / f"{name}.png", tmp_path)
    rows = measured(folder=tmp_path, batches=(2,))
    assert [(row.input, row.batch, row.output) for row in rows] == [
        ("3 images", 2, "mask"),
        ("3 images", 2, "labels"),
    ]
    # A pass of two calls takes the first image twice.
    assert rows[0].pixels_per_image == (2 * 256 * 256 + 2 * 256 * 320) / 4
    assert rows[0].calls % 2 == 0


def test_blank_images_have_no_engine_to_speak_of(tmp_path):
    tifffile.imwrite(tmp_path / "blank.tif", np.zeros((48, 48), np.uint8))
    row, _ = measured(folder=tmp_path, batches=(1,))
    assert row.infer_gmac_per_s is None
    assert row.of_int8_peak is None
    assert row.images_per_s > 0


@pytest.mark.parametrize("batch", [1, 2])
def test_the_network_sees_an_image_once_at_scale_1_and_again_where_auto_resizes(tmp_path, batch):
    small_nuclei = np.ascontiguousarray(pictures.draw("stained", 480, 480)[::3, ::3])
    tifffile.imwrite(tmp_path / "small.tif", small_nuclei)
    seen = {}
    for scale in (1.0, "auto"):
        settings = Settings(folder=tmp_path, threads=(1,), batches=(batch,), scale=scale)
        run = Run(settings)
        segmenter = run.segmenter("cpu", 1)
        watched = split.Split()
        segmenter._backend = split.Watched(segmenter._backend, watched)
        for call in make_calls(segmenter, [small_nuclei], batch, "mask", scale):
            call()
        seen[scale] = watched.pixels
    assert seen[1.0] == batch * 160 * 160
    assert seen["auto"] > 2 * seen[1.0]


@pytest.fixture(scope="module")
def segmenter():
    return nucleiseg.Segmenter(threads=1)


@pytest.mark.parametrize("kind", ["stained", "fluorescence"])
def test_drawn_nuclei_are_found(segmenter, kind):
    labels = segmenter.segment(pictures.draw(kind, 512, 512), "labels", scale=1)
    drawn = pictures.scene(0).nuclei
    # Those that the picture's edge cuts are seen twice, and some overlap.
    assert 0.85 * drawn <= labels.max() <= 1.15 * drawn
    assert 0.1 < (labels > 0).mean() < 0.3


@pytest.mark.parametrize("kind", ["stained", "fluorescence"])
def test_a_picture_is_the_same_whenever_it_is_drawn(kind):
    first = pictures.draw(kind, 96, 128, seed=3)
    pictures.scene.cache_clear()
    pictures._painted.cache_clear()
    np.testing.assert_array_equal(pictures.draw(kind, 96, 128, seed=3), first)
    assert (pictures.draw(kind, 96, 128, seed=4) != first).mean() > 0.5


def test_a_picture_of_any_size_is_made_of_one_block():
    picture = pictures.draw("fluorescence", 600, 1100)
    assert (picture.shape, picture.dtype) == ((600, 1100), np.uint16)
    np.testing.assert_array_equal(picture[512:], picture[:88])
    np.testing.assert_array_equal(picture[:, 512:1024], picture[:, :512])
    # Neighbours across the seam are as alike as any.
    steps = np.abs(np.diff(picture.astype(int), axis=1)).mean(0)
    assert steps[511] < 1.5 * steps.mean()


class Clock:
    """Time that passes only in calls, by the steps given, the last one again and again."""

    def __init__(self, steps):
        self.now, self.steps = 0.0, list(steps)

    def perf_counter(self):
        return self.now

    def call(self):
        self.now += self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]


@pytest.mark.parametrize(
    ("steps", "rounds", "steady"),
    [
        ([0.25], 10, True),  # steady from the start: the fewest rounds
        ([0.25, 0.28, 0.25], 23, True),  # an outlier, and the rounds that make up for it
        (np.arange(1, 99) / 4, 8, False),  # ever slower: until the limit
        ([40.0], 3, True),  # one call takes longer than the limit: three
    ],
)
def test_rounds_are_added_until_they_are_steady_or_it_is_late(monkeypatch, steps, rounds, steady):
    clock = Clock(steps)
    monkeypatch.setattr(timing, "time", clock)
    monkeypatch.setattr(timing._seconds, "__defaults__", (clock.perf_counter,))
    found = timing.repeat([clock.call], timing.Pace(warm_up=0.1, round=0.1, rounds=10), limit=9.0)
    assert len(found.seconds) == rounds
    assert found.is_steady == steady


class Lane:
    """Steps that come from a session, as a GPU's do: of the CPU's backend."""

    name = "cuda"

    def __init__(self, backend):
        self.backend, self.waits, self.keys = backend, 0, []

    def __getattr__(self, name):
        return getattr(self.backend, name)

    @contextmanager
    def session(self, to_host):
        yield self

    def repeat(self, key, image, work):
        self.keys.append(key)
        return work(image)


class WaitingLane(Lane):
    def synchronize(self):
        self.waits += 1


def test_steps_of_a_session_are_waited_for_and_never_replayed(segmenter):
    lane, watched = WaitingLane(segmenter._backend), split.Split()
    image, maps = pictures.draw("stained", 64, 64), pictures.maps(64, 64)
    with split.Watched(lane, watched).session(True) as steps:
        first, second = (steps.repeat(("labels",), maps, steps.label) for _ in range(2))
        steps.infer(image[None])
    np.testing.assert_array_equal(first, second)
    assert first.max() > 0
    assert lane.waits == 3
    assert len(set(lane.keys)) == 2
    assert watched.pixels == 64 * 64
    assert watched.parts["decode"] > 0
    assert watched.parts["infer"] > 0


def test_steps_that_cannot_be_waited_for_are_not_split():
    class Driver:
        _backend = Lane(None)

        def segment(self):
            with self._backend.session(True):
                pass

    driver = Driver()
    assert split.measure(driver, [driver.segment], 0.01) is None
    assert isinstance(driver._backend, Lane)


def test_the_peak_counts_what_is_gone_again():
    peak = memory.Peak()
    np.ones(50_000_000, np.uint8)
    assert peak.megabytes is not None, "Linux hides VmHWM or clear_refs here"
    assert 45 < peak.megabytes < 80


def test_a_hidden_peak_is_none(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "_RESET", tmp_path / "none" / "clear_refs")
    assert memory.Peak().megabytes is None


def test_the_ceiling_is_that_of_the_networks_instructions():
    (found,) = [ceilings.measure(threads=1, seconds=0.05)]
    assert found.int8_level == cpu.convolution_levels()[-1]
    portable = ceilings.int8_speed(1, 0.05, "portable")
    assert found.int8_gmac_per_s >= portable / 1e9 > 0


def test_every_level_of_the_network_is_measured():
    """By the script whose figures are in docs/performance.md, but for OpenVINO."""
    command = [sys.executable, "benchmarks/engines.py", "--alone", "--sizes", "64"]
    command += ["--threads", "1", "--repeats", "1"]
    root = Path(__file__).parents[2]
    printed = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout
    for level in cpu.convolution_levels()[1:]:
        pattern = rf"^{level}, 1 threads, peak [1-9]\d* GMAC/s$"
        assert re.search(pattern, printed, re.MULTILINE), printed
    rows = re.findall(
        r"^  64 x 64: .* Mpixel/s, \d+ GMAC/s, \d+% of the peak$", printed, re.MULTILINE
    )
    assert len(rows) == len(cpu.convolution_levels()) - 1


def test_the_caches_that_cores_share_count_once(monkeypatch, tmp_path):
    shares = {0: "0-1", 1: "0-1", 2: "2-3", 3: "2-3"}
    for number, together in shares.items():
        caches = {"index0": ("1", str(number), "32K"), "index3": ("3", together, "32768K")}
        for name, values in caches.items():
            folder = tmp_path / f"cpu{number}" / "cache" / name
            folder.mkdir(parents=True)
            for entry, value in zip(("level", "shared_cpu_list", "size"), values, strict=True):
                (folder / entry).write_text(f"{value}\n")
    monkeypatch.setattr(ceilings, "CPUS", tmp_path)
    assert ceilings.last_cache() == 2 * 32 * 2**20
    monkeypatch.setattr(ceilings, "CPUS", tmp_path / "none")
    assert ceilings.last_cache() == 0


def test_multiply_adds_are_counted_by_hand_and_of_the_model():
    rounding = np.ones(4, np.float32), np.ones(4, np.float32)
    counter = ceilings._Counter()
    stem = counter.stem(np.ones((4, 3, 3, 3), np.int8), *rounding)
    assert counter.total == 4 * 27 / 4
    below = counter.pool(stem)
    grown = counter.grow(below, np.ones((4, 4, 2, 2), np.int8), *rounding)
    assert counter.total == 4 * 27 / 4 + 64 / 16
    halves = [np.ones((4, 4, 3, 3), np.int8)] * 2
    up = counter.convolution([stem, grown], halves, *rounding)
    counter.cells(up, np.ones((8, 4, 3, 3), np.int8), *rounding)
    assert counter.total == 4 * 27 / 4 + 64 / 16 + 2 * 144 / 4 + 288 / 4
    assert ceilings.multiply_adds(nucleiseg.Model.load("nuclei-fast")) == 9548
