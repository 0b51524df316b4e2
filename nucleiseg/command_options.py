"""Options that several commands share, and their help in groups."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from nucleiseg.model import shipped
from nucleiseg.stains import STAINS

input_option, size_option, nuclei_option, output_option, run_option = (
    partial(typer.Option, rich_help_panel=group)
    for group in ("Input", "Size of nuclei", "Nuclei", "Output", "Run")
)
"""`typer.Option` of each group that the help of a command shows."""

FORMATS_HERE = "{formats}"
"""What stands in a help for the list of formats, whose modules are loaded only to show it."""

FOLDER = Path("nucleiseg_out")
"""For the results, in the folder in which a command is run."""

ModelOption = Annotated[
    str,
    run_option(
        metavar="NAME|PATH",
        help=f"Shipped model ({', '.join(shipped())}), or the path of an .onnx file.",
    ),
]

Threads = Annotated[
    int | None, run_option(metavar="N", help="Processor threads to use.", show_default="all")
]

Stain = Annotated[
    str,
    input_option(
        metavar="|".join(STAINS),
        help="Colours of bright-field images: dab also finds brown nuclei, hematoxylin finds blue "
        "ones among brown membranes, he takes colours as they are, auto is he or dab.",
    ),
]

NucleusThreshold = Annotated[
    float | None,
    nuclei_option(
        metavar="0..1",
        help="Probability from which a pixel is nucleus. Lower: larger nuclei.",
        show_default="the model's",
    ),
]

Separation = Annotated[
    float | None,
    nuclei_option(
        metavar="0..1",
        help="How far the map of distances must fall between two nuclei. Lower splits more, higher "
        "merges more.",
        show_default="the model decides, by sizes and shapes too; about 0.08",
    ),
]

MinArea = Annotated[
    float | None,
    nuclei_option(
        metavar="PIXELS",
        help="Drop nuclei of fewer pixels of the image.",
        show_default="the model's, 24 at its own scale",
    ),
]

MinDiameter = Annotated[
    float | None,
    nuclei_option(
        metavar="PIXELS",
        help="Drop nuclei whose area is less than that of a circle of this diameter.",
    ),
]

MaxDiameter = Annotated[
    float | None, nuclei_option(metavar="PIXELS", help="Drop nuclei that are larger.")
]

ExcludeBorder = Annotated[
    bool,
    nuclei_option(
        "--exclude-border", help="Drop nuclei that touch the border of what is segmented."
    ),
]

Verbose = Annotated[
    bool, run_option("--verbose", "-v", help="Say what is used, and each file as it is done.")
]

Quiet = Annotated[bool, run_option("--quiet", "-q", help="Say only what fails.")]


class Grouped(TyperCommand):
    """A command whose options are shown in groups, as plain text of the terminal's width.

    `FORMATS_HERE` in an option's help becomes the formats that `formats` returns.
    """

    @staticmethod
    def formats() -> dict[str, str]:
        """Return the output formats of the command, by name, and what each is."""
        return {}

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write a section for each group, in the order in which they first occur."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for each in self.get_params(ctx):
            record = each.get_help_record(ctx)
            is_argument = each.param_type_name == "argument"
            other = "Arguments" if is_argument else "Other"
            if record:
                option, text = record
                if FORMATS_HERE in text:
                    listed = ", ".join(f"{key} ({what})" for key, what in self.formats().items())
                    text = text.replace(FORMATS_HERE, listed)
                panel = getattr(each, "rich_help_panel", None) or other
                groups.setdefault(panel, []).append((option, text))
        for name, records in groups.items():
            with formatter.section(name):
                formatter.write_dl(records)


def examples(*lines: str) -> str:
    """Return the end of a command's help: lines that are not wrapped."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)
