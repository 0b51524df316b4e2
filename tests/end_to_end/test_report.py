import base64
import dataclasses
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, unquote_to_bytes

import cv2
import numpy as np
import pytest
from scipy import ndimage

import nucleiseg
from nucleiseg import images
from nucleiseg.model import Model
from nucleiseg.outputs import overlays
from nucleiseg.outputs.table import Table
from nucleiseg.report import focus
from nucleiseg.report.collect import Report
from nucleiseg.report.entry import Entry
from nucleiseg.report.flags import Nuclei, flags
from nucleiseg.report.focus import edge_blur
from nucleiseg.report.page import render
from nucleiseg.result import Result

DATA = Path(__file__).parents[1] / "data"
NAMES = sorted(path.name for path in (DATA / "images").iterdir())
EVIL = "</script><img src=x onerror=alert(1)> \"quoted\" & '🔬'.png"
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "chrome")


def example(name):
    image = images.read(DATA / "images" / name)
    return image, images.read(DATA / "labels" / name).astype(np.int32)


class Page(HTMLParser):
    """What a browser would find in a page: its elements, their attributes and their text."""

    def __init__(self, path):
        super().__init__()
        self.elements = []
        self.open = []
        self.feed(path.read_text(encoding="utf-8"))
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes), []))
        if tag not in ("meta", "link", "img", "input", "wbr"):
            self.open.append((tag, self.elements[-1]))

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes), []))

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop()[0] == tag

    def handle_data(self, text):
        for _, element in self.open:
            element[2].append(text)

    def all(self, tag, **wanted):
        """Attributes and text of elements."""
        return [
            (attributes, "".join(text))
            for name, attributes, text in self.elements
            if name == tag and all(attributes.get(key) == wanted[key] for key in wanted)
        ]

    def table(self):
        """Rows of numbers, as they are sorted by, under their names."""
        rows = {}
        for tag, attributes, text in self.elements:
            if tag == "th" and attributes.get("scope") == "row":
                row = rows.setdefault("".join(text), [])
            elif tag == "td":
                row.append(attributes["data-value"])
        return rows

    def facts(self):
        terms = [text for _, text in self.all("dt")]
        return dict(zip(terms, (text for _, text in self.all("dd")), strict=True))


def found(image, labels, maps=None, **rest):
    return Result(image, labels > 0, labels, maps, **rest)


def measure(image, labels, maps):
    return Nuclei.of(Table.of(image, labels, maps, mpp=None, ring=0))


@pytest.fixture
def report(tmp_path, model):
    return Report(model, tmp_path / "report.html")


def written(report, settings=None):
    report.write(settings or {})
    return Page(report.path)


