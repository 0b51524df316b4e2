"""Labels of regions, joined, are those of the whole."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from nucleiseg import Model
from nucleiseg._native import cpu
from nucleiseg.parameters import Decoding
from nucleiseg.slides import emit, grid
from nucleiseg.slides.decode import decode
from nucleiseg.slides.emit import Emitter
from nucleiseg.slides.join import Joiner
from nucleiseg.slides.nuclei import Nuclei, SlideInfo

MODEL = replace(Model.load(), min_probability=165)
"""Of which the maps below have nuclei that are kept and others that are dropped."""
ALL = Decoding()


class Collected:
    """An output that keeps what it is given."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.labels = np.zeros(shape, np.int32)
        self.nuclei: list[Nuclei] = []
        self.blocks: list[tuple[int, int]] = []

    def begin(self, info: SlideInfo, folder: Path) -> None: ...

    def add(self, nuclei: Nuclei) -> None:
        self.nuclei.append(nuclei)

    def add_labels(self, row: int, column: int, labels: Any) -> None:
        self.blocks.append((row, column))
        self.labels[row : row + labels.shape[0], column : column + labels.shape[1]] = labels

    def finish(self) -> None: ...


def blobs(height: int, width: int, size: float, seed: int) -> np.ndarray:
    """Draw maps of smooth noise: objects of all sizes, many with several basins."""
    rng = np.random.default_rng(seed)
    maps = []
    for _ in range(2):
        noise = cv2.GaussianBlur(
            rng.standard_normal((height, width)).astype(np.float32), (0, 0), size
        )
        maps.append(np.clip(150 + 60 * noise / noise.std(), 0, 255).astype(np.uint8))
    return np.stack(maps, -1)


def in_regions(
    maps: np.ndarray, pixels: np.ndarray, side: int, decoding: Decoding = ALL
) -> Collected:
    model = decoding.model(MODEL)
    size = maps.shape[:2]
    info = SlideInfo(Path("x"), size[1], size[0], (0.3, 0.3), 1.0, {}, {}, *size, (0.3, 0.3))
    output = Collected(size)
    joiner, emitter = Joiner(size, side, model), Emitter(info, [output], decoding, (0, 0, *size))
    for band in grid.bands(*size, side):
        nuclei, found = [], []
        for region in band:
            part = np.s_[region.row : region.bottom, region.column : region.right]
            own, open_pixels = decode(
                np.ascontiguousarray(maps[part]), pixels[part], region, size, model, 1
            )
            nuclei.append(own)
            found.append((region, open_pixels))
        joined, row = joiner.add(band, found)
        emitter.add([*nuclei, *joined], row)
    emitter.finish()
    return output


@pytest.mark.parametrize("size", [2.0, 4.0, 9.0, 30.0])
@pytest.mark.parametrize("side", [64, 97, 256, 1024])
def test_labels_are_those_of_the_whole_whatever_the_size_of_objects(size: float, side: int) -> None:
    maps = blobs(700, 900, size, seed=int(size))
    pixels = blobs(700, 900, 3.0, seed=5)[..., :1].repeat(3, 2)
    expected, count = cpu.label(maps, *MODEL.label_rule())
    assert count > 3
    np.testing.assert_array_equal(in_regions(maps, pixels, side).labels, expected)


PARAMETERS = [
    Decoding(nucleus_threshold=0.5),
    Decoding(separation=0.01),
    Decoding(separation=0.4),
    Decoding(min_area=0),
    Decoding(min_area=90),
    Decoding(min_diameter=8, max_diameter=16),
    Decoding(exclude_border=True),
    Decoding(0.5, 0.02, 40, 8, 20, True),
]


@pytest.mark.parametrize("decoding", PARAMETERS, ids=str)
@pytest.mark.parametrize("side", [64, 97, 1024])
def test_parameters_give_what_they_give_of_the_whole(side: int, decoding: Decoding) -> None:
    """A nucleus that regions cut is measured as a whole before it is dropped."""
    maps = blobs(500, 600, 4.0, seed=11)
    expected, _ = cpu.label(maps, *decoding.model(MODEL).label_rule())
    expected = decoding.selected(expected)
    plain, _ = cpu.label(maps, *MODEL.label_rule())
    assert (plain != expected).any()
    found = in_regions(maps, maps[..., 0], side, decoding)
    np.testing.assert_array_equal(found.labels, expected)
    assert sum(len(each.id) for each in found.nuclei) == expected.max() > 3


def test_an_object_as_large_as_the_slide_is_joined_exactly() -> None:
    maps = blobs(500, 600, 5.0, seed=1)
    maps[..., 0] = 255
    expected, count = cpu.label(maps, *MODEL.label_rule())
    assert count > 50
    np.testing.assert_array_equal(in_regions(maps, maps[..., 0], 96).labels, expected)


def test_measurements_and_outlines_do_not_depend_on_regions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(emit, "CHUNK", 100)
    maps = blobs(700, 900, 6.0, seed=3)
    pixels = blobs(700, 900, 3.0, seed=5)[..., :1].repeat(3, 2)
    whole, cut = in_regions(maps, pixels, 1024), in_regions(maps, pixels, 80)
    assert len(whole.nuclei) == len(cut.nuclei) > 3
    assert {len(one) for one in cut.nuclei[:-1]} == {100}
    for one, other in zip(whole.nuclei, cut.nuclei, strict=True):
        for name, column in vars(one).items():
            if name != "features":
                np.testing.assert_array_equal(column, getattr(other, name), err_msg=name)
        assert one.features.keys() == other.features.keys()
        for name, column in one.features.items():
            np.testing.assert_array_equal(column, other.features[name], err_msg=name)


def test_ids_ascend_and_a_nucleus_is_where_its_label_is() -> None:
    maps = blobs(700, 900, 6.0, seed=4)
    found = in_regions(maps, maps[..., 0], 128)
    ids = np.concatenate([each.id for each in found.nuclei])
    np.testing.assert_array_equal(ids, np.arange(1, found.labels.max() + 1))
    areas = np.concatenate([each.area for each in found.nuclei])
    np.testing.assert_array_equal(areas, np.bincount(found.labels.ravel())[1:])
    table = cpu.measure(found.labels)
    centroid = np.concatenate([each.centroid for each in found.nuclei])
    np.testing.assert_allclose(centroid[:, 0], table["centroid-0"] + 0.5, rtol=1e-12)
    np.testing.assert_allclose(centroid[:, 1], table["centroid-1"] + 0.5, rtol=1e-12)
