"""The losses of style transfer against NumPy, and the networks that they compare with."""

import itertools
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from nucleiseg import images
from training.style import features, losses
from training.topology import FAST
from training.weights import shipped

DATA = Path(__file__).parents[1] / "data" / "images"
CONTENT, STYLE = DATA / "purple_on_violet.png", DATA / "hematoxylin_eosin.png"


def differentiated(function, *values):
    """Return a loss and its gradient in the first value."""
    tensors = [tf.constant(value, tf.float64) for value in values]
    with tf.GradientTape() as tape:
        tape.watch(tensors[0])
        loss = function(*tensors)
    return loss.numpy(), tape.gradient(loss, tensors[0]).numpy()


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture(scope="module")
def network():
    return features.load("nuclei", shipped(FAST.name))


def test_gram_matrix(rng):
    seen = rng.normal(size=(2, 5, 6, 3))
    expected = np.einsum("nhwa,nhwb->ab", seen, seen) / (2 * 5 * 6)
    found = losses.gram(tf.constant(seen, tf.float64)).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_gram_matrix_of_a_repeated_style_is_the_same(rng):
    seen = rng.normal(size=(1, 4, 5, 3))
    twice = np.concatenate([seen, seen], axis=2)
    found = [losses.gram(tf.constant(one, tf.float64)).numpy() for one in (seen, twice)]
    np.testing.assert_allclose(found[0], found[1], rtol=1e-12)


def test_content_loss_and_its_gradient(rng):
    found, wanted = rng.normal(size=(2, 1, 5, 6, 3))
    loss, gradient = differentiated(losses.relative_error, found, wanted)
    length = (wanted**2).sum()
    np.testing.assert_allclose(loss, ((found - wanted) ** 2).sum() / length, rtol=1e-9)
    np.testing.assert_allclose(gradient, 2 * (found - wanted) / length, rtol=1e-9)


def test_style_loss_and_its_gradient(rng):
    found, style = rng.normal(size=(2, 1, 5, 6, 3))
    wanted = np.einsum("nhwa,nhwb->ab", style, style) / 30
    loss, gradient = differentiated(
        lambda one, other: losses.relative_error(losses.gram(one), other), found, wanted
    )
    error = np.einsum("nhwa,nhwb->ab", found, found) / 30 - wanted
    length = (wanted**2).sum()
    np.testing.assert_allclose(loss, (error**2).sum() / length, rtol=1e-9)
    # Equation 6 of the paper, divided as the loss is.
    np.testing.assert_allclose(gradient, 4 * found @ error / (30 * length), rtol=1e-9)


def test_total_variation_and_its_gradient(rng):
    image = rng.uniform(size=(1, 5, 6, 3))
    loss, gradient = differentiated(losses.total_variation, image)
    down, right = np.diff(image, axis=1), np.diff(image, axis=2)
    np.testing.assert_allclose(loss, (down**2).mean() + (right**2).mean(), rtol=1e-12)
    expected = np.zeros_like(image)
    expected[:, 1:] += 2 * down / down.size
    expected[:, :-1] -= 2 * down / down.size
    expected[:, :, 1:] += 2 * right / right.size
    expected[:, :, :-1] -= 2 * right / right.size
    np.testing.assert_allclose(gradient, expected, rtol=1e-10)


@pytest.mark.parametrize("weights", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (2.0, 5.0, 0.1)])
def test_gradient_in_the_image(network, rng, weights):
    content = images.read(CONTENT)[:64, :64] / 255.0
    style = images.read(STYLE)[:64, :80] / 255.0
    objective = losses.Objective(network, content, style, losses.Weights(*weights))
    at = np.clip(content + rng.normal(0, 0.1, content.shape), 0, 1).ravel()
    value, gradient = objective(at)
    assert value == pytest.approx(sum(objective.losses[1:]), rel=1e-5)
    # Along the gradient, where the change is largest beside the rounding of float32.
    way = gradient / np.linalg.norm(gradient)
    step = 0.02
    change = (objective(at + step * way)[0] - objective(at - step * way)[0]) / (2 * step)
    assert change == pytest.approx(np.linalg.norm(gradient), rel=0.02)


def test_a_picture_is_its_own_content_and_style(network):
    picture = images.read(CONTENT)[:64, :64] / 255.0
    objective = losses.Objective(network, picture, picture, losses.Weights(1, 1, 0))
    assert objective(picture.ravel())[0] < 1e-9


def test_activations_have_no_frame(network):
    """Zeros around the image would show in those of an even one."""
    image = np.full((1, 70, 101, 3), 0.6, np.float32)
    for layer in itertools.chain(*network(tf.constant(image))):
        values = keras.ops.convert_to_numpy(layer)
        assert np.ptp(values, axis=(1, 2)).max() < 1e-4


@pytest.mark.parametrize("name", ["nuclei", "nuclei-fast"])
def test_layers_of_the_encoder(name):
    content, style = features.load("nuclei", shipped(name))(tf.zeros((1, 64, 96, 3)))
    assert [tuple(one.shape[:3]) for one in content] == [(2, 16, 24), (2, 8, 12)]
    heights = [64, 32, 32, 16, 8]
    assert [one.shape[1] for one in style] == heights
    assert style[0].shape[-1] == 3  # the image's own colours


@pytest.fixture(scope="module")
def vgg19_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("vgg19") / "vgg19.weights.h5"
    keras.utils.set_random_seed(3)
    keras.applications.VGG19(include_top=False, weights=None).save_weights(path)
    return path


def test_vgg19(vgg19_file, rng):
    found = features.load("vgg19", vgg19_file)
    image = rng.uniform(size=(1, 64, 64, 3)).astype(np.float32)
    content, style = found(tf.constant(image))
    assert [one.shape[1:] for one in content] == [(8, 8, 512)]
    assert [one.shape[1] for one in style] == [64, 32, 16, 8, 4]
    plain = keras.applications.VGG19(include_top=False, weights=None)
    plain.load_weights(vgg19_file)
    first = [plain.get_layer(name) for name in ("block1_conv1", "block1_conv2", "block2_conv1")]
    centred = 255 * image[..., ::-1] - np.array([103.939, 116.779, 123.68], np.float32)
    seen = first[0](centred)
    inside = (slice(None), slice(4, -4), slice(4, -4))
    np.testing.assert_allclose(style[0][inside], seen[inside], rtol=1e-3, atol=1e-3)
    pooled = keras.ops.average_pool(first[1](seen), 2)
    np.testing.assert_allclose(style[1][inside], first[2](pooled)[inside], rtol=1e-3, atol=1e-3)