def segment(*arguments):
    command = [sys.executable, "-m", "nucleiseg", "segment", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def model():
    return Model.load()


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A run over all examples, one of them under an evil name, and a file that is no image."""
    folder = tmp_path_factory.mktemp("run")
    shutil.copytree(DATA / "images", folder / "in")
    # A slash cannot be in a name.
    (folder / "in" / NAMES[-1]).rename(folder / "in" / EVIL.replace("/", ""))
    (folder / "in" / "broken.tif").write_text("<b>no image</b>")
    images.write_png(folder / "in" / "empty.png", np.zeros((64, 64), np.uint8))
    return segment(folder / "in", "-o", folder / "out", "--report"), folder / "out"


def test_a_run_writes_one_page_with_a_row_and_a_picture_for_each_image(ran):
    done, output = ran
    assert done.returncode == 1
    doubt, failure = done.stderr.splitlines()
    assert doubt.startswith("nucleiseg: 1 image is worth a second look: ")
    assert doubt.endswith("in/empty.png (no nuclei, doubtful intensities)")
    assert failure.startswith(f"{output.parent / 'in' / 'broken.tif'}: is not an image")
    page = Page(output / "report.html")
    names = {*NAMES[:-1], EVIL.replace("/", ""), "empty.png"}
    assert set(page.table()) == names
    assert {text for _, text in page.all("h3")} >= names
    assert len(page.all("figure", **{"class": "chart"})) == 2


def test_the_page_counts_what_is_on_disk(ran):
    _, output = ran
    table = Page(output / "report.html").table()
    for name, (nuclei, *_) in table.items():
        labels = images.read(output / f"{name.removesuffix('.png')}_labels.png")
        assert int(nuclei) == labels.max()


def test_the_page_says_what_failed_and_what_is_empty(ran):
    _, output = ran
    looks = "".join(Page(output / "report.html").all("ul", **{"class": "looks"})[0][1])
    assert "broken.tiffailed is not an image of a known format" in looks
    assert "empty.pngno nuclei No nuclei were found." in looks
    assert "doubtful intensities Nothing in it stands out from its noise." in looks


def test_the_page_names_settings_model_and_versions(ran, model):
    _, output = ran
    facts = Page(output / "report.html").facts()
    assert facts["scale"] == "auto"
    assert facts["device"].startswith("cpu, ")
    assert facts["saved"] == "masks and labels"
    assert facts["SHA-256"] == model.checksum
    assert facts["Version"] == model.version
    assert facts["nucleiseg"] == nucleiseg.__version__
    assert facts["numpy"] == np.__version__


def test_the_run_is_the_same_with_a_report(ran, tmp_path):
    _, output = ran
    segment(output.parent / "in", "-o", tmp_path)
    without = {path.name: path.read_bytes() for path in tmp_path.glob("*.png")}
    assert len(without) == 16
    assert without == {path.name: path.read_bytes() for path in output.glob("*.png")}


def test_a_page_that_cannot_be_written_is_an_error_and_leaves_nothing(tmp_path):
    (tmp_path / "report.html").mkdir()
    image = DATA / "images" / NAMES[0]
    refused = segment(image, "-o", tmp_path, "--report")
    assert refused.returncode == 2
    assert "report.html is there and no run made it" in refused.stderr
    done = segment(image, "-o", tmp_path, "--report", "--overwrite")
    assert done.returncode == 1
    assert done.stderr == f"{tmp_path / 'report.html'}: Is a directory\n"
    assert not list(tmp_path.rglob(".*.part"))


def assert_nothing_foreign(page):
    """Only one script, no attribute that runs, and no address outside of the page."""
    assert len(page.all("script")) == 1
    addresses = set()
    for _, attributes, _ in page.elements:
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        addresses |= {attributes[name] for name in ("src", "href") if name in attributes}
    assert addresses
    assert all(address.startswith(("data:", "#")) for address in addresses)


def test_outputs_are_linked_from_their_picture(ran):
    _, output = ran
    page = Page(output / "report.html")
    linked = {
        unquote(attributes["href"]): text
        for attributes, text in page.all("a")
        if not attributes["href"].startswith("#")
    }
    assert {output / name for name in linked} == set(output.glob("*.png"))
    assert set(linked.values()) == {"mask.png", "labels.png"}


def test_links_lead_to_any_name_and_nowhere_else(tmp_path, model, report):
    names = ["below/a #1?%.png", "a:b.png", "javascript:alert(1)", "latin-\udce9.png"]
    for name in names:
        files = [tmp_path / f"{name}_mask.png"]
        report.describe(name, found(np.zeros((5, 7), np.uint8), np.zeros((5, 7), np.int32)), files)
    links = [each["href"] for each, _ in written(report).all("a") if each["href"][0] != "#"]
    assert len(links) == len(names)
    assert all(re.fullmatch(r"[\w./%~-]+", link) for link in links)
    assert {os.fsdecode(unquote_to_bytes(link)) for link in links} == {
        f"{name}_mask.png" for name in names
    }


def test_names_are_words_wherever_they_stand(report):
    image, labels = example("fluorescence_small.png")
    bytes_of_no_text = "latin-\udce9.png"
    for name in (EVIL.replace("/", ""), bytes_of_no_text, "'\"><svg onload=x>.png"):
        report.describe(f"in/{name}", found(image, labels * 0))
    report.fail("in/<b>.png", "is <i>bad</i> & </script>")
    page = written(report, {"<u>scale": "</dd><u>"})
    assert_nothing_foreign(page)
    assert not page.all("b") + page.all("i") + page.all("u")
    assert len(page.all("img")) == 6
    shown = [EVIL.replace("/", ""), "latin-�.png", "'\"><svg onload=x>.png"]
    assert sorted(page.table()) == sorted(shown)
    labelled = [button["aria-label"] for button, _ in page.all("button", **{"class": "picture"})]
    assert sorted(labelled) == sorted(f"Outlines of {name}" for name in shown)
    assert page.facts()["<u>scale"] == "</dd><u>"


def test_shared_folders_are_left_out_and_names_are_in_natural_order(report):
    image, labels = example("fluorescence_small.png")
    names = ["plates/a/10.png", "plates/a/9.png", "plates/b/1.png"]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda name: report.describe(name, found(image, labels)), names))
    page = written(report)
    assert list(page.table()) == ["a/9.png", "a/10.png", "b/1.png"]
    assert page.facts()["Folder"] == "plates"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float64])
def test_numbers_of_nuclei_are_those_of_scipy(name, dtype):
    image, labels = example(name)
    image = image.astype(dtype)
    grey = image if image.ndim == 2 else image.mean(axis=2)
    maps = np.random.default_rng(0).integers(0, 256, (*labels.shape, 2), np.uint8)
    nuclei = measure(image, labels, maps)
    index = np.arange(1, labels.max() + 1)
    np.testing.assert_array_equal(nuclei.areas, np.bincount(labels.ravel())[1:])
    np.testing.assert_allclose(nuclei.intensities, ndimage.mean(grey, labels, index), rtol=1e-6)
    expected = ndimage.mean(maps[..., 0], labels, index) / 255
    np.testing.assert_allclose(nuclei.probabilities, expected, rtol=1e-12)
    inner = np.pad(labels[1:-1, 1:-1], 1)
    rim = np.setdiff1d(labels[labels != inner], [0])
    np.testing.assert_array_equal(np.flatnonzero(nuclei.cut) + 1, rim)


def test_blur_does_not_depend_on_the_strips(monkeypatch):
    image, labels = example("fluorescence_wide.png")
    blur = edge_blur(image, labels)
    monkeypatch.setattr(focus, "STRIP", 37)
    assert edge_blur(image, labels) == pytest.approx(blur, rel=1e-5)


def test_alpha_is_no_intensity(model):
    image, labels = example("hematoxylin_eosin.png")
    with_alpha = np.dstack([image, np.full(labels.shape, 255, np.uint8)])
    plain, alpha = (Entry.of("a", found(each, labels), model) for each in (image, with_alpha))
    np.testing.assert_array_equal(plain.intensities, alpha.intensities)
    assert plain.blur == alpha.blur


def row(page, name):
    headings = [text for attributes, text in page.all("th") if attributes["scope"] == "col"]
    return dict(zip(headings[1:], page.table()[name], strict=True))


def test_a_row_says_what_can_be_counted_by_hand(report):
    labels = np.zeros((100, 200), np.int32)
    labels[10:30, 10:30] = 1
    labels[50:60, 50:60] = 2
    labels[90:, 90:100] = 3
    image = labels.astype(np.uint16) * 1000
    maps = np.full((100, 200, 2), 255, np.uint8)
    report.describe("a.png", found(image, labels, maps, scale=2.0))
    values = row(written(report), "a.png")
    assert values["Nuclei"] == "3"
    assert values["Per megapixel"] == "150"
    assert values["Covered, %"] == "3"
    # Of the two whole ones: 400 and 100 pixels.
    expected = (np.sqrt(400 * 4 / np.pi) + np.sqrt(100 * 4 / np.pi)) / 2
    assert float(values["Median diameter, pixels"]) == pytest.approx(expected, rel=1e-5)
    assert values["Median intensity"] == "2000"
    assert values["Confidence"] == "1"
    assert float(values["At the border, %"]) == pytest.approx(100 / 3, rel=1e-5)
    assert values["Scale"] == "2"


def test_units_are_physical_where_every_image_has_its_pixel_size(report):
    image, labels = example("fluorescence_small.png")
    pixels = report.describe("a.png", found(image, labels, mpp=0.5))
    values = row(written(report), "a.png")
    expected = float(np.median(pixels["diameters"])) / 2
    assert float(values["Median diameter, µm"]) == pytest.approx(expected, rel=1e-5)
    assert float(values["Per mm²"]) == pytest.approx(82 / (0.128 * 0.128), rel=1e-5)
    report.describe("b.png", found(image, labels))
    # A density is in the units of its own image.
    values, other = (row(written(report), name) for name in ("a.png", "b.png"))
    assert "Median diameter, pixels" in values
    assert float(values["Per mm²"]) == pytest.approx(82 / (0.128 * 0.128), rel=1e-5)
    assert (other["Per mm²"], float(other["Per megapixel"])) == ("", pytest.approx(82 / 0.065536))


def test_what_is_unknown_has_no_value(report):
    report.describe("a.png", found(np.zeros((5, 7), np.uint8), np.zeros((5, 7), np.int32)))
    values = row(written(report), "a.png")
    unknown = [name for name, value in values.items() if value == ""]
    assert unknown == [
        "Median diameter, pixels",
        "Median intensity",
        "Confidence",
        "At the border, %",
        "Edge blur, pixels",
    ]


def test_a_run_of_which_nothing_came_has_a_page_too(report):
    report.fail("a.tif", "is empty")
    page = written(report)
    assert page.table() == {}
    assert page.facts()["images"] == "0"
    assert page.facts()["failed"] == "1"


def test_intensities_of_different_depths_have_charts_of_their_own(report):
    image, labels = example("fluorescence_small.png")
    for dtype in (np.uint8, np.uint16):
        report.describe(f"{np.dtype(dtype)}.png", found(image.astype(dtype), labels))
    titles = [text for _, text in written(report).all("title")[1:]]
    assert titles == [
        "Diameter of whole nuclei, pixels",
        "Mean intensity of nuclei, uint16",
        "Mean intensity of nuclei, uint8",
    ]


def decoded(uri):
    data = np.frombuffer(base64.b64decode(uri.partition(",")[2]), np.uint8)
    return cv2.imdecode(data, cv2.IMREAD_UNCHANGED)


@pytest.mark.parametrize("name", NAMES)
def test_a_thumbnail_is_the_image_and_its_outlines_lie_upon_it(model, name):
    image, labels = example(name)
    entry = Entry.of(name, found(image, labels), model)
    thumbnail, outlines = decoded(entry.thumbnail), decoded(entry.outlines)
    assert max(thumbnail.shape[:2]) == min(512, max(labels.shape))
    assert thumbnail.shape[:2] == entry.size
    assert outlines.shape == (2 * entry.size[0], 2 * entry.size[1], 4)
    picture = cv2.resize(overlays.rgb(image), entry.size[::-1], interpolation=cv2.INTER_AREA)
    # What WebP loses, and percentiles of fewer pixels: 5 levels, and 8 where there is much grain.
    assert np.abs(thumbnail[..., ::-1].astype(int) - picture).mean() < 10
    drawn = outlines[..., 3] > 0
    inside = cv2.resize((labels > 0).astype(np.uint8), drawn.shape[::-1]) > 0
    # Lines are two of these pixels wide, of which one may lie outside, and resizing moves one more.
    assert not drawn[~cv2.dilate(inside.astype(np.uint8), np.ones((5, 5))).astype(bool)].any()
    assert drawn.any()


@pytest.mark.parametrize("shape", [(1, 1), (1, 900), (900, 1, 3), (3, 2, 4), (513, 257)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32, np.float64])
def test_images_of_every_shape_and_dtype_are_entered(model, shape, dtype):
    image = (np.arange(np.prod(shape)) % 251).reshape(shape).astype(dtype)
    entry = Entry.of("a", found(image, np.ones(shape[:2], np.int32)), model)
    assert (entry.nuclei, entry.cut, entry.covered) == (1, 1, 1.0)
    assert decoded(entry.thumbnail).shape[:2] == entry.size


@pytest.fixture(scope="module")
def many(model):
    """Three hundred entries without flags, of the examples in turn."""
    entries = [Entry.of(name, found(*example(name)), model) for name in NAMES]
    return [
        dataclasses.replace(entries[i % len(entries)], name=f"plate/{i:03}.png", flags=[])
        for i in range(300)
    ]


def test_three_hundred_images_stay_light(many, model):
    # At most 15 MB for five hundred.
    assert len(render(many, [], model, {}).encode()) < 300 / 500 * 15e6


def test_an_entry_keeps_little_in_memory(many):
    for entry in many[: len(NAMES)]:
        arrays = entry.diameters.nbytes + entry.intensities.nbytes
        assert arrays <= 8 * entry.nuclei
        assert len(entry.thumbnail) + len(entry.outlines) < 32_000


@pytest.fixture(scope="module")
def segmenter():
    return nucleiseg.Segmenter()


def noisy(image, sigma):
    noise = np.random.default_rng(0).normal(0, sigma, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def stood_out(segmenter, model, image):
    result = segmenter.analyze(image)
    nuclei = Nuclei.of(result.table)
    blur = edge_blur(image, result.labels)
    return [flag.name for flag in flags(nuclei, blur, result.scale, model)]


@pytest.mark.parametrize("name", NAMES)
def test_sharp_images_are_in_focus_and_blurred_copies_are_not(segmenter, model, name):
    image, _ = example(name)
    assert stood_out(segmenter, model, image) == []
    assert "out of focus" not in stood_out(segmenter, model, noisy(image, 5))
    blurred = cv2.GaussianBlur(image, (0, 0), 3)
    assert "out of focus" in stood_out(segmenter, model, blurred)


def test_nuclei_that_are_seen_in_noise_have_low_confidence(segmenter, model):
    noise = np.random.default_rng(0).normal(size=(256, 256)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 8)
    assert "low confidence" in stood_out(segmenter, model, smooth)
    assert stood_out(segmenter, model, noise) == ["no nuclei"]


def discs(diameter, blur, grain=0.0):
    """Grey discs with an edge of a known blur, and their labels."""
    rows, columns = np.mgrid[:400, :400]
    labels = np.zeros((400, 400), np.int32)
    for i, (row_, column) in enumerate(np.ndindex(4, 4)):
        distance = np.hypot(rows - 100 * row_ - 50.3, columns - 100 * column - 49.6)
        labels[distance <= diameter / 2] = i + 1
    sharp = np.where(labels > 0, 180.0, 30.0)
    return noisy(cv2.GaussianBlur(sharp, (0, 0), blur), grain), labels


@pytest.mark.parametrize("blur", [1.0, 2.0, 3.0, 5.0])
@pytest.mark.parametrize("grain", [0.0, 4.0])
def test_the_blur_of_an_edge_is_measured_in_pixels(blur, grain):
    image, labels = discs(60, blur, grain)
    # It reads up to half a pixel more where edges are sharp: gradients are averaged across them.
    assert edge_blur(image, labels) == pytest.approx(blur, rel=0.1, abs=0.55)
    # Contrast does not matter.
    assert edge_blur(image / 1000, labels) == pytest.approx(edge_blur(image, labels), rel=1e-3)


def test_wide_edges_of_large_nuclei_are_no_blur(model):
    image, labels = discs(80, 4.0)
    nuclei = measure(image, labels, None)
    assert flags(nuclei, edge_blur(image, labels), 3.0, model) == []
    image, labels = discs(40, 4.0)
    nuclei = measure(image, labels, None)
    (flag,) = flags(nuclei, edge_blur(image, labels), 1.6, model)
    assert flag.name == "out of focus"
    assert re.search(r"blurred over (3\.\d|4\.\d) pixels, of a usual diameter of 40;", flag.reason)


def test_an_image_of_mostly_cut_nuclei_is_flagged(model):
    _, labels = discs(90, 1.0)
    corner = np.ascontiguousarray(labels[50:250, 50:250])
    nuclei = measure(corner.astype(np.uint8), corner, None)
    (flag,) = flags(nuclei, None, 3.0, model)
    assert flag.name == "at the border"
    assert flag.reason.startswith("8 of 9 nuclei touch the border")


@pytest.mark.parametrize(("scale", "seen"), [(1.0, "60"), (5.0, "12")])
def test_nuclei_of_a_size_that_the_model_is_not_good_at_are_flagged(model, scale, seen):
    _, labels = discs(60, 1.0)
    nuclei = measure(labels.astype(np.uint8), labels, None)
    (flag,) = flags(nuclei, None, scale, model)
    assert flag.name == "unusual size"
    assert flag.reason.startswith(f"A usual nucleus is {seen} pixels across")


# What follows needs a browser.


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip(
        "playwright.sync_api", reason="needs Playwright: pip install playwright"
    )
    found = [path for path in map(shutil.which, CHROMIUMS) if path]
    if not found:
        pytest.skip("needs Chromium: apt install chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found[0])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def path(tmp_path_factory, many, model):
    """Three hundred images, of which one in fifty has no nuclei."""
    nothing = found(np.zeros((80, 90), np.uint8), np.zeros((80, 90), np.int32))
    empty = Entry.of("a", nothing, model)
    entries = [
        dataclasses.replace(empty, name=each.name) if i % 50 == 33 else each
        for i, each in enumerate(many)
    ]
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(render(entries, [], model, {}), encoding="utf-8")
    return path


@pytest.fixture
def opened(browser, path):
    """The page in a browser that must not complain, and all that it asked for."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    complaints, asked = [], []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri())
    yield page, asked
    assert complaints == []
    page.close()


def test_the_page_asks_the_network_for_nothing(opened, path):
    page, asked = opened
    for card in page.locator(".card").all()[:40:5]:
        card.scroll_into_view_if_needed()
        for picture in card.locator("img").all():
            assert picture.evaluate("(img) => img.decode().then(() => img.naturalWidth)") > 0
    page.locator("#outlines").click()
    page.wait_for_load_state("networkidle")
    assert asked == [path.as_uri()]


def test_a_script_or_picture_from_elsewhere_would_be_stopped(browser, path):
    page = browser.new_page()
    complaints = []
    page.on("console", lambda message: complaints.append(message.text))
    page.goto(path.as_uri())
    outside = "http://127.0.0.1:9/x"
    for kind in ("img", "script"):
        page.evaluate(
            "([kind, src]) => document.body.append(Object.assign("
            "document.createElement(kind), { src }))",
            [kind, outside],
        )
    page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'), "
        "{ textContent: 'window.ran = true' }))"
    )
    assert page.evaluate("window.ran") is None
    page.wait_for_timeout(100)
    assert len([words for words in complaints if "Content Security Policy" in words]) == 3
    page.close()


