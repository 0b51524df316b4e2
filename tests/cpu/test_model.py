"""Shipped models by name, others by their path."""

import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from nucleiseg import Model, ModelError, Segmenter, autoscale, images, model
from nucleiseg.model import DEFAULT, shipped

IMAGE = Path(__file__).parents[1] / "data" / "images" / "fluorescence_small.png"


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A folder to work in, with a copy of the default model."""
    monkeypatch.chdir(tmp_path)
    path = Model.load().path
    for suffix in (".onnx", ".json"):
        shutil.copy(path.with_suffix(suffix), tmp_path / f"mine{suffix}")
    return tmp_path


@pytest.mark.parametrize("name", shipped())
def test_a_shipped_model_is_loaded_by_its_name(name):
    found = Model.load(name)
    assert (found.name, found.path.stem) == (name, name)
    assert found.identity == {"name": name, "version": found.version, "sha256": found.checksum}


@pytest.mark.parametrize("name", shipped())
def test_a_shipped_model_finds_nuclei(name):
    labels = Segmenter(name).segment(IMAGE, "labels")
    true = images.read(IMAGE.parents[1] / "labels" / IMAGE.name)
    assert labels.max() == pytest.approx(true.max(), rel=0.25)


def test_the_default_is_shipped():
    assert DEFAULT in shipped()
    assert Model.load() == Model.load(DEFAULT) == Segmenter().model


def test_every_file_in_the_folder_belongs_to_a_model():
    files = [model.MODELS / f"{name}.onnx" for name in shipped()] + [autoscale.SIZES]
    expected = {file.with_suffix(suffix) for file in files for suffix in (".onnx", ".json")}
    assert {path for path in model.MODELS.rglob("*") if path.is_file()} == expected


@pytest.mark.parametrize("written", ["mine.onnx", "./mine.onnx", Path("mine.onnx")])
def test_any_other_model_is_loaded_by_its_path(elsewhere, written):
    assert Model.load(written).path.samefile(elsewhere / "mine.onnx")
    maps = Segmenter(written).segment(IMAGE, "maps", scale=1)
    np.testing.assert_array_equal(maps, Segmenter().segment(IMAGE, "maps", scale=1))


def test_a_file_that_is_called_as_a_shipped_model_is_not_taken_for_it(elsewhere):
    (elsewhere / "mine.onnx").rename(elsewhere / DEFAULT)
    (elsewhere / "mine.json").rename(elsewhere / f"{DEFAULT}.json")
    assert Model.load(DEFAULT).path.parent == model.MODELS
    for written in (f"./{DEFAULT}", Path(DEFAULT), os.fspath(elsewhere / DEFAULT)):
        assert Model.load(written).path.samefile(elsewhere / DEFAULT)


@pytest.mark.parametrize("written", ["nuclei-slow", "mine", "", "Nuclei-fast", "\n\udcff", None, 7])
def test_a_name_that_is_not_shipped_is_refused_with_those_that_are(elsewhere, written):
    names = ", ".join(map(repr, shipped()))
    expected = f"model: got {written!r}; accepted are {names} and the path of an .onnx file"
    for load in (Model.load, Segmenter):
        with pytest.raises(ModelError, match=f"^{re.escape(expected)}$"):
            load(written)


def test_a_file_that_is_not_there_is_refused_with_the_names_too(elsewhere):
    with pytest.raises(ModelError, match=r"cannot read other\.onnx .*; accepted are 'nuclei"):
        Model.load("other.onnx")
