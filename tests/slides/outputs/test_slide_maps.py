"""The density map and the report page of a slide."""

import base64
import dataclasses
import html.parser
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from nucleiseg.report.flags import LEAST_CONFIDENCE, MOST_BLUR
from nucleiseg.slides.nuclei import Nuclei, SlideInfo
from nucleiseg.slides.outputs.cells import Cells
from nucleiseg.slides.outputs.density import DensityMap, ticks
from nucleiseg.slides.outputs.distribution import Distribution
from nucleiseg.slides.outputs.doubts import Place, doubts
from nucleiseg.slides.outputs.one_file import NO_NUCLEI
from nucleiseg.slides.outputs.report import SlideReport

GOOD = (18.0, 40.0)
EVIL = "</style><script>alert(1)</script><img src=x onerror=alert(1)> & '\"\udcff.svs"


def slide(width, height, path="slide.svs"):
    """A slide of so many micrometres, at 0.5 a pixel of level 0 and 0.25 a pixel of the labels."""
    return SlideInfo(
        path=Path(path),
        width=width * 2,
        height=height * 2,
        mpp=(0.5, 0.5),
        scale=0.5,
        model={"name": "nuclei", "version": "1.2.3", "sha256": "ab" * 32},
        settings={"tissue": "auto", "region": 4096},
        label_height=height * 4,
        label_width=width * 4,
        label_mpp=(0.25, 0.25),
    )


def nuclei_at(x, y, confidence=0.95, diameter=7.0, blur=None):
    """Nuclei by their place and diameter in micrometres."""
    count = len(x)

    def column(value, dtype=float):
        return np.broadcast_to(np.asarray(value, dtype), count).copy()

    pixels = column(diameter) / 0.5
    return Nuclei(
        id=np.arange(1, count + 1),
        area=np.pi / 4 * pixels**2,
        centroid=np.stack([y, x], axis=1) / 0.5,
        diameter=pixels,
        confidence=column(confidence, np.float32),
        outline_offsets=np.zeros(count + 1, np.int64),
        outline_points=np.zeros((0, 2), np.float32),
        features={} if blur is None else {"edge_blur": column(blur, np.float32)},
    )


@pytest.fixture
def tissue():
    """A slide of 2 x 1 mm: 5,000 nuclei in its left half, 500 in a tenth of its right half."""
    rng = np.random.default_rng(3)
    left = rng.uniform(0, 1000, (5000, 2))
    right = np.array([1500, 0]) + rng.uniform(0, 1, (500, 2)) * (200, 500)
    x, y = np.concatenate([left, right]).T
    return slide(2000, 1000), x, y


