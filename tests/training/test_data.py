import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from nucleiseg import images
from training import augment, data, groups

DATA = Path(__file__).parents[1] / "data"
KINDS = {
    "fluorescence_small": "fluorescence",
    "fluorescence_crowded": "fluorescence",
    "fluorescence_wide": "fluorescence",
    "purple_on_white": "purple stain",
    "purple_on_violet": "purple stain",
    "hematoxylin_eosin": "H&E",
    "brightfield_grey": "grey bright-field",
}


@pytest.fixture(scope="module")
def samples():
    return data.load([DATA])


def test_a_folder_of_images_and_labels_is_read_whole(samples):
    assert [sample.name for sample in samples] == sorted(f"data/{stem}" for stem in KINDS)
    for sample in samples:
        stem = Path(sample.name).name
        assert sample.image.shape == (*sample.labels.shape, 3)
        assert sample.labels.max() == images.read(DATA / "labels" / f"{stem}.png").max()


def test_each_example_is_told_to_be_what_it_is(samples):
    assert {Path(sample.name).name: sample.modality for sample in samples} == KINDS


def test_kaggles_layout_gives_the_same_nuclei(samples, tmp_path):
    for sample in samples:
        folder = tmp_path / "stage1_train" / Path(sample.name).name
        (folder / "images").mkdir(parents=True)
        (folder / "masks").mkdir()
        cv2.imwrite(str(folder / "images" / f"{folder.name}.png"), sample.picture)
        for number in range(1, sample.labels.max() + 1):
            mask = np.where(sample.labels == number, 255, 0).astype(np.uint8)
            cv2.imwrite(str(folder / "masks" / f"{number:03d}.png"), mask)
    for sample, again in zip(samples, data.load([tmp_path / "stage1_train"]), strict=True):
        np.testing.assert_array_equal(again.labels, sample.labels)


def test_binary_masks_give_their_components(tmp_path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "gt").mkdir()
    mask = np.zeros((40, 50), np.uint8)
    cv2.circle(mask, (12, 12), 6, 255, -1)
    cv2.circle(mask, (35, 25), 8, 255, -1)
    cv2.imwrite(str(tmp_path / "raw" / "one.jpg"), mask)
    cv2.imwrite(str(tmp_path / "gt" / "one.jpg"), mask)
    (sample,) = data.load([tmp_path])
    assert sample.labels.max() == 2
    agreement = ((sample.labels > 0) == (mask > 0)).mean()
    assert agreement > 0.98  # a JPEG copy moves a few pixels of the outlines


def test_a_folder_without_a_layout_is_refused_by_name(tmp_path):
    with pytest.raises(ValueError, match=f"data: {tmp_path}.*images/ and labels/"):
        data.load([tmp_path])


def test_an_image_without_labels_is_refused_by_name(tmp_path):
    shutil.copytree(DATA / "images", tmp_path / "images")
    (tmp_path / "labels").mkdir()
    with pytest.raises(ValueError, match=r"brightfield_grey\.png has no file of the same stem"):
        data.load([tmp_path])


def test_labels_of_another_size_are_refused_by_name(tmp_path):
    for folder, shape in (("images", (20, 20)), ("labels", (20, 21))):
        (tmp_path / folder).mkdir()
        cv2.imwrite(str(tmp_path / folder / "a.png"), np.zeros(shape, np.uint8))
    with pytest.raises(ValueError, match=r"a\.png is \(20, 20\), its labels are \(20, 21\)"):
        data.load([tmp_path])


def test_a_split_never_cuts_through_a_group_and_is_the_same_again():
    names = [f"set kind/{number}" for number in np.random.default_rng(0).integers(0, 30, 300)]
    chosen = groups.split(names)
    assert 0.05 < chosen.mean() < 0.25
    inside = {name for name, out in zip(names, chosen, strict=True) if out}
    outside = {name for name, out in zip(names, chosen, strict=True) if not out}
    assert not inside & outside
    np.testing.assert_array_equal(chosen, groups.split(names))


def test_a_lone_group_stays_in_training():
    assert not groups.split(["set kind/1"] * 5).any()


def test_crops_of_one_picture_are_one_group(samples):
    wide = next(s.picture for s in samples if s.name.endswith("wide"))
    purple = next(s.picture for s in samples if s.name.endswith("violet"))
    pictures = [wide[:256, :256], wide[:256, 300:556], wide[200:456, 100:356]]
    pictures += [np.ascontiguousarray(p[::-1]) for p in pictures] + [purple[:, :256]]
    names = [f"set/{index}" for index in range(len(pictures))]
    found = groups.look_alike_groups(names, pictures, ["one kind"] * len(names))
    # A picture and its mirror image show the same grain and light.
    assert found[:3] == found[3:6]
    assert found[6] not in found[:6]


def test_patients_are_groups():
    names = ["tnbc/01_1", "tnbc/01_2", "tnbc/02_1"]
    pictures = [np.full((8, 8, 3), 200, np.uint8)] * 3
    found = groups.look_alike_groups(names, pictures, ["H&E"] * 3)
    assert found == ["tnbc/01", "tnbc/01", "tnbc/02"]


def test_a_crop_keeps_image_and_maps_in_place(samples):
    """An image that shows its own nuclei still shows them where the maps say, after any change of
    place."""
    plain = augment.Settings(
        lighting=0, shading=0, invert=0, blur=0, noise=0, jpeg=0, stain=0, swap_channels=0, blank=0
    )
    rng = np.random.default_rng(0)
    for sample in samples:
        targets = sample.targets()
        picture = np.repeat(targets.nucleus[..., None], 3, axis=-1)
        painted = data.Sample("", picture, picture, sample.labels, "fluorescence", "")
        for _ in range(10):
            image, maps = augment.crop(painted, targets, rng, plain)
            assert image.shape == maps.shape == (256, 256, 3)
            # Shrinking blurs the picture a little before it samples it, but not the maps.
            assert np.abs(image[..., 0].astype(int) - maps[..., 0]).mean() < 8


def test_every_change_of_appearance_leaves_a_picture(samples):
    eager = augment.Settings(
        lighting=1, shading=1, invert=0.5, blur=1, noise=1, jpeg=1, stain=1, swap_channels=1
    )
    rng = np.random.default_rng(0)
    for sample in samples:
        image, maps = augment.crop(sample, sample.targets(), rng, eager)
        assert image.dtype == maps.dtype == np.uint8
        assert image.std() > 1
