"""One run on two backends of Keras, from a packed file, where the package is not installed."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from training import pack, unet, weights
from training.topology import NETWORKS

HERE = Path(__file__).parent
NAMES = ("tiny-wide", "tiny")


@pytest.fixture(scope="module")
def inputs(small_networks, tmp_path_factory):
    """Return the options that name a packed file and first weights."""
    folder = tmp_path_factory.mktemp("inputs")
    pack.main(["--data", str(HERE.parent / "data"), "--output", str(folder / "all.npz")])
    starts = [folder / f"{name}.npz" for name in NAMES]
    unet.keras.utils.set_random_seed(0)
    for path in starts:
        path.write_bytes(weights.pack(unet.build(NETWORKS[path.stem])))
    return ["--data", str(folder / "all.npz"), "--start", *map(str, starts)]


@pytest.fixture(scope="module")
def without_package(tmp_path_factory):
    """Return a folder whose `nucleiseg` cannot be imported."""
    folder = tmp_path_factory.mktemp("path")
    (folder / "nucleiseg").mkdir()
    (folder / "nucleiseg" / "__init__.py").write_text('raise ImportError("not here")\n')
    return folder


def path_with(folder):
    return os.pathsep.join([str(folder), str(HERE.parents[1])])


@pytest.fixture(scope="module")
def histories(inputs, without_package, tmp_path_factory):
    """Return the losses of each network at each checkpoint, by backend."""
    root = tmp_path_factory.mktemp("runs")
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "JAX_PLATFORMS": "cpu"}
    found = {}
    for backend in ("tensorflow", "jax"):
        arguments = [sys.executable, str(HERE / "small_networks.py"), *inputs]
        arguments += ["--networks", *NAMES, "--output", str(root / backend), "--batch", "1"]
        arguments += ["--steps", "6", "--validate-every", "2", "--light", "--emphasis", "1.5"]
        environment = (
            os.environ
            | quiet
            | {"KERAS_BACKEND": backend, "PYTHONPATH": path_with(without_package)}
        )
        result = subprocess.run(
            arguments, env=environment, cwd=root, capture_output=True, text=True, timeout=240
        )
        assert result.returncode == 0, result.stderr
        found[backend] = {name: history(root / backend / f"{name}.csv") for name in NAMES}
        for name in NAMES:
            assert weights.load(root / backend / f"{name}.npz").name == name
    return found


def history(path):
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["2", "4", "6"]
    return np.array(
        [[float(row[name]) for name in ("loss_nucleus", "loss_distance")] for row in rows]
    )


def test_the_package_cannot_be_imported_there(without_package, tmp_path):
    environment = os.environ | {"PYTHONPATH": path_with(without_package)}
    result = subprocess.run(
        [sys.executable, "-c", "import nucleiseg"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "ImportError: not here" in result.stderr


@pytest.mark.parametrize("name", NAMES)
def test_two_backends_learn_the_same_from_the_same_crops(histories, name):
    one, other = (histories[backend][name] for backend in ("tensorflow", "jax"))
    # Sums in another order; Adam's first steps are as long for small gradients as for large ones.
    np.testing.assert_allclose(one, other, rtol=5e-3)
    assert np.ptp(one[:, 0]) > 0.05  # other crops, or no learning, would be far outside
