"""Every command and every block of code in README and docs runs, or says why it does not."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from document_blocks import PAGES, ROOT, Block, blocks
from typer.testing import CliRunner

from nucleiseg import cli, images

BLOCKS = [block for page in PAGES for block in blocks(page)]


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_a_block_of_the_documents_runs(
    block: Block,
    workplaces: Mapping[Path, tuple[Path, dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if block.reason:
        pytest.skip(block.reason)
    folder, variables = workplaces[block.page]
    monkeypatch.chdir(folder)
    if block.language == "python":
        exec(compile(block.text, str(block), "exec"), variables)
    elif block.language == "cpp":
        _compile(block.text)
    else:
        assert block.language == "bash", f"{block}: a language that is not run needs a reason"
        _run(block.text)


def _run(command: str) -> None:
    name, *arguments = shlex.split(command)
    if name == "python":
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run([sys.executable, *arguments], env=environment, check=False)
        assert done.returncode == 0
        return
    assert name == "nucleiseg", "other programs need a reason in document_blocks.NOT_RUN"
    result = CliRunner().invoke(cli.app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output


def _compile(text: str) -> None:
    """Compile the body of a function that has an image, after what it includes."""
    compiler = os.environ.get("CXX") or shutil.which("c++")
    if not compiler:
        pytest.skip("needs a C++ compiler")
    includes, body = "\n".join(re.findall(r"^#.*", text, re.M)), re.sub(r"(?m)^#.*", "", text)
    image = "const unsigned char* pixels, long height, long width"
    program = f"{includes}\nvoid use({image}) {{\n{body}\n}}\n"
    flags = ["-std=c++17", "-fsyntax-only", "-I", str(ROOT / "include"), "-x", "c++", "-"]
    done = subprocess.run(
        [compiler, *flags], input=program, stderr=subprocess.PIPE, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_most_blocks_of_the_first_pages_are_run() -> None:
    first = [block for block in BLOCKS if block.page.stem in ("README", "quickstart", "faq")]
    run = [block for block in first if not block.reason]
    assert len(run) >= 10
    assert len(run) > len(first) / 2


def test_the_readme_s_first_python_block_writes_the_picture_that_it_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = next(each for each in blocks(ROOT / "README.md") if each.language == "python")
    monkeypatch.chdir(tmp_path)
    exec(compile(first.text, str(first), "exec"), {})
    shown = images.read(ROOT / "docs" / "pictures" / "example_overlay.png")
    written = images.read(tmp_path / "example_overlay.png")
    # `python docs/draw_pictures.py` draws it again, as when another model ships.
    assert (shown == written).all()
