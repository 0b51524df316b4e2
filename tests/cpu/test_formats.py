"""Every format, read back by the program library that its users read it with."""

import csv
import functools
import io
import json
import math
import sys
import uuid
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import cv2
import geopandas
import numpy as np
import pandas
import pytest
import roifile
import shapely
import tifffile
from pycocotools import mask as coco_masks
from pycocotools.coco import COCO
from shapely.geometry import shape

from nucleiseg import images, outputs
from nucleiseg.outputs import FORMATS, rle, tiffs
from nucleiseg.result import Result

DATA = Path(__file__).parents[1] / "data"
NAMES = sorted(path.name for path in (DATA / "images").iterdir())


def truth(name, mpp=None):
    image = images.read(DATA / "images" / name)
    labels = images.read(DATA / "labels" / name).astype(np.int32)
    maps = np.stack([np.where(labels > 0, 200, 30)] * 2, axis=2).astype(np.uint8)
    return Result(image, labels > 0, labels, maps, mpp=mpp, name=name)


def drawn(text):
    """Labels from rows of digits."""
    labels = np.array([[int(letter) for letter in row] for row in text.split()], np.int32)
    maps = np.zeros((*labels.shape, 2), np.uint8)
    return Result(labels.astype(np.uint16), labels > 0, labels, maps)


# Holes, a hole that touches the outside at a corner, parts that touch at a corner, an island in a
# hole of the same nucleus, and pixels at every edge of the image.
SHAPES = {
    "hole": "11111 10001 10101 10001 11111",
    "two holes that touch": "0000000 0111110 0101110 0110110 0111110",
    "hole open at a corner": "1110 1010 1100",
    "parts at a corner": "1100220 1100022 0011000 0011003",
    "another nucleus in a hole": "11111 12221 12021 12221 11111",
    "one pixel": "1",
    "a row": "1122333",
    "nothing": "000 000",
}


@pytest.fixture(params=NAMES + list(SHAPES))
def result(request):
    return drawn(SHAPES[request.param]) if request.param in SHAPES else truth(request.param)


def saved(folder, name, result):
    return result.save(folder / "a", name)[0]


def rasterised(polygons, size):
    """Fill polygons, (label, shapely geometry), by asking for the centre of every pixel."""
    labels = np.zeros(size, np.int32)
    for label, polygon in polygons:
        left, top, right, bottom = map(int, polygon.bounds)
        columns, rows = np.meshgrid(np.arange(left, right), np.arange(top, bottom))
        inside = shapely.contains_xy(polygon, columns + 0.5, rows + 0.5)
        labels[top:bottom, left:right][inside] = label
    return labels


MEASURED = {
    "Nucleus: Area px^2": "area",
    "Nucleus: Perimeter px": "perimeter_crofton",
    "Nucleus: Circularity": "circularity",
    "Nucleus: Solidity": "solidity",
    "Nucleus: Diameter px": "equivalent_diameter_area",
    "Nucleus: Confidence": "probability_mean",
}


def geojson(folder, result):
    path = saved(folder, "geojson", result)
    assert path == folder / "a_nuclei.geojson"
    return json.loads(path.read_text(encoding="utf-8"), parse_constant=pytest.fail)


def test_geojson_outlines_filled_again_are_the_labels(tmp_path, result):
    collection = geojson(tmp_path, result)
    assert collection["type"] == "FeatureCollection"
    polygons = [
        (label, shape(feature["geometry"]))
        for label, feature in enumerate(collection["features"], start=1)
    ]
    assert all(polygon.is_valid for _, polygon in polygons)
    np.testing.assert_array_equal(rasterised(polygons, result.labels.shape), result.labels)


