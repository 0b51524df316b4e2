"""The way of an image through C++ in one call, beside the same way in steps."""

import sys
import threading
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

import nucleiseg
from nucleiseg import Model, Segmenter, images
from nucleiseg._native import cpu
from nucleiseg.engines import native

IMAGES = sorted((Path(__file__).parents[1] / "data" / "images").glob("*.png"))
MODEL = Model.load()
OUTPUTS = ("mask", "labels", "maps")


@pytest.fixture(scope="module")
def device() -> cpu.Device:
    return cpu.Device(native.Engine(MODEL, 2).network, 2)


def pipeline(device: cpu.Device, **changes: object) -> cpu.Pipeline:
    settings = {
        "stride": MODEL.stride,
        "halo": MODEL.halo,
        "tile": 3072,
        "batch": 1,
        "percentiles": MODEL.percentiles,
        "rule": MODEL.label_rule(),
    }
    return cpu.Pipeline(device, **{**settings, **changes})


def in_steps(image: np.ndarray) -> list[np.ndarray]:
    """Do each step of an image that is one tile."""
    limits = cpu.limits(image, *MODEL.percentiles)
    picture = cpu.normalize(image, *limits[:3])
    height, width = image.shape[:2]
    sides = [-(-side // MODEL.stride) * MODEL.stride for side in (height, width)]
    tiles = cpu.gather(picture, np.zeros((1, 2), int), *sides)
    cells = native.Engine(MODEL, 1).infer(tiles)
    maps = np.empty((height, width, 2), np.uint8)
    cpu.assemble(cells, np.zeros((1, 2), int), np.array([[0, height, 0, width]]), maps)
    labels, _ = cpu.label(maps, *MODEL.label_rule())
    return [cpu.mask(maps, MODEL.nucleus_threshold), labels, maps]


@pytest.mark.parametrize("path", IMAGES, ids=lambda path: path.stem)
def test_one_call_gives_what_the_steps_give(device, path):
    image = images.read(path)
    found, limits = pipeline(device).run(image, OUTPUTS)
    assert limits == cpu.limits(image, *MODEL.percentiles)
    for one, expected in zip(found, in_steps(image), strict=True):
        np.testing.assert_array_equal(one, expected, strict=True)


def test_outputs_come_in_the_order_in_which_they_are_wanted(device):
    image = images.read(IMAGES[0])
    mask, labels, maps = pipeline(device).run(image, OUTPUTS)[0]
    for names, expected in (
        (("labels", "mask"), (labels, mask)),
        (("mask",), (mask,)),
        (("maps", "labels"), (maps, labels)),
    ):
        found, _ = pipeline(device).run(image, names)
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one, other, strict=True)


@pytest.mark.parametrize("scale", [0.37, 0.8, 1, 1.6, 4])
def test_maps_at_a_scale_and_their_decoding_are_the_run(device, scale):
    image = images.read(IMAGES[1])[:200, :260]
    one = pipeline(device)
    maps, limits = one.maps(image, scale)
    assert maps.shape[:2] == tuple(max(1, round(side / scale)) for side in image.shape[:2])
    expected, _ = one.run(image, OUTPUTS, scale)
    found = one.decode(maps, OUTPUTS, scale, image.shape[:2])
    for output, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(output, other, strict=True)
    again, known = one.maps(image, scale, limits)
    np.testing.assert_array_equal(again, maps)
    assert known == limits


def test_the_limits_of_a_part_may_be_those_of_the_whole(device):
    image, width = images.read(IMAGES[0]), 416
    one = pipeline(device)
    maps, limits = one.maps(image)
    assert image.shape[1] > width > MODEL.halo
    part, kept = image[:, :width], width - MODEL.halo
    found, _ = one.maps(part, 1.0, limits)
    np.testing.assert_array_equal(found[:, :kept], maps[:, :kept])
    other, _ = one.maps(part, 1.0, (limits[0] / 2, limits[1] / 2, limits[2], 0.0))
    assert not np.array_equal(found, other)


@pytest.mark.parametrize("size", [(1, 1), (5, 9), (77, 200), (154, 100), (300, 401), (231, 300)])
def test_maps_are_enlarged_as_opencv_does(size):
    maps = np.random.default_rng(8).integers(0, 256, (77, 100, 2), np.uint8)
    maps = cv2.GaussianBlur(maps, (5, 5), 2)[: size[0], : size[1]]
    for factor in (1, 1.37, 2, 3.1):
        height, width = (max(side, round(side * factor)) for side in size)
        expected = cv2.resize(
            np.ascontiguousarray(maps), (width, height), interpolation=cv2.INTER_LINEAR
        )
        seen = maps.shape[:2]
        if height < seen[0] or width < seen[1]:
            continue
        for threads in (1, 3):
            found = cpu.enlarge_maps(maps, height, width, threads=threads)
            np.testing.assert_array_equal(found, expected.reshape(found.shape))


def test_python_goes_on_while_it_works(device):
    image = np.tile(images.read(IMAGES[0]), (3, 3, *[1] * (images.read(IMAGES[0]).ndim - 2)))
    work = threading.Thread(target=pipeline(device).run, args=(image, OUTPUTS))
    turns = 0
    work.start()
    while work.is_alive():
        turns += 1
    assert turns > 1000


def test_times_add_up(device):
    before = device.times()
    pipeline(device).run(images.read(IMAGES[0]), OUTPUTS)
    after = device.times()
    assert list(after) == ["prepare", "infer", "assemble", "decode", "pixels"]
    assert all(after[name] > before[name] for name in after)
    height, width = images.read(IMAGES[0]).shape[:2]
    pixels = np.prod([-(-side // MODEL.stride) * MODEL.stride for side in (height, width)])
    assert after["pixels"] - before["pixels"] == pixels


IMAGE = np.zeros((20, 30), np.uint8)
MAPS = np.zeros((20, 30, 2), np.uint8)
WRONG: dict[str, tuple[Callable[[cpu.Device], object], str]] = {
    "twice": (lambda d: pipeline(d).run(IMAGE, ["maps", "maps"]), "outputs: got 'maps' twice"),
    "output": (lambda d: pipeline(d).run(IMAGE, ["masks"]), "outputs: got 'masks'; accepted are"),
    "scale": (lambda d: pipeline(d).run(IMAGE, ["mask"], 0.0), "scale: got 0.0.*from 1/64 to 64"),
    "NaN": (lambda d: pipeline(d).maps(IMAGE, float("nan")), "scale: got nan"),
    "limits": (
        lambda d: pipeline(d).run(IMAGE, ["mask"], 1.0, (float("inf"), 1, 2, 0)),
        "limits: got inf",
    ),
    "wide": (
        lambda d: pipeline(d).run(np.zeros((1, 2**20), np.uint8), ["mask"], 0.5),
        r"image: got 2 x 2097152 pixels as the network would see it",
    ),
    "shape": (
        lambda d: pipeline(d).decode(MAPS, ["mask"], 2.0, (10, 30)),
        "shape: got 10 x 30 for maps of 20 x 30",
    ),
    "larger": (lambda d: pipeline(d).decode(MAPS, ["mask"], 0.5, (21, 30)), "shape: got 21 x 30"),
    "maps": (lambda d: pipeline(d).decode(MAPS[..., 0], ["mask"]), "maps: got shape"),
    "tile": (lambda d: pipeline(d, tile=2 * MODEL.halo), "tile: got"),
    "stride": (lambda d: pipeline(d, tile=3071), "stride, halo, tile: got"),
    "batch": (lambda d: pipeline(d, batch=0), "batch: got 0"),
    "percentiles": (lambda d: pipeline(d, percentiles=(5, 4)), "low, high: got"),
    "rule": (lambda d: pipeline(d, rule=(256, 0, 0, 0, 0, 0, None)), "nucleus_threshold: got 256"),
    "threads": (lambda d: cpu.Device(native.Engine(MODEL, 1).network, 0), "threads: got 0"),
    "network": (lambda d: cpu.Device(cpu.Network(), 1), "network: got one without a last layer"),
}


@pytest.mark.parametrize("outputs", ["mask", 7, [3], None])
def test_outputs_are_a_sequence_of_names(device, outputs):
    with pytest.raises(TypeError, match="outputs: accepted is a sequence of up to three of 'mask'"):
        pipeline(device).run(IMAGE, outputs)
    with pytest.raises(ValueError, match="outputs: got 4 of them; accepted is a sequence of up to"):
        pipeline(device).run(IMAGE, ["mask"] * 4)


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments_are_named(device, name):
    call, message = WRONG[name]
    with pytest.raises(ValueError, match=message):
        call(device)


@pytest.mark.parametrize(
    ("name", "scale"),
    [("fluorescence_small", "auto"), ("hematoxylin_eosin", "auto"), ("fluorescence_small", 1)],
)
def test_few_functions_lie_between_a_caller_and_the_network(name, scale):
    """At most 15 in 5 files, before the first call into the pipeline."""
    segmenter = Segmenter(device="cpu")
    image = images.read(IMAGES[0].with_name(f"{name}.png"))[:256, :256]
    root, walked, arrived = str(Path(nucleiseg.__file__).parent), set(), []

    def watch(frame, event, function):
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(root) and not arrived:
            walked.add((code.co_filename, code.co_name))
        # The first line of a bound method's docstring is its signature.
        if event == "c_call" and "(self: nucleiseg._native.cpu.Pip" in (function.__doc__ or ""):
            arrived.append(function.__name__)

    sys.setprofile(watch)
    try:
        segmenter.segment(image, "labels", scale=scale)
    finally:
        sys.setprofile(None)
    assert arrived
    assert len(walked) <= 15, walked
    assert len({file for file, _ in walked}) <= 5, walked
