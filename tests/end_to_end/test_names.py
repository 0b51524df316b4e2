"""Any name that the file system allows, through every reader, every writer and the command."""

import contextlib
import csv
import json
import os
import pty
import shutil
import subprocess
import sys
import uuid
import zipfile
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
import zarr
from pyarrow import parquet

import nucleiseg
from nucleiseg import images, outputs
from nucleiseg.outputs import FORMATS

GREY = Path(__file__).parents[1] / "data" / "images" / "fluorescence_small.png"

COMMAND = [sys.executable, "-m", "nucleiseg", "segment"]

STEMS = {
    "latin": b"K\xf6rper_1\xb5m",
    "any bytes": b"\xff\xfe\x80\xc3",
    "line break": b"two\nlines\r",
    "control": b"\x1b[31mred\x07\t",
    "quotes": b'it\'s "quoted" `$HOME`',
    "dash": b"-o",
    "two dashes": b"--help",
    "emoji": "🔬 核 é".encode(),
    "right to left": "\u202egnp.tfel".encode(),
    "dots": b"a.b..c",
    "only dots": b"..",
    "dot at the end": b"a.",
    "spaces": b"  a  ",
    "pattern": b"[a-z]*?{b}",
    "backslash": b"a\\b\\n",
    "format": b"%s %d {0} &amp; <b>",
    "long": b"n" * 251,
    "long in several bytes": "核".encode() * 83,
    "long and any bytes": b"\xff" * 251,
    "utf-16 surrogate": b"\xed\xa0\x80",
}
"""As bytes; all of them with a suffix of four are names of files on Linux."""


@pytest.fixture(params=STEMS)
def stem(request):
    return os.fsdecode(STEMS[request.param])


@pytest.fixture(scope="module")
def grey():
    return images.read(GREY)[:96, :96]


@pytest.fixture(scope="module")
def result(grey):
    found = nucleiseg.Segmenter().analyze(grey, scale=1)
    assert len(found) > 1
    return found


def encoded(suffix, image):
    return cv2.imencode(suffix, image)[1].tobytes()


WRITERS = {
    ".png": lambda path, image: path.write_bytes(encoded(".png", image)),
    ".bmp": lambda path, image: path.write_bytes(encoded(".bmp", image)),
    ".web": lambda path, image: path.write_bytes(cv2.imencode(".webp", image, [64, 101])[1]),
    ".tif": lambda path, image: tifffile.imwrite(path, image),
    ".ome": lambda path, image: tifffile.imwrite(path, image, ome=True),
    ".ijt": lambda path, image: tifffile.imwrite(path, image, imagej=True),
    ".npy": lambda path, image: np.save(path, image),
}


@pytest.mark.parametrize("suffix", WRITERS)
def test_every_reader_takes_the_name(tmp_path, monkeypatch, grey, stem, suffix):
    monkeypatch.chdir(tmp_path)
    WRITERS[suffix](Path("written" + suffix), grey)
    path = Path("written" + suffix).rename(f"{stem}{suffix}")
    read = images.read(path)
    np.testing.assert_array_equal(read if read.ndim == 2 else read[..., 0], grey)


def test_the_reader_of_zarr_takes_the_name(tmp_path, grey, stem):
    zarr.save_array(str(tmp_path / "written.zarr"), grey)
    path = (tmp_path / "written.zarr").rename(tmp_path / f"{stem}.zar")
    (plane,) = images.open(path)
    np.testing.assert_array_equal(plane.array, grey)


