"""Every output format is in the table of the documents and in the help of the command."""

import re
import typing

from document_blocks import ROOT

from nucleiseg.outputs import FORMATS
from nucleiseg.segment_command import segment


def test_the_table_has_every_format_and_no_other() -> None:
    text = (ROOT / "docs" / "outputs.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(\w+)` \| `_", text, re.MULTILINE)) == set(FORMATS)


def test_the_help_names_every_format() -> None:
    option = typing.get_type_hints(segment, include_extras=True)["save"].__metadata__[0]
    assert set(FORMATS) <= set(re.findall(r"\w+", option.help))