def test_geojson_is_what_qupath_imports_as_detections(tmp_path, result):
    features = geojson(tmp_path, result)["features"]
    assert len(features) == len(result)
    assert len({uuid.UUID(feature["id"]) for feature in features}) == len(result)
    for row, feature in enumerate(features):
        assert feature["type"] == "Feature"
        assert "plane" not in feature["geometry"]
        properties = feature["properties"]
        assert properties["objectType"] == "detection"
        assert properties["name"] == str(row + 1)
        assert properties["classification"] == {"name": "Nucleus", "color": [0, 200, 0]}
        known = {name: result.table[column][row] for name, column in MEASURED.items()}
        assert properties["measurements"] == pytest.approx(
            {name: value for name, value in known.items() if math.isfinite(value)}, rel=5.1e-4
        )


def test_geojson_measures_in_micrometres_where_they_are_known(tmp_path):
    result = truth("hematoxylin_eosin.png", mpp=0.25)
    measurements = geojson(tmp_path, result)["features"][0]["properties"]["measurements"]
    assert list(measurements) == [name.replace("px", "µm") for name in MEASURED]
    assert measurements["Nucleus: Area µm^2"] == pytest.approx(
        result.table["area_um2"][0], rel=5.1e-4
    )


@pytest.mark.parametrize(
    ("plane", "z", "t"), [("_z003", 3, 0), ("_t012", 0, 12), ("_z1204_t007", 1204, 7)]
)
def test_geojson_of_a_stack_says_the_plane(tmp_path, plane, z, t):
    result = truth("fluorescence_small.png")
    result.plane = plane
    planes = [feature["geometry"]["plane"] for feature in geojson(tmp_path, result)["features"]]
    assert planes == [{"c": -1, "z": z, "t": t}] * len(result)


def test_geojson_is_slim(tmp_path):
    result = truth("hematoxylin_eosin.png", mpp=0.25)
    bytes_each = saved(tmp_path, "geojson", result).stat().st_size / len(result)
    corners = len(result.outlines.points) / len(result)
    # A corner takes at most 10 bytes here; the rest is the same for every nucleus.
    assert bytes_each < 10 * corners + 500


def test_geojson_has_closed_rings_and_several_polygons_only_for_several_parts(tmp_path, result):
    for feature in geojson(tmp_path, result)["features"]:
        geometry = feature["geometry"]
        several = geometry["type"] == "MultiPolygon"
        polygons = geometry["coordinates"] if several else [geometry["coordinates"]]
        assert several == (len(polygons) > 1)
        for exterior, *holes in polygons:
            # RFC 7946: counterclockwise with y up, which is clockwise on a screen.
            assert shapely.LinearRing(exterior).is_ccw
            assert not any(shapely.LinearRing(hole).is_ccw for hole in holes)
            assert all(ring[0] == ring[-1] for ring in (exterior, *holes))


def test_a_nucleus_keeps_its_id_from_run_to_run(tmp_path):
    first, second = (geojson(tmp_path, truth(NAMES[0]))["features"] for _ in range(2))
    assert [feature["id"] for feature in first] == [feature["id"] for feature in second]


def rois(folder, result):
    path = saved(folder, "rois", result)
    assert path == folder / "a_rois.zip"
    with zipfile.ZipFile(path) as archive:
        # roifile refuses a zip file without a ROI.
        return [roifile.ImagejRoi.frombytes(archive.read(name)) for name in archive.namelist()]


def test_imagej_rois_filled_again_are_the_labels(tmp_path, result):
    polygons = []
    for roi in rois(tmp_path, result):
        rings = [shapely.Polygon(ring) for ring in roi.coordinates(multi=True)]
        polygons.append((int(roi.name), functools.reduce(shapely.symmetric_difference, rings)))
    np.testing.assert_array_equal(rasterised(polygons, result.labels.shape), result.labels)


def test_imagej_rois_have_whole_coordinates_and_one_entry_a_nucleus(tmp_path, result):
    found = rois(tmp_path, result)
    assert [roi.name for roi in found] == [str(n + 1) for n in range(len(result))]
    for outline, roi in zip(result.outlines, found, strict=True):
        assert not roi.subpixelresolution
        assert roi.composite == (len(outline.parts) > 1 or len(outline.parts[0]) > 1)


