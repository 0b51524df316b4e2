"""The C++ library as other programs use it: installed, found by CMake, and called."""

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from programs import ROOT, make, need, run

from nucleiseg import Model, Segmenter, images
from nucleiseg.engines import packed

IMAGES = ROOT / "tests" / "data" / "images"


@pytest.fixture(scope="module")
def program(tmp_path_factory) -> Path:
    """The example, built outside of the source tree against the installed package."""
    need("cmake", "cmake")
    make("library")
    folder = tmp_path_factory.mktemp("example")
    options = [
        f"-DCMAKE_PREFIX_PATH={ROOT / 'build' / 'library' / 'installed'}",
        "-DCMAKE_DISABLE_FIND_PACKAGE_OpenCV=ON",
        "-DCMAKE_CXX_FLAGS=-Wall -Wextra -Werror",
    ]
    configured = run("cmake", "-S", ROOT / "examples" / "cpp", "-B", folder, *options)
    assert configured.returncode == 0, configured.stdout
    built = run("cmake", "--build", folder)
    assert built.returncode == 0, built.stdout
    return folder / "count_nuclei"


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return packed.write(Model.load(), tmp_path_factory.mktemp("model") / "model.nuc")


def write_picture(path: Path, image: np.ndarray) -> Path:
    height, width = image.shape[:2]
    magic = b"P5" if image.ndim == 2 else b"P6"
    path.write_bytes(magic + f"\n{width} {height}\n255\n".encode() + image.tobytes())
    return path


def count(*command: object) -> int:
    done = run(*map(str, command))
    assert done.returncode == 0, done.stdout
    found = re.fullmatch(r"(\d+) nuclei\n", done.stdout)
    assert found, done.stdout
    return int(found[1])


@pytest.mark.parametrize("name", ["fluorescence_small", "hematoxylin_eosin"])
def test_it_counts_what_python_counts(program, model, tmp_path, name):
    segmenter, image = Segmenter(device="cpu"), images.read(IMAGES / f"{name}.png")
    picture = write_picture(tmp_path / "picture", image)
    expected = segmenter.segment(image, "labels", scale=1).max()
    assert count(program, model, picture) == expected > 10
    for mpp in (0.2, 0.9):
        expected = segmenter.segment(image, "labels", mpp=mpp).max()
        assert count(program, model, picture, mpp) == expected


def test_a_file_that_is_no_model_is_refused(program, model, tmp_path):
    picture = write_picture(tmp_path / "picture", np.zeros((9, 9), np.uint8))
    whole = model.read_bytes()
    cases = {
        b"": "is no packed model",
        b"NUCLEI00" + whole[8:]: "is no packed model",
        whole[: len(whole) // 2]: "model: the file is cut off",
        whole[:-100]: "model: the file is cut off",
        whole[:8] + b"\xff" * 40: "model: the file has a number out of its range",
    }
    for content, message in cases.items():
        (tmp_path / "model").write_bytes(content)
        done = run(program, tmp_path / "model", picture)
        assert done.returncode == 1
        assert message in done.stdout


def test_a_damaged_model_never_ends_the_program(program, model, tmp_path):
    """Single bytes of the lengths and settings, each changed to many values."""
    picture = write_picture(tmp_path / "picture", np.zeros((9, 9), np.uint8))
    whole, rng = bytearray(model.read_bytes()), np.random.default_rng(3)
    places = [*range(8, 32), *range(len(whole) - 60, len(whole))]
    for place in rng.choice(places, 40, replace=False):
        content = bytearray(whole)
        content[place] = rng.integers(256)
        (tmp_path / "model").write_bytes(content)
        command = [program, tmp_path / "model", picture]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode in (0, 1), (place, done.returncode, done.stderr)


def test_python_and_cmake_give_one_version():
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.M)[1]
    make("library")
    config = next((ROOT / "build" / "library").rglob("nucleisegConfigVersion.cmake"))
    assert f'set(PACKAGE_VERSION "{version}")' in config.read_text()
