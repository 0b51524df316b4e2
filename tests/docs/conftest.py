"""A folder with the files that the documents name, for each page."""

# ruff: noqa: E402 (writers of files are in other folders of tests)

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
import zarr
from document_blocks import ROOT

from nucleiseg import images

sys.path[:0] = [str(ROOT / "tests" / folder) for folder in ("cpu", "slides")]
import aperio
import nd2_writer

EXAMPLES = ROOT / "tests" / "data" / "images"
MODELS = ROOT / "nucleiseg" / "models"

COPIES = {
    "slide.png": "hematoxylin_eosin.png",
    "image.png": "fluorescence_small.png",
    "images/first.png": "fluorescence_small.png",
    "mine/images/first.png": "fluorescence_small.png",
    "mine/images/second.png": "fluorescence_crowded.png",
    "mine/images/third.png": "purple_on_white.png",
    "tissue/first.png": "hematoxylin_eosin.png",
    "slides/first.png": "hematoxylin_eosin.png",
    "plate/A01.png": "fluorescence_small.png",
    "plates/one/A01.png": "fluorescence_small.png",
    "rgb/first.png": "hematoxylin_eosin.png",
}

TISSUE = "hematoxylin_eosin"

DATA_SETS = {
    "dsb2018/train": {path.stem: path.stem for path in sorted(EXAMPLES.iterdir())},
    "tnbc": {"01_1": TISSUE, "06_1": TISSUE},
    "nuinsseg": {"human_liver_1": TISSUE, "mouse_liver_1": TISSUE},
    "kromp": {"normal_1": "fluorescence_crowded"},
    "aitslab": {"MFGTMPcx7_170702090001_A20f02d0": "fluorescence_wide"},
    "liver": {"1": TISSUE, "2": "purple_on_white", "3": "purple_on_violet"},
}
"""Names of images as the data sets have them, and the examples that are used."""


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
        text = page.read_text()
        for pattern, add in ADDED.items():
            if pattern in text:
                add(folder)
        if "--output mine.onnx" in text:  # the model that it makes is not there yet
            (folder / "mine.onnx").unlink()
            (folder / "mine.json").unlink()
        image = images.read(EXAMPLES / "hematoxylin_eosin.png")
        # What a reader has before the first line: a script, an image, and several.
        self[page] = (
            folder,
            {
                "__name__": "__main__",
                "image": image,
                "images": [image, image[:128]],
            },
        )
        return self[page]


def _add_slides(folder: Path) -> None:
    """Write slides, and two of the ways of saying where the tissue of one is."""
    width, height = 3300, 2700
    tiles = aperio.tissue_tiles([images.read(EXAMPLES / "hematoxylin_eosin.png")], 3)
    layout = aperio.layout(tiles, width, height, 0.3)
    (folder / "data").mkdir()
    for name in ("slide.svs", "data/a.svs", "data/b.svs"):
        aperio.write(folder / name, layout, width, height)
    mask = np.zeros((270, 330), np.uint8)
    mask[100:160, 120:200] = 255
    images.write_png(folder / "mask.png", mask)
    corners = [[1200, 1000], [2000, 1000], [2000, 1600], [1200, 1600], [1200, 1000]]
    polygon = {"type": "Polygon", "coordinates": [corners]}
    feature = {"type": "Feature", "geometry": polygon, "properties": {}}
    collection = {"type": "FeatureCollection", "features": [feature]}
    (folder / "annotations.geojson").write_text(json.dumps(collection))


def _add_data_sets(folder: Path) -> None:
    """Write annotated images, middles of the examples, under the names of the data sets."""
    for data_set, names in DATA_SETS.items():
        for name, example in names.items():
            for part in ("images", "labels"):
                pixels = images.read(EXAMPLES.parent / part / f"{example}.png")[32:160, 32:160]
                path = folder / data_set / part / f"{name}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                images.write_png(path, np.ascontiguousarray(pixels))


def _add_models(folder: Path) -> None:
    """Copy shipped models to where the source tree has them: a command replaces one."""
    shutil.copytree(MODELS, folder / "nucleiseg" / "models")
    (folder / "training" / "weights").mkdir(parents=True)
    shutil.copy(ROOT / "training" / "weights" / "nuclei-fast.npz", folder / "training" / "weights")


def _add_microscopes(folder: Path) -> None:
    """Write a plate of three fields, another of them in a folder, and a stack."""
    grey = _grey()
    frames = np.stack([grey, grey[::-1]], axis=-1)[None]
    nd2_writer.write(folder / "cells.nd2", frames.astype(np.uint16), {}, channels=("DAPI", "GFP"))
    shutil.rmtree(folder / "plates")
    if zarr.__version__.startswith("2."):
        return
    import plate_writer

    for name in ("plate.zarr", "plates/one.zarr"):
        plate_writer.write(folder / name, [np.stack([grey, grey])] * 3, channels=["DAPI", "GFP"])


def _add_frames(folder: Path) -> None:
    """Write a film, in the place of a camera."""
    film = cv2.VideoWriter(
        str(folder / "camera.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 5, (320, 240)
    )
    assert film.isOpened()
    image = images.read(EXAMPLES / "hematoxylin_eosin.png")[:240, :320, ::-1]
    for _ in range(2):
        film.write(np.ascontiguousarray(image))
    film.release()


def _add_picture(folder: Path) -> None:
    image = np.ascontiguousarray(images.read(EXAMPLES / "hematoxylin_eosin.png")[..., :3])
    cv2.imwrite(str(folder / "image.ppm"), image[..., ::-1])


def _grey() -> np.ndarray:
    grey = images.read(EXAMPLES / "fluorescence_small.png")
    return grey if grey.ndim == 2 else grey[..., 0]


ADDED = {
    ".svs": _add_slides,
    "cells.nd2": _add_microscopes,
    "--output nucleiseg/models": _add_models,
    "VideoCapture": _add_frames,
    "image.ppm": _add_picture,
    "dsb2018/train": _add_data_sets,
    "--data liver": _add_data_sets,
    "--images tnbc": _add_data_sets,
}
"""What is written for the pages with a word."""


def _fill(folder: Path) -> None:
    for name in ("examples", "tests"):
        (folder / name).symlink_to(ROOT / name)
    for name, example in COPIES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(EXAMPLES / example, folder / name)
    for name in ("mine", "mine/plates", "runs/mine/mine"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        for suffix in (".onnx", ".json"):
            shutil.copy(MODELS / f"nuclei-fast{suffix}", folder / f"{name}{suffix}")
    grey = _grey()
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
