"""Neural style transfer: runs on real images, bad input, folders of annotated images."""

import csv
import functools
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from nucleiseg import images
from training import data, style_transfer, train
from training.style import batch, features, optimizers, run
from training.style.batch import agreement
from training.style.read import is_grey
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


@pytest.fixture(scope="module", autouse=True)
def built_once():
    """Build each network, and compile its losses, once for all runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(features, "load", functools.cache(features.load))
        yield


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
        (
            ["--style-weight=1e38", "--size=64", f"--weights={shipped(FAST.name)}"],
            "the loss is inf",
        ),
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


GREY_ONES = "23"
"""What the names of the grey images of `folders` begin with."""


@pytest.fixture
def folders(tmp_path):
    """Write annotated images, coloured and grey ones, and styles of both kinds."""
    annotated, styles = tmp_path / "little", tmp_path / "styles"
    for folder in (annotated / "images", annotated / "labels", styles):
        folder.mkdir(parents=True)
    for number, name in enumerate(
        ("purple_on_violet", "purple_on_white", "fluorescence_small", "fluorescence_crowded")
    ):
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
        assert is_grey(sample.picture) == (name[0] in GREY_ONES)
    with (output / "styles.csv").open() as file:
        rows = {row["image"].split("/")[1]: row for row in csv.DictReader(file)}
    assert {(name[0] in GREY_ONES, Path(row["style"]).name) for name, row in rows.items()} == {
        (False, STYLE.name),
        (True, GREY.name),
    }
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
    assert capsys.readouterr().out.endswith(" left out: nuclei are not found where they were\n")


def test_images_without_a_style_of_their_kind_are_left_out(folders, tmp_path, capsys):
    annotated, styles = folders
    (styles / STYLE.name).unlink()
    output = tmp_path / "restyled"
    arguments = ["--batch", str(annotated), "--style", str(styles), "--output", str(output)]
    style_transfer.main([*arguments, "--steps=1", f"--weights={shipped(FAST.name)}"])
    kept = {path.name[0] for path in (output / "images").iterdir()}
    assert kept
    assert kept <= set(GREY_ONES)
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
