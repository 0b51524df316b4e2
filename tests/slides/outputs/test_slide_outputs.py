"""What every output of a slide does."""

import dataclasses
import hashlib
import itertools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from synthetic_nuclei import concatenated

from nucleiseg.slides import outputs
from nucleiseg.slides.outputs import OUTPUTS, make
from nucleiseg.slides.outputs.one_file import NO_NUCLEI

PROGRAM = Path(__file__).with_name("synthetic_nuclei.py")


def digests(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def cut(nuclei, pieces, seed):
    """Consecutive parts of random sizes, of which some are empty."""
    edges = np.sort(np.random.default_rng(seed).integers(0, len(nuclei) + 1, pieces - 1))
    edges = [0, *edges.tolist(), len(nuclei)]
    return [nuclei.part(first, last) for first, last in itertools.pairwise(edges)]


def blocks(parts, side):
    for _, row, column, labels in parts:
        for y in range(0, len(labels), side):
            for x in range(0, len(labels[0]), side):
                yield row + y, column + x, labels[y : y + side, x : x + side]


def test_bytes_do_not_depend_on_how_labels_are_divided(parts, write, tmp_path):
    def run(side):
        write(OUTPUTS["zarr"](), labels=blocks(parts, side), folder=tmp_path / str(side))
        return digests(tmp_path / str(side))

    assert run(768) == run(1024) == run(2048)


@pytest.mark.parametrize("name", OUTPUTS)
def test_a_file_has_its_name_only_when_it_is_finished(name, nuclei, info, tmp_path):
    output = OUTPUTS[name]()
    output.begin(info, tmp_path)
    output.add(nuclei)
    assert not (tmp_path / output.name).exists()
    assert all(path.name == f".{output.name}.part" for path in tmp_path.iterdir())
    output.finish()
    assert [path.name for path in tmp_path.iterdir()] == [output.name]


@pytest.mark.parametrize("name", OUTPUTS)
def test_what_a_killed_run_left_is_replaced(name, nuclei, parts, info, write, tmp_path):
    killed = OUTPUTS[name]()
    (tmp_path / "again").mkdir()
    killed.begin(info, tmp_path / "again")
    killed.add(nuclei)
    killed.add_labels(*parts[1][1:])
    write(OUTPUTS[name](), nuclei, [parts[0][1:]], tmp_path / "again")
    write(OUTPUTS[name](), nuclei, [parts[0][1:]], tmp_path / "once")
    assert digests(tmp_path / "again") == digests(tmp_path / "once")


@pytest.mark.parametrize("name", OUTPUTS)
def test_a_file_of_before_is_overwritten(name, nuclei, parts, write, tmp_path):
    write(OUTPUTS[name](), nuclei, [p[1:] for p in parts], tmp_path / "twice")
    write(OUTPUTS[name](), nuclei.part(0, 50), [parts[0][1:]], tmp_path / "twice")
    write(OUTPUTS[name](), nuclei.part(0, 50), [parts[0][1:]], tmp_path / "once")
    assert digests(tmp_path / "twice") == digests(tmp_path / "once")


@pytest.mark.parametrize("name", OUTPUTS)
def test_a_discarded_output_leaves_nothing(name, nuclei, parts, info, tmp_path):
    output = OUTPUTS[name]()
    output.begin(info, tmp_path)
    output.add(nuclei)
    output.add_labels(*parts[0][1:])
    output.discard()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", OUTPUTS)
@pytest.mark.parametrize("nothing", [None, NO_NUCLEI])
def test_a_slide_without_nuclei_has_its_files(name, nothing, write):
    assert write(OUTPUTS[name](), nothing).exists()


@pytest.mark.parametrize("name", sorted(set(OUTPUTS) - {"zarr"}))
def test_a_folder_that_is_missing_is_an_error_at_once(name, info, tmp_path):
    with pytest.raises(FileNotFoundError, match="absent"):
        OUTPUTS[name]().begin(info, tmp_path / "absent")


def test_outputs_are_made_by_name_with_their_options():
    geojson, csv = make("geojson, csv,csv", measurements="all")
    assert geojson.measurements == "all"
    assert type(csv) is OUTPUTS["csv"]
    assert len(make(",".join(OUTPUTS))) == len(OUTPUTS)


def test_an_unknown_output_is_refused():
    with pytest.raises(ValueError, match=r"got 'tiff'; accepted are zarr, geoparquet"):
        make("csv,tiff")


@pytest.mark.parametrize(
    ("name", "module"),
    [("zarr", "zarr"), ("parquet", "pyarrow"), ("dicom", "highdicom"), ("report", "jinja2")],
)
def test_a_missing_package_is_named_before_anything_is_written(name, module, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(ModuleNotFoundError, match=f"{module} is needed for that: pip install"):
        outputs.make(name)


def test_parts_of_nuclei_are_what_was_divided(nuclei):
    again = concatenated(cut(nuclei, 9, 2))
    for field in dataclasses.fields(nuclei):
        one, other = getattr(nuclei, field.name), getattr(again, field.name)
        if field.name == "features":
            assert one.keys() == other.keys()
            assert all(np.array_equal(one[key], other[key]) for key in one)
        else:
            np.testing.assert_array_equal(one, other)


def test_memory_does_not_grow_with_the_slide():
    """All outputs together, in a process of their own; a million nuclei may take 500 MB."""

    def peak(nuclei):
        command = [sys.executable, PROGRAM, "--nuclei", str(nuclei)]
        run = subprocess.run(command, check=True, capture_output=True, text=True)
        return json.loads(run.stdout.splitlines()[-1])["peak_mb"]

    small, large = peak(60_000), peak(180_000)
    assert large < 500
    # 120,000 nuclei are 50 MB, in each of eight outputs.
    assert large - small < 60
