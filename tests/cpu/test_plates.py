"""Plates of OME-Zarr, written by ome-zarr: each field of each well is an image."""

import json
import shutil

import numpy as np
import pytest
import zarr
from typer.testing import CliRunner

from nucleiseg import cli, data, images

if zarr.__version__.startswith("2."):
    pytest.skip("ome-zarr with version 2 of zarr writes by another call", allow_module_level=True)

import plate_writer
from ome_zarr.format import FormatV04, FormatV05

NAMES = ["B03_0", "B03_1", "C11_0"]


@pytest.fixture
def fields():
    return np.arange(3 * 2 * 20 * 30, dtype=np.uint16).reshape(3, 2, 20, 30)


@pytest.mark.parametrize("version", [FormatV04, FormatV05])
def test_the_fields_of_a_plate_are_images_named_after_well_and_field(tmp_path, fields, version):
    plate_writer.write(tmp_path / "plate.zarr", fields, version)
    found = list(images.open(tmp_path / "plate.zarr", channel=1, series="all"))
    assert [plane.suffix for plane in found] == [f"_{name}" for name in NAMES]
    for plane, pixels in zip(found, fields, strict=True):
        np.testing.assert_array_equal(plane.array, pixels[1])
        assert plane.mpp == pytest.approx(0.325)


def test_one_field_is_chosen_by_its_name(tmp_path, fields):
    plate_writer.write(tmp_path / "plate.zarr", fields)
    (plane,) = images.open(tmp_path / "plate.zarr", channel=0, series="B03_1")
    np.testing.assert_array_equal(plane.array, fields[1, 0])
    with pytest.raises(ValueError, match=r"holds several images \(0 'B03_0', 1 'B03_1', ...\)"):
        images.read(tmp_path / "plate.zarr")


def test_a_well_that_is_named_has_its_fields(tmp_path, fields):
    plate_writer.write(tmp_path / "plate.zarr", fields)
    found = list(images.open(tmp_path / "plate.zarr" / "B" / "03", channel=0, series="all"))
    assert [plane.suffix for plane in found] == ["_0", "_1"]


def test_a_field_that_is_missing_or_elsewhere_is_refused(tmp_path, fields):
    path = tmp_path / "plate.zarr"
    plate_writer.write(path, fields)
    shutil.rmtree(path / "C" / "11" / "0")
    with pytest.raises(ValueError, match="is truncated: it names 'C/11/0', which is not there"):
        list(images.open(path, channel=0, series="all"))
    attributes = json.loads((path / ".zattrs").read_text())
    attributes["plate"]["wells"][0]["path"] = "../other"
    (path / ".zattrs").write_text(json.dumps(attributes))
    with pytest.raises(ValueError, match=r"outside of its folder: '\.\./other'"):
        list(images.open(path, channel=0, series="all"))


def test_the_command_segments_a_plate_field_by_field(tmp_path):
    image = data.example("fluorescence")
    image = image if image.ndim == 2 else image[..., 0]
    plate_writer.write(
        tmp_path / "plates" / "plate.zarr", [image[None], image[None, ::-1], image[None] * 0]
    )
    output = tmp_path / "out"
    command = ["segment", str(tmp_path / "plates"), "-o", str(output), "--save", "labels"]
    result = CliRunner().invoke(cli.app, command)
    assert result.exit_code == 0, result.output
    found = sorted(path.name for path in output.glob("*.png"))
    assert found == [f"plate_{name}_labels.png" for name in NAMES]
    assert images.read(output / "plate_B03_0_labels.png").max() > 5
    assert images.read(output / "plate_C11_0_labels.png").max() == 0
    result = CliRunner().invoke(cli.app, [*command[:3], str(tmp_path / "one"), "--series", "C11_0"])
    assert result.exit_code == 0, result.output
    assert len(list((tmp_path / "one").glob("*_labels.png"))) == 1