def test_a_picture_is_enlarged_and_closed_with_the_keyboard(opened):
    page, _ = opened
    button = page.locator(".enlarge").nth(0)
    button.focus()
    page.keyboard.press("Enter")
    large = page.locator("#large")
    assert large.is_visible()
    assert page.locator("#large-name").text_content() == "000.png"
    stage, small = (page.locator(each).nth(0).bounding_box() for each in (".stage", ".picture"))
    assert stage["height"] > 2 * small["height"]
    assert large.locator(".outlines").is_visible()
    page.locator("#large-outlines").click()
    assert not large.locator(".outlines").is_visible()
    page.keyboard.press("ArrowRight")
    assert page.locator("#large-name").text_content() == "001.png"
    assert large.locator(".outlines").is_visible()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert page.locator("#large-name").text_content() == "000.png"
    page.keyboard.press("Escape")
    assert not large.is_visible()
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Enlarge 000.png"


def test_a_table_wider_than_the_screen_says_that_it_scrolls(opened):
    page, _ = opened
    hint = page.locator("#hint")
    assert not hint.is_visible()
    page.set_viewport_size({"width": 390, "height": 800})
    hint.wait_for(state="visible")
    assert hint.text_content() == "The table goes on to the right: scroll it sideways."
    page.evaluate("document.querySelector('.wide').scrollLeft = 1e6")
    hint.wait_for(state="hidden")


