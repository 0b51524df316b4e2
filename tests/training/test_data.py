import dataclasses
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


def test_names_tell_organs_plates_and_kinds_of_samples():
    names = ["nuinsseg/human_liver_7", "nuinsseg/human_liver_12", "nuinsseg/mouse_muscle_tibia_1"]
    names += ["aitslab/MFGTMPcx7_170702090001_A20f02d0", "aitslab/MFGTMPcx7_170731090001_I12f05d0"]
    names += ["kromp/Neuroblastoma_1", "kromp/normal_1"]
    pictures = [np.full((8, 8), 20, np.uint8)] * len(names)
    found = groups.look_alike_groups(names, pictures, ["fluorescence"] * len(names))
    assert found == [
        "nuinsseg/human_liver",
        "nuinsseg/human_liver",
        "nuinsseg/mouse_muscle_tibia",
        "aitslab/MFGTMPcx7_170702090001",
        "aitslab/MFGTMPcx7_170731090001",
        "kromp/Neuroblastoma fluorescence/1",
        "kromp/normal fluorescence/1",
    ]


def test_a_slide_that_came_out_purple_is_of_the_kind_of_its_series():
    pink, violet = (
        np.full((8, 8, 3), colour, np.uint8) for colour in ((230, 180, 190), (150, 140, 190))
    )
    names = [f"nuinsseg/human_liver_{number}" for number in range(3)]
    assert groups.modalities(names, [pink, violet, pink]) == ["H&E"] * 3
    assert groups.modalities(["other/a", "other/b"], [pink, violet]) == ["H&E", "purple stain"]


def test_organs_plates_and_patients_that_are_held_out_are_named():
    names = [f"{dataset}/{name}" for dataset, out in groups.HELD_OUT.items() for name in out]
    others = ["tnbc/01", "nuinsseg/human_liver", "aitslab/MFGTMPcx7_170702090001"]
    assert groups.split(names + others).tolist() == [True] * len(names) + [False] * len(others)


def test_what_is_held_out_of_one_data_set_does_not_depend_on_the_others():
    one, other = ([f"{name} kind/{n}" for n in range(40)] for name in ("one", "two"))
    alone, both = groups.split(one), groups.split(other + one)
    assert alone.any()
    np.testing.assert_array_equal(both[len(other) :], alone)


UNCHANGED = augment.Settings(
    restyle=0,
    stain=0,
    swap_channels=0,
    tint=0,
    lighting=0,
    shading=0,
    invert=0,
    brown=0,
    greyed=0,
    crowd=0,
    coarse=0,
    blur=0,
    noise=0,
    jpeg=0,
    blank=0,
)
"""Changes of place alone."""

NO_STYLES = np.empty((0, 2, 3), np.float32)


def test_a_crop_keeps_image_and_maps_in_place(samples):
    """An image that shows its own nuclei still shows them where the maps say, after any change of
    place."""
    rng = np.random.default_rng(0)
    for sample in samples:
        picture = np.repeat(sample.targets().nucleus[..., None], 3, axis=-1)
        painted = data.Sample("", picture, picture, sample.labels, "fluorescence", "")
        material = augment.prepare(painted)
        for _ in range(10):
            image, maps, clean = augment.crop(material, NO_STYLES, rng, UNCHANGED)
            assert image.shape == maps.shape == (256, 256, 3)
            np.testing.assert_array_equal(image, clean)
            # Shrinking blurs the picture a little before it samples it, but not the maps.
            assert np.abs(image[..., 0].astype(int) - maps[..., 0]).mean() < 8


def test_every_change_of_appearance_leaves_a_picture(samples):
    eager = augment.Settings(
        restyle=1,
        lighting=1,
        shading=1,
        invert=0.5,
        blur=1,
        noise=1,
        jpeg=1,
        stain=1,
        swap_channels=1,
        tint=1,
        brown=0.5,
        greyed=0.5,
        crowd=0.5,
        blank=0,
    )
    rng = np.random.default_rng(0)
    materials = [augment.prepare(sample) for sample in samples]
    styles = np.array([material.style for material in materials if not material.grey])
    for material in materials:
        image, maps, clean = augment.crop(material, styles, rng, eager)
        assert image.dtype == maps.dtype == clean.dtype == np.uint8
        assert image.std() > 1
        assert (image != clean).any()


