"""Smooth outlines: the same areas, without stairs, in every format that has outlines."""

import json
import zipfile

import numpy as np
import pytest

import nucleiseg
from nucleiseg import data
from nucleiseg.outputs.outlines import Outlines
from nucleiseg.outputs.smooth import DECIMALS, smoothed
from nucleiseg.result import Result


def area(ring):
    """The area of a ring, negative where it runs the other way."""
    rows, columns = ring.astype(np.float64).T
    return float(rows @ np.roll(columns, -1) - columns @ np.roll(rows, -1)) / 2


def pairs(labels):
    """The rings of labels, and what they become."""
    plain = Outlines.of(labels)
    soft = smoothed(plain, labels.shape)
    np.testing.assert_array_equal(soft.owners, plain.owners)
    np.testing.assert_array_equal(soft.holes, plain.holes)
    for index in range(len(plain.owners)):
        yield tuple(
            each.points[each.rings[index] : each.rings[index + 1]] for each in (plain, soft)
        )


def disc(radius, size=80):
    rows, columns = np.ogrid[:size, :size]
    middle = (size - 1) / 2
    return ((rows - middle) ** 2 + (columns - middle) ** 2 <= radius**2).astype(np.int32)


@pytest.fixture(scope="module")
def results():
    segmenter = nucleiseg.Segmenter(device="cpu")
    image = data.example("stained")
    return segmenter.analyze(image), segmenter.analyze(image, smooth=True)


def test_areas_stay(results):
    for plain, soft in pairs(results[0].labels):
        assert area(soft) == pytest.approx(area(plain), rel=0.005)


def test_a_nucleus_that_the_image_cuts_stays_cut_straight():
    whole = disc(20)
    for labels in (whole[40:], whole[:40], whole[:, 40:], whole[:, :40]):
        ((plain, soft),) = pairs(labels)
        assert area(soft) == pytest.approx(area(plain), rel=0.005)
        for axis in (0, 1):
            for border in (0, labels.shape[axis]):
                across = [ring[ring[:, axis] == border][:, 1 - axis] for ring in (plain, soft)]
                if len(across[0]):
                    assert np.ptp(across[1]) == pytest.approx(np.ptp(across[0]), abs=3)


@pytest.mark.parametrize("radius", [3, 6, 12, 30])
def test_a_disc_is_round(radius):
    ((plain, soft),) = pairs(disc(radius))
    reach = [np.hypot(*(ring - 40).T) for ring in (plain, soft)]
    assert np.ptp(reach[1]) < 0.35 < 0.7 < np.ptp(reach[0])
    assert area(soft) == pytest.approx(area(plain), rel=0.005)


def test_it_stays_near_the_pixels(results):
    for plain, soft in pairs(results[0].labels):
        steps = np.concatenate(
            [
                np.linspace(one, two, int(np.abs(two - one).sum()) * 4, endpoint=False)
                for one, two in zip(plain, np.roll(plain, -1, 0), strict=True)
            ]
        )
        distances = np.sqrt(((soft[:, None] - steps[None]) ** 2).sum(-1).min(1))
        assert distances.max() < 1.5
        assert distances.mean() < 0.5


def test_specks_and_holes_stay_what_they_are():
    labels = np.zeros((40, 40), np.int32)
    labels[0, 0], labels[20, 5:7] = 1, 2
    labels[5:30, 12:35], labels[15:20, 20:25], labels[8, 15] = 3, 0, 0
    for plain, soft in pairs(labels):
        assert len(soft) >= 4
        assert np.isfinite(soft).all()
        assert area(soft) == pytest.approx(area(plain), rel=0.03)
        assert (soft >= 0).all()
        assert (soft <= 40).all()


def test_no_nuclei_have_no_outlines():
    assert len(smoothed(Outlines.of(np.zeros((5, 5), np.int32)), (5, 5))) == 0


def test_all_but_the_outlines_is_the_same(results):
    plain, soft = results
    np.testing.assert_array_equal(plain.labels, soft.labels)
    np.testing.assert_array_equal(plain.mask, soft.mask)
    for name, column in plain.table.items():
        np.testing.assert_array_equal(column, soft.table[name])


def test_geojson_holds_the_smooth_outlines(results, tmp_path):
    (path,) = results[1].save(tmp_path / "a", "geojson")
    features = json.loads(path.read_text())["features"]
    for feature, outline in zip(features, results[1].outlines, strict=True):
        (ring,) = feature["geometry"]["coordinates"]
        assert ring[0] == ring[-1]
        np.testing.assert_array_equal(np.array(ring[:-1])[:, ::-1], outline.parts[0][0])
        np.testing.assert_array_equal(np.round(ring, DECIMALS), ring)


def test_imagej_gets_fractions_of_pixels(results, tmp_path):
    roifile = pytest.importorskip("roifile")
    (path,) = results[1].save(tmp_path / "a", "rois")
    with zipfile.ZipFile(path) as archive:
        rois = [roifile.ImagejRoi.frombytes(archive.read(name)) for name in archive.namelist()]
    assert len(rois) == len(results[1])
    for roi, outline in zip(rois, results[1].outlines, strict=True):
        np.testing.assert_allclose(roi.coordinates()[:, ::-1], outline.parts[0][0], atol=1e-3)


def test_coco_gets_polygons(results, tmp_path):
    (path,) = results[1].save(tmp_path / "a", "coco")
    annotations = json.loads(path.read_text())["annotations"]
    for one, outline in zip(annotations, results[1].outlines, strict=True):
        (polygon,) = one["segmentation"]
        points = np.reshape(polygon, (-1, 2))[:, ::-1]
        np.testing.assert_array_equal(points, outline.parts[0][0])
        assert abs(area(points)) == pytest.approx(one["area"], rel=0.02)


def test_a_result_made_by_hand_can_be_smooth():
    labels = disc(12)
    plain, soft = (
        Result(np.zeros((80, 80), np.uint8), labels > 0, labels, smooth=smooth)
        for smooth in (False, True)
    )
    assert plain.outlines.points.dtype == np.int32
    assert soft.outlines.points.dtype == np.float64