def test_every_writer_takes_the_name(tmp_path, result, stem):
    image = tmp_path / f"{stem}.png"
    (planned,) = outputs.stems([image], tmp_path / "out", FORMATS.values())
    planned.parent.mkdir()
    result = replace(result, name=image.name)
    saved = {name: each.save(planned, result) for name, each in FORMATS.items()}
    assert {path.parent for path in saved.values()} == {tmp_path / "out"}
    np.testing.assert_array_equal(images.read(saved["mask"]) > 0, result.mask)
    np.testing.assert_array_equal(images.read(saved["labels"]), result.labels)
    np.testing.assert_array_equal(images.read(saved["tiff"]), result.labels)
    assert images.read(saved["overlay"]).shape == (96, 96, 3)
    features = json.loads(saved["geojson"].read_text("ascii"))["features"]
    assert len({uuid.UUID(each["id"]) for each in features}) == len(features) == len(result)
    coco = json.loads(saved["coco"].read_text("ascii"))
    assert len(coco["annotations"]) == len(result)
    assert os.fsencode(coco["images"][0]["file_name"]) == os.fsencode(image.name)
    with saved["rois"].open("rb") as file:
        assert len(zipfile.ZipFile(file).namelist()) == len(result)
    labels = zarr.open_array(saved["zarr"] / "labels/nuclei/0", mode="r")
    np.testing.assert_array_equal(labels[:], result.labels)
    with saved["csv"].open(newline="") as file:
        assert len(list(csv.reader(file))) == len(result) + 1
    with saved["parquet"].open("rb") as file:
        assert parquet.read_table(file).num_rows == len(result)


def test_ids_of_nuclei_are_those_of_uuid5_and_differ_between_names(tmp_path, result):
    ids = {}
    for stem in ("é 核", "\udcff", "\udcfe"):
        (path,) = result.save(tmp_path / stem, "geojson")
        feature = json.loads(path.read_bytes())["features"][0]
        ids[stem] = feature["id"], feature["geometry"]["coordinates"]
    usual, coordinates = ids["é 核"]
    assert usual == str(uuid.uuid5(uuid.NAMESPACE_OID, f"é 核 {coordinates}"))
    assert len({each for each, _ in ids.values()}) == 3


def test_names_that_are_cut_differ(tmp_path):
    names = [f"{'n' * 240}{number}.png" for number in range(3)]
    stems = outputs.stems([tmp_path / name for name in names], tmp_path, [])
    assert len(set(stems)) == 3
    assert {len(stem.name) for stem in stems} == {outputs.LONGEST}
    (same,) = outputs.stems([tmp_path / names[1]], tmp_path, [])
    assert same == stems[1]


# The command


def segment(*arguments, **environment):
    command = [*COMMAND, *map(os.fsdecode, arguments), "--scale", "1"]
    done = subprocess.run(
        command, capture_output=True, check=False, env={**os.environ, **environment}
    )
    assert b"Traceback" not in done.stderr
    return done


TOGETHER = {each.combined.name for each in FORMATS.values() if each.combined}


def made_of(folder):
    """The outputs of images, without hidden ones and those of all images together."""
    names = {path.name for path in folder.iterdir() if path.name != ".nucleiseg"}
    return sorted(names - TOGETHER)


def test_a_folder_of_all_names_is_done_and_resumed(tmp_path, grey):
    (tmp_path / "in").mkdir()
    visible = [os.fsdecode(name) for name in STEMS.values() if not name.startswith(b".")]
    for name in visible:
        (tmp_path / "in" / f"{name}.png").write_bytes(encoded(".png", grey))
    everything = ("-o", tmp_path / "out", "--save", ",".join(FORMATS), "--report")
    done = segment(tmp_path / "in", *everything)
    assert done.returncode == 0
    # At this scale its nuclei are small, which is named.
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"nucleiseg: {len(visible)} images are worth a second look: ".encode())
    assert done.stdout.startswith(f"{len(visible)} images, ".encode())
    assert len(made_of(tmp_path / "out")) == len(visible) * len(FORMATS) + 1
    (tmp_path / "out" / "report.html").read_text("utf-8")
    again = segment(tmp_path / "in", *everything, "--resume")
    assert again.stdout.startswith(f"{len(visible)} images ({len(visible)} done before), ".encode())
    # All results are known by their names, too.
    none = segment(tmp_path / "out", "-o", tmp_path / "other")
    assert none.stderr.endswith(b": no images there, only results of earlier runs\n")


