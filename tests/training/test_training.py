"""A whole training in small: images to weights to an int8 file to a mask."""

import csv
import dataclasses
import json
import shutil
import signal
from multiprocessing import active_children
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest

from nucleiseg import Segmenter, images
from training import (
    augment,
    callbacks,
    export,
    integers,
    quantize,
    sampling,
    train,
    unet,
    weights,
)
from training.data import Sample
from training.distillation import SideBySide
from training.integers import IntegerNetwork
from training.topology import ACCURATE, FAST, IMAGE, NETWORKS, STRIDE, TEACHER

numpy = unet.keras.ops.convert_to_numpy

DATA = Path(__file__).parents[1] / "data"
STEPS = 240
SMALL_CROPS = SimpleNamespace(
    Settings=lambda: augment.Settings(size=128), LIGHT=dataclasses.replace(augment.LIGHT, size=128)
)
PLAIN_OPERATORS = {"Conv", "Relu", "DepthToSpace", "Concat", "MaxPool", "Sigmoid"}

pytestmark = pytest.mark.usefixtures("small_networks")


def arguments_of(output, network="tiny", **options):
    """Write a command line: ``validate_every=2`` is ``--validate-every=2``."""
    options = {"data": DATA, "output": output, "batch": 1} | options
    texts = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    return [*texts, "--networks", *network.split()]


def history(run, network="tiny"):
    with (run / f"{network}.csv").open() as file:
        return list(csv.DictReader(file))


def steps(run, network="tiny"):
    return [int(row["step"]) for row in history(run, network)]


@pytest.fixture(scope="module")
def run(small_networks, tmp_path_factory):
    """Train in two sittings, the second resuming the first."""
    output = tmp_path_factory.mktemp("run")
    settings = {"batch": 4, "steps": STEPS, "validate_every": STEPS // 2}
    arguments = arguments_of(output, "small", **settings)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "augment", SMALL_CROPS)
        train.main([*arguments, f"--stop-after={STEPS // 2}"])
        train.main([*arguments, "--resume"])
    return output


@pytest.fixture(scope="module")
def trained(run):
    return run / "small.npz"