def test_every_column_has_a_meaning(opened):
    page, _ = opened
    terms = page.locator("details.meanings dt").all_text_contents()
    heads = page.locator("thead th button")
    assert terms == heads.all_text_contents()
    meanings = page.locator("details.meanings dd").all_text_contents()
    assert meanings == [head.get_attribute("title") for head in heads.all()]
    assert all(len(meaning) > 15 for meaning in meanings)
    page.locator("details.meanings summary").click()
    assert page.locator("details.meanings dd").nth(5).is_visible()


def test_outlines_are_toggled_of_all_and_of_one(opened):
    page, _ = opened
    outlines = page.locator(".outlines")
    assert outlines.nth(0).is_visible()
    page.locator("#outlines").click()
    assert not outlines.nth(0).is_visible()
    assert page.locator('.picture[aria-pressed="true"]').count() == 0
    page.locator(".picture").nth(0).focus()
    page.keyboard.press("Enter")
    assert outlines.nth(0).is_visible()
    assert not outlines.nth(1).is_visible()


def column(page, index):
    return page.eval_on_selector_all(
        "tbody tr", "(rows, i) => rows.map((row) => row.cells[i].dataset.value)", index
    )


def test_the_table_sorts_by_its_headings_from_the_keyboard(opened):
    page, _ = opened
    heads = page.locator("thead th")
    diameters = heads.nth(4)
    diameters.locator("button").focus()
    page.keyboard.press("Enter")
    assert diameters.get_attribute("aria-sort") == "ascending"
    assert heads.nth(0).get_attribute("aria-sort") == "none"
    values = column(page, 4)
    # Six images have no nuclei, so no diameter.
    assert values[-6:] == [""] * 6
    rising = [float(value) for value in values[:-6]]
    assert rising == sorted(rising)
    assert len(set(rising)) == len(NAMES)
    page.keyboard.press("Enter")
    assert diameters.get_attribute("aria-sort") == "descending"
    values = column(page, 4)
    assert [float(value) for value in values[:-6]] == rising[::-1]
    assert values[-6:] == [""] * 6


