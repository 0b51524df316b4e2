import hashlib
import itertools
import json
import multiprocessing
import pickle
import shutil
import subprocess
import sys
import threading
import tracemalloc
import warnings
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import nucleiseg
from nucleiseg import Model, ModelError, Segmenter, images

DATA = Path(__file__).parents[1] / "data"
EXAMPLES = sorted((DATA / "images").iterdir())
SMALLEST_TILE = 2 * Model.load().halo + Model.load().stride


@pytest.fixture(scope="module")
def segmenter():
    return Segmenter()


@pytest.fixture(scope="module")
def tissue():
    """1,024 x 1,280 pixels of real tissue: an example and its mirror images, side by side."""
    image = images.read(DATA / "images" / "purple_on_violet.png")
    pair = np.concatenate([image, image[:, ::-1]], axis=1)
    return np.tile(np.concatenate([pair, pair[::-1]]), (2, 2, 1))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_real_images_give_masks_that_agree_with_the_true_nuclei(segmenter, path):
    truth = images.read(DATA / "labels" / path.name) > 0
    mask = segmenter.segment(images.read(path))
    assert mask.dtype == np.bool_
    # The weakest example, pale H&E, has 0.69; a broken pipeline falls below 0.5.
    assert 2 * (mask & truth).sum() / (mask.sum() + truth.sum()) > 0.65


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_labels_number_most_nuclei_in_raster_order(segmenter, path):
    truth = images.read(DATA / "labels" / path.name)
    labels = segmenter.segment(path, output="labels")
    assert labels.dtype == np.int32
    ids, first = np.unique(labels[labels > 0], return_index=True)
    assert ids.tolist() == list(range(1, labels.max() + 1))
    assert (np.diff(first) > 0).all()
    assert 0.5 < labels.max() / truth.max() < 2


def test_a_path_gives_what_its_array_gives(segmenter):
    path = EXAMPLES[0]
    from_path = segmenter.segment(str(path), "maps")
    np.testing.assert_array_equal(from_path, segmenter(images.read(path), "maps"))


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (31, 33), (257, 65), (300, 301, 3)])
def test_any_size_comes_back_at_its_own_size(segmenter, shape):
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    for output, depth in (("mask", ()), ("labels", ()), ("maps", (2,))):
        assert segmenter.segment(image, output).shape == (*shape[:2], *depth)


def test_the_scale_and_type_of_intensities_do_not_matter(segmenter):
    image = images.read(DATA / "images" / "fluorescence_small.png")
    expected = segmenter.segment(image, "maps", scale=1).astype(int)
    wider = image.astype(np.uint16) * 200 + 1000
    for same in (wider, wider.astype(np.float32) / 7, wider.astype(float), wider[..., None]):
        # Stretching rounds to 256 levels; half a level of the input moves a map by a few.
        assert np.abs(segmenter.segment(same, "maps", scale=1) - expected).max() <= 16
    opaque = np.dstack([image] * 3 + [np.full_like(image, 255)])
    np.testing.assert_array_equal(segmenter.segment(opaque, "maps", scale=1), expected)


