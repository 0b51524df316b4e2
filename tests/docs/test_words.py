"""Docstrings begin with what the caller gets, in the words of the field."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from document_blocks import ROOT

FOLDERS = ("nucleiseg", "training", "benchmarks", "tools")
SOURCES = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]

UNWANTED = re.compile(r"(Give|Gives|Say|Says)\b")


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_docstring_begins_with_give_or_say(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node) or ""
            name = getattr(node, "name", path.name)
            assert not UNWANTED.match(text), f"{name}: {text.splitlines()[0]}"


def test_the_rule_finds_such_a_docstring() -> None:
    assert UNWANTED.match("Give the labels.")
    assert UNWANTED.match("Says why.")
    assert not UNWANTED.match("Given two maxima, return the saddle.")
