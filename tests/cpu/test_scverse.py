"""AnnData and SpatialData, read back by the libraries of scverse."""

from pathlib import Path

import anndata
import numpy as np
import pytest
import shapely
import spatialdata
from spatialdata.transformations import Identity, Scale, get_transformation

from nucleiseg import images
from nucleiseg.result import Result

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(params=[None, 0.25], ids=["pixels", "micrometres"])
def result(request):
    image = images.read(DATA / "images" / "hematoxylin_eosin.png")
    labels = images.read(DATA / "labels" / "hematoxylin_eosin.png").astype(np.int32)
    maps = np.stack([np.where(labels > 0, 200, 30)] * 2, axis=2).astype(np.uint8)
    return Result(image, labels > 0, labels, maps, mpp=request.param, name="he.png")


def test_anndata_has_features_positions_and_the_pixel_size(tmp_path, result):
    (path,) = result.save(tmp_path / "a", "anndata")
    assert path == tmp_path / "a_nuclei.h5ad"
    nuclei = anndata.read_h5ad(path)
    area, other = ("area_um2", "area") if result.mpp else ("area", "area_um2")
    assert area in nuclei.var_names
    assert other not in nuclei.var_names
    assert {"solidity", "intensity_mean-0", "probability_mean"} < set(nuclei.var_names)
    assert not {"label", "border", "bbox-0", "centroid-0_um"} & set(nuclei.var_names)
    for feature in nuclei.var_names:
        np.testing.assert_array_equal(nuclei[:, feature].X[:, 0], result.table[feature])
    rows, columns = result.table["centroid-0"], result.table["centroid-1"]
    np.testing.assert_array_equal(nuclei.obsm["spatial"], np.stack([columns, rows], axis=1))
    np.testing.assert_array_equal(nuclei.obs["label"], result.table["label"])
    np.testing.assert_array_equal(nuclei.obs["border"], result.table["border"])
    assert list(nuclei.obs_names) == [str(label) for label in result.table["label"]]
    assert nuclei.uns["image"] == "he.png"
    assert nuclei.uns.get("mpp") == result.mpp


def test_spatialdata_has_shapes_that_its_table_describes(tmp_path, result):
    (path,) = result.save(tmp_path / "a", "spatialdata")
    assert path == tmp_path / "a_spatialdata.zarr"
    store = spatialdata.read_zarr(path)
    shapes = store.shapes["nuclei"]
    np.testing.assert_array_equal(shapes.index, result.table["label"])
    np.testing.assert_array_equal(shapes.geometry.area, result.table["area"])
    assert shapely.is_valid(shapes.geometry).all()
    systems = get_transformation(shapes, get_all=True)
    assert systems.pop("global") == Identity()
    expected = {"micrometers": Scale([0.25, 0.25], axes=("x", "y"))} if result.mpp else {}
    assert systems == expected
    element, table = spatialdata.join_spatialelement_table(
        sdata=store, spatial_element_names="nuclei", table_name="table"
    )
    np.testing.assert_array_equal(element["nuclei"].index, table.obs["label"])
    assert table.n_obs == len(result)


def test_a_store_without_nuclei_is_read_too(tmp_path):
    empty = np.zeros((40, 30), np.int32)
    nothing = Result(empty.astype(np.uint8), empty > 0, empty, np.zeros((40, 30, 2), np.uint8))
    h5ad, store = nothing.save(tmp_path / "a", "anndata,spatialdata")
    assert anndata.read_h5ad(h5ad).n_obs == 0
    assert not list(spatialdata.read_zarr(store).gen_elements())
