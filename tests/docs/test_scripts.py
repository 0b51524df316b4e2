"""The scripts for QuPath and ImageJ call the command line as it is, and read what it writes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
from document_blocks import ROOT
from numpy.typing import NDArray
from typer.testing import CliRunner

from nucleiseg import cli, images

SCRIPTS = ROOT / "docs" / "scripts"
EXAMPLE = ROOT / "tests" / "data" / "images" / "fluorescence_wide.png"

IMAGEJ = Path("/usr/share/java/ij.jar")
"""Where Debian's package ``libij-java`` puts ImageJ; ``IMAGEJ`` in the environment is stronger."""

PIXEL_SIZE = 0.5


def _grey() -> NDArray[np.uint8]:
    image = images.read(EXAMPLE)
    return image if image.ndim == 2 else image[..., 0]


def _words(text: str, variables: dict[str, str]) -> list[str]:
    """Return the arguments of a call, strings as they are and variables by their values."""
    words = re.findall(r'"([^"]*)"|([\w.]+(?:\(\))?)', text)
    return [variables[name] if name else literal for literal, name in words]


def _run(words: list[str]) -> None:
    assert words[0] == "nucleiseg"
    result = CliRunner().invoke(cli.app, words[1:], catch_exceptions=False)
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("channels", [1, 2])
def test_the_qupath_script_s_command_writes_the_file_that_it_imports(
    tmp_path: Path, channels: int
) -> None:
    script = (SCRIPTS / "nucleiseg.groovy").read_text()
    region, outlines = re.findall(r'new File\(folder, "([^"]+)"\)', script)
    tifffile.imwrite(
        tmp_path / region, np.stack([_grey()] * channels), imagej=True, metadata={"axes": "CYX"}
    )
    variables = {
        "program": re.search(r'def program = "(.*?)"', script)[1],
        "model": re.search(r'def model = "(.*?)"', script)[1],
        "image.getPath()": str(tmp_path / region),
        "folder.getPath()": str(tmp_path),
        "micrometres.toString()": str(PIXEL_SIZE),
        "channel": "0",
    }
    always, size, channel = re.findall(r"arguments \+?= \[(.*?)\]", script, re.S)
    words = [*_words(always, variables), *_words(size, variables)]
    _run(words + (_words(channel, variables) if channels > 1 else []))
    assert (tmp_path / outlines).stat().st_size > 1000


def test_the_imagej_macro_s_command_writes_the_files_that_it_opens(tmp_path: Path) -> None:
    macro = (SCRIPTS / "nucleiseg.ijm").read_text()
    image = re.search(r'file = folder \+ "(.*?)"', macro)[1]
    tifffile.imwrite(tmp_path / image, _grey(), imagej=True)
    variables = {
        "program": re.search(r'^program = "(.*?)"', macro, re.M)[1],
        "model": re.search(r'^model = "(.*?)"', macro, re.M)[1],
        "file": str(tmp_path / image),
        "folder": str(tmp_path),
        "size": "--mpp",
        "value": str(PIXEL_SIZE),
    }
    _run(_words(re.search(r"exec\((.*?)\);", macro, re.S)[1], variables))
    results = re.search(r"results = newArray\((.*?)\);", macro, re.S)[1]
    for name in re.findall(r'"([^"]+)"', results):
        assert (tmp_path / name).is_file()


@pytest.fixture
def display() -> Iterator[str]:
    if not shutil.which("Xvfb"):
        pytest.skip("needs Xvfb")
    with subprocess.Popen(["Xvfb", "-displayfd", "1"], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        yield f":{server.stdout.readline().strip()}"
        server.terminate()


def test_the_imagej_macro_puts_the_outlines_where_the_nuclei_are(
    tmp_path: Path, display: str
) -> None:
    jar = Path(os.environ.get("IMAGEJ", IMAGEJ))
    if not shutil.which("java") or not jar.is_file():
        pytest.skip(f"needs Java and ImageJ, {jar}")
    image = _grey()
    tifffile.imwrite(
        tmp_path / "image.tif",
        image,
        imagej=True,
        resolution=(1 / PIXEL_SIZE, 1 / PIXEL_SIZE),
        metadata={"unit": "um"},
    )
    # A rectangle of the image: its outlines have to be moved back to where it was cut from.
    steps = [
        f'open("{tmp_path / "image.tif"}"); makeRectangle(300, 200, 200, 190);',
        (SCRIPTS / "nucleiseg.ijm").read_text(),
        'for (i = 0; i < roiManager("count"); i++) {',
        '    roiManager("select", i); getSelectionBounds(x, y, w, h); getStatistics(area, mean);',
        '    print("nucleus " + x + " " + y + " " + w + " " + h + " " + mean);',
        "}",
    ]
    (tmp_path / "run.ijm").write_text("\n".join(steps))
    (tmp_path / "temporary").mkdir()
    program = Path(sys.executable).parent
    environment = {
        **os.environ,
        "DISPLAY": display,
        "PATH": f"{program}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    temporary = f"-Djava.io.tmpdir={tmp_path / 'temporary'}"
    done = subprocess.run(
        ["java", temporary, "-cp", str(jar), "ij.ImageJ", "-batch", str(tmp_path / "run.ijm")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    rows = re.findall(r"^nucleus (.+)$", done.stdout, re.M)
    assert len(rows) >= 5, done.stdout + done.stderr
    for row in rows:
        x, y, width, height, mean = map(float, row.split())
        assert x >= 300
        assert y >= 200
        assert x + width <= 500
        assert y + height <= 390
        assert mean > 1.5 * image.mean()  # nuclei are bright
