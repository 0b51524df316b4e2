"""Folders as they are: good files of every kind among broken ones, and stacks."""

import ctypes
import os
import re
import shutil
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

import nucleiseg
from nucleiseg import images
from nucleiseg.batch import Job, Plan, run
from nucleiseg.journal import Journal
from nucleiseg.outputs import Format, formats

DATA = Path(__file__).parents[1] / "data" / "images"
GREY = DATA / "fluorescence_small.png"

PR_CAPBSET_DROP = 24
CAPABILITIES_OVER_PERMISSIONS = (1, 2)  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH


def heed_permissions():
    """Take from a superuser what lets it read files that it may not; nothing to do for others."""
    libc = ctypes.CDLL(None)
    for capability in CAPABILITIES_OVER_PERMISSIONS:
        libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)


def segment(*arguments):
    command = [sys.executable, "-m", "nucleiseg", "segment", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, preexec_fn=heed_permissions
    )


@pytest.fixture(scope="module")
def grey():
    return images.read(GREY)[:96, :96]


GOOD_NAMES = (
    'it\'s "quoted".png',
    "cells 🔬 核.png",
    "<script>alert(1)<script>.png",
    "two\nlines.png",
    "-o.png",
    "100%d {x} $HOME.png",
    "dots.in.name.png",
    "really a png.jpg",
)


def put_good(folder, grey):
    """Twenty images of all kinds; their names without suffix."""
    for name in GOOD_NAMES:
        images.write_png(folder / name, grey)
    for number, dtype in enumerate((np.uint16, np.int16, np.uint32, np.float16, np.float64)):
        tifffile.imwrite(folder / f"deep{number}.tif", grey.astype(dtype))
    for number, compression in enumerate(("lzw", "zlib", "zstd")):
        tifffile.imwrite(folder / f"pressed{number}.tif", grey, compression=compression)
    tifffile.imwrite(folder / "a.ome.tif", grey, ome=True)
    tifffile.imwrite(folder / "imagej.tif", grey, imagej=True)
    zarr.save_array(str(folder / "b.zarr"), grey)
    (folder / "link.png").symlink_to(GREY)


def promising(png, side):
    """The same file with a header of so many pixels squared."""
    header = b"IHDR" + struct.pack(">II", side, side) + png[24:29]
    return png[:12] + header + struct.pack(">I", zlib.crc32(header)) + png[33:]


def put_broken(folder, grey):
    """Ten that are none, and what is said of each."""
    png = GREY.read_bytes()
    (folder / "x0 cut.png").write_bytes(png[:9000])
    (folder / 'x1 "it\'s" 🔬 <script>.tif').touch()
    (folder / "x2 text.jpg").write_text("not an image")
    (folder / "x3 ring.png").symlink_to("x3 ring.png")
    (folder / "x4 nowhere.png").symlink_to("nowhere at all.png")
    (folder / "x5 locked.png").write_bytes(png)
    (folder / "x5 locked.png").chmod(0)
    os.mkfifo(folder / "x6 pipe.png")
    tifffile.imwrite(folder / "x7 volume.tif", np.stack([grey] * 5), photometric="minisblack")
    (folder / "x8 absurd.png").write_bytes(promising(png, 60_000))
    (folder / "x9 locked").mkdir(0)
    return (
        r"x0 cut\.png: is truncated: 9,000 bytes of at least [\d,]+",
        r"x1 \"it's\" 🔬 <script>\.tif: is empty",
        r"x2 text\.jpg: is not an image of a known format; accepted are PNG, .*",
        r"x3 ring\.png: Too many levels of symbolic links",
        r"x4 nowhere\.png: no such file",
        r"x5 locked\.png: Permission denied",
        r"x6 pipe\.png: is no regular file, but a device or a pipe",
        r"x7 volume\.tif: has the shape 5 x 96 x 96 and does not say what axis 0 is; .*",
        r"x8 absurd\.png: has 60,000 x 60,000 pixels; accepted are up to 1,073,741,824 in all",
        r"x9 locked: Permission denied",
    )


