"""Links, pictures and names in the documents lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer
from document_blocks import PAGES, ROOT, blocks

from nucleiseg import cli

LINK = re.compile(r"!?\[[^\]]*\]\((?P<target>[^)\s]+)\)")
OWN = ("segment", "slide", "doctor", "benchmark", "build")


def _anchors(page: Path) -> set[str]:
    """Return the anchors of a page's titles, as GitHub and MkDocs make them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_have_options_that_exist(page: Path) -> None:
    known = typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]
    for block in blocks(page):
        if block.language != "bash" or not block.text.startswith("nucleiseg "):
            continue
        name = block.text.split()[1]
        options = {word for each in known[name].params for word in each.opts} | {"--help", "--"}
        for word in re.findall(r"(?<=\s)--[a-z][a-z-]*", block.text):
            assert word in options, f"{block}: {word}"


def test_every_page_is_in_the_navigation() -> None:
    listed = set(re.findall(r"[\w/]+\.md", (ROOT / "mkdocs.yml").read_text()))
    notebooks = {f"notebooks/{path.stem}.md" for path in (ROOT / "docs").glob("notebooks/*.ipynb")}
    assert listed == {page.name for page in PAGES[1:]} | notebooks
