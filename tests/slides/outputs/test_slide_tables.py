"""CSV, Parquet and GeoParquet of a slide, read by pandas, pyarrow and geopandas."""

import dataclasses
import json

import geopandas
import numpy as np
import pandas
import shapely
from pyarrow import parquet

from nucleiseg.slides.outputs.geoparquet import GeoParquet
from nucleiseg.slides.outputs.one_file import NO_NUCLEI
from nucleiseg.slides.outputs.tables import CsvTable, ParquetTable

COLUMNS = [
    *("label", "centroid_x", "centroid_x_um", "centroid_y", "centroid_y_um", "area", "area_um2"),
    *("diameter", "diameter_um", "confidence", "solidity", "intensity_mean-0", "edge_blur"),
]


def polygons(nuclei):
    rings = [
        nuclei.outline_points[first:last, ::-1]
        for first, last in zip(nuclei.outline_offsets, nuclei.outline_offsets[1:], strict=False)
    ]
    return [shapely.Polygon(ring) for ring in rings]


def test_csv_has_a_line_for_each_nucleus(nuclei, info, write):
    # The default parser of older versions of pandas rounds the last digit.
    table = pandas.read_csv(write(CsvTable(), nuclei), float_precision="round_trip")
    assert list(table) == COLUMNS
    assert table["label"].tolist() == list(range(1, len(nuclei) + 1))
    np.testing.assert_array_equal(table["centroid_x"], nuclei.centroid[:, 1])
    np.testing.assert_array_equal(table["area"], nuclei.area)
    # Six decimals of the float32.
    np.testing.assert_allclose(table["confidence"], nuclei.confidence, rtol=0, atol=5.1e-7)
    np.testing.assert_allclose(table["area_um2"], nuclei.area * info.mpp[0] * info.mpp[1])


def test_csv_lines_are_of_rfc_4180_and_leave_empty_what_is_not_known(nuclei, write):
    blur = nuclei.features["edge_blur"].copy()
    blur[1] = np.nan
    some = dataclasses.replace(nuclei, features={"edge_blur": blur})
    lines = write(CsvTable(), some).read_bytes().split(b"\r\n")
    assert len(lines) == len(nuclei) + 2
    assert lines[-1] == b""
    assert lines[2].endswith(b",")
    assert b"\n" not in b"".join(lines)


def test_pixels_that_are_not_square_have_their_own_micrometres(nuclei, info, write):
    oblong = dataclasses.replace(info, mpp=(0.5, 0.25))
    table = pandas.read_csv(write(CsvTable(), nuclei, info=oblong))
    np.testing.assert_allclose(table["centroid_x_um"], nuclei.centroid[:, 1] * 0.5)
    np.testing.assert_allclose(table["centroid_y_um"], nuclei.centroid[:, 0] * 0.25)
    np.testing.assert_allclose(table["area_um2"], nuclei.area * 0.125)
    np.testing.assert_allclose(table["diameter_um"], nuclei.diameter * np.sqrt(0.125))


def test_parquet_has_the_columns_of_csv_with_their_types(nuclei, write):
    path = write(ParquetTable(), nuclei)
    table = pandas.read_parquet(path)
    assert list(table) == COLUMNS
    assert table["label"].dtype == np.int64
    assert table["confidence"].dtype == np.float32
    np.testing.assert_array_equal(table["confidence"], nuclei.confidence)
    np.testing.assert_array_equal(table["edge_blur"], nuclei.features["edge_blur"])
    groups = parquet.ParquetFile(path).metadata
    assert [groups.row_group(i).num_rows for i in range(groups.num_row_groups)] == [
        *[2000] * 4,
        1000,
    ]


def test_lengths_among_the_features_have_a_twin_in_micrometres(nuclei, info, write):
    features = {"axis_major_length": nuclei.diameter * 1.2}
    table = pandas.read_parquet(
        write(ParquetTable(), dataclasses.replace(nuclei, features=features))
    )
    np.testing.assert_allclose(
        table["axis_major_length_um"], nuclei.diameter * 1.2 * info.mpp[0], rtol=1e-12
    )


def test_geopandas_reads_the_outlines(nuclei, write):
    frame = geopandas.read_parquet(write(GeoParquet(), nuclei))
    assert list(frame) == [*COLUMNS, "geometry"]
    assert frame.crs is None
    assert frame.geometry.is_valid.all()
    expected = polygons(nuclei)
    assert all(a.equals_exact(b, 0) for a, b in zip(frame.geometry, expected, strict=True))
    # A polygon within an ellipse of the same axes is at most 5 % smaller with 24 points.
    assert (frame.geometry.area / frame["area"]).between(0.95, 1).all()
    np.testing.assert_allclose(frame.geometry.centroid.x, frame["centroid_x"], atol=0.1)


def test_geopandas_finds_nuclei_by_their_boxes(nuclei, write):
    box = (1000, 2000, 1500, 2250)
    found = geopandas.read_parquet(write(GeoParquet(), nuclei), bbox=box)
    touching = [i for i, one in enumerate(polygons(nuclei), 1) if one.intersects(shapely.box(*box))]
    assert set(touching) <= set(found["label"])  # boxes may touch where outlines do not
    assert 0 < len(touching) <= len(found) < 1.2 * len(touching)


def test_metadata_is_that_of_geoparquet_1_1(nuclei, write):
    file = parquet.ParquetFile(write(GeoParquet(), nuclei))
    metadata = json.loads(file.metadata.metadata[b"geo"])
    x, y = nuclei.outline_points[:, 1], nuclei.outline_points[:, 0]
    assert metadata == {
        "version": "1.1.0",
        "primary_column": "geometry",
        "columns": {
            "geometry": {
                "encoding": "WKB",
                "geometry_types": ["Polygon"],
                "crs": None,
                "covering": {
                    "bbox": {
                        corner: ["bbox", corner] for corner in ("xmin", "ymin", "xmax", "ymax")
                    }
                },
                "bbox": [float(v) for v in (x.min(), y.min(), x.max(), y.max())],
            }
        },
    }
    paths = [
        file.metadata.row_group(0).column(i).path_in_schema
        for i in range(file.metadata.num_columns)
    ]
    assert {f"bbox.{corner}" for corner in ("xmin", "ymin", "xmax", "ymax")} <= set(paths)
    bounds = file.metadata.row_group(0).column(paths.index("bbox.ymax"))
    assert bounds.statistics.has_min_max
    assert not file.metadata.row_group(0).column(paths.index("geometry")).is_stats_set


def test_a_slide_without_nuclei_opens_in_geopandas(write):
    frame = geopandas.read_parquet(write(GeoParquet(), NO_NUCLEI))
    assert len(frame) == 0
    assert frame.geometry.name == "geometry"
