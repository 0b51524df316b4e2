"""Every command and every block of code in the documents runs; a GPU, QuPath and Fiji apart."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import run_commands
from document_blocks import FENCE, PAGES, ROOT, TEXT, Block, blocks
from stand_ins import stood_in

from nucleiseg import images

BLOCKS = [block for page in PAGES for block in blocks(page)]

EXCUSED = {
    ("gpu.md", "needs a GPU"),
    ("gpu_driver.md", "needs a GPU"),
    ("gpu_engine.md", "needs a GPU"),
    ("jetson.md", "needs a GPU"),
    ("qupath.md", "needs QuPath"),
}
"""The pages with blocks that are not run, and the only reasons."""

PACKAGES = {
    r"--ahead-of-time|tensorrt\.build": ("tensorrt_rtx", None),
    r"\bnapari\.": ("napari", None),
    r"^dask |--scheduler|import LocalCluster": ("distributed", None),
    r"plate\.zarr|plates/ .*--channel": ("zarr", "3"),
}
"""What a block needs of the extra ``test`` that some platforms have no wheel of."""


@pytest.fixture(scope="module", autouse=True)
def ended_at_the_end() -> Iterator[None]:
    yield
    run_commands.end_all()


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_a_block_of_the_documents_runs(
    block: Block,
    workplaces: Mapping[Path, tuple[Path, dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if block.reason:
        pytest.skip(block.reason)
    for pattern, (package, version) in PACKAGES.items():
        if re.search(pattern, block.text):
            pytest.importorskip(package, version, f"needs {package} {version or ''}: '.[test]'")
    text = stood_in(block.text)
    folder, variables = workplaces[block.page]
    monkeypatch.chdir(folder)
    if block.language == "python":
        exec(compile(text, str(block), "exec"), variables)
    elif block.language == "cpp":
        _compile(text)
    elif block.language == "cmake":
        _is_part_of_the_example(text)
    else:
        assert block.language == "bash", f"{block}: a language that is not run needs a reason"
        run_commands.run(text)


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


def _is_part_of_the_example(text: str) -> None:
    """Find each command in the file that tests/native builds; the target has another name there."""
    there = (ROOT / "examples" / "cpp" / "CMakeLists.txt").read_text().splitlines()
    for line in text.splitlines():
        assert line.replace("(program ", "(count_nuclei ") in there


def test_only_a_gpu_and_qupath_excuse_a_block() -> None:
    assert {(each.page.name, each.reason) for each in BLOCKS if each.reason} == EXCUSED


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_command_passes_for_what_a_program_printed(page: Path) -> None:
    for fence in FENCE.finditer(page.read_text()):
        words = set(re.findall(r"^ *(\w+)\b", fence["text"], re.M))
        assert fence["language"] != TEXT or not words & run_commands.PROGRAMS.keys()


def test_the_readme_s_first_python_block_writes_the_picture_that_it_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = next(each for each in blocks(ROOT / "README.md") if each.language == "python")
    monkeypatch.chdir(tmp_path)
    exec(compile(first.text, str(first), "exec"), {})
    shown = images.read(ROOT / "docs" / "pictures" / "example_overlay.png")
    written = images.read(tmp_path / "example_overlay.png")
    # `python -m docs.draw_pictures` draws it again, as when another model ships.
    assert (shown == written).all()