@pytest.mark.parametrize("name", [b"-o.png", b"--help.png", b"-\xff.png"])
def test_a_name_that_begins_with_a_dash_follows_two_dashes(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    shutil.copy(GREY, os.fsdecode(name))
    done = segment_named(name, "-o", "out", "--save", "mask")
    assert (done.returncode, done.stderr) == (0, b"")
    assert made_of(tmp_path / "out") == [f"{os.fsdecode(name)[:-4]}_mask.png"]


def segment_named(name, *options):
    command = [*COMMAND, *options, "--", name]
    return subprocess.run(command, capture_output=True, check=False)


LOCALES = {
    "usual": {},
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "strict": {"PYTHONIOENCODING": "ascii:strict"},
    "C": {"LC_ALL": "C"},
    "C, not coerced": {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
}


@pytest.mark.parametrize("locale", LOCALES)
def test_messages_hold_any_name_in_any_locale(tmp_path, locale):
    folder = tmp_path / os.fsdecode("in 🔬 \n".encode() + b"\xff")
    output = tmp_path / os.fsdecode("out 核 \n".encode() + b"\xfe")
    folder.mkdir()
    shutil.copy(GREY, folder / os.fsdecode("good é".encode() + b"\xfd.png"))
    (folder / os.fsdecode("bad ü\n".encode() + b"\xfc.png")).touch()
    # SpatialData alone takes no such folder.
    every = ",".join(name for name in FORMATS if name != "spatialdata")
    done = segment(folder, "-o", output, "--save", every, "--report", **LOCALES[locale])
    assert done.returncode == 1
    assert done.stdout.count(b"\n") == 1
    look, failure = done.stderr.splitlines()
    assert look.startswith(b"nucleiseg: 1 image is worth a second look: ")
    assert look.endswith(b"\\udcfd.png (unusual size)")
    assert failure.endswith(b"\\udcfc.png: is empty")
    assert done.stdout.startswith(b"1 image (1 failed), ")
    assert done.stdout.endswith(b" \\n\\udcfe\n")
    assert len(made_of(output)) == len(FORMATS)
    name = json.loads(next(output.glob("*_coco.json")).read_bytes())["images"][0]["file_name"]
    assert name == "good é\udcfd.png"
    with (output / "table.csv").open(encoding="utf-8", newline="") as table:
        assert {row["image"] for row in csv.DictReader(table)} == {"good é\\udcfd"}
    assert json.loads((output / "coco.json").read_bytes())["images"][0]["file_name"] == name
    again = segment(folder, "-o", output, "--resume", **LOCALES[locale])
    assert again.stdout.startswith(b"1 image (1 done before, 1 failed), ")


@pytest.mark.parametrize("option", ["--save", "--model", "--device", "--axes", "--threads"])
def test_a_wrong_argument_of_any_bytes_is_a_sentence(tmp_path, option):
    done = segment(GREY, "-o", tmp_path, option, b"\n\xff", **LOCALES["strict"])
    assert done.returncode == 2
    assert b"nucleiseg: " in done.stderr or b"Error: " in done.stderr


def test_a_terminal_of_ascii_shows_the_progress(tmp_path):
    shutil.copy(GREY, tmp_path / "é.png")
    ours, theirs = pty.openpty()
    command = [*COMMAND, tmp_path, "-o", tmp_path / "out"]
    environment = {**os.environ, "TERM": "xterm", "PYTHONIOENCODING": "ascii:strict"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=theirs, env=environment
    ) as process:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # Linux ends a terminal that nobody writes to with one
            while chunk := os.read(ours, 4096):
                shown += chunk
        assert process.wait() == 0
    os.close(ours)
    assert b"1/1" in shown
    assert b"Traceback" not in shown


def test_a_model_may_have_any_name(tmp_path, grey):
    shipped = nucleiseg.Model.load().path
    path = tmp_path / os.fsdecode(b"m\xf6del \n.onnx")
    shutil.copy(shipped, path)
    shutil.copy(shipped.with_suffix(".json"), path.with_suffix(".json"))
    segmenter = nucleiseg.Segmenter(path)
    np.testing.assert_array_equal(segmenter.segment(grey), nucleiseg.segment(grey))
