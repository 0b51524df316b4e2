"""The notebook runs from its first cell to its last, in any folder."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from nucleiseg import images

NOTEBOOK = Path(__file__).parents[2] / "training" / "train.ipynb"
DATA = Path(__file__).parents[1] / "data"

PARAMETERS = f"""
DATA = [{str(DATA)!r}]
OUTPUT = "run"
STEPS = 4
BATCH = 2
VALIDATE_EVERY = 2
ROUNDING_STEPS = 2
"""
"""What the test sets after the notebook's own cell of parameters, as papermill would."""


@pytest.fixture(scope="module")
def notebook():
    return nbformat.read(NOTEBOOK, nbformat.NO_CONVERT)


def test_the_notebook_is_kept_without_outputs(notebook):
    for cell in notebook.cells:
        assert cell.cell_type != "code" or (not cell.outputs and cell.execution_count is None)


def test_the_notebook_trains_a_model_and_segments_with_it(notebook, tmp_path):
    (at,) = (
        i for i, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", [])
    )
    executed = nbformat.from_dict(notebook)
    executed.cells.insert(at + 1, nbformat.v4.new_code_cell(PARAMETERS))
    settings = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(executed, timeout=600, kernel_name="python3", resources=settings).execute()

    pictures = [
        output
        for cell in executed.cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    assert len(pictures) == 3  # the data, the curves, the overlay
    run = tmp_path / "run"
    assert {"model.onnx", "model.json", "model.npz"} <= {path.name for path in run.iterdir()}
    mask = images.read(run / "mask.png")
    assert mask.shape in [images.read(path).shape[:2] for path in (DATA / "images").iterdir()]
