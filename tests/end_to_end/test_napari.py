"""The napari plugin, without a screen: its manifest, its widget and what that makes.

Without a screen there is no OpenGL either, so layers are added to a viewer without a window, and
the window is one without layers.
"""

# ruff: noqa: E402 (what may be missing is looked for first)

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
NEEDS = "needs napari and a Qt that starts here: pip install '.[napari]'"
pytest.importorskip("napari", reason=NEEDS)
pytest.importorskip("qtpy.QtWidgets", reason=NEEDS, exc_type=ImportError)

from napari.components import LayerList, ViewerModel
from napari.layers import Image, Labels
from napari.qt import get_qapp
from napari.utils._proxies import PublicOnlyProxy
from npe2 import PluginManifest
from npe2.manifest.utils import import_python_name

import nucleiseg
from nucleiseg import images, napari_plugin
from nucleiseg.napari_plugin import SegmentNuclei, Settings, segmented
from nucleiseg.parameters import Decoding
from nucleiseg.stains import STAINS

DATA = Path(__file__).parents[1] / "data" / "images"
GREY = DATA / "fluorescence_small.png"
COLOUR = DATA / "hematoxylin_eosin.png"


@pytest.fixture(scope="module")
def application():
    return get_qapp()


@pytest.fixture
def viewer(application):
    return ViewerModel()


@pytest.fixture(scope="module")
def manifest():
    return PluginManifest.from_file(Path(nucleiseg.__file__).parent / "napari.yaml")


def docked(viewer):
    """The widget, with a viewer as napari hands it out."""
    return SegmentNuclei(PublicOnlyProxy(viewer))


def finish(widget, application):
    deadline = time.monotonic() + 300
    while widget.cancel_button.enabled and time.monotonic() < deadline:
        application.processEvents()
        time.sleep(0.01)
    assert not widget.cancel_button.enabled


def found(data, rgb=False, settings=Settings()):  # noqa: B008 (it is frozen)
    """What a worker returns, and how many planes it said were done meanwhile."""
    running, done = segmented(data, rgb, settings), []
    while True:
        try:
            done.append(next(running))
        except StopIteration as end:
            return end.value, done


def test_the_manifest_has_a_command_that_can_be_imported(manifest, application):
    manifest.validate_imports()
    (command,) = manifest.contributions.commands
    assert command.title == "Segment nuclei"
    assert import_python_name(command.python_name) is napari_plugin.SegmentNuclei
    (widget,) = manifest.contributions.widgets
    assert (widget.command, widget.display_name) == (command.id, "Segment nuclei")


def test_napari_finds_the_manifest_where_the_package_is_installed(manifest):
    discovered = [each.manifest for each in PluginManifest.discover() if each.manifest]
    # From the repository's root an editable installation is found twice.
    own = [each for each in discovered if each.name == "nucleiseg"]
    assert own
    assert any(each.contributions == manifest.contributions for each in own)


@dataclass
class Windowed:
    """A viewer whose layers are not drawn, beside a window that could not draw them."""

    layers: LayerList
    add_labels: Callable[..., Labels]
    window: Any


def test_napari_docks_the_widget_and_after_a_run_the_table(application, viewer):
    import napari

    shown = napari.Viewer(show=False)
    try:
        _, widget = shown.window.add_plugin_dock_widget("nucleiseg", "Segment nuclei")
        assert isinstance(widget, SegmentNuclei)
        widget.run()
        assert widget.message.value == "open an image first"
        viewer.add_image(images.read(GREY)[:96, :96], name="cells")
        widget = SegmentNuclei(Windowed(viewer.layers, viewer.add_labels, shown.window))
        docks = set(shown.window.dock_widgets)
        widget.run()
        finish(widget, application)
        (table,) = set(shown.window.dock_widgets) - docks
        assert napari_plugin.TABLE[1] in table
    finally:
        shown.close()


