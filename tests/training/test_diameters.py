"""The network that learns the diameters of nuclei: its targets, crops, losses and a short run."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from skimage import measure, segmentation
from skimage.draw import disk

from nucleiseg import images
from training import augment, data, losses, sizes, targets, unet, weights
from training.targets import DIAMETERS, code

DATA = Path(__file__).parents[1] / "data"
SIDE = 128
FLOAT = weights.FOLDER / "nuclei-fast.npz"
NO_STYLES = np.empty((0, 2, 3), np.float32)

numpy = unet.keras.ops.convert_to_numpy


def diameters_of(codes: np.ndarray) -> np.ndarray:
    return DIAMETERS[0] * (DIAMETERS[1] / DIAMETERS[0]) ** (codes / 255)


def discs(*sizes: int) -> np.ndarray:
    """Return labels of discs of these diameters, side by side."""
    labels = np.zeros((200, 200 * len(sizes)), np.int32)
    for number, size in enumerate(sizes):
        labels[disk((100, 100 + 200 * number), size / 2)] = number + 1
    return labels


def test_a_code_stands_for_a_diameter_within_one_percent():
    expected = np.geomspace(*DIAMETERS, 50)
    np.testing.assert_allclose(diameters_of(code(expected).astype(float)), expected, rtol=0.01)
    assert code(np.array([0.5, 3, 192, 900])).tolist() == [0, 0, 255, 255]


def test_each_pixel_has_the_diameter_of_the_nearest_nucleus():
    labels = discs(10, 40)
    found = targets.size_targets(labels)
    np.testing.assert_array_equal(found.nucleus, np.where(labels > 0, 255, 0))
    assert not found.emphasis.any()
    small, large = found.distance[:, :190], found.distance[:, 220:]
    _, *areas = np.bincount(labels.ravel())
    for part, area in zip((small, large), areas, strict=True):
        assert np.unique(part).size == 1
        expected = 2 * np.sqrt(area / np.pi)
        assert diameters_of(float(part[0, 0])) == pytest.approx(expected, rel=0.01)


def test_a_nucleus_that_the_border_cuts_has_the_usual_diameter_at_least():
    labels = discs(40, 40)[:, 100:]
    found = targets.size_targets(labels).distance
    cut, whole = (2 * np.sqrt(n / np.pi) for n in np.bincount(labels.ravel())[1:])
    usual = np.average([cut, whole], weights=[cut**2, whole**2])
    assert cut < 0.9 * usual < usual < whole
    assert diameters_of(float(found[100, 0])) == pytest.approx(usual, rel=0.01)
    assert diameters_of(float(found[100, 200])) == pytest.approx(whole, rel=0.01)


def test_an_image_without_nuclei_has_no_diameters():
    assert not np.any(targets.size_targets(np.zeros((9, 8), np.int32)))


def test_crops_bring_nuclei_to_all_diameters_and_say_which():
    settings = dataclasses.replace(augment.SIZES, blank=0, usual=0, elastic=0)
    labels = discs(20, 20, 20)
    picture = np.repeat(np.where(labels > 0, 200, 20).astype(np.uint8)[..., None], 3, axis=-1)
    sample = data.Sample("", picture, picture, labels, "fluorescence", "")
    material = augment.prepare(sample, settings)
    rng = np.random.default_rng(0)
    seen = []
    for _ in range(200):
        _, maps, _ = augment.crop(material, NO_STYLES, rng, settings)
        parts = measure.label(maps[..., 0] > 127)
        for part in measure.regionprops(segmentation.clear_border(parts)):
            codes, diameter = maps[..., 1][parts == part.label], part.equivalent_diameter_area
            assert np.ptp(codes.astype(int)) <= 1
            # A disc is whole pixels: half of one on either side.
            assert diameters_of(codes.mean()) == pytest.approx(diameter, rel=0.05, abs=1)
            seen.append(diameter)
    assert min(seen) < 5
    assert max(seen) > 60


def test_the_loss_of_diameters_counts_in_nuclei_alone_and_each_crop_the_same():
    target = np.zeros((2, 16, 16, 3), np.float32)
    target[0, :2, :2, 0] = target[1, :12, :12, 0] = 1
    target[..., 1] = 0.5
    found = np.where(target[..., :1] == 1, [1 - 1e-6, 0.5], [1e-6, 0.9]).astype(np.float32)
    nucleus, size = numpy(losses.of_sizes(found, target))
    assert nucleus == pytest.approx(0, abs=0.01)
    assert size == pytest.approx(0, abs=1e-4)
    wrong = [found.copy(), found.copy()]
    for number in (0, 1):
        wrong[number][number, ..., 1] = 0.7
    small, large = (float(numpy(losses.of_sizes(one, target))[1]) for one in wrong)
    share = (144 / 194) / (4 / 54)
    assert large == pytest.approx(share * small, rel=0.01)  # without the 50 pixels it were alike
    assert small > 0.01


def test_a_short_run_writes_a_model_that_measures(tmp_path, monkeypatch):
    monkeypatch.setattr(augment, "SIZES", dataclasses.replace(augment.SIZES, size=SIDE))
    monkeypatch.setattr(sizes, "MOMENTUM", 0.5)
    path = tmp_path / "sizes.onnx"
    arguments = [f"--data={DATA}", f"--weights={FLOAT}", f"--output={path}"]
    sizes.main([*arguments, "--steps=30", "--rate=1e-3", "--batch=4"])
    output = json.loads(path.with_suffix(".json").read_text())["output"]
    assert (output["maps"], output["diameters"]) == (["nucleus", "diameter"], list(DIAMETERS))
    image = images.read(DATA / "images" / "purple_on_violet.png")[:256, :320]
    labels = images.read(DATA / "labels" / "purple_on_violet.png")[:256, :320]
    session = onnxruntime.InferenceSession(path)
    (cells,) = session.run(None, {"tiles": data.normalized(image)[None]})
    maps = numpy(unet.spread(cells.astype(np.float32)))[0]
    begun = numpy(weights.load(FLOAT)(data.normalized(image)[None].astype(np.float32)))[0]
    expected = targets.size_targets(labels.astype(np.int32)).distance[labels > 0]
    before = np.abs(255 * begun[..., 1][labels > 0] - expected).mean()
    after = np.abs(maps[..., 1][labels > 0] - expected).mean()
    assert after < 0.8 * before
