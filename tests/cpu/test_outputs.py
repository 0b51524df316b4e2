from pathlib import Path

import numpy as np
import pytest

from nucleiseg import images, outputs
from nucleiseg.outputs import FORMATS, overlays
from nucleiseg.result import Result

DATA = Path(__file__).parents[1] / "data"
NAMES = sorted(path.name for path in (DATA / "images").iterdir())


def truth(name):
    labels = images.read(DATA / "labels" / name).astype(np.int32)
    return Result(images.read(DATA / "images" / name), labels > 0, labels)


@pytest.fixture(params=NAMES)
def result(request):
    return truth(request.param)


def test_every_example_image_has_its_labels(result):
    assert result.image.shape[:2] == result.labels.shape
    np.testing.assert_array_equal(np.unique(result.labels), np.arange(len(result) + 1))


def test_a_mask_is_8_bits_of_0_and_255(tmp_path, result):
    path = FORMATS["mask"].save(tmp_path / "a", result)
    assert path == tmp_path / "a_mask.png"
    saved = images.read(path)
    assert saved.dtype == np.uint8
    np.testing.assert_array_equal(saved, np.where(result.mask, 255, 0))


def test_labels_are_a_16_bit_png(tmp_path, result):
    path = FORMATS["labels"].save(tmp_path / "a", result)
    assert path == tmp_path / "a_labels.png"
    saved = images.read(path)
    assert saved.dtype == np.uint16
    np.testing.assert_array_equal(saved, result.labels)


@pytest.mark.parametrize(
    ("nuclei", "name", "dtype"),
    [(65_535, "a_labels.png", np.uint16), (65_536, "a_labels.ome.tif", np.uint32)],
)
def test_labels_beyond_16_bits_become_a_32_bit_tiff(tmp_path, nuclei, name, dtype):
    labels = np.arange(264 * 256, dtype=np.int32).reshape(264, 256)
    labels[labels > nuclei] = 0
    path = FORMATS["labels"].save(tmp_path / "a", Result(labels, labels > 0, labels))
    assert path.name == name
    saved = images.read(path)
    assert saved.dtype == dtype
    np.testing.assert_array_equal(saved, labels)


def test_an_overlay_changes_nothing_of_a_colour_image_but_the_outlines(tmp_path):
    result = truth("hematoxylin_eosin.png")
    saved = images.read(FORMATS["overlay"].save(tmp_path / "a", result))
    changed = (saved != result.image).any(axis=2)
    assert changed.any()
    assert not changed[~result.mask].any()
    np.testing.assert_array_equal(np.unique(saved[changed], axis=0), [[0, 255, 0]])


def test_an_outline_is_one_pixel_wide():
    labels = np.zeros((7, 9), np.int32)
    labels[1:6, 1:5] = 1
    labels[1:6, 5:8] = 2
    expected = labels > 0
    expected[2:5, 2:4] = False
    expected[2:5, 6:7] = False
    drawn = overlays.draw(np.zeros((7, 9, 3), np.uint8), labels)
    np.testing.assert_array_equal(drawn.any(axis=2), expected)


def test_the_outline_differs_from_what_is_beneath(result):
    plain = overlays.draw(result.image, np.zeros_like(result.labels))
    drawn = overlays.draw(result.image, result.labels)
    changed = (drawn != plain).any(axis=2)
    contrast = np.linalg.norm(drawn[changed].astype(float) - plain[changed], axis=1)
    # A quarter of the way from black to white is plain to see.
    assert np.percentile(contrast, 5) > 110


def test_a_dim_image_is_bright_in_the_overlay():
    result = truth("fluorescence_wide.png")
    assert result.image.max() < 200
    drawn = overlays.draw(result.image, np.zeros_like(result.labels))
    assert drawn.max() == 255


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.float32, np.float64])
@pytest.mark.parametrize("channels", [None, 1, 3, 4])
def test_an_overlay_takes_every_depth_and_channel_count(dtype, channels):
    grey = truth("fluorescence_small.png").image
    image = grey if channels is None else np.stack([grey] * channels, axis=2)
    expected = overlays.draw(grey, np.zeros(grey.shape, np.int32))
    drawn = overlays.draw(image.astype(dtype) * 100, np.zeros(grey.shape, np.int32))
    # Rounding may go either way at a level's edge.
    assert np.abs(drawn.astype(int) - expected).max() <= 1


def test_a_constant_image_has_an_overlay():
    drawn = overlays.draw(np.full((8, 8), 7, np.uint16), np.zeros((8, 8), np.int32))
    np.testing.assert_array_equal(drawn, 0)


def stems(names, chosen="mask,labels,overlay"):
    found = [Path("in") / name for name in names]
    return [path.as_posix() for path in outputs.stems(found, Path("out"), outputs.formats(chosen))]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a.png", "b.v2.png"], ["out/a", "out/b.v2"]),
        (["x/a.png"], ["out/a"]),
        (["x/a.png", "y/a.png"], ["out/x/a", "out/y/a"]),
        (["a.png", "x/a.png"], ["out/a", "out/x/a"]),
        (["a.png", "a.jpg", "b.png"], ["out/a.png", "out/a.jpg", "out/b"]),
        (["a.png", "a.jpg", "a.png.tif"], ["out/a.png", "out/a.jpg", "out/a.png.tif"]),
    ],
)
def test_outputs_keep_folders_and_never_share_a_name(names, expected):
    assert stems(names) == expected


@pytest.mark.parametrize("name", ["..png", "...png", ".png", "a.", "..."])
def test_dots_never_become_the_name_of_a_folder(name):
    (stem,) = stems([name])
    assert stem == f"out/{name}"


def test_two_images_of_one_name_that_a_link_keeps_apart_keep_their_folders(tmp_path):
    for name in ("real/below", "in"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "in" / "link").symlink_to(tmp_path / "real" / "below")
    found = [tmp_path / "in" / "b.png", tmp_path / "in" / "link" / ".." / "b.png"]
    named = outputs.stems(found, tmp_path / "out", [])
    assert named == [tmp_path / "out" / "in" / "b", tmp_path / "out" / "real" / "b"]


def test_an_output_never_overwrites_an_image(tmp_path):
    found = [tmp_path / "a.png", tmp_path / "a_mask.png"]
    with pytest.raises(ValueError, match=r"a_mask\.png is one of the images"):
        outputs.stems(found, tmp_path, outputs.formats("mask"))
    assert outputs.stems(found, tmp_path, outputs.formats("labels"))


def test_formats_are_chosen_by_name():
    assert outputs.formats("labels, mask,labels") == [FORMATS["labels"], FORMATS["mask"]]
    for names in ("", "masks", "mask,,labels"):
        with pytest.raises(ValueError, match="accepted are anndata, cellpose, coco"):
            outputs.formats(names)


def test_a_folder_for_outputs_is_made_and_left_empty(tmp_path):
    folder = tmp_path / "new" / "out"
    outputs.prepare(folder)
    outputs.prepare(folder)
    assert list(folder.iterdir()) == []


def test_a_folder_for_outputs_that_cannot_be_written_is_an_error(tmp_path):
    file = tmp_path / "file"
    file.touch()
    for folder in (file, file / "out", Path("/proc/out")):
        with pytest.raises(OSError, match=f"{folder}: no files can be written there"):
            outputs.prepare(folder)
