"""A whole training in small: images to weights to an int8 file to a mask."""

import csv
import json
import shutil
import signal
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from nucleiseg import Model, Segmenter, images
from training import export, integers, metrics, predict, quantize, sampling, train, unet, weights
from training.data import Sample
from training.integers import IntegerNetwork
from training.topology import ACCURATE, FAST, NETWORKS, STRIDE, Topology

numpy = unet.keras.ops.convert_to_numpy

DATA = Path(__file__).parents[1] / "data"
STEPS = 360
TINY = Topology("tiny", widths=(8, 16), down=(1, 1), up=(1,), stem=3)
PLAIN_OPERATORS = {"Conv", "Relu", "DepthToSpace", "Concat", "MaxPool", "Sigmoid"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Train in two sittings, the second resuming the first."""
    output = tmp_path_factory.mktemp("run")
    arguments = ["--data", str(DATA), "--output", str(output), "--batch", "4"]
    arguments += ["--steps", str(STEPS), "--validate-every", str(STEPS // 2)]
    train.main([*arguments, "--stop-after", str(STEPS // 2)])
    train.main([*arguments, "--resume"])
    return output


@pytest.fixture(scope="module")
def model(run, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "tiny.onnx"
    arguments = ["--weights", str(run / "best.weights.h5"), "--data", str(DATA)]
    quantize.main([*arguments, "--output", str(path), "--steps", "8", "--batch", "2"])
    return path


def history(run):
    with (run / "history.csv").open() as file:
        return list(csv.DictReader(file))


def test_training_resumes_where_it_stopped_and_learns(run):
    rows = history(run)
    assert [int(row["step"]) for row in rows] == [STEPS // 2, STEPS]
    assert float(rows[1]["loss_nucleus"]) < float(rows[0]["loss_nucleus"])
    assert images.read(run / "curves.png").ndim == 3


def test_an_interrupted_run_learns_the_same_as_one_that_was_not(tmp_path):
    arguments = ["--data", str(DATA), "--batch", "1", "--steps", "4", "--validate-every", "2"]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train.main([*arguments, "--output", str(whole)])
    train.main([*arguments, "--output", str(parts), "--stop-after", "2"])
    train.main([*arguments, "--output", str(parts), "--resume"])
    assert len(history(whole)) == len(history(parts)) == 2
    for one, other in zip(history(whole), history(parts), strict=True):
        # Threads add up gradients in any order, so the last digits differ.
        assert {k: float(v) for k, v in one.items()} == pytest.approx(
            {k: float(v) for k, v in other.items()}, abs=1e-3
        )
    networks = [weights.load(folder / "best.weights.h5") for folder in (whole, parts)]
    for one, other in zip(*(network.weights for network in networks), strict=True):
        np.testing.assert_allclose(numpy(one), numpy(other), atol=1e-4)


@pytest.fixture
def without_learning(monkeypatch):
    """Count steps instead of taking them, and find every nucleus each time."""

    def count(run, image, maps):
        run.step.assign_add(1)
        return train.tf.ones(2)

    monkeypatch.setattr(train.Run, "train_step", count)
    monkeypatch.setattr(
        predict, "scores", lambda _, samples: [metrics.score(s.labels, s.labels) for s in samples]
    )


def test_a_run_stops_after_validations_without_gain_and_stays_stopped(
    without_learning, tmp_path, capsys
):
    arguments = ["--data", str(DATA), "--output", str(tmp_path), "--batch", "1", "--steps", "9"]
    arguments += ["--validate-every", "1", "--patience", "2"]
    train.main(arguments)
    assert [row["step"] for row in history(tmp_path)] == ["1", "2", "3"]
    assert "no better AP@0.5 in the last 2 validations" in capsys.readouterr().out
    train.main([*arguments, "--resume"])
    assert len(history(tmp_path)) == 3
    train.main([*arguments, "--resume", "--patience", "0"])
    assert [int(row["step"]) for row in history(tmp_path)] == list(range(1, 10))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_asked_to_end_saves_first_and_is_resumed(
    number, without_learning, monkeypatch, tmp_path, capsys
):
    count = train.Run.train_step

    def interrupted(run, image, maps):
        losses = count(run, image, maps)
        if run.step == 2:
            signal.raise_signal(number)
        return losses

    monkeypatch.setattr(train.Run, "train_step", interrupted)
    before = signal.getsignal(number)
    arguments = ["--data", str(DATA), "--output", str(tmp_path), "--batch", "1", "--steps", "6"]
    arguments += ["--validate-every", "3"]
    train.main(arguments)
    assert "interrupted and saved at step 2" in capsys.readouterr().out
    train.main([*arguments, "--resume"])
    assert [row["step"] for row in history(tmp_path)] == ["2", "3", "6"]
    assert signal.getsignal(number) == before


def test_a_run_may_begin_with_the_weights_of_another(without_learning, run, tmp_path):
    start = run / "best.weights.h5"
    arguments = ["--data", str(DATA), "--output", str(tmp_path), "--batch", "1", "--steps", "1"]
    train.main([*arguments, "--start", str(start)])
    begun = weights.load(tmp_path / "best.weights.h5").weights
    for before, after in zip(weights.load(start).weights, begun, strict=True):
        np.testing.assert_array_equal(numpy(before), numpy(after))


def test_weights_that_do_not_fit_are_no_start(tmp_path):
    other = tmp_path / "other.weights.h5"
    unet.build(TINY).save_weights(other)
    with pytest.raises(SystemExit, match=r"--start: .* does not hold weights of --network nuclei-"):
        train.main(["--data", str(DATA), "--output", str(tmp_path / "run"), f"--start={other}"])


def test_rows_beyond_the_resumed_checkpoint_are_written_anew(without_learning, tmp_path):
    arguments = ["--data", str(DATA), "--output", str(tmp_path), "--batch", "1", "--steps", "3"]
    arguments += ["--validate-every", "1"]
    train.main([*arguments, "--stop-after", "2"])
    path = tmp_path / "history.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines, "3" + lines[-1][1:], ""]))
    train.main([*arguments, "--resume"])
    assert [row["step"] for row in history(tmp_path)] == ["1", "2", "3"]


def resume(run, *changed):
    arguments = ["--data", str(DATA), "--output", str(run), "--batch", "4", "--steps", str(STEPS)]
    train.main([*arguments, "--resume", *changed])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (["--batch", "2"], r"started with --batch 4 \(now 2\)"),
        (["--rate", "1", "--seed", "7"], r"--rate 0.002 \(now 1.0\), --seed 0 \(now 7\)"),
        (["--data", f"{DATA}=2"], r"--data \{'data': 1.0\} \(now \{'data': 2.0\}\)"),
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


def test_a_run_is_not_resumed_with_another_network(run, monkeypatch):
    build = unet.build
    monkeypatch.setattr(unet, "build", lambda _: build(TINY))
    with pytest.raises(SystemExit, match=r"another network than the one in training/topology\.py"):
        resume(run)


def test_a_run_is_not_overwritten(run):
    with pytest.raises(SystemExit, match=r"--output: .* holds a run; add --resume"):
        train.main(["--data", str(DATA), "--output", str(run)])


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--data", f"{DATA}=0", "a weight is a number above 0"),
        ("--data", f"{DATA}=-1", "a weight is a number above 0"),
        ("--data", f"{DATA}=nan", "a weight is a number above 0"),
        ("--data", f"{DATA}=much", "a weight is a number above 0"),
        ("--data", "nowhere=2", "no such folder: nowhere"),
        ("--data", "nowhere", "no such folder: nowhere"),
        ("--steps", "0", "accepted is a whole number from 1 up"),
        ("--validate-every", "0", "accepted is a whole number from 1 up"),
        ("--patience", "-1", "accepted is a whole number from 0 up"),
        ("--rate", "inf", "accepted is a number above 0"),
        ("--start", "nowhere.h5", "no such file: nowhere.h5"),
    ],
)
def test_a_bad_argument_is_named(option, value, message, tmp_path, capsys):
    arguments = {"--data": str(DATA), "--output": str(tmp_path), option: value}
    with pytest.raises(SystemExit):
        train.main([f"{name}={text}" for name, text in arguments.items()])
    printed = capsys.readouterr().err
    assert f"argument {option}: " in printed
    assert message in printed
    assert not list(tmp_path.iterdir())


def test_a_folder_without_a_layout_is_named(tmp_path):
    with pytest.raises(SystemExit, match=rf"--data: {tmp_path} has none of the accepted layouts"):
        train.main(["--data", str(tmp_path), "--output", str(tmp_path / "run")])


def test_data_that_leave_nothing_to_validate_with_are_refused(tmp_path):
    for folder in ("images", "labels"):
        (tmp_path / "cells" / folder).mkdir(parents=True)
        name = f"{folder}/hematoxylin_eosin.png"
        shutil.copy(DATA / name, tmp_path / "cells" / name)
    with pytest.raises(SystemExit, match="--data: 1 images to train on and 0 to validate with"):
        train.main(["--data", str(tmp_path / "cells"), "--output", str(tmp_path / "run")])


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


def test_the_exported_graph_has_plain_operators_and_free_sizes(run):
    network = IntegerNetwork(weights.load(run / "best.weights.h5"))
    proto = export.to_onnx(network, rounding=False)
    assert {node.op_type for node in proto.graph.node} == PLAIN_OPERATORS
    (shape,) = (value.type.tensor_type.shape for value in proto.graph.input)
    assert [dim.dim_param or dim.dim_value for dim in shape.dim] == ["batch", 3, "height", "width"]


def test_the_exported_graph_computes_what_was_trained(run):
    trained = weights.load(run / "best.weights.h5")
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
    assert len(convolutions) == sum(FAST.down) + 2 * len(FAST.up) + 1

    def is_dequantised(name):
        node = producers[name]
        if node.op_type == "MaxPool":  # it passes int8 on as it is
            return is_dequantised(node.input[0])
        return node.op_type == "DequantizeLinear"

    for node in convolutions:
        assert all(map(is_dequantised, node.input[:2]))


def stored(proto):
    return {one.name: onnx.numpy_helper.to_array(one) for one in proto.graph.initializer}


def test_a_network_comes_back_from_its_file(run, model):
    network = IntegerNetwork(weights.load(run / "best.weights.h5"))
    integers.restore(network, onnx.load(model))
    before, after = stored(onnx.load(model)), stored(export.to_onnx(network))
    assert before.keys() == after.keys()
    for name, value in before.items():
        np.testing.assert_allclose(after[name], value, rtol=1e-5, atol=1e-7, err_msg=name)


def test_quantising_goes_on_from_a_file(run, model, tmp_path):
    again = tmp_path / "again.onnx"
    arguments = ["--weights", str(run / "best.weights.h5"), "--data", str(DATA)]
    arguments += ["--start", str(model), "--teacher", str(model), "--output", str(again)]
    quantize.main([*arguments, "--steps", "1", "--batch", "1", "--rate", "1e-9"])
    before, after = stored(onnx.load(model)), stored(onnx.load(again))
    for name, value in before.items():
        np.testing.assert_allclose(after[name], value, rtol=1e-4, atol=1e-6, err_msg=name)


def test_a_file_that_is_missing_is_named(run, tmp_path, capsys):
    arguments = ["--weights", str(run / "best.weights.h5"), "--data", str(DATA)]
    for name in ("weights", "start", "teacher"):
        with pytest.raises(SystemExit):
            quantize.main([*arguments, "--output", str(tmp_path / "x"), f"--{name}", "no.onnx"])
        assert f"argument --{name}: no such file: no.onnx" in capsys.readouterr().err


def test_a_run_with_a_teacher_is_resumed_with_the_same(without_learning, tmp_path):
    arguments = ["--data", str(DATA), "--output", str(tmp_path), "--batch", "1", "--steps", "2"]
    taught = [*arguments, "--teacher", str(Model.load().path)]
    train.main([*taught, "--stop-after", "1"])
    with pytest.raises(SystemExit, match=r"started with --teacher [0-9a-f]{64} \(now None\)"):
        train.main([*arguments, "--resume"])
    train.main([*taught, "--resume"])
    assert [row["step"] for row in history(tmp_path)] == ["1", "2"]


def test_packed_weights_come_back(run):
    network = weights.load(run / "best.weights.h5")
    packed = run / "packed.npz"
    packed.write_bytes(weights.pack(network))
    for before, after in zip(network.weights, weights.load(packed).weights, strict=True):
        np.testing.assert_allclose(numpy(before), numpy(after), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(("topology", "most"), [(FAST, 10_000), (ACCURATE, 60_000)])
def test_a_network_costs_no_more_than_it_may(topology, most):
    assert unet.multiply_adds_per_pixel(unet.build(topology, size=64)) < most


@pytest.mark.parametrize("topology", NETWORKS.values(), ids=NETWORKS)
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
