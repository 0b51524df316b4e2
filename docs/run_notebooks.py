"""Run the notebooks and keep their outputs: ``python docs/run_notebooks.py``."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parent / "notebooks"


def run(path: Path, folder: Path) -> nbformat.NotebookNode:
    """Run a notebook from first cell to last in a folder; return it with its outputs."""
    notebook = nbformat.read(path, nbformat.NO_CONVERT)
    # The command that a notebook calls is the one that is installed with this Python.
    path_of_programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    resources = {"metadata": {"path": str(folder)}}
    client = NotebookClient(notebook, timeout=600, kernel_name="python3", resources=resources)
    client.execute(env={**os.environ, "PATH": path_of_programs})
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # times, which differ from run to run
        if "outputs" in cell:
            cell.outputs = list(_printed(cell.outputs))
    return notebook


def _printed(outputs: list[nbformat.NotebookNode]) -> Iterator[nbformat.NotebookNode]:
    """Yield outputs without progress bars, and what was printed between these as one."""
    kept = [each for each in outputs if each.get("name") != "stderr"]
    for is_text, group in groupby(kept, key=lambda each: each.output_type == "stream"):
        first, *others = group
        if is_text:
            lines = "".join(each.text for each in (first, *others)).splitlines()
            first.text = "\n".join(line for line in lines if line)
            yield first
        else:
            yield from (first, *others)


def main() -> None:
    """Run all of them, each in an empty folder."""
    for path in sorted(FOLDER.glob("*.ipynb")):
        with tempfile.TemporaryDirectory() as folder:
            nbformat.write(run(path, Path(folder)), path)
        print(f"{path.name}: {path.stat().st_size // 1024} KB")


if __name__ == "__main__":
    main()
