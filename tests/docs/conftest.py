"""A folder with the files that the documents name, for each page."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from document_blocks import ROOT

from nucleiseg import images

sys.path.insert(0, str(ROOT / "tests" / "slides"))
import aperio

EXAMPLES = ROOT / "tests" / "data" / "images"
MODELS = ROOT / "nucleiseg" / "models"

COPIES = {
    "slide.png": "hematoxylin_eosin.png",
    "image.png": "fluorescence_small.png",
    "images/first.png": "fluorescence_small.png",
    "mine/images/first.png": "fluorescence_small.png",
    "tissue/first.png": "hematoxylin_eosin.png",
    "slides/first.png": "hematoxylin_eosin.png",
    "plate/A01.png": "fluorescence_small.png",
    "plates/one/A01.png": "fluorescence_small.png",
    "rgb/first.png": "hematoxylin_eosin.png",
}


@pytest.fixture(scope="module")
def workplaces(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, tuple[Path, dict[str, Any]]]:
    """Return the folder and the variables of each page, made when its first block is run."""
    return _Workplaces(tmp_path_factory)


class _Workplaces(dict):  # type: ignore[type-arg]
    def __init__(self, factory: pytest.TempPathFactory) -> None:
        super().__init__()
        self._factory = factory

    def __missing__(self, page: Path) -> tuple[Path, dict[str, Any]]:
        folder = self._factory.mktemp(page.stem)
        _fill(folder)
        if "slide.svs" in page.read_text():
            _add_slide(folder)
        image = images.read(EXAMPLES / "hematoxylin_eosin.png")
        # What a reader has before the first line: an image, and several.
        self[page] = folder, {"image": image, "images": [image, image[:128]]}
        return self[page]


def _add_slide(folder: Path) -> None:
    """Write a slide, and two of the ways of saying where its tissue is."""
    width, height = 3300, 2700
    tiles = aperio.tissue_tiles([images.read(EXAMPLES / "hematoxylin_eosin.png")], 3)
    layout = aperio.layout(tiles, width, height, 0.3)
    aperio.write(folder / "slide.svs", layout, width, height)
    mask = np.zeros((270, 330), np.uint8)
    mask[100:160, 120:200] = 255
    images.write_png(folder / "mask.png", mask)
    corners = [[1200, 1000], [2000, 1000], [2000, 1600], [1200, 1600], [1200, 1000]]
    polygon = {"type": "Polygon", "coordinates": [corners]}
    feature = {"type": "Feature", "geometry": polygon, "properties": {}}
    collection = {"type": "FeatureCollection", "features": [feature]}
    (folder / "annotations.geojson").write_text(json.dumps(collection))


def _fill(folder: Path) -> None:
    for name, example in COPIES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(EXAMPLES / example, folder / name)
    for name in ("mine", "mine/plates", "runs/mine/mine"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        for suffix in (".onnx", ".json"):
            shutil.copy(MODELS / f"nuclei-fast{suffix}", folder / f"{name}{suffix}")
    grey = images.read(EXAMPLES / "fluorescence_small.png")
    grey = grey if grey.ndim == 2 else grey[..., 0]
    planes = np.stack([grey, grey[::-1]])
    (folder / "more").mkdir()
    tifffile.imwrite(folder / "more" / "second.tif", grey)
    channels = {"axes": "ZCYX", "Channel": {"Name": ["DAPI", "actin"]}, "PhysicalSizeX": 0.325}
    volume = np.stack([planes, planes], axis=1)
    (folder / "stacks").mkdir()
    for name in ("volume.ome.tif", "stacks/first.ome.tif"):
        tifffile.imwrite(folder / name, volume, metadata=channels)
    frames = np.stack([grey] * 13)
    tifffile.imwrite(folder / "movie.tif", frames, imagej=True, metadata={"axes": "TYX"})
    tifffile.imwrite(folder / "pages.tif", planes, photometric="minisblack", metadata=None)
