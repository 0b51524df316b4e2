"""Beside an int8 file lie the float weights that it was rounded from, not those it began with."""

import dataclasses
import json
from hashlib import sha256
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from nucleiseg import images
from training import augment, average, export, integers, quantize, train, unet, weights
from training.topology import FAST

DATA = Path(__file__).parents[1] / "data"
SIDE = 128
START = weights.FOLDER / "before_rounding" / f"{FAST.name}.npz"

numpy = unet.keras.ops.convert_to_numpy


@pytest.fixture(scope="module")
def int8(tmp_path_factory):
    """The file of a quantization-aware training whose few steps are large."""
    path = tmp_path_factory.mktemp("model") / "small.onnx"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quantize, "LIGHT", dataclasses.replace(augment.LIGHT, size=SIDE))
        patch.setattr(quantize, "MOMENTUM", 0.5)
        arguments = [f"--weights={START}", f"--data={DATA}", f"--output={path}"]
        quantize.main([*arguments, "--steps=12", "--rate=1e-3", "--batch=2"])
    return path


def tiles():
    """Return (N, SIDE, SIDE, 3) uint8 of the example images in colour."""
    pictures = [images.read(path) for path in sorted((DATA / "images").iterdir())]
    return np.stack([one[:SIDE, :SIDE] for one in pictures if one.ndim == 3])


def maps_of(path):
    return 255 * numpy(weights.load(path)(tiles().astype(np.float32), training=False))


def maps_of_int8(path):
    (cells,) = onnxruntime.InferenceSession(path).run(None, {"tiles": tiles()})
    return numpy(unet.spread(cells.astype(np.float32)))


def test_the_float_twin_sees_what_the_int8_file_sees(int8):
    rounded = maps_of_int8(int8)
    twin = maps_of(int8.with_suffix(".npz"))
    begun = maps_of(START)
    change = np.abs(begun - rounded).mean()
    assert change > 10  # of 255
    # What rounding costs after such steps depends on their crops: 1 to 4 % of the change were seen.
    assert np.abs(twin - rounded).mean() < 0.1 * change


def test_the_float_twin_is_named_by_its_checksum(int8):
    twin = int8.with_suffix(".npz").read_bytes()
    description = json.loads(int8.with_suffix(".json").read_text())
    assert description["float_weights_sha256"] == sha256(twin).hexdigest()


def test_the_float_twin_rounds_to_the_weights_of_the_int8_file(int8):
    network = integers.IntegerNetwork(weights.load(int8.with_suffix(".npz")))
    other = integers.IntegerNetwork(weights.load(START))
    integers.restore(other, onnx.load(int8))
    for name, layer in network.convolutions.items():
        stored = other.convolutions[name]
        step = numpy(integers.kernel_scale(stored))
        # Half a level, and what half precision takes of the largest weights.
        assert (np.abs(numpy(layer.kernel) - numpy(stored.kernel)) <= 0.6 * step).all()
        np.testing.assert_allclose(layer.bias, stored.bias, rtol=2e-3, atol=1e-4)


def test_an_integer_network_comes_back_from_its_float_twin():
    network = integers.IntegerNetwork(weights.load(START))
    again = integers.IntegerNetwork(integers.as_float(network))
    for name, layer in network.convolutions.items():
        np.testing.assert_allclose(again.convolutions[name].kernel, layer.kernel, rtol=1e-6)
        np.testing.assert_allclose(again.convolutions[name].bias, layer.bias, rtol=1e-6)


def test_the_float_twin_has_the_limits_of_the_int8_file(int8):
    twin = integers.IntegerNetwork(weights.load(int8.with_suffix(".npz")))
    stored = integers.from_file(onnx.load(int8))
    assert twin.limited
    assert twin.scales() == pytest.approx(stored.scales(), rel=1e-5)


def test_a_float_graph_has_the_limits_too(int8):
    network = integers.IntegerNetwork(weights.load(int8.with_suffix(".npz")))
    graph = export.to_onnx(network, rounding=False).SerializeToString()
    image = tiles().astype(np.float32).transpose(0, 3, 1, 2)
    (cells,) = onnxruntime.InferenceSession(graph).run(None, {"image": image})
    found = numpy(unet.spread(cells.transpose(0, 2, 3, 1)))
    np.testing.assert_allclose(255 * found, maps_of(int8.with_suffix(".npz")), atol=0.1)


def test_training_does_not_begin_with_a_float_twin(int8):
    with pytest.raises(SystemExit, match="batch normalisations are folded"):
        train._start(unet.build(FAST), int8.with_suffix(".npz"))


def test_an_average_lies_between_two_models(int8, tmp_path):
    shipped = tmp_path / "shipped.onnx"
    folder = Path(average.__file__).parents[1] / "nucleiseg" / "models"
    shipped.write_bytes((folder / f"{FAST.name}.onnx").read_bytes())
    shipped.with_suffix(".json").write_bytes((folder / f"{FAST.name}.json").read_bytes())
    shipped.with_suffix(".npz").write_bytes((weights.FOLDER / f"{FAST.name}.npz").read_bytes())
    for share, equal in ((0, shipped), (1, int8)):
        mixed = tmp_path / f"{share}.onnx"
        average.main([str(shipped), str(int8), f"--output={mixed}", f"--share={share}"])
        # Float twins are of 16 bits: a weight may be rounded to the level beside its own.
        assert np.abs(maps_of_int8(mixed) - maps_of_int8(equal)).mean() < 1
    half = tmp_path / "half.onnx"
    average.main([str(shipped), str(int8), f"--output={half}"])
    kernels = [average.load(path).convolutions["stem"].kernel for path in (shipped, int8, half)]
    one, other, mean = map(numpy, kernels)
    assert np.allclose(mean, (one + other) / 2, atol=np.abs(one).max() * 2**-10)  # of 16 bits
    assert json.loads(half.with_suffix(".json").read_text())["name"] == "half"


def test_an_average_keeps_what_the_maps_of_its_second_model_are(int8, tmp_path):
    measuring = tmp_path / "measuring.onnx"
    measuring.write_bytes(int8.read_bytes())
    measuring.with_suffix(".npz").write_bytes(int8.with_suffix(".npz").read_bytes())
    about = json.loads(int8.with_suffix(".json").read_text())
    about["output"] = {**about["output"], "maps": ["nucleus", "diameter"], "diameters": [3, 192]}
    measuring.with_suffix(".json").write_text(json.dumps(about))
    mixed = tmp_path / "mixed.onnx"
    average.main([str(int8), str(measuring), f"--output={mixed}"])
    assert json.loads(mixed.with_suffix(".json").read_text())["output"] == about["output"]


def test_models_of_different_networks_are_not_averaged(int8, tmp_path, capsys):
    folder = Path(average.__file__).parents[1] / "nucleiseg" / "models"
    other = tmp_path / "nuclei.onnx"
    other.write_bytes((folder / "nuclei.onnx").read_bytes())
    other.with_suffix(".npz").write_bytes((weights.FOLDER / "nuclei.npz").read_bytes())
    with pytest.raises(SystemExit):
        average.main([str(int8), str(other), f"--output={tmp_path / 'mixed.onnx'}"])
    assert "nuclei-fast and nuclei are different networks" in capsys.readouterr().err
    assert not (tmp_path / "mixed.onnx").exists()