def test_the_widget_segments_in_the_background_and_adds_labels_with_measurements(
    application, viewer
):
    placement = {"scale": (0.5, 0.5), "translate": (3, 4), "units": "um"}
    image = viewer.add_image(images.read(GREY), name="cells", **placement)
    widget = docked(viewer)
    assert widget.pixel_size.value == 0.5
    widget.diameter.value = 20.0
    widget.run()
    assert not widget.run_button.enabled
    finish(widget, application)
    layer = viewer.layers["cells nuclei"]
    assert isinstance(layer, Labels)
    np.testing.assert_array_equal(layer.data, nucleiseg.segment(GREY, "labels", diameter=20))
    np.testing.assert_array_equal(layer.extent.world, image.extent.world)
    assert layer.units == image.units
    numbers = np.arange(1, layer.data.max() + 1)
    np.testing.assert_array_equal(layer.features["index"], numbers)
    np.testing.assert_array_equal(layer.features["area"], np.bincount(layer.data.flat)[1:])
    np.testing.assert_allclose(layer.features["area_um2"], layer.features["area"] / 4)
    assert widget.message.value == f"{len(numbers)} nuclei in cells nuclei"
    assert widget.progress.value == widget.progress.max == 1


def test_labels_that_were_corrected_by_hand_are_kept(application, viewer):
    viewer.add_image(images.read(GREY)[:96, :96], name="cells")
    widget = docked(viewer)
    widget.run()
    finish(widget, application)
    corrected = viewer.layers["cells nuclei"]
    corrected.data[:8, :8] = 77
    widget.run()
    finish(widget, application)
    assert len(viewer.layers) == 3
    assert (corrected.data[:8, :8] == 77).all()
    assert not (viewer.layers["cells nuclei [1]"].data == 77).any()


class Planes:
    """A lazy stack that presses a button when its second plane is read."""

    dtype, ndim = np.dtype(np.uint8), 3

    def __init__(self, plane, press):
        self.plane, self.press, self.shape = plane, press, (9, *plane.shape)
        self.read = []

    def __getitem__(self, place):
        self.read.append(place)
        if len(self.read) == 2:
            self.press()
        return self.plane


def test_cancel_stops_after_the_plane_at_hand_and_adds_nothing(application, viewer, monkeypatch):
    grey = images.read(GREY)[:64, :64]
    layer = viewer.add_image(np.stack([grey] * 9), name="cells")
    widget = docked(viewer)
    planes = Planes(grey, widget.cancel)
    monkeypatch.setattr(Image, "data", property(lambda self: planes))
    widget.run()
    finish(widget, application)
    monkeypatch.undo()
    assert widget.message.value == "cancelled"
    assert len(planes.read) == 2
    assert list(viewer.layers) == [layer]
    assert widget.run_button.enabled


def test_what_is_no_image_is_refused_and_the_widget_goes_on(application, viewer, monkeypatch):
    # napari's own hook for errors of threads would end the test.
    monkeypatch.setattr("sys.excepthook", lambda *error: None)
    pixels = np.ones((64, 64))
    pixels[3, 4] = np.nan
    viewer.add_image(pixels, name="cells")
    widget = docked(viewer)
    widget.run()
    finish(widget, application)
    assert "NaN" in widget.message.value
    assert widget.run_button.enabled
    assert len(viewer.layers) == 1


def test_values_that_are_no_intensities_are_refused():
    with pytest.raises(ValueError, match="image: holds values of complex64; accepted are bool"):
        found(np.zeros((4, 4), np.complex64))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"scale": (0.25, 0.25), "units": "um"}, 0.25),
        ({"scale": (2, 250, 250), "units": "nm"}, 0.25),
        ({"scale": (0.25, 0.25)}, None),
        ({"scale": (0.25, 0.5), "units": "um"}, None),
    ],
)
def test_the_pixel_size_is_the_layer_s_scale_where_that_has_units_of_length(options, expected):
    shape = (4,) * len(options["scale"])
    mpp = napari_plugin.layer_mpp(Image(np.zeros(shape), **options))
    assert mpp == (pytest.approx(expected) if expected else None)


def test_the_pixel_size_and_the_model_decide_if_asked(application, viewer):
    viewer.add_image(images.read(GREY), name="cells", scale=(0.4, 0.4), units="um")
    widget = docked(viewer)
    widget.model.value = "nuclei"
    widget.by_pixel_size.value = True
    widget.run()
    finish(widget, application)
    expected = nucleiseg.Segmenter("nuclei").segment(GREY, "labels", mpp=0.4)
    np.testing.assert_array_equal(viewer.layers[-1].data, expected)
    assert viewer.layers[-1].metadata["nucleiseg"] == {
        "model": "nuclei",
        "mpp": 0.4,
        "stain": "auto",
    }