def test_colours_can_be_kept(samples):
    """Of settings that change all colours and nothing else nothing is left."""
    every = dict.fromkeys(("restyle", "stain", "swap_channels", "tint", "brown", "greyed"), 1.0)
    eager = dataclasses.replace(UNCHANGED, **every)
    materials = [augment.prepare(sample) for sample in samples]
    styles = np.array([material.style for material in materials if not material.grey])
    for material in materials:
        changed, _, before = augment.crop(material, styles, np.random.default_rng(0), eager)
        assert (changed != before).any()
        kept, _, before = augment.crop(
            material, styles, np.random.default_rng(0), augment.with_own_colours(eager)
        )
        np.testing.assert_array_equal(kept, before)


def test_stained_nuclei_can_be_emphasised_and_grey_ones_are_left(samples):
    plain, favoured = (dataclasses.replace(UNCHANGED, stained=share) for share in (0.0, 1.0))
    for sample in samples:
        material = augment.prepare(sample)
        (_, before, _), (_, after, _) = (
            augment.crop(material, NO_STYLES, np.random.default_rng(0), settings)
            for settings in (plain, favoured)
        )
        expected = before[..., 2] if material.grey else before[..., [0, 2]].max(-1)
        np.testing.assert_array_equal(after[..., 2], expected)
    assert {augment.prepare(sample).grey for sample in samples} == {True, False}


def test_the_background_of_fluorescence_can_be_emphasised(samples):
    plain, favoured = (dataclasses.replace(UNCHANGED, dark=share) for share in (0.0, 0.5))
    for sample in samples:
        material = augment.prepare(sample)
        (_, before, _), (_, after, _) = (
            augment.crop(material, NO_STYLES, np.random.default_rng(0), settings)
            for settings in (plain, favoured)
        )
        expected = before[..., 2].astype(int)
        if sample.modality == "fluorescence":
            expected = np.maximum(expected, np.rint(0.5 * (255 - before[..., 0])))
        np.testing.assert_array_equal(after[..., 2], expected)
    assert "fluorescence" in {sample.modality for sample in samples}


def test_a_coarse_crop_has_lost_detail_and_nothing_has_moved(samples):
    for sample in samples:
        material = augment.prepare(sample)
        (fine, maps, clean), (coarse, same_maps, unchanged) = (
            augment.crop(
                material,
                NO_STYLES,
                np.random.default_rng(0),
                dataclasses.replace(UNCHANGED, coarse=share),
            )
            for share in (0, 1)
        )
        np.testing.assert_array_equal(maps, same_maps)
        np.testing.assert_array_equal(clean, unchanged)
        before, after = (image.mean(-1) for image in (fine, coarse))
        assert np.abs(np.diff(after)).sum() < 0.95 * np.abs(np.diff(before)).sum()
        moved = [np.abs(np.roll(after, shift, 1) - before).mean() for shift in (-1, 0, 1)]
        assert np.argmin(moved) == 1


def test_small_nuclei_are_coarsened_less_than_large_ones():
    image = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)

    def contrast(diameter):
        rng = np.random.default_rng(0)
        return [augment._coarse(image, diameter, rng).std() for _ in range(10)]

    small, middle, large, none = map(contrast, (6.0, 10.0, 40.0, np.nan))
    assert (np.array(small) > middle).all()
    assert (np.array(middle) > large).all()
    assert none == large


