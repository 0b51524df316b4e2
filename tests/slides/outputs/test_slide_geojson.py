"""GeoJSON of a slide, against what QuPath's reader expects of it."""

import dataclasses
import gzip
import json
import re
import uuid
import zipfile

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from nucleiseg.slides.outputs.geojson import GeoJson, ring_texts
from nucleiseg.slides.outputs.one_file import NO_NUCLEI

LARGEST = 10**8 - 8
"""The greatest float32 below 10^8."""

FEW = ["Nucleus: Area µm^2", "Nucleus: Diameter µm", "Nucleus: Confidence"]


def read(path):
    def refused(constant):
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(path.read_bytes(), parse_constant=refused)


def rings(points):
    """Nuclei of one ring each, with nothing else."""
    offsets = np.cumsum([0, *map(len, points)])
    together = np.concatenate([np.asarray(ring, np.float32) for ring in points])
    count = len(points)
    return dataclasses.replace(
        NO_NUCLEI,
        id=np.arange(1, count + 1),
        outline_offsets=offsets.astype(np.int64),
        outline_points=together,
    )


def test_every_nucleus_is_a_detection_that_qupath_reads(nuclei, write):
    collection = read(write(GeoJson(), nuclei))
    assert collection["type"] == "FeatureCollection"
    features = collection["features"]
    assert len(features) == len(nuclei)
    assert {tuple(feature) for feature in features} == {("type", "id", "geometry", "properties")}
    assert {feature["type"] for feature in features} == {"Feature"}
    for feature in features:
        assert feature["geometry"]["type"] == "Polygon"
        (ring,) = feature["geometry"]["coordinates"]
        assert ring[0] == ring[-1]
        assert len(ring) >= 4
        assert feature["properties"]["objectType"] == "detection"
        classification = feature["properties"]["classification"]
        assert classification == {"name": "Nucleus", "color": [0, 200, 0]}
        assert list(feature["properties"]["measurements"]) == FEW


def test_coordinates_are_x_and_y_to_a_tenth_of_a_pixel(nuclei, write):
    some = nuclei.part(0, 300)
    for i, feature in enumerate(read(write(GeoJson(), some))["features"]):
        ring = np.array(feature["geometry"]["coordinates"][0])[:-1]
        first, last = some.outline_offsets[i : i + 2]
        expected = some.outline_points[first:last, ::-1]
        # Half of a tenth, and what float32 rounds.
        np.testing.assert_allclose(ring, expected, rtol=0, atol=0.0501)
        assert shapely.geometry.shape(feature["geometry"]).is_valid


def test_an_id_is_a_uuid_that_ends_in_the_id_of_the_nucleus(nuclei, info, write, tmp_path):
    def ids(where, info):
        features = read(write(GeoJson(), nuclei, folder=tmp_path / where, info=info))["features"]
        return [uuid.UUID(feature["id"]) for feature in features]

    here = ids("here", info)
    assert [one.int & (2**48 - 1) for one in here] == nuclei.id.tolist()
    assert {one.version for one in here} == {8}
    assert {one.variant for one in here} == {uuid.RFC_4122}
    there = ids("there", dataclasses.replace(info, path=info.path.with_name("other.svs")))
    assert not set(here) & set(there)


def test_measurements_have_four_digits(nuclei, info, write):
    text = write(GeoJson(), nuclei).read_text()
    measured = json.loads(text)["features"]
    areas = [one["properties"]["measurements"]["Nucleus: Area µm^2"] for one in measured]
    np.testing.assert_allclose(areas, nuclei.area * info.mpp[0] ** 2, rtol=5.1e-4)
    digits = re.findall(r'"Nucleus: [^"]+":([0-9.]+)', text)
    assert len(digits) == 3 * len(nuclei)
    assert max(len(one.replace(".", "").lstrip("0")) for one in digits) == 4


def test_few_all_or_no_measurements(nuclei, write):
    def names(measurements):
        first = read(write(GeoJson(measurements), nuclei.part(0, 1)))["features"][0]
        return list(first["properties"].get("measurements", []))

    assert names("few") == FEW
    assert names("all") == [
        *FEW,
        *("Nucleus: solidity", "Nucleus: intensity_mean-0", "Nucleus: edge_blur"),
    ]
    assert names("none") == []


def test_what_is_not_known_is_left_out(nuclei, write):
    features = {"a": np.array([1, np.nan, 2]), "50 %": np.array([np.inf, np.nan, 3])}
    some = dataclasses.replace(nuclei.part(0, 3), features=features)
    found = [
        list(one["properties"]["measurements"])[3:]
        for one in read(write(GeoJson("all"), some))["features"]
    ]
    assert found == [["Nucleus: a"], [], ["Nucleus: a", "Nucleus: 50 %"]]


def test_compressed_files_hold_the_same(nuclei, write):
    plain = write(GeoJson(), nuclei).read_bytes()
    gz = write(GeoJson(compression="gz"), nuclei)
    assert gz.name == "nuclei.geojson.gz"
    assert gzip.decompress(gz.read_bytes()) == plain
    assert gz.read_bytes()[4:8] == bytes(4)  # no time
    packed = write(GeoJson(compression="zip"), nuclei)
    with zipfile.ZipFile(packed) as archive:
        assert archive.namelist() == ["nuclei.geojson"]
        assert archive.read("nuclei.geojson") == plain
    assert gz.stat().st_size < len(plain) / 3


def test_a_nucleus_takes_less_than_half_of_two_kilobytes(nuclei, write):
    assert write(GeoJson(), nuclei).stat().st_size / len(nuclei) < 1000


def test_options_that_do_not_exist_are_refused():
    with pytest.raises(ValueError, match="measurements: got 'some'; accepted are few, all"):
        GeoJson("some")
    with pytest.raises(ValueError, match="compression: got 'xz'; accepted are none, gz and zip"):
        GeoJson(compression="xz")


@settings(deadline=None)  # its first case fills tables and caches
@given(
    st.lists(
        st.lists(
            st.tuples(
                *[st.floats(-LARGEST, LARGEST, width=32) | st.floats(-1e3, 1e3, width=32)] * 2
            ),
            min_size=1,
            max_size=4,
        ),
        min_size=1,
        max_size=4,
    )
)
def test_numbers_are_those_that_python_rounds_to(points):
    for text, ring in zip(ring_texts(rings(points)), points, strict=True):
        found = json.loads(f"[{text}]")
        assert [[x, y] for y, x in np.rint(np.array(ring) * 10) / 10 + 0.0] == found[:-1]
        assert found[-1] == found[0]
        assert not re.search(r"\.0|[0-9]0+[.][0-9]{2}|(?<![0-9.])0[0-9]|-0[],]", text)


def test_coordinates_that_have_no_room_are_refused():
    with pytest.raises(ValueError, match=r"outline_points: got 1000000000\.0; accepted"):
        ring_texts(rings([[(0, 1e9), (0, 0), (1, 1)]]))
    with pytest.raises(ValueError, match="outline_points: got nan"):
        ring_texts(rings([[(0, np.nan), (0, 0), (1, 1)]]))