def test_the_fields_show_the_parameters_of_the_model(application, viewer):
    widget = docked(viewer)
    for name in nucleiseg.model.shipped():
        widget.model.value = name
        model = nucleiseg.Model.load(name)
        assert widget.nucleus_threshold.value == round(model.nucleus_threshold / 255, 2)
        assert widget.separation.value == round(model.prominence / 255, 2)
        # As shown they are the model's own, not rounded ones.
        assert widget._settings().decoding == Decoding()
    widget.separation.value = 0.2
    widget.own_model.value = nucleiseg.Model.load("nuclei-fast").path
    assert widget._settings().decoding == Decoding()


@pytest.mark.parametrize(
    "parameters",
    [
        {"nucleus_threshold": 0.9},
        {"separation": 0.4},
        {"min_diameter": 14.0},
        {"max_diameter": 12.0},
        {"exclude_border": True},
    ],
    ids=lambda parameters: next(iter(parameters)),
)
def test_a_parameter_of_the_widget_is_that_of_python(application, viewer, parameters):
    viewer.add_image(images.read(GREY), name="cells")
    widget = docked(viewer)
    for name, value in parameters.items():
        getattr(widget, name).value = value
    widget.run()
    finish(widget, application)
    layer = viewer.layers["cells nuclei"]
    expected = nucleiseg.segment(GREY, "labels", **parameters)
    np.testing.assert_array_equal(layer.data, expected)
    assert (expected != nucleiseg.segment(GREY, "labels")).any()
    assert len(layer.features) == expected.max()
    assert layer.metadata["nucleiseg"].items() >= parameters.items()


@pytest.mark.parametrize("stain", STAINS)
def test_the_stain_of_the_widget_is_that_of_python(application, viewer, stain):
    colour = images.read(COLOUR)[..., ::-1]
    viewer.add_image(colour, name="cells", rgb=True)
    widget = docked(viewer)
    assert widget.stain.value == "auto"
    widget.stain.value = stain
    widget.run()
    finish(widget, application)
    layer = viewer.layers["cells nuclei"]
    np.testing.assert_array_equal(layer.data, nucleiseg.segment(colour, "labels", stain=stain))
    assert layer.metadata["nucleiseg"]["stain"] == stain


def test_diameters_that_exclude_each_other_are_refused(application, viewer):
    viewer.add_image(images.read(GREY), name="cells")
    widget = docked(viewer)
    widget.min_diameter.value, widget.max_diameter.value = 20, 10
    widget.run()
    assert widget.message.value.startswith("min_diameter: got 20, above the max_diameter of 10")
    assert widget.run_button.enabled
    assert len(viewer.layers) == 1


def test_colours_and_several_resolutions_are_understood(application, viewer):
    colour = images.read(COLOUR)
    expected = nucleiseg.segment(colour, "labels")
    viewer.add_image([colour, colour[::2, ::2]], name="a", rgb=True, multiscale=True)
    widget = docked(viewer)
    widget.run()
    finish(widget, application)
    np.testing.assert_array_equal(viewer.layers["a nuclei"].data, expected)


def test_planes_are_done_one_by_one_and_share_no_number():
    grey = images.read(GREY)[:96, :96].astype(np.int32)
    stack = np.stack([grey, np.zeros_like(grey), grey.T])[None]
    result, done = found(stack)
    labels, features = result.labels, result.features
    assert done == [0, 1, 1, 2, 2, 3]
    assert labels.shape == stack.shape
    assert labels.dtype == np.int32
    first = nucleiseg.segment(grey.astype(float), "labels")
    np.testing.assert_array_equal(labels[0, 0], first)
    assert labels[0, 1].max() == 0
    assert labels[0, 2][labels[0, 2] > 0].min() == first.max() + 1
    np.testing.assert_array_equal(features["index"], np.arange(1, labels.max() + 1))
    assert set(features["axis-0"]) == {0}
    assert set(features.loc[features["index"] > first.max(), "axis-1"]) == {2}
