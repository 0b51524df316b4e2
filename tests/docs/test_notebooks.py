"""The notebooks run from their first cell to their last, and hold what their cells give."""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat
import pytest
from document_blocks import ROOT

sys.path.insert(0, str(ROOT / "docs"))
from run_notebooks import FOLDER, run

NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
LARGEST = 500_000
"""Bytes of a notebook with its outputs."""

SHORTER = {"--steps 100": "--steps 2 --even-if-worse"}
"""What takes minutes in a notebook, and what a test runs instead; no output that is compared
depends on it."""


def _texts(notebook: nbformat.NotebookNode) -> list[str]:
    """Return the outputs that are text, but for the speed of a run."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return [
        output.data["text/plain"]
        for output in outputs
        if "data" in output and "image/png" not in output.data
    ]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_its_outputs_are_those_that_it_holds(
    path: Path, tmp_path: Path
) -> None:
    held = nbformat.read(path, nbformat.NO_CONVERT)
    shorter = tmp_path / path.name
    content = path.read_text()
    for long, short in SHORTER.items():
        content = content.replace(long, short)
    shorter.write_text(content)
    # `python docs/run_notebooks.py` writes them again, as when another model ships.
    assert _texts(run(shorter, tmp_path)) == _texts(held)
    assert len(_texts(held)) >= 3
    assert path.stat().st_size < LARGEST
