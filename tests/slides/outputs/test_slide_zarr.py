"""The pyramid of a slide's labels, read by ome-zarr (which napari reads with) and zarr."""

import dataclasses
import json

import numpy as np
import pytest
import zarr
from ome_zarr.io import parse_url
from ome_zarr.reader import Label, Multiscales, Reader

from nucleiseg.outputs.ome_zarr import level_shapes
from nucleiseg.slides.outputs.ome_zarr import OmeZarrLabels


@pytest.fixture(scope="module")
def whole(parts):
    """The labels of the slide in one piece."""
    labels = np.zeros((4096, 4096), np.uint32)
    for _, row, column, block in parts:
        labels[row : row + 2048, column : column + 2048] = block
    return labels


@pytest.fixture
def path(write, parts):
    return write(OmeZarrLabels(), labels=[part[1:] for part in parts])


def pyramid(path):
    """What ome-zarr finds: its nodes are the layers that napari shows."""
    (node,) = [
        node
        for node in Reader(parse_url(path / "labels" / "nuclei", mode="r"))()
        if node.load(Label)
    ]
    return node


def test_ome_zarr_reads_the_labels_at_every_level(path, whole):
    node = pyramid(path)
    assert node.load(Multiscales).datasets == ["0", "1", "2", "3"]
    assert [level.shape for level in node.data] == [(4096 >> i, 4096 >> i) for i in range(4)]
    for i, level in enumerate(node.data):
        assert level.dtype == np.uint32
        np.testing.assert_array_equal(level.compute(), whole[:: 2**i, :: 2**i])


def test_ome_zarr_finds_the_labels_from_their_group(path):
    nodes = list(Reader(parse_url(path / "labels", mode="r"))())
    assert [node.metadata["name"] for node in nodes if node.load(Label)] == ["nuclei"]


def test_levels_lie_on_the_slide_in_micrometres(path, info):
    metadata = json.loads((path / "labels/nuclei/zarr.json").read_text())["attributes"]["ome"]
    assert metadata["version"] == "0.5"
    (multiscale,) = metadata["multiscales"]
    assert [(axis["name"], axis["unit"]) for axis in multiscale["axes"]] == [
        ("y", "micrometer"),
        ("x", "micrometer"),
    ]
    for i, dataset in enumerate(multiscale["datasets"]):
        scale, translation = dataset["coordinateTransformations"]
        assert scale == {"type": "scale", "scale": [0.5 * 2**i] * 2}
        # Two pixels of 0.25 um a side become one, whose centre is between theirs.
        assert translation == {"type": "translation", "translation": [0.125, 0.125]}
    assert "image-label" in metadata


def test_pixels_that_are_not_square_have_a_scale_for_each_axis(write, info):
    oblong = dataclasses.replace(info, label_mpp=(0.5, 0.75))
    path = write(OmeZarrLabels(), info=oblong)
    metadata = json.loads((path / "labels/nuclei/zarr.json").read_text())["attributes"]["ome"]
    first = metadata["multiscales"][0]["datasets"][0]["coordinateTransformations"]
    assert first[0]["scale"] == [0.75, 0.5]


def test_chunks_without_nuclei_are_not_stored(path):
    chunks = {str(file.relative_to(path / "labels/nuclei/0")) for file in path.rglob("0/c/*/*")}
    # The second region has nuclei in its upper third only.
    assert chunks == {f"c/{at}" for at in ("0/0", "0/1", "0/2", "0/3", "1/0", "1/1")}


def test_blocks_that_cover_chunks_in_part_lose_nothing(write, whole):
    blocks = [
        (row, column, whole[row : row + 700, column : column + 900].astype(np.int64))
        for row in range(0, 4096, 700)
        for column in range(0, 4096, 900)
    ]
    path = write(OmeZarrLabels(), labels=blocks)
    array = zarr.open_array(path / "labels/nuclei/0", mode="r")
    np.testing.assert_array_equal(array[:], whole)


def test_a_side_that_is_no_power_of_two_keeps_its_last_pixels(write, info):
    odd = dataclasses.replace(info, label_height=1501, label_width=2053)
    labels = np.arange(1501 * 2053, dtype=np.int64).reshape(1501, 2053)
    path = write(OmeZarrLabels(), labels=[(0, 0, labels)], info=odd)
    for i, shape in enumerate([(1501, 2053), (751, 1027), (376, 514), (188, 257)]):
        level = zarr.open_array(path / f"labels/nuclei/{i}", mode="r")
        assert level.shape == shape
        np.testing.assert_array_equal(level[:], labels[:: 2**i, :: 2**i])


def test_the_smallest_level_is_a_thumbnail():
    assert level_shapes(100_000, 60_000)[-1] == (391, 235)
    assert level_shapes(300, 200) == [(300, 200)]


def test_ids_beyond_32_bits_and_blocks_beyond_the_slide_are_refused(info, tmp_path):
    output = OmeZarrLabels()
    output.begin(info, tmp_path)
    with pytest.raises(ValueError, match="labels: got id 4294967296; accepted are up to"):
        output.add_labels(0, 0, np.full((2, 2), 2**32, np.int64))
    with pytest.raises(ValueError, match=r"labels: got 2 x 3 pixels at \(4095, 0\); accepted"):
        output.add_labels(4095, 0, np.ones((2, 3), np.int32))
    output.add_labels(4094, 0, np.full((2, 3), 2**32 - 1, np.int64))