def test_an_imagej_roi_beyond_16_bits_keeps_its_place(tmp_path):
    labels = np.zeros((2, 70_000), np.int32)
    labels[:, 60_000:60_010], labels[:, 69_000:69_010] = 1, 2
    near, far = rois(tmp_path, Result(labels, labels > 0, labels))
    assert near.roitype == roifile.ROI_TYPE.TRACED
    for roi, left in ((near, 60_000), (far, 69_000)):
        corners = roi.coordinates()
        assert (corners[:, 0].min(), corners[:, 0].max()) == (left, left + 10)


def coco(folder, result):
    path = saved(folder, "coco", result)
    assert path == folder / "a_coco.json"
    return COCO(str(path))


def test_pycocotools_reads_the_labels(tmp_path, result):
    dataset = coco(tmp_path, result)
    (image,) = dataset.loadImgs(dataset.getImgIds())
    assert (image["height"], image["width"]) == result.labels.shape
    assert image["file_name"] == (result.name or "a")
    labels = np.zeros_like(result.labels)
    for annotation in dataset.loadAnns(dataset.getAnnIds(imgIds=[image["id"]], iscrowd=False)):
        mask = dataset.annToMask(annotation)
        labels[mask == 1] = annotation["id"]
        assert annotation["area"] == mask.sum()
        np.testing.assert_array_equal(
            annotation["bbox"], coco_masks.toBbox(dataset.annToRLE(annotation))
        )
        assert dataset.loadCats(annotation["category_id"])[0]["name"] == "nucleus"
    np.testing.assert_array_equal(labels, result.labels)


def test_run_lengths_are_those_that_pycocotools_writes(result):
    expected = [
        coco_masks.encode(np.asfortranarray(result.labels == n + 1, np.uint8))["counts"].decode()
        for n in range(len(result))
    ]
    assert rle.encode(result.labels) == expected


def test_run_lengths_of_noise_are_those_that_pycocotools_writes():
    labels = np.random.default_rng(0).integers(0, 4, (97, 203)).astype(np.int32)
    labels[:, 50:150] = 3  # runs over whole columns
    for label, counts in enumerate(rle.encode(labels), start=1):
        mask = np.asfortranarray(labels == label, np.uint8)
        assert counts == coco_masks.encode(mask)["counts"].decode()


def test_pandas_reads_csv_and_parquet(tmp_path, result):
    expected = result.table.to_pandas()
    path = saved(tmp_path, "csv", result)
    assert path == tmp_path / "a_nuclei.csv"
    from_csv = pandas.read_csv(path)
    path = saved(tmp_path, "parquet", result)
    assert path == tmp_path / "a_nuclei.parquet"
    pandas.testing.assert_frame_equal(pandas.read_parquet(path), expected, check_exact=True)
    if len(result):  # CSV has no types, so those of no rows are unknown
        # The default parser of older versions of pandas rounds the last digit.
        pandas.testing.assert_frame_equal(from_csv, expected, check_dtype=False, rtol=1e-14)
    assert list(from_csv) == list(result.table)
    assert len(from_csv) == len(result)


def test_csv_is_of_the_form_that_rfc_4180_says_and_exact(tmp_path):
    result = truth("fluorescence_small.png")
    written = saved(tmp_path, "csv", result).read_bytes()
    assert written.endswith(b"\r\n")
    assert written.count(b"\n") == written.count(b"\r\n") == len(result) + 1
    rows = list(csv.reader(io.StringIO(written.decode("utf-8"), newline=""), strict=True))
    assert {len(row) for row in rows} == {len(result.table)}
    for name, *texts in zip(*rows, strict=True):
        if result.table[name].dtype.kind == "f":
            numbers = [float(text or "nan") for text in texts]
            np.testing.assert_array_equal(numbers, result.table[name])
    assert not any("nan" in row for row in rows)


