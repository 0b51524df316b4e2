"""A wide network that begins with what a narrow one has learned."""

from pathlib import Path

import numpy as np
import pytest

from nucleiseg import images
from training import data, unet, weights, widen
from training.topology import ACCURATE, FAST, NETWORKS

PICTURE = Path(__file__).parents[1] / "data" / "images" / "hematoxylin_eosin.png"

SHIPPED = weights.shipped(FAST.name)

numpy = unet.keras.ops.convert_to_numpy


@pytest.fixture(scope="module")
def image():
    return data.normalized(images.read(PICTURE))[None, :192, :224].astype(np.float32)


def test_it_computes_what_the_narrow_one_does(image):
    narrow = weights.load(SHIPPED)
    expected = numpy(narrow(image, training=False))
    assert expected[..., 0].max() > 0.9
    found = numpy(widen.widened(narrow, ACCURATE)(image, training=False))
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_its_other_channels_can_learn(image):
    """Each group of new channels sees the image, or it would stay what it is for ever."""
    wide = widen.widened(weights.load(SHIPPED), ACCURATE)
    for level, (few, many) in enumerate(zip(FAST.widths, ACCURATE.widths, strict=True)):
        layer = wide.get_layer(f"{ACCURATE.down_names(level)[-1]}_relu")
        seen = numpy(unet.keras.Model(wide.input, layer.output)(image))
        assert (seen[..., few:many].std(axis=(0, 1, 2)) > 0).all()


def test_a_file_of_wide_weights_is_written(image, tmp_path):
    path = tmp_path / "start.npz"
    arguments = ["--weights", str(SHIPPED), "--network", "nuclei"]
    widen.main([*arguments, "--output", str(path)])
    wide = weights.load(path)
    assert wide.name == "nuclei"
    # Half precision.
    expected = numpy(weights.load(SHIPPED)(image, training=False))
    np.testing.assert_allclose(numpy(wide(image, training=False)), expected, atol=0.02)


def test_a_narrow_network_is_refused_as_the_wide_one(tmp_path, capsys):
    wide = tmp_path / "wide.npz"
    wide.write_bytes(weights.pack(unet.build(NETWORKS["nuclei"])))
    arguments = ["--weights", str(wide), "--network", "nuclei-fast"]
    with pytest.raises(SystemExit):
        widen.main([*arguments, "--output", str(tmp_path / "start.npz")])
    assert "argument --network: nuclei-fast is narrower than nuclei" in capsys.readouterr().err
