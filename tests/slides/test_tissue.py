"""Tissue is found on glass, in fluorescence and beside ink, and can be given."""

from __future__ import annotations

import json
from pathlib import Path

import aperio
import cv2
import numpy as np
import pytest
import shapely.geometry

from nucleiseg import slides
from nucleiseg.slides import tissue

DATA = Path(__file__).parents[1] / "data/images"

MPP = 8.0


def compressed(picture: np.ndarray, quality: int) -> np.ndarray:
    encoded = cv2.imencode(".jpg", np.ascontiguousarray(picture[..., ::-1]), [1, quality])[1]
    return np.ascontiguousarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR)[..., ::-1])


def glass(quality: int) -> np.ndarray:
    """Glass with noise and uneven light, as a JPEG file has it."""
    rng = np.random.default_rng(0)
    light = np.linspace(-6, 6, 800)[None, :, None]
    picture = aperio.GLASS + rng.normal(0, 2, (600, 800, 3)) + light
    return compressed(np.clip(picture, 0, 255).astype(np.uint8), quality)


@pytest.fixture
def piece() -> np.ndarray:
    """Tissue, 256 x 320."""
    (picture,) = aperio.pictures(DATA, "hematoxylin_eosin.png")
    return picture


@pytest.mark.parametrize("quality", [30, 60, 90])
def test_blank_glass_is_no_tissue(quality: int) -> None:
    assert not tissue.find(glass(quality), MPP).any()


@pytest.mark.parametrize("ink", [(30, 60, 200), (40, 150, 60), (30, 30, 30)])
def test_ink_on_glass_is_hardly_taken_for_tissue(ink: tuple[int, int, int]) -> None:
    picture = glass(80)
    cv2.line(picture, (80, 80), (600, 450), ink, 16, cv2.LINE_AA)
    picture = compressed(cv2.GaussianBlur(picture, (0, 0), 2), 80)
    assert tissue.find(picture, MPP).mean() < 0.005


def test_tissue_is_found_whole_with_a_seam_and_nothing_else(piece: np.ndarray) -> None:
    picture = glass(80)
    picture[200 : 200 + len(piece), 300 : 300 + piece.shape[1]] = piece
    picture[50:54, 50:54] = 60  # dust
    found = tissue.find(picture, MPP)
    inside = found[200 : 200 + len(piece), 300 : 300 + piece.shape[1]]
    assert inside.mean() > 0.97
    assert found.sum() < 1.15 * piece.shape[0] * piece.shape[1]
    assert not found[:150, :200].any()


def test_fluorescence_is_what_is_brighter_than_the_background() -> None:
    rng = np.random.default_rng(1)
    picture = rng.normal(300, 10, (600, 800))
    picture[200:300, 300:450] += rng.gamma(2, 400, (100, 150))
    found = tissue.find(picture.astype(np.uint16), MPP)
    assert found[200:300, 300:450].mean() > 0.97
    assert found.sum() < 1.5 * 100 * 150
    assert not tissue.find(rng.normal(300, 10, (600, 800)).astype(np.uint16), MPP).any()


def test_geojson_has_the_outlines_and_holes_of_the_mask() -> None:
    mask = np.zeros((60, 80), np.bool_)
    mask[10:40, 20:70] = True
    mask[20:30, 30:50] = False
    features = json.loads(tissue.geojson(mask, (600, 1600)))["features"]
    (polygon,) = (shapely.geometry.shape(one["geometry"]) for one in features)
    assert polygon.is_valid
    assert len(polygon.interiors) == 1
    assert polygon.area == pytest.approx(mask.sum() * 10 * 20, rel=0.06)
    assert polygon.bounds == pytest.approx((400, 100, 1400, 400), abs=11)


def test_a_file_that_says_no_tissue_is_refused(svs: Path, tmp_path: Path) -> None:
    (tmp_path / "none.geojson").write_text('{"type": "FeatureCollection", "features": []}')
    (tmp_path / "bad.geojson").write_text('{"features": 7}')
    cv2.imwrite(str(tmp_path / "square.png"), np.ones((100, 100), np.uint8))
    with slides.open(svs) as slide:
        for name, words in (
            ("none.geojson", "without a polygon"),
            ("bad.geojson", "no GeoJSON"),
            ("square.png", "accepted is a picture of the whole slide, of 2700 x 3300"),
        ):
            with pytest.raises(ValueError, match=words):
                tissue.given(tmp_path / name, slide, (169, 207))
