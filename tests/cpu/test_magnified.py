"""Images that the network sees magnified: in bands, and back at their own size."""

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from nucleiseg import Model, Segmenter, images, resizing
from nucleiseg._native import cpu

DATA = Path(__file__).parents[1] / "data" / "images"
OUTPUTS = ("mask", "labels", "maps")
EXAMPLES = sorted(DATA.glob("*.png"))
SMALLEST_TILE = 2 * Model.load("nuclei-fast").halo + Model.load("nuclei-fast").stride


@pytest.fixture(scope="module")
def segmenter():
    return Segmenter("nuclei-fast", device="cpu")


@pytest.fixture(scope="module")
def in_bands():
    """A segmenter that makes maps of even small images that are magnified in bands."""
    made = Segmenter("nuclei-fast", device="cpu")
    made._pipeline.native.whole = 0
    return made


@pytest.fixture(scope="module")
def tissue():
    return images.read(DATA / "purple_on_violet.png")[:230, :190]


def outputs(segmenter: Segmenter, image: np.ndarray, scale: float) -> list[np.ndarray]:
    found = segmenter.analyze(image, scale=scale)
    return [found.mask, found.labels, found.maps]


def check_alike(found: list[np.ndarray], expected: list[np.ndarray]) -> None:
    for name, one, other in zip(OUTPUTS, found, expected, strict=True):
        np.testing.assert_array_equal(one, other, strict=True, err_msg=name)


@pytest.mark.parametrize("scale", [0.26, 0.5, 0.601, 0.93, 1.3, 2, 5.7])
@pytest.mark.parametrize("tile", [SMALLEST_TILE, 512])
def test_bands_and_tiles_do_not_show(segmenter, tissue, scale, tile):
    expected = outputs(segmenter, tissue, scale)
    assert expected[1].max() > 5 or scale > 5
    small = Segmenter("nuclei-fast", device="cpu", tile=tile)
    small._pipeline.native.whole = 0  # now even small images come in bands
    check_alike(outputs(small, tissue, scale), expected)


@pytest.mark.parametrize("dtype", [">u2", "<i2", ">f4", "f8"])
def test_bands_of_any_type(segmenter, in_bands, tissue, dtype):
    image = tissue[..., 0].astype(dtype)
    expected = outputs(segmenter, image, 0.5)
    check_alike(outputs(in_bands, np.asfortranarray(image), 0.5), expected)


@pytest.mark.parametrize("shape", [(1, 1), (1, 90), (90, 1), (5, 7), (3, 2000)])
def test_bands_of_any_size(segmenter, in_bands, shape):
    image = np.random.default_rng(5).integers(0, 256, shape, np.uint8)
    for scale in (0.25, 0.9):
        expected = outputs(segmenter, image, scale)
        assert [one.shape[:2] for one in expected] == [shape] * 3
        check_alike(outputs(in_bands, image, scale), expected)


def test_a_constant_image_has_nothing_in_it(in_bands):
    for one in outputs(in_bands, np.full((70, 90), 7, np.uint8), 0.5):
        assert not one.any()


@pytest.mark.parametrize("scale", [0.4, 0.6, 0.85, 1, 1.7, "auto"])
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_label_is_one_piece_and_lies_in_the_mask(segmenter, path, scale):
    found = segmenter.analyze(path, scale=scale)
    mask, labels = found.mask, found.labels
    assert labels.any()
    assert mask[labels > 0].all()
    for label, box in enumerate(ndimage.find_objects(labels), 1):
        assert ndimage.label(labels[box] == label, np.ones((3, 3)))[1] == 1, label
    _, first = np.unique(labels[labels > 0], return_index=True)
    assert (np.diff(first) > 0).all()
    assert len(first) == labels.max()


def test_what_the_mask_has_beside_the_labels_is_not_counted_as_nuclei(segmenter):
    """It is smaller, fainter or less probable than the model's nuclei."""
    model = segmenter.model
    for path in EXAMPLES:
        found = segmenter.analyze(path, scale=1)
        pieces, count = ndimage.label(found.mask, np.ones((3, 3)))
        labelled = np.unique(pieces[found.labels > 0])
        for piece in set(range(1, count + 1)) - set(labelled.tolist()):
            there = pieces == piece
            probability, distance = found.maps[there].T
            assert (
                there.sum() < model.min_area
                or distance.max() < 1.3 * model.min_peak
                or probability.mean() < model.min_probability
            )


def test_maps_may_come_in_rows_of_any_number(segmenter, tissue):
    seen = resizing.size(tissue.shape, 0.4)
    maps = segmenter.segment(cpu.resize(tissue, *seen), "maps", scale=1)
    results = []
    for rows in (1, 7, 100, seen[0]):
        own = cpu.OwnSize(OUTPUTS, tissue.shape[:2], seen, segmenter.model.label_rule(), 2)
        for first in range(0, seen[0], rows):
            own.add(maps[first : first + rows])
        results.append(list(own.results()))
    for result in results[1:]:
        check_alike(result, results[0])


def test_wide_images_have_low_bands():
    """So that a band takes no more memory than the image's other arrays."""
    for shape in ((10_000, 10_000), (2_000, 50_000)):
        seen = resizing.size(shape, 0.25)
        band = 2 * cpu.band_rows(shape, seen) * seen[1]
        assert band < 4.2 * shape[0] * shape[1]


@pytest.mark.parametrize(("length", "seen"), [(4, 4), (3, 6), (2, 3), (77, 250), (1, 9)])
def test_a_pixel_is_decoded_where_its_centre_lies(length, seen):
    probability = np.arange(seen, dtype=np.uint8)
    maps = np.zeros((seen, seen, 2), np.uint8)
    centres = ((np.arange(length) + 0.5) * seen / length).astype(int)
    for threshold in range(0, seen, max(1, seen // 20)):
        rule = (min(threshold, 255), 0, 0, 0, 0, 0, None)
        for axis, values in ((0, probability[:, None]), (1, probability[None])):
            maps[..., 0] = values
            own = cpu.OwnSize(["mask"], (length, length), (seen, seen), rule)
            own.add(maps)
            (mask,) = own.results()
            expected = probability[centres] >= threshold
            np.testing.assert_array_equal(
                mask, np.broadcast_to(expected[:, None] if axis == 0 else expected, mask.shape)
            )


def test_maps_that_do_not_fit_are_refused():
    rule = Model.load("nuclei-fast").label_rule()
    own = cpu.OwnSize(["mask"], (3, 4), (6, 8), rule)
    with pytest.raises(
        ValueError, match=r"maps: got shape \(2, 7, 2\); accepted are up to 6 rows of 8"
    ):
        own.add(np.zeros((2, 7, 2), np.uint8))
    own.add(np.zeros((4, 8, 2), np.uint8))
    with pytest.raises(ValueError, match="maps: got 4 rows; accepted are 6"):
        own.results()
    with pytest.raises(ValueError, match="accepted are up to 2 rows"):
        own.add(np.zeros((3, 8, 2), np.uint8))
    with pytest.raises(ValueError, match="seen: got a size below the image's"):
        cpu.OwnSize(["mask"], (3, 4), (6, 3), rule)
