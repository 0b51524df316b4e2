"""What a type checker says of code that uses the package."""

import importlib.util
import re
import subprocess
import sys

import pytest

CODE = """
from collections.abc import Iterable
import numpy as np
from nucleiseg import Segmenter, segment

def use(image: object, images: Iterable[str], name: str, to_host: bool) -> None:
    segmenter = Segmenter()
    reveal_type(segment(image))
    reveal_type(segment(image, "labels", mpp=0.5))
    reveal_type(segmenter.segment(image, output="maps", scale="auto"))
    reveal_type(segmenter(image, diameter=20))
    reveal_type(segmenter.analyze(image, scale=2).mask)
    reveal_type(segmenter.map(images))
    reveal_type(segmenter.map(images, "labels", mpp=0.25, to_host=True))
    reveal_type(segmenter.decode(np.zeros((4, 4, 2), np.uint8)))
    reveal_type(segmenter.decode(np.zeros((4, 4, 2), np.uint8), "labels"))
    reveal_type(segmenter.segment(image, "labels", to_host=False))
    reveal_type(segmenter.segment(image, "labels", to_host=to_host))
    reveal_type(segmenter.analyze(image).labels)
    segmenter.segment(image, "label")
    segmenter.map(images, scale="big")
"""

MASK, LABELS, MAPS = "numpy.bool", "_32Bit", "_8Bit"
TYPES = [
    [MASK],
    [LABELS],
    [MAPS],
    [MASK],
    [MASK],
    [MASK],
    [LABELS],
    [MASK],
    [LABELS],
    [],
    [],
    [LABELS],
]


@pytest.mark.skipif(
    importlib.util.find_spec("mypy") is None, reason="mypy is not installed: pip install mypy"
)
def test_results_are_arrays_of_a_dtype(tmp_path):
    file = tmp_path / "use.py"
    file.write_text(CODE)
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", tmp_path / "cache", file]
    done = subprocess.run([*command], capture_output=True, text=True, check=False)
    lines = [re.sub(r"^.*use.py:\d+: ", "", line) for line in done.stdout.splitlines()]
    revealed = [line for line in lines if line.startswith("note: Revealed type is")]
    assert len(revealed) == len(TYPES), done.stdout
    for line, dtypes in zip(revealed, TYPES, strict=True):
        assert line.count("ndarray") == len(dtypes), line
        for dtype in dtypes:
            assert dtype in line
        if not dtypes:
            assert '"Any"' in line
    errors = [line for line in lines if line.startswith("error:")]
    assert len(errors) == 2, done.stdout
    assert 'No overload variant of "segment" of "Segmenter"' in errors[0]
    assert 'No overload variant of "map" of "Segmenter"' in errors[1]