@pytest.fixture(scope="module")
def model(trained, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "tiny.onnx"
    round_off(trained, path, "--steps=8")
    return path


def round_off(trained, output, *others):
    """Run `training.quantize` on small crops."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quantize, "LIGHT", SMALL_CROPS.LIGHT)
        arguments = [f"--weights={trained}", f"--data={DATA}", f"--output={output}", "--batch=2"]
        quantize.main([*arguments, *others])


def test_training_resumes_where_it_stopped_and_learns(run):
    rows = history(run, "small")
    assert steps(run, "small") == [STEPS // 2, STEPS]
    assert float(rows[1]["loss_nucleus"]) < float(rows[0]["loss_nucleus"])
    assert images.read(run / "small.png").ndim == 3


def test_a_run_leaves_weights_and_history_of_each_network_and_a_checkpoint(run):
    files = {"small.npz", "small.csv", "small.png", "settings.json", "split.json", "checkpoint"}
    assert {path.name for path in run.iterdir()} == files
    split = json.loads((run / "split.json").read_text())
    groups = [{group for _, _, group in split[part]} for part in ("training", "validation")]
    assert all(groups)
    assert not set.intersection(*groups)


def test_networks_side_by_side_learn_the_same_in_one_sitting_as_in_two(tmp_path, monkeypatch):
    monkeypatch.setattr(train, "augment", SMALL_CROPS)
    names = ("tiny-wide", "tiny")
    whole, parts = (
        arguments_of(tmp_path / name, " ".join(names), steps=4, validate_every=2)
        for name in ("whole", "parts")
    )
    train.main(whole)
    train.main([*parts, "--stop-after=2"])
    train.main([*parts, "--resume"])
    for name in names:
        rows, others = (history(tmp_path / run, name) for run in ("whole", "parts"))
        assert len(rows) == len(others) == 2
        for one, other in zip(rows, others, strict=True):
            # Threads add up gradients in any order, so the last digits differ.
            assert {k: float(v) for k, v in one.items()} == pytest.approx(
                {k: float(v) for k, v in other.items()}, abs=1e-3
            )
        networks = [weights.load(tmp_path / run / f"{name}.npz") for run in ("whole", "parts")]
        assert networks[0].name == name
        # Half precision; a step of the first ones is as long as the rate.
        for one, other in zip(*(network.weights for network in networks), strict=True):
            np.testing.assert_allclose(numpy(one), numpy(other), rtol=1e-3, atol=1e-4)


def test_the_rate_of_a_resumed_run_goes_on_where_it_was(tmp_path, monkeypatch):
    monkeypatch.setattr(train, "augment", SMALL_CROPS)
    rates = []
    on_epoch_begin = callbacks.Pace.on_epoch_begin

    def note(pace, epoch, logs=None):
        on_epoch_begin(pace, epoch, logs)
        rates.append((epoch, float(pace.model.optimizer.learning_rate)))

    monkeypatch.setattr(callbacks.Pace, "on_epoch_begin", note)
    arguments = arguments_of(tmp_path, steps=4, validate_every=1, patience=0)
    train.main([*arguments, "--stop-after=2"])
    train.main([*arguments, "--resume"])
    assert [epoch for epoch, _ in rates] == [0, 1, 2, 3]
    expected = [2e-3 * callbacks.shape(epoch / 4) for epoch in range(4)]
    np.testing.assert_allclose([rate for _, rate in rates], expected, rtol=1e-5)


def test_averaged_weights_are_kept_and_learning_goes_on_from_the_others(tmp_path):
    model = SideBySide([unet.build(NETWORKS["tiny"])])
    optimizer = unet.keras.optimizers.AdamW(1e-2, use_ema=True, ema_momentum=0.9)
    model.compile(optimizer, jit_compile=False)
    crops = np.random.default_rng(0).integers(0, 256, (2, 1, 32, 32, 3), np.uint8)
    learned = []

    class Note(unet.keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            learned.append(self.model.networks[0].get_weights())

    keep = callbacks.Keep(tmp_path, [], every=1, length=4)
    model.fit(
        (tuple(crops) for _ in range(4)),
        steps_per_epoch=4,
        callbacks=[Note(), keep, Note()],
        shuffle=False,
        verbose=0,
    )
    for before, after in zip(*learned, strict=True):
        np.testing.assert_allclose(before, after, rtol=1e-5, atol=1e-6)  # swapped by sums
    # At the end of `fit` the averages take the weights' place.
    kept, averages = weights.load(tmp_path / "tiny.npz").get_weights(), model.get_weights()
    for one, other in zip(kept, averages, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-6)
    assert any(np.abs(a - b).max() > 0.005 for a, b in zip(kept, learned[0], strict=True))


def test_the_rate_rises_and_falls():
    rates = [callbacks.shape(progress) for progress in np.linspace(0, 1, 101)]
    top = int(np.argmax(rates))
    assert rates[top] == pytest.approx(1, abs=0.01)
    assert 1 <= top <= 3
    assert (np.diff(rates[: top + 1]) > 0).all()
    assert (np.diff(rates[top:]) < 0).all()
    assert rates[-1] == pytest.approx(callbacks.LOWEST)


def test_a_run_stops_after_validations_without_gain_and_stays_stopped(
    without_learning, tmp_path, capsys
):
    arguments = arguments_of(tmp_path, steps=9, validate_every=1)
    train.main([*arguments, "--patience=2"])
    assert steps(tmp_path) == [1, 2, 3]
    assert "no better AP@0.5 in the last 2 validations" in capsys.readouterr().out
    train.main([*arguments, "--patience=2", "--resume"])
    assert steps(tmp_path) == [1, 2, 3]
    train.main([*arguments, "--resume", "--patience=0"])
    assert steps(tmp_path) == list(range(1, 10))


@pytest.fixture
def ask_to_end(monkeypatch):
    """Send this process a signal in a step of a run."""

    def at(step, number):
        make = SideBySide.make_train_function

        def make_train_function(model, force=False):
            make(model, force)
            count = model.train_function

            def interrupted(iterator):
                logs = count(iterator)
                if int(model.optimizer.iterations) == step:
                    signal.raise_signal(number)
                return logs

            model.train_function = interrupted

        monkeypatch.setattr(SideBySide, "make_train_function", make_train_function)

    return at


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_asked_to_end_saves_at_the_end_of_its_epoch_and_is_resumed(
    number, without_learning, ask_to_end, tmp_path, capsys
):
    ask_to_end(3, number)
    before = signal.getsignal(number)
    arguments = arguments_of(tmp_path, steps=8, validate_every=4)
    train.main(arguments)
    assert signal.getsignal(number) == before
    assert "interrupted and saved at step 4" in capsys.readouterr().out
    assert json.loads((tmp_path / "checkpoint/training_metadata.json").read_text())["epoch"] == 1
    train.main([*arguments, "--resume"])
    assert steps(tmp_path) == [4, 8]


def test_a_run_that_ended_before_it_validated_is_resumed_and_not_overwritten(
    without_learning, ask_to_end, tmp_path, monkeypatch
):
    monkeypatch.setattr(train, "LONGEST_EPOCH", 2)
    ask_to_end(1, signal.SIGINT)
    arguments = arguments_of(tmp_path, steps=8, validate_every=4)
    train.main(arguments)
    assert not (tmp_path / "tiny.csv").exists()
    with pytest.raises(SystemExit, match=r"--output: .* holds a run; add --resume"):
        train.main(arguments)
    train.main([*arguments, "--resume"])
    assert steps(tmp_path) == [4, 8]


def test_a_run_of_some_minutes_ends_by_itself_and_keeps_its_weights(without_learning, tmp_path):
    arguments = arguments_of(tmp_path, steps=10, validate_every=10, minutes=1e-6)
    train.main(arguments)
    assert steps(tmp_path) == [10]
    assert weights.load(tmp_path / "tiny.npz").name == "tiny"
    assert not (tmp_path / "checkpoint").exists()
    with pytest.raises(SystemExit, match="--resume: a run of some --minutes is not resumed"):
        train.main([*arguments, "--resume"])


def test_a_run_of_some_minutes_that_is_asked_to_end_keeps_its_weights(
    without_learning, ask_to_end, tmp_path, monkeypatch
):
    monkeypatch.setattr(train, "LONGEST_EPOCH", 2)
    ask_to_end(3, signal.SIGTERM)
    train.main(arguments_of(tmp_path, steps=100, validate_every=100, minutes=5))
    assert steps(tmp_path) == [4]
    assert weights.load(tmp_path / "tiny.npz").name == "tiny"


def random_weights(path, network):
    path.write_bytes(weights.pack(unet.build(NETWORKS[network])))
    return path


def test_each_network_may_begin_with_its_weights_of_another_run(without_learning, tmp_path):
    names = ("tiny-wide", "tiny")
    starts = [random_weights(tmp_path / f"{name}.npz", name) for name in names]
    arguments = arguments_of(tmp_path / "run", " ".join(names), steps=1)
    train.main([*arguments, "--start", *map(str, starts)])
    for start in starts:
        begun = weights.load(tmp_path / "run" / start.name).weights
        for before, after in zip(weights.load(start).weights, begun, strict=True):
            # The decay of weights is two millionths, half precision a thousandth.
            np.testing.assert_allclose(numpy(before), numpy(after), rtol=2e-3, atol=1e-6)


def test_a_start_that_does_not_fit_is_refused(tmp_path):
    other = random_weights(tmp_path / "other.npz", "tiny-wide")
    children = set(active_children())
    with pytest.raises(SystemExit, match=r"--start: .* does not hold weights of --networks tiny$"):
        train.main([*arguments_of(tmp_path / "run"), f"--start={other}"])
    assert set(active_children()) == children
    with pytest.raises(SystemExit, match="--start: 1 files for 2 --networks"):
        train.main([*arguments_of(tmp_path / "two", "tiny tiny-wide"), f"--start={other}"])


def test_a_network_is_named_once(tmp_path):
    with pytest.raises(SystemExit, match="--networks: each can be named once"):
        train.main(arguments_of(tmp_path, "tiny tiny"))


def test_rows_beyond_the_resumed_checkpoint_are_written_anew(without_learning, tmp_path):
    arguments = arguments_of(tmp_path, steps=3, validate_every=1)
    train.main([*arguments, "--stop-after=2"])
    path = tmp_path / "tiny.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines, "3" + lines[-1][1:], ""]))
    train.main([*arguments, "--resume"])
    assert steps(tmp_path) == [1, 2, 3]


def resume(run, *changed):
    settings = {"batch": 4, "steps": STEPS, "validate_every": STEPS // 2}
    train.main([*arguments_of(run, "small", **settings), "--resume", *changed])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (["--batch=2"], r"started with --batch 4 \(now 2\)"),
        (["--rate=1", "--seed=7"], r"--rate 0.002 \(now 1.0\), --seed 0 \(now 7\)"),
        (["--data", f"{DATA}=2"], r"--data \{'data': 1.0\} \(now \{'data': 2.0\}\)"),
        (["--validate-every=10"], r"--validate-every 120 \(now 10\)"),
        (["--light"], r"--light False \(now True\)"),
        (["--keep-colours"], r"--keep-colours False \(now True\)"),
        (["--emphasis=1.5"], r"--emphasis 3.0 \(now 1.5\)"),
        (["--networks", "small", "tiny"], "started with other --networks, or with another"),
    ],
)
def test_a_run_is_not_resumed_with_other_settings(run, changed, message):
    with pytest.raises(SystemExit, match=message):
        resume(run, *changed)


def test_a_run_is_not_resumed_with_other_images(run, tmp_path):
    folder = shutil.copytree(DATA, tmp_path / "data")
    (folder / "images" / "fluorescence_small.png").unlink()
    with pytest.raises(SystemExit, match="started with other images"):
        resume(run, "--data", str(folder))


def test_a_run_is_not_resumed_with_a_network_of_another_shape(run, monkeypatch):
    other = dataclasses.replace(NETWORKS["small"], up=(2, 1, 1, 1))
    monkeypatch.setitem(NETWORKS, "small", other)
    with pytest.raises(SystemExit, match=r"or with another training/topology\.py"):
        resume(run)


def test_a_run_is_not_overwritten(run):
    with pytest.raises(SystemExit, match=r"--output: .* holds a run; add --resume"):
        train.main(arguments_of(run, "small"))


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--steps", "0", "accepted is a whole number from 1 up"),
        ("--validate-every", "0", "accepted is a whole number from 1 up"),
        ("--patience", "-1", "accepted is a whole number from 0 up"),
        ("--rate", "inf", "accepted is a number above 0"),
        ("--minutes", "0", "accepted is a number above 0"),
        ("--emphasis", "much", "accepted is a number above 0"),
        ("--start", "nowhere.npz", "no such file: nowhere.npz"),
        ("--teacher", "nowhere.npz", "no such file: nowhere.npz"),
    ],
)
def test_a_bad_argument_is_named(option, value, message, tmp_path, capsys):
    with pytest.raises(SystemExit):
        train.main([*arguments_of(tmp_path), f"{option}={value}"])
    printed = capsys.readouterr().err
    assert f"argument {option}: " in printed
    assert message in printed
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("value", "message"),
    [
        *((f"{DATA}={weight}", "a weight is a number above 0") for weight in (0, -1, "nan", "x")),
        ("nowhere=2", "no such folder: nowhere"),
        ("nowhere", "no such folder: nowhere"),
    ],
)
def test_a_bad_folder_is_named(value, message, tmp_path):
    with pytest.raises(SystemExit, match=f"--data: .*{message}"):
        train.main([*arguments_of(tmp_path), f"--data={value}"])
    assert not list(tmp_path.iterdir())


def test_a_folder_without_a_layout_is_named(tmp_path):
    with pytest.raises(SystemExit, match=rf"--data: {tmp_path} has none of the accepted layouts"):
        train.main(arguments_of(tmp_path / "run", data=tmp_path))


def test_data_that_leave_nothing_to_validate_with_are_refused(tmp_path):
    for folder in ("images", "labels"):
        (tmp_path / "cells" / folder).mkdir(parents=True)
        name = f"{folder}/hematoxylin_eosin.png"
        shutil.copy(DATA / name, tmp_path / "cells" / name)
    with pytest.raises(SystemExit, match="--data: 1 images to train on and 0 to validate with"):
        train.main(arguments_of(tmp_path / "run", data=tmp_path / "cells"))


def stub(name, modality, group, pixels=1):
    picture = np.zeros((1, pixels))
    return Sample(name, picture, picture, picture, modality, group)


def test_a_weight_multiplies_the_chances_of_its_data_sets_images():
    samples = [stub(f"plates/{i}", "fluorescence", f"plates/{i % 3}") for i in range(12)]
    samples += [stub(f"slides/{i}", "H&E", f"slides/{i}") for i in range(4)]
    samples += [stub(f"clinic/{i}", "H&E", "clinic/1") for i in range(4)]
    plain, weighted = sampling.chances(samples), sampling.chances(samples, {"slides": 3.0})
    assert plain.sum() == pytest.approx(1)
    assert weighted.sum() == pytest.approx(1)
    names = np.array([sample.dataset for sample in samples])
    shares = {
        name: (plain[names == name].sum(), weighted[names == name].sum()) for name in set(names)
    }
    ratio = {name: after / before for name, (before, after) in shares.items()}
    assert ratio["slides"] / ratio["plates"] == pytest.approx(3)
    assert ratio["clinic"] == pytest.approx(ratio["plates"])
    # Without weights, modalities have their shares, whatever the data sets.
    h_and_e = sampling.MODALITY_WEIGHTS["H&E"] / (
        sampling.MODALITY_WEIGHTS["H&E"] + sampling.MODALITY_WEIGHTS["fluorescence"]
    )
    assert plain[names != "plates"].sum() == pytest.approx(h_and_e)
    # Four images of one group count as much as two groups of one image each, and a data set by the
    # square root of its groups.
    assert shares["clinic"][0] == pytest.approx(shares["slides"][0] / np.sqrt(2))


def test_an_image_counts_by_its_pixels_and_a_group_by_their_square_root():
    samples = [stub(f"a/{i}", "H&E", "one of 4 pixels") for i in range(4)]
    samples += [stub(f"a/{n}", "H&E", "one of 16 pixels", pixels=n) for n in (7, 9)]
    expected = [2 / 4] * 4 + [4 * 7 / 16, 4 * 9 / 16]
    np.testing.assert_allclose(sampling.chances(samples), np.array(expected) / (2 + 4))


def test_a_data_set_counts_by_the_square_root_of_its_groups():
    samples = [stub(f"many/{i}", "H&E", f"many/{i}") for i in range(9)]
    samples += [stub(f"few/{i}", "H&E", f"few/{i}") for i in range(4)]
    chances = sampling.chances(samples)
    assert chances[:9].sum() == pytest.approx(3 / 5)


def test_images_that_are_annotated_in_part_are_drawn_less_often():
    organs = ("nuinsseg/human_brain", "nuinsseg/human_liver")
    partly, whole = sampling.chances([stub(f"{organ}_1", "H&E", organ) for organ in organs])
    assert partly / whole == pytest.approx(sampling.PARTLY)


def test_equal_weights_are_no_weights():
    samples = [stub(f"{name}/{i}", "H&E", f"{name}/{i}") for name in "ab" for i in range(3)]
    np.testing.assert_allclose(sampling.chances(samples, {"a": 5.0, "b": 5.0}), [1 / 6] * 6)


def test_a_trained_file_finds_nuclei_through_the_package(model):
    description = json.loads(model.with_suffix(".json").read_text())
    # After so few steps the probabilities are still low.
    description["decoding"]["nucleus_threshold"] = 128
    model.with_suffix(".json").write_text(json.dumps(description))
    path = DATA / "images" / "fluorescence_small.png"
    mask = Segmenter(model).segment(path, scale=1)
    truth = images.read(DATA / "labels" / path.name) > 0
    dice = 2 * (mask & truth).sum() / (mask.sum() + truth.sum())
    assert dice > 0.7


def answer(proto, image):
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    (cells,) = session.run(None, {"image": image.transpose(0, 3, 1, 2).astype(np.float32)})
    return cells


def test_the_exported_graph_has_plain_operators_and_free_sizes(trained):
    network = IntegerNetwork(weights.load(trained))
    proto = export.to_onnx(network, rounding=False)
    assert {node.op_type for node in proto.graph.node} == PLAIN_OPERATORS
    (shape,) = (value.type.tensor_type.shape for value in proto.graph.input)
    assert [dim.dim_param or dim.dim_value for dim in shape.dim] == ["batch", 3, "height", "width"]


def test_the_exported_graph_computes_what_was_trained(trained):
    trained = weights.load(trained)
    image = images.read(DATA / "images" / "purple_on_white.png")[None, :256, :320]
    maps = numpy(trained(image.astype(np.float32), training=False))
    cells = maps.reshape(1, 128, 2, 160, 2, 2).transpose(0, 2, 4, 5, 1, 3).reshape(1, 8, 128, 160)
    found = answer(export.to_onnx(IntegerNetwork(trained), rounding=False), image)
    np.testing.assert_allclose(found, cells, atol=1e-3)


def test_the_int8_file_quantises_every_convolution_with_explicit_nodes(model):
    graph = onnx.load(model).graph
    producers = {output: node for node in graph.node for output in node.output}
    stem, *convolutions = [node for node in graph.node if "Conv" in node.op_type]
    assert stem.name == "stem_sums"  # of bytes
    # Those on the way down, two for each level on the way up, and the last.
    small = NETWORKS["small"]
    assert len(convolutions) == sum(small.down) + 2 * len(small.up) + 1

    def is_dequantised(name):
        node = producers[name]
        if node.op_type == "MaxPool":  # it passes int8 on as it is
            return is_dequantised(node.input[0])
        return node.op_type == "DequantizeLinear"

    for node in convolutions:
        assert all(map(is_dequantised, node.input[:2]))


def stored(proto):
    return {one.name: onnx.numpy_helper.to_array(one) for one in proto.graph.initializer}


def test_a_network_comes_back_from_its_file(trained, model):
    network = IntegerNetwork(weights.load(trained))
    integers.restore(network, onnx.load(model))
    before, after = stored(onnx.load(model)), stored(export.to_onnx(network))
    assert before.keys() == after.keys()
    for name, value in before.items():
        np.testing.assert_allclose(after[name], value, rtol=1e-5, atol=1e-7, err_msg=name)


def test_quantising_goes_on_from_a_file(trained, model, tmp_path):
    again = tmp_path / "again.onnx"
    others = ["--steps=1", "--rate=1e-9", f"--start={model}", f"--teacher={trained}"]
    round_off(trained, again, *others)
    before, after = stored(onnx.load(model)), stored(onnx.load(again))
    for name, value in before.items():
        np.testing.assert_allclose(after[name], value, rtol=1e-4, atol=1e-6, err_msg=name)


def test_a_file_that_is_missing_is_named(tmp_path, capsys):
    for name in ("weights", "start", "teacher"):
        with pytest.raises(SystemExit):
            quantize.main([f"--data={DATA}", f"--output={tmp_path / 'x'}", f"--{name}=no.npz"])
        assert f"argument --{name}: no such file: no.npz" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        quantize.main([f"--weights={__file__}", "--data=nowhere", f"--output={tmp_path / 'x'}"])
    assert "argument --data: no such folder: nowhere" in capsys.readouterr().err


def test_a_run_with_a_teacher_is_resumed_with_the_same(without_learning, tmp_path):
    teacher = random_weights(tmp_path / "teacher.npz", "tiny-wide")
    run = tmp_path / "run"
    arguments = arguments_of(run, steps=2, validate_every=1)
    taught = [*arguments, f"--teacher={teacher}"]
    train.main([*taught, "--stop-after=1"])
    with pytest.raises(SystemExit, match=r"started with --teacher [0-9a-f]{64} \(now None\)"):
        train.main([*arguments, "--resume"])
    train.main([*taught, "--resume"])
    assert steps(run) == [1, 2]


def test_a_network_learns_from_a_teacher(tmp_path, monkeypatch):
    monkeypatch.setattr(train, "augment", SMALL_CROPS)
    teacher = random_weights(tmp_path / "teacher.npz", "tiny-wide")
    settings = {"steps": 1, "teacher": teacher, "precision": "mixed_bfloat16"}
    train.main([*arguments_of(tmp_path / "run", **settings), "--light"])
    assert np.isfinite(float(history(tmp_path / "run")[0]["loss_nucleus"]))
    # It kept its weights, and the network that learned is not the teacher.
    assert [path.name for path in (tmp_path / "run").glob("*.npz")] == ["tiny.npz"]


def test_packed_weights_come_back(trained, tmp_path):
    network = weights.load(trained)
    packed = tmp_path / "packed.npz"
    packed.write_bytes(weights.pack(network))
    for before, after in zip(network.weights, weights.load(packed).weights, strict=True):
        np.testing.assert_allclose(numpy(before), numpy(after), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    ("topology", "most"), [(FAST, 10_000), (ACCURATE, 60_000), (TEACHER, 150_000)]
)
def test_a_network_costs_no_more_than_it_may(topology, most):
    widths = {IMAGE: 3} | {node.name: node.width for node in topology.nodes()}
    cost = 0.0
    for node in topology.nodes():
        if node.kind not in ("pool", "join"):
            # A transposed convolution multiplies once for each position that it makes.
            side = 1 if node.kind == "grow" else node.side
            cost += side**2 * widths[node.inputs[0]] * node.width / node.stride**2
    assert cost < most


@pytest.mark.parametrize("topology", list(NETWORKS.values()), ids=list(NETWORKS))
@pytest.mark.parametrize("axis", [1, 2])
def test_the_halo_is_the_networks_field_of_view(topology, axis):
    """Infinite light outside a cell's halo leaves its maps, just inside the halo it does not."""
    network = unet.build(topology)
    rng = np.random.default_rng(0)
    for weight in network.weights:
        if "kernel" in weight.path:  # all positive: nothing cancels or dies on the way
            weight.assign(np.abs(rng.normal(0, 0.01, weight.shape)).astype(np.float32))
    # The maps before the sigmoid, which would flatten them.
    pixels = unet.keras.Model(network.input, network.get_layer("pixels").output)
    image = np.moveaxis(rng.uniform(0, 255, (1, 736, STRIDE, 3)), 1, axis).astype(np.float32)
    cell = slice(352, 352 + STRIDE)
    near, far = cell.start - topology.halo(), cell.stop + topology.halo()

    def maps(*bright):
        changed = image.copy()
        for part in bright:
            np.moveaxis(changed, axis, 1)[:, part] = np.inf
        return np.moveaxis(numpy(pixels(changed)), axis, 1)[:, cell]

    assert maps().shape == (1, STRIDE, STRIDE, 2)
    assert np.isfinite(maps(slice(None, near), slice(far, None))).all()
    reaches = [
        (~np.isfinite(maps(part))).any(axis=(0, 1, 2))
        for part in (slice(near, near + STRIDE), slice(far - STRIDE, far))
    ]
    # A multiple of the stride: the field of view need not fill its last step on both sides.
    assert np.any(reaches, axis=0).all()
