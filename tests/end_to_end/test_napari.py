"""The napari plugin, without a screen: its manifest, its widget and what that makes."""

# ruff: noqa: E402 (what may be missing is looked for first)

import os
import time
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
NEEDS = "needs napari and a Qt that starts here: pip install '.[napari]'"
pytest.importorskip("napari", reason=NEEDS)
pytest.importorskip("qtpy.QtWidgets", reason=NEEDS, exc_type=ImportError)

from magicgui import magicgui
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer
from npe2 import PluginManifest
from npe2.manifest.utils import import_python_name
from qtpy.QtWidgets import QApplication

import nucleiseg
from nucleiseg import images, napari_plugin

DATA = Path(__file__).parents[1] / "data" / "images"
GREY = DATA / "fluorescence_small.png"
COLOUR = DATA / "hematoxylin_eosin.png"


@pytest.fixture(scope="module")
def application():
    return QApplication.instance() or QApplication([])


@pytest.fixture(scope="module")
def manifest():
    return PluginManifest.from_file(Path(nucleiseg.__file__).parent / "napari.yaml")


def test_the_manifest_has_a_command_that_can_be_imported(manifest, application):
    manifest.validate_imports()
    (command,) = manifest.contributions.commands
    assert command.title == "Segment nuclei"
    assert import_python_name(command.python_name) is napari_plugin.segment_nuclei
    (widget,) = manifest.contributions.widgets
    assert (widget.command, widget.display_name) == (command.id, "Segment nuclei")
    assert widget.autogenerate


def test_napari_finds_the_manifest_where_the_package_is_installed(manifest):
    found = [each.manifest for each in PluginManifest.discover() if each.manifest]
    # From the repository's root an editable installation is found twice.
    own = [each for each in found if each.name == "nucleiseg"]
    assert own
    assert all(each.contributions == manifest.contributions for each in own)


def test_the_widget_segments_in_the_background_and_gives_a_labels_layer(application):
    viewer = ViewerModel()
    image = viewer.add_image(images.read(GREY), name="cells", scale=(0.5, 0.5), translate=(3, 4))
    widget = magicgui(napari_plugin.segment_nuclei)
    worker = widget(image, diameter=20.0)
    given = []
    worker.returned.connect(given.append)
    worker.errored.connect(given.append)
    deadline = time.monotonic() + 300
    while not given and time.monotonic() < deadline:
        application.processEvents()
        time.sleep(0.01)
    layer = viewer.add_layer(Layer.create(*given[0]))
    assert isinstance(layer, Labels)
    assert layer.name == "cells nuclei"
    np.testing.assert_array_equal(layer.data, nucleiseg.segment(GREY, "labels", diameter=20))
    np.testing.assert_array_equal(layer.extent.world, image.extent.world)


def test_colours_and_several_resolutions_are_understood():
    colour = images.read(COLOUR)
    expected = nucleiseg.segment(colour, "labels")
    found, options, kind = napari_plugin.labels_layer(Image(colour, name="a", rgb=True))
    np.testing.assert_array_equal(found, expected)
    assert (options["name"], kind) == ("a nuclei", "labels")
    levels = Image([colour, colour[::2, ::2]], rgb=True, multiscale=True)
    np.testing.assert_array_equal(napari_plugin.labels_layer(levels)[0], expected)


def test_planes_are_done_one_by_one_and_share_no_number():
    grey = images.read(GREY)[:96, :96].astype(np.int32)
    stack = np.stack([grey, np.zeros_like(grey), grey.T])[None]
    found, _, _ = napari_plugin.labels_layer(Image(stack, name="a"))
    assert found.shape == stack.shape
    assert found.dtype == np.int32
    first = nucleiseg.segment(grey.astype(float), "labels")
    np.testing.assert_array_equal(found[0, 0], first)
    assert found[0, 1].max() == 0
    assert found[0, 2][found[0, 2] > 0].min() == first.max() + 1


def test_what_is_no_image_is_refused():
    with pytest.raises(ValueError, match="image: holds values of complex64; accepted are bool"):
        napari_plugin.labels(np.zeros((4, 4), np.complex64), rgb=False)
