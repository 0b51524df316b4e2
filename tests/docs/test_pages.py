"""Links, pictures and names in the documents lead somewhere."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import typer
from document_blocks import PAGES, ROOT, blocks

from nucleiseg import cli

LINK = re.compile(r"!?\[[^\]]*\]\((?P<target>[^)\s]+)\)")


def _anchors(page: Path) -> set[str]:
    """Return the anchors of a page's titles, as GitHub and MkDocs make them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_pictures_are_there(page: Path) -> None:
    for link in LINK.finditer(page.read_text()):
        target, _, anchor = link["target"].partition("#")
        if target.startswith(("https://", "http://", "mailto:")):
            continue
        file = page.parent / target if target else page
        assert file.is_file(), f"{page.name}: {link['target']}"
        if anchor:
            assert anchor in _anchors(file), f"{page.name}: {link['target']}"


def test_the_readme_is_short_and_opens_with_the_two_commands() -> None:
    text = (ROOT / "README.md").read_text()
    assert text.count("\n") <= 150
    first = next(blocks(ROOT / "README.md"))
    assert first.text == "make demo"
    assert text.index("docs/pictures/first.jpg") < text.index("make demo")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_have_options_that_exist(page: Path) -> None:
    known = typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]
    for block in blocks(page):
        if block.language != "bash" or not block.text.startswith("nucleiseg "):
            continue
        name = block.text.split()[1]
        options = {word for each in known[name].params for word in each.opts} | {"--help", "--"}
        for word in re.findall(r"(?<=\s)--[a-z][a-z-]*", block.text):
            assert word in options, f"{block}: {word}"


def test_the_badges_are_true() -> None:
    text = (ROOT / "README.md").read_text()
    badges = set(re.findall(r"!\[([^\]]+)\]\(https://img\.shields\.io/badge/[^)]+\)", text))
    project = (ROOT / "pyproject.toml").read_text()
    oldest = re.search(r'requires-python = ">=([\d.]+)"', project)[1]  # type: ignore[index]
    licence = re.search(r'^license = "(.+)"', project, re.M)[1]  # type: ignore[index]
    newest = re.search(r"Python 3\.10 to ([\d.]+)", (ROOT / "docs" / "install.md").read_text())
    assert newest
    assert badges == {
        f"licence: {licence}",
        "weights: CC BY 4.0",
        f"Python {oldest} to {newest[1]}",
        "tested on Linux",
    }
    weights = json.loads((ROOT / "nucleiseg" / "models" / "nuclei.json").read_text())
    assert "CC BY 4.0" in str(weights)


def test_links_of_notebooks_lead_to_notebooks() -> None:
    for path in (ROOT / "docs" / "notebooks").glob("*.ipynb"):
        cells = json.loads(path.read_text())["cells"]
        text = "".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
        for link in LINK.finditer(text):
            assert (path.parent / link["target"]).is_file(), f"{path.name}: {link['target']}"


def test_every_page_is_in_the_navigation() -> None:
    listed = set(re.findall(r"[\w/]+\.md", (ROOT / "mkdocs.yml").read_text()))
    notebooks = {f"notebooks/{path.stem}.md" for path in (ROOT / "docs").glob("notebooks/*.ipynb")}
    pages = {page.name for page in PAGES if page.parent == ROOT / "docs"}
    assert listed == pages | notebooks
