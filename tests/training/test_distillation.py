"""Networks side by side: what a student learns of the annotation and of its teacher."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from training import augment, data, losses, unet, weights
from training.distillation import LARGE, SHARE, SideBySide, diameters, looked, loss_names
from training.targets import make_targets
from training.topology import FAST, Topology

numpy = ops.convert_to_numpy

TINY = Topology("tiny", widths=(8, 16), down=(1, 1), up=(1,), stem=3)
OTHER = Topology("other", widths=(8, 8), down=(1, 1), up=(1,), stem=3)

PLACE_ALONE = augment.Settings(
    **dict.fromkeys(("restyle", "stain", "swap_channels", "tint", "lighting", "shading"), 0.0),
    **dict.fromkeys(("invert", "brown", "greyed", "crowd", "coarse", "blur", "noise"), 0.0),
    jpeg=0.0,
    blank=0.0,
    zoom=(1.0, 1.0),
    near=(1.0, 1.0),
)


@pytest.fixture(scope="module")
def teacher():
    return weights.load(weights.shipped(FAST.name))


@pytest.fixture(scope="module")
def crops(request):
    """One crop of each example image as it is, and its target."""
    samples = data.load([request.path.parents[1] / "data"])
    no_styles = np.empty((0, 2, 3), np.float32)
    made = [
        augment.crop(augment.prepare(one), no_styles, np.random.default_rng(0), PLACE_ALONE)
        for one in samples
    ]
    images, maps, _ = (np.stack(arrays) for arrays in zip(*made, strict=True))
    return images.astype(np.float32), maps.astype(np.float32) / 255


def discs(diameter, side=256):
    """Return the target of a crop full of discs."""
    labels = np.zeros((side, side), np.int32)
    pitch = round(1.5 * diameter)
    middles = range(pitch // 2, side - pitch // 2, pitch)
    for number, (y, x) in enumerate(((y, x) for y in middles for x in middles), start=1):
        far = np.hypot(*(np.mgrid[:side, :side] - np.array([y, x])[:, None, None]))
        labels[far < diameter / 2] = number
    return np.dstack(make_targets(labels)).astype(np.float32) / 255


def test_the_diameter_of_discs_is_told_from_their_distance_map():
    sizes = [8, 12, 20, 40, 60]
    targets = np.stack([discs(size) for size in sizes])
    # Pixels on the edge have no slope to one side.
    np.testing.assert_allclose(numpy(diameters(targets)), sizes, rtol=0.15)


def test_a_crop_without_nuclei_has_a_diameter_all_the_same():
    assert np.isfinite(numpy(diameters(np.zeros((1, 64, 64, 3), np.float32)))).all()


def dice(one, other):
    return 2 * (one & other).sum() / (one.sum() + other.sum())


def test_the_opinion_lies_where_the_nuclei_are(teacher, crops):
    images, targets = crops
    opinions = numpy(looked(teacher, images, targets))
    assert opinions.shape == (*images.shape[:3], 2)
    assert opinions.min() >= 0
    assert opinions.max() <= 1
    for opinion, target in zip(opinions, targets, strict=True):
        truth, found = target[..., 0] > 0.5, opinion[..., 0] > 0.5
        assert dice(truth, found) > 0.65
        for axis in (0, 1):
            assert dice(truth, np.flip(found, axis)) < dice(truth, found)
        assert np.corrcoef(opinion[..., 1].ravel(), target[..., 1].ravel())[0, 1] > 0.7


@pytest.mark.parametrize(
    "turn",
    [lambda x: x[:, ::-1], lambda x: x[:, :, ::-1], lambda x: x.swapaxes(1, 2)],
    ids=["upside down", "mirrored", "transposed"],
)
def test_the_opinion_hardly_depends_on_how_the_crop_is_turned(teacher, crops, turn):
    images, targets = (array[:3] for array in crops)
    straight = numpy(looked(teacher, images, targets))
    turned = numpy(looked(teacher, turn(images).copy(), turn(targets).copy()))
    alone, alone_turned = (numpy(teacher(x, training=False)) for x in (images, turn(images).copy()))
    difference = np.abs(turn(turned) - straight).mean()
    assert difference < 0.03
    # The mean of several looks depends on it less than one look does.
    assert difference < np.abs(turn(alone_turned) - alone).mean()


@pytest.mark.parametrize(("diameter", "is_magnified"), [(LARGE - 8, True), (LARGE + 12, False)])
def test_large_nuclei_are_not_magnified(teacher, crops, diameter, is_magnified):
    image, target = crops[0][:1], discs(diameter)[None]
    upright = numpy(teacher(image, training=False))
    mirrored = numpy(teacher(image[:, ::-1].copy(), training=False))[:, ::-1]
    difference = np.abs(numpy(looked(teacher, image, target)) - (upright + mirrored) / 2)
    assert (difference.max() > 0.05) == is_magnified
    assert is_magnified or difference.max() < 1e-4


@pytest.fixture
def networks():
    keras.utils.set_random_seed(0)
    return [unet.build(TINY), unet.build(OTHER)]


@pytest.fixture
def maps():
    """Return a target as bytes, and two answers to it."""
    rng = np.random.default_rng(0)
    target = (255 * np.stack([discs(12, 64), discs(20, 64)])).round().astype(np.uint8)
    near = np.clip(target[..., :2] / 255, 0.1, 0.9).astype(np.float32)
    far = rng.uniform(0.1, 0.9, near.shape).astype(np.float32)
    return target, near, far


def mixed(target, opinion):
    target = target.astype(np.float32) / 255
    both = (1 - SHARE) * target[..., :2] + SHARE * opinion
    return np.concatenate([both, target[..., 2:]], -1)


def test_the_first_learns_from_the_annotation_and_the_second_from_both(networks, maps):
    target, first, second = maps
    model = SideBySide(networks)
    total = float(model.compute_loss(None, target, [tf.constant(first), tf.constant(second)]))
    expected = [
        losses.of_maps(first, target.astype(np.float32) / 255),
        losses.of_maps(second, mixed(target, first)),
    ]
    assert total == pytest.approx(float(sum(map(ops.sum, expected))), rel=1e-5)
    found = [float(model.means[name].result()) for n in networks for name in loss_names(n.name)]
    np.testing.assert_allclose(found, np.concatenate([numpy(one) for one in expected]), rtol=1e-5)


def test_a_student_near_its_teacher_has_a_smaller_loss(networks, maps):
    """Also where the annotation says something else."""
    target, near, far = maps
    model = SideBySide(networks)

    def loss(student, opinion):
        model.reset_metrics()
        model.compute_loss(None, target, [tf.constant(opinion), tf.constant(student)])
        return sum(float(model.means[name].result()) for name in loss_names("other"))

    assert loss(near, near) < loss(far, near)
    assert loss(far, far) < loss(far, near)


def test_a_teacher_does_not_learn_from_its_student(networks, maps):
    target, first, second = map(tf.constant, maps)
    model = SideBySide(networks)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(first)
        total = model.compute_loss(None, target, [first, second])
        alone = ops.sum(losses.of_maps(first, ops.cast(target, "float32") / 255.0))
    np.testing.assert_allclose(
        numpy(tape.gradient(total, first)), numpy(tape.gradient(alone, first)), atol=1e-7
    )


def test_a_network_that_has_learned_teaches_all_and_learns_no_more(networks, maps, teacher):
    target, first, second = maps
    image = np.random.default_rng(0).integers(0, 256, target.shape, np.uint8)
    model = SideBySide(networks, teacher)
    own = [id(weight) for network in networks for weight in network.trainable_variables]
    assert [id(weight) for weight in model.trainable_variables] == own
    opinion = numpy(looked(teacher, image.astype(np.float32), target.astype(np.float32) / 255))
    total = model.compute_loss((0 * image, image), target, [tf.constant(first), second])
    both = mixed(target, opinion)
    expected = sum(ops.sum(losses.of_maps(one, both)) for one in (first, second))
    assert float(total) == pytest.approx(float(expected), rel=1e-4)


def test_the_emphasis_counts_as_often_as_is_said(networks, maps):
    target, first, _ = maps
    total = SideBySide(networks[:1], emphasis=1.5).compute_loss(None, target, [tf.constant(first)])
    expected = ops.sum(losses.of_maps(first, target.astype(np.float32) / 255, 1.5))
    assert float(total) == pytest.approx(float(expected), rel=1e-5)
    assert float(expected) != pytest.approx(
        float(ops.sum(losses.of_maps(first, target.astype(np.float32) / 255)))
    )


def test_each_mean_is_reported_once(networks):
    model = SideBySide(networks)
    model.compile(keras.optimizers.Adam())
    names = [metric.name for metric in model.metrics]
    assert sorted(names) == sorted(["loss", *loss_names("tiny"), *loss_names("other")])