def test_csv_is_the_same_where_python_writes_it(tmp_path, result, monkeypatch):
    native = saved(tmp_path, "csv", result).read_bytes()
    monkeypatch.delattr("nucleiseg._native.cpu.csv_rows", raising=False)
    assert saved(tmp_path, "csv", result).read_bytes() == native


def test_columns_in_micrometres_are_there_where_the_pixel_size_is_known():
    pixels, physical = truth(NAMES[0]).table, truth(NAMES[0], mpp=0.5).table
    added = {name for name in physical if name.endswith(("_um", "_um2"))}
    assert set(physical) - set(pixels) == added
    assert "_um" not in "".join(pixels)
    np.testing.assert_array_equal(physical["area_um2"], pixels["area"] * 0.25)
    np.testing.assert_array_equal(physical["centroid-1_um"], pixels["centroid-1"] * 0.5)


def test_alpha_is_not_measured():
    colours = truth("hematoxylin_eosin.png")
    alpha = np.dstack([colours.image[..., :3], np.full(colours.labels.shape, 9, np.uint8)])
    with_alpha = Result(alpha, colours.mask, colours.labels, colours.maps)
    assert list(with_alpha.table) == list(colours.table)


def test_tiff_labels_have_the_labels_and_the_pixel_size(tmp_path, result):
    path = saved(tmp_path, "tiff", result)
    assert path == tmp_path / "a_labels.ome.tif"
    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        assert page.dtype == np.uint16
        assert page.compression == tifffile.COMPRESSION.ADOBE_DEFLATE
        assert page.tags["ResolutionUnit"].value == tifffile.RESUNIT.NONE
        np.testing.assert_array_equal(page.asarray(), result.labels)


def test_tiff_labels_say_micrometres_a_pixel(tmp_path):
    with tifffile.TiffFile(saved(tmp_path, "tiff", truth(NAMES[0], mpp=0.325))) as file:
        resolution = file.pages.first.get_resolution("MICROMETER")
        assert [1 / pixels for pixels in resolution] == pytest.approx([0.325] * 2, rel=1e-6)


def test_tiff_labels_are_ome_tiff(tmp_path):
    result = truth(NAMES[0], mpp=0.325)
    result.name = 'a <b> & "c"\udcff.png'
    path = saved(tmp_path, "tiff", result)
    with tifffile.TiffFile(path) as file:
        assert file.is_ome
        (image,) = ElementTree.fromstring(file.ome_metadata).iterfind("{*}Image")
        assert image.get("Name") == 'a <b> & "c"\\udcff.png nuclei'
        assert file.series[0].axes == "YX"
    (plane,) = images.open(path)
    assert plane.mpp == 0.325
    np.testing.assert_array_equal(plane.array, result.labels)


def test_large_tiff_labels_are_tiled(tmp_path, monkeypatch):
    result = truth("fluorescence_wide.png")
    monkeypatch.setattr(tiffs, "LARGE", result.labels.size - 1)
    path = saved(tmp_path, "tiff", result)
    with tifffile.TiffFile(path) as file:
        assert file.pages.first.is_tiled
    np.testing.assert_array_equal(images.read(path), result.labels)