def test_a_flag_leads_to_its_image_even_if_that_is_not_shown(opened):
    page, _ = opened
    page.locator("#filter").fill("00")
    assert page.locator(".card:visible").count() == 12
    assert page.locator("#shown").text_content() == "12 of 300 shown"
    link = page.locator(".looks a").nth(5)
    assert link.text_content() == "283.png"
    link.focus()
    page.keyboard.press("Enter")
    card = page.locator("#image-283")
    page.wait_for_function(
        "() => document.activeElement.id === 'image-283' && (({ top, bottom }) => "
        "top >= -1 && top < innerHeight)(document.activeElement.getBoundingClientRect())",
        timeout=10_000,
    )
    assert card.locator("h3").text_content() == "283.png"
    assert page.locator(".card:visible").count() == 300


def test_only_flagged_images_can_be_shown(opened):
    page, _ = opened
    page.locator("#flagged").click()
    assert page.locator(".card:visible h3").all_text_contents() == [
        f"{i:03}.png" for i in range(33, 300, 50)
    ]
    assert page.locator("tbody tr:visible").count() == 6
    page.locator("#flagged").click()
    assert page.locator(".card:visible").count() == 300


def test_whatever_takes_the_keyboard_shows_it(opened):
    page, _ = opened
    seen = set()
    for _ in range(16):
        page.keyboard.press("Tab")
        focus = page.evaluate(
            "() => { const e = document.activeElement, s = getComputedStyle(e);"
            "return [e.tagName, s.outlineStyle, parseFloat(s.outlineWidth)]; }"
        )
        assert focus[1:] == ["solid", 3]
        seen.add(focus[0])
    assert seen == {"A", "BUTTON", "INPUT"}


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_the_page_is_as_wide_as_its_screen(opened, width):
    page, _ = opened
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") == width


def test_dark_and_print_have_colours_of_their_own(opened):
    page, _ = opened
    background = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(background) == "rgb(255, 255, 255)"
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(background) == "rgb(20, 22, 26)"
    page.emulate_media(color_scheme="dark", media="print")
    assert page.evaluate(background) == "rgb(255, 255, 255)"
    assert not page.locator(".tools").is_visible()


def test_the_page_shows_everything_without_scripts(browser, path):
    page = browser.new_page(java_script_enabled=False)
    page.goto(path.as_uri())
    assert page.locator(".card").count() == 300
    assert page.locator(".outlines").nth(0).is_visible()
    assert not page.locator(".tools").is_visible()
    page.close()