class Page(html.parser.HTMLParser):
    """The elements of a page with their attributes, and its text."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.words = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_data(self, data):
        if self.elements and self.elements[-1][0] != "style":
            self.words.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.words))


def test_density_is_nuclei_per_square_millimetre(tissue):
    info, x, y = tissue
    cells = Cells(info)
    cells.add(nuclei_at(x, y))
    assert (cells.side, cells.shape) == (100, (10, 20))
    expected = np.histogram2d(y, x, (10, 20), ((0, 1000), (0, 2000)))[0] / 0.01
    np.testing.assert_allclose(cells.density(), expected)
    # 1 mm2 on the left and 0.1 mm2 on the right.
    assert cells.nuclei_per_mm2() == pytest.approx(5500 / 1.1)


def test_cells_at_the_edge_are_as_large_as_the_slide_lets_them_be():
    info = slide(250, 120)
    cells = Cells(info)
    cells.add(nuclei_at(np.array([249.0, 10]), np.array([119.0, 10])))
    assert cells.shape == (2, 3)
    assert cells.density()[1, 2] == pytest.approx(1 / (50 * 20 / 1e6))
    assert cells.density()[0, 0] == pytest.approx(1 / 0.01)


def test_a_large_slide_has_larger_cells():
    cells = Cells(slide(100_000, 60_000))
    assert cells.shape == (240, 400)
    assert cells.side == 250


def test_the_map_shows_where_nuclei_are(tissue, write):
    info, x, y = tissue
    picture = cv2.imread(str(write(DensityMap(), nuclei_at(x, y), info=info)))
    plan = picture[16 : 16 + 512, 16 : 16 + 1024]
    white = (plan == 255).all(axis=2)
    assert not white[:, :512].any()
    assert not white[: 512 // 2, 768:870].any()
    assert white[:, 520:760].all()
    assert white[300:, 520:].all()
    assert picture.shape[0] > 528  # the scale of length
    assert picture.shape[1] > 1040  # the scale of colour
    assert (picture[:, 1050:] != 255).any()


def test_denser_places_are_lighter(write):
    x = np.concatenate([np.full(100, 50.0), np.full(10, 150.0), np.full(40, 250.0)])
    picture = cv2.imread(str(write(DensityMap(), nuclei_at(x, x * 0 + 50), info=slide(300, 100))))
    green = picture[100, [100, 500, 900], 1].tolist()
    assert green[1] < green[2] < green[0]


def test_the_slide_is_drawn_beneath(tissue, write):
    info, x, y = tissue
    picture = np.full((100, 200, 3), 255, np.uint8)
    picture[60:, 120:160] = 0
    info = dataclasses.replace(info, picture=picture)
    drawn = cv2.imread(str(write(DensityMap(), nuclei_at(x, y), info=info)))
    assert drawn[16 + 400, 16 + 700].tolist() == [128] * 3
    assert drawn[16 + 100, 16 + 600].tolist() == [255] * 3


@pytest.mark.parametrize("size", [(2000, 3), (3, 2000), (1, 1)])
def test_slides_of_any_shape_have_a_map(size, write):
    info = dataclasses.replace(slide(*size), good_diameters=GOOD)
    one = nuclei_at(np.array([size[0] / 2]), np.array([size[1] / 2]))
    for output in (DensityMap(), SlideReport()):
        assert write(output, one, info=info).stat().st_size > 500


@pytest.mark.parametrize("most", [1, 3, 1.19, 9.99, 87, 1234, 5e6])
def test_ticks_are_round_and_few(most):
    found = ticks(most)
    assert 2 <= len(found) <= 6
    assert found[-1] <= most < (found[-1] + found[1]) * (1 - 1e-9)
    assert float(f"{found[1]:.0e}") == pytest.approx(found[1])


def test_doubts_are_found_where_they_are(tissue):
    info, x, y = tissue
    info = dataclasses.replace(info, good_diameters=GOOD)
    right = x > 1400
    confidence = np.where((x < 200) & (y < 300), LEAST_CONFIDENCE - 0.1, 0.95)
    diameter = np.where(right, 4.0, 7.0)  # 16 pixels of the labels, where 18 are good
    blur = np.where((x >= 800) & (x < 1000), MOST_BLUR + 1, 1.5)
    cells = Cells(info)
    cells.add(nuclei_at(x, y, confidence, diameter, blur))
    found = {doubt.name: doubt for doubt in doubts(cells)}
    assert list(found) == ["low confidence", "unusual size", "out of focus"]
    low = int(((x < 200) & (y < 300)).sum())
    assert found["low confidence"].places == [Place(0, 0, 400, 600, low)]
    assert found["unusual size"].places == [Place(3000, 0, 400, 1000, 500)]
    blurred = int(((x >= 800) & (x < 1000)).sum())
    assert found["out of focus"].places == [Place(1600, 0, 400, 2000, blurred)]
    assert found["out of focus"].nuclei == blurred


def test_a_good_slide_has_no_doubts(tissue):
    info, x, y = tissue
    info = dataclasses.replace(info, good_diameters=GOOD)
    cells = Cells(info)
    cells.add(nuclei_at(x, y, blur=1.5))
    assert doubts(cells) == []


def test_blur_that_is_not_known_is_no_doubt_and_infinite_blur_is(tissue):
    info, x, y = tissue
    info = dataclasses.replace(info, good_diameters=GOOD)
    for blur, expected in ((np.nan, []), (np.inf, ["out of focus"])):
        cells = Cells(info)
        cells.add(nuclei_at(x, y, blur=blur))
        assert [doubt.name for doubt in doubts(cells)] == expected


def test_the_page_tells_counts_doubts_settings_model_and_versions(tissue, write):
    info, x, y = tissue
    info = dataclasses.replace(info, good_diameters=GOOD)
    confidence = np.where(x > 1400, 0.5, 0.95)
    page = Page(write(SlideReport(), nuclei_at(x, y, confidence), info=info).read_text())
    for words in (
        "5,500",
        "5,000",  # a square millimetre
        "9.1%",  # 500 of 5,500 in doubt
        "low confidence",
        "x 3,000, y 0, 400 by 1,000 pixels: 500 nuclei",
        "Focus was not measured.",
        "tissue auto region 4096",
        "nuclei version 1.2.3",
        "ab" * 32,
        "Python",
        "4,000 by 2,000",
        "2.0 by 1.0 mm",
    ):
        assert words in page.text
    assert "Sizes were not compared" not in page.text
    assert len([tag for tag, _ in page.elements if tag == "img"]) == 2


def test_pictures_of_the_page_are_the_maps(tissue, write):
    info, x, y = tissue
    page = Page(write(SlideReport(), nuclei_at(x, y), info=info).read_text())
    (picture,) = [attributes for tag, attributes in page.elements if tag == "img"]
    data = base64.b64decode(picture["src"].removeprefix("data:image/png;base64,"))
    found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    density = cv2.imread(str(write(DensityMap(), nuclei_at(x, y), info=info)))
    np.testing.assert_array_equal(found, density)
    assert "Nothing stood out." in page.text
    assert "Sizes were not compared" in page.text


def test_names_are_escaped_and_nothing_is_loaded(tissue, write):
    _, x, y = tissue
    info = slide(2000, 1000, EVIL.replace("/", "_"))
    info = dataclasses.replace(info, settings={"<b>": "<i>"}, model={**info.model, "name": "<u>"})
    page = Page(write(SlideReport(), nuclei_at(x, y), info=info).read_text())
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "b", "i", "u"}
    for tag, attributes in page.elements:
        for name in ("src", "href"):
            assert attributes.get(name, "data:").startswith("data:"), tag
        assert not any(name.startswith("on") for name in attributes)
    policy = next(a["content"] for _, a in page.elements if "http-equiv" in a)
    assert "default-src 'none'" in policy
    assert "<script>alert(1)<_script>" in page.text


def test_an_empty_slide_says_so(write):
    page = Page(write(SlideReport(), NO_NUCLEI, info=slide(500, 500)).read_text())
    assert "Nothing to show." in page.text
    assert "Nothing stood out." in page.text


def test_percentiles_are_exact_to_a_bin():
    values = np.random.default_rng(1).gamma(9, 0.9, 20_000)
    distribution = Distribution(0.05, 4000)
    for some in np.array_split(values, 7):
        distribution.add(some)
    for percent in (0.5, 25, 50, 75, 99.5):
        assert distribution.percentile(percent) == pytest.approx(
            np.percentile(values, percent), abs=0.05
        )
    assert "20,000 nuclei" in distribution.described()


def test_a_histogram_shows_every_value():
    distribution = Distribution(0.05, 4000)
    distribution.add(np.array([0.0, 5, 5, 5, 6, 7, 500]))
    counts, low, high = distribution._bars()
    assert counts.sum() == 7
    assert low == 0
    assert high >= 200


def test_large_counts_have_room_beside_the_axis():
    distribution = Distribution(0.05, 4000)
    distribution.counts[100:140] = 1_200_000
    axis = [label for _, label in distribution.chart("Diameter", "d").up]
    assert axis == ["0", "500k", "1M", "1.5M"]
