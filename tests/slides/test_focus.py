"""The blur of a slide's cells: that of its image, and the same for every region size."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from nucleiseg import images
from nucleiseg.outputs.report.flags import MOST_BLUR
from nucleiseg.slides import focus

DATA = Path(__file__).parents[1] / "data"
NAME = "hematoxylin_eosin.png"


@pytest.fixture(scope="module")
def tissue():
    """Real tissue of 1,024 x 2,048 pixels, its right half blurred, and where its nuclei are."""
    image = images.read(DATA / "images" / NAME)
    nuclei = images.read(DATA / "labels" / NAME) > 0
    times = (-(-1024 // image.shape[0]), -(-2048 // image.shape[1]))
    pixels = np.tile(image, (*times, 1))[:1024, :2048]
    pixels[:, 1024:] = cv2.GaussianBlur(pixels, (0, 0), 3)[:, 1024:]
    return pixels, np.tile(nuclei, times)[:1024, :2048]


def test_what_is_out_of_focus_has_blurred_cells(tissue):
    pixels, nuclei = tissue
    found = focus.blurs(pixels, nuclei, np.ones(nuclei.shape, np.bool_))
    assert found.shape == (2, 4)
    assert found.dtype == np.float32
    assert (found[:, :2] < MOST_BLUR).all()
    assert (found[:, 2:] > MOST_BLUR).all()


def test_a_cell_is_the_same_in_every_region(tissue):
    pixels, nuclei = tissue
    inside = np.ones(nuclei.shape, np.bool_)
    whole = focus.blurs(pixels, nuclei, inside)
    halves = [
        focus.blurs(*(values[:, left : left + 1024] for values in (pixels, nuclei, inside)))
        for left in (0, 1024)
    ]
    np.testing.assert_array_equal(np.concatenate(halves, axis=1), whole)
    elsewhere = pixels.copy()
    elsewhere[: (focus.CELL - focus.SAMPLE) // 2] = 0
    np.testing.assert_array_equal(focus.blurs(elsewhere, nuclei, inside), whole)


def test_cells_that_were_not_looked_at_or_have_no_nuclei_are_not_known(tissue):
    pixels, nuclei = tissue
    inside = np.ones(nuclei.shape, np.bool_)
    inside[250, 250] = False
    nuclei = nuclei.copy()
    nuclei[:, 512:1024] = False
    found = focus.blurs(pixels, nuclei, inside)
    np.testing.assert_array_equal(
        np.isnan(found), [[True, True, False, False], [False, True, False, False]]
    )


def test_a_region_at_the_edge_of_a_slide_has_cells_in_part(tissue):
    pixels, nuclei = (values[:400, :900] for values in tissue)
    found = focus.blurs(pixels, nuclei, np.ones(nuclei.shape, np.bool_))
    assert found.shape == (1, 2)
    assert np.isfinite(found).all()
    assert np.isnan(focus.blurs(pixels[:200], nuclei[:200], np.ones((200, 900), np.bool_))).all()
