"""One command from annotated images to a model that is better on them, or to no model."""

import dataclasses
import re
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import numpy as np
import onnx
import pytest
from small_networks import NETWORKS
from typer.testing import CliRunner

from nucleiseg import Model, cli, images
from training import augment, data, export, finetune, integers, quantize, unet

DATA = Path(__file__).parents[1] / "data"
STEMS = sorted(path.stem for path in (DATA / "images").iterdir())
SIDE = 128


def train(*arguments):
    return CliRunner().invoke(cli.app, ["train", *map(str, arguments)])


def annotate(folder, stems=STEMS, ending="_labels.png"):
    """Put corners of the example images into a folder, with their labels beside them."""
    folder.mkdir(exist_ok=True)
    for stem in stems:
        for part, name in (("images", f"{stem}.png"), ("labels", f"{stem}{ending}")):
            array = images.read(DATA / part / f"{stem}.png")[:SIDE, :SIDE]
            images.write_png(folder / name, np.ascontiguousarray(array))
    return folder


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """An int8 file of a small network that has learned nothing yet."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(integers.NETWORKS, "small", NETWORKS["small"])
        unet.keras.utils.set_random_seed(0)
        network = integers.IntegerNetwork(unet.build(NETWORKS["small"]))
        pictures = [data.normalized(images.read(DATA / "images" / f"{one}.png")) for one in STEMS]
        integers.calibrate(network, np.stack([one[:SIDE, :SIDE] for one in pictures]))
        path = tmp_path_factory.mktemp("start") / "small.onnx"
        about = {"version": "1", "licence": "CC0", "data": ["nothing"]}
        quantize.save(export.to_onnx(network), b"", network.topology, path, about)
        yield path


@pytest.fixture(scope="module")
def trained(start, tmp_path_factory):
    """What a few steps of the command print, and the model that they make."""
    folder = annotate(tmp_path_factory.mktemp("mine"))
    output = tmp_path_factory.mktemp("models") / "mine.onnx"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finetune, "LIGHT", dataclasses.replace(augment.LIGHT, size=SIDE))
        settings = ["--model", start, "--steps", 6, "--even-if-worse"]
        done = train("--data", folder, "--output", output, *settings)
    return done, output


def test_the_command_reports_what_it_gained(trained):
    done, output = trained
    assert done.exit_code == 0, done.output
    assert "6 images to learn from, 1 held out" in done.output
    before, after = re.findall(r"(?:before|after): +Dice 0\.\d{3}, AP@0\.5 0\.\d{3}", done.output)
    assert before.startswith("before")
    assert after.startswith("after")
    assert f"{output}: use it with --model" in done.output


def test_a_model_comes_with_description_weights_and_curves(trained, start):
    _, output = trained
    names = {f"mine{suffix}" for suffix in (".onnx", ".json", ".npz", ".png")}
    assert {path.name for path in output.parent.iterdir()} == names
    model, base = Model.load(output), Model.load(start)
    assert model.name == "mine"
    assert model.version == "1-tuned"
    assert model.data[0] == "nothing"
    assert model.metadata["decoding"] == base.metadata["decoding"] | {"min_probability": 0}
    assert model.checksum != base.checksum
    twin = output.with_suffix(".npz").read_bytes()
    assert model.metadata["float_weights_sha256"] == sha256(twin).hexdigest()
    assert images.read(output.with_suffix(".png")).std() > 10


def test_other_commands_take_the_model(trained, tmp_path):
    _, output = trained
    image = DATA / "images" / f"{STEMS[0]}.png"
    settings = ["--output", tmp_path, "--model", output, "--save", "labels"]
    done = CliRunner().invoke(cli.app, ["segment", str(image), *map(str, settings)])
    assert done.exit_code == 0, done.output
    assert images.read(tmp_path / f"{STEMS[0]}_labels.png").ndim == 2


def test_a_model_is_replaced_only_if_asked(trained):
    _, output = trained
    content = output.read_bytes()
    done = train("--data", DATA, "--output", output)
    assert done.exit_code == 2
    assert f"--output: {output} exists; add --overwrite" in done.stderr
    assert output.read_bytes() == content


def spoil(network, samples, check, minutes, steps, seed):
    """Learn to see no nucleus anywhere."""
    network.convolutions["logits"].bias.assign(np.full(8, -50, np.float32))
    check.keep(3, (1.0, 1.0))


def test_a_model_that_is_worse_is_not_written_unless_asked(tmp_path, monkeypatch):
    monkeypatch.setattr(finetune, "_learn", spoil)
    output = tmp_path / "worse.onnx"
    done = train("--data", DATA, "--output", output)
    assert done.exit_code == 1
    assert "is not written: AP@0.5 is below that of nuclei-fast" in done.stderr
    assert not list(tmp_path.iterdir())
    done = train("--data", DATA, "--output", output, "--even-if-worse")
    assert done.exit_code == 0
    assert "at step 3" in done.output
    assert Model.load(output).version == f"{Model.load('nuclei-fast').version}-tuned"


def test_a_shipped_file_goes_on_as_the_same_network():
    """Weights and ranges of the file come back from the network that is to learn on."""
    proto = onnx.load(Model.load("nuclei-fast").path)
    network = integers.from_file(proto)
    assert network.topology.name == "nuclei-fast"
    again = export.to_onnx(network)
    before, after = (
        {one.name: onnx.numpy_helper.to_array(one) for one in this.graph.initializer}
        for this in (proto, again)
    )
    for name, value in before.items():
        np.testing.assert_allclose(after[name], value, rtol=1e-5, atol=1e-7, err_msg=name)


def test_a_file_of_another_network_is_refused(start):
    with pytest.raises(ValueError, match="model: accepted is a file of the networks nuclei"):
        integers.from_file(onnx.ModelProto())


@pytest.mark.parametrize("ending", ["_labels.png", "_masks.png", "_labels.tif"])
def test_labels_lie_beside_their_images(tmp_path, ending):
    folder = annotate(tmp_path / "mine", STEMS[:2], ending)
    found = data.load([folder])
    assert [one.name for one in found] == [f"mine/{stem}" for stem in STEMS[:2]]
    for sample, stem in zip(found, STEMS, strict=False):
        expected = images.read(DATA / "labels" / f"{stem}.png")[:SIDE, :SIDE]
        np.testing.assert_array_equal(sample.labels > 0, expected > 0)
        assert sample.labels.max() == len(np.unique(expected[expected > 0]))


def test_a_black_and_white_mask_counts_its_parts(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[10:20, 10:20] = mask[40:50, 60:80] = 255
    images.write_png(tmp_path / "images" / "a.png", mask)
    images.write_png(tmp_path / "masks" / "a.png", mask)
    (sample,) = data.load([tmp_path])
    assert sample.labels.max() == 2


def test_labels_of_the_segment_command_are_found_in_their_folder(tmp_path):
    stem = STEMS[0]
    for part, name in (("images", f"{stem}.png"), ("labels", f"{stem}_labels.png")):
        (tmp_path / part).mkdir()
        images.write_png(tmp_path / part / name, images.read(DATA / part / f"{stem}.png"))
    (sample,) = data.load([tmp_path])
    assert sample.labels.max() == images.read(DATA / "labels" / f"{stem}.png").max()


def without(name):
    return lambda folder: (folder / name).unlink()


def replaced(name, array):
    return lambda folder: images.write_png(folder / name, array)


FIRST = STEMS[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without(f"{FIRST}_labels.png"), f"has no {FIRST}_labels.png or {FIRST}_masks.png beside"),
        (without(f"{FIRST}.png"), f"has no image {FIRST}.png beside it"),
        (replaced(f"{FIRST}_labels.png", np.ones((9, 8), np.uint8)), r"its labels are \(9, 8\)"),
        (
            replaced(f"{FIRST}_labels.png", np.ones((SIDE, SIDE, 3), np.uint8)),
            "accepted is a label image",
        ),
        (
            replaced(f"{FIRST}_labels.png", np.zeros((SIDE, SIDE), np.uint8)),
            f"no nuclei are annotated in {FIRST}; leave such",
        ),
        (lambda folder: [path.unlink() for path in folder.iterdir()], "none of the accepted layou"),
    ],
)
def test_what_cannot_be_learned_from_is_named(tmp_path, change, message):
    folder = annotate(tmp_path / "mine", STEMS[:3])
    change(folder)
    done = train("--data", folder, "--output", tmp_path / "mine.onnx")
    assert done.exit_code == 2
    assert re.search(message, done.stderr), done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"mine"}


def test_too_few_images_are_refused_unless_others_are_held_out(tmp_path):
    folder = annotate(tmp_path / "mine", STEMS[:2])
    with pytest.raises(ValueError, match="has 2 annotated images; accepted are 3 and more"):
        finetune.annotated(folder, None, 0)
    other = annotate(tmp_path / "other", STEMS[2:4])
    learned, held_out = finetune.annotated(folder, other, 0)
    assert [len(learned), len(held_out)] == [2, 2]


def test_a_seed_chooses_the_held_out_images(tmp_path):
    folder = annotate(tmp_path / "mine")
    chosen = [[one.name for one in finetune.annotated(folder, None, seed)[1]] for seed in range(9)]
    again = [[one.name for one in finetune.annotated(folder, None, seed)[1]] for seed in range(9)]
    assert chosen == again
    assert len({name for names in chosen for name in names}) > 2
    learned, held_out = finetune.annotated(folder, None, 0)
    assert sorted(one.name for one in learned + held_out) == [f"mine/{stem}" for stem in STEMS]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "nowhere", "--output", "a.onnx"], "--data: no such folder: nowhere"),
        (["--data", DATA, "--output", "a"], "accepted is a file whose name ends in .onnx"),
        (
            ["--data", DATA, "--output", "a.onnx", "--steps", "9", "--minutes", "1"],
            "accepted is either --steps or --minutes",
        ),
        (
            ["--data", DATA, "--output", "a.onnx", "--validation", "nowhere"],
            "--validation: no such folder: nowhere",
        ),
        (["--data", DATA, "--output", "a.onnx", "--model", "none"], "model: got 'none'; accepted"),
    ],
)
def test_a_bad_argument_is_named(arguments, message):
    done = train(*arguments)
    assert done.exit_code == 2
    assert message in done.stderr


def test_the_missing_extra_is_named(tmp_path):
    program = (
        "import sys; sys.modules['keras'] = None; from nucleiseg.cli import main; "
        f"sys.argv = ['nucleiseg', 'train', '--data', {str(DATA)!r}, '--output', 'a.onnx']; main()"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "nucleiseg train needs keras: pip install 'nucleiseg[train]'" in done.stderr
    assert "Traceback" not in done.stderr
