"""Files and functions are short enough to be read in one sitting."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from document_blocks import ROOT

FOLDERS = ("nucleiseg", "training", "benchmarks", "tools", "csrc", "include")
ENDINGS = {".py", ".pyi", ".js", ".css", ".html", ".cpp", ".h", ".cu"}
SOURCES = sorted(
    path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.suffix in ENDINGS
)

LONGEST_FILE = 450

LONGEST_FUNCTION = 50
"""Lines of a function's body, its docstring left out: about 40, and some for arguments by name."""

TABLES = {
    "nucleiseg/report/columns.py:columns",
    "nucleiseg/slides/command.py:slide",
    "tools/model_zoo.py:_description",
    "training/style_transfer.py:parser",
    "training/train.py:parser",
}
"""Functions that state one entry after the other: a table's columns, a command's options."""


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Yield the name of each function and the lines of its body."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            has_docstring = ast.get_docstring(node) is not None
            first = node.body[min(int(has_docstring), len(node.body) - 1)]
            yield node.name, node.end_lineno - first.lineno + 1


def test_files_have_at_most_450_lines() -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES}
    assert not {path: length for path, length in lengths.items() if length > LONGEST_FILE}


def test_functions_are_short_but_for_tables() -> None:
    found = {
        f"{path.relative_to(ROOT)}:{name}"
        for path in SOURCES
        if path.suffix == ".py"
        for name, lines in functions(path)
        if lines > LONGEST_FUNCTION
    }
    assert found == TABLES