@pytest.mark.parametrize("value", [0, 128, 255])
@pytest.mark.parametrize("shape", [(64, 64), (300, 200, 3)])
def test_a_constant_image_has_no_nuclei_and_causes_no_warning(segmenter, value, shape):
    image = np.full(shape, value, np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not segmenter.segment(image).any()
        assert not segmenter.segment(image, "labels").any()


def test_labels_are_the_same_for_any_number_of_threads(tissue):
    one, two, four = (Segmenter(threads=n).segment(tissue, "labels") for n in (1, 2, 4))
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(one, four)


def test_labels_are_the_same_for_any_batch_size(tissue):
    one, eight = (Segmenter(tile=512, batch=n).segment(tissue, "labels") for n in (1, 8))
    np.testing.assert_array_equal(one, eight)


@pytest.mark.parametrize("tile", [SMALLEST_TILE, 512, 1024])
def test_maps_are_the_same_for_any_tile_size(tissue, tile):
    """The halo is the network's whole field of view, so seams leave no trace."""
    whole = Segmenter(tile=2048).segment(tissue, "maps")
    assert whole[..., 0].max() > 200
    np.testing.assert_array_equal(Segmenter(tile=tile).segment(tissue, "maps"), whole)


def test_the_mask_of_bands_is_the_mask_of_the_whole(tissue):
    segmenter = Segmenter(tile=512)
    maps = segmenter.segment(tissue, "maps")
    np.testing.assert_array_equal(segmenter.segment(tissue), segmenter.decode(maps))
    np.testing.assert_array_equal(
        segmenter.segment(tissue, "labels"), segmenter.decode(maps, "labels")
    )


def test_a_mask_needs_memory_for_a_row_of_tiles_not_for_the_image():
    segmenter = Segmenter(tile=512)
    column = np.random.default_rng(0).integers(0, 256, (20_000, 256), np.uint8)
    segmenter.segment(column[:1024], scale=1)
    tracemalloc.start()
    mask = segmenter.segment(column, scale=1)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    row_of_tiles = 512 * 256 * (3 + 3 + 2 + 2)
    assert peak < mask.nbytes + 2 * row_of_tiles


def test_many_threads_may_share_a_segmenter(segmenter):
    expected = {path: segmenter.segment(path, "labels") for path in EXAMPLES}
    wrong = []

    def work():
        for path in EXAMPLES:
            if not np.array_equal(segmenter.segment(path, "labels"), expected[path]):
                wrong.append(path)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_map_gives_what_segment_gives_in_order(segmenter):
    for labels, path in zip(segmenter.map(EXAMPLES, output="labels"), EXAMPLES, strict=True):
        np.testing.assert_array_equal(labels, segmenter.segment(path, "labels"))


@pytest.mark.parametrize("size", [{"scale": 1.5}, {"mpp": 0.2}, {"diameter": 50}, {}])
def test_map_takes_a_size_that_holds_for_every_image(segmenter, size):
    found = list(segmenter.map(EXAMPLES[:3], "labels", **size))
    for path, labels in zip(EXAMPLES, found, strict=False):
        np.testing.assert_array_equal(labels, segmenter.segment(path, "labels", **size))


def test_map_refuses_a_wrong_size_before_the_first_image(segmenter):
    for size, message in (
        ({"mpp": -1}, "mpp: got -1; accepted are numbers above 0"),
        ({"scale": 2, "diameter": 30}, "diameter and scale: got both"),
    ):
        with pytest.raises(ValueError, match=message):
            segmenter.map(iter(()), **size)


def test_map_takes_an_endless_stream_and_reads_only_a_little_ahead(segmenter):
    image = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    taken = []

    def stream():
        for number in itertools.count():
            taken.append(number)
            yield image

    masks = segmenter.map(stream())
    for _ in range(5):
        next(masks)
    masks.close()
    assert len(taken) <= 5 + 3


def test_map_raises_a_bad_image_in_its_turn(segmenter):
    good = np.zeros((32, 32), np.uint8)
    masks = segmenter.map([good, good[:0], good])
    next(masks)
    with pytest.raises(ValueError, match="image"):
        next(masks)


def test_segment_keeps_one_segmenter():
    nucleiseg.segment(np.zeros((8, 8), np.uint8))
    first = nucleiseg.default._default
    nucleiseg.segment(np.zeros((8, 8), np.uint8))
    assert nucleiseg.default._default is first


BAD_ARRAYS = {
    "empty": (np.zeros((0, 5), np.uint8), ValueError, r"image.*\(0, 5\)"),
    "one axis": (np.zeros(5, np.uint8), ValueError, r"image.*\(5,\)"),
    "four axes": (np.zeros((2, 5, 5, 3), np.uint8), ValueError, r"image.*\(2, 5, 5, 3\)"),
    "two channels": (np.zeros((5, 5, 2), np.uint8), ValueError, r"image.*\(5, 5, 2\)"),
    "complex": (np.zeros((5, 5), complex), TypeError, "image.*complex128.*uint8.*float64"),
    "object": (np.zeros((5, 5), object), TypeError, "image.*object.*uint8.*float64"),
    "64-bit integer": (np.zeros((5, 5), np.int64), TypeError, "image.*int64.*uint8.*float64"),
    "all NaN": (np.full((5, 5), np.nan), ValueError, "image.*all 25.*finite|image.*25 of 25"),
    "some NaN": (np.array([[1.0, np.nan]]), ValueError, "image.*1 of 2"),
    "infinite": (np.array([[1.0, np.inf]], np.float32), ValueError, "image.*1 of 2"),
}


@pytest.mark.parametrize("name", BAD_ARRAYS)
def test_a_bad_array_is_refused_by_name(segmenter, name):
    array, error, message = BAD_ARRAYS[name]
    for output in ("mask", "labels", "maps"):
        with pytest.raises(error, match=message):
            segmenter.segment(array, output)


def test_a_missing_file_is_refused_by_name(segmenter, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.png"):
        segmenter.segment(tmp_path / "nowhere.png")


def test_a_truncated_file_is_refused_by_name(segmenter, tmp_path):
    whole = EXAMPLES[0].read_bytes()
    (tmp_path / "half.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"half\.png"):
        segmenter.segment(tmp_path / "half.png")


BAD_ARGUMENTS = {
    "device": {"device": "tpu"},
    "threads": {"threads": 0},
    "tile": {"tile": 100},
    "batch": {"batch": 0},
}


@pytest.mark.parametrize("name", BAD_ARGUMENTS)
def test_a_bad_argument_is_refused_by_name(name):
    with pytest.raises(ValueError, match=rf"^{name}: got .*accepted"):
        Segmenter(**BAD_ARGUMENTS[name])


def test_an_unknown_output_is_refused_before_any_work(segmenter):
    with pytest.raises(ValueError, match="output: got 'masks'; accepted are 'mask', 'labels'"):
        segmenter.segment(np.zeros((0, 0)), "masks")
    with pytest.raises(ValueError, match="output"):
        segmenter.map([], "masks")


def test_cuda_is_refused_where_there_is_none():
    with pytest.raises(RuntimeError, match="device: 'cuda'"):
        Segmenter(device="cuda")


@pytest.fixture
def copied_model(tmp_path):
    path = Model.load().path
    for suffix in (".onnx", ".json"):
        shutil.copy(path.with_suffix(suffix), tmp_path)
    return tmp_path / path.name


def test_a_model_may_lie_anywhere(copied_model, segmenter):
    copied = Segmenter(copied_model).segment(EXAMPLES[0], "maps")
    np.testing.assert_array_equal(copied, segmenter.segment(EXAMPLES[0], "maps"))


def test_it_can_be_pickled_and_keeps_its_settings(copied_model, tissue):
    segmenter = Segmenter(copied_model, device="cpu", threads=1, tile=512, batch=2)
    again = pickle.loads(pickle.dumps(segmenter))
    assert again.model == segmenter.model
    for name in ("backend_name", "threads", "tile", "batch"):
        assert getattr(again, name) == getattr(segmenter, name)
    expected = segmenter.segment(tissue, "labels")
    np.testing.assert_array_equal(again.segment(tissue, "labels"), expected)


def test_processes_may_share_one(segmenter):
    """Processes that are started afresh, as those of dask are."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, context) as pool:
        found = list(pool.map(segmenter.segment, EXAMPLES[:2]))
    for path, mask in zip(EXAMPLES, found, strict=False):
        np.testing.assert_array_equal(mask, segmenter.segment(path))


def test_one_that_was_pickled_with_another_model_is_refused(copied_model):
    pickled = pickle.dumps(Segmenter(copied_model, device="cpu"))
    description = copied_model.with_suffix(".json")
    copied_model.write_bytes(copied_model.read_bytes() + b"\0")
    checksum = hashlib.sha256(copied_model.read_bytes()).hexdigest()
    content = json.loads(description.read_text()) | {"sha256": checksum}
    description.write_text(json.dumps(content))
    with pytest.raises(ModelError, match=r"model: .* is not the file of the Segmenter that was"):
        pickle.loads(pickled)


def test_one_with_a_backend_of_its_own_cannot_be_pickled(segmenter):
    own = Segmenter(device=segmenter._backend)
    with pytest.raises(TypeError, match="device: a Segmenter with a Backend of its own cannot be"):
        pickle.dumps(own)


def test_a_corrupted_model_is_refused_by_its_checksum(copied_model):
    content = bytearray(copied_model.read_bytes())
    content[len(content) // 2] ^= 1
    copied_model.write_bytes(content)
    with pytest.raises(ModelError, match=r"model: .*\.onnx has SHA-256 .* damaged"):
        Segmenter(copied_model)


def test_a_truncated_model_is_refused(copied_model):
    copied_model.write_bytes(copied_model.read_bytes()[:1000])
    with pytest.raises(ModelError, match="SHA-256"):
        Segmenter(copied_model)


def test_a_file_that_is_no_network_is_refused_even_with_a_right_checksum(copied_model):
    import hashlib

    copied_model.write_bytes(b"not a network")
    description = json.loads(copied_model.with_suffix(".json").read_text())
    description["sha256"] = hashlib.sha256(b"not a network").hexdigest()
    copied_model.with_suffix(".json").write_text(json.dumps(description))
    with pytest.raises(ModelError, match=r"model: .*\.onnx has a field of kind 6"):
        Segmenter(copied_model)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read"),
        ("{", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        (" " * 2**21, r"has 2,097,152 bytes; accepted are up to 1,048,576"),
        ("[]", "holds a list"),
        ("{}", "lacks the entry"),
    ],
)
def test_a_model_without_its_description_is_refused(copied_model, content, message):
    description = copied_model.with_suffix(".json")
    description.unlink() if content is None else description.write_text(content)
    with pytest.raises(ModelError, match=f"model: .*{message}"):
        Segmenter(copied_model)


@pytest.mark.parametrize(
    ("entry", "value", "accepted"),
    [
        ("name", 7, "printable text"),
        ("name", "\ud800", "printable text"),
        ("data", "all", "a list"),
        ("sha256", "abc", "SHA-256 in hexadecimal"),
        ("input.stride", 0, "a whole number from 2 to 256"),
        ("input.stride", 32.0, "a whole number from 2 to 256"),
        ("input.stride", True, "a whole number from 2 to 256"),
        ("input.halo", 161, "a multiple of 32 from 0 to 512"),
        ("input.halo", 10**30, "a multiple of 32 from 0 to 512"),
        ("input.percentiles", [1, 2, 3], "two numbers"),
        ("input.percentiles", [99, 1], "two numbers, the lower first"),
        ("input.mpp", float("nan"), "a number from 0.001 to 1000"),
        ("input.diameter", "30", "a number from 1 to 1000"),
        ("decoding.nucleus_threshold", 256, "a whole number from 0 to 255"),
        ("decoding.min_area", None, "a whole number from 0 to 1048576"),
        ("decoding.min_probability", 256, "a whole number from 0 to 255"),
        ("decoding.merging.least_prominence", 256, "a whole number from 0 to 255"),
        ("decoding.merging.most_prominence", 0, "a whole number from 1 to 255"),
        ("decoding.merging.units", [[1] * 13] * 15, "16 lists"),
        ("decoding.merging.units", [[1] * 12] * 16, "13 whole numbers from -1048576 to 1048576"),
        ("decoding.merging.output", [1.5] * 17, "17 whole numbers from -1048576 to 1048576"),
        ("decoding.merging.output", [2**20 + 1] * 17, "17 whole numbers from"),
    ],
)
def test_a_wrong_entry_of_a_description_is_named(copied_model, entry, value, accepted):
    path = copied_model.with_suffix(".json")
    description = json.loads(path.read_text())
    *folders, key = entry.split(".")
    place = description
    for folder in folders:
        place = place[folder]
    place[key] = value
    path.write_text(json.dumps(description))
    with pytest.raises(ModelError, match=rf"\.json: {entry}: got .*; accepted is {accepted}"):
        Segmenter(copied_model)


def test_a_missing_model_is_refused_by_name(tmp_path):
    with pytest.raises(ModelError, match=r"model: cannot read .*none\.onnx"):
        Segmenter(tmp_path / "none.onnx")


def test_importing_loads_no_engine_and_nothing_for_training():
    code = "import sys, nucleiseg; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    top = {name.split(".")[0] for name in loaded.stdout.split()}
    assert not top & {"tensorflow", "keras", "matplotlib", "dask", "openvino", "cv2", "onnx"}