def test_twenty_good_and_ten_broken_end_in_twenty_results_and_ten_lines(tmp_path, grey):
    folder = tmp_path / "in"
    folder.mkdir()
    put_good(folder, grey)
    lines = put_broken(folder, grey)
    # One more than the ten would be a warning of some decoder.
    done = segment(folder, "-o", tmp_path / "out", "--save", "labels", "--scale", 1)
    (folder / "x9 locked").chmod(0o700)
    said = done.stderr.splitlines()
    assert len(said) == len(lines)
    for line, expected in zip(said, lines, strict=True):
        assert re.fullmatch(re.escape(f"{folder}/") + expected, line)
    assert done.returncode == 1
    assert done.stdout.startswith("20 images (10 failed), ")
    results = sorted(path for path in (tmp_path / "out").iterdir() if path.is_file())
    assert len(results) == 20
    expected = nucleiseg.segment(grey, "labels", scale=1)
    for path in results:
        if path.name != "link_labels.png":
            np.testing.assert_array_equal(images.read(path), expected)


@pytest.fixture
def volume(tmp_path, grey):
    """Two frames of two planes of two channels, the second of which holds the nuclei."""
    stack = np.zeros((2, 2, 2, *grey.shape), np.uint16)
    for frame in (0, 1):
        for plane in (0, 1):
            stack[frame, plane, 1] = np.roll(grey, 16 * (2 * frame + plane), axis=1)
    path = tmp_path / "plate" / "a.tif"
    path.parent.mkdir()
    metadata = {"axes": "TZCYX", "unit": "um"}
    tifffile.imwrite(path, stack, imagej=True, resolution=(2.5, 2.5), metadata=metadata)
    return path, stack


def labels_in(folder):
    return sorted(path.name for path in folder.iterdir() if path.is_file())


def test_every_plane_of_a_stack_has_a_result_of_its_own(tmp_path, volume):
    path, stack = volume
    chosen = ("--channel", 1, "--z", "all", "--frame", "all", "--scale", 1, "--save", "labels")
    done = segment(path.parent, "-o", tmp_path / "out", *chosen)
    assert (done.returncode, done.stderr) == (0, "")
    assert labels_in(tmp_path / "out") == [
        f"a_z00{plane}_t00{frame}_labels.png" for plane in (0, 1) for frame in (0, 1)
    ]
    for frame in (0, 1):
        for plane in (0, 1):
            saved = images.read(tmp_path / "out" / f"a_z00{plane}_t00{frame}_labels.png")
            expected = nucleiseg.segment(stack[frame, plane, 1], "labels", scale=1)
            np.testing.assert_array_equal(saved, expected)


def test_the_pixel_size_of_a_file_counts_only_when_asked_for(tmp_path, volume):
    path, stack = volume
    chosen = ("--channel", 1, "--z", 0, "--frame", 1, "--save", "labels")
    asked = segment(path, "-o", tmp_path / "asked", "--mpp", "file", *chosen)
    silent = segment(path, "-o", tmp_path / "silent", *chosen)
    assert (asked.returncode, silent.returncode) == (0, 0)
    image = stack[1, 0, 1]
    for name, size in (("asked", {"mpp": 0.4}), ("silent", {})):
        saved = images.read(tmp_path / name / "a_z000_t001_labels.png")
        np.testing.assert_array_equal(saved, nucleiseg.segment(image, "labels", **size))


def test_every_format_is_told_the_pixel_size(tmp_path, volume):
    seen = []

    def write(result, file):
        seen.append((result.plane, result.mpp))

    jobs = [Job(volume[0], tmp_path / "out" / "a")]
    chosen = images.selection(channel=1, z=0, frame="all")
    sizes = Format("sizes", "each size", ".size", write)
    plan = Plan([sizes], {}, chosen, Journal(tmp_path / "out"))
    (outcome,) = run(nucleiseg.Segmenter(), jobs, plan)
    assert not outcome.failure
    # Planes are saved side by side, in any order.
    assert sorted(seen) == [("_z000_t000", 0.4), ("_z000_t001", 0.4)]