def test_labels_and_tiff_agree_on_the_file_that_both_write(tmp_path):
    labels = np.arange(264 * 256, dtype=np.int32).reshape(264, 256)
    result = Result(labels, labels > 0, labels, mpp=0.25)
    first = saved(tmp_path, "labels", result)
    written = first.read_bytes()
    second = saved(tmp_path, "tiff", result)
    assert (first, written) == (second, second.read_bytes())
    saved_labels = cv2.imread(str(first), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(saved_labels, labels)


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_that_cannot_be_written_whole_is_not_there(tmp_path, monkeypatch, name):
    result = truth("fluorescence_small.png")
    (tmp_path / "a.png").mkdir()
    for ending in FORMATS[name].endings:
        (tmp_path / f"a{ending}" / "in the way").mkdir(parents=True)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(OSError, match="a_"):
        saved(tmp_path, name, result)
    assert sorted(tmp_path.iterdir()) == before


def test_geopandas_reads_outlines_and_measurements(tmp_path, result):
    path = saved(tmp_path, "geoparquet", result)
    assert path == tmp_path / "a_outlines.parquet"
    found = geopandas.read_parquet(path)
    assert found.crs is None
    assert list(found) == [*result.table, "geometry"]  # it has read the boxes as such
    for name, values in result.table.items():
        np.testing.assert_array_equal(found[name], values)
    assert found.geometry.is_valid.all()
    polygons = zip(found["label"], found.geometry, strict=True)
    np.testing.assert_array_equal(rasterised(polygons, result.labels.shape), result.labels)


def test_geopandas_reads_a_part_of_an_image(tmp_path):
    result = truth("hematoxylin_eosin.png")
    path = saved(tmp_path, "geoparquet", result)
    box = (50, 60, 120, 110)
    some = geopandas.read_parquet(path, bbox=box)
    whole = geopandas.read_parquet(path)
    expected = whole[whole.geometry.apply(lambda one: shapely.box(*box).intersects(one.envelope))]
    assert 0 < len(some) < len(whole)
    assert list(some["label"]) == list(expected["label"])


def test_cellpose_opens_the_masks_to_correct_them(tmp_path, result):
    result.name = result.name or "a.png"
    path = saved(tmp_path, "cellpose", result)
    assert path == tmp_path / "a_seg.npy"
    # What its window does with the fields, in versions 2 to 4.
    fields = np.load(path, allow_pickle=True).item()
    masks, outlines = fields["masks"], fields["outlines"]
    assert masks.dtype == outlines.dtype == np.uint16
    np.testing.assert_array_equal(masks, result.labels)
    inside = outlines == 0
    np.testing.assert_array_equal(outlines[~inside], masks[~inside])
    np.testing.assert_array_equal(np.unique(outlines[~inside]), np.unique(masks[masks > 0]))
    assert fields["filename"] == result.name
    assert fields["img"].shape == (*masks.shape, 3)
    assert fields["chan_choose"] == [0, 0]
    assert len(fields["ismanual"]) == len(result)
    assert not fields["ismanual"].any()
    assert fields["manual_changes"] == []
    for name in ("diameter", "est_diam"):
        assert (name in fields) == bool(len(result))
        assert fields.get(name, 1) > 0


def test_an_image_without_nuclei_is_saved_too(tmp_path):
    image = truth("fluorescence_small.png").image
    empty = np.zeros(image.shape, np.int32)
    for each in FORMATS.values():
        path = each.save(tmp_path / "a", Result(image, empty > 0, empty))
        assert path.stat().st_size
        if path.suffix in (".png", ".tif"):
            assert images.read(path).shape[:2] == image.shape


def test_the_same_result_gives_the_same_bytes(tmp_path):
    for name, each in FORMATS.items():
        once, again = (
            each.save(tmp_path / folder / "a", truth("fluorescence_small.png", mpp=0.5))
            for folder in ("once", "again")
            if not (tmp_path / folder).mkdir(exist_ok=True)
        )
        for path in (once, *once.rglob("*")):
            other = again / path.relative_to(once)
            assert path.is_dir() or path.read_bytes() == other.read_bytes(), name


NEEDED = [(name, each.needs) for name, each in FORMATS.items() if each.needs]


@pytest.mark.parametrize(("name", "package"), NEEDED)
def test_a_missing_package_is_named_before_the_work_begins(monkeypatch, name, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ModuleNotFoundError, match=rf"{package}.*pip install 'nucleiseg\["):
        outputs.formats(f"mask,{name}")
