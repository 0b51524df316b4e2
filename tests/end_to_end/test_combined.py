"""What a run writes for all of its images together, and outputs that are folders."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas
import pytest
import tifffile
from pyarrow import parquet
from pycocotools.coco import COCO

from nucleiseg import images

EXAMPLES = Path(__file__).parents[1] / "data" / "images"
GREY = EXAMPLES / "fluorescence_small.png"
SAVED = "labels,csv,parquet,coco,zarr"
# In the order of the images. Grey ones have no red, green and blue, the stack alone micrometres.
STEMS = ["a/2", "a/10", "b/stack_z000", "b/stack_z001", "b/1"]


def segment(*arguments):
    command = [sys.executable, "-m", "nucleiseg", "segment", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def content(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.parent.name != ".nucleiseg"
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The options of a run, and its outputs."""
    folder = tmp_path_factory.mktemp("run")
    for name in "ab":
        (folder / "in" / name).mkdir(parents=True)
    shutil.copy(EXAMPLES / "hematoxylin_eosin.png", folder / "in" / "a" / "2.png")
    shutil.copy(GREY, folder / "in" / "a" / "10.png")
    shutil.copy(EXAMPLES / "purple_on_white.png", folder / "in" / "b" / "1.png")
    grey = images.read(GREY)
    metadata = {"axes": "ZYX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
    stack = np.stack([grey, grey[::-1]])
    tifffile.imwrite(folder / "in" / "b" / "stack.ome.tif", stack, ome=True, metadata=metadata)
    (folder / "in" / "b" / "stack.ome.tif").rename(folder / "in" / "b" / "stack.tif")
    options = (folder / "in", "--z", "all", "--save", SAVED)
    done = segment(*options, "-o", folder / "out")
    assert (done.returncode, done.stderr) == (0, "")
    return options, folder / "out"


def test_the_table_has_the_rows_of_all_images_in_their_order(run):
    _, out = run
    table = pandas.read_csv(out / "table.csv", float_precision="round_trip")
    assert list(dict.fromkeys(table["image"])) == STEMS
    for stem in STEMS:
        alone = pandas.read_csv(out / f"{stem}_nuclei.csv", float_precision="round_trip")
        rows = table[table["image"] == stem].reset_index(drop=True)
        pandas.testing.assert_frame_equal(rows[list(alone)], alone, check_dtype=False)
        # What this image does not have is empty: colours, or micrometres.
        assert rows.drop(columns=["image", *alone]).isna().all(axis=None)
    assert table.columns[0] == "image"
    assert {"intensity_mean-2", "area_um2"} < set(table)


def test_the_parquet_table_is_the_same_with_types(run):
    _, out = run
    table = parquet.read_table(out / "table.parquet")
    assert list(dict.fromkeys(table["image"].to_pylist())) == STEMS
    frame = table.to_pandas()
    expected = pandas.read_csv(out / "table.csv", float_precision="round_trip")
    assert set(frame) == set(expected)
    pandas.testing.assert_frame_equal(frame[list(expected)], expected, check_dtype=False)
    alone = parquet.read_schema(out / "a/2_nuclei.parquet")
    assert {table.schema.field(each.name).type == each.type for each in alone} == {True}


def test_pycocotools_reads_the_data_set(run):
    _, out = run
    dataset = COCO(str(out / "coco.json"))
    found = dataset.loadImgs(dataset.getImgIds())
    stack = ["b/stack.tif"] * 2
    assert [image["file_name"] for image in found] == ["a/2.png", "a/10.png", *stack, "b/1.png"]
    assert sorted(dataset.getAnnIds()) == list(range(1, len(dataset.anns) + 1))
    for image, stem in zip(found, STEMS, strict=True):
        labels = images.read(out / f"{stem}_labels.png")
        annotations = dataset.loadAnns(dataset.getAnnIds(imgIds=[image["id"]]))
        assert len(annotations) == labels.max()
        for label, annotation in enumerate(annotations, start=1):
            np.testing.assert_array_equal(dataset.annToMask(annotation) == 1, labels == label)


def test_a_resumed_run_gives_the_same_bytes(run, tmp_path):
    options, out = run
    expected = content(out)
    resumed = tmp_path / "out"
    shutil.copytree(out, resumed)
    (resumed / "a" / "10_nuclei.csv").unlink()
    (resumed / "table.csv").write_text("of another time")
    (resumed / "coco.json").unlink()
    # A chunk of a folder's is damaged, and a file is too many in another.
    chunk = next((resumed / "b" / "1_nuclei.ome.zarr").rglob("c/0/0"))
    chunk.write_bytes(chunk.read_bytes()[:-1] + b"?")
    (resumed / "b" / "stack_z001_nuclei.ome.zarr" / "stray").touch()
    (resumed / f".{'0' * 32}.part").mkdir()
    done = segment(*options, "-o", resumed, "--resume")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("4 images (1 done before), ")
    assert content(resumed) == expected
    assert not list(resumed.rglob(".*.part"))


def test_one_job_at_a_time_gives_the_same_bytes(run, tmp_path):
    options, out = run
    assert segment(*options, "-o", tmp_path, "--jobs", 1).returncode == 0
    assert content(tmp_path) == content(out)


def test_folders_that_a_run_made_are_not_taken_for_images(run, tmp_path):
    _, out = run
    again = segment(out, "-o", tmp_path, "--save", "mask")
    assert again.returncode == 2
    assert "only results of earlier runs" in again.stderr
    store = out / "a" / "10_nuclei.ome.zarr"
    assert segment(store, "-o", tmp_path, "--save", "mask").returncode == 0  # it is named


def test_a_table_that_no_run_made_is_not_replaced(tmp_path):
    (tmp_path / "table.csv").write_text("mine")
    options = (GREY, "-o", tmp_path, "--save", "csv")
    refused = segment(*options)
    assert (refused.returncode, (tmp_path / "table.csv").read_text()) == (2, "mine")
    assert "table.csv is there and no run made it; --overwrite replaces it" in refused.stderr
    assert segment(*options, "--overwrite").returncode == 0
    assert (tmp_path / "table.csv").read_text().startswith("image,label,")


def test_a_folder_that_no_run_made_is_not_replaced(tmp_path):
    mine = tmp_path / f"{GREY.stem}_nuclei.ome.zarr"
    mine.mkdir()
    (mine / "zarr.json").write_text("{}")
    failed = segment(GREY, "-o", tmp_path, "--save", "zarr")
    assert (failed.returncode, (mine / "zarr.json").read_text()) == (1, "{}")
    assert "is there and no run made it" in failed.stderr
