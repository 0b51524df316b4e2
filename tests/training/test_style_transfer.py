"""Neural style transfer: the mathematics against NumPy, runs on real images, bad input."""

import csv
import functools
import itertools
import shutil
from pathlib import Path

import cv2
import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from nucleiseg import images
from training import data, style_transfer, train
from training.style import batch, features, losses, optimizers, run
from training.style.labels import agreement
from training.topology import FAST
from training.weights import shipped

DATA = Path(__file__).parents[1] / "data"
CONTENT = DATA / "images" / "purple_on_violet.png"
STYLE = DATA / "images" / "hematoxylin_eosin.png"
GREY = DATA / "images" / "fluorescence_small.png"

SMALL = ("--size=64", "--steps=4", "--save-every=2", f"--weights={shipped(FAST.name)}")


def restyle(output, *others, content=CONTENT, style=STYLE):
    """Run the command line."""
    pair = ("--content", str(content), "--style", str(style))
    style_transfer.main([*pair, "--output", str(output), *others])


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


@pytest.fixture(scope="module", autouse=True)
def built_once():
    """Build each network, and compile its losses, once for all runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(features, "load", functools.cache(features.load))
        yield


# The mathematics


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


# The networks


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


# Runs


def test_nuclei_keep_their_places_in_the_colours_of_the_style(tmp_path):
    restyle(tmp_path, "--size=256", "--steps=50")
    result = images.read(tmp_path / "result.png")
    content, style = (images.read(path)[:, 32:288] for path in (CONTENT, STYLE))
    assert result.shape == content.shape == (256, 256, 3)
    assert agreement(content, result) >= 0.8
    colours = [one.reshape(-1, 3).mean(axis=0) for one in (content, style, result)]
    before, after = (np.linalg.norm(one - colours[1]) for one in (colours[0], colours[2]))
    assert after < 0.4 * before


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_what_a_run_leaves(tmp_path, optimizer, capsys):
    restyle(tmp_path, *SMALL, "--optimizer", optimizer)
    with (tmp_path / "losses.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == [1, 2, 3, 4]
    assert float(rows[-1]["total"]) < float(rows[0]["total"])
    stages = sorted((tmp_path / "stages").iterdir())
    assert [path.name for path in stages] == ["00000.png", "00002.png", "00004.png"]
    assert stages[-1].read_bytes() == (tmp_path / "result.png").read_bytes()
    np.testing.assert_array_equal(images.read(stages[0]), images.read(CONTENT)[96:160, 128:192])
    with Image.open(tmp_path / "transition.gif") as film:
        assert (film.n_frames, film.size) == (3, (64, 64))
    for name in ("stages.png", "losses.png"):
        assert images.read(tmp_path / name).std() > 10
    said = capsys.readouterr()
    assert "have a Dice of" in said.out
    assert "total" in said.err
    assert "4/4" in said.err


def test_a_seed_gives_the_same_result(tmp_path):
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        restyle(tmp_path / name, *SMALL, "--start=noise", f"--seed={seed}")
    a, b, c = ((tmp_path / name / "result.png").read_bytes() for name in "abc")
    assert a == b != c


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_a_resumed_run_gives_what_one_in_one_sitting_does(tmp_path, monkeypatch, optimizer):
    monkeypatch.setattr(run, "LEG", 2)
    settings = (*SMALL, "--save-every=1", "--optimizer", optimizer)
    restyle(tmp_path / "whole", *settings, "--steps=6")
    kept = optimizers.OPTIMIZERS[optimizer]
    legs = iter(range(2))

    def interrupted(*arguments):
        if next(legs, None) is None:
            raise KeyboardInterrupt
        return kept(*arguments)

    monkeypatch.setitem(optimizers.OPTIMIZERS, optimizer, interrupted)
    with pytest.raises(SystemExit, match="interrupted; --resume goes on"):
        restyle(tmp_path / "parts", *settings, "--steps=6")
    monkeypatch.setitem(optimizers.OPTIMIZERS, optimizer, kept)
    restyle(tmp_path / "parts", *settings, "--steps=6", "--resume")
    for name in ("result.png", "losses.csv", "transition.gif", "stages/00003.png"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_keep_luminance(tmp_path):
    restyle(tmp_path, *SMALL, "--keep-luminance")

    result, content = images.read(tmp_path / "result.png"), images.read(CONTENT)[96:160, 128:192]
    lightness = [
        cv2.cvtColor(one, cv2.COLOR_RGB2LAB)[..., 0].astype(int) for one in (result, content)
    ]
    # Colours that RGB has not at that lightness are cut off.
    assert np.percentile(np.abs(lightness[0] - lightness[1]), 95) <= 2
    assert np.abs(result.astype(int) - content).max() > 5


# Bad input


def files(tmp_path):
    """Write pictures that are refused."""
    picture = images.read(STYLE)
    nan = np.ones((96, 96), np.float32)
    nan[3, 4] = np.nan
    np.save(tmp_path / "nan.npy", nan)
    np.save(tmp_path / "channels.npy", np.zeros((96, 96, 5), np.uint8))
    images.write_png(tmp_path / "small.png", picture[:63, :80])
    images.write_png(tmp_path / "wide.png", np.tile(picture[:64], (1, 7, 1)))
    images.write_png(tmp_path / "flat.png", np.full((96, 96, 3), 200, np.uint8))
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "folder").mkdir()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--content=missing.png"], "content: missing.png: no such file"),
        (["--style=missing.png"], "style: missing.png: no such file"),
        (["--content=folder"], "content: folder: it is a folder"),
        (["--content=text.png"], "content: text.png: "),
        (["--content=nan.npy"], "content: it holds NaN or infinity"),
        (["--style=nan.npy"], "style: it holds NaN or infinity"),
        (["--style=channels.npy"], "style: "),
        (["--style=small.png"], "style: got 63 x 80 pixels; accepted are sides of 64 to 2048"),
        (["--content=wide.png"], "content: got 64 x 2240 pixels; accepted are sides"),
        (["--content=flat.png"], "content: all of its pixels are the same"),
        (["--size=300"], "size: got 300, and the content has 256 x 320 pixels"),
        ([f"--style={GREY}"], "style: it is grey and the content is not"),
        ([f"--style={GREY}", "--keep-luminance"], "style: it is grey, and its colours alone"),
        (["--style", "a.png", "b.png"], "--style: 2 for one --content; name one image"),
        (
            ["--content-weight=0", "--style-weight=0", "--tv-weight=0"],
            "--content-weight, --style-weight, --tv-weight: one of them has to count",
        ),
        (["--style-weight=1e38"], "the loss is inf"),
        (["--features=vgg19"], "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5"),
        (["--features=vgg19", "--weights=none.h5"], "weights: no such file: none.h5; get vgg19"),
        (["--features=vgg19", f"--weights={shipped(FAST.name)}"], "holds none of vgg19"),
        (["--weights=none.npz"], "weights: no such file: none.npz"),
        (["--weights=text.png"], "weights: text.png holds none of nuclei"),
    ],
)
def test_bad_input_has_its_sentence(tmp_path, monkeypatch, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    files(tmp_path)
    given = {one.split("=")[0] for one in arguments}
    usual = {"--content": CONTENT, "--style": STYLE, "--output": "out", "--steps": 2}
    others = [f"{name}={value}" for name, value in usual.items() if name not in given]
    with pytest.raises(SystemExit) as caught:
        style_transfer.main([*others, *arguments])
    assert sentence in str(caught.value)
    assert not (tmp_path / "out" / "result.png").exists()


@pytest.mark.parametrize("name", ["--content-weight", "--style-weight", "--tv-weight"])
@pytest.mark.parametrize("value", ["-1", "nan", "inf", "much"])
def test_weights_are_numbers_from_0_up(tmp_path, capsys, name, value):
    with pytest.raises(SystemExit):
        restyle(tmp_path / "out", f"{name}={value}")
    said = capsys.readouterr().err
    assert f"argument {name}: got {value!r}; accepted is a number from 0 up" in said


@pytest.mark.parametrize("name", ["--steps", "--save-every", "--size"])
@pytest.mark.parametrize("value", ["0", "-1", "1.5"])
def test_counts_are_whole_numbers(tmp_path, capsys, name, value):
    with pytest.raises(SystemExit):
        restyle(tmp_path / "out", f"{name}={value}")
    said = capsys.readouterr().err
    assert f"argument {name}: got {value!r}; accepted is a whole number from 1 up" in said


def test_a_run_is_not_mixed_with_another(tmp_path):
    restyle(tmp_path, *SMALL)
    with pytest.raises(SystemExit, match=r"output: .* holds a run; add --resume or name another"):
        restyle(tmp_path, *SMALL)
    with pytest.raises(SystemExit, match=r"with optimizer lbfgs \(now adam\)"):
        restyle(tmp_path, *SMALL, "--resume", "--optimizer=adam")
    with pytest.raises(SystemExit, match=r"resume: .* was started with content "):
        restyle(tmp_path, *SMALL, "--resume", content=STYLE)


# Folders


@pytest.fixture
def folders(tmp_path):
    """Write six annotated images, coloured and grey ones, and styles of both kinds."""
    annotated, styles = tmp_path / "little", tmp_path / "styles"
    for folder in (annotated / "images", annotated / "labels", styles):
        folder.mkdir(parents=True)
    for number, name in enumerate(("purple_on_violet", "purple_on_white", "fluorescence_small")):
        for kind in ("images", "labels"):
            source = images.read(DATA / kind / f"{name}.png")
            for part in range(2):
                rows = slice(64 * part, 64 * part + 64)
                images.write_png(annotated / kind / f"{number}_{part}.png", source[rows, 20:84])
    for path in (STYLE, GREY):
        shutil.copy(path, styles)
    return annotated, styles


def test_a_restyled_folder_keeps_its_labels_and_can_be_trained_on(folders, tmp_path, monkeypatch):
    annotated, styles = folders
    monkeypatch.setattr(batch, "LEAST_DICE", 0.0)
    output = tmp_path / "restyled"
    arguments = ["--batch", str(annotated), "--style", str(styles), "--output", str(output)]
    arguments += ["--steps=3", f"--weights={shipped(FAST.name)}"]
    style_transfer.main(arguments)
    training, held_out = data.load_split([annotated])
    before = {sample.name.split("/")[1]: sample for sample in training}
    after = {sample.name.split("/")[1]: sample for sample in data.load([output])}
    assert held_out
    assert set(after) == set(before)
    for name, sample in after.items():
        np.testing.assert_array_equal(sample.labels, before[name].labels)
        assert (sample.picture != np.atleast_3d(before[name].picture)).any()
    with (output / "styles.csv").open() as file:
        rows = {row["image"].split("/")[1]: row for row in csv.DictReader(file)}
    assert {Path(row["style"]).name for name, row in rows.items() if name[0] != "2"} == {STYLE.name}
    assert {Path(row["style"]).name for name, row in rows.items() if name[0] == "2"} == {GREY.name}
    assert sum(len(samples) for samples in train.load([str(output)])[:2]) == len(before)

    one = next((output / "images").iterdir())
    old = one.stat().st_mtime_ns
    with pytest.raises(SystemExit, match="holds a run; add --resume"):
        style_transfer.main(arguments)
    style_transfer.main([*arguments, "--resume"])
    assert one.stat().st_mtime_ns == old


def test_images_whose_nuclei_moved_are_left_out(folders, tmp_path, monkeypatch, capsys):
    annotated, styles = folders
    monkeypatch.setattr(batch, "LEAST_DICE", 1.01)
    output = tmp_path / "restyled"
    arguments = ["--batch", str(annotated), "--style", str(styles), "--output", str(output)]
    style_transfer.main([*arguments, "--steps=1", f"--weights={shipped(FAST.name)}"])
    assert not any((output / "images").iterdir())
    assert not any((output / "labels").iterdir())
    assert capsys.readouterr().out.endswith(" left out: nuclei moved\n")


def test_images_without_a_style_of_their_kind_are_left_out(folders, tmp_path, capsys):
    annotated, styles = folders
    (styles / STYLE.name).unlink()
    output = tmp_path / "restyled"
    arguments = ["--batch", str(annotated), "--style", str(styles), "--output", str(output)]
    style_transfer.main([*arguments, "--steps=1", f"--weights={shipped(FAST.name)}"])
    assert {path.name[0] for path in (output / "images").iterdir()} == {"2"}
    assert "left out: no style of its kind" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            lambda little, styles: [
                (styles / GREY.name).unlink(),
                *[one.unlink() for one in little.glob("*/[01]_*.png")],
            ],
            "style: all images are grey, and none of the styles is",
        ),
        (lambda _, styles: shutil.rmtree(styles), "a folder of images is needed; got "),
        (lambda _, styles: [one.unlink() for one in styles.iterdir()], "holds no images"),
        (lambda little, _: shutil.rmtree(little / "labels"), "has none of the accepted layouts"),
        (
            lambda little, _: images.write_png(
                little / "labels" / "0_0.png", np.zeros((64, 63), np.uint16)
            ),
            "is (64, 64), its labels are (64, 63)",
        ),
    ],
)
def test_a_bad_folder_has_its_sentence(folders, tmp_path, change, sentence):
    change(*folders)
    annotated, styles = folders
    output = tmp_path / "restyled"
    with pytest.raises(SystemExit) as caught:
        style_transfer.main(
            ["--batch", str(annotated), "--style", str(styles), "--output", str(output)]
        )
    assert sentence in str(caught.value)
    assert not output.exists()