def test_who_stops_early_does_not_wait_for_the_rest_of_a_stack(tmp_path, grey):
    options = {"photometric": "minisblack", "metadata": {"axes": "ZYX"}}
    tifffile.imwrite(tmp_path / "a.tif", np.stack([grey] * 2000), **options)
    images.write_png(tmp_path / "b.png", grey)
    jobs = [Job(tmp_path / name, tmp_path / "out" / name) for name in ("b.png", "a.tif")]
    journal = Journal(tmp_path / "out")
    plan = Plan(formats("mask"), {"scale": 1}, images.selection(z="all"), journal)
    running = run(nucleiseg.Segmenter(), jobs, plan)
    assert next(running).image == tmp_path / "b.png"
    running.close()
    assert len(list((tmp_path / "out").iterdir())) < 2000


def test_a_file_without_a_pixel_size_says_so(tmp_path):
    done = segment(GREY, "-o", tmp_path, "--mpp", "file")
    assert done.returncode == 1
    assert done.stderr.startswith(f"{GREY}: does not say its pixel size; give it with --mpp UM")


def test_a_plane_that_fails_is_named(tmp_path, grey):
    stack = np.stack([grey, np.full_like(grey, 1)]).astype(np.float32)
    stack[1, 0, 0] = np.nan
    options = {"photometric": "minisblack", "metadata": {"axes": "ZYX"}}
    tifffile.imwrite(tmp_path / "a.tif", stack, **options)
    done = segment(tmp_path / "a.tif", "-o", tmp_path / "out", "--z", "all", "--save", "mask")
    assert done.returncode == 1
    assert done.stderr.startswith(f"{tmp_path / 'a.tif'}: z001: ")
    assert labels_in(tmp_path / "out") == ["a_z000_mask.png"]


def test_planes_do_not_take_the_names_of_other_images(tmp_path, grey):
    options = {"photometric": "minisblack", "metadata": {"axes": "ZYX"}}
    tifffile.imwrite(tmp_path / "a.tif", np.stack([grey, grey]), **options)
    images.write_png(tmp_path / "a_z001.png", grey)
    done = segment(tmp_path, "-o", tmp_path / "out", "--z", "all", "--save", "mask")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "a.tif: z001: its outputs would have the names of those of" in done.stderr
    assert labels_in(tmp_path / "out") == ["a_z000_mask.png", "a_z001_mask.png"]


def test_planes_do_not_overwrite_images(tmp_path, grey):
    options = {"photometric": "minisblack", "metadata": {"axes": "ZYX"}}
    tifffile.imwrite(tmp_path / "a.tif", np.stack([grey, grey]), **options)
    shutil.copy(GREY, tmp_path / "a_z001_mask.png")
    done = segment(tmp_path, "-o", tmp_path, "--z", "all", "--save", "mask")
    assert done.returncode == 1
    assert "a.tif: z001: " in done.stderr
    assert "is one of the images and would be overwritten" in done.stderr
    assert (tmp_path / "a_z001_mask.png").read_bytes() == GREY.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--z", "first"], "z: got 'first'; accepted are numbers from 0 up and 'all'"),
        (["--frame", "-1"], "frame: got '-1'; accepted"),
        (["--axes", "ZZ"], "axes: got 'ZZ'; accepted is one letter an axis"),
        (["--mpp", "inch"], "mpp: got 'inch'; accepted are numbers above 0"),
        (["--mpp", "file", "--scale", "2"], "mpp and scale: got both"),
        (["--mpp", "file", "--diameter", "20"], "mpp and diameter: got both"),
    ],
)
def test_a_wrong_choice_cannot_start(tmp_path, arguments, words):
    done = segment(GREY, "-o", tmp_path / "out", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"nucleiseg: {words}")
    assert done.stderr.count("\n") == 1
