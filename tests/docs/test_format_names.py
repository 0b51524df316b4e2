"""Every output format is in the table of the documents and in the help of the command."""

import re

import pytest
from document_blocks import ROOT
from typer.testing import CliRunner

from nucleiseg.cli import app
from nucleiseg.outputs import FORMATS
from nucleiseg.slides.outputs import OUTPUTS


def test_the_table_has_every_format_and_no_other() -> None:
    text = (ROOT / "docs" / "outputs.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(\w+)` \| `_", text, re.MULTILINE)) == set(FORMATS)


@pytest.mark.parametrize(("command", "formats"), [("segment", FORMATS), ("slide", OUTPUTS)])
def test_the_help_describes_every_format(command: str, formats: dict) -> None:
    shown = " ".join(CliRunner().invoke(app, [command, "--help"]).stdout.split())
    for name, each in formats.items():
        assert f"{name} ({each.about})" in shown
    assert "{formats}" not in shown