@pytest.mark.parametrize(
    ("diameter", "low", "high"),
    [
        (np.nan, 0.4, 2.5),  # no nuclei: the whole range
        (24.0, 0.4, 2.5),
        (14.0, 0.5, 2.5),  # not below 7 pixels across
        (40.0, 0.4, 1.5),  # not above 60 pixels across
        (4.0, 1.0, 2.5),  # already too small: only larger
        (90.0, 0.4, 1.0),  # already too large: only smaller
    ],
)
def test_zoom_spans_its_range_as_far_as_nuclei_stay_of_a_size_that_the_network_sees(
    diameter, low, high
):
    settings, rng = augment.Settings(), np.random.default_rng(0)
    draws = np.array([augment._zoom(diameter, rng, settings) for _ in range(2000)])
    # Half of the draws are near the image's own magnification, whatever its nuclei.
    lowest, highest = min(low, settings.near[0]), max(high, settings.near[1])
    assert draws.min() >= lowest
    assert draws.max() <= highest
    assert draws.min() < 1.05 * lowest
    assert draws.max() > 0.95 * highest
    near = (draws >= settings.near[0]) & (draws <= settings.near[1])
    assert near.mean() > 0.5


def test_the_diameter_is_the_median_of_the_nuclei():
    labels = np.zeros((60, 60), np.int32)
    for number, (centre, radius) in enumerate([(8, 4), (25, 5), (45, 9)], start=1):
        disc = cv2.circle(np.zeros(labels.shape, np.uint8), (centre, centre), radius, 1, -1)
        labels[disc > 0] = number
    picture = np.zeros((60, 60, 3), np.uint8)
    sample = data.Sample("", picture, picture, labels, "H&E", "")
    # A disc drawn on pixels is a little larger than the circle it stands for.
    assert augment.prepare(sample).diameter == pytest.approx(10, abs=1)
    empty = data.Sample("", picture, picture, 0 * labels, "H&E", "")
    assert np.isnan(augment.prepare(empty).diameter)


def test_restyling_changes_the_colours_and_keeps_the_geometry(samples):
    one, other = (
        augment.prepare(sample)
        for sample in samples
        if sample.name.endswith(("hematoxylin_eosin", "purple_on_violet"))
    )
    crops = [
        augment.crop(
            one,
            other.style[None],
            np.random.default_rng(seed),
            dataclasses.replace(UNCHANGED, restyle=restyle),
        )
        for restyle in (0, 1)
        for seed in range(5)
    ]
    for (plain, maps, _), (restyled, same_maps, _) in zip(crops[:5], crops[5:], strict=True):
        np.testing.assert_array_equal(maps, same_maps)
        before, after = (augment._lab(image).reshape(-1, 3) for image in (plain, restyled))
        # Colours leave the gamut and are clipped, so lightness is not an exact line of itself.
        assert np.corrcoef(before[:, 0], after[:, 0])[0, 1] > 0.95
        distances = [np.abs(lab.mean(0) - other.style[0]).sum() for lab in (before, after)]
        assert distances[1] < distances[0]


def test_a_tint_keeps_one_channel_in_full(samples):
    grey = next(sample.image for sample in samples if sample.modality == "fluorescence")
    rng = np.random.default_rng(0)
    for _ in range(10):
        tinted = augment._tinted(grey, rng)
        assert any(np.array_equal(tinted[..., channel], grey[..., 0]) for channel in range(3))
        assert (tinted <= grey).all()
        assert (tinted < grey).any()


def test_a_folder_may_carry_a_weight(tmp_path):
    odd = tmp_path / "zoom=2"
    odd.mkdir()
    assert data.parse_folder(str(tmp_path)) == (tmp_path, 1.0)
    assert data.parse_folder(f"{tmp_path}=2.5") == (tmp_path, 2.5)
    assert data.parse_folder(str(odd)) == (odd, 1.0)
    assert data.parse_folder(f"{odd}=3") == (odd, 3.0)


def test_two_data_sets_of_one_name_are_refused(tmp_path):
    for folder in ("a/cells", "b/cells/train"):
        shutil.copytree(DATA, tmp_path / folder)
    with pytest.raises(ValueError, match="both the data set 'cells'"):
        data.load([tmp_path / "a/cells", tmp_path / "b/cells/train"])
