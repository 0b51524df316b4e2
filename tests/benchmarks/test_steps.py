"""The benchmarks behind the figures of the documents."""

import copy
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import nucleiseg
from benchmarks.steps import ceilings, compare
from benchmarks.steps.kernels import kernels
from nucleiseg._native import cpu

ROOT = Path(__file__).parents[2]


def printed(*arguments):
    command = [sys.executable, "-m", "benchmarks.steps", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["share", "--size", 96, "--repeats", 2], r"Mpixel/s; not the network: \d+\.\d%"),
        (["kernels", "--size", 96, "--seconds", 0.001], r"\nlabel +\d"),
        (["label", "--size", 96, "--seconds", 0.001], r"slowest to fastest: \d"),
        (["measure", "--nuclei", 20, "--rounds", 1], r"ratio, pair by pair: median \d"),
        (["folder", "--images", 7, "--rounds", 1], r"folder over map: median \d"),
    ],
)
def test_a_benchmark_prints_its_figures(arguments, words):
    assert re.search(words, printed(*arguments))


def test_every_level_of_the_network_is_measured():
    """Without OpenVINO, which needs an environment of its own."""
    text = printed("engines", "--alone", "--sizes", 64, "--threads", 1, "--repeats", 1)
    for level in cpu.convolution_levels()[1:]:
        pattern = rf"^{level}, 1 threads, peak [1-9]\d* GMAC/s$"
        assert re.search(pattern, text, re.MULTILINE), text
    pattern = r"^  64 x 64: .* Mpixel/s, \d+ GMAC/s, \d+% of the peak$"
    assert len(re.findall(pattern, text, re.MULTILINE)) == len(cpu.convolution_levels()) - 1


def test_kernels_move_the_bytes_of_their_arrays():
    size = 64
    found = {one.name: one for one in kernels(size, 1, nucleiseg.Model.load())}
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
    for name, count in per_pixel.items():
        assert found[name].bytes_moved == size**2 * count
    for kernel in found.values():
        kernel.run()


def row(number, **changed):
    names = {"device": "cpu", "threads": 1, "input": "64x64", "batch": number, "output": "mask"}
    figures = {"input_sha256": "a", "mpixel_per_s": 10.0, "latency_ms": {"p50": 2.0}}
    return {**names, **figures, **changed}


@pytest.fixture
def document():
    return {
        "machine": {"cpu": "x", "gpu": "none", "kernels": "avx2", "system": "Linux"},
        "model": {"name": "nuclei", "version": "1", "sha256": "b"},
        "settings": {"scale": 1.0},
        "rows": [row(1), row(2)],
    }


def test_an_earlier_run_gives_ratios_row_by_row(document, tmp_path):
    earlier = copy.deepcopy(document)
    for index, one in enumerate(earlier["rows"], 1):
        one["mpixel_per_s"] /= 2 * index
        one["latency_ms"]["p50"] *= 4 * index
    paths = [tmp_path / "earlier.json", tmp_path / "now.json"]
    for path, content in zip(paths, (earlier, document), strict=True):
        path.write_text(json.dumps(content))
    lines = printed("compare", *paths).splitlines()
    assert [line.split()[-4:] for line in lines[1:]] == [
        ["5.00", "10.00", "2.00", "0.25"],
        ["2.50", "10.00", "4.00", "0.12"],
    ]


def test_what_makes_ratios_say_less_is_named(document):
    earlier = copy.deepcopy(document)
    earlier["machine"]["cpu"] = "an abacus"
    earlier["settings"]["scale"] = "auto"
    earlier["rows"][0]["input_sha256"] = "c"
    del earlier["rows"][1]
    assert compare.differences(earlier, document) == [
        "machine: cpu was 'an abacus', is 'x'",
        "settings: scale was 'auto', is 1.0",
        "images: those of 1 rows have other pixels",
        "rows: 1 are in both runs, of 2 now and 1 then",
    ]


def test_the_ceiling_is_that_of_the_networks_instructions():
    best = cpu.convolution_levels()[-1]
    assert ceilings.int8_speed(1, 0.05, best) >= ceilings.int8_speed(1, 0.05, "portable") > 0
    assert ceilings.copy_speed(1, 0.05) > 0


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
    counter = ceilings.Cost()
    stem = counter.stem(np.ones((4, 3, 3, 3), np.int8), *rounding)
    assert counter.multiply_adds == 4 * 27 / 4
    below = counter.pool(stem)
    grown = counter.grow(below, np.ones((4, 4, 2, 2), np.int8), *rounding)
    assert counter.multiply_adds == 4 * 27 / 4 + 64 / 16
    halves = [np.ones((4, 4, 3, 3), np.int8)] * 2
    up = counter.convolution([stem, grown], halves, *rounding)
    counter.cells(up, np.ones((8, 4, 3, 3), np.int8), *rounding)
    assert counter.multiply_adds == 4 * 27 / 4 + 64 / 16 + 2 * 144 / 4 + 288 / 4
    assert ceilings.cost(nucleiseg.Model.load("nuclei-fast")).multiply_adds == 9548
