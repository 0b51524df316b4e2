"""OME-Zarr of an image and its labels, read by ome-zarr (which napari reads with) and by us."""

import json
from pathlib import Path

import numpy as np
import pytest
from ome_zarr.io import parse_url
from ome_zarr.reader import Label, Multiscales, Reader

from nucleiseg import images
from nucleiseg.outputs import FORMATS
from nucleiseg.result import Result

DATA = Path(__file__).parents[1] / "data"


def truth(name, mpp=None):
    labels = images.read(DATA / "labels" / name).astype(np.int32)
    return Result(images.read(DATA / "images" / name), labels > 0, labels, mpp=mpp, name=name)


def saved(folder, result):
    (path,) = result.save(folder / "a", "zarr")
    assert path == folder / "a_nuclei.ome.zarr"
    return path


def layers(path):
    """What ome-zarr finds: the image, and the labels that belong to it."""
    nodes = [each for each in Reader(parse_url(path, mode="r"))() if each.load(Multiscales)]
    (image,) = [each for each in nodes if not each.load(Label)]
    (labels,) = [each for each in nodes if each.load(Label)]
    return image, labels


@pytest.mark.parametrize("name", ["hematoxylin_eosin.png", "fluorescence_wide.png"])
def test_ome_zarr_reads_the_image_and_its_labels(tmp_path, name):
    result = truth(name)
    image, labels = layers(saved(tmp_path, result))
    # Channels come first there.
    expected = np.moveaxis(result.image, -1, 0) if result.image.ndim == 3 else result.image
    np.testing.assert_array_equal(image.data[0].compute(), expected)
    np.testing.assert_array_equal(labels.data[0].compute(), result.labels)
    assert labels.metadata["name"] == "nuclei"


def test_every_level_has_every_second_pixel_of_the_one_above(tmp_path):
    labels = np.arange(1100 * 1300, dtype=np.int32).reshape(1100, 1300)
    colours = np.stack([labels, labels[::-1], labels[:, ::-1]], axis=2).astype(np.uint16)
    image, found = layers(saved(tmp_path, Result(colours, labels > 0, labels)))
    assert len(image.data) == len(found.data) == 3
    for level in range(3):
        at = np.s_[:: 2**level, :: 2**level]
        np.testing.assert_array_equal(found.data[level].compute(), labels[at])
        np.testing.assert_array_equal(image.data[level].compute(), np.moveaxis(colours[at], -1, 0))


@pytest.mark.parametrize(("mpp", "unit", "side"), [(0.325, "micrometer", 0.325), (None, None, 1)])
def test_the_pixel_size_is_in_the_transformations(tmp_path, mpp, unit, side):
    path = saved(tmp_path, truth("hematoxylin_eosin.png", mpp))
    for place, before in (("", [1]), ("labels/nuclei", [])):
        metadata = json.loads((path / place / "zarr.json").read_text())["attributes"]["ome"]
        assert metadata["version"] == "0.5"
        (multiscale,) = metadata["multiscales"]
        assert [axis.get("unit") for axis in multiscale["axes"]] == [None] * len(before) + [
            unit
        ] * 2
        scale, _ = multiscale["datasets"][0]["coordinateTransformations"]
        assert scale == {"type": "scale", "scale": [*before, side, side]}


def test_our_own_reader_takes_the_image_and_the_labels(tmp_path):
    result = truth("fluorescence_small.png", 0.5)
    path = saved(tmp_path, result)
    for place, expected in ((path, result.image), (path / "labels" / "nuclei", result.labels)):
        (plane,) = images.open(place)
        np.testing.assert_array_equal(plane.array, expected)
        assert plane.mpp == 0.5


def test_alpha_is_left_out(tmp_path):
    result = truth("hematoxylin_eosin.png")
    alpha = np.dstack([result.image[..., :3], np.full(result.labels.shape, 9, np.uint8)])
    image, _ = layers(saved(tmp_path, Result(alpha, result.mask, result.labels)))
    np.testing.assert_array_equal(image.data[0].compute(), np.moveaxis(alpha[..., :3], -1, 0))


def test_a_folder_is_replaced_as_a_whole(tmp_path):
    path = saved(tmp_path, truth("hematoxylin_eosin.png"))
    (path / "stray").touch()
    again = saved(tmp_path, truth("fluorescence_small.png"))
    assert not (again / "stray").exists()
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_a_folder_that_cannot_be_finished_leaves_the_old_one(tmp_path, monkeypatch):
    path = saved(tmp_path, truth("hematoxylin_eosin.png"))
    before = {each: each.read_bytes() for each in path.rglob("*") if each.is_file()}
    monkeypatch.setattr("nucleiseg.outputs.ome_zarr.label_metadata", _full)
    with pytest.raises(OSError, match="full"):
        FORMATS["zarr"].save(tmp_path / "a", truth("fluorescence_small.png"))
    assert {each: each.read_bytes() for each in path.rglob("*") if each.is_file()} == before
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def _full(*arguments, **options):
    raise OSError("the disk is full")
